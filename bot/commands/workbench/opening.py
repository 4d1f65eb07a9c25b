"""What a page shows of the templates of a server: the list, and one template with its draft, score and test rows."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from bot.commands.context import Services
from bot.commands.templates.draft_cards import overtaken
from bot.commands.templates.drafts import DraftView, fingerprint, published_template, view_draft
from bot.commands.templates.listing import list_templates
from bot.commands.templates.proposals import list_proposals
from bot.commands.templates.score_cards import score_data, verdict_line
from bot.commands.templates.scoring import TemplateScore, load_score
from bot.commands.workbench.advice import next_step
from bot.core.messages import Author, Scope
from bot.core.safe_text import clean_name
from bot.core.sampling_params import PRESETS
from bot.core.templates.body import KINDS
from bot.core.templates.diff import diff_templates
from bot.core.templates.forms import OWN_PRESET
from bot.core.templates.row_results import RowResult, is_changed, row_result
from bot.core.templates.states import TemplateState, state_json, state_of, state_of_values
from bot.core.templates.template import Example, PromptTemplate
from bot.errors import RequestError
from bot.services.neighbours import known_kept
from bot.store.drafts import Draft

Json = dict[str, Any]


async def list_all(services: Services, scope: Scope, author: Author) -> list[Json]:
    """Return all templates of a server, and for moderators the names of new ones and who has a draft of each."""
    listing = await list_templates(services, scope)
    waiting = await services.store.count_proposals(scope)
    drafts: defaultdict[str, list[str]] = defaultdict(list)
    if author.is_moderator:
        for draft in await services.store.list_drafts(scope):
            drafts[draft.name].append(draft.author_id)
    shipped = services.templates.shipped.names
    found = []
    for name in sorted({*listing.by_name, *drafts}):
        known = listing.by_name.get(name)
        facts = dict(listing.facts.get(name, ()))
        found.append(
            {
                "name": name,
                "kind": "" if known is None else known["kind"],
                "description": "" if known is None else known["description"],
                "number": 0 if known is None else known["number"],
                "author": clean_name(known["author"]) if known and known["author"] else "",
                "score": facts.get("score", ""),
                "needs_larger_model": bool(known and known["needs_larger_model"]),
                "is_shipped": name in shipped,
                "is_published": known is not None,
                "drafts_of": drafts[name],
                "num_proposed": waiting.get(name, 0) if author.is_moderator else 0,
            }
        )
    return found


async def open_template(services: Services, scope: Scope, author: Author, name: str) -> Json:
    """Return a template with the asker's draft of it. Raises RequestError if there is neither."""
    draft = await services.store.get_draft(scope, name, author.id) if author.is_moderator else None
    published, number = await published_template(services, scope, name)
    if draft is None and published is None:
        await services.templates.get(scope, name)  # raises, with the nearest name
    own = (await services.templates.of(scope)).own(name)
    proposals = await list_proposals(services, scope, name) if author.is_moderator else []
    return {
        "name": name,
        "number": number,
        "is_shipped": name in services.templates.shipped.names,
        "author": clean_name(own.author_name) if own and own.author_name else "",
        "at": own.created_at_utc.isoformat() if own else "",
        "published": None if published is None else state_json(state_of(published)),
        "kinds": _kinds(services, name),
        "presets": [*PRESETS, OWN_PRESET],
        "proposals": [
            {"number": one.number, "input": one.row.input, "output": one.row.output, "by": one.card.state["by"]}
            for one in proposals
        ],
        **await _about(services, scope, name, draft, published),
    }


def _kinds(services: Services, name: str) -> list[str]:
    """Return the kinds that a template of this name may have: a built-in one keeps its own."""
    shipped = services.templates.shipped
    return [shipped.get(name).kind] if name in shipped.names else list(KINDS)


async def _about(
    services: Services, scope: Scope, name: str, draft: Draft | None, published: PromptTemplate | None
) -> Json:
    """Return what is shown of a draft, or without one of the published version."""
    view = None if draft is None else await view_draft(services, scope, draft)
    template = published if view is None else view.template
    state = shown_state(view, published)
    score, problem = None, ""
    if template is not None:
        try:
            score = await load_score(services, scope, name, template if view is not None else None)
        except RequestError as e:  # this model has a shorter context than the one before
            problem = str(e)
    sentence, overtaken_diff = overtaken(view) if view is not None and view.is_overtaken else ("", "")
    is_typed = draft is not None and draft.form_values is not None
    diff = ""
    if view is not None and template is not None and published is not None:
        diff = diff_templates(published, template)
    is_same = view is not None and not is_typed and published is not None and not diff
    return {
        "state": state_json(state),
        "has_draft": draft is not None,
        "revision": revision_of(draft, published),
        "problem": draft.problem if draft is not None and is_typed else problem,
        "file": (draft.form_values or {}).get("file", "") if draft is not None else "",
        "overtaken": sentence,
        "overtaken_diff": overtaken_diff,
        "diff": diff,
        "is_same": is_same,
        "source": "" if template is None else template.source_text,
        "next": problem or next_step(view, template, score, is_same=is_same),
        "score": None if score is None else {**score_data(score), "verdict_line": verdict_line(score)},
        "results": [] if score is None else await known_results(services, score),
    }


def revision_of(draft: Draft | None, published: PromptTemplate | None) -> str:
    """Return what tells whether a page still shows what is stored: of the draft, without one of the published text."""
    if draft is not None and (draft.source_text is not None or draft.form_values is not None):
        return fingerprint(draft)
    return "" if published is None else published.version


def shown_state(view: DraftView | None, published: PromptTemplate | None) -> TemplateState:
    """Return the state of a draft, as it was typed if it is not valid; without one that of the published version."""
    if view is None:
        return TemplateState() if published is None else state_of(published)
    if view.draft.form_values is not None:
        return state_of_values(view.start, view.draft.form_values)
    return state_of(view.start)


async def known_results(services: Services, score: TemplateScore) -> list[Json]:
    """Return the results of the tests that were measured since the last change, with those of the published version."""
    template, rows = score.template, score.template.tests
    results = await _results_of(services, template, rows)
    others: Sequence[RowResult | None] = [None] * len(rows)
    if score.is_draft and score.is_comparable and score.published is not None:
        others = await _results_of(services, score.published, rows)
    return [
        result_data(i, template, row, result, other)
        for i, (row, result, other) in enumerate(zip(rows, results, others, strict=True))
        if result is not None
    ]


async def _results_of(
    services: Services, template: PromptTemplate, rows: Sequence[Example]
) -> Sequence[RowResult | None]:
    if not rows:
        return []
    prior = None
    if template.kind == "classify" and (prior := await services.measuring.known_prior(template)) is None:
        return [None] * len(rows)
    kept = await known_kept(services.measuring, template)
    if kept is None and template.kept_examples:
        return [None] * len(rows)
    outcomes = await services.measuring.known_outcomes(template, rows)
    # Each is compared with all kept examples.
    return await asyncio.to_thread(
        lambda: [
            None if outcome is None else row_result(template, row, outcome, prior, kept)
            for row, outcome in zip(rows, outcomes, strict=True)
        ]
    )


def result_data(
    index: int, template: PromptTemplate, row: Example, result: RowResult, other: RowResult | None = None
) -> Json:
    """Return the result of a test as data; `other` is that of the published version."""
    return {
        "index": index,
        "input": row.input,
        "output": row.output,
        "is_right": result.is_right,
        "answered": result.answered,
        "probabilities": list(zip(template.labels, result.probabilities, strict=False)),
        "bits": result.bits if result.bits < float("inf") else None,
        "before": None if other is None else {"answered": other.answered, "is_right": other.is_right},
        "is_changed": is_changed(result, other),
    }

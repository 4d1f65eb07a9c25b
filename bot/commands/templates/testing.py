"""Commands that measure templates: prompt test on the held-out tests, prompt tune on the examples."""

from contextlib import aclosing
from dataclasses import replace
from typing import Any, Final

from bot.commands.framework.command import Cards, Command, Request
from bot.commands.framework.progress import Finished, watched
from bot.commands.templates.drafts import begin_draft, not_finished
from bot.commands.templates.score_cards import score_blocks, score_data
from bot.commands.templates.scoring import measured_cards, score_to_keep
from bot.core.cards import Block, Card, Facts, Table, Text, Verbatim
from bot.core.mentions import mention
from bot.core.messages import now_utc
from bot.core.statistics import ClassifyFigures
from bot.core.templates.diff import diff_templates
from bot.core.templates.parsing import format_template, parse_template
from bot.core.templates.template import PromptTemplate
from bot.errors import RequestError
from bot.services.measuring import OnProgress
from bot.services.tuning import MAX_SCORINGS, Trial, Tuning, count_scorings, tune
from bot.store.drafts import Draft

_NUM_SHOWN: Final = 6
_KEPT: Final = "Finished measurements are saved: the same command continues from here."


async def answer_test(request: Request) -> Cards:
    """Measure the asker's draft, else the published version, on its held-out tests."""
    services, scope, name = request.services, request.message.scope, request.arguments["NAME"]
    draft = await services.store.get_draft(scope, name, request.message.author.id)
    template = _valid_state(draft)
    cards = measured_cards(services, scope, name, template, asker=request.asker, stopper=request.stopper)
    score = None
    async with aclosing(cards):
        async for step in cards:
            if isinstance(step, Card):
                yield step
            else:
                score = step.value
    if score is None:
        yield _stopped(name)
        return
    side = f"Your draft of {name}" if score.is_draft else name
    notes: list[Block] = []
    if draft is not None and draft.form_values is not None:
        notes.append(Text(f"Your last edit is not valid and was left out: {draft.problem}", is_quiet=True))
    title = f"{side} on {len(score.template.tests)} held-out tests"
    yield Card(blocks=(Text(title), *score_blocks(score), *notes), data={"text": title, **score_data(score)})


async def answer_tune(request: Request) -> Cards:
    """Search for better examples or a better order, and store the result as a draft."""
    services, message, name = request.services, request.message, request.arguments["NAME"]
    if not request.may_store:
        raise RequestError(
            "You asked not to be read, so your drafts can't be stored. To be read again, use"
            f" {mention('privacy --read on')}."
        )
    kept = await services.store.get_draft(message.scope, name, message.author.id)
    template = _valid_state(kept) or await services.templates.get(message.scope, name)
    num_scorings = count_scorings(template)
    await services.measuring.count_tokens(template)

    async def start(on_progress: OnProgress) -> Tuning | None:
        return await tune(
            services.measuring, template, asker=request.asker, on_progress=on_progress, stopper=request.stopper
        )

    found = None
    async with aclosing(watched("measurement", start)) as steps:
        async for step in steps:
            if isinstance(step, Finished):
                found = step.value
            else:
                yield step
    if found is None:
        yield _stopped(name)
        return
    proposal = None
    if found.is_better:
        proposal = await _keep_proposal(request, kept, found)
    yield _tuning_card(found, proposal, num_scorings)


def _valid_state(draft: Draft | None) -> PromptTemplate | None:
    """Return the last valid state of a draft, None if there is no draft. Raises RequestError if it has none."""
    if draft is None:
        return None
    if draft.source_text is None:
        raise RequestError(not_finished(draft))
    return parse_template(draft.source_text, name=draft.name, source=draft.name)


def _stopped(name: str) -> Card:
    return Card(
        blocks=(Text(f"Stopped. {name} was not changed. {_KEPT}"),), data={"template": name, "is_stopped": True}
    )


async def _keep_proposal(request: Request, before: Draft | None, found: Tuning) -> PromptTemplate:
    """Store the result as the asker's draft. Raises RequestError if that has changed during the search."""
    services, message, name = request.services, request.message, found.template.name
    now = await services.store.get_draft(message.scope, name, message.author.id)
    if (now and now.source_text) != (before and before.source_text):
        raise RequestError(
            f"Your draft of {name} changed during the search, so the result was not stored. Give the command again."
        )
    proposal = found.proposal
    text = format_template(proposal)
    draft = await begin_draft(services, message.scope, message.author, name)
    if before is None and await services.templates.get(message.scope, name) != found.template:
        raise RequestError(f"Someone published {name} during the search. Give the command again.")
    await services.store.save_draft(message.scope, replace(draft, source_text=text, updated_at_utc=now_utc()))
    return proposal


def _tuning_card(found: Tuning, proposal: PromptTemplate | None, num_scorings: int) -> Card:
    name, before, best = found.template.name, found.trials[0], found.best
    unit = "bits of the right label" if isinstance(before.figures, ClassifyFigures) else "bits per byte of the output"
    if proposal is None:
        title = f"No better examples or order found for {name}. Nothing was changed."
    else:
        title = f"Your draft of {name} now has its examples {best.candidate.what}."
    blocks: list[Block] = [Text(title)]
    if proposal is not None:
        gain = found.gain
        chance = "" if gain.low > 0 else ", so it may be chance"
        blocks.append(
            Text(
                f"On its own examples, each left out in turn: {before.cost:.3f} → {best.cost:.3f} {unit};"
                f" {gain.mean:+.3f} saved (95 % interval {gain.low:+.3f} to {gain.high:+.3f}{chance})."
            )
        )
        blocks.append(Verbatim(diff_templates(found.template, proposal)))
    ranked = sorted(found.trials[1:], key=lambda trial: trial.cost)[: _NUM_SHOWN - 1]
    blocks.append(Table(("examples", unit, *_more_columns(before)), tuple(_row(one) for one in (before, *ranked))))
    tried = f"{len(found.trials)} variants on {found.num_rows} examples, at most {num_scorings:,} scorings"
    blocks.append(Facts((("tried", tried),)))
    if proposal is not None:
        warning = (
            f"The best of {len(found.trials)} was chosen on these same examples, so it looks better than it is. Measure"
            f" the draft on the held-out tests, which the search never read, with {mention(f'prompt test {name}')}."
        )
        blocks.append(Text(warning, is_quiet=True))
    return Card(blocks=tuple(blocks), data=_tuning_data(found, proposal, num_scorings, title))


def _more_columns(trial: Trial) -> tuple[str, ...]:
    return ("accuracy",) if isinstance(trial.figures, ClassifyFigures) else ()


def _row(trial: Trial) -> tuple[str, ...]:
    figures = trial.figures
    more = (f"{figures.accuracy:.0%}",) if isinstance(figures, ClassifyFigures) else ()
    return (trial.candidate.what, f"{trial.cost:.3f}", *more)


def _tuning_data(found: Tuning, proposal: PromptTemplate | None, num_scorings: int, title: str) -> dict[str, Any]:
    return {
        "text": title,
        "template": found.template.name,
        "is_proposed": proposal is not None,
        "change": found.best.candidate.what if proposal is not None else None,
        "examples": [i + 1 for i in found.best.candidate.indexes] if proposal is not None else None,
        "before": score_to_keep(found.trials[0].figures),
        "after": score_to_keep(found.best.figures) if proposal is not None else None,
        "gain": found.gain.mean,
        "gain_interval": [found.gain.low, found.gain.high],
        "num_tried": len(found.trials),
        "max_scorings": num_scorings,
        "diff": "" if proposal is None else diff_templates(found.template, proposal),
    }


COMMANDS: Final = (
    Command(
        name="prompt test",
        summary="Measure your draft, or the published version, on its held-out tests",
        answer=answer_test,
        arguments=("NAME",),
        who="moderators",
        examples=("prompt test sentiment",),
    ),
    Command(
        name="prompt tune",
        summary="Search for better examples or a better order, as a draft",
        answer=answer_tune,
        arguments=("NAME",),
        who="moderators",
        details=(
            "The search leaves out each example in turn and tries other orders. It scores every variant on the examples"
            f" themselves, with at most {MAX_SCORINGS:,} requests to the model. It never reads the held-out tests, and"
            " publishes nothing."
        ),
        examples=("prompt tune sentiment",),
    ),
)

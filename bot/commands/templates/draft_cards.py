"""The card of a draft: what changed, what it costs, its score beside the published one, and what to do next."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from bot.commands.context import Services
from bot.commands.templates.drafts import DraftView, fingerprint, view_draft, when, who
from bot.commands.templates.score_cards import score_blocks, score_data
from bot.commands.templates.scoring import load_score
from bot.core.cards import Block, Button, Card, Facts, Select, SelectOption, Text, TextFile, Verbatim
from bot.core.mentions import mention
from bot.core.messages import Scope
from bot.core.sampling_params import PRESETS
from bot.core.templates.body import KINDS
from bot.core.templates.diff import diff_templates
from bot.core.templates.forms import OWN_PRESET, ROW_FIELD_NAMES, apply_values, preset_of
from bot.core.templates.template import PromptTemplate
from bot.errors import RequestError
from bot.services.open_cards import open_card
from bot.store.cards import OpenCard
from bot.store.drafts import Draft

DRAFT_CARD: Final = "template_draft"
_LIFETIME: Final = timedelta(days=30)
_KIND_HELP: Final = {
    "complete": "writes what follows",
    "classify": "chooses one of the labels",
    "chat": "talks in a channel",
}
TEST: Final = Button("test", "Test")
EDIT: Final = Button("edit", "Edit again")
ROWS: Final = Button("rows", "Examples and tests")
DISCARD: Final = Button("discard", "Discard", "danger")


async def draft_card(
    services: Services,
    scope: Scope,
    draft: Draft,
    *,
    card: OpenCard | None = None,
    notice: str = "",
    asks_again: bool = False,
    has_buttons: bool = True,
) -> Card:
    """Return the card of `draft`: its changes, token cost, score and actions.

    It replaces `card`, an earlier card of the draft, as its next revision. With `asks_again` it offers to publish over
    a version that someone else published in between.
    """
    view = await view_draft(services, scope, draft)
    blocks, data = await _about(services, scope, view)
    if notice:
        blocks = [Text(notice), *blocks]
    file = None
    if text := (draft.form_values or {}).get("file"):
        # No form can hold a rejected file, so it is returned as a file.
        file = TextFile(f"{draft.name}.prompt", text)
    if not has_buttons:
        hint = " · ".join(mention(f"prompt {what} {draft.name}") for what in _next_steps(view))
        blocks.append(Text(hint, is_quiet=True))
        return Card(blocks=tuple(blocks), data=data, answers="private")
    state = {"name": draft.name, "shown": fingerprint(draft), "over": view.number}
    kept = await _keep_card(services, scope, draft.author_id, state, card)
    return Card(
        blocks=tuple(blocks),
        data=data,
        # It replaces the clicked card, which only its owner sees, or is a new private one.
        answers="private" if card is None else "public",
        buttons=_buttons(view, asks_again=asks_again),
        selects=_selects(services, view),
        open_card_id=kept.id,
        revision=kept.revision,
        file=file,
    )


async def _keep_card(
    services: Services, scope: Scope, owner_id: str, state: Mapping[str, Any], card: OpenCard | None
) -> OpenCard:
    if card is not None:
        following = replace(card, revision=card.revision + 1, state=state)
        if await services.store.save_open_card(following):
            return following
    return await open_card(services.store, scope, owner_id, DRAFT_CARD, state, lives=_LIFETIME)


def _buttons(view: DraftView, *, asks_again: bool) -> tuple[Button, ...]:
    if view.draft.form_values is not None or view.template is None:
        if _is_wrong_in_rows(view):
            return (EDIT, replace(ROWS, style="primary"), DISCARD)
        return (replace(EDIT, style="primary"), ROWS, DISCARD)
    if asks_again:
        return (Button("publish-anyway", "Publish anyway", "danger"), EDIT, DISCARD)
    test = (TEST,) if view.template.tests else ()
    return (Button("publish", "Publish", "primary"), *test, EDIT, ROWS, DISCARD)


def _next_steps(view: DraftView) -> tuple[str, ...]:
    """Return the commands that go on with a draft where there are no buttons."""
    if view.draft.form_values is not None or view.template is None:
        return "edit", "discard"
    return ("publish", *(("test",) if view.template.tests else ()), "edit", "discard")


def _is_wrong_in_rows(view: DraftView) -> bool:
    """Say whether what was typed for examples and tests is the mistake, since the other fields are valid without it."""
    typed = view.draft.form_values or {}
    if ROW_FIELD_NAMES.isdisjoint(typed):
        return False
    try:
        apply_values(view.start, {name: text for name, text in typed.items() if name not in ROW_FIELD_NAMES})
    except RequestError:
        return False
    return True


def _selects(services: Services, view: DraftView) -> tuple[Select, ...]:
    kind = (view.draft.form_values or {}).get("kind", view.start.kind)
    selects = []
    if view.name not in services.templates.shipped.names:
        options = tuple(SelectOption(one, f"Kind: {one}", _KIND_HELP[one], is_chosen=one == kind) for one in KINDS)
        selects.append(Select("kind", "Kind", options))
    if kind != "classify" and view.template is not None:
        chosen = preset_of(view.template)
        names = (*PRESETS, OWN_PRESET) if chosen == OWN_PRESET else tuple(PRESETS)
        options = tuple(SelectOption(one, f"Sampling: {one}", is_chosen=one == chosen) for one in names)
        selects.append(Select("preset", "Sampling", options))
    return tuple(selects)


async def _about(services: Services, scope: Scope, view: DraftView) -> tuple[list[Block], dict[str, Any]]:
    """Return the blocks about the draft, and the same as data."""
    draft, template = view.draft, view.template
    title = f"Draft of {draft.name}, {_origin(view)}"
    blocks: list[Block] = [Text(title)]
    data: dict[str, Any] = {
        "text": title,
        "template": draft.name,
        "based_on": draft.based_on,
        "published": view.number,
        "problem": draft.problem,
        "is_overtaken": view.is_overtaken,
    }
    if draft.problem:
        blocks.append(Text(f"{draft.problem} Your text is saved, but it has no effect until this is fixed."))
    if view.is_overtaken:
        sentence, diff = overtaken(view)
        blocks.append(Text(sentence))
        if diff:
            blocks.append(Verbatim(diff))
        data |= {"overtaken": sentence, "overtaken_diff": diff}
    if template is None:
        return blocks, data
    diff = _all_of(template) if view.published is None else diff_templates(view.published, template)
    if view.is_overtaken and diff:
        blocks.append(Text("Publishing your draft would change:"))
    blocks.append(Verbatim(diff) if diff else Text("There are no changes yet.", is_quiet=True))
    data |= {"diff": diff, "kind": template.kind, "source": template.source_text}
    blocks.append(Facts((("kind", template.kind), ("examples", template.examples_in_words))))
    try:
        score = await load_score(services, scope, draft.name, template)
    except RequestError as e:  # this model has a shorter context than the one before
        return [*blocks, Text(str(e))], {**data, "num_tokens": None}
    return [*blocks, *score_blocks(score)], {**score_data(score), **data}


def _all_of(template: PromptTemplate) -> str:
    """Return a whole new template as a diff."""
    empty = replace(template, description="", instruction="", query="", labels=(), examples=(), tests=(), sampling={})
    return "\n".join(line for line in diff_templates(empty, template).split("\n") if line not in ("- ", "+ "))


def _origin(view: DraftView) -> str:
    if view.draft.based_on:
        return f"based on version {view.draft.based_on}"
    return "based on the built-in version" if view.draft.based_on_sha256 else "a new template"


def overtaken(view: DraftView) -> tuple[str, str]:
    """Return who published what since the draft was started, and the diff."""
    newest = view.newest
    if newest is None:
        sentence = f"{view.name} has changed since you started this draft."
    elif newest.action == "forget":
        sentence = "Since you started this draft, a member's words were erased from the published version."
    elif newest.source_text is None:
        sentence = f"{who(newest)} deleted {view.name} on {when(newest)}, after you started this draft."
    else:
        because = f" ({newest.reason})" if newest.reason else ""
        sentence = (
            f"{who(newest)} published version {newest.number} on {when(newest)}{because}, after you started this draft."
        )
    if view.base is None or view.published is None:
        return sentence, ""
    diff = diff_templates(view.base, view.published)
    return sentence + (" The changes:" if diff else ""), diff

"""A moderator's draft of a template: created, changed, and shown beside the published version."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final

from bot.commands.context import Services
from bot.commands.framework.request import check_moderator
from bot.commands.templates.score_cards import score_blocks, score_data
from bot.commands.templates.scoring import load_score
from bot.core.cards import Block, Button, Card, Facts, Select, SelectOption, Text, TextFile, Verbatim
from bot.core.mentions import mention, type_mentions
from bot.core.messages import Author, Scope, now_utc
from bot.core.safe_text import clean_name, replace_lone_surrogates
from bot.core.sampling_params import PRESETS
from bot.core.templates.body import KINDS
from bot.core.templates.diff import diff_templates
from bot.core.templates.forms import OWN_PRESET, apply_values, blank_template, preset_of
from bot.core.templates.parsing import parse_template
from bot.core.templates.template import PromptTemplate, check_template_name
from bot.errors import FewshotError, RequestError, TemplateError
from bot.services.open_cards import open_card
from bot.store.cards import OpenCard
from bot.store.drafts import MAX_DRAFTS, Draft
from bot.store.templates import StoredTemplate

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


@dataclass(frozen=True, slots=True)
class DraftView:
    """A draft beside the published version.

    `template` is the draft's last valid state, `base` the version it started from, `published` what members use now
    (number 0: the shipped one, or nothing). With `is_overtaken`, `newest` is the version published in between.
    """

    draft: Draft
    template: PromptTemplate | None
    base: PromptTemplate | None
    published: PromptTemplate | None
    number: int
    newest: StoredTemplate | None = None
    is_overtaken: bool = False

    @property
    def name(self) -> str:
        """Return the template's name."""
        return self.draft.name

    @property
    def start(self) -> PromptTemplate:
        """Return the template that a form starts with."""
        return self.template or self.base or blank_template(self.name)


def checked_name(name: str) -> str:
    """Return `name` if it is valid for a template. Raises RequestError."""
    try:
        return check_template_name(name, source="")
    except TemplateError as e:
        raise RequestError(e.problem) from e


async def check_editor(services: Services, scope: Scope, author: Author, command: str) -> None:
    """Raise RequestError unless `author` may edit templates here, and allows their words to be stored."""
    check_moderator(author, command)
    if await services.store.is_opted_out(scope.platform, author.id):
        raise RequestError(
            "You asked not to be read, so your templates can't be stored. To be read again, use"
            f" {mention('privacy --read on')}."
        )


async def published_template(services: Services, scope: Scope, name: str) -> tuple[PromptTemplate | None, int]:
    """Return the published template `name`, None if there is none, and its number (0: shipped, or none)."""
    library = await services.templates.of(scope)
    return (library.get(name) if name in library.names else None), library.number(name)


async def begin_draft(services: Services, scope: Scope, author: Author, name: str) -> Draft:
    """Return the author's draft of `name`; if there is none, a new one, not stored yet, of the published version.

    Raises RequestError for an invalid name, and above MAX_DRAFTS drafts.
    """
    checked_name(name)
    draft = await services.store.get_draft(scope, name, author.id)
    if draft is not None:
        return draft
    # Checked before the form is filled in, not after.
    if len(await services.store.list_drafts(scope, author.id)) >= MAX_DRAFTS:
        raise RequestError(f"You already have {MAX_DRAFTS} drafts here. Publish or discard one first.")
    published, number = await published_template(services, scope, name)
    return rebased(Draft(name, author.id), published, number)


def rebased(draft: Draft, published: PromptTemplate | None, number: int) -> Draft:
    """Return `draft` based on the published version."""
    sha256 = _sha256(published.source_text) if published and not number else None
    return replace(draft, based_on=number, based_on_sha256=sha256)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


async def view_draft(services: Services, scope: Scope, draft: Draft) -> DraftView:
    """Return `draft` beside what is published now."""
    name, store = draft.name, services.store
    published, number = await published_template(services, scope, name)
    is_overtaken = rebased(draft, published, number) != draft
    base, newest = published, None
    if is_overtaken:
        base = None
        if draft.based_on:
            version = await store.get_template_version(scope, name, draft.based_on)
            base = parsed(version.source_text, name) if version else None
        elif draft.based_on_sha256 is not None and name in services.templates.shipped.names:
            base = services.templates.shipped.get(name)
        newest = next(iter(await store.template_history(scope, name)), None)
    return DraftView(draft, parsed(draft.source_text, name), base, published, number, newest, is_overtaken)


def parsed(source_text: str | None, name: str) -> PromptTemplate | None:
    """Return the template in a stored text; None if there is none, or it is not valid any more."""
    if source_text is None:
        return None
    try:
        return parse_template(source_text, name=name, source=name)
    except TemplateError:
        return None


async def check_template(services: Services, template: PromptTemplate) -> None:
    """Raise RequestError for a template that can't be published here: too long, or not of its shipped kind."""
    shipped = services.templates.shipped
    if template.name in shipped.names and shipped.get(template.name).kind != template.kind:
        kind = shipped.get(template.name).kind
        raise RequestError(
            f"{template.name} is a built-in template of kind {kind}, and its kind can't change."
            f" Create a template of kind {template.kind} under another name."
        )
    await services.measuring.count_tokens(template)


async def fill_draft(services: Services, scope: Scope, draft: Draft, values: Mapping[str, str]) -> Draft:
    """Store a filled-in form: as the draft's new state if it is valid, else as typed, with the problem."""
    view = await view_draft(services, scope, draft)
    typed = {**(draft.form_values or {}), **{name: replace_lone_surrogates(text) for name, text in values.items()}}
    draft = replace(draft, updated_at_utc=now_utc())
    try:
        template = apply_values(view.start, typed)
        await check_template(services, template)
        draft = replace(draft, source_text=template.source_text, form_values=None, problem="")
    except FewshotError as e:
        # Plain, since an export of what is stored is no card.
        problem = type_mentions(str(e), services.command_prefix)
        draft = replace(draft, form_values=typed, problem=problem)
    await services.store.save_draft(scope, draft)
    return draft


async def change_draft(
    services: Services, scope: Scope, draft: Draft, change: Callable[[PromptTemplate], PromptTemplate]
) -> Draft:
    """Store the draft after `change`. Raises RequestError, storing nothing, if the result is not a valid template."""
    view = await view_draft(services, scope, draft)
    if draft.form_values is not None:
        raise RequestError(not_finished(draft))
    if view.template is None and view.base is None:
        raise RequestError(
            f"There is no template {draft.name} yet. Create it with {mention(f'prompt new {draft.name}')}."
        )
    template = change(view.start)
    await check_template(services, template)
    draft = replace(draft, source_text=template.source_text, updated_at_utc=now_utc())
    await services.store.save_draft(scope, draft)
    return draft


def not_finished(draft: Draft) -> str:
    """Return the sentence about a draft whose last form was not valid."""
    edit, discard = mention(f"prompt edit {draft.name}"), mention(f"prompt discard {draft.name}")
    return f"Your draft of {draft.name} is not valid: {draft.problem} Fix it with {edit}, or drop it with {discard}."


def fingerprint(draft: Draft) -> str:
    """Return a digest that tells whether the draft is still the one that a card shows."""
    return _sha256(json.dumps([draft.source_text, dict(draft.form_values or {})]))


def when(version: StoredTemplate) -> str:
    """Return the time of a version as text."""
    return f"{version.created_at_utc:%Y-%m-%d %H:%M} UTC"


def who(version: StoredTemplate) -> str:
    """Return the name of a version's author."""
    return clean_name(version.author_name) if version.author_name else "someone"


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
        hint = " · ".join(mention(f"prompt {what} {draft.name}") for what in ("publish", "test", "edit", "discard"))
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
        return (replace(EDIT, style="primary"), ROWS, DISCARD)
    if asks_again:
        return (Button("publish-anyway", "Publish anyway", "danger"), EDIT, DISCARD)
    test = (TEST,) if view.template.tests else ()
    return (Button("publish", "Publish", "primary"), *test, EDIT, ROWS, DISCARD)


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
        sentence, diff = _overtaken(view)
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
    blocks.append(Facts((("kind", template.kind), ("examples", str(len(template.examples))))))
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


def _overtaken(view: DraftView) -> tuple[str, str]:
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

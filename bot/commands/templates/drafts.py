"""A moderator's draft of a template: created, changed, and shown beside the published version."""

import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from bot.commands.context import Services
from bot.commands.framework.model_choice import model_for
from bot.commands.framework.request import check_moderator
from bot.core.mentions import mention, type_mentions
from bot.core.messages import Author, Scope, now_utc
from bot.core.safe_text import clean_name, replace_lone_surrogates
from bot.core.templates.forms import apply_values, blank_template
from bot.core.templates.parsing import format_template, parse_template
from bot.core.templates.template import PromptTemplate, check_template_name
from bot.core.wording import quote
from bot.errors import FewshotError, RequestError, TemplateError
from bot.store.drafts import MAX_DRAFTS, Draft
from bot.store.templates import StoredTemplate


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
    """Raise RequestError for a template that can't be published here: too long, or of a wrong kind or model."""
    shipped = services.templates.shipped
    if template.name in shipped.names and shipped.get(template.name).kind != template.kind:
        kind = shipped.get(template.name).kind
        raise RequestError(
            f"{template.name} is a built-in template of kind {kind}, and its kind can't change."
            f" Create a template of kind {template.kind} under another name."
        )
    model_for(services, template)
    await services.measuring.count_tokens(template)


async def fill_draft(
    services: Services, scope: Scope, draft: Draft, values: Mapping[str, str], *, over: int | None = None
) -> Draft:
    """Store a filled-in form: as the draft's new state if it is valid, else as typed, with the problem.

    The draft is then based on version `over`, which its author has seen, if that is still published.
    """

    async def filled(draft: Draft) -> Draft:
        published, number = await published_template(services, scope, draft.name)
        if over is not None and over == number:
            draft = rebased(draft, published, number)
        view = await view_draft(services, scope, draft)
        typed = {**(draft.form_values or {}), **{name: replace_lone_surrogates(text) for name, text in values.items()}}
        try:
            template = apply_values(view.start, typed)
            await check_template(services, template)
        except FewshotError as e:
            # Plain, since an export of what is stored is no card.
            return replace(draft, form_values=typed, problem=type_mentions(str(e), services.command_prefix))
        return replace(draft, source_text=template.source_text, form_values=None, problem="")

    return await save_made(services, scope, draft, filled)


async def change_draft(
    services: Services,
    scope: Scope,
    draft: Draft,
    change: Callable[[PromptTemplate], Awaitable[PromptTemplate]],
    *,
    closes: Sequence[str] = (),
) -> Draft:
    """Store the draft after `change`, and delete the open cards `closes` with it.

    Raises RequestError, storing nothing, if the result is not a valid template.
    """

    async def changed(draft: Draft) -> Draft:
        view = await view_draft(services, scope, draft)
        if draft.form_values is not None:
            raise RequestError(not_finished(draft))
        if view.template is None and view.base is None:
            raise RequestError(
                f"There is no template {quote(draft.name)} yet. Create it with {mention(f'prompt new {draft.name}')}."
            )
        template = await change(view.start)
        await check_template(services, template)
        return replace(draft, source_text=template.source_text)

    return await save_made(services, scope, draft, changed, closes=closes)


async def save_made(
    services: Services,
    scope: Scope,
    draft: Draft,
    make: Callable[[Draft], Awaitable[Draft]],
    *,
    closes: Sequence[str] = (),
) -> Draft:
    """Store what `make` returns for `draft`; if the stored draft changed meanwhile, make it again from that one."""
    while True:
        made = replace(await make(draft), updated_at_utc=now_utc())
        if await services.store.save_draft(scope, made, before=draft, closes=closes):
            return made
        stored = await services.store.get_draft(scope, draft.name, draft.author_id)
        # Published or discarded in between.
        draft = stored or rebased(
            Draft(draft.name, draft.author_id), *await published_template(services, scope, draft.name)
        )


async def take_found(
    services: Services,
    scope: Scope,
    author: Author,
    name: str,
    version: str,
    change: Callable[[PromptTemplate], PromptTemplate],
) -> Draft:
    """Make what a search found the asker's draft: its template after `change`.

    Raises RequestError if the draft, or without one the published template, is not the one with `version` any more.
    """
    draft = await begin_draft(services, scope, author, name)
    current = parsed(draft.source_text, name) or await services.templates.get(scope, name)
    if current.version == version:
        taken = replace(draft, source_text=format_template(change(current)), updated_at_utc=now_utc())
        if await services.store.save_draft(scope, taken, before=draft):
            return taken
    elif draft.source_text is None:
        raise RequestError(f"Someone published {name} since the search began. Give the command again.")
    raise RequestError(
        f"Your draft of {name} changed since the search began, so the result was not stored. Give the command again."
    )


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

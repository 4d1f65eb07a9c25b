"""Commands that create, edit, show, discard and import a moderator's draft of a template; their forms and cards."""

from contextlib import aclosing
from dataclasses import replace
from datetime import timedelta
from typing import Final

from bot.commands.context import Services
from bot.commands.framework.command import Cards, Command, Request
from bot.commands.framework.request import check_owner
from bot.commands.templates.draft_cards import draft_card
from bot.commands.templates.drafts import (
    begin_draft,
    change_draft,
    check_editor,
    checked_name,
    fill_draft,
    fingerprint,
    parsed,
    published_template,
    view_draft,
)
from bot.commands.templates.publishing import card_under, own_draft, publish_from_card
from bot.commands.templates.scoring import measured_cards
from bot.core.cards import Card, Form, FormField, Text
from bot.core.mentions import mention
from bot.core.messages import Click, FormSubmitted, Scope
from bot.core.stopping import Stopper
from bot.core.suggesting import suggest
from bot.core.templates.body import KINDS
from bot.core.templates.forms import FIELD_NAMES, SKELETON, apply_values, row_fields, text_fields
from bot.core.templates.template import PromptTemplate
from bot.core.wording import quote
from bot.errors import FewshotError, RequestError
from bot.services.chat import asker_of
from bot.services.open_cards import open_card
from bot.store.cards import OpenCard
from bot.store.drafts import Draft

DRAFT_FORM: Final = "template_form"
_FORM_LIFETIME: Final = timedelta(days=7)


async def answer_new(request: Request) -> Cards:
    """Open the form of a new template."""
    services, scope, author = request.services, request.message.scope, request.message.author
    await check_editor(services, scope, author, "prompt new")
    name = checked_name(request.arguments["NAME"])
    published, _ = await published_template(services, scope, name)
    if published is not None:
        raise RequestError(f"There is already a template {name}. Edit it with {mention(f'prompt edit {name}')}.")
    yield await _open_text_form(request, await begin_draft(services, scope, author, name))


async def answer_edit(request: Request) -> Cards:
    """Open the form of the asker's draft of a template."""
    services, scope, author = request.services, request.message.scope, request.message.author
    await check_editor(services, scope, author, "prompt edit")
    name = request.arguments["NAME"]
    draft = await services.store.get_draft(scope, name, author.id)
    if draft is None:
        await _check_known(services, scope, name)
        draft = await begin_draft(services, scope, author, name)
    yield await _open_text_form(request, draft)


async def _check_known(services: Services, scope: Scope, name: str) -> None:
    """Raise RequestError if no template is called `name`."""
    published, _ = await published_template(services, scope, name)
    if published is None:
        names = (await services.templates.of(scope)).names
        hint = suggest(name, names, f"create it with {mention(f'prompt new {name[:32]}')}.")
        raise RequestError(f"There is no template {quote(name)}; {hint}")


async def _open_text_form(request: Request, draft: Draft) -> Card:
    services, scope = request.services, request.message.scope
    if request.services.traits.has_buttons:
        return await _form(services, scope, draft, "texts")
    return await _file_form(services, scope, draft)


async def _form(services: Services, scope: Scope, draft: Draft, part: str, *, card: OpenCard | None = None) -> Card:
    """Return the form of one part of a draft, with what was typed last if that was not valid.

    `card` is the card of the draft on which the form opens. It names the published version that the author has seen
    since: the draft is then based on it.
    """
    view = await view_draft(services, scope, draft)
    fields_of = text_fields if part == "texts" else row_fields
    fields = fields_of(view.start, draft.form_values, max_characters=services.traits.max_form_characters)
    title = f"Template {draft.name}" if part == "texts" else f"Examples and tests of {draft.name}"
    return await _open_form(services, scope, draft, title, fields, card=card)


async def _file_form(services: Services, scope: Scope, draft: Draft) -> Card:
    """Return the form for an editor, where there are no buttons: the whole file, with the problem as its help."""
    view = await view_draft(services, scope, draft)
    typed = draft.form_values or {}
    source = view.template or view.base
    text = typed.get("file") or (source.source_text if source else SKELETON)
    field = FormField("file", f"{draft.name}.prompt", "file", help=draft.problem, value=text)
    return await _open_form(services, scope, draft, f"Template {draft.name}", (field,), has_buttons=False)


async def _open_form(
    services: Services,
    scope: Scope,
    draft: Draft,
    title: str,
    fields: tuple[FormField, ...],
    *,
    card: OpenCard | None = None,
    has_buttons: bool = True,
) -> Card:
    state = {
        "name": draft.name,
        "based_on": draft.based_on,
        "based_on_sha256": draft.based_on_sha256,
        "over": None if card is None else card.state["over"],
        "card_id": None if card is None else card.id,
        "has_buttons": has_buttons,
        "shown": fingerprint(draft),
        "shown_at": draft.updated_at_utc.isoformat(),
    }
    form = await open_card(services.store, scope, draft.author_id, DRAFT_FORM, state, lives=_FORM_LIFETIME)
    return Card(form=Form(form.id, title, fields), data={"template": draft.name}, answers="private")


async def submit_draft(services: Services, submitted: FormSubmitted, card: OpenCard) -> Cards:
    """Store the submitted form as the draft, and show it."""
    scope, author, state = submitted.scope, submitted.author, card.state
    check_owner(card, author, "form", "prompt edit NAME")
    await check_editor(services, scope, author, "prompt edit")
    name = state["name"]
    draft = await services.store.get_draft(scope, name, author.id)
    await _check_forgotten(services, scope, card, draft)
    if draft is None:
        # Based on what was published when the form was opened, not on what came in between.
        draft = Draft(name, author.id, state["based_on"], state["based_on_sha256"])
    values = {field: text for field, text in submitted.values.items() if field in FIELD_NAMES}
    draft = await fill_draft(services, scope, draft, values, over=state["over"])
    shown = await card_under(services, submitted, card)
    yield await draft_card(services, scope, draft, card=shown, has_buttons=state["has_buttons"])


async def _check_forgotten(services: Services, scope: Scope, card: OpenCard, draft: Draft | None) -> None:
    """Raise RequestError for a form opened before a member's words were erased here: it may still hold them."""
    state = card.state
    is_rewritten = (
        draft is not None
        and draft.updated_at_utc.isoformat() == state["shown_at"]
        and fingerprint(draft) != state["shown"]
    )
    versions = await services.store.template_history(scope, state["name"])
    newer = (version for version in versions if version.created_at_utc >= card.created_at_utc)
    if is_rewritten or any(version.action == "forget" for version in newer):
        raise RequestError(
            "A member's words were erased after this form was opened, and it may still hold them. Open it again."
        )


async def act_on_draft(services: Services, click: Click, card: OpenCard, stopper: Stopper) -> Cards:
    """Carry out an action on the card of a draft."""
    scope, author, action, name = click.scope, click.author, click.action, card.state["name"]
    check_owner(card, author, "card", "prompt edit NAME")
    await check_editor(services, scope, author, "prompt edit")
    if card.revision != click.revision:
        raise RequestError(_out_of_date(name))
    draft = await services.store.get_draft(scope, name, author.id)
    if draft is None:
        raise RequestError(
            f"That draft was published or discarded. Start another with {mention(f'prompt edit {name}')}."
        )
    if action in ("edit", "rows"):
        yield await _form(services, scope, draft, "texts" if action == "edit" else "rows", card=card)
    elif action == "test":
        async for shown in _test(services, click, card, draft, stopper):
            yield shown
    elif action in ("publish", "publish-anyway"):
        yield await publish_from_card(services, click, card, draft, is_anyway=action == "publish-anyway")
    elif action == "discard":
        await services.store.discard_draft(scope, name, author.id)
        await services.store.close_open_card(scope, card.id)
        yield _discarded(name, answers_in_place=True)
    elif action == "kind" and click.value in KINDS:
        draft = await fill_draft(services, scope, draft, {"kind": click.value})
        yield await draft_card(services, scope, draft, card=card)
    elif action == "preset":

        async def with_preset(template: PromptTemplate) -> PromptTemplate:
            return apply_values(template, {"preset": click.value})

        draft = await change_draft(services, scope, draft, with_preset)
        yield await draft_card(services, scope, draft, card=card)
    else:
        raise RequestError(_out_of_date(name))


def _out_of_date(name: str) -> str:
    return f"That card is out of date. See your draft with {mention(f'prompt draft {name}')}."


async def _test(services: Services, click: Click, card: OpenCard, draft: Draft, stopper: Stopper) -> Cards:
    """Measure the draft on its tests, and show it with the result."""
    scope, notice = click.scope, ""
    template = parsed(draft.source_text, draft.name)
    try:
        steps = measured_cards(services, scope, draft.name, template, asker=asker_of(click), stopper=stopper)
        async with aclosing(steps):
            async for step in steps:
                if isinstance(step, Card):
                    yield step
                elif step.value is None:
                    notice = "Stopped. Test continues from here."
    except FewshotError as e:
        notice = str(e)  # snapshots have replaced the card, so it is shown again
    yield await draft_card(services, scope, draft, card=card, notice=notice)


def _discarded(name: str, *, answers_in_place: bool = False) -> Card:
    sentence = f"Your draft of {name} is discarded; nothing else has changed."
    return Card(
        blocks=(Text(sentence),),
        data={"text": sentence, "template": name},
        answers="public" if answers_in_place else "private",
    )


async def answer_discard(request: Request) -> Cards:
    """Discard the asker's draft."""
    services, scope, author = request.services, request.message.scope, request.message.author
    name = request.arguments["NAME"]
    if not await services.store.discard_draft(scope, name, author.id):
        raise RequestError(f"You have no draft of {name[:32]}.")
    yield _discarded(name)


async def answer_drafts(request: Request) -> Cards:
    """Show the asker's draft of a template."""
    services, scope, author = request.services, request.message.scope, request.message.author
    draft = await own_draft(services, scope, author, request.arguments["NAME"])
    yield await draft_card(services, scope, draft, has_buttons=request.services.traits.has_buttons)


async def answer_import(request: Request) -> Cards:
    """Make the text of a prompt file a draft."""
    services, scope, author = request.services, request.message.scope, request.message.author
    await check_editor(services, scope, author, "prompt import")
    draft = await begin_draft(services, scope, author, request.arguments["NAME"])
    text = request.text.lstrip("\ufeff").lstrip()
    draft = await fill_draft(services, scope, draft, {"file": text})
    card = await draft_card(services, scope, draft, has_buttons=request.services.traits.has_buttons)
    # A script that imports a file looks for an error only.
    yield replace(card, data={**card.data, "error": draft.problem}) if draft.problem else card


COMMANDS: Final = (
    Command(
        name="prompt new",
        needs_model=False,
        summary="Create a template for everyone here",
        answer=answer_new,
        arguments=("NAME",),
        who="moderators",
        answers="form",
        details="It starts as your draft, which nobody else sees until you use"
        f" {mention('prompt publish NAME')}. A name has 1 to 32 characters of a-z, 0-9, _ and -.",
        examples=("prompt new greeting",),
    ),
    Command(
        name="prompt edit",
        needs_model=False,
        summary="Edit your draft of a template, or start one",
        answer=answer_edit,
        arguments=("NAME",),
        who="moderators",
        answers="form",
        details="You can edit built-in templates too: yours replaces the built-in one here.",
        examples=("prompt edit sentiment",),
    ),
    Command(
        name="prompt draft",
        summary="Show your draft of a template: changes, token cost and warnings",
        answer=answer_drafts,
        arguments=("NAME",),
        who="moderators",
        answers="private",
        examples=("prompt draft sentiment",),
    ),
    Command(
        name="prompt discard",
        needs_model=False,
        summary="Discard your draft of a template",
        answer=answer_discard,
        arguments=("NAME",),
        who="moderators",
        answers="private",
        examples=("prompt discard sentiment",),
    ),
    Command(
        name="prompt import",
        summary="Import a prompt file, attached or as the text, as your draft",
        answer=answer_import,
        arguments=("NAME",),
        text="required",
        who="moderators",
        answers="private",
        examples=("prompt import greeting",),
    ),
)

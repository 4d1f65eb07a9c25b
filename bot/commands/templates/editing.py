"""Commands that begin, change and drop a moderator's draft of a template, and the forms and cards for that."""

import re
from contextlib import aclosing
from datetime import timedelta
from typing import Final

from bot.commands.context import Services
from bot.commands.framework.command import Cards, Command, Request
from bot.commands.templates.drafts import (
    begin_draft,
    change_draft,
    check_editor,
    checked_name,
    draft_card,
    fill_draft,
    fingerprint,
    parsed,
    published_template,
    rebased,
    stand,
)
from bot.commands.templates.publishing import own_draft, publish_from_card
from bot.commands.templates.scoring import measured_cards
from bot.core.cards import Card, Form, FormField, Text
from bot.core.messages import Click, FormSubmitted, Scope
from bot.core.stopping import Stopper
from bot.core.suggesting import suggest
from bot.core.templates.body import KINDS
from bot.core.templates.forms import FIELD_NAMES, SKELETON, apply_values, row_fields, text_fields
from bot.core.wording import quote
from bot.engine.requests.work import Asker
from bot.errors import FewshotError, RequestError
from bot.services.open_cards import open_card
from bot.store.cards import OpenCard
from bot.store.drafts import Draft

DRAFT_FORM: Final = "template_form"
_FORM_LIFETIME: Final = timedelta(days=7)
_FENCED: Final = re.compile(r"\A\s*```[^\n]*\n(.*?)\n?```\s*\Z", re.DOTALL)
_MOVED_ON: Final = "That card has moved on; prompt edit {name} shows your draft as it is now."


async def answer_new(request: Request) -> Cards:
    """Begin a template of a name that is not taken."""
    services, scope, author = request.services, request.message.scope, request.message.author
    await check_editor(services, scope, author, "prompt new")
    name = checked_name(request.arguments["NAME"])
    published, _ = await published_template(services, scope, name)
    if published is not None:
        raise RequestError(f"There is a template {name} already; prompt edit {name} changes it.")
    yield await _open_text_form(request, await begin_draft(services, scope, author, name))


async def answer_edit(request: Request) -> Cards:
    """Begin or go on with the asker's draft of a template."""
    services, scope, author = request.services, request.message.scope, request.message.author
    await check_editor(services, scope, author, "prompt edit")
    name = request.arguments["NAME"]
    draft = await services.store.get_draft(scope, name, author.id)
    if draft is None:
        await _check_known(services, scope, name)
        draft = await begin_draft(services, scope, author, name)
    yield await _open_text_form(request, draft)


async def _check_known(services: Services, scope: Scope, name: str) -> None:
    """Raise RequestError for a name that no template has."""
    published, _ = await published_template(services, scope, name)
    if published is None:
        names = (await services.templates.of(scope)).names
        hint = suggest(name, names, f"prompt new {name[:32]} makes one.")
        raise RequestError(f"There is no template {quote(name)}; {hint}")


async def _open_text_form(request: Request, draft: Draft) -> Card:
    services, scope = request.services, request.message.scope
    if request.has_buttons:
        return await _form(services, scope, draft, "texts")
    return await _file_form(services, scope, draft)


async def _form(services: Services, scope: Scope, draft: Draft, part: str, *, over: int | None = None) -> Card:
    """Return the form of one part of a draft, as it was typed where it was not valid.

    `over` is the published version that the author has seen in the meantime: the draft goes on from there.
    """
    standing = await stand(services, scope, draft)
    fields_of = text_fields if part == "texts" else row_fields
    fields = fields_of(standing.start, draft.form_values, max_characters=services.traits.max_form_characters)
    title = f"Template {draft.name}" if part == "texts" else f"Examples and tests of {draft.name}"
    return await _open_form(services, scope, draft, title, fields, over=over)


async def _file_form(services: Services, scope: Scope, draft: Draft) -> Card:
    """Return the form that is filled in with an editor, where there are no buttons.

    It is the whole file, with the problem as the hint.
    """
    standing = await stand(services, scope, draft)
    typed = draft.form_values or {}
    source = standing.template or standing.base
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
    over: int | None = None,
    has_buttons: bool = True,
) -> Card:
    state = {
        "name": draft.name,
        "based_on": draft.based_on,
        "based_on_sha256": draft.based_on_sha256,
        "over": over,
        "has_buttons": has_buttons,
        "shown": fingerprint(draft),
        "shown_at": draft.updated_at_utc.isoformat(),
    }
    form = await open_card(services.store, scope, draft.author_id, DRAFT_FORM, state, lives=_FORM_LIFETIME)
    return Card(form=Form(form.id, title, fields), data={"template": draft.name}, answers="private")


async def submit_draft(services: Services, submitted: FormSubmitted, card: OpenCard) -> Cards:
    """Take over what was filled in, and show the draft."""
    scope, author, state = submitted.scope, submitted.author, card.state
    if card.owner_id != author.id:
        raise RequestError("That form is somebody else's; ask for your own with prompt edit.")
    await check_editor(services, scope, author, "prompt edit")
    name = state["name"]
    draft = await services.store.get_draft(scope, name, author.id)
    await _check_forgotten(services, scope, card, draft)
    if draft is None:
        # Begun from what was published when the form was opened, not from what came in between.
        draft = Draft(name, author.id, state["based_on"], state["based_on_sha256"])
    draft = await _caught_up(services, scope, draft, state["over"])
    values = {field: text for field, text in submitted.values.items() if field in FIELD_NAMES}
    draft = await fill_draft(services, scope, draft, values)
    yield await draft_card(services, scope, draft, has_buttons=state["has_buttons"])


async def _check_forgotten(services: Services, scope: Scope, card: OpenCard, draft: Draft | None) -> None:
    """Raise RequestError for a form opened before a member's words were forgotten here: it may still say them."""
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
            "Since this form was opened, words of a member were forgotten that it may still say; open it again."
        )


async def _caught_up(services: Services, scope: Scope, draft: Draft, over: int | None) -> Draft:
    """Return the draft as one of the version `over`, which its author has seen, where that is still published."""
    published, number = await published_template(services, scope, draft.name)
    return rebased(draft, published, number) if over is not None and over == number else draft


async def act_on_draft(services: Services, click: Click, card: OpenCard, stopper: Stopper) -> Cards:
    """Do what was chosen on the card of a draft."""
    scope, author, action, name = click.scope, click.author, click.action, card.state["name"]
    if card.owner_id != author.id:
        raise RequestError("That card is somebody else's; ask for your own with prompt edit.")
    await check_editor(services, scope, author, "prompt edit")
    if card.revision != click.revision:
        raise RequestError(_MOVED_ON.format(name=name))
    draft = await services.store.get_draft(scope, name, author.id)
    if draft is None:
        raise RequestError(f"That draft is gone: it was published or discarded; prompt edit {name} begins another.")
    if action in ("edit", "rows"):
        yield await _form(services, scope, draft, "texts" if action == "edit" else "rows", over=card.state["over"])
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
        value = {"preset": click.value}
        draft = await change_draft(services, scope, draft, lambda template: apply_values(template, value))
        yield await draft_card(services, scope, draft, card=card)
    else:
        raise RequestError(_MOVED_ON.format(name=name))


async def _test(services: Services, click: Click, card: OpenCard, draft: Draft, stopper: Stopper) -> Cards:
    """Measure the draft on its tests, and show it with what came of that."""
    scope, notice = click.scope, ""
    template = parsed(draft.source_text, draft.name)
    asker = Asker(scope, (scope.platform, click.author.id), click.id)
    try:
        steps = measured_cards(services, scope, draft.name, template, asker=asker, stopper=stopper)
        async with aclosing(steps):
            async for step in steps:
                if isinstance(step, Card):
                    yield step
                elif step.value is None:
                    notice = "Stopped; Test goes on from there."
    except FewshotError as e:
        notice = str(e)  # the card is under the snapshots, so it is shown again
    yield await draft_card(services, scope, draft, card=card, notice=notice)


def _discarded(name: str, *, answers_in_place: bool = False) -> Card:
    sentence = f"Your draft of {name} is discarded; what is published stays as it is."
    return Card(
        blocks=(Text(sentence),),
        data={"text": sentence, "template": name},
        answers="public" if answers_in_place else "private",
    )


async def answer_discard(request: Request) -> Cards:
    """Drop the asker's draft."""
    services, scope, author = request.services, request.message.scope, request.message.author
    name = request.arguments["NAME"]
    if not await services.store.discard_draft(scope, name, author.id):
        raise RequestError(f"You have no draft of {name[:32]}.")
    yield _discarded(name)


async def answer_drafts(request: Request) -> Cards:
    """Show the asker's draft of a template as it is."""
    services, scope, author = request.services, request.message.scope, request.message.author
    draft = await own_draft(services, scope, author, request.arguments["NAME"])
    yield await draft_card(services, scope, draft, has_buttons=request.has_buttons)


async def answer_import(request: Request) -> Cards:
    """Make a draft of the text of a prompt file."""
    services, scope, author = request.services, request.message.scope, request.message.author
    await check_editor(services, scope, author, "prompt import")
    draft = await begin_draft(services, scope, author, request.arguments["NAME"])
    fenced = _FENCED.match(request.text)
    text = fenced[1] if fenced else request.text.lstrip("\ufeff").lstrip()
    draft = await fill_draft(services, scope, draft, {"file": text})
    yield await draft_card(services, scope, draft, has_buttons=request.has_buttons)


COMMANDS: Final = (
    Command(
        name="prompt new",
        summary="begins a template of this server, in a form",
        answer=answer_new,
        arguments=("NAME",),
        who="moderators",
        answers="form",
        details="What is filled in becomes your draft; nobody sees it before prompt publish. A name has 1 to 32 of"
        " a-z, 0-9, _ and -.",
        examples=("prompt new greeting",),
    ),
    Command(
        name="prompt edit",
        summary="begins or goes on with your draft of a template, in a form",
        answer=answer_edit,
        arguments=("NAME",),
        who="moderators",
        answers="form",
        details="A template that comes with the bot can be edited too: yours takes its place on this server.",
        examples=("prompt edit sentiment",),
    ),
    Command(
        name="prompt draft",
        summary="your draft of a template: what it changes, what it costs, warnings",
        answer=answer_drafts,
        arguments=("NAME",),
        who="moderators",
        answers="private",
        examples=("prompt draft sentiment",),
    ),
    Command(
        name="prompt discard",
        summary="drops your draft of a template",
        answer=answer_discard,
        arguments=("NAME",),
        who="moderators",
        answers="private",
        examples=("prompt discard sentiment",),
    ),
    Command(
        name="prompt import",
        summary="makes a draft of a prompt file: attached, or as the text",
        answer=answer_import,
        arguments=("NAME",),
        text="required",
        who="moderators",
        answers="private",
        examples=("prompt import greeting",),
    ),
)

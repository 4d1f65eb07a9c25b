"""Commands that publish a draft and delete a template."""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final, Literal

from bot.commands.context import Services
from bot.commands.framework.command import Cards, Command, Option, Request
from bot.commands.framework.model_choice import chosen_model, model_fields
from bot.commands.framework.request import check_owner
from bot.commands.templates.draft_cards import draft_card
from bot.commands.templates.drafts import DraftView, check_editor, check_template, fingerprint, not_finished, view_draft
from bot.commands.templates.scoring import load_score, score_to_keep
from bot.core.cards import Button, Card, Form, FormField, Text
from bot.core.mentions import mention, mention_option
from bot.core.messages import Author, Click, FormSubmitted, Scope
from bot.core.safe_text import one_line, replace_lone_surrogates
from bot.core.stopping import Stopper
from bot.core.templates.diff import diff_templates
from bot.core.templates.template import PromptTemplate
from bot.errors import RequestError
from bot.services.open_cards import open_card
from bot.store.cards import OpenCard
from bot.store.drafts import Draft

DELETE_CARD: Final = "template_delete"
TRY_CARD: Final = "template_try"
REASON_FORM: Final = "reason_form"
MAX_REASON: Final = 300
_FORM_LIFETIME: Final = timedelta(days=1)
_TRY_LIFETIME: Final = timedelta(days=30)
_OVERTAKEN: Final = "Your draft was not published, because someone else published first."


def checked_reason(text: str) -> str:
    """Return a reason as it is stored. Raises RequestError if it is too long."""
    reason = one_line(replace_lone_surrogates(text))
    if len(reason) > MAX_REASON:
        raise RequestError(f"The reason has {len(reason):,} characters; the limit is {MAX_REASON}. Shorten it.")
    return reason


@dataclass(frozen=True, slots=True)
class Published:
    """A new version: its number, its template, and whether it was measured on its tests before."""

    number: int
    template: PromptTemplate
    is_measured: bool


async def publish_draft(
    services: Services, scope: Scope, author: Author, view: DraftView, *, reason: str, over: int | None
) -> Published | Literal["overtaken", "reason"]:
    """Publish a draft and return the new version, or what is missing: a look at a newer version, or a reason.

    `over` is the number of the published version that the author has seen. Raises RequestError if the draft can't be
    published.
    """
    draft, template, name = view.draft, view.template, view.name
    if draft.form_values is not None:
        raise RequestError(not_finished(draft))
    if template is None:
        raise RequestError(f"Your draft of {name} is not valid any more. Edit it again or discard it.")
    if view.published is not None and not diff_templates(view.published, template):
        raise RequestError(f"Your draft of {name} is the same as the published version. Change it or discard it.")
    if view.is_overtaken and over != view.number:
        return "overtaken"
    await check_template(services, template)
    score = await load_score(services, scope, name, template)
    if score.comparison is not None and score.comparison.verdict == "worse" and not reason:
        return "reason"
    number = await services.store.add_template_version(
        scope,
        name,
        action="edit" if view.published is not None else "new",
        author=author,
        source_text=template.source_text,
        version=template.version,
        reason=reason,
        parent_number=draft.based_on,
        expected_published=view.number,
        draft_author_id=draft.author_id,
    )
    if number is None:
        return "overtaken"
    if score.figures is not None:
        kept = score_to_keep(score.figures)
        await services.store.set_score(scope, name, number, version=template.version, score=kept, model=score.model)
    return Published(number, template, score.figures is not None)


async def published_card(
    services: Services, scope: Scope, author: Author, published: Published, *, is_in_place: bool = False
) -> Card:
    """Return the card about a new version, with a way to try it."""
    template = published.template
    name, has_buttons = template.name, services.traits.has_buttons
    blocks = [Text(f"Published {name} as version {published.number}.")]
    if template.tests and not published.is_measured:
        blocks.append(
            Text(
                "It was not measured on its tests since its last change. Measure it with"
                f" {mention(f'prompt test {name}')}."
            )
        )
    is_chat = template.kind == "chat"
    if is_chat:
        blocks.append(Text(f"To talk with it here, use {mention(f'settings chat_template {name}')}.", is_quiet=True))
    elif not has_buttons:
        blocks.append(Text(f"Try it with {mention(f'prompt {name} TEXT')}.", is_quiet=True))
    card = Card(
        blocks=tuple(blocks),
        data={
            "text": blocks[0].text,
            "template": name,
            "number": published.number,
            "is_measured": published.is_measured,
        },
        answers="public" if is_in_place else "private",
    )
    if is_chat or not has_buttons:
        return card
    kept = await open_card(services.store, scope, author.id, TRY_CARD, {"name": name}, lives=_TRY_LIFETIME)
    button = Button("try", "Try it", "primary")
    return replace(card, buttons=(button,), open_card_id=kept.id, revision=kept.revision)


async def tried_card(services: Services, card: OpenCard, shown: Card) -> Card:
    """Return `shown`, the answer to a try, as the next revision of the published template's card."""
    buttons: tuple[Button, ...] = (Button("try", "Try another text", "primary"),)
    if shown.reply_id:
        following = replace(card, revision=card.revision + 1, state={**card.state, "reply_id": shown.reply_id})
        if await services.store.save_open_card(following):
            card, buttons = following, (*buttons, Button("why", "Why"))
    return replace(shown, answers="public", buttons=buttons, open_card_id=card.id, revision=card.revision)


async def act_on_published(services: Services, click: Click, card: OpenCard, stopper: Stopper) -> Cards:
    """Open the form that asks for a text to try the template with, again and again."""
    check_owner(card, click.author, "card", "prompt NAME TEXT")
    yield await try_form(services, click.scope, card)


async def try_form(services: Services, scope: Scope, card: OpenCard) -> Card:
    """Return the form that asks for a text to try the template of `card` with."""
    name = card.state["name"]
    template = await services.templates.get(scope, name)
    example = template.tests[0].input if template.tests else ""
    field = FormField("text", "Text", "paragraph", value=example[: services.traits.max_form_characters])
    chosen = chosen_model(services, await services.place_of(scope), template, is_asked=False)
    return Card(form=Form(card.id, f"Try {name}", (field, *model_fields(services, chosen))), answers="private")


async def own_draft(services: Services, scope: Scope, author: Author, name: str) -> Draft:
    """Return the author's draft of `name`. Raises RequestError if there is none."""
    draft = await services.store.get_draft(scope, name, author.id)
    if draft is None:
        raise RequestError(f"You have no draft of {name[:32]}. Start one with {mention(f'prompt edit {name[:32]}')}.")
    return draft


async def answer_publish(request: Request) -> Cards:
    """Publish the asker's draft."""
    services, scope, author = request.services, request.message.scope, request.message.author
    await check_editor(services, scope, author, "prompt publish")
    name, reason = request.arguments["NAME"], checked_reason(request.text)
    over = request.options.get("over", "")
    view = await view_draft(services, scope, await own_draft(services, scope, author, name))
    if over and not (over.isascii() and over.isdigit()):
        raise RequestError(f"{mention_option('over')} takes the number of the version that is published now.")
    done = await publish_draft(services, scope, author, view, reason=reason, over=int(over[:9]) if over else None)
    if isinstance(done, Published):
        yield await published_card(services, scope, author, done)
    elif done == "reason":
        raise RequestError(
            "This draft scores worse than the published version. To publish it anyway, give a reason:"
            f" {mention(f'prompt publish {name} REASON')}"
        )
    else:
        view = await view_draft(services, scope, await own_draft(services, scope, author, name))
        notice = _OVERTAKEN
        has_buttons = services.traits.has_buttons
        if not has_buttons:
            notice += f" To publish over it, use {mention(f'prompt publish --over {view.number} {name}')}."
        yield await draft_card(services, scope, view.draft, notice=notice, asks_again=True, has_buttons=has_buttons)


async def publish_from_card(services: Services, click: Click, card: OpenCard, draft: Draft, *, is_anyway: bool) -> Card:
    """Publish the draft that the clicked card shows; if the draft has changed since, show it again."""
    scope = click.scope
    if card.state["shown"] != fingerprint(draft):
        notice = "Your draft has changed since this card was shown. This is the current one."
        return await draft_card(services, scope, draft, card=card, notice=notice)
    over = int(card.state["over"]) if is_anyway else None
    view = await view_draft(services, scope, draft)
    done = await publish_draft(services, scope, click.author, view, reason="", over=over)
    if isinstance(done, Published):
        await services.store.close_open_card(scope, card.id)
        return await published_card(services, scope, click.author, done, is_in_place=True)
    if done == "overtaken":
        # On a double click the first one has published the draft.
        draft = await own_draft(services, scope, click.author, draft.name)
        return await draft_card(services, scope, draft, card=card, notice=_OVERTAKEN, asks_again=True)
    state = {"name": draft.name, "shown": card.state["shown"], "over": over, "card_id": card.id}
    form = await open_card(services.store, scope, click.author.id, REASON_FORM, state, lives=_FORM_LIFETIME)
    hint = "It scores worse than the published version. The reason is shown in the history."
    field = FormField("reason", "Why publish it anyway?", "paragraph", help=hint, max_characters=MAX_REASON)
    return Card(form=Form(form.id, f"Publish {draft.name}", (field,)), answers="private")


async def card_under(services: Services, submitted: FormSubmitted, form: OpenCard) -> OpenCard | None:
    """Return the card of the draft on which `form` was opened, if the answer to the form replaces it."""
    card_id = form.state.get("card_id")
    if not submitted.is_on_card or card_id is None:
        return None
    return await services.store.get_open_card(submitted.scope, card_id)


async def submit_reason(services: Services, submitted: FormSubmitted, card: OpenCard) -> Cards:
    """Publish with the submitted reason."""
    scope, author = submitted.scope, submitted.author
    check_owner(card, author, "form", "prompt publish NAME")
    await check_editor(services, scope, author, "prompt publish")
    reason = checked_reason(submitted.values.get("reason", ""))
    if not reason:
        raise RequestError("The reason is missing. Say in a few words why the draft should be published.")
    draft = await own_draft(services, scope, author, card.state["name"])
    shown = await card_under(services, submitted, card)
    if fingerprint(draft) != card.state["shown"]:
        notice = "Your draft has changed since this form was opened. This is the current one."
        yield await draft_card(services, scope, draft, card=shown, notice=notice)
        return
    view = await view_draft(services, scope, draft)
    done = await publish_draft(services, scope, author, view, reason=reason, over=card.state["over"])
    if isinstance(done, Published):
        if shown is not None:
            await services.store.close_open_card(scope, shown.id)
        yield await published_card(services, scope, author, done, is_in_place=shown is not None)
    else:
        draft = await own_draft(services, scope, author, draft.name)
        yield await draft_card(services, scope, draft, card=shown, notice=_OVERTAKEN, asks_again=True)


async def answer_delete(request: Request) -> Cards:
    """Ask for confirmation, then delete a template; with the option `sure` delete it at once."""
    services, scope, author = request.services, request.message.scope, request.message.author
    await check_editor(services, scope, author, "prompt delete")
    name, reason = request.arguments["NAME"], checked_reason(request.text)
    library = await services.templates.of(scope)
    library.get(name)
    number = library.number(name)
    if not number:
        raise RequestError(
            f"{name} is built in and can't be deleted. To replace it, use {mention(f'prompt edit {name}')}."
        )
    if request.options.get("sure"):
        yield await delete_published(services, scope, author, name, number, reason)
        return
    after = " The built-in version comes back." if name in services.templates.shipped.names else ""
    undo = mention(f"prompt rollback {name} {number}")
    sentence = f"Delete version {number} of {name}?{after} Its history is kept; to undo this, use {undo}."
    data: dict[str, Any] = {"text": sentence, "template": name, "number": number}
    state = {"name": name, "number": number, "reason": reason}
    card = await open_card(services.store, scope, author.id, DELETE_CARD, state, lives=_FORM_LIFETIME)
    if not services.traits.has_buttons:
        hint = Text("Type yes to delete it, or no to keep it.", is_quiet=True)
        yield Card(blocks=(Text(sentence), hint), data=data, answers="private")
        return
    yield Card(
        blocks=(Text(sentence),),
        data=data,
        answers="private",
        buttons=(Button("delete", "Delete it", "danger"),),
        open_card_id=card.id,
        revision=card.revision,
    )


async def act_on_delete(services: Services, click: Click, card: OpenCard, stopper: Stopper) -> Cards:
    """Delete the template that the card asked about."""
    check_owner(card, click.author, "card", "prompt delete NAME")
    await check_editor(services, click.scope, click.author, "prompt delete")
    state = card.state
    done = await delete_published(services, click.scope, click.author, state["name"], state["number"], state["reason"])
    await services.store.close_open_card(click.scope, card.id)
    yield done


async def delete_published(
    services: Services, scope: Scope, author: Author, name: str, number: int, reason: str
) -> Card:
    """Delete version `number` of a template. Raises RequestError if it is not the published one."""
    store = services.store
    deleted = await store.delete_template(scope, name, author=author, reason=reason, expected_published=number)
    if deleted is None:
        raise RequestError(f"Version {number} of {name} is not the published one any more, so nothing was deleted.")
    is_back = name in services.templates.shipped.names
    sentence = f"{name} is deleted{'; the built-in version is back' if is_back else ''}."
    return Card(blocks=(Text(sentence),), data={"text": sentence, "template": name, "number": deleted})


COMMANDS: Final = (
    Command(
        name="prompt publish",
        summary="Publish your draft for everyone here",
        answer=answer_publish,
        arguments=("NAME",),
        text="optional",
        text_name="REASON",
        options=(Option("over", "text", "the version that someone else published in between, to publish over it"),),
        who="moderators",
        answers="private",
        examples=("prompt publish sentiment clearer examples",),
    ),
    Command(
        name="prompt delete",
        needs_model=False,
        summary="Delete a template, after a confirmation",
        answer=answer_delete,
        arguments=("NAME",),
        needs_published=True,
        text="optional",
        text_name="REASON",
        options=(Option("sure", "choice", "delete without a confirmation", choices=("yes",)),),
        who="moderators",
        answers="private",
        examples=("prompt delete greeting nobody uses it",),
    ),
)

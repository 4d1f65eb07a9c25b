"""The model that a request is for, and its answer by that model, which is loaded first where that is needed."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import replace
from typing import Final

from bot.commands.context import Services
from bot.commands.framework.command import MODEL, ONE_OR_TWO_MODELS, Cards, Command, Request, TextSource
from bot.commands.framework.parsing import parse_command_line
from bot.commands.framework.request import is_command_line
from bot.core.cards import LOADING, Answers, Card, FormField, SelectOption, Text
from bot.core.mentions import mention
from bot.core.messages import Message, Scope
from bot.core.sampling_params import check_lacking
from bot.core.stopping import Stopper
from bot.core.templates.parsing import parse_template
from bot.core.templates.template import PromptTemplate
from bot.errors import RequestError, TemplateError
from bot.services.places import Place

_OWN_DRAFTS: Final = "prompt "  # commands about a template: they mean the asker's draft before the published version


def model_of_place(services: Services, place: Place) -> str:
    """Return the model that answers in a place, by its settings."""
    return place.values["model"]


def model_of_chat(services: Services, place: Place) -> str:
    """Return the model that answers the messages of a place. Raises RequestError if its template's is not there."""
    template = place.templates.get(place.values["chat_template"])
    return model_for(services, template) or model_of_place(services, place)


def model_for(services: Services, template: PromptTemplate) -> str:
    """Return the model that `template` names, "" if it names none. Raises RequestError for one that is not there."""
    if not template.model:
        return ""
    try:
        return services.models.check(template.model)
    except RequestError as e:
        raise RequestError(
            f"The template {template.name} names the model {template.model}, which is not here;"
            f" {services.models.listed}. A moderator can change that line of the file with"
            f" {mention(f'prompt import {template.name}')}."
        ) from e


async def model_of_template(
    services: Services, place: Place, scope: Scope, name: str, *, author_id: str = "", is_asked: bool = False
) -> str:
    """Return the model of the template `name`: that of the draft of `author_id`, else of the published version.

    If it names one that is not there, that raises RequestError where the model `is_asked` for answers; what only edits
    or shows the template is done with the model of the place.
    """
    template = place.templates.get(name) if name in place.templates.names else None
    draft = await services.store.get_draft(scope, name, author_id) if author_id and name else None
    with suppress(TemplateError):  # the command that reads the draft says what is wrong with it
        if draft is not None and draft.source_text is not None:
            template = parse_template(draft.source_text, name=name, source=name)
    return chosen_model(services, place, template, is_asked=is_asked)


def chosen_model(services: Services, place: Place, template: PromptTemplate | None, *, is_asked: bool) -> str:
    """Return the model that a template names, else that of the place; see `model_of_template`."""
    here = model_of_place(services, place)
    if template is None:
        return here
    try:
        return model_for(services, template) or here
    except RequestError:
        if is_asked:
            raise
        return here


def model_fields(services: Services, chosen: str) -> tuple[FormField, ...]:
    """Return the field of a form that chooses the model, at first `chosen`; none where there is only one."""
    names = services.models.names
    if len(names) == 1:
        return ()
    options = tuple(SelectOption(name, name, is_chosen=name == chosen) for name in names)
    return (FormField(MODEL.name, "Model", "choice", options=options),)


async def find_template_model(request: Request) -> str:
    """Return the model of the template that a command asks for answers. Raises RequestError if it is not there."""
    author_id = "" if request.command.needs_published else request.message.author.id
    scope, name = request.message.scope, request.arguments.get("NAME", "")
    place = await request.services.place_of(scope)
    return await model_of_template(request.services, place, scope, name, author_id=author_id, is_asked=True)


def model_that_wrote(services: Services, name: str) -> str:
    """Return the model `name` that wrote an answer. Raises RequestError if it is not there any more."""
    found = services.models.find(name)
    if found is None:
        raise RequestError(
            f"{name} wrote this, and it is no longer here; {services.models.listed}. Ask again for an answer by"
            " another model."
        )
    return found


async def model_of_request(request: Request, place: Place | None = None) -> str | None:
    """Return the model that a command is answered with, None if it needs none.

    That is the one that its option names, else the command's own choice, its template's, and the place's. Raises
    RequestError for one that is not there.
    """
    services, command, scope = request.services, request.command, request.message.scope
    if not command.needs_model:
        return None
    named = _named(request)
    if named is not None and _is_for_two(request, named):
        return None  # the command asks one after the other
    if named is not None:
        return services.models.check(named)
    if command.find_model is not None:
        return await command.find_model(request)
    place = place or await services.place_of(scope)
    name = request.arguments.get("NAME")
    if name is None or not command.name.startswith(_OWN_DRAFTS):
        return model_of_place(services, place)
    return await model_of_template(services, place, scope, name, author_id=request.message.author.id)


async def model_of_typed(services: Services, commands: Mapping[str, Command], typed: Message) -> str:
    """Return the model that would answer a line that is being typed, as far as it is typed.

    Raises RequestError for one that is not there.
    """
    place = await services.place_of(typed.scope)
    here = model_of_place(services, place)
    prefix = services.command_prefix
    if not is_command_line(typed.text, prefix):
        return here if place.story_since is not None else model_of_chat(services, place)
    try:
        line = parse_command_line(typed.text[len(prefix) :], commands)
    except RequestError:
        return here
    source, stopper = TextSource(typed.id), Stopper()
    request = Request(services, commands, stopper, typed, line.command, line.arguments, line.options, line.text, source)
    return await model_of_request(request, place) or here


async def answer_request(request: Request, place: Place | None = None) -> Cards:
    """Return the answer to a command by the model that it is for."""
    name = await model_of_request(request, place)
    command = request.command
    # A command whose answers are private is answered in public only where it was typed in public.
    is_private = command.answers != "public" and request.message.reach != "public"

    def answer(services: Services) -> Cards:
        if name is not None:
            check_lacking(request.options, services.engine.info.lacking)
        return command.answer(_by(request, services))

    return answered_by(request.services, name, answer, loading="private" if is_private else "public")


def _by(request: Request, services: Services) -> Request:
    """Return the request to the model of `services`, which the option has chosen by now."""
    return replace(without_model(request), services=services)


def _named(request: Request) -> str | None:
    """Return what the option that chooses a model says, None without it."""
    return str(request.options[MODEL.name]) if MODEL.name in request.options else None


def _is_for_two(request: Request, named: str) -> bool:
    """Say whether `named` is two models, and the command puts two side by side; for any other it is no model's name."""
    return "," in named and ONE_OR_TWO_MODELS in request.command.options


def without_model(request: Request) -> Request:
    """Return the request without the option that chooses a model; all others are the command's own."""
    named = _named(request)
    if named is None or _is_for_two(request, named):
        return request
    options = {name: value for name, value in request.options.items() if name != MODEL.name}
    return replace(request, options=options)


async def answered_by(
    services: Services, name: str | None, answer: Callable[[Services], Cards], *, loading: Answers | None = None
) -> Cards:
    """Yield the cards of `answer` by the model `name` (None: whichever), which stays loaded until the end.

    A first snapshot for those that `loading` names says that it is being loaded (None: nobody). Raises what
    `Models.lease` raises.
    """
    if name is None:
        async with aclosing(answer(services)) as cards:
            async for card in cards:
                yield card
        return
    if loading is not None and not services.models.is_ready(name):
        yield loading_card(name, answers=loading)
    async with leased(services, name) as by, aclosing(answer(by)) as cards:
        async for card in cards:
            yield card


# Told a sentence about what is done first.
Tell = Callable[[str], None]


def tell_nobody(_: str) -> None:
    """Tell nobody what is done first."""


@asynccontextmanager
async def leased(services: Services, name: str, tell: Tell = tell_nobody) -> AsyncIterator[Services]:
    """Return the parts with the model `name`, which stays loaded until the end; `tell` is told if it is loaded first.

    Raises what `Models.lease` raises.
    """
    if not services.models.is_ready(name):
        tell(loading_sentence(name))
    async with services.models.lease(name) as engine:
        yield services.on(engine)


def loading_card(name: str, *, answers: Answers = "public") -> Card:
    """Return the snapshot that says that the model `name` is being loaded."""
    blocks = (Text(loading_sentence(name), is_quiet=True),)
    return Card(blocks=blocks, data={LOADING: name}, answers=answers, is_final=False)


def loading_sentence(name: str) -> str:
    """Return what people read while the model `name` is being loaded."""
    return f"Loading {name} …"

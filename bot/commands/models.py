"""The command that shows the models, says which one answers here and why, and lets moderators choose."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from bot.commands.context import Services
from bot.commands.framework.command import Cards, Command, Request
from bot.commands.framework.model_choice import model_of_place
from bot.commands.framework.request import check_moderator
from bot.core.cards import Block, Card, Select, SelectOption, Table, Text
from bot.core.channel_settings import DEFAULT, effective_origins
from bot.core.mentions import mention
from bot.core.messages import Click, Scope
from bot.core.stopping import Stopper
from bot.core.wording import quote
from bot.errors import RequestError
from bot.services.models import ModelState
from bot.services.open_cards import open_card
from bot.services.places import Place
from bot.store.cards import OpenCard

MODELS_CARD: Final = "models"
_CHOOSE: Final = "model"  # the setting, and the action of the select
_LIFETIME: Final = timedelta(days=365)


async def answer_model(request: Request) -> Cards:
    """Show the models, and which of them answers here."""
    services, message = request.services, request.message
    card = None
    may_choose = message.author.is_moderator and len(services.models.names) > 1
    if may_choose and services.traits.has_buttons and request.may_store:
        card = await open_card(services.store, message.scope, message.author.id, MODELS_CARD, {}, lives=_LIFETIME)
    yield await _models_card(services, message.scope, card, may_choose=may_choose)


async def act_on_models(services: Services, click: Click, card: OpenCard, stopper: Stopper) -> Cards:
    """Choose the model of the channel, and show all models again."""
    check_moderator(click.author, "settings")
    if click.action != _CHOOSE:
        raise RequestError(f"That card is out of date. See the models with {mention('model')}.")
    await services.store.set_setting(click.scope, "channel", _CHOOSE, services.models.check(click.value))
    yield await _models_card(services, click.scope, card, may_choose=True)


async def _models_card(services: Services, scope: Scope, card: OpenCard | None, *, may_choose: bool) -> Card:
    place, states = await services.place_of(scope), services.models.states()
    used, sentences = await _used(services, scope, place)
    blocks: list[Block] = [Text(sentence) for sentence in sentences]
    blocks.append(_table(states))
    blocks += [Text(f"{one.name} can't do: {', '.join(lacks)}.") for one in states if (lacks := _lacks(one))]
    if any(state.num_bytes for state in states):
        blocks.append(Text("Memory counts the weights, in each precision in use, and the KV cache.", is_quiet=True))
    if may_choose and card is None:
        how = f"{mention('settings model NAME')} chooses one here; {DEFAULT} resets it."
        blocks.append(Text(how, is_quiet=True))
    data = {"text": sentences[0], "model": used, "models": [_data(state) for state in states]}
    shown = Card(blocks=tuple(blocks), data=data)
    if card is None:
        return shown
    options = tuple(SelectOption(state.name, f"Model: {state.name}", is_chosen=state.name == used) for state in states)
    select = Select(_CHOOSE, "Choose the model that answers here", options)
    return replace(shown, selects=(select,), open_card_id=card.id, revision=card.revision)


async def _used(services: Services, scope: Scope, place: Place) -> tuple[str, list[str]]:
    """Return the model that answers in a place, and sentences about where that comes from."""
    names, name = services.models.names, model_of_place(services, place)
    template = place.templates.get(place.values["chat_template"])
    origin = await _origin(services, scope)
    sentences = [f"{name} answers here: {origin}."]
    asked = place.stored.get(_CHOOSE)
    if asked is not None and asked.casefold() not in {one.casefold() for one in names}:
        sentences.append(f"The settings ask for {quote(asked)}, which is no longer here.")
    if not template.model:
        return name, sentences
    found = next((one for one in names if one.casefold() == template.model.casefold()), "")
    if not found:
        sentences.append(
            f"The chat template {template.name} names {template.model}, which is not here: chat is refused."
        )
    elif found != name:
        sentences.append(f"In chat it is {found}: the template {template.name} names it.")
    return name, sentences


async def _origin(services: Services, scope: Scope) -> str:
    levels = await services.store.settings_by_level(scope)
    origin = effective_origins({_CHOOSE: services.channel_settings[_CHOOSE]}, **levels)[_CHOOSE]
    if origin == DEFAULT:
        return "it is the default" if len(services.models.names) > 1 else "it is the only one"
    if not scope.has_server:
        return "this conversation's setting"
    return "this channel's setting" if origin == "channel" else f"the {services.traits.server_word}'s setting"


def _table(states: tuple[ModelState, ...]) -> Table:
    columns = ("model", "parameters", "context", "tokens/s", "memory", "state")
    rows = [
        (
            state.name + (" (default)" if state.is_default and len(states) > 1 else ""),
            f"{state.num_parameters / 1e6:,.1f}M" if state.num_parameters else "—",
            f"{state.context_length:,}" if state.context_length else "—",
            "—" if (speed := speed_of(state)) is None else f"{speed:,.0f}",
            f"{state.num_bytes / 2**20:,.0f} MiB" if state.num_bytes else "—",
            state_of(state),
        )
        for state in states
    ]
    return Table(columns, tuple(rows))


def speed_of(state: ModelState) -> float | None:
    """Return the speed of decoding in tokens per second: of answers, or as measured before; None if unknown."""
    if state.stats is not None and state.stats.tokens_per_s is not None:
        return state.stats.tokens_per_s
    if state.info is None:
        return None
    figures = (one for one in state.info.precision_figures if one.precision == state.info.precision)
    return next((one.tokens_per_s for one in figures), None)


def state_of(state: ModelState) -> str:
    """Return whether a model is loaded, or where it is."""
    if state.info is not None and state.info.server:
        return f"at {state.info.device}"
    if not state.num_bytes and not state.is_default:
        return "not connected"
    return "loaded" if state.is_loaded else "not loaded"


def _lacks(state: ModelState) -> list[str]:
    """Return what a model on a server was found not to do."""
    return [] if state.info is None else [one.name for one in state.info.abilities if not one.is_there]


def _data(state: ModelState) -> Mapping[str, Any]:
    return {
        "name": state.name,
        "is_default": state.is_default,
        "is_loaded": state.is_loaded,
        "num_parameters": state.num_parameters or None,
        "context_length": state.context_length or None,
        "num_bytes": state.num_bytes or None,
        "tokens_per_s": speed_of(state),
        "lacks": _lacks(state),
    }


COMMANDS: Final = (
    Command(
        name="model",
        summary="Show the models, and which one answers here",
        answer=answer_model,
        needs_model=False,
        details="A moderator chooses one for a channel or server with settings model NAME. A template may name one with"
        ' the line model = "NAME". A model that is not loaded is loaded when it is first asked for.',
    ),
)

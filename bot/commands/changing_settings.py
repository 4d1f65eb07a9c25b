"""The settings of a channel and its server: shown with where each comes from, and changed."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final

from bot.commands.context import Services
from bot.commands.framework.command import Cards, Command, Option, Request
from bot.commands.framework.request import check_moderator
from bot.core.cards import Card, Select, SelectOption, Table, Text
from bot.core.channel_settings import (
    DEFAULT,
    SETTING_LEVELS,
    ChannelSetting,
    effective_origins,
    effective_values,
    hidden_values,
    kind_of_place,
    with_chat_templates,
)
from bot.core.mentions import mention
from bot.core.messages import Click, PlaceKind, Scope
from bot.core.stopping import Stopper
from bot.core.suggesting import suggest
from bot.core.word_list import BLOCKED_WORDS, WordList
from bot.core.wording import quote
from bot.errors import RequestError
from bot.services.open_cards import open_card
from bot.store.cards import OpenCard
from bot.store.channel_settings import SettingLevel

SETTINGS_CARD: Final = "settings"
_LIFETIME: Final = timedelta(days=365)
# These have a select on the card; the others are typed.
_SELECTED: Final = {
    "model": ("model", "the model of"),
    "chat_template": ("chat template", "the chat template of"),
    "preset": ("sampling preset", "the sampling preset of"),
    "answer_when": ("when to answer", "when to answer in"),
}
# What stands before the names of roles and channels where the platform writes a sign.
_SIGNS: Final = {"role": "@", "channel": "#"}
_PLACES: Final[Mapping[PlaceKind, str]] = {
    "server": "a server",
    "direct": "a direct message",
    "group": "a group conversation",
    "foreign": "a server that the bot is not in",
    "terminal": "the terminal",
}


@dataclass(frozen=True, slots=True)
class _InForce:
    """The settings of a place: `values` as set, those `in_force`, as `shown` to people, and what each level stores."""

    kind: PlaceKind
    server_word: str
    declared: Mapping[str, ChannelSetting]
    values: Mapping[str, str]
    in_force: Mapping[str, str]
    shown: Mapping[str, str]
    origins: Mapping[str, str]
    levels: Mapping[str, Mapping[str, str]]
    num_blocked_words: int = 0


@dataclass(frozen=True, slots=True)
class _Change:
    """A change of one setting at one level, in values as people read them."""

    name: str
    level: SettingLevel
    old: str
    new: str
    note: str = ""
    has_server: bool = True
    server_word: str = "server"

    @property
    def sentence(self) -> str:
        """Return what has changed, and where it applies."""
        place = self.server_word if self.level == "server" else self.level
        where = f"this {place}" if self.has_server else "this conversation"
        if self.old == self.new:
            return f"{self.name} stays {self.new} for {where}.{self.note}"
        return f"{self.name}: {self.old} → {self.new}, for {where}.{self.note}"


async def answer_settings(request: Request) -> Cards:
    """Show the settings, or change one."""
    services = request.services
    scope = request.message.scope
    change = None
    if "NAME" in request.arguments:
        name, value = _named_value(request.arguments)
        setting = await _find_setting(request, name)
        if not value:
            yield _value_card(await _load_settings(services, scope), setting)
            return
        change = await _change_setting(request, setting, value)
    card = None
    if request.services.traits.has_buttons and request.may_store:
        # Without a setting to change, the level is that of the selects.
        level = {"level": "server"} if change is None and request.options.get("level") == "server" else {}
        card = await open_card(services.store, scope, request.message.author.id, SETTINGS_CARD, level, lives=_LIFETIME)
    yield _settings_card(await _load_settings(services, scope), card, change)


async def act_on_settings(services: Services, click: Click, card: OpenCard, stopper: Stopper) -> Cards:
    """Change the setting whose select was used, and show all settings again."""
    check_moderator(click.author, "settings")
    if click.action not in _SELECTED:
        raise RequestError(f"That setting has no menu. Use {mention('settings NAME VALUE')}.")
    setting = (await services.declared_in(click.scope))[click.action]
    _check_place(services, setting, click.scope)
    change = await _set(services, click.scope, _level_of(card), click.action, setting.read(click.action, click.value))
    yield _settings_card(await _load_settings(services, click.scope), card, change)


def _level_of(card: OpenCard) -> SettingLevel:
    """Return the level whose values the selects of `card` show and change."""
    return "server" if card.state.get("level") == "server" else "channel"


async def _load_settings(services: Services, scope: Scope) -> _InForce:
    place = await services.place_of(scope)
    declared = with_chat_templates(services.channel_settings, place.templates.chat_names)
    levels = await services.store.settings_by_level(scope)
    origins = dict(effective_origins(declared, **levels))
    in_force = dict(place.values)
    template = place.templates.get(place.values["chat_template"])
    if origins["preset"] == DEFAULT and template.sampling:
        origins["preset"] = f"template {template.name}"
        in_force["preset"] = ", ".join(f"{name} {value}" for name, value in template.sampling.items())
    ids = [one for name, value in in_force.items() if declared[name].ids_of for one in value.split()]
    await services.names.prepare(scope, ids)
    shown = {name: _shown(services, scope, declared[name], value) for name, value in in_force.items()}
    kind, word = kind_of_place(scope, services.traits), services.traits.server_word
    num_words = len(WordList.stored(place.stored.get(BLOCKED_WORDS, "")).words)
    return _InForce(kind, word, declared, place.values, in_force, shown, origins, levels, num_words)


def _shown(services: Services, scope: Scope, setting: ChannelSetting, value: str) -> str:
    """Return a value as people read it: roles and channels by their names."""
    if setting.ids_of:
        value = ", ".join(services.names.name_of(scope, one) for one in value.split())
    return value or "—"


def _settings_card(settings: _InForce, card: OpenCard | None, change: _Change | None) -> Card:
    here = {name: one for name, one in settings.declared.items() if settings.kind in one.acts_in}
    words = {"server": settings.server_word}
    origins = {name: words.get(origin, origin) for name, origin in settings.origins.items()}
    rows = [(name, settings.shown[name], origins[name], one.help) for name, one in here.items()]
    hidden = hidden_values(here, **settings.levels)
    data: dict[str, Any] = {
        "settings": dict(settings.values),
        "in_force": dict(settings.in_force),
        "origins": dict(settings.origins),
        "hidden": dict(hidden),
    }
    changed: tuple[Text, ...] = ()
    if change is not None:
        changed = (Text(change.sentence),)
        told = {"setting": change.name, "level": change.level, "old": change.old, "new": change.new}
        data = {"text": change.sentence, "changed": told, **data}
    table = Table(("setting", "value", "from", "meaning"), tuple(rows))
    notes = (_hidden_line(name, value, settings.server_word) for name, value in hidden.items())
    shown = Card(blocks=(*changed, table, *notes, *_words_line(settings.num_blocked_words)), data=data)
    if card is None:
        return shown
    level, values = _level_of(card), settings.values
    if level == "server":
        values = effective_values(settings.declared, settings.levels["server"])
    selects = tuple(
        _select(here[name], values[name], *labels, words.get(level, level))
        for name, labels in _SELECTED.items()
        if name in here and (name != "model" or len(here[name].choices) > 1)
    )
    return replace(shown, selects=selects, open_card_id=card.id, revision=card.revision)


def _words_line(num_words: int) -> tuple[Text, ...]:
    """Return the line that there is a word list, without its words: everyone in the channel may read it."""
    if not num_words:
        return ()
    words = "1 word" if num_words == 1 else f"{num_words} words"
    return (
        Text(f"Public answers here may not have {words}; {mention('wordlist')} shows moderators which.", is_quiet=True),
    )


def _hidden_line(name: str, value: str, server_word: str) -> Text:
    reset = mention(f"settings {name} {DEFAULT}")
    text = f"The {server_word}'s {name} is {value}, but this channel has its own. {reset} removes that."
    return Text(text, is_quiet=True)


def _select(setting: ChannelSetting, value: str, label: str, choose: str, place: str) -> Select:
    # Once an option is chosen, platforms show it in place of the select's own label.
    name = label.capitalize()
    options = (SelectOption(choice, f"{name}: {choice}", is_chosen=choice == value) for choice in setting.choices)
    return Select(setting.name, f"Choose {choose} this {place}", tuple(options))


def _check_place(services: Services, setting: ChannelSetting, scope: Scope) -> None:
    if kind_of_place(scope, services.traits) not in setting.acts_in:
        raise RequestError(f"{setting.name} has no effect in {_PLACES[scope.kind]}, so it can't be set here.")


def _named_value(arguments: Mapping[str, str]) -> tuple[str, str]:
    """Return the name and value that were typed, also as `name = value`, in capitals, or with a hyphen in the name."""
    typed, has_equals, inline = arguments["NAME"].partition("=")
    value = " ".join(filter(None, (inline, arguments.get("VALUE", ""))))
    value = value if has_equals else value.removeprefix("=").lstrip()
    return typed.casefold().replace("-", "_"), value


async def _find_setting(request: Request, name: str) -> ChannelSetting:
    """Return the setting `name`. Raises RequestError if it does not exist, or has no effect here."""
    settings = await request.services.declared_in(request.message.scope)
    if name not in settings:
        here = list(await _settings_here(request))
        hint = suggest(name, here, f"choose from {', '.join(here)}.")
        raise RequestError(f"There is no setting {quote(name)}; {hint}")
    _check_place(request.services, settings[name], request.message.scope)
    return settings[name]


def _value_card(settings: _InForce, setting: ChannelSetting) -> Card:
    """Return the card that says what one setting is, and how to change it."""
    name = setting.name
    value, origin = settings.shown[name], settings.origins[name]
    change = f"To change it, use {mention(f'settings {name} VALUE')}: it takes {setting.takes}; {DEFAULT} resets it."
    data = {"text": f"{name}: {value}", "setting": name, "value": settings.in_force[name], "origin": origin}
    return Card(blocks=(Text(f"{name}: {value} (from: {origin})"), Text(change, is_quiet=True)), data=data)


async def _change_setting(request: Request, setting: ChannelSetting, value: str) -> _Change:
    name = setting.name
    level: SettingLevel = "server" if setting.is_server_only else request.options.get("level", "channel")
    checked = None if value.casefold() == DEFAULT else setting.read(name, value)
    if setting.ids_of and checked:
        await request.services.names.prepare(request.message.scope, checked.split())
        _check_ids(request, setting, checked)
    return await _set(request.services, request.message.scope, level, name, checked)


def _check_ids(request: Request, setting: ChannelSetting, ids: str) -> None:
    """Raise RequestError unless `ids` are roles or channels of the server, as far as the platform knows them."""
    look_up, sign = request.services.names.look_up, _SIGNS[setting.ids_of]
    if look_up is None:
        return
    for one in ids.split():
        name = look_up(request.message.scope, one)
        if name is None or (name[:1] in _SIGNS.values() and name[:1] != sign):
            raise RequestError(
                f"This {request.services.traits.server_word} has no {setting.ids_of} {quote(one)}."
                f" {setting.name} takes {setting.takes}."
            )


async def _set(services: Services, scope: Scope, level: SettingLevel, name: str, value: str | None) -> _Change:
    """Store a value at `level` (None: reset it), and return what that has changed."""
    before = await _load_settings(services, scope)
    await services.store.set_setting(scope, level, name, value)
    after = await _load_settings(services, scope)
    # Outside servers each conversation has its own values at both levels.
    if level == "channel" or not scope.has_server or after.origins[name] != "channel":
        is_at_server, word = scope.has_server, before.server_word
        return _Change(name, level, before.shown[name], after.shown[name], has_server=is_at_server, server_word=word)

    def at_server(settings: _InForce) -> str:
        stored = effective_values(settings.declared, settings.levels["server"])[name]
        return _shown(services, scope, settings.declared[name], stored)

    note = f" This channel keeps its own value, {after.shown[name]}."
    return _Change(name, level, at_server(before), at_server(after), note, server_word=before.server_word)


async def _settings_here(request: Request) -> Mapping[str, ChannelSetting]:
    """Return the settings by name that can be set where `request` was made."""
    scope = request.message.scope
    kind = kind_of_place(scope, request.services.traits)
    return {name: one for name, one in (await request.services.declared_in(scope)).items() if kind in one.acts_in}


async def _list_settings(request: Request) -> Table:
    """Return the settings that can be set where help was asked for, with their values."""
    here = (await _settings_here(request)).values()
    return Table(("setting", "values", "meaning"), tuple((one.name, one.takes, one.help) for one in here))


_LEVEL: Final = Option(
    "level", "choice", "where it applies: to this channel, or to all of them", choices=SETTING_LEVELS
)

COMMANDS: Final = (
    Command(
        name="settings",
        needs_model=False,
        summary="Show the settings that are in force here, or change one",
        answer=answer_settings,
        arguments=("NAME", "VALUE"),
        num_optional_arguments=2,
        takes_rest=True,
        options=(_LEVEL,),
        who="moderators",
        help_table=_list_settings,
        examples=("settings preset careful", "settings --level server history_length 20", "settings preset default"),
    ),
)

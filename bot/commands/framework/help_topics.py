"""Help that is not about one command: the sampling options with their ranges and defaults, and the presets."""

from collections.abc import Sequence
from typing import Any, Final

from bot.commands.framework.command import SAMPLING_OPTIONS, Option
from bot.commands.framework.spelling import Spelling
from bot.core.cards import Card, Table, Text
from bot.core.mentions import mention, mention_option
from bot.core.sampling_params import COMPLETION_DEFAULTS, OPTIONS, PRESETS, SamplingParams

_COLUMNS: Final = ("option", "values", "default", "meaning")
_OPTIONS_BY_NAME: Final = {option.name: option for option in SAMPLING_OPTIONS}
TOPICS: Final = ("options", "presets", *_OPTIONS_BY_NAME, *PRESETS)


def topic_card(topic: str, spelling: Spelling) -> Card | None:
    """Return the help on one of TOPICS; None if `topic` is none of them."""
    name = topic.replace("-", "_")
    if name == "options":
        note = (
            f"A preset sets several at once: {mention('help presets')}. A template may bring its own defaults,"
            " and an option overrides both."
        )
        return _options_card(SAMPLING_OPTIONS, spelling, note)
    if name in ("presets", "preset"):
        return _presets_card(tuple(PRESETS), f"Use one with {mention_option('preset')}; an option overrides it.")
    if name in _OPTIONS_BY_NAME:
        note = f"All options: {mention('help options')}."
        return _options_card((_OPTIONS_BY_NAME[name],), spelling, note)
    if name in PRESETS:
        return _presets_card((name,), f"All presets: {mention('help presets')}.")
    return None


def _options_card(options: Sequence[Option], spelling: Spelling, note: str) -> Card:
    rows = tuple((spelling.option(one), one.takes, _default(one.name), one.help) for one in options)
    data = [{"name": one.name, "takes": one.takes, "default": _default(one.name), "help": one.help} for one in options]
    return _card(Table(_COLUMNS, rows), note, {"options": data})


def _presets_card(names: Sequence[str], note: str) -> Card:
    rows = tuple((name, ", ".join(f"{option} {value:g}" for option, value in PRESETS[name].items())) for name in names)
    return _card(
        Table(("preset", "what it sets"), rows), note, {"presets": {name: dict(PRESETS[name]) for name in names}}
    )


def _card(table: Table, note: str, data: dict[str, Any]) -> Card:
    return Card(blocks=(table, Text(note, is_quiet=True)), data=data, answers="private")


def _default(name: str) -> str:
    """Return the default of an option in words."""
    if name not in OPTIONS:
        return "none"
    if OPTIONS[name].default is None:
        return "drawn, and shown"
    default = f"{getattr(SamplingParams(), name):g}"
    other = getattr(COMPLETION_DEFAULTS, name)
    return default if f"{other:g}" == default else f"{default} (complete: {other:g})"

"""Suggested values for the option of a command that is being typed; never from the model."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from bot.commands.context import Services
from bot.commands.framework.command import MODEL, Command
from bot.commands.framework.help_topics import TOPICS
from bot.commands.framework.line_completion import Expected, expected_at_end
from bot.core.channel_settings import ChannelSetting, kind_of_place, with_chat_templates
from bot.core.messages import Scope


@dataclass(frozen=True, slots=True)
class KnownNames:
    """The names that a scope has of its own: templates, and the settings that have an effect there."""

    templates: tuple[str, ...] = ()
    chat_templates: tuple[str, ...] = ()
    settings: Mapping[str, ChannelSetting] = field(default_factory=dict)
    models: tuple[str, ...] = ()


async def known_names(services: Services, scope: Scope) -> KnownNames:
    """Return the names that may be typed in `scope`. Raises Unavailable."""
    library = await services.templates.of(scope)
    declared = with_chat_templates(services.channel_settings, library.chat_names)
    kind = kind_of_place(scope, services.traits)
    here = {name: setting for name, setting in declared.items() if kind in setting.acts_in}
    return KnownNames(tuple(library.names), tuple(library.chat_names), here, services.models.names)


async def suggest_values(
    services: Services,
    commands: Mapping[str, Command],
    scope: Scope,
    command_name: str,
    option_name: str,
    typed: str,
) -> tuple[str, ...]:
    """Return values for the option or leading word `option_name` of the command, the best first.

    There are at most as many as the platform allows.
    """
    has_names = command_name.split(" ", maxsplit=1)[0] in ("settings", "prompt", "help")
    has_names = has_names or option_name.casefold() == MODEL.name
    known = await known_names(services, scope) if has_names else KnownNames()
    values = ranked(typed, _values(commands, known, command_name, option_name.casefold()))
    return values[: services.traits.max_options]


def expected_in(commands: Mapping[str, Command], known: KnownNames, line: str) -> Expected:
    """Return what may stand at the end of a typed command line (without its prefix)."""

    def values_of(command: Command, name: str, words: Sequence[str]) -> Sequence[str]:
        if command.name == "settings" and words:
            setting = known.settings.get(words[0])
            return (*setting.choices, "default") if setting else ()
        return _values(commands, known, command.name, name.casefold())

    return expected_at_end(line, commands, values_of)


def _values(commands: Mapping[str, Command], known: KnownNames, command_name: str, name: str) -> Sequence[str]:
    command = commands.get(command_name)
    if command is None:
        return ()
    if command_name == "help":
        return tuple(dict.fromkeys((*commands, *(one.split()[0] for one in commands), *TOPICS, *known.settings)))
    if command_name == "settings" and name == "name":
        return tuple(known.settings)
    if command_name == "settings" and name == "value":
        listed = (choice for setting in known.settings.values() for choice in setting.choices)
        return tuple(dict.fromkeys((*listed, "default")))
    if name == MODEL.name and any(option.name == MODEL.name for option in command.options):
        return known.models
    for option in command.options:
        if option.name == name and option.choices:
            return option.choices
    for argument, choices in command.argument_choices.items():
        if argument.casefold() == name:
            return choices
    if command_name.startswith("prompt ") and name in ("name", "template"):
        hidden = known.chat_templates if command_name in ("prompt run", "prompt example") else ()
        return tuple(one for one in known.templates if one not in hidden)
    return ()


def ranked(typed: str, values: Iterable[str]) -> tuple[str, ...]:
    """Return the `values` that start with what was typed, then those that contain it, then similar ones."""
    typed = typed.strip().casefold()[:64]
    folded = {value.casefold(): value for value in values}
    found = [value for value in folded if value.startswith(typed)]
    if typed:
        found += [value for value in folded if typed in value]
        found += difflib.get_close_matches(typed, folded, n=max(1, len(folded)), cutoff=0.5)
    return tuple(folded[value] for value in dict.fromkeys(found))

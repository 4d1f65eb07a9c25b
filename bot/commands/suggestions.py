"""Suggested values for the option of a command that is being typed; never from the model."""

import difflib
from collections.abc import Iterable, Mapping, Sequence

from bot.commands.context import Services
from bot.commands.framework.command import Command
from bot.core.messages import Scope


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
    values = ranked(typed, await _values(services, commands, scope, command_name, option_name.casefold()))
    return values[: services.traits.max_options]


async def _values(
    services: Services, commands: Mapping[str, Command], scope: Scope, command_name: str, name: str
) -> Sequence[str]:
    command = commands.get(command_name)
    if command is None:
        return ()
    if command_name == "help":
        return tuple(dict.fromkeys((*commands, *(one.split()[0] for one in commands))))
    if command_name == "settings" and name == "name":
        return tuple(services.channel_settings)
    if command_name == "settings" and name == "value":
        named = (setting.choices for setting in (await services.declared_in(scope)).values())
        return tuple(dict.fromkeys((*(choice for choices in named for choice in choices), "default")))
    for option in command.options:
        if option.name == name and option.choices:
            return option.choices
    for argument, choices in command.argument_choices.items():
        if argument.casefold() == name:
            return choices
    if command_name.startswith("prompt ") and name in ("name", "template"):
        templates = await services.templates.of(scope)
        hidden = templates.chat_names if command_name in ("prompt run", "prompt example") else ()
        return tuple(one for one in templates.names if one not in hidden)
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

"""The entries in a message's own menu, from the commands' declarations."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

import discord
from discord import app_commands

from bot.commands.framework.command import Command

# discord.py 2.7.1 refuses a sixth.
MAX_MENUS: Final = 5

InvokedOn = Callable[[discord.Interaction[Any], str, discord.Message], Awaitable[None]]


def context_menus(commands: Iterable[Command], invoked_on: InvokedOn) -> list[tuple[Command, app_commands.ContextMenu]]:
    """Return each command that declares a menu entry, and the entry; it calls `invoked_on` with the command's name.

    Raises ValueError for more than five.
    """
    menus = [(command, _context_menu(command.menu, command.name, invoked_on)) for command in commands if command.menu]
    if len(menus) > MAX_MENUS:
        raise ValueError(f"{len(menus)} menu entries are declared, and Discord shows {MAX_MENUS}")
    return menus


def _context_menu(title: str, command_name: str, invoked_on: InvokedOn) -> app_commands.ContextMenu:
    async def callback(interaction: discord.Interaction[Any], message: discord.Message) -> None:
        await invoked_on(interaction, command_name, message)

    return app_commands.ContextMenu(name=title, callback=callback)

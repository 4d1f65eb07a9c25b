"""The slash commands, built from the commands' declarations; each invocation becomes the equivalent command line."""

import asyncio
import hashlib
import inspect
import json
import logging
import traceback
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any, Final, Protocol

import aiohttp
import discord
from discord import app_commands

from bot.commands.framework.command import Command
from bot.core.cards import BROKEN
from bot.errors import FewshotError
from bot.platforms.discord.interactions.slash_options import (
    FILE_OPTION,
    SlashOption,
    command_line_of,
    description_of,
    slash_options,
)
from bot.platforms.discord.traits import MAX_OPTION_CHARACTERS, MAX_OPTIONS

logger = logging.getLogger(__name__)

# Discord waits 3 s for suggestions, including the round trip.
SUGGESTING_S: Final = 2.0
# discord.py 2.7.1 refuses a sixth entry in a message's menu.
_MAX_MENUS: Final = 5

_STALE: Final = "This command has changed since Discord showed it to you. Reload Discord and try again."

InvokedOn = Callable[[discord.Interaction[Any], str, discord.Message], Awaitable[None]]


class Invocable(Protocol):
    """The callbacks of the slash commands."""

    async def invoked(
        self, interaction: discord.Interaction[Any], line: str, attachment: discord.Attachment | None
    ) -> None:
        """Answer a command, given as its equivalent line, with its attached file."""

    async def invoked_on(
        self, interaction: discord.Interaction[Any], command_name: str, message: discord.Message
    ) -> None:
        """Answer a command of the menu of `message`."""

    async def suggest_values(
        self, interaction: discord.Interaction[Any], command_name: str, option_name: str, typed: str
    ) -> tuple[str, ...]:
        """Return values that start with `typed` or are similar to it."""


class CommandTree(app_commands.CommandTree[Any]):
    """A command tree that shows errors as one sentence, visible only to the person."""

    async def on_error(self, interaction: discord.Interaction[Any], error: app_commands.AppCommandError, /) -> None:
        """Show the error; log a failure of the bot by its type and traceback, never with people's texts."""
        sentence = _sentence(error)
        if sentence is None:
            cause = error.original if isinstance(error, app_commands.CommandInvokeError) else error
            name = interaction.command.qualified_name if interaction.command else "unknown"
            place = "".join(traceback.format_tb(cause.__traceback__))
            logger.error("/%s failed: %s\n%s", name, type(cause).__name__, place)
        try:
            if interaction.type is discord.InteractionType.autocomplete:
                await interaction.response.autocomplete([])
            else:
                await _tell(interaction, sentence or BROKEN)
        except (discord.DiscordException, aiohttp.ClientError, OSError) as e:
            logger.warning("could not show an error: %s", type(e).__name__)


def add_commands(
    tree: app_commands.CommandTree[Any],
    commands: Mapping[str, Command],
    interactions: Invocable,
    *,
    command_prefix: str = "!",
) -> None:
    """Add a slash command for each of `commands`, and the menu entries.

    `purge` becomes /purge and `prompt show` becomes /prompt show. Discord's permissions apply to whole top-level
    commands, so moderators' subcommands get a group of their own: `prompt edit` becomes /prompt-edit edit.
    """
    groups: dict[str, app_commands.Group] = {}
    for command in commands.values():
        first, _, second = command.name.partition(" ")
        built = _slash_command(command, second or first, interactions, command_prefix)
        if not second:
            tree.add_command(built)
            continue
        name = command.slash_name.partition(" ")[0]
        if name not in groups:
            groups[name] = app_commands.Group(
                name=name,
                description=_group_description(first, command.who, commands.values()),
                allowed_contexts=_contexts(command),
                allowed_installs=_installs(command),
                default_permissions=_permissions(command),
            )
            tree.add_command(groups[name])
        groups[name].add_command(built)
    for command, menu in _context_menus(commands.values(), interactions.invoked_on):
        menu.allowed_contexts, menu.allowed_installs = _contexts(command), _installs(command)
        menu.default_permissions = _permissions(command)
        tree.add_command(menu)


def tree_hash(tree: app_commands.CommandTree[Any]) -> str:
    """Return a hash of everything that a sync would send and of the application's id."""
    payload = [command.to_dict(tree) for command in tree.get_commands()]
    text = json.dumps([tree.client.application_id, payload], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


async def sync_if_changed(
    tree: app_commands.CommandTree[Any],
    read_hash: Callable[[], Awaitable[str | None]],
    write_hash: Callable[[str], Awaitable[None]],
    *,
    force: bool = False,
    alone: Callable[[], AbstractAsyncContextManager[None]] = nullcontext,
) -> bool:
    """Send the commands to Discord if they have changed since the last sync; return whether they were sent.

    While `alone` is open, no other program sends them. Raises discord.HTTPException; the hash is then not written, so
    the next start tries again.
    """
    fingerprint = tree_hash(tree)
    if not force and await read_hash() == fingerprint:
        return False
    async with alone():
        # Another program may have sent them until now.
        if not force and await read_hash() == fingerprint:
            return False
        await tree.sync()
        await write_hash(fingerprint)
    return True


def _slash_command(
    command: Command, name: str, interactions: Invocable, command_prefix: str
) -> app_commands.Command[Any, ..., Any]:
    async def callback(interaction: discord.Interaction[Any], **given: Any) -> None:
        line = command_line_of(command, given, command_prefix)
        await interactions.invoked(interaction, line, given.get(FILE_OPTION))

    # discord.py reads a command's options from the signature of its callback.
    parameters = [inspect.Parameter("interaction", inspect.Parameter.POSITIONAL_OR_KEYWORD)]
    options = slash_options(command)
    for option in options:
        default = inspect.Parameter.empty if option.is_required else None
        value = _value_of(option, command, interactions)
        parameters.append(
            inspect.Parameter(option.name, inspect.Parameter.KEYWORD_ONLY, annotation=value, default=default)
        )
    callback.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    app_commands.describe(**{option.name: description_of(option.help) for option in options})(callback)
    built = app_commands.Command[Any, ..., Any](
        name=name,
        description=description_of(command.summary),
        callback=callback,
        allowed_contexts=_contexts(command),
        allowed_installs=_installs(command),
    )
    built.default_permissions = _permissions(command)
    return built


def _context_menus(
    commands: Iterable[Command], invoked_on: InvokedOn
) -> list[tuple[Command, app_commands.ContextMenu]]:
    """Return each command with a menu entry, and the entry, which calls `invoked_on` with the command's name.

    Raises ValueError for more than five entries.
    """
    menus = [(command, _context_menu(command.menu, command.name, invoked_on)) for command in commands if command.menu]
    if len(menus) > _MAX_MENUS:
        raise ValueError(f"{len(menus)} menu entries are declared, and Discord shows {_MAX_MENUS}")
    return menus


def _context_menu(title: str, command_name: str, invoked_on: InvokedOn) -> app_commands.ContextMenu:
    async def callback(interaction: discord.Interaction[Any], message: discord.Message) -> None:
        await invoked_on(interaction, command_name, message)

    return app_commands.ContextMenu(name=title, callback=callback)


def _value_of(option: SlashOption, command: Command, interactions: Invocable) -> Any:
    if option.kind is discord.AppCommandOptionType.attachment:
        return discord.Attachment
    if not option.is_suggested:
        return _Value(option)

    async def suggest(interaction: discord.Interaction[Any], typed: str) -> tuple[str, ...]:
        return await interactions.suggest_values(interaction, command.name, option.declared_name, typed)

    return _SuggestedValue(option, suggest)


class _Value(app_commands.Transformer[Any]):
    """The type and limits of one option's value; the value is passed on unchanged."""

    def __init__(self, option: SlashOption) -> None:
        self._option = option

    @property
    def type(self) -> discord.AppCommandOptionType:
        return self._option.kind

    @property
    def min_value(self) -> int | float | None:
        return self._option.lowest

    @property
    def max_value(self) -> int | float | None:
        return self._option.highest

    @property
    def choices(self) -> list[app_commands.Choice[int | float | str]] | None:
        choices = self._option.choices
        return [app_commands.Choice[int | float | str](name=choice, value=choice) for choice in choices] or None

    async def transform(self, interaction: discord.Interaction[Any], value: Any, /) -> Any:
        return value


class _SuggestedValue(_Value):
    """A text option with autocomplete."""

    def __init__(
        self, option: SlashOption, suggest: Callable[[discord.Interaction[Any], str], Awaitable[tuple[str, ...]]]
    ) -> None:
        super().__init__(option)
        self._suggest = suggest

    async def autocomplete(
        self, interaction: discord.Interaction[Any], value: int | float | str, /
    ) -> list[app_commands.Choice[int | float | str]]:
        """Return the suggestions, none if they fail or take too long; never raises."""
        try:
            async with asyncio.timeout(SUGGESTING_S):
                values = await self._suggest(interaction, str(value))
        except Exception as e:
            logger.warning("could not suggest values: %s", type(e).__name__)
            values = ()
        # A value that is too long for Discord is left out: cut, it would be another value.
        fitting = [value for value in values if 1 <= len(value) <= MAX_OPTION_CHARACTERS]
        return [app_commands.Choice(name=value, value=value) for value in fitting[:MAX_OPTIONS]]


def _group_description(first: str, who: str, commands: Iterable[Command]) -> str:
    family = [command.name.split() for command in commands if command.who == who]
    return description_of(f"{first}: {', '.join(words[1] for words in family if words[0] == first and words[1:])}")


def _contexts(command: Command) -> app_commands.AppCommandContext:
    return app_commands.AppCommandContext(guild=True, dm_channel=True, private_channel=_is_for_anywhere(command))


def _installs(command: Command) -> app_commands.AppInstallationType:
    return app_commands.AppInstallationType(guild=True, user=_is_for_anywhere(command))


def _is_for_anywhere(command: Command) -> bool:
    """Say whether a person who installed the app may use the command where the bot is not a member."""
    return command.who == "all" and not command.needs_conversation


def _permissions(command: Command) -> discord.Permissions | None:
    return discord.Permissions(manage_guild=True) if command.who == "moderators" else None


def _sentence(error: app_commands.AppCommandError) -> str | None:
    """Return the sentence about `error` for the person; None if the bot itself failed."""
    if isinstance(error, app_commands.CommandInvokeError):
        return str(error.original) if isinstance(error.original, FewshotError) else None
    if isinstance(error, app_commands.CommandNotFound | app_commands.CommandSignatureMismatch):
        return _STALE
    return None


async def _tell(interaction: discord.Interaction[Any], sentence: str) -> None:
    nobody = discord.AllowedMentions.none()
    if interaction.response.is_done():
        await interaction.followup.send(sentence, ephemeral=True, allowed_mentions=nobody, suppress_embeds=True)
    else:
        await interaction.response.send_message(sentence, ephemeral=True, allowed_mentions=nobody, suppress_embeds=True)

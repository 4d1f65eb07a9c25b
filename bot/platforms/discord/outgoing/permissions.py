"""The bot's permissions in a channel, as far as discord.py knows them, by the names that Discord shows."""

from collections.abc import Sequence
from typing import Final

import discord

from bot.platforms.discord.starting import NEEDED_PERMISSIONS

_NAMES: Final = {
    "view_channel": "View Channel",
    "send_messages": "Send Messages",
    "send_messages_in_threads": "Send Messages in Threads",
    "read_message_history": "Read Message History",
    "embed_links": "Embed Links",
    "attach_files": "Attach Files",
    "add_reactions": "Add Reactions",
}
# What each kind of request needs, by the names of discord.py.
TO_SEND: Final = ("view_channel", "send_messages")
TO_ATTACH: Final = ("view_channel", "send_messages", "attach_files")
TO_REPLY: Final = ("view_channel", "read_message_history")
TO_REACT: Final = ("view_channel", "read_message_history", "add_reactions")
TO_VIEW: Final = ("view_channel",)


def missing_permissions(allowed: discord.Permissions) -> tuple[str, ...]:
    """Return which of the permissions that the bot asks for are missing."""
    return tuple(
        _NAMES.get(name, name) for name, is_needed in NEEDED_PERMISSIONS if is_needed and not getattr(allowed, name)
    )


def missing_in(channel: object, needs: Sequence[str]) -> tuple[str, ...]:
    """Return which of `needs` the bot is missing in `channel`; none where that is not known, as in direct messages."""
    if not isinstance(channel, discord.abc.GuildChannel | discord.Thread):
        return ()
    # Despite discord.py's types it is None until the server is loaded.
    me: discord.Member | None = channel.guild.me
    if me is None:
        return ()
    try:
        allowed = channel.permissions_for(me)
    except discord.ClientException:  # a thread whose channel is not cached
        return ()
    names = _in_place(channel, needs)
    if "view_channel" in names and not allowed.view_channel:
        return (_NAMES["view_channel"],)  # without it discord.py denies all others too
    missing = [name for name in names if not getattr(allowed, name)]
    if "attach_files" in missing and not allowed.send_messages:
        # discord.py denies files without Send Messages, also in threads, where it does not count.
        missing.remove("attach_files")
    return tuple(_NAMES[name] for name in missing)


def refused_in(channel: object, needs: Sequence[str]) -> tuple[str, ...]:
    """Return the permissions of `needs` that are missing where Discord has refused a request; at least one."""
    return missing_in(channel, needs) or (_NAMES[_in_place(channel, needs)[-1]],)


def _in_place(channel: object, needs: Sequence[str]) -> list[str]:
    is_thread = isinstance(channel, discord.Thread)
    return ["send_messages_in_threads" if is_thread and name == "send_messages" else name for name in needs]


def listed(names: Sequence[str]) -> str:
    """Return permissions as a sentence lists them: `permission A`, `permissions A and B`."""
    if len(names) == 1:
        return f"permission {names[0]}"
    return f"permissions {', '.join(names[:-1])} and {names[-1]}"

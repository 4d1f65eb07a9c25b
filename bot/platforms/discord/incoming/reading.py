"""From Discord's payloads to Message, Scope and Author; only the payload is read, since almost nothing is cached."""

import re
from collections.abc import Collection
from dataclasses import replace
from typing import Any, Final

import discord

from bot.core.messages import DIRECT_MESSAGES, Author, Message, PlaceKind, Scope, ShownCard
from bot.core.safe_text import clean_name
from bot.errors import RequestError
from bot.platforms.discord.incoming.attachments import is_text_file, picture_ids_of
from bot.platforms.discord.interactions.items import shown_card
from bot.platforms.discord.traits import DISCORD

_SAID: Final = (discord.MessageType.default, discord.MessageType.reply)

# Mentions, custom emoji and command links are sent as ids in angle brackets.
_MARKUP: Final = re.compile(
    r"<(?:@!?(?P<user>\d+)|@&(?P<role>\d+)|#(?P<channel>\d+)|a?:(?P<emoji>\w+):\d+|/(?P<command>[^:<>\n]+):\d+)>"
)


def read_message(
    message: discord.Message, me: discord.abc.User, *, owner_ids: Collection[str] = (), command_prefix: str = "!"
) -> Message | None:
    """Return a person's message; None for bots, webhooks, the bot itself and Discord's system messages.

    A message read over REST contains no roles: only the server's owner and `owner_ids` are its moderators. Forwarded
    words are its attachment; attached files are not read here: see attachments.py.
    """
    if _is_automatic(message) or message.type not in _SAID:
        return None
    return _read(message, me, owner_ids, command_prefix)


def read_replied(message: discord.Message, me: discord.abc.User, *, command_prefix: str = "!") -> Message | None:
    """Return the message that `message` replies to, also another bot's; None if it is gone or this bot's own.

    The payload of the reply contains it without its author's server nickname and roles.
    """
    replied = message.reference.resolved if message.reference and _reply_to(message) else None
    if not isinstance(replied, discord.Message) or replied.type not in _SAID or replied.author.id == me.id:
        return None
    return _read(replied, me, (), command_prefix)


def _read(message: discord.Message, me: discord.abc.User, owner_ids: Collection[str], command_prefix: str) -> Message:
    server_id = _server_id(message)
    forwarded = _forwarded(message)
    return Message(
        id=str(message.id),
        # Bots get no messages from group conversations.
        scope=_scope(server_id, message.channel, "direct" if server_id is None else "server"),
        author=_author(message.author, _manages_server(message), owner_ids, is_bot=_is_automatic(message)),
        text=_text(message, me, command_prefix),
        attachment=None if forwarded is None else _plain(message, forwarded),
        has_file=any(map(is_text_file, message.attachments)),
        picture_ids=picture_ids_of(message.attachments),
        reply_to=_reply_to(message),
        replied_card=_replied_card(message, me),
        is_addressed=server_id is None or _is_addressed(message, me),
        created_at_utc=message.created_at,
        reach="private" if server_id is None else "public",
    )


def read_target(message: discord.Message, me: discord.abc.User, scope: Scope) -> Message | None:
    """Return the message whose menu was used in `scope`; None for one of the bot's own.

    Its text, or the text forwarded with it, is unchanged: mentions are not replaced as they are for a conversation.
    """
    if message.author.id == me.id:
        return None
    read = _read(message, me, (), "")
    return replace(read, scope=scope, text=message.content, attachment=_forwarded(message), is_addressed=False)


def read_edit(
    event: discord.RawMessageUpdateEvent,
    me: discord.abc.User,
    *,
    owner_ids: Collection[str] = (),
    command_prefix: str = "!",
) -> Message | None:
    """Return the edited message; None if its text was not edited (a link preview was added, the message was pinned)."""
    if event.message.edited_at is None:
        return None
    return read_message(event.message, me, owner_ids=owner_ids, command_prefix=command_prefix)


def read_interaction(interaction: discord.Interaction[Any], *, owner_ids: Collection[str] = ()) -> tuple[Scope, Author]:
    """Return the place and the author of a slash command, click or modal.

    For an app that a person has installed for themselves, the bot does not know the server and its roles; only the
    permissions in the payload count. Raises RequestError for a kind of channel that discord.py does not know.
    """
    channel = interaction.channel
    if channel is None:
        raise RequestError("I can't answer in this kind of channel. Try a text channel or a thread.")
    is_moderator = False
    if interaction.guild_id is not None:
        is_moderator = interaction.permissions.manage_guild or interaction.permissions.administrator
    scope = _scope(interaction.guild_id, channel, _kind(interaction))
    return scope, _author(interaction.user, is_moderator, owner_ids)


def _kind(interaction: discord.Interaction[Any]) -> PlaceKind:
    if interaction.guild_id is None:
        # A private conversation without the bot may also have only two people.
        return "direct" if interaction.context.dm_channel else "group"
    is_member = interaction.is_guild_integration() or interaction.client.get_guild(interaction.guild_id) is not None
    return "server" if is_member else "foreign"


def _server_id(message: discord.Message) -> int | None:
    """Return the id of the server; None only for a direct message."""
    if message.guild is not None:
        return message.guild.id
    # If the server is not cached, only the ids of the channel and the server are known.
    return message.channel.guild_id if isinstance(message.channel, discord.PartialMessageable) else None


def _scope(server_id: int | None, channel: Any, kind: PlaceKind) -> Scope:
    if server_id is None:
        return Scope(DISCORD.key, DIRECT_MESSAGES, str(channel.id), kind=kind)
    if isinstance(channel, discord.Thread):
        return Scope(DISCORD.key, str(server_id), str(channel.parent_id), str(channel.id), kind=kind)
    return Scope(DISCORD.key, str(server_id), str(channel.id), kind=kind)


def _is_automatic(message: discord.Message) -> bool:
    return bool(message.author.bot or message.author.system or message.webhook_id)


def _author(user: discord.abc.User, is_moderator: bool, owner_ids: Collection[str], *, is_bot: bool = False) -> Author:
    roles: list[discord.Role] = []
    # Despite discord.py's types, the guild of a member is None if the server is not cached.
    if isinstance(user, discord.Member) and user.guild is not None:
        roles = [role for role in user.roles if not role.is_default()]
    return Author(
        id=str(user.id),
        name=user.display_name,
        is_bot=is_bot,
        is_moderator=is_moderator or str(user.id) in owner_ids,
        roles=tuple(str(role.id) for role in roles),
    )


def _manages_server(message: discord.Message) -> bool:
    if message.guild is None:
        return False
    if isinstance(message.author, discord.Member):
        # The permissions in the server, not in the channel; owners and administrators have all of them.
        return message.author.guild_permissions.manage_guild
    return message.guild.owner_id == message.author.id


def _is_addressed(message: discord.Message, me: discord.abc.User) -> bool:
    """Say whether the bot itself is mentioned or replied to; mentions of its roles and @everyone don't count."""
    if any(user.id == me.id for user in message.mentions):
        return True
    replied = message.reference.resolved if message.reference and _reply_to(message) else None
    return isinstance(replied, discord.Message) and replied.author.id == me.id


def _replied_card(message: discord.Message, me: discord.abc.User) -> ShownCard | None:
    """Return the card in the bot's own message that `message` replies to, None if there is none."""
    replied = message.reference.resolved if message.reference and _reply_to(message) else None
    if not isinstance(replied, discord.Message) or replied.author.id != me.id:
        return None
    # discord.py has no attribute for what a payload lacks.
    return shown_card(getattr(replied, "components", ()))


def _reply_to(message: discord.Message) -> str | None:
    # A forwarded message has a reference too.
    reference = message.reference
    if reference is None or reference.message_id is None or reference.type is not discord.MessageReferenceType.reply:
        return None
    return str(reference.message_id)


def _text(message: discord.Message, me: discord.abc.User, command_prefix: str) -> str:
    """Return the text without mentions of the bot at its start and end; a command loses only those at its start."""
    mention = rf"<@!?{me.id}>"
    text = re.sub(rf"\A\s*(?:{mention}(?:[,:](?=\s))?\s*)+", "", message.content)
    if text.startswith(command_prefix) and text[len(command_prefix) :][:1].isalpha():
        return text
    return _plain(message, re.sub(rf"(?:\s*{mention})+\s*\Z", "", text))


def _forwarded(message: discord.Message) -> str | None:
    """Return the text forwarded with `message`, None if there is none."""
    return "\n".join(filter(None, (snapshot.content for snapshot in message.message_snapshots))) or None


def _plain(message: discord.Message, text: str) -> str:
    """Return `text` as Discord displays it: names instead of ids, `:name:` for custom emoji."""
    users = {str(user.id): user.display_name for user in message.mentions}

    def shown(match: re.Match[str]) -> str:
        kind = str(match.lastgroup)
        value = match[kind]
        if kind == "emoji":
            return f":{value}:"
        if kind == "command":
            return f"/{value}"
        if kind == "user":
            return f"@{clean_name(users.get(value, ''))}"
        guild = message.guild
        if kind == "role":
            role = guild.get_role(int(value)) if guild else None
            return f"@{clean_name(role.name) if role else 'role'}"
        channel = guild.get_channel_or_thread(int(value)) if guild else None
        return f"#{clean_name(channel.name) if channel else 'channel'}"

    return _MARKUP.sub(shown, text)

"""What Discord sent, read so that one part that can't be read never takes the rest with it.

discord.py reads a payload as a whole: one channel of an unknown form, and the whole server is missing; one embed, and
the message is lost. Here a payload that fails is read again without the parts that are the cause. Logged are ids and
keys, never words.
"""

import logging
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

import discord

logger = logging.getLogger(__name__)

Payload = dict[str, Any]
Read = Callable[[Payload], object]

# The errors of code that meets another form of data than it knows.
UNREADABLE: Final = (LookupError, TypeError, ValueError, AttributeError)

# What a message can't be without; the rest may be left out.
_OF_MESSAGE: Final = frozenset({"id", "channel_id", "guild_id", "author", "content", "type", "timestamp", "webhook_id"})
# discord.py leaves these out where a key of a person is missing, and whatever comes after.
_OF_PERSON: Final = frozenset({"id", "username", "discriminator", "avatar"})
_OF_GUILD: Final = frozenset({"id", "unavailable"})
_OF_INTERACTION: Final = frozenset(
    {"id", "application_id", "type", "token", "version", "data", "guild_id", "channel_id", "channel", "user", "member"}
)


def describe_error(error: BaseException) -> str:
    """Return the kind of an error, and the key if one was missing; the rest of its text could be a message's words."""
    key = error.args[0] if isinstance(error, KeyError) and error.args else ""
    return f"{type(error).__name__} {key!r}" if isinstance(key, str) and key.isidentifier() else type(error).__name__


def id_of(data: object) -> int | None:
    """Return the id of a payload, None if it has none."""
    try:
        return int(data["id"])  # type: ignore[index]
    except (KeyError, TypeError, ValueError):
        return None


def read_message_payload(state: Any, channel: Any, data: Any) -> discord.Message | None:
    """Return the message of a payload, without the parts that can't be read; None if it can't be read at all."""
    try:
        return _build_message(state, channel, data)
    except Exception as e:
        error = e
    repaired = _repaired_message(state, channel, data)
    if repaired is None:
        logger.error(
            "skipped message %s in channel %s, which can't be read: %s", id_of(data), channel.id, describe_error(error)
        )
        return None
    return _build_message(state, channel, repaired)


def guard_parsers(connection: Any) -> None:
    """Let an event that can't be read be read without its unreadable parts, or skipped.

    In discord.py it would end the connection, and with it the program.
    """
    for name, parse in connection.parsers.items():
        connection.parsers[name] = _guarded(connection, name, parse)


def _guarded(state: Any, name: str, parse: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a parser that reads what it can of an event, and logs what it can't."""

    def guarded(data: Any) -> None:
        try:
            if name in _WITH_PEOPLE:
                _check_people(data)
            parse(data)
            return
        except Exception as e:
            logger.error("could not read an event %s (%s): %s", name, id_of(data), describe_error(e))
        try:
            repaired = _MENDED[name](state, data) if name in _MENDED else None
            if repaired is not None:
                parse(repaired)
        except Exception as e:
            logger.error("could not read the rest of an event %s (%s): %s", name, id_of(data), describe_error(e))

    return guarded


def _build_message(state: Any, channel: Any, data: Any) -> discord.Message:
    """Return the message of a payload. Raises whatever discord.py raises, and KeyError for one without its people."""
    _check_people(data)
    message: discord.Message = state.create_message(channel=channel, data=data)
    return message


def _check_people(data: Any) -> None:
    """Raise KeyError if the author or a mentioned person is missing or incomplete, which discord.py passes over."""
    if not data["author"].keys() >= _OF_PERSON:
        raise KeyError("author")
    if not all(person.keys() >= _OF_PERSON for person in data["mentions"]):
        raise KeyError("mentions")
    if data.get("referenced_message") is not None:
        _check_people(data["referenced_message"])


def _repaired(data: Any, needed: Collection[str], read: Read, what: str, **defaults: Any) -> Payload | None:
    """Return `data` without the parts that `read` can't read; None if it can't be read with the `needed` keys alone.

    `defaults` stand for parts that are missing or can't be read.
    """
    if not isinstance(data, dict):
        return None
    bare = {**defaults, **{key: data[key] for key in data if key in needed}}
    if not _is_readable(bare, read):
        return None
    repaired = dict(bare)
    left_out = []
    # A reference first: only with it the message that it refers to is read.
    for key in sorted(data.keys() - needed, key=lambda key: (key != "message_reference", key)):
        value = data[key]
        if _is_readable({**repaired, key: value}, read):
            repaired[key] = value
            continue
        left_out.append(key)
        if isinstance(value, list):
            # With nothing else around it, since a large server takes a while to read.
            rest = _readable_parts(value, lambda parts, key=key: _is_readable({**bare, key: parts}, read))  # type: ignore[misc]
            if _is_readable({**repaired, key: rest}, read):
                repaired[key] = rest
    logger.error("left out what can't be read of %s %s: %s", what, id_of(data), ", ".join(map(str, left_out)))
    return repaired


def _readable_parts(parts: list[Any], are_readable: Callable[[list[Any]], bool]) -> list[Any]:
    """Return the parts that can be read, found by halves: one bad part of many costs few readings."""
    if not parts or are_readable(parts):
        return parts
    if len(parts) == 1:
        return []
    middle = len(parts) // 2
    return [*_readable_parts(parts[:middle], are_readable), *_readable_parts(parts[middle:], are_readable)]


def _is_readable(data: Payload, read: Read) -> bool:
    try:
        read(data)
    except Exception:
        return False
    return True


def _repaired_message(state: Any, channel: Any, data: Any) -> Payload | None:
    def read(part: Payload) -> object:
        return _build_message(state, channel, part)

    replied = data.get("referenced_message") if isinstance(data, dict) else None
    if isinstance(replied, dict) and not _is_readable(replied, read):
        data = {**data, "referenced_message": _repaired(replied, _OF_MESSAGE, read, "the replied message", mentions=[])}
        if data["referenced_message"] is None:
            del data["referenced_message"]
    return _repaired(data, _OF_MESSAGE, read, "message", mentions=[])


def _repaired_message_event(state: Any, data: Any) -> Payload | None:
    channel, _ = state._get_guild_channel(data)
    return _repaired_message(state, channel, data)


def _repaired_guild(state: Any, data: Any) -> Payload | None:
    return _repaired(data, _OF_GUILD, lambda part: discord.Guild(data=part, state=state), "server")  # type: ignore[arg-type]


def _repaired_ready(state: Any, data: Any) -> Payload | None:
    def is_guild(part: Any) -> bool:
        return _is_readable(part, lambda part: discord.Guild(data=part, state=state))  # type: ignore[arg-type]

    # One that is left out would count as a server that the bot has left, whose data is erased.
    known = ((part, id_of(part)) for part in data["guilds"])
    bare = (part if is_guild(part) else {"id": str(one), "unavailable": True} for part, one in known if one is not None)
    return {**data, "guilds": list(bare)}


def _repaired_threads(state: Any, data: Any) -> Payload | None:
    guild = state._get_guild(int(data["guild_id"]))
    threads: dict[str, discord.Thread] = {}

    def read(part: Any) -> None:
        threads[part["id"]] = discord.Thread(guild=guild, state=state, data=part)

    def read_member(part: Any) -> None:
        discord.ThreadMember(threads[part["id"]], part)

    kept = [part for part in data["threads"] if _is_readable(part, read)]
    logger.error("skipped %d threads of server %s, which can't be read", len(data["threads"]) - len(kept), guild.id)
    members = [part for part in data.get("members", ()) if _is_readable(part, read_member)]
    return {**data, "threads": kept, "members": members}


def _repaired_deletion(_: Any, data: Any) -> Payload | None:
    return {**data, "ids": [one for one in data["ids"] if id_of({"id": one}) is not None]}


def _repaired_interaction(state: Any, data: Any) -> Payload | None:
    return _repaired(data, _OF_INTERACTION, lambda part: discord.Interaction(data=part, state=state), "interaction")  # type: ignore[arg-type]


_WITH_PEOPLE: Final = frozenset({"MESSAGE_CREATE", "MESSAGE_UPDATE"})
_MENDED: Final[Mapping[str, Callable[[Any, Any], Payload | None]]] = {
    "READY": _repaired_ready,
    "GUILD_CREATE": _repaired_guild,
    "GUILD_UPDATE": _repaired_guild,
    "MESSAGE_CREATE": _repaired_message_event,
    "MESSAGE_UPDATE": _repaired_message_event,
    "MESSAGE_DELETE_BULK": _repaired_deletion,
    "THREAD_LIST_SYNC": _repaired_threads,
    "INTERACTION_CREATE": _repaired_interaction,
}

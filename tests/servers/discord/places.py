"""Where one may write: kinds of channels, slow mode, archived, locked and private threads, posts of a forum.

Source: https://discord.com/developers/docs/topics/threads and /topics/opcodes-and-status-codes (JSON error codes).
"""

import time

from tests.servers.discord.errors import ApiError
from tests.servers.discord.permissions import Permission
from tests.servers.discord.world import FORUM, MEDIA, Channel, Event, Message, User, World

_UNSLOWED = Permission.MANAGE_MESSAGES | Permission.MANAGE_CHANNELS


def check_may_write(world: World, channel: Channel) -> None:
    """Raise ApiError if the bot can't write here now; what it writes opens an archived thread again."""
    if channel.kind in (FORUM, MEDIA):
        raise ApiError(400, 50008, "Cannot send messages in a non-text channel")
    if channel.is_locked and not world.permissions(world.bot, channel) & Permission.MANAGE_THREADS:
        if channel.is_archived:
            raise ApiError(400, 50083, "Thread is archived")
        raise ApiError(400, 160005, "Thread is locked")
    wait_s = slow_mode_wait_s(world, channel, world.bot) if world.slows_bots else 0.0
    if wait_s > 0:
        more = {"retry_after": round(wait_s + 0.01, 3), "global": False}
        raise ApiError(429, 20016, "This action cannot be performed due to slowmode rate limit.", more=more)
    note_written(world, channel, world.bot)


def check_is_open(channel: Channel) -> None:
    """Raise ApiError for what can't be done in an archived thread."""
    if channel.is_archived:
        raise ApiError(400, 50083, "Thread is archived")


def slow_mode_wait_s(world: World, channel: Channel, user: User) -> float:
    """Return how long slow mode lets `user` wait."""
    if not channel.slow_s or world.permissions(user, channel) & _UNSLOWED:
        return 0.0
    return channel.said_at.get(user.id, -1e9) + channel.slow_s - time.monotonic()


def note_written(world: World, channel: Channel, user: User) -> None:
    """Note that `user` writes in `channel`: its slow mode begins, and an archived thread is open again."""
    channel.said_at[user.id] = time.monotonic()
    if channel.is_archived:
        set_state(world, channel, is_archived=False, is_locked=channel.is_locked)


def set_state(world: World, thread: Channel, *, is_archived: bool, is_locked: bool = False) -> None:
    """Archive, lock or open a thread, as a moderator does."""
    thread.is_archived, thread.is_locked = is_archived, is_locked
    world.tell(Event("THREAD_UPDATE", {}, channel=thread, guild=thread.guild))
    world.touch()


def set_slow_mode(world: World, channel: Channel, slow_s: int) -> None:
    channel.slow_s = slow_s
    world.tell(
        Event("THREAD_UPDATE" if channel.is_thread else "CHANNEL_UPDATE", {}, channel=channel, guild=channel.guild)
    )


def add_member(world: World, thread: Channel, user: User) -> None:
    """Add `user` to a thread: the bot is told of the thread when it is added."""
    if user.id in thread.member_ids:
        return
    thread.member_ids.add(user.id)
    if user is world.bot:
        world.tell(Event("THREAD_CREATE", {}, channel=thread, guild=thread.guild))


def open_post(world: World, forum: Channel, title: str, first: Message) -> Channel:
    """Open a post of a forum: a thread whose first message has the thread's id."""
    thread = world.add_thread(forum, title, first.author, first)
    first.channel = thread
    world.post(first)
    return thread

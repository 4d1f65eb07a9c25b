"""Permission bits as Discord numbers them, and how roles and overwrites add up."""

from enum import IntFlag
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.servers.discord.world import Channel, Guild, User


class Permission(IntFlag):
    """The permissions that matter here."""

    ADMINISTRATOR = 1 << 3
    MANAGE_CHANNELS = 1 << 4
    MANAGE_GUILD = 1 << 5
    ADD_REACTIONS = 1 << 6
    VIEW_CHANNEL = 1 << 10
    SEND_MESSAGES = 1 << 11
    MANAGE_MESSAGES = 1 << 13
    EMBED_LINKS = 1 << 14
    ATTACH_FILES = 1 << 15
    READ_MESSAGE_HISTORY = 1 << 16
    MENTION_EVERYONE = 1 << 17
    USE_EXTERNAL_EMOJIS = 1 << 18
    MANAGE_ROLES = 1 << 28
    USE_APPLICATION_COMMANDS = 1 << 31
    MANAGE_THREADS = 1 << 34
    CREATE_PUBLIC_THREADS = 1 << 35
    CREATE_PRIVATE_THREADS = 1 << 36
    SEND_MESSAGES_IN_THREADS = 1 << 38
    MODERATE_MEMBERS = 1 << 40
    USE_EXTERNAL_APPS = 1 << 50


ALL = (1 << 53) - 1
EVERYONE = int(
    Permission.ADD_REACTIONS
    | Permission.VIEW_CHANNEL
    | Permission.SEND_MESSAGES
    | Permission.EMBED_LINKS
    | Permission.ATTACH_FILES
    | Permission.READ_MESSAGE_HISTORY
    | Permission.USE_APPLICATION_COMMANDS
    | Permission.CREATE_PUBLIC_THREADS
    | Permission.CREATE_PRIVATE_THREADS
    | Permission.SEND_MESSAGES_IN_THREADS
    | Permission.USE_EXTERNAL_APPS
)


def permissions_of(user: "User", guild: "Guild", channel: "Channel | None" = None) -> int:
    """Return the bits that `user` has in `guild`, in `channel` if given: roles, then its overwrites.

    A thread has its parent's overwrites. Nobody outside the guild has any.
    """
    membership = guild.members.get(user.id)
    if membership is None:
        return 0
    if guild.owner_id == user.id:
        return ALL
    bits = guild.roles[guild.id].permissions
    for role_id in membership.role_ids:
        bits |= guild.roles[role_id].permissions
    if bits & Permission.ADMINISTRATOR:
        return ALL
    if channel is None:
        return bits
    overwrites = (channel.parent or channel).overwrites
    allow, deny = overwrites.get(guild.id, (0, 0))
    bits = (bits & ~deny) | allow
    allow = deny = 0
    for role_id in membership.role_ids:
        role_allow, role_deny = overwrites.get(role_id, (0, 0))
        allow |= role_allow
        deny |= role_deny
    bits = (bits & ~deny) | allow
    allow, deny = overwrites.get(user.id, (0, 0))
    bits = (bits & ~deny) | allow
    return bits if bits & Permission.VIEW_CHANNEL else 0

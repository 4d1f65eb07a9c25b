"""Who is a moderator where. It follows from what the platform says the place is, never from how an id is written."""

from collections.abc import Collection

from bot.core.messages import Author, PlaceKind


def is_moderator(kind: PlaceKind, author: Author, *, is_operator: bool, role_ids: Collection[str]) -> bool:
    """Say whether `author` is a moderator in a place of `kind`, whose server chose the roles `role_ids` for moderators.

    Operators are moderators everywhere. A direct message is its person's own. Nobody manages a group conversation. In a
    foreign server only the permissions that the platform sends count: its roles are not known.
    """
    if author.is_bot:
        return False
    if is_operator or kind == "direct":
        return True
    if kind == "group":
        return False
    has_role = kind == "server" and not set(role_ids).isdisjoint(author.roles)
    return author.is_moderator or has_role


def has_quota(kind: PlaceKind, author: Author) -> bool:
    """Say whether requests of `author`, with their rights, are counted: all but those of a server's moderators.

    A foreign server may be anybody's own, made to be its moderator.
    """
    return not (kind == "server" and author.is_moderator)

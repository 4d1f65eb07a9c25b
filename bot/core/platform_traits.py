"""What differs from platform to platform, as each states it once: its name, its limits, how a command is called."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class NamedIds:
    """The ids that a setting takes: what they stand for in the setting, their words, a mention, and their `pattern`."""

    meaning: str
    words: str
    mention: str
    pattern: str = r"\w{1,32}"


ROLES: Final = NamedIds("roles whose members are moderators", "1 to 25 roles", "@role")
CHANNELS: Final = NamedIds("the channel where reports are posted", "one channel", "#channel")


@dataclass(frozen=True, slots=True)
class PlatformTraits:
    """The facts of one platform that the rest of the bot reads. A limit that is None does not exist there.

    `key` is the `platform` of its scopes, `name` what people call it. `answerable_s` is for how many seconds a request
    can be answered, and its token used, once it is there. Without `has_buttons` there are no forms either: one person
    types what a button says, and no quota is counted, as in a terminal. `slash_prefix` is what stands before a command
    that the platform itself offers, "" where commands are only typed; with `has_slash_groups` its permissions hold for
    groups of them. `mention_pattern` is the regular expression of a role's or channel's mention, its group the id; ""
    where ids are typed bare. `max_options` limits the values suggested for an option, `max_option_characters` the
    length of each, `max_form_characters` the text of one field of a form. Without `has_replies` nobody else reads
    along, so no message can be replied to or reported; without `has_pictures` a message is nothing but text, and
    without `has_files` what a card would attach is printed, so a long table is shown whole instead. With `reads_groups`
    the bot is in group conversations like any member, and reads what is said there. With `replies_in_threads` no single
    message can be replied to: an answer is in a thread, and so is what people say to it. `server_word` is what people
    call a server; `roles` and `channels` are the ids that settings take there.
    """

    key: str
    name: str
    answerable_s: float | None = None
    has_buttons: bool = True
    slash_prefix: str = ""
    has_slash_groups: bool = False
    mention_pattern: str = ""
    max_options: int | None = None
    max_option_characters: int | None = None
    max_form_characters: int | None = None
    has_replies: bool = True
    has_pictures: bool = True
    has_files: bool = True
    reads_groups: bool = False
    replies_in_threads: bool = False
    server_word: str = "server"
    roles: NamedIds = ROLES
    channels: NamedIds = CHANNELS

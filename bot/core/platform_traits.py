"""What differs from platform to platform, as each states it once: its name, its limits, how a command is called."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PlatformTraits:
    """The facts of one platform that the rest of the bot reads. A limit that is None does not exist there.

    `key` is the `platform` of its scopes, `name` what people call it. `answerable_s` is for how many seconds a request
    can be answered, and its token used, once it is there. Without `has_buttons` there are no forms either: one person
    types what a button says, and no quota is counted, as in a terminal. `slash_prefix` is what stands before a command
    that the platform itself offers, "" where commands are only typed; with `has_slash_groups` its permissions hold for
    groups of them. `mention_pattern` is the regular expression of a role's or channel's mention, its group the id; ""
    where ids are typed bare. `max_options` limits the values suggested for an option, `max_form_characters` the text of
    one field of a form.
    """

    key: str
    name: str
    answerable_s: float | None = None
    has_buttons: bool = True
    slash_prefix: str = ""
    has_slash_groups: bool = False
    mention_pattern: str = ""
    max_options: int | None = None
    max_form_characters: int | None = None

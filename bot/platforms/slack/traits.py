"""The traits of Slack."""

from dataclasses import replace
from typing import Final

from bot.core.platform_traits import CHANNELS, NamedIds, PlatformTraits

# A message can be answered at any time; by then the person who asked has left, as on every platform.
ANSWERABLE_S: Final = 900.0
MAX_OPTIONS: Final = 100
MAX_FORM_CHARACTERS: Final = 3000

SLACK: Final = PlatformTraits(
    key="slack",
    name="Slack",
    answerable_s=ANSWERABLE_S,
    # Slack keeps some of the names for itself; behind this one every command works.
    slash_prefix="/fewshot ",
    mention_pattern=r"<(?:!subteam\^|#|@)(\w{1,32})(?:\|[^>]*)?>",
    max_options=MAX_OPTIONS,
    max_form_characters=MAX_FORM_CHARACTERS,
    reads_groups=True,
    replies_in_threads=True,
    server_word="workspace",
    roles=NamedIds(
        "user groups and people who are moderators",
        "1 to 25 user groups or people",
        "@group, @person",
        r"[SUW][A-Z0-9]{5,31}",
    ),
    channels=replace(CHANNELS, pattern=r"[CG][A-Z0-9]{5,31}"),
)


def traits_of(name_prefix: str) -> PlatformTraits:
    """Return the traits of a bot whose slash commands have `name_prefix` before their names."""
    return replace(SLACK, slash_prefix=f"/{name_prefix}{SLACK.slash_prefix.removeprefix('/')}")

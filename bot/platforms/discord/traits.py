"""The traits of Discord."""

from typing import Final

from bot.core.platform_traits import PlatformTraits

# An interaction's token is valid for 15 minutes. Messages have the same limit: by then the person who asked has left.
ANSWERABLE_S: Final = 900.0
MAX_OPTIONS: Final = 25
MAX_OPTION_CHARACTERS: Final = 100
MAX_FORM_CHARACTERS: Final = 4000

DISCORD: Final = PlatformTraits(
    key="discord",
    name="Discord",
    answerable_s=ANSWERABLE_S,
    slash_prefix="/",
    has_slash_groups=True,
    mention_pattern=r"<(?:@&|#)(\w{1,32})>",
    max_options=MAX_OPTIONS,
    max_option_characters=MAX_OPTION_CHARACTERS,
    max_form_characters=MAX_FORM_CHARACTERS,
)

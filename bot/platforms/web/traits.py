"""The traits of the web page."""

from typing import Final

from bot.core.platform_traits import PlatformTraits

# By then the person who asked has left, as on every platform.
ANSWERABLE_S: Final = 900.0
MAX_OPTIONS: Final = 100

WEB: Final = PlatformTraits(
    key="web", name="the page", answerable_s=ANSWERABLE_S, slash_prefix="/", max_options=MAX_OPTIONS
)

"""The traits of the terminal."""

from typing import Final

from bot.core.platform_traits import PlatformTraits

TERMINAL: Final = PlatformTraits(
    key="terminal", name="the terminal", has_buttons=False, has_replies=False, has_pictures=False, has_files=False
)

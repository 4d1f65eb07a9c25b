"""The facts of the terminal that the rest of the bot reads."""

from typing import Final

from bot.core.platform_traits import PlatformTraits

TERMINAL: Final = PlatformTraits(key="terminal", name="the terminal", has_buttons=False)

"""A stand-in for Discord on the loopback interface, REST and gateway, for the real discord.py client."""

from tests.servers.discord.server import Discord, pointed_at, serve_discord
from tests.servers.discord.texts import labels, visible_text

__all__ = ["Discord", "labels", "pointed_at", "serve_discord", "visible_text"]

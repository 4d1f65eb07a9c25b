"""What the commands work with: one object, built once in bot.__main__."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from bot.chat import Chat
from bot.commands.declaring import Command
from bot.core.channel_settings import ChannelSetting
from bot.core.messages import now_utc
from bot.engine.engine import Engine
from bot.store.store import Store
from bot.templates import TemplateLibrary


@dataclass(frozen=True, slots=True)
class Services:
    """The parts of the running bot."""

    engine: Engine
    store: Store
    templates: TemplateLibrary
    chat: Chat
    channel_settings: Mapping[str, ChannelSetting]
    commands: Mapping[str, Command]
    command_prefix: str = "!"
    request_timeout_s: float = 60.0
    started_at_utc: datetime = field(default_factory=now_utc)

"""`python -m bot discord` on the stand-in: members ask, and the bot's real messages become HTML."""

import base64
from collections.abc import Mapping
from typing import Any

from tests.dev.__main__ import TOKEN
from tests.screenshots.pages import components_html, markdown_html, message_html
from tests.servers.discord import Discord, serve_discord
from tests.servers.discord.world import Message
from tests.soak.program import running_program


async def read_chat(environment: Mapping[str, str]) -> list[str]:
    """Return messages of a mention, a heat map and a completion, as HTML."""
    async with (
        serve_discord(token=TOKEN) as discord,
        running_program("discord", {**environment, **discord.environment}),
    ):
        guild = discord.world.add_guild("Home")
        channel = guild.channels[0]
        ada = discord.add_member(guild, "Ada")
        asked = ada.says(channel, "What is the capital of France?", mention_bot=True)
        shown = [_html_of(asked, discord), _html_of(await discord.reply(asked), discord)]
        for name, values in (
            ("perplexity", {"text": "The cat sat on the moon and ate a small red bicycle."}),
            ("complete", {"text": "Once upon a time", "seed": 3, "n": 3}),
        ):
            shown.append(await _slash_html(discord, ada, channel, name, values))
        return shown


async def _slash_html(discord: Discord, member: Any, channel: Any, name: str, values: dict[str, Any]) -> str:
    result = await (await member.slash(channel, name, **values)).finished(60)
    if result.message is None:
        raise RuntimeError(f"/{name} was not answered")
    return _html_of(result.message, discord, before=f"{member.user.name} used /{name} {values['text']}")


def _html_of(message: Message, discord: Discord, before: str = "") -> str:
    pictures = {
        file.url: "data:image/png;base64," + base64.b64encode(discord.world.files[_path_of(file.url)]).decode()
        for file in message.attachments
    }
    body = markdown_html(message.content) + components_html(message.components, pictures)
    return message_html(message.author.name, body, is_bot=message.author.is_bot, before=before)


def _path_of(url: str) -> str:
    return url[url.index("/attachments/") :]

"""A small bot on the real discord.py client, to try the stand-in with."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import discord
from discord import app_commands, ui
from discord.ext import commands

from tests.servers.discord import Discord, pointed_at, serve_discord
from tests.servers.discord.members import Member
from tests.servers.discord.world import Channel, Guild

NO_PINGS = discord.AllowedMentions.none()


class Answered(ui.LayoutView):
    """An answer as components V2 with a button and a select."""

    def __init__(self, text: str) -> None:
        super().__init__(timeout=None)
        self.add_item(ui.Container(ui.TextDisplay(text)))
        row: ui.ActionRow[Any] = ui.ActionRow()
        for label, custom_id in (("Again", "again"), ("Fill in", "fill_in"), ("Slow", "slow")):
            row.add_item(ui.Button(label=label, custom_id=custom_id))
        self.add_item(row)
        choices = [discord.SelectOption(label="One", value="1"), discord.SelectOption(label="Two", value="2")]
        selects: ui.ActionRow[Any] = ui.ActionRow(
            ui.Select(placeholder="How many", custom_id="how_many", options=choices)
        )
        self.add_item(selects)


class Form(ui.Modal, title="A form"):
    """A modal with a required line and an optional file."""

    name: ui.Label[Any] = ui.Label(text="Name", component=ui.TextInput(custom_id="name", max_length=10))
    file: ui.Label[Any] = ui.Label(text="File", component=ui.FileUpload(custom_id="file", required=False))

    async def on_submit(self, interaction: discord.Interaction) -> None:
        component: Any = self.name.component
        upload: Any = self.file.component
        names = [attachment.filename for attachment in upload.values]
        texts = [(await attachment.read()).decode() for attachment in upload.values]
        text = f"Hello {component.value} {names} {texts}"
        await interaction.response.send_message(text, ephemeral=True, suppress_embeds=True)


class PlainBot(commands.AutoShardedBot):
    """A small bot that answers messages, commands, clicks and forms."""

    def __init__(self, intents: discord.Intents | None = None) -> None:
        intents = intents or discord.Intents(guilds=True, messages=True, message_content=True)
        super().__init__("!", intents=intents, allowed_mentions=NO_PINGS, help_command=None, guild_ready_timeout=0.02)
        self.heard: list[str] = []

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        """Don't wait 5 s before a second IDENTIFY."""

    async def setup_hook(self) -> None:
        self.tree.add_command(app_commands.Command(name="say", description="Say it", callback=say))
        self.tree.add_command(Prompts())
        self.tree.add_command(app_commands.ContextMenu(name="Length", callback=length))
        await self.tree.sync()

    async def on_message(self, message: discord.Message) -> None:
        if message.author.bot:
            return
        self.heard.append(message.content)
        if message.content.endswith("quiet"):
            return
        await message.reply(f"You said {message.content}", nonce=message.id, suppress_embeds=True)

    async def on_interaction(self, interaction: discord.Interaction) -> None:
        if interaction.type is not discord.InteractionType.component:
            return
        data: Any = interaction.data
        if data["custom_id"] == "fill_in":
            await interaction.response.send_modal(Form())
        elif data["custom_id"] == "slow":
            await interaction.response.defer()
            await interaction.edit_original_response(view=Answered("slowly"))
        else:
            await interaction.response.edit_message(view=Answered(f"{data['custom_id']} {data.get('values')}"))


async def say(interaction: discord.Interaction, text: str, times: app_commands.Range[int, 1, 3] = 1) -> None:
    await interaction.response.send_message(view=Answered(" ".join([text] * times)))


async def length(interaction: discord.Interaction, message: discord.Message) -> None:
    await interaction.response.defer(ephemeral=True)
    await interaction.followup.send(f"{len(message.content)} characters", suppress_embeds=True)


class Prompts(app_commands.Group):
    """A group of commands with suggestions."""

    def __init__(self) -> None:
        super().__init__(name="prompt", description="Prompts")

    @app_commands.command(description="Run one")
    async def run(self, interaction: discord.Interaction, name: str) -> None:
        await interaction.response.defer()
        await interaction.edit_original_response(content=f"ran {name}")

    @run.autocomplete("name")
    async def suggest(self, _interaction: discord.Interaction, current: str) -> list[app_commands.Choice[str]]:
        names = ["sentiment", "translate"]
        return [app_commands.Choice(name=name, value=name) for name in names if name.startswith(current)]


@dataclass(frozen=True)
class Home:
    """A stand-in with a guild, and the small bot in it."""

    stand_in: Discord
    bot: PlainBot
    guild: Guild
    general: Channel
    ada: Member


@asynccontextmanager
async def running(stand_in: Discord, bot: PlainBot) -> AsyncIterator[PlainBot]:
    """Run the bot until the block ends. Raises the error that keeps it from getting ready."""
    with pointed_at(stand_in):
        async with bot:
            task = asyncio.create_task(bot.start(stand_in.token))
            try:
                ready = asyncio.create_task(bot.wait_until_ready())
                await asyncio.wait([task, ready], return_when=asyncio.FIRST_COMPLETED)
                if task.done():
                    ready.cancel()
                    task.result()
                yield bot
            finally:
                await bot.close()
                await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def at_home(**settings: Any) -> AsyncIterator[Home]:
    """Run a stand-in with one guild, one person in it, and the small bot, connected."""
    async with serve_discord(**settings) as stand_in:
        guild = stand_in.world.add_guild("Home", ["general", "quiet"])
        ada = stand_in.add_member(guild, "ada")
        intents = discord.Intents(guilds=True, messages=True, message_content=stand_in.world.is_message_content_granted)
        async with running(stand_in, PlainBot(intents)) as bot:
            yield Home(stand_in, bot, guild, guild.channel("general"), ada)

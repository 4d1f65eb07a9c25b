"""The rest of the API through discord.py's own methods: reactions, threads, files in cards, guilds, commands."""

import io
from collections.abc import AsyncIterator

import discord
import pytest
from discord import ui

from tests.servers.discord import visible_text
from tests.servers.discord.permissions import EVERYONE, Permission
from tests.servers.plain_bot import Home, at_home

PICTURE = b"\x89PNG pretend"


@pytest.fixture
async def home() -> AsyncIterator[Home]:
    async with at_home() as opened:
        yield opened


def text_channel(home: Home) -> discord.TextChannel:
    channel = home.bot.get_channel(home.general.id)
    assert isinstance(channel, discord.TextChannel)
    return channel


def picture_card() -> tuple[ui.LayoutView, discord.File]:
    view = ui.LayoutView(timeout=None)
    gallery: ui.MediaGallery[ui.LayoutView] = ui.MediaGallery()
    gallery.add_item(media="attachment://map.png", description="A map")
    view.add_item(ui.TextDisplay("Look"))
    view.add_item(gallery)
    return view, discord.File(io.BytesIO(PICTURE), "map.png")


async def test_reactions_come_and_go(home: Home):
    said = home.ada.says(home.general, "quiet")
    message = text_channel(home).get_partial_message(said.id)
    await message.add_reaction("⏳")
    assert said.reactions == {"⏳": [home.stand_in.world.bot.id]}
    assert home.bot.user
    await message.remove_reaction("⏳", home.bot.user)
    assert said.reactions == {}


async def test_a_card_shows_its_picture_wherever_it_is_sent(home: Home):
    channel = text_channel(home)
    view, file = picture_card()
    sent = await channel.send(view=view, file=file)
    stored = home.stand_in.world.messages[sent.id]
    shown = stored.components[1]["items"][0]["media"]["url"]
    assert shown == stored.attachments[0].url
    assert await sent.attachments[0].read() == PICTURE

    @home.bot.tree.command(name="picture", description="Show one")
    async def picture(interaction: discord.Interaction, later: bool) -> None:
        view, file = picture_card()
        if later:
            await interaction.response.defer(ephemeral=True)
            await interaction.edit_original_response(view=view, attachments=[file])
        else:
            await interaction.response.send_message(view=view, file=file)

    await home.bot.tree.sync()
    assert home.stand_in.num_command_syncs == 2
    for later in (False, True):
        result = await (await home.ada.slash(home.general, "picture", later=later)).finished()
        assert result.message
        assert result.is_ephemeral == later
        assert visible_text(result.message) == "Look"
        assert home.stand_in.world.files[result.message.attachments[0].url.removeprefix(home.stand_in.world.file_base)]
    home.stand_in.assert_clean()


async def test_an_edit_keeps_and_replaces_files(home: Home):
    files = [discord.File(io.BytesIO(name.encode()), f"{name}.txt") for name in ("one", "two")]
    sent = await text_channel(home).send("files", files=files, suppress_embeds=True)
    stored = home.stand_in.world.messages[sent.id]
    kept_and_new = [sent.attachments[1], discord.File(io.BytesIO(b"three"), "three.txt")]
    # Without new content discord.py leaves the client's allowed mentions out of an edit.
    await sent.edit(attachments=kept_and_new, allowed_mentions=discord.AllowedMentions.none())
    assert [attachment.filename for attachment in stored.attachments] == ["two.txt", "three.txt"]
    await sent.edit(content="still", suppress=True)
    assert len(stored.attachments) == 2
    assert [text for _, text in stored.versions] == ["files", "files", "still"]
    home.stand_in.assert_clean()


async def test_an_answer_can_be_deleted_and_read_back(home: Home):
    @home.bot.tree.command(name="brief", description="Say and take back")
    async def brief(interaction: discord.Interaction) -> None:
        await interaction.response.defer()
        first = await interaction.followup.send("first", suppress_embeds=True, wait=True)
        assert (await interaction.original_response()).content == "first"
        second = await interaction.followup.send("second", suppress_embeds=True, wait=True)
        await second.edit(content="changed")
        await interaction.followup.delete_message(first.id)

    await home.bot.tree.sync()
    result = await home.ada.slash(home.general, "brief")
    await home.stand_in.world.wait_until(lambda: result.message and result.message.is_deleted, 5, "the deletion")
    assert [visible_text(message) for message in result.followups] == ["changed"]
    assert home.general.messages == result.followups
    home.stand_in.assert_clean()


async def test_the_bot_opens_threads_and_deletes_in_bulk(home: Home):
    channel = text_channel(home)
    said = home.ada.says(home.general, "quiet")
    thread = await channel.get_partial_message(said.id).create_thread(name="A thread")
    await thread.send("inside", suppress_embeds=True)
    assert home.stand_in.world.channels[thread.id].messages[0].content == "inside"
    home.stand_in.world.set_overwrite(home.general, home.stand_in.world.bot, allow=Permission.MANAGE_MESSAGES)
    more = home.ada.says(home.general, "quiet")
    await channel.delete_messages([discord.Object(said.id), discord.Object(more.id)])
    assert home.general.messages == []


async def test_what_exists_can_be_fetched(home: Home):
    guild = await home.bot.fetch_guild(home.guild.id)
    assert (await guild.fetch_member(home.ada.id)).name == "ada"
    assert [channel.name for channel in await guild.fetch_channels()] == ["general", "quiet"]
    assert (await home.bot.fetch_user(home.ada.id)).name == "ada"
    assert (await home.bot.fetch_channel(home.general.id)).id == home.general.id
    assert [found.name async for found in home.bot.fetch_guilds()] == ["Home"]
    assert [command.name for command in await home.bot.tree.fetch_commands()] == ["say", "prompt", "Length"]
    application = await home.bot.application_info()
    assert application.id == home.stand_in.world.bot.id
    assert application.flags.gateway_message_content_limited
    me = home.bot.get_guild(home.guild.id)
    assert me
    assert me.me.guild_permissions.value == EVERYONE
    with pytest.raises(discord.NotFound):
        await home.bot.fetch_user(5)


async def test_the_bot_leaves_a_guild(home: Home):
    guild = home.bot.get_guild(home.guild.id)
    assert guild
    await guild.leave()
    assert home.stand_in.world.bot.id not in home.guild.members
    with pytest.raises(discord.Forbidden):
        await home.bot.fetch_guild(home.guild.id)


async def test_presence_and_typing_are_seen(home: Home):
    await home.bot.change_presence(activity=discord.Game("with words"))
    seen = await home.stand_in.world.wait_until(lambda: home.stand_in.gateway.presences, 5, "a presence")
    assert seen[-1]["activities"][0]["name"] == "with words"
    async with text_channel(home).typing():
        await home.stand_in.world.wait_until(lambda: home.stand_in.world.typings, 5, "typing")
    home.ada.starts_typing(home.general)
    home.stand_in.assert_clean()


async def test_an_unfurled_link_is_no_edit(home: Home):
    edits: list[discord.RawMessageUpdateEvent] = []

    async def on_raw_message_edit(event: discord.RawMessageUpdateEvent) -> None:
        edits.append(event)

    home.bot.add_listener(on_raw_message_edit)
    home.stand_in.world.unfurl(home.ada.says(home.general, "https://example.com quiet"))
    await home.stand_in.world.wait_until(lambda: edits, 5, "the update")
    assert edits[0].message.edited_at is None
    assert len(edits[0].message.embeds) == 1


async def test_channels_come_and_go(home: Home):
    new = home.stand_in.world.add_channel(home.guild, "new")
    await home.stand_in.world.wait_until(lambda: home.bot.get_channel(new.id), 5, "the channel")
    home.stand_in.world.delete_channel(new)
    await home.stand_in.world.wait_until(lambda: home.bot.get_channel(new.id) is None, 5, "the channel to be gone")
    assert home.stand_in.environment["DISCORD_API_BASE"].startswith("http://127.0.0.1:")

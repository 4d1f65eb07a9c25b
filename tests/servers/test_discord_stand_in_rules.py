"""Every rule of Discord's that the stand-in knows: what breaks one is recorded, and refused where Discord does so."""

import asyncio
import io
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import discord
import pytest
from discord.http import Route

from tests.servers.discord import serve_discord
from tests.servers.discord.interactions import AUTOCOMPLETE, COMMAND, COMPONENT, MODAL_SUBMIT, InteractionResult
from tests.servers.discord.permissions import EVERYONE, Permission
from tests.servers.discord.world import Message
from tests.servers.plain_bot import Home, PlainBot, at_home, running

NO_PINGS: dict[str, Any] = {"allowed_mentions": {"parse": []}}
QUIET = NO_PINGS | {"flags": 4}


@pytest.fixture
async def home() -> AsyncIterator[Home]:
    async with at_home() as opened:
        yield opened


async def send(home: Home, body: dict[str, Any]) -> Any:
    """Send a message unchanged, without the checks of discord.py's own methods."""
    route = Route("POST", "/channels/{channel_id}/messages", channel_id=home.general.id)
    return await home.bot.http.request(route, json=body)


async def edit(home: Home, message_id: int, body: dict[str, Any]) -> Any:
    path = "/channels/{channel_id}/messages/{message_id}"
    route = Route("PATCH", path, channel_id=home.general.id, message_id=message_id)
    return await home.bot.http.request(route, json=body)


def asked(home: Home, kind: int = COMMAND, source: Message | None = None) -> InteractionResult:
    """Return an interaction that the bot does not know, so that a test can answer it."""
    return home.stand_in.interactions.create(kind, home.ada.user, home.general, source)


async def answer(home: Home, result: InteractionResult, kind: int, data: dict[str, Any] | None = None) -> Any:
    path = "/interactions/{interaction_id}/{interaction_token}/callback"
    route = Route("POST", path, interaction_id=result.id, interaction_token=result.token)
    return await home.bot.http.request(route, json={"type": kind} | ({"data": data} if data is not None else {}))


async def follow_up(home: Home, result: InteractionResult, body: dict[str, Any]) -> Any:
    path = "/webhooks/{application_id}/{webhook_token}"
    route = Route("POST", path, application_id=home.stand_in.world.bot.id, webhook_token=result.token)
    return await home.bot.http.request(route, json=body)


@pytest.mark.parametrize(
    ("body", "violation"),
    [
        (QUIET | {"content": "a" * 2001}, "2,001"),
        (QUIET | {"content": "a", "nonce": "a" * 26}, "nonce"),
        (QUIET | {"content": ""}, "empty"),
        (QUIET | {"components": [{"type": 10, "content": "a"}]}, "components"),
        (NO_PINGS | {"flags": 1 << 15, "components": [{"type": 10, "content": "a" * 4001}]}, "4,001"),
        (NO_PINGS | {"flags": 1 << 15, "content": "a", "components": [{"type": 10, "content": "a"}]}, "V2"),
        (
            QUIET
            | {
                "content": "a",
                "components": [
                    {
                        "type": 1,
                        "components": [{"type": 2, "style": 1, "label": "a", "custom_id": "a" * 101}],
                    }
                ],
            },
            "custom_id",
        ),
    ],
)
async def test_a_body_beyond_a_limit_is_refused(home: Home, body: dict[str, Any], violation: str):
    with pytest.raises(discord.HTTPException) as raised:
        await send(home, body)
    assert raised.value.code == 50035
    assert violation in home.stand_in.violations[0]
    assert home.general.messages == []


@pytest.mark.parametrize(
    "mentions",
    [
        None,
        {"parse": ["users"]},
        {"parse": [], "users": ["5"]},
        {"parse": [], "roles": ["5"]},
        {"parse": [], "replied_user": True},
        {},
    ],
)
async def test_a_ping_that_is_possible_is_recorded(home: Home, mentions: dict[str, Any] | None):
    body = {"content": "a", "flags": 4} | ({"allowed_mentions": mentions} if mentions is not None else {})
    sent = await send(home, body)
    assert "allowed_mentions" in home.stand_in.violations[0]
    home.stand_in.violations.clear()
    await edit(home, sent["id"], {"content": "b"})
    assert "allowed_mentions" in home.stand_in.violations[0]


async def test_embeds_that_are_not_suppressed_are_recorded(home: Home):
    await send(home, NO_PINGS | {"content": "a"})
    assert "embeds are not suppressed" in home.stand_in.violations.pop()
    sent = await send(home, QUIET | {"content": "a"})
    await edit(home, sent["id"], NO_PINGS | {"content": "b", "flags": 0})
    assert home.stand_in.violations == []
    await edit(home, sent["id"], NO_PINGS | {"content": "https://example.com"})
    assert "a link's embed is not suppressed" in home.stand_in.violations.pop()


async def test_more_than_five_edits_in_five_seconds_are_recorded(home: Home):
    sent = await send(home, QUIET | {"content": "0"})
    for number in range(5):
        await edit(home, sent["id"], QUIET | {"content": str(number)})
    home.stand_in.assert_clean()
    await edit(home, sent["id"], QUIET | {"content": "6"})
    assert home.stand_in.violations == ["PATCH /channels/{channel_id}/messages/{message_id}: 6 edits in 5 s"]


async def test_an_interaction_is_answered_within_three_seconds(home: Home):
    late = asked(home)
    late.sent_at -= 3.1
    with pytest.raises(discord.NotFound) as raised:
        await answer(home, late, 5)
    assert raised.value.code == 10062
    assert "answered after 3.1 s" in home.stand_in.violations[0]
    with pytest.raises(AssertionError, match="not answered: a command of ada"):
        home.stand_in.assert_clean()


async def test_an_interaction_is_answered_once(home: Home):
    result = asked(home)
    await answer(home, result, 5)
    with pytest.raises(discord.HTTPException) as raised:
        await answer(home, result, 4, QUIET | {"content": "a"})
    assert raised.value.code == 40060
    assert "a second answer" in home.stand_in.violations[0]
    assert home.stand_in.unfinished() == ["a command of ada (answered so far: deferred)"]


async def test_a_token_lives_for_fifteen_minutes(home: Home):
    result = asked(home)
    await answer(home, result, 5)
    result.sent_at -= 15 * 60
    with pytest.raises(discord.HTTPException) as raised:
        await follow_up(home, result, QUIET | {"content": "a"})
    assert raised.value.code == 50027
    assert "after 15 minutes" in home.stand_in.violations[0]


async def test_nothing_follows_before_the_first_answer(home: Home):
    with pytest.raises(discord.NotFound) as raised:
        await follow_up(home, asked(home), QUIET | {"content": "a"})
    assert raised.value.code == 10015


@pytest.mark.parametrize(
    ("kind", "answer_kind", "data"),
    [
        (AUTOCOMPLETE, 5, None),
        (COMMAND, 6, None),
        (COMMAND, 8, {"choices": []}),
        (MODAL_SUBMIT, 9, {"title": "a", "custom_id": "a", "components": [{"type": 10, "content": "a"}]}),
        (MODAL_SUBMIT, 6, None),
        (COMMAND, 5, {"flags": 4}),
        (AUTOCOMPLETE, 8, {"choices": [{"name": str(n), "value": str(n)} for n in range(26)]}),
    ],
)
async def test_an_answer_has_to_fit_the_interaction(
    home: Home, kind: int, answer_kind: int, data: dict[str, Any] | None
):
    with pytest.raises(discord.HTTPException):
        await answer(home, asked(home, kind), answer_kind, data)
    assert len(home.stand_in.violations) == 1


async def test_an_answer_to_an_answered_click_may_be_an_update(home: Home):
    message = (await home.ada.slash(home.general, "say", text="hey")).message
    result = asked(home, COMPONENT, message)
    await answer(home, result, 6)
    assert result.kind == "deferred_update"


async def test_a_user_install_has_five_followups(home: Home):
    result = asked(home)
    result.is_user_install = True
    await answer(home, result, 4, QUIET | {"content": "a"})
    for _ in range(5):
        await follow_up(home, result, QUIET | {"content": "a"})
    with pytest.raises(discord.HTTPException):
        await follow_up(home, result, QUIET | {"content": "a"})
    assert "more than 5 follow-ups" in home.stand_in.violations[0]


@pytest.mark.parametrize(
    ("denied", "code"),
    [(Permission.VIEW_CHANNEL, 50001), (Permission.SEND_MESSAGES, 50013), (Permission.READ_MESSAGE_HISTORY, 160002)],
)
async def test_permissions_are_enforced(home: Home, denied: Permission, code: int):
    said = home.ada.says(home.general, "quiet")
    home.stand_in.world.set_overwrite(home.general, home.stand_in.world.bot, deny=denied)
    with pytest.raises(discord.Forbidden) as raised:
        await send(home, QUIET | {"content": "a", "message_reference": {"message_id": said.id}})
    assert raised.value.code == code


async def test_what_the_bot_can_not_see_is_not_told(home: Home):
    home.stand_in.world.set_overwrite(home.general, home.guild.roles[home.guild.id], deny=Permission.VIEW_CHANNEL)
    home.stand_in.world.set_overwrite(home.general, home.ada.user, allow=Permission.VIEW_CHANNEL)
    home.ada.says(home.general, "secret quiet")
    home.ada.says(home.guild.channel("quiet"), "open quiet")
    await home.stand_in.world.wait_until(lambda: home.bot.heard, 5, "a message")
    assert home.bot.heard == ["open quiet"]


async def test_files_need_a_permission_and_have_a_size():
    async with serve_discord() as stand_in:
        guild = stand_in.world.add_guild("Home", bot_permissions=0, everyone=EVERYONE & ~Permission.ATTACH_FILES)
        async with running(stand_in, PlainBot()) as bot:
            channel = bot.get_channel(guild.channel("general").id)
            assert isinstance(channel, discord.TextChannel)
            with pytest.raises(discord.Forbidden):
                await channel.send(file=discord.File(io.BytesIO(b"a"), "a.txt"))
            with pytest.raises(discord.HTTPException) as raised:
                await channel.send(file=discord.File(io.BytesIO(bytes(10 * 2**20 + 1)), "a.bin"))
            assert raised.value.status == 413


async def gone(home: Home) -> None:
    said = home.ada.says(home.general, "quiet")
    home.ada.deletes(said)
    channel: Any = home.bot.get_channel(home.general.id)
    await channel.fetch_message(said.id)


async def others_edit(home: Home) -> None:
    await edit(home, home.ada.says(home.general, "quiet").id, QUIET | {"content": "a"})


async def others_delete(home: Home) -> None:
    channel: Any = home.bot.get_channel(home.general.id)
    await channel.get_partial_message(home.ada.says(home.general, "quiet").id).delete()


async def reply_to_nothing(home: Home) -> None:
    await send(home, QUIET | {"content": "a", "message_reference": {"message_id": 5}})


async def closed_dms(home: Home) -> None:
    home.ada.user.has_closed_dms = True
    assert home.bot.user
    user = await home.bot.fetch_user(home.ada.id)
    await user.send("a", suppress_embeds=True)


@pytest.mark.parametrize(
    ("does", "code"),
    [(gone, 10008), (others_edit, 50005), (others_delete, 50013), (reply_to_nothing, 50035), (closed_dms, 50007)],
)
async def test_mistakes_have_discords_codes(home: Home, does: Callable[[Home], Awaitable[None]], code: int):
    with pytest.raises(discord.HTTPException) as raised:
        await does(home)
    assert raised.value.code == code
    home.stand_in.assert_clean()


async def test_a_nonce_is_enforced_where_asked_for(home: Home):
    body = QUIET | {"content": "a", "nonce": "5"}
    first = await send(home, body | {"enforce_nonce": True})
    assert (await send(home, body | {"enforce_nonce": True}))["id"] == first["id"]
    assert (await send(home, body))["id"] != first["id"]
    assert home.stand_in.num_deduplicated == 1


async def test_the_gateway_counts_what_is_sent_and_who_identifies():
    async with serve_discord() as stand_in:
        stand_in.world.add_guild("Home")
        async with running(stand_in, PlainBot()) as bot:
            shard = bot.get_shard(0)
            assert shard
            for _ in range(125):
                await shard._parent.ws.socket.send_str('{"op": 1, "d": null}')
            await stand_in.world.wait_until(lambda: stand_in.gateway.num_resumes, 5, "a resume after the end")
            assert stand_in.violations == ["gateway: more than 120 sends in a minute"]
        stand_in.violations.clear()
        stand_in.gateway.max_identifies = stand_in.gateway.num_identifies
        with pytest.raises(discord.ConnectionClosed):
            async with running(stand_in, PlainBot()):
                pass
        assert "IDENTIFY" in stand_in.violations[0]


async def test_a_route_that_is_not_there_is_recorded(home: Home):
    with pytest.raises(discord.NotFound):
        await home.bot.http.request(Route("GET", "/somewhere"))
    assert "no such route" in home.stand_in.violations[0]


async def test_a_failed_wait_says_what_was_there(home: Home):
    said = home.ada.says(home.general, "very quiet")
    with pytest.raises(AssertionError, match=r"a reply to 'very quiet'; last messages .*ada: 'very quiet'"):
        await home.stand_in.wait_for_reply(said, timeout=0.1)


async def test_two_answers_to_one_message_are_found(home: Home):
    said = home.ada.says(home.general, "hello")
    await home.stand_in.wait_for_reply(said)
    assert home.stand_in.answered_twice() == []
    await send(home, QUIET | {"content": "again", "message_reference": {"message_id": said.id}})
    assert home.stand_in.answered_twice() == [said]


async def test_a_message_is_settled_when_its_stop_button_is_gone(home: Home):
    stop = {"type": 1, "components": [{"type": 2, "style": 4, "label": "Stop", "custom_id": "stop"}]}
    sent = await send(home, QUIET | {"content": "a", "components": [stop]})
    message = home.stand_in.world.messages[int(sent["id"])]
    waiting = asyncio.create_task(home.stand_in.settled(message, quiet_s=0.05))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    await edit(home, message.id, QUIET | {"content": "done", "components": []})
    started = time.monotonic()
    await waiting
    assert time.monotonic() - started < 1


async def test_an_edit_may_not_put_components_v2_beside_text(home: Home):
    sent = await send(home, QUIET | {"content": "a"})
    body = NO_PINGS | {"flags": 1 << 15, "components": [{"type": 10, "content": "b"}]}
    with pytest.raises(discord.HTTPException):
        await edit(home, sent["id"], body)
    message = home.stand_in.world.messages[int(sent["id"])]
    assert (message.content, message.flags, message.components) == ("a", 4, [])
    await edit(home, sent["id"], body | {"content": None})
    assert (message.content, message.flags & (1 << 15)) == ("", 1 << 15)
    assert len(home.stand_in.violations) == 1


async def test_an_answer_that_is_refused_is_told_where_it_is_missed(home: Home):
    result = asked(home)
    with pytest.raises(discord.HTTPException):
        await answer(home, result, 4, QUIET | {"content": "a" * 2001})
    with pytest.raises(AssertionError, match=r"the first answer to a command of ada.*2,001 characters"):
        await result.acknowledged(timeout=0.1)

"""Answers to slash commands, clicks and forms: the first response, with and without a deferral, and after a failure."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.platforms.discord.outgoing import interaction_outlet
from tests.platforms.discord.evenings import Evening
from tests.platforms.discord.test_chat_on_discord import scripted
from tests.servers.discord import visible_text
from tests.servers.discord.faults import Fault
from tests.servers.discord.interactions import InteractionResult
from tests.servers.discord.texts import labels
from tests.servers.discord.world import Message

CALLBACK = "/callback"


@pytest.fixture
async def evening(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Evening]:
    """An evening on which an answer counts as quick for as long as a busy machine may need."""
    monkeypatch.setattr(interaction_outlet, "ACKNOWLEDGE_AFTER_S", 2.5)
    async with scripted(tmp_path, " on the mat.") as opened:
        yield opened


def requests_of(evening: Evening, result: InteractionResult) -> list[tuple[str, int | None]]:
    """Return the bot's requests for an interaction: their method, and the type of a first response."""
    own = [request for request in evening.discord.requests if result.token in request.path]
    return [(request.method, request.body["type"] if request.path.endswith(CALLBACK) else None) for request in own]


def shown(result: InteractionResult) -> list[Message]:
    """Return every message that the person sees for the interaction."""
    return [message for message in [result.message, *result.followups] if message and not message.is_deleted]


async def test_a_quick_answer_to_a_slash_command_is_its_first_and_only_response(evening: Evening):
    result = await (await evening.ada.slash(evening.general, "complete", text="The cat", n=1)).finished()
    assert result.kind == "message"
    assert not result.is_ephemeral
    assert requests_of(evening, result) == [("POST", 4)]
    assert "on the mat" in visible_text(shown(result)[0])
    assert "Again" in labels(shown(result)[0])


async def test_a_quick_private_answer_is_private_from_the_start(evening: Evening):
    result = await (await evening.ada.slash(evening.general, "help")).finished()
    assert result.kind == "message"
    assert result.is_ephemeral
    assert requests_of(evening, result) == [("POST", 4)]


async def test_a_quick_answer_to_a_click_updates_the_card_in_its_only_response(evening: Evening):
    result = await (await evening.ada.slash(evening.general, "complete", text="The cat", n=1)).finished()
    clicked = await (await evening.ada.clicks(shown(result)[0], "1")).finished()
    assert clicked.kind == "update"
    assert requests_of(evening, clicked) == [("POST", 7)]
    assert "Undo" in labels(shown(result)[0])


async def test_a_quick_private_answer_to_a_click_leaves_the_card_as_it_is(evening: Evening):
    answer = await evening.discord.reply(evening.ada.says(evening.general, "Hello", mention_bot=True))
    before = visible_text(answer)
    clicked = await (await evening.bob.clicks(answer, "Why")).finished()
    assert requests_of(evening, clicked) == [("POST", 4)]
    assert clicked.is_ephemeral
    assert "The prompt" in visible_text(shown(clicked)[0])
    assert visible_text(answer) == before


async def test_a_quick_answer_can_be_erased_as_any_other(evening: Evening):
    result = await (await evening.ada.slash(evening.general, "complete", text="The cat", n=1)).finished()
    removed = await (await evening.mod.slash(evening.general, "purge", n="1")).finished()
    assert "Removed" in visible_text(shown(removed)[0])
    await evening.discord.world.wait_until(lambda: not shown(result), 10, "the end of the answer")


@pytest.mark.parametrize("name", ["complete", "help"])
@pytest.mark.parametrize(
    "fault",
    [
        "reset",
        "accepted_then_reset",
        Fault("error", status=503),
        Fault("accepted_then_error", status=503),
        Fault("error", status=400),
        Fault("accepted_then_error", status=400),
        "banned",
        Fault("slow", delay_s=1.3),
    ],
    ids=str,
)
async def test_where_the_first_response_fails_the_answer_is_shown_once_and_to_the_same_people(
    evening: Evening, name: str, fault: Fault
):
    evening.discord.faults.once("callback", fault)
    options = {"text": "The cat", "n": 1} if name == "complete" else {}
    result = await (await evening.ada.slash(evening.general, name, **options)).finished()
    (message,) = shown(result)
    assert ("on the mat" if name == "complete" else "what it does") in visible_text(message)
    assert result.is_ephemeral == (name == "help")
    assert evening.discord.unfinished() == []


@pytest.mark.parametrize("fault", ["accepted_then_reset", Fault("error", status=503)], ids=str)
async def test_where_the_update_of_a_card_fails_it_is_tried_in_the_other_way(evening: Evening, fault: Fault):
    result = await (await evening.ada.slash(evening.general, "complete", text="The cat", n=1)).finished()
    evening.discord.faults.once("callback", fault)
    clicked = await (await evening.ada.clicks(shown(result)[0], "1")).finished()
    assert clicked.followups == []
    assert "Undo" in labels(shown(result)[0])


async def test_a_slow_answer_is_deferred_and_then_edited(tmp_path: Path):
    async with scripted(tmp_path, "word " * 20, pause_s=0.05) as evening:
        result = await (await evening.ada.slash(evening.general, "complete", text="The cat", n=1)).finished()
        assert result.kind == "deferred"
        assert result.acknowledged_after_s is not None
        assert result.acknowledged_after_s < 3
        requests = requests_of(evening, result)
        assert requests[0] == ("POST", 5)
        assert {method for method, _ in requests[1:]} == {"PATCH"}
        clicked = await (await evening.ada.clicks(shown(result)[0], "1")).finished()
        assert requests_of(evening, clicked)[0] == ("POST", 6)


async def test_an_answer_that_is_ready_as_it_is_deferred_is_acknowledged_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(interaction_outlet, "ACKNOWLEDGE_AFTER_S", 0.03)
    async with scripted(tmp_path, " on the mat.", pause_s=0.01) as evening:
        results = await asyncio.gather(
            *(evening.ada.slash(evening.general, "complete", text="The cat", n=1) for _ in range(12))
        )
        for result in results:
            await result.finished()
            (message,) = shown(result)
            assert "on the mat" in visible_text(message)
            assert len([kind for method, kind in requests_of(evening, result) if method == "POST"]) == 1

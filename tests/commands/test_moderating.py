"""Purge, reports, settings by select, roles that make moderators, operators, quotas."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any

import pytest

from bot.commands.framework import request
from bot.core.cards import Text
from bot.core.messages import Scope
from bot.core.wording import quote
from tests.bots import HERE, Talk

OpenTiny = Callable[..., AbstractAsyncContextManager[Talk]]
DIRECT = Scope("terminal", "@me", "17", kind="direct")


async def test_purge_takes_the_last_answers_away_here_alone(talk: Talk) -> None:
    elsewhere = replace(HERE, channel="random")
    await talk.ask("Hello", scope=elsewhere)
    cards = []
    for i in range(3):
        cards.append(await talk.card(f"message {i}"))
        await talk.store.note_sent("terminal", talk.message_ids[-1], f"v{i}", 0)
    card = await talk.card("!purge 2", has_buttons=True, reach="public")
    assert sorted(card.removed_ids) == ["v1", "v2"]
    assert card.data["num_removed"] == 2
    left = [await talk.store.get_reply(HERE, shown.reply_id or "") is not None for shown in cards]
    assert left == [True, False, False]
    assert await talk.store.last_reply(elsewhere) is not None


async def test_purge_works_where_nothing_has_an_id_of_its_own(talk: Talk) -> None:
    for _ in range(3):
        await talk.ask("Hello")
    assert (await talk.ask("!purge 2"))["num_removed"] == 2
    assert (await talk.ask("!purge 50"))["num_removed"] == 1
    assert (await talk.ask("!purge 50"))["num_removed"] == 0


async def test_purge_takes_the_answer_seen_last_and_says_which_it_was(talk: Talk) -> None:
    await talk.ask("Hello")
    await talk.ask("!complete --n 1 The cat")
    await talk.ask("!perplexity The cat sat")
    # The measurement is what is seen last, and nothing older goes in its place.
    assert await talk.ask("!purge 1") == {
        "command": "purge",
        "text": "Nothing was erased: the last answer is not stored, because it only measures a text (perplexity).",
        "num_removed": 0,
    }
    assert (await talk.ask("!purge 2"))["text"] == (
        "Erased 1 stored answer: complete. The last answer is not stored, because it only measures a text (perplexity)."
    )
    await talk.ask("Hello again")
    assert (await talk.ask("!purge 1"))["text"] == "Erased 1 stored answer: chat."
    await talk.ask("Well?")
    await talk.ask("And?")
    assert (await talk.ask("!purge 2"))["text"] == "Erased 2 stored answers: 2 × chat."


async def test_purge_erases_a_walked_completion_as_one_answer_with_its_card(talk: Talk) -> None:
    await talk.ask("Hello")
    await talk.ask("!complete --n 2 The cat")
    await talk.ask("!next The cat")
    for action in ("1", "longer", "undo"):
        await talk.ask(action)
    assert (await talk.ask("!purge 1"))["text"] == "Erased 1 stored answer: complete."
    reply = await talk.store.last_reply(HERE)
    assert reply is not None
    assert reply.provenance.command == "chat"
    assert await talk.store.latest_open_card(HERE, "ann") is None
    assert (await talk.store.count_stored()).num_replies == 1


async def test_purge_names_the_answers_whose_messages_it_removes(talk: Talk) -> None:
    for number, line in enumerate(("Hello", "!complete --n 1 The cat", "!perplexity The cat sat")):
        await talk.ask(line)
        await talk.store.note_sent("terminal", talk.message_ids[-1], f"v{number}", 0)
    card = await talk.card("!purge 1", has_buttons=True, reach="public")
    assert card.removed_ids == ("v2",)
    assert card.data["text"] == "Removed 1 message of the bot: perplexity."
    card = await talk.card("!purge 2", has_buttons=True, reach="public")
    assert card.data["text"] == "Removed 2 messages of the bot: complete, chat."
    await talk.ask("!complete --n 1 The cat")
    await talk.ask("1")
    await talk.store.note_sent("terminal", talk.message_ids[-1], "v9", 0)
    card = await talk.card("!purge 1", has_buttons=True, reach="public")
    assert card.data["text"] == "Removed 1 message of the bot: complete."


@pytest.mark.parametrize("typed", ["0", "51", "x", "-1", "²", "9" * 99])
async def test_purge_takes_1_to_50(talk: Talk, typed: str) -> None:
    assert await talk.refusal(f"!purge {typed}") == f"N takes a whole number from 1 to 50, not {quote(typed)}."


async def test_a_report_goes_to_the_channel_for_it(talk: Talk) -> None:
    answer = await talk.card("Hello")
    nowhere = (
        "This server has no channel for reports. A moderator can choose one with !settings report_channel CHANNEL."
    )
    assert await talk.refusal("!report", reply_to=answer.reply_id) == nowhere
    await talk.ask("!settings report_channel <#4711>")
    assert (await talk.ask("!settings", scope=replace(HERE, channel="x")))["settings"]["report_channel"] == "4711"
    card = await talk.card(
        "!report that is rude", who="Bob", is_moderator=False, reply_to=answer.reply_id, has_buttons=True
    )
    assert card.answers == "private"
    ((channel, notice),) = card.notices
    assert channel == "4711"
    assert notice.data["reported"] == answer.data["text"]
    shown = [block.text for block in notice.blocks if isinstance(block, Text)]
    assert "Reason: that is rude" in shown
    assert answer.data["text"] in shown
    assert Text(answer.data["text"], is_model_text=True) in notice.blocks, "so that it is shown harmless"
    assert await talk.refusal("!report") == "To report an answer, reply to it with !report."
    said = talk.message_ids[0]
    assert await talk.refusal("!report", reply_to=said) == "That is not an answer of the bot, or it was deleted."


async def test_a_direct_message_reports_to_nobody(talk: Talk) -> None:
    answer = await talk.card("Hello", scope=DIRECT)
    assert "has no effect" in await talk.refusal("!settings report_channel 4711", scope=DIRECT)
    assert "no moderators" in await talk.refusal("!report", scope=DIRECT, reply_to=answer.reply_id)


async def test_settings_are_chosen_on_their_card(talk: Talk) -> None:
    card = await talk.card("!settings", has_buttons=True)
    assert [select.action for select in card.selects] == ["chat_template", "preset", "answer_when"]
    assert [option.value for option in card.selects[2].options if option.is_chosen] == ["mention"]
    changed = await talk.click(card, "answer_when", value="every", who="Mia", is_moderator=True)
    assert changed.data["settings"]["answer_when"] == "every"
    assert [option.value for option in changed.selects[2].options if option.is_chosen] == ["every"]
    assert (changed.open_card_id, changed.revision) == (card.open_card_id, card.revision)
    changed = await talk.click(changed, "preset", value="wild", is_moderator=True)
    assert (await talk.ask("!settings"))["settings"]["preset"] == "wild"
    assert (await talk.ask("!settings", scope=replace(HERE, channel="x")))["settings"]["preset"] == "normal"
    assert await talk.click_refusal(card, "preset", value="careful") == "Only moderators can use /settings."
    wrong = await talk.click_refusal(card, "preset", value="zzz", is_moderator=True)
    assert wrong == "preset can't be 'zzz'; it takes one of careful, normal, wild, greedy, beam."
    other = await talk.click_refusal(card, "quota_per_minute", value="600", is_moderator=True)
    assert other == "That setting has no menu. Use /settings name:NAME value:VALUE."
    assert (await talk.card("!settings")).selects == (), "a terminal has none"


async def test_a_role_that_the_server_names_makes_a_moderator(talk: Talk) -> None:
    member: dict[str, Any] = {"who": "Bob", "is_moderator": False, "roles": ("7", "8")}
    assert await talk.refusal("!settings", **member) == "Only moderators can use !settings."
    answer = await talk.ask("!settings moderator_roles <@&8> 9")
    assert answer["settings"]["moderator_roles"] == "8 9"
    assert (await talk.ask("!settings", **member))["settings"]
    card = await talk.card("!settings", has_buttons=True)
    assert (await talk.click(card, "preset", value="wild", **member)).error is None
    assert "moderators" in await talk.refusal("!settings", **member | {"roles": ("7",)})
    assert "moderators" in await talk.refusal("!settings", scope=replace(HERE, server="work"), **member)
    await talk.ask("!settings moderator_roles default")
    assert "moderators" in await talk.refusal("!settings", **member)


async def test_operators_are_moderators_everywhere_and_each_in_their_direct_messages(open_tiny: OpenTiny) -> None:
    async with open_tiny(owner_ids=("olga",)) as talk:
        assert (await talk.ask("!settings", who="Olga", is_moderator=False))["settings"]
        assert "moderators" in await talk.refusal("!settings", who="Bob", is_moderator=False)
        assert (await talk.ask("!settings preset wild", who="Bob", is_moderator=False, scope=DIRECT))["settings"]


async def test_above_the_quota_there_is_one_sentence_and_later_it_works(
    talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(request.time, "monotonic", lambda: now[0])
    await talk.ask("!settings quota_per_minute 3")
    bob: dict[str, Any] = {"who": "Bob", "is_moderator": False, "has_buttons": True}
    for _ in range(2):
        await talk.ask("!help", **bob)
        now[0] += 10
    card = await talk.card("Hello", **bob)
    assert await talk.refusal("!help", **bob) == "You made 3 requests within a minute. Try again in 41 s."
    assert "Try again" in await talk.click_refusal(card, "again", who="Bob")
    assert (await talk.ask("!help", who="Cat", is_moderator=False, has_buttons=True))["commands"], "each has their own"
    assert (await talk.ask("!help", scope=replace(HERE, server="work"), **bob))["commands"]
    assert (await talk.ask("!help", has_buttons=True))["commands"], "moderators are not counted"
    now[0] += 41
    assert (await talk.ask("!help", **bob))["commands"]
    assert "Try again" in await talk.refusal("!help", **bob)
    for _ in range(20):
        await talk.ask("!help", scope=DIRECT, has_buttons=True)
    assert "20 requests" in await talk.refusal("!help", scope=DIRECT, has_buttons=True)
    for _ in range(30):
        assert (await talk.ask("!help", who="Bob", is_moderator=False))["commands"], "a terminal counts nothing"


async def test_above_the_quota_of_a_server_all_its_people_wait_and_nobody_else(
    open_tiny: OpenTiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    bob: dict[str, Any] = {"who": "Bob", "is_moderator": False, "has_buttons": True}
    cat = bob | {"who": "Cat"}
    async with open_tiny(server_quota_per_minute=4, owner_ids=("olga",)) as talk:
        monkeypatch.setattr(request.time, "monotonic", lambda: now[0])
        card = await talk.card("Hello", **bob)
        await talk.ask("!help", scope=replace(HERE, channel="random"), **cat)
        now[0] += 10
        await talk.ask("!help", has_buttons=True)
        await talk.ask("!help", **bob)
        full = "This server made 4 requests within a minute, which is its limit. Try again in 51 s."
        assert await talk.refusal("!help", **bob) == full
        assert await talk.refusal("Hello", **cat) == full
        assert await talk.click_refusal(card, "again", who="Bob") == full
        assert await talk.refusal("!help", has_buttons=True) == full, "its moderators count"
        assert await talk.refusal("!help", who="Olga", has_buttons=True) == full
        for scope in (DIRECT, replace(HERE, server="work")):
            assert (await talk.ask("!help", scope=scope, **bob))["commands"]
        for _ in range(15):
            assert (await talk.ask("!help", scope=DIRECT, **bob))["commands"], "a direct message counts for its person"
        now[0] += 61
        for who in ("Bob", "Bob", "Cat", "Dan"):  # what was refused did not count
            await talk.ask("!help", **bob | {"who": who})
        assert "Try again" in await talk.refusal("!help", **cat)


async def test_what_one_quota_refuses_does_not_use_up_the_other(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(request.time, "monotonic", lambda: now[0])
    bob: dict[str, Any] = {"who": "Bob", "is_moderator": False, "has_buttons": True}
    await talk.ask("!settings quota_per_minute 1")
    await talk.ask("!settings server_quota_per_minute 2")
    await talk.ask("!help", **bob)
    for _ in range(5):
        assert (await talk.refusal("!help", **bob)).startswith("You made 1 request within")
    now[0] += 30
    await talk.ask("!help", **bob | {"who": "Cat"})
    for _ in range(5):
        assert (await talk.refusal("!help", **bob | {"who": "Dan"})).startswith("This server made 2 requests")
    now[0] += 31
    await talk.ask("!help", **bob | {"who": "Dan"})


async def test_a_server_chooses_a_lower_quota_than_the_operator_s(open_tiny: OpenTiny) -> None:
    async with open_tiny(server_quota_per_minute=9) as talk:
        for value in ("10", "0"):
            assert await talk.refusal(f"!settings server_quota_per_minute {value}") == (
                f"server_quota_per_minute takes a whole number from 1 to 9, not '{value}'."
            )
        await talk.ask("!settings server_quota_per_minute 1", has_buttons=True)
        full = await talk.refusal("!help", has_buttons=True)
        assert full.startswith("This server made 1 request within a minute, which is its limit. Try again in ")
        assert (await talk.ask("!help", scope=replace(HERE, server="work"), has_buttons=True))["commands"]


async def test_without_a_quota_of_the_operator_a_server_has_none_until_it_chooses_one(talk: Talk) -> None:
    for _ in range(70):
        await talk.ask("!help", has_buttons=True)
    await talk.ask("!settings server_quota_per_minute 70", has_buttons=True)
    # Nothing was counted while there was none.
    assert (await talk.ask("!help", has_buttons=True))["commands"]
    await talk.ask("!settings server_quota_per_minute 0", has_buttons=True)
    assert (await talk.ask("!settings"))["settings"]["server_quota_per_minute"] == "0"

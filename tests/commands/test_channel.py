"""Settings, fresh, context, stats and help."""

import re
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

import pytest

from bot.commands.bot import COMMANDS
from bot.commands.framework.command import Command
from bot.core.cards import Card, Table, Text
from bot.core.messages import Author, Message, Scope, now_utc
from bot.core.stopping import Stopper
from tests.bots import HERE, PROMPTS, Talk

OpenTiny = Callable[..., AbstractAsyncContextManager[Talk]]
ELSEWHERE = replace(HERE, channel="random")


def words_of(card: Card) -> str:
    """Return everything on a card that a person reads."""
    words = []
    for block in card.blocks:
        if isinstance(block, Text):
            words.append(block.text)
        elif isinstance(block, Table):
            words += [*block.columns, *(cell for row in block.rows for cell in row)]
    return "\n".join(words)


async def value_of(talk: Talk, name: str, **how: object) -> str:
    return str((await talk.ask("!settings", **how))["settings"][name])


async def test_settings_shows_all_with_their_defaults(talk: Talk) -> None:
    card = await talk.card("!settings")
    assert card.data["settings"] == {
        "chat_template": "chat",
        "preset": "normal",
        "history_length": "40",
        "answer_when": "mention",
        "retention_days": "30",
        "moderator_roles": "",
        "report_channel": "",
        "quota_per_minute": "20",
    }
    (table,) = card.blocks
    assert {row[2] for row in table.rows} == {"default"}
    assert all(row[3] for row in table.rows)


async def test_a_setting_is_changed_shown_and_taken_back(open_tiny: OpenTiny) -> None:
    async with open_tiny() as talk:
        answer = await talk.ask("!settings preset careful")
        assert answer["settings"]["preset"] == "careful"
    async with open_tiny() as talk:
        assert await value_of(talk, "preset") == "careful"
        assert await value_of(talk, "preset", scope=ELSEWHERE) == "normal"
        assert await value_of(talk, "preset", scope=replace(HERE, thread="5")) == "careful"
        assert (await talk.ask("!settings preset default"))["settings"]["preset"] == "normal"
        assert await value_of(talk, "preset") == "normal"


async def test_the_server_s_level_holds_in_every_channel_until_one_says_otherwise(talk: Talk) -> None:
    await talk.ask("!settings --level server history_length 20")
    assert await value_of(talk, "history_length", scope=ELSEWHERE) == "20"
    await talk.ask("!settings history_length 7 --level channel", scope=ELSEWHERE)
    assert await value_of(talk, "history_length", scope=ELSEWHERE) == "7"
    assert await value_of(talk, "history_length") == "20"
    await talk.ask("!settings history_length default", scope=ELSEWHERE)
    assert await value_of(talk, "history_length", scope=ELSEWHERE) == "20"
    assert await value_of(talk, "history_length", scope=replace(HERE, server="work")) == "40"


async def test_retention_is_the_whole_server_s(talk: Talk) -> None:
    await talk.ask("!settings retention_days 3")
    assert await value_of(talk, "retention_days", scope=ELSEWHERE) == "3"
    await talk.ask("Hello")
    later = now_utc().replace(year=now_utc().year + 1)
    assert await talk.store.delete_expired(default_days=9999, now=later) > 0


async def test_members_may_not_see_or_change_settings(talk: Talk) -> None:
    for line in ("!settings", "!settings preset wild", "!SETTINGS preset wild"):
        assert await talk.refusal(line, is_moderator=False) == "Only moderators can use !settings."
    assert await value_of(talk, "preset") == "normal"


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("presett wild", "There is no setting 'presett'; did you mean preset?"),
        (
            "zzz 1",
            "There is no setting 'zzz'; choose from chat_template, preset, history_length, answer_when,"
            " retention_days, moderator_roles, report_channel, quota_per_minute.",
        ),
        ("report_channel a b", "report_channel takes one channel, as an id or mention, not 'a b'."),
        ("moderator_roles @everyone", "moderator_roles takes 1 to 25 roles, as ids or mentions, not '@everyone'."),
        ("answer_when always", "answer_when can't be 'always'; it takes one of mention, every, never."),
        ("preset wid", "preset can't be 'wid'; did you mean wild?"),
        (
            "preset",
            "VALUE is missing. preset takes one of careful, normal, wild, greedy, beam; default resets it.",
        ),
        ("chat_template sentiment", "chat_template can't be 'sentiment'; it takes one of chat, pirate."),
        ("history_length 0", "history_length takes a whole number from 1 to 200, not '0'."),
        ("retention_days 99", "retention_days takes a whole number from 1 to 30, not '99'."),
        ("--level galaxy preset wild", "level takes one of server, channel, not 'galaxy'."),
        ("preset wild now", "preset can't be 'wild now'; did you mean wild?"),
    ],
)
async def test_a_wrong_setting_or_value_gets_one_sentence(talk: Talk, line: str, sentence: str) -> None:
    before = (await talk.ask("!settings"))["settings"]
    assert await talk.refusal(f"!settings {line}") == sentence
    assert (await talk.ask("!settings"))["settings"] == before


async def test_a_setting_without_a_value_shows_a_dash(talk: Talk) -> None:
    card = await talk.card("!settings")
    (table,) = [block for block in card.blocks if isinstance(block, Table)]
    rows = {name: (value, where) for name, value, where, _ in table.rows}
    assert rows["report_channel"] == ("—", "default")
    assert card.data["settings"]["report_channel"] == ""


async def test_fresh_is_a_visible_line(talk: Talk) -> None:
    card = await talk.card("!fresh", is_moderator=False)
    assert words_of(card).strip() == "Fresh start: the bot does not read anything above."
    assert "Fresh start" in card.data["text"]
    assert card.answers == "public"


@pytest.mark.parametrize("num_said", [1, 25])
async def test_context_adds_up(any_talk: Talk, num_said: int) -> None:
    for i in range(num_said):
        await any_talk.ask(f"message number {i} of them all")
    use = await any_talk.ask("!context")
    parts = ("num_template_tokens", "num_history_tokens", "num_answer_tokens", "num_free_tokens")
    assert sum(use[part] for part in parts) == use["context_length"] == 512
    assert all(use[part] >= 0 for part in parts)
    assert use["num_answer_tokens"] == 12
    assert use["template"] == "chat"
    assert (use["num_messages_dropped"] > 0) == (num_said == 25)
    # The model would read the last answer as well, which `why` does not yet know.
    prompt = (await any_talk.services.chat.prepare(HERE)).num_prompt_tokens
    assert use["num_template_tokens"] + use["num_history_tokens"] == prompt
    card = await any_talk.card("!context")
    assert ("left out because they do not fit" in words_of(card)) == (num_said == 25)


async def test_context_of_an_empty_conversation_says_so(talk: Talk) -> None:
    assert await talk.refusal("!context") == "There is nothing here to read yet. Write to the bot first."
    await talk.ask("Hello")
    await talk.ask("!fresh")
    assert await talk.refusal("!context") == "There is nothing here to read yet. Write to the bot first."


async def test_stats_count_what_was_done(any_talk: Talk) -> None:
    empty = await any_talk.ask("!stats")
    assert empty["tokens_per_s"] is None
    assert empty["first_token_ms"] == {}
    await any_talk.ask("Hello")
    stats = await any_talk.ask("!stats")
    assert stats["model"] == "tiny"
    assert stats["device"] == "cpu"
    assert stats["precision"] == "float32"
    assert stats["context_length"] == 512
    assert stats["num_done"] > empty["num_done"]
    assert stats["num_failed"] == stats["num_waiting"] == 0
    assert stats["tokens_per_s"] > 0
    assert 0 < stats["first_token_ms"]["p50"] <= stats["total_ms"]["p50"] <= stats["total_ms"]["p95"]
    assert (stats["num_messages"], stats["num_replies"]) == (4, 1)
    assert stats["uptime_s"] > 0
    assert stats["num_bytes"] > 0


async def test_help_names_every_command_and_help_of_one_every_option(talk: Talk) -> None:
    card = await talk.card("!help", is_moderator=False)
    assert list(card.data["commands"]) == list(COMMANDS)
    for name, command in COMMANDS.items():
        assert f"!{name}" in words_of(card)
        assert command.summary in words_of(card)
        for asked in (name, f"!{name}", f"  {name.upper()} "):
            one = words_of(await talk.card(f"!help {asked}"))
            assert f"!{command.usage}" in one
            for option in command.options:
                assert f"--{option.name}" in one
                assert option.takes in one
                assert option.help in one
            for example in command.examples:
                assert f"!{example}" in one


async def test_help_of_a_family_shows_all_its_commands(talk: Talk) -> None:
    usage = (await talk.ask("!help prompt"))["usage"]
    assert usage == [f"!{command.usage}" for name, command in COMMANDS.items() if name.startswith("prompt ")]


async def test_help_suggests_the_nearest_name(talk: Talk) -> None:
    assert await talk.refusal("!help complet") == "There is no command 'complet'; did you mean !complete?"
    assert await talk.refusal("!help promt shw") == "There is no command 'promt shw'; did you mean !prompt show?"
    assert await talk.refusal("!help zzzz") == "There is no command 'zzzz'; !help lists all commands."


async def test_help_in_reply_to_a_message_is_help(talk: Talk) -> None:
    await talk.ask("Hello")
    assert (await talk.ask("!help", reply_to=talk.message_ids[0]))["commands"]


def test_every_command_says_what_it_does_and_has_an_example_where_it_takes_words() -> None:
    for command in COMMANDS.values():
        assert command.summary
        assert bool(command.examples) == (command.text != "none" or bool(command.arguments))
        assert all(option.help for option in command.options)


# What has to be there for the first example of a command.
_DRAFT = ("prompt tests sentiment add Fine => Positive", "prompt examples sentiment add So so => Neutral")
_VERSIONS = tuple(
    line for i in range(5) for line in (f"prompt tests sentiment add case {i} => Neutral", "prompt publish sentiment")
)
BEFORE = {
    **dict.fromkeys(("prompt test", "prompt tune", "prompt draft", "prompt discard", "prompt publish"), _DRAFT),
    "prompt examples": ("prompt example --template sentiment --output Neutral So so",),
    "prompt diff": _VERSIONS,
    "prompt rollback": _VERSIONS,
    "prompt delete": ("prompt import greeting " + PROMPTS["story"], "prompt publish greeting"),
}


async def prepare_for(talk: Talk, command: Command) -> str | None:
    """Say and set what the command needs; return what it has to reply to, None for nothing."""
    answer = await talk.card("Hello")
    if command.name == "report":
        await talk.ask("!settings report_channel 5")
    if command.name == "prompt import":
        await talk.ask("Look:", attachment=PROMPTS["story"])
        return talk.message_ids[-1]
    for line in BEFORE.get(command.name, ()):
        await talk.ask(f"!{line}")
    return answer.reply_id if command.name in ("report", "forget") else None


@pytest.mark.parametrize(
    ("command", "example"), [(command, example) for command in COMMANDS.values() for example in command.examples]
)
async def test_the_examples_in_help_really_work(any_talk: Talk, command: Command, example: str) -> None:
    reply_id = await prepare_for(any_talk, command)
    assert await any_talk.ask(f"!{example}", reply_to=reply_id)


@pytest.mark.parametrize("command", COMMANDS.values(), ids=list(COMMANDS))
async def test_every_command_answers_with_its_name_and_as_declared(talk: Talk, command: Command) -> None:
    reply_id = await prepare_for(talk, command)
    line = command.examples[0] if command.examples else command.name
    cards = [card async for card in talk.snapshots(f"!{line}", reply_to=reply_id)]
    assert {card.data["command"] for card in cards} == {command.name}
    assert {card.answers for card in cards} == {"public" if command.answers == "public" else "private"}
    assert words_of(cards[-1]) or len(cards[-1].blocks) > 0 or cards[-1].form or cards[-1].file


async def test_another_prefix_is_used_everywhere(open_tiny: OpenTiny) -> None:
    async with open_tiny(command_prefix="?") as talk:
        assert (await talk.ask("!help"))["command"] == "chat"
        card = await talk.card("?help")
        assert "?complete" in words_of(card)
        assert not re.search(r"(?m)^!", words_of(card))
        assert (await talk.refusal("?complete")).endswith("Write ?complete TEXT.")
        await talk.ask("?complete --seed 1 --max_new_tokens 4 The cat")
        assert (await talk.ask("?why"))["prompt"] == "The cat"
        assert (await talk.ask("1"))["command"] == "complete"


async def test_help_asked_with_a_slash_shows_slash_commands(talk: Talk) -> None:
    scope = Scope("discord", "1", "2")
    message = Message("9", scope, Author("ann", "Ann"), "!help", reach="form")
    cards = [card async for card in talk.bot.answer(message, Stopper())]
    (table,) = [block for block in cards[-1].blocks if isinstance(block, Table)]
    shown = [row[0] for row in table.rows]
    assert "/perplexity text" in shown
    assert "/prompt list" in shown
    assert any(usage.startswith("/prompt-edit publish") for usage in shown)
    assert not [usage for usage in shown if usage.startswith("!")]

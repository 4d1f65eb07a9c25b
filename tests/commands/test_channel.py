"""Settings, fresh, context, stats and help."""

import re
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any

import pytest

from bot.commands.bot import COMMANDS
from bot.commands.framework.command import SAMPLING_OPTIONS, Command
from bot.commands.framework.help_topics import TOPICS
from bot.core.cards import Card, Table, Text
from bot.core.messages import Author, Message, Scope, now_utc
from bot.core.sampling_params import PRESETS
from bot.core.stopping import Stopper
from tests.bots import HERE, MANY, PROMPTS, Talk

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
        "model": "tiny",
        "chat_template": "chat",
        "preset": "normal",
        "history_length": "12",
        "answer_when": "mention",
        "retention_days": "30",
        "moderator_roles": "",
        "report_channel": "",
        "quota_per_minute": "20",
        "server_quota_per_minute": "0",
    }
    (table,) = card.blocks
    assert {row[2] for row in table.rows if row[0] != "preset"} == {"default"}
    assert all(row[3] for row in table.rows)


async def test_settings_shows_the_value_in_force_and_where_it_comes_from(talk: Talk) -> None:
    async def row(name: str) -> tuple[str, ...]:
        (table,) = [block for block in (await talk.card("!settings")).blocks if isinstance(block, Table)]
        (found,) = [row[1:3] for row in table.rows if row[0] == name]
        return found

    # The template of the chat brings its own sampling, which no preset overrides yet.
    assert await row("preset") == ("seed 5, max_new_tokens 12, top_k 0", "template chat")
    await talk.ask("!settings chat_template pirate")
    assert await row("preset") == ("seed 6, max_new_tokens 12", "template pirate")
    await talk.ask("!settings --level server preset wild")
    assert await row("preset") == ("wild", "server")
    await talk.ask("!settings preset careful")
    assert await row("preset") == ("careful", "channel")
    assert (await talk.ask("!settings"))["origins"]["preset"] == "channel"
    await talk.ask("!settings retention_days 3")
    assert await row("retention_days") == ("3", "server")
    # A value that is no longer valid has no effect, and is not shown as if it had.
    await talk.store.set_setting(HERE, "channel", "chat_template", "removed-template")
    assert await row("chat_template") == ("chat", "default")


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


async def test_a_change_is_said_with_the_old_and_the_new_value(talk: Talk) -> None:
    async def change(line: str) -> str:
        card = await talk.card(f"!settings {line}")
        assert isinstance(card.blocks[0], Text)
        assert card.data["text"] == card.blocks[0].text
        return card.blocks[0].text

    assert await change("history_length 20") == "history_length: 12 → 20, for this channel."
    assert await change("history_length 20") == "history_length stays 20 for this channel."
    assert await change("--level server history_length 9") == (
        "history_length: 12 → 9, for this server. This channel keeps its own value, 20."
    )
    assert await change("history_length default") == "history_length: 20 → 9, for this channel."
    assert await change("--level server history_length default") == "history_length: 9 → 12, for this server."
    template = "seed 5, max_new_tokens 12, top_k 0"
    assert await change("preset wild") == f"preset: {template} → wild, for this channel."
    assert await change("preset default") == f"preset: wild → {template}, for this channel."
    assert await change("report_channel 77") == "report_channel: — → 77, for this server."
    assert (await talk.ask("!settings preset greedy"))["changed"] == {
        "setting": "preset",
        "level": "channel",
        "old": template,
        "new": "greedy",
    }
    assert not isinstance((await talk.card("!settings")).blocks[0], Text)


async def test_the_selects_of_settings_say_what_they_set(talk: Talk) -> None:
    card = await talk.card("!settings", has_buttons=True)
    assert [select.label for select in card.selects] == [
        "Choose the chat template of this channel",
        "Choose the sampling preset of this channel",
        "Choose when to answer in this channel",
    ]
    chosen = [option.label for select in card.selects for option in select.options if option.is_chosen]
    assert chosen == ["Chat template: chat", "Sampling preset: normal", "When to answer: mention"]
    changed = await talk.click(card, "answer_when", value="every", is_moderator=True)
    assert changed.blocks[0] == Text("answer_when: mention → every, for this channel.")


async def test_roles_and_channels_are_shown_by_name_where_the_platform_knows_them(talk: Talk) -> None:
    names = {"5": "@mods", "6": "#reports", "7": "@helpers"}
    talk.bot.name_places_by(lambda scope, id: names.get(id))
    await talk.ask("!settings moderator_roles 5 7")
    del names["7"]
    card = await talk.card("!settings report_channel 6")
    assert card.blocks[0] == Text("report_channel: — → #reports, for this server.")
    assert "@mods, 7 (deleted)" in words_of(card)
    assert card.data["settings"]["moderator_roles"] == "5 7"


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (
            "report_channel stories",
            "This server has no channel 'stories'. report_channel takes one channel, as a mention (#channel) or id.",
        ),
        ("report_channel <@&5>", "This server has no channel '5'. report_channel takes one channel, as a mention"),
        ("moderator_roles 5 6", "This server has no role '6'. moderator_roles takes 1 to 25 roles, as mentions"),
        ("moderator_roles 8", "This server has no role '8'. moderator_roles takes 1 to 25 roles, as mentions (@role)"),
    ],
)
async def test_roles_and_channels_that_the_server_does_not_have_are_refused(
    talk: Talk, line: str, sentence: str
) -> None:
    names = {"5": "@mods", "6": "#reports"}
    talk.bot.name_places_by(lambda scope, id: names.get(id))
    assert (await talk.refusal(f"!settings {line}")).startswith(sentence)


async def test_the_server_s_level_holds_in_every_channel_until_one_says_otherwise(talk: Talk) -> None:
    await talk.ask("!settings --level server history_length 20")
    assert await value_of(talk, "history_length", scope=ELSEWHERE) == "20"
    await talk.ask("!settings history_length 7 --level channel", scope=ELSEWHERE)
    assert await value_of(talk, "history_length", scope=ELSEWHERE) == "7"
    assert await value_of(talk, "history_length") == "20"
    await talk.ask("!settings history_length default", scope=ELSEWHERE)
    assert await value_of(talk, "history_length", scope=ELSEWHERE) == "20"
    assert await value_of(talk, "history_length", scope=replace(HERE, server="work")) == "12"


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
            "There is no setting 'zzz'; choose from model, chat_template, preset, history_length, answer_when,"
            " retention_days, moderator_roles, report_channel, quota_per_minute, server_quota_per_minute.",
        ),
        ("report_channel a b", "report_channel takes one channel, as a mention (#channel) or id, not 'a b'."),
        (
            "moderator_roles @everyone",
            "moderator_roles takes 1 to 25 roles, as mentions (@role) or ids, not '@everyone'.",
        ),
        ("answer_when always", "answer_when can't be 'always'; it takes one of mention, every, never."),
        ("preset wid", "preset can't be 'wid'; did you mean wild?"),
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


async def test_the_name_of_a_setting_alone_shows_its_value_and_how_to_change_it(talk: Talk) -> None:
    await talk.ask("!settings history_length 7")
    card = await talk.card("!settings history_length")
    assert [getattr(block, "text", "") for block in card.blocks] == [
        "history_length: 7 (from: channel)",
        "To change it, use !settings history_length VALUE: it takes a whole number from 1 to 200; default resets it.",
    ]
    assert (card.data["value"], card.data["origin"]) == ("7", "channel")


async def test_where_some_settings_have_no_effect_only_the_others_are_offered(talk: Talk) -> None:
    scope = replace(HERE, kind="terminal")
    names = "model, chat_template, preset, history_length, retention_days"
    assert await talk.refusal("!settings zzz 1", scope=scope) == f"There is no setting 'zzz'; choose from {names}."
    assert "has no effect in the terminal" in await talk.refusal("!settings answer_when", scope=scope)
    tables = [block for block in (await talk.card("!help settings", scope=scope)).blocks if isinstance(block, Table)]
    settings = [row for table in tables if table.columns[0] == "setting" for row in table.rows]
    assert [name for name, _, _ in settings] == names.split(", ")
    assert settings[0] == ("model", "only tiny", "the model that answers")
    assert settings[1] == ("chat_template", "one of chat, pirate", "template for chat prompts")


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
    await any_talk.ask("!settings history_length 40")
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
    card = await talk.card("!help")
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


@pytest.mark.parametrize(
    ("kind", "answer_when", "sentence"),
    [
        ("server", "mention", "To chat, mention me or reply to my message."),
        ("server", "every", "Any other message is chat."),
        ("server", "never", "Only commands are answered here."),
        ("direct", "mention", "Any other message is chat."),
        ("direct", "never", "Only commands are answered here."),
        ("group", "mention", "Only commands are answered here: I read no other messages."),
        ("foreign", "mention", "Only commands are answered here: I read no other messages."),
        ("terminal", "mention", "Any other message is chat."),
    ],
)
async def test_help_says_which_messages_are_chat_where_it_is_asked_for(
    talk: Talk, kind: Any, answer_when: str, sentence: str
) -> None:
    scope = replace(HERE, kind=kind)
    await talk.store.set_setting(scope, "channel", "answer_when", answer_when)
    last = (await talk.card("!help", scope=scope)).blocks[-1]
    assert isinstance(last, Text)
    assert last.text.startswith(f"{sentence} !help COMMAND explains")


async def test_help_of_a_family_shows_all_its_commands(talk: Talk) -> None:
    card = await talk.card("!help prompt")
    family = [command for name, command in COMMANDS.items() if name.startswith("prompt ")]
    assert card.data["usage"] == [f"!{command.usage}" for command in family]
    table, note = card.blocks
    assert isinstance(table, Table)
    assert [summary for _, summary in table.rows] == [command.summary for command in family]
    assert isinstance(note, Text)
    assert note.text == "!help prompt run explains one of them."
    for_members = (await talk.ask("!help prompt", is_moderator=False))["usage"]
    assert for_members == [f"!{command.usage}" for command in family if command.who == "all"]


async def test_help_suggests_the_nearest_name(talk: Talk) -> None:
    assert await talk.refusal("!help complet") == "There is no help on 'complet'; did you mean !help complete?"
    assert await talk.refusal("!help promt shw") == "There is no help on 'promt shw'; did you mean !help prompt show?"
    assert await talk.refusal("!help temprature") == (
        "There is no help on 'temprature'; did you mean !help temperature?"
    )
    assert await talk.refusal("!help zzzz") == (
        "There is no help on 'zzzz'; !help COMMAND explains a command, !help options the options and !help presets the"
        " presets."
    )


async def test_help_on_options_and_presets_states_ranges_and_defaults(talk: Talk) -> None:
    card = await talk.card("!help options")
    (table,) = [block for block in card.blocks if isinstance(block, Table)]
    rows = {row[0]: row[1:] for row in table.rows}
    assert list(rows) == [f"--{option.name}" for option in SAMPLING_OPTIONS]
    assert rows["--temperature"] == (
        "a number from 0 to 2",
        "0.8",
        "0 always takes the likeliest token; higher is more random",
    )
    assert rows["--n"][1] == "1 (complete: 3)"
    assert rows["--seed"][1] == "drawn, and shown"
    for asked in ("temperature", "TEMPERATURE"):
        one = words_of(await talk.card(f"!help {asked}"))
        assert "a number from 0 to 2" in one
        assert "0.8" in one
    assert "a whole number from 0 to 10" in words_of(await talk.card("!help no-repeat-ngram-size"))
    presets = words_of(await talk.card("!help presets"))
    assert all(name in presets for name in PRESETS)
    assert "temperature 1.2, top_k 0, top_p 0.98, min_p 0" in presets
    assert words_of(await talk.card("!help wild")).startswith("preset\nwhat it sets\nwild\ntemperature 1.2")


@pytest.mark.parametrize("topic", ["--temperature", "—temperature", "-temperature", "temperature"])
async def test_help_finds_an_option_as_it_is_typed(talk: Talk, topic: str) -> None:
    assert [one["name"] for one in (await talk.ask(f"!help {topic}"))["options"]] == ["temperature"]


async def test_help_explains_a_setting(talk: Talk) -> None:
    card = await talk.card("!help history_length")
    assert card.data["topic"] == {
        "setting": "history_length",
        "values": "a whole number from 1 to 200",
        "meaning": "the most messages that the model may read",
    }
    note = "!settings history_length shows it and how to change it. All: !help settings."
    assert getattr(card.blocks[-1], "text", "") == note
    assert (
        await talk.refusal("!help history_lenght")
        == "There is no help on 'history_lenght'; did you mean !help history_length?"
    )


async def test_every_topic_of_help_is_suggested_and_answered(talk: Talk) -> None:
    for topic in TOPICS:
        assert await talk.ask(f"!help {topic}")
        assert topic in await talk.bot.suggest_values(HERE, "help", "command", topic)


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
    "prompt neighbours": (f"prompt import sentiment {MANY}",),
    "prompt diff": _VERSIONS,
    "prompt rollback": _VERSIONS,
    "story off": ("story on",),
    "story export": ("story on Once",),
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
        assert "Write ?complete TEXT" in await talk.refusal("?complete")
        await talk.ask("?complete --seed 1 --max_new_tokens 4 The cat")
        assert (await talk.ask("?why"))["prompt"] == "The cat"
        assert (await talk.ask("1"))["command"] == "complete"


async def test_help_asked_with_a_slash_shows_slash_commands(talk: Talk) -> None:
    scope = Scope("discord", "1", "2")
    message = Message("9", scope, Author("ann", "Ann", is_moderator=True), "!help", reach="form")
    cards = [card async for card in talk.bot.answer(message, Stopper())]
    (table,) = [block for block in cards[-1].blocks if isinstance(block, Table)]
    shown = [row[0] for row in table.rows]
    assert "/perplexity text" in shown
    assert "/prompt list" in shown
    assert any(usage.startswith("/prompt-edit publish") for usage in shown)
    assert not [usage for usage in shown if usage.startswith("!")]


async def test_what_the_server_sets_and_the_channel_hides_is_said(talk: Talk) -> None:
    await talk.ask("!settings history_length 7")
    card = await talk.card("!settings --level server history_length 20")
    assert card.data["settings"]["history_length"] == "7"
    assert card.data["hidden"] == {"history_length": "20"}
    assert (
        "The server's history_length is 20, but this channel has its own. !settings history_length default removes"
        " that." in words_of(card)
    )
    for line in ("history_length default", "--level server history_length default"):
        assert (await talk.ask(f"!settings {line}"))["hidden"] == {}


@pytest.mark.parametrize(
    ("kind", "names", "where"),
    [
        (
            "terminal",
            "moderator_roles report_channel answer_when quota_per_minute server_quota_per_minute",
            "the terminal",
        ),
        ("direct", "moderator_roles report_channel server_quota_per_minute", "a direct message"),
        ("group", "moderator_roles report_channel answer_when server_quota_per_minute", "a group conversation"),
        ("foreign", "moderator_roles report_channel answer_when", "a server that the bot is not in"),
        ("server", "", ""),
    ],
)
async def test_a_setting_without_effect_in_a_place_is_not_taken_and_not_shown_there(
    open_tiny: OpenTiny, kind: Any, names: str, where: str
) -> None:
    values = {
        "moderator_roles": "8",
        "report_channel": "5",
        "answer_when": "every",
        "quota_per_minute": "3",
        "server_quota_per_minute": "300",
    }
    async with open_tiny(owner_ids=("ann",)) as talk:
        scope = replace(HERE, kind=kind)
        for name, value in values.items():
            if name in names.split():
                sentence = f"{name} has no effect in {where}, so it can't be set here."
                assert await talk.refusal(f"!settings {name} {value}", scope=scope) == sentence
            else:
                assert (await talk.ask(f"!settings {name} {value}", scope=scope))["settings"][name] == value
        card = await talk.card("!settings", scope=scope, has_buttons=True)
        assert not [name for name in names.split() if name in words_of(card).split()]
        assert ("answer_when" in {select.action for select in card.selects}) is ("answer_when" not in names)


@pytest.mark.parametrize("kind", ["server", "direct", "group", "foreign"])
async def test_what_the_operator_limits_can_only_be_lowered(open_tiny: OpenTiny, kind: Any) -> None:
    async with open_tiny(owner_ids=("ann",), quota_per_minute=9, retention_days=5) as talk:
        scope = replace(HERE, kind=kind)
        for name, limit in {"quota_per_minute": 9, "retention_days": 5}.items():
            too_much = f"{name} takes a whole number from 1 to {limit}, not '{limit + 1}'."
            assert await talk.refusal(f"!settings {name} {limit + 1}", scope=scope) == too_much
            assert (await talk.ask(f"!settings {name} 2", scope=scope))["settings"][name] == "2"
        # What was stored under another limit has no effect.
        await talk.store.set_setting(scope, "server", "quota_per_minute", "600")
        assert await value_of(talk, "quota_per_minute", scope=scope) == "9"
        assert "max_new_tokens takes" in await talk.refusal("!complete --max_new_tokens 513 The cat", scope=scope)


@pytest.mark.parametrize(
    ("kind", "is_moderator", "left_out"),
    [
        ("server", True, ""),
        ("server", False, "settings,purge,prompt edit,prompt publish"),
        ("direct", False, "report"),
        ("group", True, "settings,purge,prompt edit,prompt publish,fresh,context,why,report"),
        ("foreign", True, "purge,fresh,context,why,report"),
    ],
)
async def test_help_lists_what_the_person_may_use_there(
    talk: Talk, kind: Any, is_moderator: bool, left_out: str
) -> None:
    how: dict[str, Any] = {"scope": replace(HERE, kind=kind), "is_moderator": is_moderator, "has_buttons": True}
    listed = (await talk.ask("!help", **how))["commands"]
    assert not [name for name in left_out.split(",") if name in listed]
    assert {"complete", "help", "privacy", "forget", "prompt run"} <= set(listed)
    for name in filter(None, left_out.split(",")):
        card = await talk.card(f"!help {name}", **how)
        reason = "Only moderators can use" if name in ("settings", "prompt edit", "prompt publish") else ""
        assert reason in words_of(card)
    assert ("settings" in listed) is ("settings" not in left_out)


async def test_help_says_how_a_word_reaches_the_card_on_each_platform(talk: Talk) -> None:
    on_discord = words_of(await talk.card("!help complete", has_buttons=True))
    words = "1, 2, more, longer, again, undo, words or branches"
    assert f"reply to it with {words}; in a direct message the word alone is enough." in on_discord
    typed = words_of(await talk.card("!help complete"))
    assert "After the answer type 1, 2, more, longer, again, undo, words or branches." in typed

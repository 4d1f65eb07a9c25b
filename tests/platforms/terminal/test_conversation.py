"""One person in the terminal: what the place means for settings and rights."""

from dataclasses import replace

from bot.commands.bot import Bot
from bot.core.cards import Card, Table
from bot.core.stopping import Stopper
from bot.platforms.terminal.conversation import Conversation, new_id
from bot.platforms.terminal.traits import TERMINAL
from tests.bots import Talk


async def say(talk: Talk, text: str, *, is_moderator: bool = True) -> Card:
    bot = Bot(replace(talk.services, traits=TERMINAL))
    person = Conversation.of(bot, server="local", channel="terminal", name="ann", is_moderator=is_moderator)
    return [card async for card in person.say(text, Stopper(), message_id=new_id())][-1]


async def test_settings_without_effect_in_a_terminal_are_refused_and_not_shown(talk: Talk) -> None:
    for name in ("report_channel", "moderator_roles", "answer_when", "quota_per_minute", "server_quota_per_minute"):
        refused = await say(talk, f"!settings {name} 5")
        assert refused.error == f"{name} has no effect in the terminal, so it can't be set here."
    (table,) = (await say(talk, "!settings")).blocks
    assert [row[0] for row in table.rows] == ["model", "chat_template", "preset", "history_length", "retention_days"]
    assert (await say(talk, "!settings history_length 7")).data["settings"]["history_length"] == "7"


async def test_the_role_says_who_is_a_moderator_in_a_terminal(talk: Talk) -> None:
    assert (await say(talk, "!settings", is_moderator=False)).error == "Only moderators can use !settings."
    listed = (await say(talk, "!help", is_moderator=False)).data["commands"]
    assert "settings" not in listed
    assert "settings" in (await say(talk, "!help")).data["commands"]


async def test_help_in_a_terminal_leaves_out_what_does_nothing_there(talk: Talk) -> None:
    listed = (await say(talk, "!help")).data["commands"]
    assert "purge" in listed
    assert not {"forget", "report"} & set(listed)
    assert (await say(talk, "!forget")).error, "whoever types it is told what to do instead"


async def test_what_would_be_in_a_file_is_shown_whole_in_a_terminal_and_once(talk: Talk) -> None:
    rows = "\n".join(f"case {i} => Positive" for i in range(60))
    await say(talk, f"!prompt tests sentiment add {rows}")
    listed = await say(talk, "!prompt tests sentiment")
    lines = await say(talk, "!prompt sentiment " + "\n".join(f"line {i} is good" for i in range(25)))
    for card, num_rows in ((listed, len(listed.data["tests"])), (lines, 25)):
        assert card.file is None
        (table,) = [block for block in card.blocks if isinstance(block, Table)]
        assert len(table.rows) == num_rows
        assert "the file" not in repr(card.blocks)


async def test_a_file_that_can_t_be_read_is_named_as_it_was_typed(talk: Talk) -> None:
    refused = await say(talk, "!perplexity --file no/such.txt")
    assert refused.error == "The file no/such.txt can't be read: No such file or directory."
    for line in ("!perplexity --file", "!complete --file=", "!complete --n 2 --file  "):
        assert (await say(talk, line)).error == "--file needs the path of a file."


async def test_a_sign_alone_shows_the_help(talk: Talk) -> None:
    for text in ("?", "!", "/", "!?", " ? "):
        assert (await say(talk, text)).data["command"] == "help"


async def test_only_settings_with_an_effect_in_a_terminal_are_offered_there(talk: Talk) -> None:
    bot = Bot(replace(talk.services, traits=TERMINAL))
    person = Conversation.of(bot, server="local", channel="terminal", name="ann", is_moderator=True)
    known = await bot.known_names(person.scope)
    assert list(known.settings) == ["model", "chat_template", "preset", "history_length", "retention_days"]
    assert await bot.suggest_values(person.scope, "help", "command", "quota") == ()


async def test_a_space_behind_the_prefix_is_no_matter_before_a_command(talk: Talk) -> None:
    assert (await say(talk, "! next Once")).data["command"] == "next"
    assert (await say(talk, "!  PROMPT list")).data["command"] == "prompt list"
    assert (await say(talk, "! hello")).data["command"] == "chat"


async def test_a_setting_is_found_however_it_is_written(talk: Talk) -> None:
    for line in ("History-Length 7", "history_length = 7", "history_length=7", "history_length =7"):
        await say(talk, "!settings history_length default")
        assert (await say(talk, f"!settings {line}")).data["in_force"]["history_length"] == "7", line
    assert (await say(talk, "!settings preset Wild")).data["in_force"]["preset"] == "wild"
    assert (await say(talk, "!settings preset Default")).data["settings"]["preset"] == "normal"


async def test_where_nothing_can_be_attached_no_file_is_asked_for(talk: Talk) -> None:
    assert (await say(talk, "!next")).error == "The text is missing. Write !next TEXT."

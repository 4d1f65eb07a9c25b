"""A scripted evening: everything that members and moderators do on Discord, with the real bot on a tiny model."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any

import pytest

from bot.commands.bot import COMMANDS
from tests.bots import MANY, MOOD, PROMPTS, Talk
from tests.platforms.discord.evenings import Evening, an_evening
from tests.servers.discord import visible_text
from tests.servers.discord.interactions import InteractionResult
from tests.servers.discord.options import find_component
from tests.servers.discord.texts import SELECTS, labels
from tests.servers.discord.world import Message

OpenTiny = Callable[..., AbstractAsyncContextManager[Talk]]


@dataclass(frozen=True, slots=True)
class Try:
    """How a command is used in both forms, and a text that its answer shows.

    `line` is what follows the command's name in the `!` form. `is_reply` says that it is asked in reply to an answer.
    """

    shows: str
    options: Mapping[str, Any] = field(default_factory=dict)
    line: str = ""
    is_reply: bool = False
    is_private: bool = False


TRIES = {
    "complete": Try("The cat", {"text": "The cat", "n": 2, "seed": 5}, "--n 2 --seed 5 The cat"),
    "strategies": Try(
        "greedy", {"text": "The cat", "max_new_tokens": 4, "seed": 5}, "--max_new_tokens 4 --seed 5 The cat"
    ),
    "perplexity": Try("bits per byte", {"text": "The cat sat"}, "The cat sat"),
    "compare": Try("likelier", {"a": "The cat sat on it", "b": "Zq zq xq"}, "The cat sat on it | Zq zq xq"),
    "next": Try("the model ", {"text": "The cat"}, "The cat"),
    "prompt run": Try("Positive", {"name": "sentiment", "text": "I love it"}, "sentiment I love it"),
    "prompt list": Try("translate-en-fr"),
    "prompt show": Try("Feelings.", {"name": "sentiment"}, "sentiment"),
    "prompt test": Try("held-out tests", {"name": "mood"}, "mood"),
    "prompt tune": Try("scorings", {"name": "mood"}, "mood"),
    "prompt neighbours": Try("held-out tests", {"action": "on", "name": "many"}, "on many"),
    "settings": Try("history"),
    "wordlist": Try("word list", is_private=True),
    "fresh": Try("Fresh start"),
    "context": Try("reserved for the answer"),
    "model": Try("answers here"),
    "stats": Try("tokens/s"),
    "help": Try("what it does"),
    "why": Try("The prompt", is_private=True),
    "privacy": Try("your stored messages", is_private=True),
    # In the order of a template's life: drafts of story and tale are created, tested and published.
    "prompt import": Try("Draft of tale", {"name": "tale", "text": "+++"}, f"tale {PROMPTS['story']}", is_private=True),
    "prompt examples": Try(
        "Added to your draft",
        {"name": "sentiment", "action": "add", "rows": "So so => Neutral"},
        "story add a => b",
        is_private=True,
    ),
    "prompt tests": Try(
        "Added to your draft",
        {"name": "sentiment", "action": "add", "rows": "I like it => Positive"},
        "sentiment add It is => Neutral",
        is_private=True,
    ),
    "prompt draft": Try("Draft of sentiment", {"name": "sentiment"}, "sentiment", is_private=True),
    "prompt publish": Try("Published", {"name": "sentiment", "reason": "clearer"}, "story", is_private=True),
    "prompt history": Try("clearer", {"name": "sentiment"}, "sentiment"),
    "prompt diff": Try("So so", {"name": "sentiment"}, "sentiment built-in 1"),
    "prompt rollback": Try(
        "with the text of", {"name": "sentiment", "number": "built-in"}, "sentiment 1 it was better"
    ),
    "prompt export": Try("The file of", {"name": "sentiment"}, "sentiment", is_private=True),
    "prompt delete": Try("Its history is kept", {"name": "sentiment"}, "story", is_private=True),
    "prompt discard": Try("is discarded", {"name": "tale"}, "translate-en-fr", is_private=True),
}
# A long list is for the asker alone where that can be, and so is a measurement, which may be of a draft.
PRIVATE_IF_SLASH = {"help", "prompt test", "prompt tune", "prompt neighbours"}
# These are tried in tests of their own: below, and the story in test_story_on_discord.py.
OF_A_STORY = {"story on", "story off", "story export"}
TRIED_ELSEWHERE = {"forget", "prompt edit", "prompt example", "prompt new", "purge", "report", *OF_A_STORY}


@pytest.fixture
async def evening(open_tiny: OpenTiny) -> AsyncIterator[Evening]:
    async with an_evening(lambda: open_tiny("gpt2", prompts={**PROMPTS, "mood": MOOD, "many": MANY})) as opened:
        yield opened


def shown_of(result: InteractionResult) -> str:
    texts = [visible_text(message) for message in [result.message, *result.followups] if message is not None]
    return "\n".join(texts)


async def slash(evening: Evening, who: Any, name: str, /, **options: Any) -> InteractionResult:
    first, _, second = name.partition(" ")
    command = COMMANDS[name]
    path = f"{first}-edit {second}" if second and command.who == "moderators" else name
    result = await who.slash(evening.general, path, **options)
    return await result.finished(20)


async def answered(evening: Evening) -> Message:
    """Let the bot answer something, and return its answer."""
    return await evening.discord.reply(evening.ada.says(evening.general, "Hello", mention_bot=True))


def test_every_command_is_tried():
    assert set(TRIES) | TRIED_ELSEWHERE == set(COMMANDS)


async def test_every_command_answers_in_both_forms(evening: Evening):
    async with evening.run():
        await answered(evening)
        await slash(evening, evening.mod, "prompt tests", name="translate-en-fr", action="add", rows="dog => chien")
        for name, trying in TRIES.items():
            if name == "fresh":
                continue
            result = await slash(evening, evening.mod, name, **trying.options)
            assert result.acknowledged_after_s is not None
            assert trying.shows in shown_of(result), (name, shown_of(result))
            assert result.is_ephemeral == (trying.is_private or name in PRIVATE_IF_SLASH), name
            asked = evening.mod.says(evening.general, f"!{name} {trying.line}".strip())
            answer = await evening.discord.reply(asked)
            if trying.is_private:
                assert labels(answer) == ["Open"], (name, visible_text(answer))
                opened = await (await evening.mod.clicks(answer, "Open")).finished()
                assert opened.is_ephemeral
                assert trying.shows in shown_of(opened), (name, shown_of(opened))
            else:
                assert trying.shows in visible_text(answer), (name, visible_text(answer))


async def test_a_fresh_start_hides_what_was_said(evening: Evening):
    async with evening.run():
        await answered(evening)
        assert TRIES["fresh"].shows in shown_of(await slash(evening, evening.ada, "fresh"))
        refused = await slash(evening, evening.ada, "context")
        assert "nothing here to read" in shown_of(refused)
        assert refused.is_ephemeral
        assert evening.discord.answered_twice() == []


async def test_buttons_of_a_completion_work_before_and_after_a_restart(evening: Evening):
    async with evening.run():
        result = await slash(evening, evening.ada, "complete", text="The cat", n=2, seed=5)
        message = result.message
        assert message is not None
        assert labels(message) == ["1", "2", "More", "Longer", "Again", "Words"]
        await (await evening.ada.clicks(message, "1")).finished()
        assert "Undo" in labels(message)
    async with evening.run():
        for button in ("More", "Longer", "Undo", "Again", "1", "Undo"):
            before = visible_text(message)
            clicked = await (await evening.ada.clicks(message, button)).finished()
            assert visible_text(message) != before, button
            assert not clicked.followups, (button, shown_of(clicked))
        refused = await (await evening.bob.clicks(message, "1")).finished()
        assert "card" in shown_of(refused)
        assert visible_text(message) != ""


def in_select(message: Message, placeholder: str) -> list[str]:
    """Return the values that a select offers."""
    return [option["value"] for option in find_component(message.components, placeholder, SELECTS)["options"]]


async def test_the_tree_of_a_completion_is_walked_with_selects_and_named_in_a_form_also_after_a_restart(
    evening: Evening,
):
    async with evening.run():
        result = await slash(evening, evening.ada, "complete", text="The cat", n=5, seed=5, max_new_tokens=40)
        message = result.message
        assert message is not None
        await (await evening.ada.clicks(message, "Words")).finished()
        words = in_select(message, "Choose a word")
        assert len(words) == 25
        # The tiny model may expect nothing else in a place.
        for value in words[:-1]:
            await (await evening.ada.selects(message, "Choose a word", value)).finished()
            if "Also expected there" in visible_text(message):
                break
            await (await evening.ada.clicks(message, "Back")).finished()
    async with evening.run():
        moved = await (await evening.ada.selects(message, "Go on with another word", "#1")).finished()
        assert not moved.followups, shown_of(moved)
        assert labels(message)[-4:] == ["Undo", "Again", "Words", "Branches"]
        await (await evening.ada.clicks(message, "Branches")).finished()
        assert "→" in visible_text(message)
        await (await evening.ada.selects(message, "Choose a branch", "2")).finished()
        form = await evening.ada.clicks(message, "Name")
        told = await (await evening.ada.submits(form.modal, {"Name": "second"})).finished()
        assert "That branch is called “second” now." in shown_of(told)
        assert told.is_ephemeral
        refused = await (await evening.bob.clicks(message, "Prune")).finished()
        assert "card" in shown_of(refused)
        await (await evening.ada.clicks(message, "Back")).finished()
        assert "[second]" in visible_text(message)
        exported = await (await evening.ada.clicks(message, "Export .txt")).finished()
        assert exported.is_ephemeral
        await (await evening.ada.selects(message, "Choose a branch", "2")).finished()
        await (await evening.ada.clicks(message, "Go on here")).finished()
        assert "Words" in labels(message)


async def test_buttons_of_an_answer_work_before_and_after_a_restart(evening: Evening):
    async with evening.run():
        answer = await answered(evening)
        before = visible_text(answer)
        await (await evening.ada.clicks(answer, "Continue")).finished()
        assert visible_text(answer) != before
    async with evening.run():
        before = visible_text(answer)
        await (await evening.ada.clicks(answer, "Again")).finished()
        assert visible_text(answer) != before
        why = await (await evening.bob.clicks(answer, "Why")).finished()
        assert "The prompt" in shown_of(why)
        refused = await (await evening.bob.clicks(answer, "Again")).finished()
        assert "Only the person who asked" in shown_of(refused)
        # The answer has one place in the history, whatever was clicked.
        history = await evening.running.store.load_history(evening.here, limit=10)
        assert [message.is_me for message in history] == [False, True]


async def test_a_messages_menu_has_all_entries(evening: Evening):
    async with evening.run():
        said = evening.bob.says(evening.general, "I love the cat")
        for entry, shows in (("Perplexity", "bits per byte"), ("Complete", "I love the cat")):
            result = await (await evening.ada.uses_menu(entry, said)).finished()
            assert shows in shown_of(result), (entry, shown_of(result))
        answer = await answered(evening)
        assert "The prompt" in shown_of(await (await evening.ada.uses_menu("Why", answer)).finished())
        own = evening.ada.says(evening.general, "Forget this", mention_bot=True)
        await evening.discord.reply(own)
        assert "permanently erased" in shown_of(await (await evening.ada.uses_menu("Forget", own)).finished())
        history = await evening.running.store.load_history(evening.here, limit=20)
        assert not [message for message in history if "Forget this" in message.text]
        refused = await (await evening.bob.uses_menu("Forget", answer)).finished()
        assert "moderators" in shown_of(refused)


async def test_the_menu_explains_what_a_slash_measurement_read(evening: Evening):
    async with evening.run():
        measured = (await slash(evening, evening.ada, "next", text="The cat")).message
        assert measured is not None
        await answered(evening)
        why = shown_of(await (await evening.bob.uses_menu("Why", measured)).finished())
        assert "It only measures" in why
        assert "The cat" in why


async def test_an_example_is_proposed_in_a_form_and_seen_by_moderators(evening: Evening):
    async with evening.run():
        said = evening.bob.says(evening.general, "What a lovely day")
        opened = await evening.ada.uses_menu("Use as example", said)
        assert opened.kind == "modal"
    # The form stays open while the bot is restarted.
    async with evening.run():
        values = {"Template": "sentiment", "Input": "What a lovely day", "What it should answer": "Positive"}
        sent = await (await evening.ada.submits(opened.modal, values)).finished()
        assert "Proposed" in shown_of(sent)
        listed = await slash(evening, evening.mod, "prompt examples", name="sentiment", action="proposed")
        assert "What a lovely day" in shown_of(listed)
        wrong = await evening.ada.uses_menu("Use as example", said)
        sent = await (await evening.ada.submits(wrong.modal, values | {"What it should answer": "Maybe"})).finished()
        assert "one of Positive" in shown_of(sent)


async def test_a_moderator_edits_a_template_in_a_form_and_publishes_it(evening: Evening):
    async with evening.run():
        refused = await evening.discord.reply(evening.ada.says(evening.general, "!prompt new greeting"))
        assert "moderators" in visible_text(refused)
        opened = await evening.mod.slash(evening.general, "prompt-edit new", name="greeting")
        assert opened.kind == "modal"
        values = {"Description": "Greets.", "Instruction": "Greetings.", "Query": "$inptu =", "Labels": ""}
        sent = await (await evening.mod.submits(opened.modal, values)).finished()
        assert "did you mean $input?" in shown_of(sent)
        assert sent.is_ephemeral
        assert sent.message is not None
        again = await evening.mod.clicks(sent.message, "Edit again")
        assert again.kind == "modal"
        sent = await (await evening.mod.submits(again.modal, values | {"Query": "$input ="})).finished()
        assert sent.message is not None
        draft = sent.message
    async with evening.run():
        assert labels(draft)[:1] == ["Publish"]
        rows = await evening.mod.clicks(draft, "Examples and tests")
        assert rows.kind == "modal"
        sent = await (
            await evening.mod.submits(rows.modal, {"Examples": "cat => chat", "Tests": "dog => chien"})
        ).finished()
        assert sent.message is not None
        await (await evening.mod.clicks(sent.message, "Test")).finished(20)
        await evening.discord.world.wait_until(lambda: "Publish" in labels(sent.message), 20, "the test")
        await (await evening.mod.clicks(sent.message, "Publish")).finished()
        assert "version 1" in visible_text(sent.message)
        assert labels(sent.message) == ["Try it"]
        form = await evening.mod.clicks(sent.message, "Try it")
        tried = await (await evening.mod.submits(form.modal, {"Text": "cow"})).finished(20)
        # A form that a card's button opened changes that card, and adds no message.
        assert tried.message is sent.message is draft
        assert tried.kind in ("update", "deferred_update")
        assert tried.followups == []
        assert labels(draft) == ["Try another text", "Why"]
        why = await (await evening.mod.clicks(draft, "Why")).finished(20)
        assert "cow" in visible_text(why.message or why.followups[0])
        used = await slash(evening, evening.ada, "prompt run", name="greeting", text="cow", max_new_tokens=3)
        assert used.message is not None
        assert not used.is_ephemeral


async def test_a_text_is_continued_while_it_is_typed(evening: Evening):
    async with evening.run():
        choices = await evening.ada.types(evening.general, "complete", "text", "The cat")
        assert 1 <= len(choices) <= 25
        assert all(str(choice.value).startswith("The cat") and len(str(choice.value)) <= 100 for choice in choices)
        assert await evening.ada.types(evening.general, "complete", "text", "word " * 400) == []
        chosen = await slash(evening, evening.ada, "complete", text=choices[0].value, n=1)
        assert "The cat" in shown_of(chosen)


async def test_suggestions_come_from_memory(evening: Evening):
    async with evening.run():
        choices = await evening.ada.types(evening.general, "prompt run", "name", "sen")
        assert choices[0].value == "sentiment"
        assert await evening.mod.types(evening.general, "settings", "name", "ans")


async def test_moderators_remove_answers_and_members_report_them(evening: Evening):
    reports = evening.guild.channel("reports")
    async with evening.run():
        unknown = await slash(evening, evening.mod, "settings", name="report_channel", value="reports")
        assert "This server has no channel 'reports'." in shown_of(unknown)
        chosen = await slash(evening, evening.mod, "settings", name="report_channel", value=str(reports.id))
        assert "— → \\#reports" in shown_of(chosen)
        assert str(reports.id) not in shown_of(chosen)
        answer = await answered(evening)
        asked = evening.bob.says(evening.general, "!report too odd", reply_to=answer)
        assert "moderators" in visible_text(await evening.discord.reply(asked))
        notice = await evening.discord.wait_for_message(reports)
        assert "too odd" in visible_text(notice)
        assert "settings" not in str(await evening.discord.reply(evening.bob.says(evening.general, "!purge 1")))
        await slash(evening, evening.mod, "purge", n="1")
        await evening.discord.world.wait_until(
            lambda: len([m for m in evening.bot_messages() if m.replies_to_id is not None]) < 3, 5, "the purge"
        )


async def test_commands_work_in_a_direct_message_and_with_a_file(evening: Evening):
    async with evening.run():
        asked = evening.ada.dm("!perplexity", files=[("text.txt", b"The cat sat on the mat")])
        assert "bits per byte" in visible_text(await evening.discord.reply(asked))
        channel = asked.channel
        result = await (await evening.ada.slash(channel, "perplexity", file=("a.txt", b"The dog ran"))).finished()
        assert "bits per byte" in shown_of(result)
        mine = await (await evening.ada.slash(channel, "privacy")).finished()
        assert "Export my data" in labels(mine.message or asked)
        exported = await (await evening.ada.clicks(mine.message or asked, "Export my data")).finished()
        files = [file.filename for m in [exported.message, *exported.followups] if m for file in m.attachments]
        assert "stored-about-me.json" in files


async def test_a_user_install_works_in_a_server_without_the_bot(evening: Evening):
    eve = evening.discord.add_user("Eve", has_installed=True)
    elsewhere = evening.discord.world.add_guild("Elsewhere", channels=["lobby"], is_bot_member=False)
    evening.discord.join(elsewhere, eve)
    async with evening.run():
        result = await (await eve.slash(elsewhere.channel("lobby"), "complete", text="The cat", n=1)).finished()
        assert "The cat" in shown_of(result)


async def test_a_new_server_gets_one_card(evening: Evening):
    async with evening.run():
        guild = evening.discord.world.add_guild("New", channels=["welcome"], is_bot_member=False)
        evening.discord.world.let_bot_join(guild)
        card = await evening.discord.wait_for_message(guild.channel("welcome"))
        assert "/help" in visible_text(card)
        assert len(evening.bot_messages(guild.channel("welcome"))) == 1

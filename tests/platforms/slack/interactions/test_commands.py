"""Every command of the bot on Slack in each of its forms: as a message, as a slash command, from a message's menu."""

import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from bot.commands.bot import COMMANDS
from bot.platforms.slack.interactions.names import slash_names
from bot.platforms.slack.interactions.places import team_of
from bot.platforms.slack.traits import SLACK, traits_of
from tests.bots import Talk
from tests.platforms.slack.towns import Town, a_town, buttons, shortcut, visible_text
from tests.servers.slack.objects import Channel, Message, View
from tests.servers.slack.people import Person

OpenTiny = Callable[..., AbstractAsyncContextManager[Talk]]

# Each command with words that make it answer.
LINES = {
    "complete": "--n 2 Once upon",
    "strategies": "--max_new_tokens 4 Once upon",
    "perplexity": "Can it does what?",
    "compare": "Can it do that? | Can it does what?",
    "next": "The capital of",
    "prompt run": "sentiment I love this",
    "prompt list": "",
    "prompt show": "sentiment",
    "prompt example": "sentiment I see => Neutral",
    "prompt history": "sentiment",
    "prompt diff": "sentiment",
    "prompt examples": "sentiment",
    "prompt tests": "sentiment",
    "prompt draft": "sentiment",
    "prompt export": "sentiment",
    "help": "",
    "privacy": "",
    "settings": "",
    "stats": "",
    "context": "",
    "fresh": "",
    "why": "",
}
TYPED, SLASH = re.compile(r"(?<!\w)!(?=[a-z])"), re.compile(r"(?<!\w)/(?=[a-z])")


@pytest.fixture
async def town(open_tiny: OpenTiny) -> AsyncIterator[Town]:
    async with a_town(lambda: open_tiny("gpt2", traits=SLACK, quota_per_minute=600)) as opened:
        yield opened


async def test_every_command_works_as_a_message_at_top_level_and_in_a_thread(town: Town):
    async with town.run():
        for number, (name, words) in enumerate(LINES.items()):
            channel = town.channel(number)
            root = town.mo.says(channel, "a thread of people")
            for thread in (None, root):
                said = says(town, channel, f"!{name} {words}".strip(), thread=thread)
                text = visible_text(await town.outcome(said))
                assert text.strip(), name
                assert not SLASH.search(text), f"!{name}: {text}"


async def says(town: Town, channel: Channel, text: str, *, who: Person | None = None, **how: Any) -> None:
    (who or town.mo).says(channel, text, **how)


async def test_every_command_works_behind_the_general_slash_command_and_by_its_own_name(town: Town):
    async with town.run():
        own = slash_names(COMMANDS.values())
        for number, (name, words) in enumerate(LINES.items()):
            forms = [("/fewshot", f"{name} {words}".strip())]
            first, _, second = name.partition(" ")
            if first in own:
                forms.append((f"/{first}", f"{second} {words}".strip()))
            for command, words_there in forms:
                text = visible_text(await town.outcome(town.mo.slash(town.channel(number), command, words_there)))
                assert text.strip()
                # In threads commands can only be typed.
                text = text.replace("write !context in one", "")
                assert not TYPED.search(text), f"{command} {words_there}: {text}"


async def test_a_slash_command_without_words_shows_help_and_a_wrong_one_a_hint(town: Town):
    async with town.run():
        text = visible_text(await town.outcome(town.ann.slash(town.general, "/fewshot")))
        assert "/fewshot complete" in text
        text = visible_text(await town.outcome(town.ann.slash(town.general, "/complete", "--temperature 9 x")))
        assert "temperature takes" in text
        text = visible_text(await town.outcome(town.ann.slash(town.general, "/fewshot", "perplexty x")))
        assert "did you mean /fewshot perplexity" in text
        shown = visible_text(await town.outcome(town.ann.slash(town.general, "/fewshot", "!next The sun")))
        assert "The sun" in shown
        refused = await town.outcome(town.ann.slash(town.general, "/fewshot", "*next* x"))
        assert (
            visible_text(refused)
            == "⚠️ That is no command. Write the name of one after /fewshot; /fewshot alone lists them."
        )
        assert refused in town.whispers(town.ann)
        seen = town.whispers(town.ann)
        town.ann.says(town.general, "!perplexty x")
        assert "did you mean !perplexity" in visible_text(await town.whisper(town.ann, seen))


async def test_what_is_set_and_reported_is_called_as_slack_calls_it(town: Town):
    async with town.run():

        async def said(line: str, *, who: Person = town.mo) -> str:
            return visible_text(await town.outcome(who.slash(town.general, "/fewshot", line)))

        assert "user groups and people who are moderators" in await said("settings")
        assert "for this workspace" in await said(f"settings moderator_roles <@{town.bo.id}>")
        several = "moderator_roles takes 1 to 25 user groups or people, as mentions (@group, @person) or ids, not"
        for wrong in ("@editors", "ann", f"<#{town.general.id}>"):
            assert several in await said(f"settings moderator_roles {wrong}")
        # A name is no id: reports would be lost.
        for wrong in ("random", f"<@{town.bo.id}>"):
            assert "takes one channel, as a mention (#channel) or id, not" in await said(
                f"settings report_channel {wrong}"
            )
        context = "Each thread is a conversation: write !context in one."
        assert context in await said("context")
        assert "This workspace has no channel for reports." in await said("report", who=town.ann)
        other = town.slack.channel(town.team, "other")
        await said(f"settings report_channel <#{other.id}|other>")
        asked = town.ann.asks(town.channel(1), "hello")
        await town.slack.reply(asked)
        seen = town.whispers(town.bo)
        town.bo.says(town.channel(1), "!report rude", thread=asked)
        told = visible_text(await town.whisper(town.bo, seen))
        assert told == "The moderators of this workspace can now read that answer."


async def test_a_report_by_a_slash_command_says_where_it_was_made(town: Town):
    async with town.run():
        other = town.slack.channel(town.team, "other")
        await town.outcome(town.mo.slash(town.general, "/fewshot", f"settings report_channel <#{other.id}>"))
        card = await town.outcome(town.ann.slash(town.general, "/complete", "--n 2 Once upon"))
        assert isinstance(card, Message)
        await town.bo.slash(town.general, "/report", "rude")
        told = await town.slack.wait_for_message(other)
        assert f"/p{card.ts.replace('.', '')}" in visible_text(told)


async def test_a_prefix_of_slash_commands_is_part_of_each_name(open_tiny: OpenTiny):
    async with a_town(lambda: open_tiny("gpt2", traits=traits_of("fs-")), name_prefix="fs-") as town, town.run():
        shown = await town.outcome(town.ann.slash(town.general, "/fs-complete", "--n 2 Once"))
        assert buttons(shown)[:2] == ["1", "2"]
        # What a person reads is what they can type.
        text = visible_text(await town.outcome(town.ann.slash(town.general, "/fs-fewshot", "nonsense x")))
        assert "/fs-fewshot help" in text


async def test_the_shortcuts_of_a_message_ask_about_that_message(town: Town):
    async with town.run():
        said = town.ann.says(town.general, "The quick brown fox jumps")
        measured = await town.outcome(town.ann.uses_shortcut(said, shortcut("Perplexity")))
        assert measured in town.slack.answers_to(said)
        assert "Heat map of the text" in visible_text(measured)
        completed = await town.outcome(town.ann.uses_shortcut(said, shortcut("Complete")))
        assert "fox jumps" in visible_text(completed)
        asked = town.ann.asks(town.general, "hello")
        answer = await town.slack.reply(asked)
        why = await town.outcome(town.bo.uses_shortcut(answer, shortcut("Why")))
        assert why in town.whispers(town.bo)
        assert "prompt" in visible_text(why)
        form = await town.outcome(town.ann.uses_shortcut(said, shortcut("Use as example")))
        assert isinstance(form, View)
        assert form.title == "Use as example"
        assert "erased" in visible_text(await town.outcome(town.ann.uses_shortcut(said, shortcut("Forget"))))
        refused = await town.outcome(town.bo.uses_shortcut(asked, shortcut("Forget")))
        assert visible_text(refused).startswith("⚠️ ")
        # Threads have no slash commands.
        nothing = await town.outcome(town.bo.uses_shortcut(asked, shortcut("Why")))
        assert not SLASH.search(visible_text(nothing)), visible_text(nothing)
        # What is not stored can still be read: the message comes with the shortcut.
        again = town.bo.says(town.slack.channel(town.team, "other"), "Some more words")
        measured = await town.outcome(town.ann.uses_shortcut(again, shortcut("Perplexity")))
        assert "Heat map of the text" in visible_text(measured)


async def test_the_shortcuts_work_on_messages_outside_threads_that_the_bot_has_stored(town: Town):
    async with town.run():
        direct = town.ann.dm("It was a dark and stormy night")
        answer = await town.slack.reply(direct)
        measured = await town.outcome(town.ann.uses_shortcut(direct, shortcut("Perplexity")))
        assert "Heat map of the text" in visible_text(measured)
        assert "temperature" in visible_text(await town.outcome(town.ann.uses_shortcut(answer, shortcut("Why"))))
        card = await town.outcome(town.ann.slash(town.general, "/complete", "--n 2 Once upon"))
        assert isinstance(card, Message)
        why = await town.outcome(town.bo.uses_shortcut(card, shortcut("Why")))
        assert "temperature" in visible_text(why)
        await town.outcome(town.mo.slash(town.general, "/fewshot", "settings answer_when every"))
        said = town.ann.says(town.general, "The quick brown fox")
        answer = await town.slack.wait_for_message(town.general, said)
        await town.slack.settled(answer)
        completed = await town.outcome(town.ann.uses_shortcut(said, shortcut("Complete")))
        assert "quick brown fox" in visible_text(completed)
        assert await town.outcome(town.ann.clicks(completed, "More")) is completed
        assert "temperature" in visible_text(await town.outcome(town.bo.uses_shortcut(answer, shortcut("Why"))))


async def test_a_command_without_a_text_takes_that_of_the_message_above_its_thread(town: Town):
    async with town.run():
        root = town.bo.says(town.general, "It was a dark and stormy night")
        town.mo.says(town.general, "so it was", thread=root)
        measured = await town.outcome(says(town, town.general, "!perplexity", thread=root, who=town.ann))
        assert "“stormy” " in visible_text(measured)
        run = await town.outcome(says(town, town.general, "!prompt sentiment", thread=root, who=town.ann))
        assert "Positive" in visible_text(run)
        own = await town.outcome(says(town, town.general, "!perplexity Another text", thread=root, who=town.ann))
        assert "stormy" not in visible_text(own)
        # The answer of the bot is no text of a person's, and at the top there is nothing above.
        below = await town.outcome(town.ann.slash(town.general, "/next", "The capital of"))
        for thread in (below, None):
            told = visible_text(await town.outcome(says(town, town.general, "!next", thread=thread, who=town.ann)))
            assert told == "⚠️ The text is missing. Write !next TEXT, or attach a text file."


async def test_a_slash_command_works_where_the_bot_is_no_member(town: Town):
    async with town.run():
        club = town.slack.world.add_channel(town.team, "club", [town.ann.user])
        shown = await town.outcome(town.ann.slash(club, "/complete", "--n 2 Once upon"))
        assert shown in club.messages
        assert buttons(shown)[:2] == ["1", "2"]
        hint = "I am not in this channel, so I hear nothing here. To talk with me, add me with /invite."
        assert hint in visible_text(shown)
        said = town.ann.says(club, "It was a dark night")
        assert (await town.outcome(town.ann.uses_shortcut(said, shortcut("Complete")))).thread_ts == said.ts
        more = await town.outcome(town.ann.clicks(shown, "More"))
        assert buttons(more)[:4] == ["1", "2", "3", "4"]
        text = visible_text(await town.outcome(town.ann.slash(club, "/fewshot", "privacy")))
        assert "stored" in text


async def test_a_slash_command_in_a_direct_message_and_in_a_group_of_people(town: Town):
    async with town.run():
        direct = await town.outcome(town.ann.slash(town.ann.dm_channel, "/perplexity", "Can it does what?"))
        assert "Heat map" in visible_text(direct)
        group = town.slack.world.direct_channel([town.ann.user, town.bo.user, town.slack.bot_of(town.team)])
        text = visible_text(await town.outcome(town.ann.slash(group, "/fewshot", "help")))
        assert "To chat, mention me, or write in a thread" in text
        text = visible_text(await town.outcome(town.ann.slash(group, "/fewshot", "fresh")))
        assert text.startswith("Fresh start")
        answer = await town.slack.reply(town.ann.asks(group, "hello"))
        why = await town.outcome(says(town, group, "!why", thread=answer, who=town.ann))
        assert "temperature" in visible_text(why)


@pytest.mark.parametrize("fault", ["accepted_then_error", "accepted_then_reset", "error"])
async def test_an_answer_by_a_response_address_appears_once_whatever_becomes_of_the_call(town: Town, fault: str):
    async with town.run():
        club = town.slack.world.add_channel(town.team, "club", [town.ann.user])
        town.slack.faults.once("response_url", fault)  # type: ignore[arg-type]
        shown = await town.outcome(town.ann.slash(club, "/complete", "--n 1 Once upon"))
        await town.slack.wait_for(lambda: len(town.slack.calls("response_url")) == 2, what="another try")
        assert [one for one in club.messages if one.user.is_bot] == [shown]
        town.slack.faults.once("response_url", fault)  # type: ignore[arg-type]
        told = await town.outcome(town.ann.slash(club, "/fewshot", "privacy"))
        await town.slack.wait_for(lambda: len(town.slack.calls("response_url")) == 4, what="another try")
        assert town.whispers(town.ann) == [told]


async def test_a_workspace_whose_token_is_not_set_is_told_so(town: Town):
    async with town.run():
        away = town.slack.add_team("Globex")
        eve = town.slack.add_person(away, "Eve")
        asked = await eve.slash(town.slack.channel(away, "general"), "/fewshot", "help")
        assert asked.failure is None
        told = await town.whisper(eve)
        assert visible_text(told).startswith("⚠️ I am not set up for this workspace.")


@pytest.mark.parametrize(
    ("body", "team"),
    [
        ({"team_id": "T1"}, "T1"),
        ({"team": {"id": "T1"}, "user": {"team_id": "T2"}}, "T1"),
        ({"team": None, "user": {"team_id": "T2"}}, "T2"),
        # Somebody of another workspace in a shared channel.
        ({"team": {"id": "T2"}, "view": {"app_installed_team_id": "T1"}}, "T1"),
    ],
)
def test_the_workspace_of_an_interaction_is_the_one_whose_app_is_used(body: dict[str, Any], team: str):
    assert team_of(body) == team

"""`python -m bot discord` as a program: errors at the start, its end, and what a restart recovers."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from bot.platforms.discord.running import DRAIN_S
from tests.platforms.discord import program_stories
from tests.platforms.discord.connecting import TOKEN
from tests.platforms.discord.operating import Operator
from tests.platforms.discord.program_stories import Attempt, Evening, WithoutIntent
from tests.platforms.discord.slow_model import make_slow_llama
from tests.servers.discord import visible_text

STORIES: dict[str, Callable[[Operator], Coroutine[Any, Any, Any]]] = {
    "evening": program_stories.play_evening,
    "without_intent": program_stories.play_without_intent,
    "newcomers": program_stories.play_newcomers,
}
ENDS_WITHIN_S = 20.0


@pytest.fixture(scope="module")
def stories(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, "Future[Any]"]]:
    """Play all stories at once: a start takes seconds, most of which is waiting."""
    model = make_slow_llama(tmp_path_factory.mktemp("model"), takes_s=5.0)
    homes = tmp_path_factory.mktemp("homes")
    with ThreadPoolExecutor(len(STORIES)) as pool:
        yield {name: pool.submit(asyncio.run, play(Operator(homes / name, model))) for name, play in STORIES.items()}


@pytest.fixture
def evening(stories: dict[str, "Future[Any]"]) -> Evening:
    return stories["evening"].result()


@pytest.fixture
def without_intent(stories: dict[str, "Future[Any]"]) -> WithoutIntent:
    return stories["without_intent"].result()


@pytest.fixture
def newcomers(stories: dict[str, "Future[Any]"]) -> dict[str, Attempt]:
    return stories["newcomers"].result()


# ---- the start


@pytest.mark.parametrize(
    ("attempt", "sentence"),
    [
        ("no token", "DISCORD_TOKEN is not set. Copy the bot's token"),
        ("malformed token", "DISCORD_TOKEN is not a bot token"),
        ("refused token", "Discord does not accept DISCORD_TOKEN. Create a new token"),
        ("no network", "Discord can't be reached from here. Check this machine's network and DNS."),
        ("no such name", "Discord can't be reached from here. Check this machine's network and DNS."),
        ("error 500", "Discord answered with error 500. Start the bot again later."),
        ("banned", "Discord refuses this machine after too many requests."),
    ],
)
def test_an_error_that_the_operator_can_fix_is_one_sentence_and_status_2(
    newcomers: dict[str, Attempt], attempt: str, sentence: str
) -> None:
    tried = newcomers[attempt]
    assert tried.status == 2
    assert not tried.out
    told = [line for line in tried.err.splitlines() if " INFO " not in line]
    assert len(told) == 1
    assert told[0].startswith(sentence)


def test_only_the_link_is_printed(newcomers: dict[str, Attempt]) -> None:
    invite = newcomers["invite"]
    assert invite.status == 0
    assert invite.out.startswith("https://discord.com/oauth2/authorize?client_id=")
    assert "applications.commands" in invite.out
    assert invite.out.count("\n") == 1


def test_a_signal_ends_a_start_that_hangs(newcomers: dict[str, Attempt]) -> None:
    assert newcomers["ended at once"] == Attempt(0, "", "")


def test_no_run_prints_the_token_or_a_traceback(
    newcomers: dict[str, Attempt], evening: Evening, without_intent: WithoutIntent
) -> None:
    attempts = [one.out + one.err for one in newcomers.values()]
    for text in [*attempts, *evening.errs, *without_intent.errs]:
        assert "Traceback" not in text
        assert not [part for part in (*TOKEN.split("."), "my-own-secret", "9999") if part in text]


def test_an_intent_refused_beforehand_or_at_the_gateway_is_one_sentence_and_the_rest_works(
    without_intent: WithoutIntent,
) -> None:
    for err in without_intent.errs:
        assert err.count("The Message Content Intent is off") == 1
        assert err.count("is on Discord, in 1 server.") == 1
    assert sorted(without_intent.answers) == ["direct", "mention", "reply", "slash"]
    assert all(without_intent.answers.values())
    assert without_intent.num_to_others == 0


def test_a_server_where_the_bot_may_not_write_is_named(evening: Evening) -> None:
    runs = [err for err in evening.errs if "is on Discord" in err]
    assert len(runs) == 3
    for err in runs:
        assert [line for line in err.splitlines() if "may not write" in line] == [
            "The bot may not write in the server 'Silent'. Give its role Send Messages."
        ]


def test_commands_are_sent_only_where_they_changed_or_it_is_asked_for(evening: Evening) -> None:
    assert evening.num_syncs == [1, 1, 2]


def test_a_second_program_on_the_same_database_is_refused(evening: Evening) -> None:
    status, err = evening.second
    assert status == 2
    assert err.startswith("Another program already runs the bot on Discord with the database ")
    assert err.count("\n") == 1


# ---- the end


def test_a_signal_ends_the_program_when_the_answers_are_written(evening: Evening) -> None:
    ended = evening.ended[0]
    assert ended.status == 0
    assert ended.after_s < ENDS_WITHIN_S
    shown, then = visible_text(evening.answers("while it ends")[0]), evening.texts["while it ends"]
    if ended.after_s < DRAIN_S:
        assert shown == then
    else:  # a slow machine wrote until its time was up, and the next run wrote the rest
        begun = then.split("\n")[0].rstrip("…\ufffd")
        assert begun
        assert shown.startswith(begun)
    assert not evening.is_being_written("while it ends")


def test_what_is_asked_while_it_ends_is_answered_by_the_next_run(evening: Evening) -> None:
    assert evening.texts["left"] == "0"
    assert len(evening.answers("too late for this run")) == 1
    assert "The bot is restarting. Try again in a minute." in evening.texts["refusal"]


def test_a_hanging_network_does_not_delay_the_end(without_intent: WithoutIntent) -> None:
    hanging, again = without_intent.ended
    assert hanging.status == 0
    assert hanging.after_s < ENDS_WITHIN_S
    assert again.status == 0
    assert again.after_s < 5


def test_a_second_signal_ends_the_program_at_once(evening: Evening) -> None:
    ended = evening.ended[2]
    assert ended.status == 130
    assert ended.after_s < 1


# ---- a restart


@pytest.mark.parametrize(
    "asked",
    ["while it ends", "too late for this run", "half written", "shown but not noted", "nothing shown"],
)
def test_each_request_has_one_answer_that_can_be_seen_and_one_that_is_kept(evening: Evening, asked: str) -> None:
    (answer,) = evening.answers(asked)
    assert visible_text(answer)
    assert not evening.is_being_written(asked)
    assert evening.num_kept[asked] == 1


def test_an_answer_that_was_complete_before_the_kill_is_left_unchanged(evening: Evening) -> None:
    (answer,) = evening.answers("shown but not noted")
    shown = evening.texts["shown but not noted"]
    # On a slow machine it was not complete yet: only the sign was there that it is being written.
    assert visible_text(answer) == shown or shown.startswith("-# ")


def test_a_deferred_command_is_answered_in_its_place(evening: Evening) -> None:
    assert evening.deferred is not None
    assert evening.deferred.message is not None
    assert "Once upon a time" in visible_text(evening.deferred.message)
    assert not evening.discord.unfinished()


def test_what_was_asked_while_it_was_away_is_answered_if_that_is_not_long_ago(evening: Evening) -> None:
    assert len(evening.answers("while it was away")) == 1
    notice = "I was away and missed 2 messages that are now too old to answer. Please ask again."
    assert evening.texts["notice"] == notice
    assert len([one for one in evening.guild.channel("late").messages if one.author is evening.discord.world.bot]) == 1


def test_an_answer_of_the_second_try_is_explained(evening: Evening) -> None:
    assert "Tell me, nothing shown" in evening.texts["why"]


def test_no_rule_of_the_platform_is_broken_by_all_that(evening: Evening) -> None:
    evening.discord.assert_clean()
    assert not evening.discord.answered_twice()

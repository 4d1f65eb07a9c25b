"""prompt test on Discord: progress that can be seen and stopped, and a kill in the middle that costs no row twice."""

import re
import signal
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.bots import open_tiny_bot, write_prompts
from tests.platforms.discord.connecting import TOKEN
from tests.platforms.discord.evenings import Evening, an_evening
from tests.platforms.discord.operating import PROMPTS, Operator
from tests.platforms.discord.slow_model import make_slow_llama
from tests.servers.discord import serve_discord, visible_text
from tests.servers.discord.interactions import InteractionResult
from tests.servers.discord.members import Member
from tests.servers.discord.permissions import Permission
from tests.servers.discord.texts import labels
from tests.servers.discord.world import Channel, Message

NUM_ROWS = 120
MEASURED = re.compile(r"moods on 120 held-out tests|\b120 tests\b|accuracy|of 120 right", re.IGNORECASE)
MOODS = (
    '+++\ndescription = "Good or bad?"\nkind = "classify"\nlabels = ["good", "bad"]\n'
    + "".join(
        f'[[tests]]\ninput = "case number {i} of many, told at some length"\noutput = "{("good", "bad")[i % 2]}"\n'
        for i in range(NUM_ROWS)
    )
    + "+++\nMood of $input ->\n"
)


@pytest.fixture(scope="module")
def slow_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # So slow that all rows take several times as long as it takes to show progress and to press a button.
    return make_slow_llama(tmp_path_factory.mktemp("slow"), takes_s=2.0)


@pytest.fixture
async def evening(slow_llama: Path, tmp_path: Path) -> AsyncIterator[Evening]:
    prompts = {**PROMPTS, "moods": MOODS}
    async with an_evening(lambda: open_tiny_bot(slow_llama, tmp_path, prompts=prompts)) as opened:
        yield opened


def num_done(message: Message) -> int | None:
    """Return how many rows a message that shows progress says are done."""
    found = re.search(rf"(\d+) of {NUM_ROWS}\b", visible_text(message))
    return int(found[1]) if found else None


async def test_a_test_shows_how_far_it_is_can_be_stopped_and_goes_on(evening: Evening) -> None:
    discord = evening.discord
    async with evening.run():
        asked = evening.mod.says(evening.general, "!prompt test moods")
        answer = await discord.wait_for_reply(asked)
        assert labels(answer) == ["Stop"]
        await discord.world.wait_until(lambda: (num_done(answer) or 0) >= 2, 20, "progress")
        assert "row" in visible_text(answer)
        refused = await evening.ada.clicks(answer, "Stop")
        assert "Only the person who asked" in visible_text(refused.message) if refused.message else False
        await evening.mod.clicks(answer, "Stop")
        await discord.settled(answer)
        assert "Stopped. moods was not changed." in visible_text(answer)
        assert labels(answer) == []
        asked_before = evening.running.services.engine.stats().num_done
        assert asked_before < NUM_ROWS
        again = await discord.reply(evening.mod.says(evening.general, "!prompt test moods"), 60)
        assert f"moods on {NUM_ROWS} held-out tests" in visible_text(again)
        # Each row is asked once, and the prompt about the content-free inputs once.
        assert evening.running.services.engine.stats().num_done == NUM_ROWS + 3
        refusal = await discord.reply(evening.ada.says(evening.general, "!prompt test moods"))
        assert "Only moderators can use !prompt test." in visible_text(refusal)


async def test_a_test_goes_on_after_a_kill_and_is_answered_once(slow_llama: Path, tmp_path: Path) -> None:
    operator = Operator(tmp_path / "home", slow_llama)
    folder = str(write_prompts(tmp_path / "with-moods", {**PROMPTS, "moods": MOODS}))
    async with serve_discord(token=TOKEN) as discord:
        guild = discord.world.add_guild("Home", channels=["general"])
        mod = discord.add_member(guild, "Mod", permissions=int(Permission.MANAGE_GUILD))
        async with operator.online(discord, PROMPTS_DIR=folder) as run:
            asked = mod.says(guild.channel("general"), "!prompt test moods")
            answer = await discord.wait_for_reply(asked)
            await discord.world.wait_until(lambda: len(kept_rows(operator)) >= 20, 30, "rows that are kept")
            await run.end(signal.SIGKILL)
        kept = kept_rows(operator)
        assert len(kept) < NUM_ROWS, "the test was too quick to be killed in it"
        assert "held-out tests" not in visible_text(answer)
        async with operator.online(discord, PROMPTS_DIR=folder) as run:
            await discord.reply(asked, 60)
            await run.end()
        shown = [visible_text(message) for message in discord.answers_to(asked)]
        assert [f"moods on {NUM_ROWS} held-out tests" in text for text in shown] == [True]
        assert len(kept_rows(operator)) == NUM_ROWS + 1, "all rows and the prior"
        assert kept <= kept_rows(operator), "no row that was kept before the kill was measured again"


@pytest.mark.parametrize("way", ["slash", "open", "draft"])
async def test_a_private_measurement_goes_on_after_a_kill_and_stays_private(
    slow_llama: Path, tmp_path: Path, way: str
) -> None:
    operator = Operator(tmp_path / "home", slow_llama)
    folder = str(write_prompts(tmp_path / "with-moods", {**PROMPTS, "moods": MOODS}))
    async with serve_discord(token=TOKEN) as discord:
        guild = discord.world.add_guild("Home", channels=["general"])
        general = guild.channel("general")
        mod = discord.add_member(guild, "Mod", permissions=int(Permission.MANAGE_GUILD))
        async with operator.online(discord, PROMPTS_DIR=folder) as run:
            result = await begin_test(mod, general, way)
            await discord.world.wait_until(lambda: len(kept_rows(operator)) >= 20, 30, "rows that are kept")
            await run.end(signal.SIGKILL)
        assert len(kept_rows(operator)) < NUM_ROWS, "the test was too quick to be killed in it"
        async with operator.online(discord, PROMPTS_DIR=folder) as run:

            def shown() -> list[str]:
                private = [message for message in [result.message, *result.followups] if message is not None]
                assert all(message.ephemeral_for is mod.user for message in private)
                return [text for text in map(visible_text, private) if MEASURED.search(text)]

            await discord.world.wait_until(shown, 60, "the measurement")
            assert len(shown()) == 1
            await run.end()
        assert len(kept_rows(operator)) >= NUM_ROWS
        for message in general.messages:
            assert not any(MEASURED.search(text) or "row" in text for _, text in message.versions)
            assert f"of {NUM_ROWS}" not in visible_text(message)
        assert discord.unfinished() == [] or way != "slash"


async def begin_test(mod: Member, general: Channel, way: str) -> InteractionResult:
    """Begin to measure a draft in private, in one of three ways; return the interaction."""
    opened = await mod.slash(general, "prompt-edit edit", name="moods")
    draft = await (await mod.submits(opened.modal, {"Description": "Good or bad mood?"})).finished()
    if way == "slash":
        return await mod.slash(general, "prompt-edit test", name="moods")
    if way == "draft":
        return await mod.clicks(draft.message, "Test")
    card = await mod.discord.reply(mod.says(general, "!prompt test moods"))
    return await mod.clicks(card, "Open")


def kept_rows(operator: Operator) -> set[tuple[str, int]]:
    """Return the rows whose outcome is kept, each with the time at which it was."""
    database = sqlite3.connect(operator.program({}).database)
    try:
        return set(database.execute("SELECT row_sha256, saved_at_utc FROM row_outcomes"))
    finally:
        database.close()

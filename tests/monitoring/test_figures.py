"""The figures of a running bot: declared once, documented, complete, and without anything that people said."""

import asyncio
import re
from functools import partial
from pathlib import Path

import pytest

from bot.commands.bot import REPORTED_COMMANDS
from bot.core.results import EngineStats
from bot.core.stopping import Stopper
from bot.core.watch import BatchFigures
from bot.monitoring.declared import METRICS
from bot.monitoring.figures import BotFigures, Watched
from bot.services.backups import BackupPlan, Backups
from bot.serving.metrics import Metrics
from bot.stalls import LoopStalls
from tests.bots import Talk
from tests.store.samples import said

PROJECT = Path(__file__).resolve().parents[2]
NOTHING = EngineStats(0, 0, 0, 0, 0, 0, 0.0, None, None, None, None)


def figures_of(talk: Talk) -> tuple[BotFigures, Backups]:
    services = talk.services
    backups = Backups(talk.store, BackupPlan())
    parts = Watched(services.engine.stats, talk.store, services.stalls, backups, services.watch)
    return BotFigures(parts), backups


def values_in(text: str) -> dict[str, float]:
    """Return the samples of Prometheus' text format by name and labels."""
    rows = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in rows}


def families_in(text: str) -> set[str]:
    """Return the names of all figures, without those that the library adds for the age of each."""
    return {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")} - {
        line.split()[2]
        for line in text.splitlines()
        if line.startswith("# TYPE") and line.split()[2].endswith("_created")
    }


async def look_until_there(backups: Backups) -> None:
    """Look until there is a backup: the bot itself may be making one."""
    async with asyncio.timeout(20):
        while backups.newest_at is None:
            await backups.look()
            await asyncio.sleep(0.01)


async def test_requests_are_counted_by_platform_command_and_outcome_and_no_word_is_told(
    talk: Talk, caplog: pytest.LogCaptureFixture
) -> None:
    figures, _ = figures_of(talk)
    with caplog.at_level("INFO"):
        await talk.ask("hello xylophone")
        await talk.ask("!next xylophone", who="Zorp")
        await talk.refusal("!next")
        await talk.refusal("!xylophone")
    text = figures.render().decode()
    values = values_in(text)

    def asked(command: str, outcome: str) -> float:
        return values[f'fewshot_asked_total{{command="{command}",outcome="{outcome}",platform="terminal"}}']

    assert asked("chat", "answered") == 1
    assert asked("next", "answered") == 1
    assert asked("next", "refused") == 1
    assert asked("unknown", "refused") == 1
    assert values['fewshot_asked_seconds_count{platform="terminal"}'] == 4
    assert values["fewshot_answer_queue_seconds_count"] == values["fewshot_answer_first_token_seconds_count"] == 1
    assert values["fewshot_prompt_tokens_total"] > values["fewshot_completion_tokens_total"] > 0
    logged = [record for record in caplog.records if record.name == "bot.commands.bot"]
    assert [(one.__dict__["command"], one.__dict__["outcome"]) for one in logged] == [
        ("chat", "answered"),
        ("next", "answered"),
        ("next", "refused"),
        ("unknown", "refused"),
    ]
    for told in (text, " ".join(record.getMessage() for record in logged)):
        assert not re.search("xylophone|zorp|ann", told, re.IGNORECASE)


async def test_requests_that_are_expected_are_counted_from_0_so_that_prometheus_sees_the_first(talk: Talk) -> None:
    figures, _ = figures_of(talk)
    figures.expect("terminal", REPORTED_COMMANDS)
    name = 'fewshot_asked_total{command="next",outcome="refused",platform="terminal"}'
    before = values_in(figures.render().decode())
    assert before[name] == before['fewshot_asked_seconds_count{platform="terminal"}'] == 0
    await talk.refusal("!next")
    await talk.refusal("!xylophone")
    await talk.ask("hello")
    after = values_in(figures.render().decode())
    assert after[name] == 1
    assert after.keys() - before.keys() <= {one for one in after if "asked" not in one}


async def test_an_answer_that_nobody_waits_for_is_cancelled(talk: Talk) -> None:
    figures, _ = figures_of(talk)
    answer = talk.bot.answer(said(1, "hello"), Stopper())
    await anext(answer)
    await answer.aclose()
    assert 'outcome="cancelled"' in figures.render().decode()


async def test_the_cache_of_a_model_of_this_machine_and_the_state_of_all_parts_are_told(talk: Talk) -> None:
    figures, backups = figures_of(talk)
    await talk.ask("hello there, how are you today? I am fine, and so is my cat.")
    await talk.ask("and you?")
    assert "fewshot_backup_age_seconds" not in figures.render().decode()
    await look_until_there(backups)
    values = values_in(figures.render().decode())
    assert values["fewshot_cached_tokens_total"] > 0
    assert values["fewshot_batch_rows"] == 0
    assert values["fewshot_database_bytes"] > 10_000
    assert values["fewshot_longest_write_seconds"] > 0
    assert 0 <= values["fewshot_backup_age_seconds"] < 60
    assert values["fewshot_backup_failing"] == 0
    assert values["fewshot_engine_restarts_total"] == 0


async def test_the_cached_tokens_never_fall_when_one_of_two_models_starts_again_or_goes(talk: Talk) -> None:
    figures, _ = figures_of(talk)
    batches = talk.services.watch.batches
    own = dict(batches)

    def total_with(**counts: int) -> float:
        batches.clear()
        batches.update({name: partial(BatchFigures, 0, num) for name, num in counts.items()})
        return values_in(figures.render().decode())["fewshot_cached_tokens_total"]

    try:
        assert total_with(small=10, large=100) == 110
        assert total_with(small=4, large=100) == 114  # the small one was started again
        assert total_with(small=9) == 119  # the large one was closed …
        assert total_with(small=9, large=30) == 149  # … and opened
    finally:
        batches.update(own)


async def test_each_figure_is_declared_and_each_declared_figure_is_there(talk: Talk) -> None:
    figures, backups = figures_of(talk)
    await look_until_there(backups)
    await talk.ask("hello")
    talk.bot.watch_connection(lambda: 1, _all_well)
    served = Metrics(lambda: NOTHING)
    served.begin()
    served.end("/v1/completions", "ok", 0.1)
    served.count_first_token("/v1/completions", 0.1)
    for where, text in (("bot", figures.render().decode()), ("serve", served.render().decode())):
        assert families_in(text) == {one.name for one in METRICS.values() if one.where in (where, "both")}
        for one in METRICS.values():
            if one.where in (where, "both"):
                assert f"# HELP {one.name} {one.help}" in text
                assert f"# TYPE {one.name} {one.kind}" in text
    assert f'fewshot_connections{{platform="{talk.services.traits.key}"}} 1.0' in figures.render().decode()


async def _all_well() -> str:
    return ""


def test_the_documentation_has_each_figure_with_its_meaning() -> None:
    text = (PROJECT / "docs" / "operating.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(fewshot_\w+)`[^|]* \| (.*) \|$", text, re.MULTILINE))
    assert rows == {one.name: one.help for one in METRICS.values()}


async def test_the_lag_of_the_event_loop_is_told(talk: Talk) -> None:
    stalls = LoopStalls()
    parts = Watched(
        talk.services.engine.stats, talk.store, stalls, Backups(talk.store, BackupPlan()), talk.services.watch
    )
    figures = BotFigures(parts)
    stalls.note(asyncio.get_running_loop().time(), 0.25)
    assert values_in(figures.render().decode())["fewshot_loop_lag_seconds"] == 0.25

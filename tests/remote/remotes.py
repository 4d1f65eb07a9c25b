"""Engines on the stand-in for OpenAI's API: with abilities as the probe finds them (test_probe.py says so)."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from bot.core.results import Completion
from bot.remote.abilities import Abilities
from bot.remote.admission import Admission
from bot.remote.choice import RemoteChoice
from bot.remote.engine import RemoteEngine
from bot.remote.generation import RemoteGeneration
from bot.remote.kept import keep_abilities
from bot.remote.server import Server
from tests.servers.openai.server import OpenAIServer

LIKE_VLLM = Abilities(
    server="vllm 0.32.0",
    has_completions=True,
    has_chat=True,
    options=("temperature", "top_p", "top_k", "min_p", "repetition_penalty"),
    takes_seed=True,
    keeps_seed=True,
    takes_n=True,
    max_stops=16,
    num_top=20,
    num_chat_top=20,
    scores_texts=True,
    tells_usage=True,
    continues_answers=True,
    counts_tokens=True,
    context_length=2048,
)
LIKE_OPENAI = Abilities(
    server="openai",
    has_chat=True,
    options=("temperature", "top_p"),
    takes_seed=True,
    keeps_seed=True,
    takes_n=True,
    max_stops=4,
    num_chat_top=20,
    score_problem="there are no completions",
    tells_usage=True,
)
LIKE_GPT_4O = replace(LIKE_OPENAI, reads_pictures=True)
LIKE_AZURE = replace(LIKE_OPENAI, num_chat_top=5)
LIKE_REASONING = replace(
    LIKE_OPENAI,
    options=(),
    keeps_seed=False,
    max_stops=0,
    num_chat_top=0,
    max_tokens_name="max_completion_tokens",
)
LIKE_LLAMA_CPP = replace(
    LIKE_VLLM,
    server="llamacpp",
    scores_texts=False,
    score_problem="they are not those that the model writes with",
    counts_tokens=False,
)


def choice_of(server: OpenAIServer, folder: Path = Path("nowhere"), *, key: str | None = None) -> RemoteChoice:
    """Return the choice of the stand-in's model."""
    return RemoteChoice(f"openai:{server.model}", server.url, folder, 4096, server.key if key is None else key)


@asynccontextmanager
async def engine_on(
    server: OpenAIServer,
    abilities: Abilities = LIKE_VLLM,
    *,
    max_waiting: int = 64,
    max_running: int = 32,
    key: str | None = None,
) -> AsyncIterator[RemoteEngine]:
    """Open an engine that knows already what the stand-in does."""
    async with Server.open(choice_of(server, key=key)) as opened:
        admission = Admission(max_waiting=max_waiting, max_running=max_running, max_running_per_person=1)
        engine = RemoteEngine(opened, abilities, admission)
        try:
            yield engine
        finally:
            await engine.close()


async def written(generation: RemoteGeneration) -> tuple[Completion, ...]:
    """Return the completions of a whole generation; the deltas join to their texts, and nothing comes twice."""
    texts: dict[int, str] = {}
    async with generation:
        async for delta in generation:
            texts[delta.index] = texts.get(delta.index, "") + delta.text
    assert texts == {one.index: one.text for one in generation.completions}
    return generation.completions


def known_choice(server: OpenAIServer, folder: Path, abilities: Abilities = LIKE_VLLM) -> RemoteChoice:
    """Return the choice of the stand-in's model, of which `folder` tells already what it does."""
    choice = choice_of(server, folder)
    keep_abilities(choice, replace(abilities, probed_at_utc=datetime.now(UTC).isoformat()))
    return choice

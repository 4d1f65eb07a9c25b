"""Two served models for all tests of a process, a GPT-2 without chats and a Llama with chat markup."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from openai import AsyncOpenAI

from tests.serving.served import Served, serve_in_thread


@pytest.fixture(scope="session")
def served_gpt2(roomy_model: Callable[[str], Path]) -> Iterator[Served]:
    """Return a served GPT-2, which has no chat template."""
    with serve_in_thread(roomy_model("gpt2")) as served:
        yield served


@pytest.fixture(scope="session")
def served_llama(roomy_model: Callable[[str], Path]) -> Iterator[Served]:
    """Return a served Llama, which has a chat template."""
    with serve_in_thread(roomy_model("llama")) as served:
        yield served


@pytest.fixture
async def gpt2(served_gpt2: Served) -> AsyncIterator[AsyncOpenAI]:
    """Return a client of the served GPT-2."""
    async with AsyncOpenAI(base_url=served_gpt2.base, api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
async def llama(served_llama: Served) -> AsyncIterator[AsyncOpenAI]:
    """Return a client of the served Llama."""
    async with AsyncOpenAI(base_url=served_llama.base, api_key="none", max_retries=0) as client:
        yield client

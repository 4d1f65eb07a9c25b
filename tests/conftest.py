"""Fixtures for every test: tiny random models on disk, made once in a session."""

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from itertools import chain, groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

from bot.engine.networks.native.building import compile_for
from bot.settings import Settings

# A busy machine is no error of the code, and a run on every change tries the same examples each time.
settings.register_profile("local", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")

# As the programs that tests start take it from the environment by themselves.
compile_for(Settings.from_env({"COMPILE_FOR": os.environ.get("COMPILE_FOR", "")}, Path("no-such-file.env")).compile_for)

if TYPE_CHECKING:
    from bot.core.database_url import DatabaseUrl
    from tests.bots import Talk
    from tests.postgres_server import PostgresServer

# Files that take long; begun first, no processor is left alone with one of them in the end.
_LONG_FILES = (
    "terminal/test_piped.py",
    "discord/test_measuring.py",
    "slack/test_rights.py",
    "discord/test_program.py",
    "own_server/test_front.py",
    "slack/test_soak_quick.py",
    "discord/test_chat_on_discord.py",
    "slack/test_sockets.py",
    "discord/test_soak_quick.py",
    "discord/outgoing/test_request_limit.py",
    "discord/test_places.py",
    "discord/test_rights.py",
    "slack/interactions/test_commands.py",
    "discord/test_evening.py",
    "slack/test_restarts.py",
    "commands/test_stalls.py",
    "engine/test_faults.py",
    "discord/incoming/test_unreadable_payloads.py",
    "engine/requests/test_batch.py",
    "engine/test_exactness.py",
    "sampler/test_sampler.py",
    "engine/test_serving_exactness.py",
    "terminal/test_interactive.py",
)


_IN_BROWSER = "/web/browser/"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of long files first, in the order of the list, and spread those in a browser among all others."""

    def rank(item: pytest.Item) -> int:
        path = item.path.as_posix()
        return next((i for i, name in enumerate(_LONG_FILES) if path.endswith(name)), len(_LONG_FILES))

    in_browser = [item for item in items if _IN_BROWSER in item.path.as_posix()]
    others = sorted((item for item in items if _IN_BROWSER not in item.path.as_posix()), key=rank)
    # A browser takes all processors, so that several of them at the end would only slow one another down.
    files = [list(tests) for _, tests in groupby(in_browser, key=lambda item: item.path)]
    whole = [list(tests) for _, tests in groupby(others, key=lambda item: item.path)]
    every = max(1, len(whole) * 2 // 3 // max(1, len(files)))
    for number, tests in reversed(list(enumerate(files))):
        whole.insert(number * every, tests)
    items[:] = chain.from_iterable(whole)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function from a name (gpt2, llama, llama2, openai_gpt) to the folder of that tiny model."""
    import torch

    from tests import tiny_models

    torch.set_num_threads(1)
    folders: dict[str, Path] = {}

    def folder_of(name: str) -> Path:
        if name not in folders:
            folders[name] = getattr(tiny_models, f"make_tiny_{name}")(tmp_path_factory.mktemp(name))
        return folders[name]

    return folder_of


@pytest.fixture(scope="session")
def tiny_gpt2(tiny_model: Callable[[str], Path]) -> Path:
    """Return the folder of a tiny random GPT-2."""
    return tiny_model("gpt2")


@pytest.fixture(scope="session")
def tiny_llama(tiny_model: Callable[[str], Path]) -> Path:
    """Return the folder of a tiny random Llama with grouped-query attention and a chat template."""
    return tiny_model("llama")


@pytest.fixture(scope="session")
def tiny_llama2(tiny_model: Callable[[str], Path]) -> Path:
    """Return the folder of a tiny random Llama whose tokenizer has `▁` for spaces and puts `<s>` first."""
    return tiny_model("llama2")


@pytest.fixture(scope="session")
def tiny_openai_gpt(tiny_model: Callable[[str], Path]) -> Path:
    """Return the folder of a tiny random first GPT: no cache, no BOS, no EOS."""
    return tiny_model("openai_gpt")


@pytest.fixture(scope="session")
def roomy_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function from gpt2 or llama to the folder of that tiny model with room for a conversation."""
    import torch

    from tests import tiny_models

    torch.set_num_threads(1)
    folders: dict[str, Path] = {}

    def folder_of(name: str) -> Path:
        if name not in folders:
            make = getattr(tiny_models, f"make_tiny_{name}")
            folders[name] = make(tmp_path_factory.mktemp(f"roomy_{name}"), context_length=512)
        return folders[name]

    return folder_of


@pytest.fixture
def open_tiny(tmp_path: Path, roomy_model: Callable[[str], Path]) -> Callable[..., "AbstractAsyncContextManager[Talk]"]:
    """Return a function that opens the real bot on a tiny model; again and again on the same database."""
    from tests.bots import open_tiny_bot

    def open_it(model: str = "gpt2", **settings: Any) -> "AbstractAsyncContextManager[Talk]":
        return open_tiny_bot(roomy_model(model), tmp_path, **settings)

    return open_it


@pytest.fixture
async def talk(open_tiny: Callable[..., "AbstractAsyncContextManager[Talk]"]) -> "AsyncIterator[Talk]":
    """Return the real bot on a tiny GPT-2, which reads conversations as transcripts."""
    async with open_tiny("gpt2") as opened:
        yield opened


@pytest.fixture(params=["gpt2", "llama"])
async def any_talk(
    request: pytest.FixtureRequest, open_tiny: Callable[..., "AbstractAsyncContextManager[Talk]"]
) -> "AsyncIterator[Talk]":
    """Return the real bot on a tiny GPT-2 (transcript), then on a tiny Llama (the model's own chat markup)."""
    async with open_tiny(request.param) as opened:
        yield opened


@pytest.fixture(scope="session")
def postgres_server() -> "Iterator[PostgresServer]":
    """Return a PostgreSQL server that all tests of a session share."""
    from tests.postgres_server import NOT_INSTALLED, find_programs, serve_postgres

    if find_programs() is None:
        pytest.skip(NOT_INSTALLED)
    with serve_postgres() as server:
        yield server


@pytest.fixture
def address(postgres_server: "PostgresServer") -> "Iterator[DatabaseUrl]":
    """Return the address of a new database on a PostgreSQL server."""
    with postgres_server.new_database() as made:
        yield made

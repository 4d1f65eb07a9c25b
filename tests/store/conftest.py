from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.store.store import Store
from tests.databases import lay_new_database


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "fewshot.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[Store]:
    async with Store.open(lay_new_database(path)) as opened:
        yield opened

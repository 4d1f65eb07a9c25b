"""Each rule about imports in pyproject.toml, broken on purpose in a copy of the code."""

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent
# A new module, and what it must not import: modules that no rule has heard of.
PLANTED = (
    ("bot.services.replies", "bot.services.chat"),
    ("bot.core.planted_upwards", "bot.services.chat"),
    ("bot.core.planted_settings", "bot.settings"),
    ("bot.core.planted_sqlite", "sqlite3"),
    ("bot.core.planted_file", "pathlib"),
    ("bot.core.planted_waiting", "asyncio"),
    ("bot.core.templates.planted_torch", "torch"),
    ("bot.services.planted_torch", "torch"),
    ("bot.services.planted_transformers", "transformers"),
    ("bot.services.planted_sql", "aiosqlite"),
    ("bot.services.planted_sql", "psycopg"),
    ("bot.commands.planted_pool", "psycopg_pool"),
    ("bot.services.planted_discord", "discord"),
    ("bot.services.planted_http", "aiohttp"),
    ("bot.services.planted_slack", "slack_sdk"),
    ("bot.platforms.discord.planted_slack", "slack_bolt"),
    ("bot.platforms.slack.planted_neighbour", "bot.platforms.discord.client"),
    ("bot.platforms.slack.planted_engine", "bot.engine.engine"),
    ("bot.services.planted_settings", "bot.settings"),
    ("bot.services.planted_upwards", "bot.commands.bot"),
    ("bot.commands.planted_tokenizers", "tokenizers"),
    ("bot.commands.planted_picture", "PIL"),
    ("bot.commands.framework.planted_topic", "bot.commands.completing"),
    ("bot.engine.planted_sqlite", "sqlite3"),
    ("bot.engine.planted_store", "bot.store.store"),
    ("bot.engine.requests.planted_upwards", "bot.engine.scheduler"),
    ("bot.engine.networks.planted_upwards", "bot.engine.paged_cache"),
    ("bot.engine.sampler.planted_upwards", "bot.engine.requests.work"),
    ("bot.store.planted_engine", "bot.engine.engine"),
    ("bot.services.planted_engine", "bot.engine.engine"),
    ("bot.services.planted_remote", "bot.remote"),
    ("bot.serving.planted_engine", "bot.engine.engine"),
    ("bot.serving.planted_openai", "openai"),
    ("bot.serving.errors", "bot.serving.app"),
    ("bot.remote.planted_metrics", "prometheus_client"),
    ("bot.commands.planted_engine", "bot.engine.engine"),
    ("bot.store.planted_picture", "PIL"),
    ("bot.pictures.planted_store", "bot.store.store"),
    ("bot.platforms.planted_neighbours.planted", "bot.engine.engine"),
    ("bot.platforms.terminal.planted_engine", "bot.engine.engine"),
    ("bot.platforms.terminal.planted_store", "bot.store.store"),
    ("bot.platforms.terminal.planted_neighbour", "bot.platforms.discord.client"),
    ("bot.platforms.discord.planted_neighbour", "bot.platforms.terminal.interactive"),
    ("bot.platforms.discord.planted_prompt", "prompt_toolkit"),
    ("bot.platforms.shared.planted_platform", "bot.platforms.discord.client"),
    ("bot.platforms.shared.planted_discord", "discord"),
    ("bot.planted", "torch"),
    ("bot.planted", "discord"),
    ("bot.planted", "sqlite3"),
    ("bot.services.planted_network", "urllib.request"),
    ("bot.services.planted_network", "httpx"),
    ("bot.services.planted_network", "socket"),
    ("bot.services.planted_sqlite", "_sqlite3"),
    ("bot.services.planted_program", "subprocess"),
    ("bot.commands.planted_import", "importlib"),
)


def _lint(folder: Path) -> tuple[int, str]:
    program = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run([program, "--no-cache"], cwd=folder, capture_output=True, text=True, check=False)
    # Long lines are wrapped, at a blank or within a name.
    return result.returncode, re.sub(r"\s+", " ", result.stdout + result.stderr)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return what the linter says of a copy of the code with every forbidden import planted."""
    copy = tmp_path_factory.mktemp("planted")
    shutil.copytree(PROJECT / "bot", copy / "bot", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROJECT / "pyproject.toml", copy)
    (copy / "tests").mkdir()
    (copy / "tests" / "__init__.py").touch()
    shutil.copy(PROJECT / "tests" / "import_contracts.py", copy / "tests")
    for importer, imported in PLANTED:
        path = copy.joinpath(*importer.split(".")).with_suffix(".py")
        if not path.parent.exists():
            path.parent.mkdir()
            (path.parent / "__init__.py").touch()
        with path.open("a") as file:
            file.write(f"import {imported}\n")
    code, said = _lint(copy)
    assert code == 1, said
    return said


@pytest.mark.parametrize(("importer", "imported"), PLANTED)
def test_a_forbidden_import_breaks_a_contract(found: str, importer: str, imported: str) -> None:
    assert re.search(rf"{re.escape(importer)} -> {re.escape(imported.removesuffix('.request'))}( |$)", found)


def test_every_contract_is_broken_by_one_of_them(found: str) -> None:
    assert " BROKEN" in found
    assert " KEPT" not in found


@pytest.mark.parametrize("module", ["planted", "planted_torch", "planted_sqlite", "planted_neighbours"])
def test_a_new_module_has_to_be_given_its_place(found: str, module: str) -> None:
    assert re.search(rf"(not listed as layers|undeclared)[^:]*:.*\.{module}\b", found), found


def test_the_code_keeps_every_contract() -> None:
    code, said = _lint(PROJECT)
    assert code == 0, said


def test_no_folder_hides_its_modules_from_the_contracts() -> None:
    folders = {path.parent for path in (PROJECT / "bot").rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").exists()] == []


def test_no_module_imports_without_an_import() -> None:
    for path in sorted((PROJECT / "bot").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            is_hidden = isinstance(node, ast.Name) and node.id in ("__import__", "exec", "eval")
            assert not is_hidden, f"{path}:{node.lineno}"

"""The program itself on a server's model: what it prints, and that the key is nowhere."""

import asyncio
import json
from pathlib import Path

import pytest

from bot.errors import ModelError
from bot.program.opening import choose_model, pull
from bot.settings import Settings
from tests.platforms.programs import Finished, Program
from tests.servers.openai.server import KEY, serve_openai


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("openai:toy", "openai:toy is a model of a server, so there is nothing to download."),
        ("openai:", "'openai:' names no model; write openai: and the name that the server knows."),
        ("openai:a b", "'openai:a b' names no model; write openai: and the name that the server knows."),
    ],
)
def test_a_name_without_a_model_to_fetch_is_told(name: str, sentence: str) -> None:
    with pytest.raises(ModelError) as caught:
        choose_model(Settings(model=name)) if "names no model" in sentence else pull(name, Settings())
    assert str(caught.value) == sentence


async def test_the_program_starts_on_a_server_and_prints_no_key(tmp_path: Path) -> None:
    async with serve_openai() as server:
        host = server.url.split("/")[2]
        key_file = tmp_path / "key"
        key_file.write_text(KEY)
        base = {"MODELS_DIR": str(tmp_path / "models"), "MODEL_API_BASE": server.url}

        async def run(*arguments: str, **environment: str) -> Finished:
            program = Program(
                tmp_path, Path("no-model"), {"MODEL": "openai:toy", **base, **environment}, is_preloaded=False
            )
            return await asyncio.to_thread(program.run, *arguments)

        info = await run("model", "info", "--json", MODEL_API_KEY_FILE=str(key_file))
        described = json.loads(info.out)
        assert (described["name"], described["context_length"], described["server"]) == (
            "openai:toy",
            2048,
            f"{host} vllm 0.32.0",
        )
        assert {"name": "scores of given texts", "is_there": True, "remark": "the same values in any order"} in [
            {**one, "remark": one["remark"].partition(",")[0]} for one in described["abilities"]
        ]
        server.scripts = [" Hello to you."]
        answered = await run("terminal", "-p", "hello", MODEL_API_KEY=KEY, LOG_LEVEL="INFO")
        assert (answered.status, answered.out) == (0, "Hello to you.\n")
        assert "Finding out" in info.err
        assert "Finding out" not in answered.err
    printed = "".join(one.out + one.err for one in (info, answered))
    assert KEY not in printed
    for path in (tmp_path / "models").rglob("*.json"):
        assert KEY not in path.read_text()

"""A bot on vLLM itself; FEWSHOT_TEST_VLLM names its program, FEWSHOT_TEST_MODEL a folder (`make test-vllm` does)."""

import json
import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.platforms.programs import Program

VLLM, MODEL = os.environ.get("FEWSHOT_TEST_VLLM", ""), os.environ.get("FEWSHOT_TEST_MODEL", "")
NAME = "smollm2-135m"
START_S = 900.0  # it compiles its kernels

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.timeout(START_S + 300),
    pytest.mark.skipif(not VLLM or not MODEL, reason="FEWSHOT_TEST_VLLM names no vLLM; make test-vllm does"),
]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve the model with vLLM; yield the base address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--served-model-name", NAME, "--host", "127.0.0.1", "--port", str(port), "--max-model-len", "2048"]
    # Else a request with a seed whose prompt it reads in two parts ends its engine on a processor.
    options.append("--no-enable-chunked-prefill")
    log = tmp_path_factory.mktemp("vllm") / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [VLLM, "serve", MODEL, *options],
            env={**os.environ, "HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "2"},
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    try:
        _wait_for(f"http://127.0.0.1:{port}/v1/models", process, log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        os.killpg(process.pid, 15)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)


def _wait_for(address: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            time.sleep(1)
    raise AssertionError(log.read_text(errors="replace")[-2000:])


@pytest.fixture(scope="module")
def program(base: str, tmp_path_factory: pytest.TempPathFactory) -> Program:
    home = tmp_path_factory.mktemp("home")
    environment = {"MODEL": f"openai:{NAME}", "MODEL_API_BASE": base, "MODELS_DIR": str(home / "models")}
    return Program(home, Path(MODEL), environment)


@pytest.fixture(scope="module")
def abilities(program: Program) -> dict[str, Any]:
    """Return what `model info --json` says that the server does."""
    finished = program.run("model", "info", "--json")
    assert finished.status == 0, finished.err
    found: dict[str, Any] = json.loads(finished.out)
    return found


def test_the_probe_finds_what_it_does(abilities: dict[str, Any]) -> None:
    assert "vllm" in abilities["server"].lower()
    is_there = {one["name"]: one["is_there"] for one in abilities["abilities"]}
    assert is_there["scores of given texts"]
    assert is_there["chat"]
    assert is_there["continue a text"]
    assert is_there["seed"]
    assert not is_there["beam search"]


@pytest.mark.usefixtures("abilities")
def test_bad_english_is_more_surprising_than_good_english(program: Program) -> None:
    bad, good, compared = program.ask(
        "!perplexity Can it does what?",
        "!perplexity Can it do that?",
        "!compare Can it does what? | Can it do that?",
    )
    assert bad["perplexity"] > 2 * good["perplexity"]
    assert compared["best"] == 1


@pytest.mark.usefixtures("abilities")
def test_chat_a_continuation_and_a_template_work(program: Program) -> None:
    chat, first, again, label = program.ask(
        "Say hello.",
        "!complete --seed 3 --n 1 Once upon a time",
        "!complete --seed 3 --n 1 Once upon a time",
        "!prompt sentiment This is awful for you to say this",
    )
    assert chat["text"]
    assert first["text"] == again["text"]
    assert first["choices"][0]["text"]
    assert first["seed"] == 3
    assert label["label"] == "Negative"


@pytest.mark.usefixtures("abilities")
def test_beam_search_is_refused_in_one_sentence(program: Program) -> None:
    (refused,) = program.ask("!complete --num_beams 4 Once upon a time")
    assert "This model's server has no num_beams; leave it out." in refused["error"]
    assert "\n" not in refused["error"]

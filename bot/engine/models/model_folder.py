"""Checks of a model's folder without loading it: complete, safe to load, and of a type that the engine supports."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bot.engine.models.small_files import check_numbers, check_small_files, read_json, shown
from bot.engine.models.weights_file import IncompleteModel, StoredTensor, read_stored_tensors
from bot.errors import ModelError

# model_type -> its causal language model class. All use full attention; each is tested with a tiny random model.
SUPPORTED_MODELS: Final[Mapping[str, str]] = {
    "gpt2": "GPT2LMHeadModel",
    "gpt_neox": "GPTNeoXForCausalLM",
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "openai-gpt": "OpenAIGPTLMHeadModel",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
}
_DIGESTED: Final = ("*.safetensors", "config.json", "tokenizer.json")
_WITHOUT_CACHE: Final = frozenset({"openai-gpt"})
# transformers ties the input and output embeddings of these unless config.json says otherwise.
_TIED_BY_DEFAULT: Final = frozenset({"gpt2", "openai-gpt"})
# transformers gives these a sliding window unless config.json says otherwise.
_SLIDING_BY_DEFAULT: Final = frozenset({"mistral"})
# Their frequencies depend on the longest sequence in the batch, so an answer would depend on other requests.
_LENGTH_DEPENDENT_ROPE: Final = frozenset({"dynamic", "longrope"})
_OUTPUT_EMBEDDINGS: Final = frozenset({"lm_head.weight", "embed_out.weight"})
_BUFFER_SUFFIXES: Final = (".masked_bias", ".rotary_emb.inv_freq")
_MASK_SUFFIXES: Final = (".attn.bias", ".attention.bias")
_PICKLE_SUFFIXES: Final = frozenset({".bin", ".pt", ".pth", ".ckpt"})

WEIGHTS_NAME: Final = "model.safetensors"
INDEX_NAME: Final = "model.safetensors.index.json"


@dataclass(frozen=True, slots=True)
class ModelConfigFacts:
    """Facts about a model from the files in its folder.

    `context_length` counts tokens and comes from config.json, never from the tokenizer. `num_parameters` counts tied
    weights once and leaves out buffers. `num_bytes` is the size of the weights on disk.
    """

    model_type: str
    architectures: tuple[str, ...]
    context_length: int
    has_cache: bool
    num_parameters: int
    num_bytes: int


def check_model_folder(folder: Path) -> ModelConfigFacts:
    """Return the facts of the model in `folder`; read only its config and the headers of its weights.

    Raises ModelError, one sentence, if the engine can't run it correctly and safely; IncompleteModel, its subclass,
    if another download would fix that.
    """
    try:
        return _check_model_folder(folder)
    except OSError as e:
        raise ModelError(f"The model folder {shown(folder)} can't be read: {e.strerror or e}.") from e


def _check_model_folder(folder: Path) -> ModelConfigFacts:
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise ModelError(f"The model folder {folder} {what}.")
    config = read_config(folder)
    model_type = check_config(config, source=str(folder))
    check_small_files(folder)
    tensors, num_bytes = _read_weights(folder)
    _check_tokenizer(folder)
    is_tied = config.get("tie_word_embeddings", model_type in _TIED_BY_DEFAULT)
    return ModelConfigFacts(
        model_type=model_type,
        architectures=tuple(config.get("architectures") or ()),
        context_length=_find_context_length(config, source=str(folder)),
        has_cache=model_type not in _WITHOUT_CACHE,
        num_parameters=_count_parameters(tensors, is_tied=bool(is_tied)),
        num_bytes=num_bytes,
    )


def read_config(folder: Path) -> dict[str, Any]:
    """Return config.json of `folder`. Raises ModelError if it is missing or not a JSON object."""
    path = folder / "config.json"
    if not path.exists():
        raise IncompleteModel(f"The folder {folder} contains no model: it has no config.json.")
    config = read_json(path)
    if not isinstance(config, dict):
        raise ModelError(f"The file {path} is not a model's configuration.")
    return config


def check_config(config: Mapping[str, Any], *, source: str) -> str:
    """Return the model type in `config` (from config.json) if the engine supports the model.

    Raises ModelError, one sentence that names `source`, if it does not.
    """
    model_type = config.get("model_type")
    if not isinstance(model_type, str) or not model_type:
        raise ModelError(f"The config.json of {source} has no model_type.")
    if config.get("is_encoder_decoder") or config.get("add_cross_attention"):
        raise ModelError(
            f"The model {source} ({model_type}) is an encoder-decoder; choose a decoder-only language model."
        )
    if model_type not in SUPPORTED_MODELS:
        if config.get("auto_map"):
            raise ModelError(f"The model {source} ({model_type}) needs its own Python code, which is never run here.")
        _check_attention(config, model_type, source)
        raise ModelError(
            f"The model {source} has the type {model_type}, which is not supported; "
            f"supported types are {', '.join(sorted(SUPPORTED_MODELS))}."
        )
    architectures = _listed(config, "architectures", source) or [SUPPORTED_MODELS[model_type]]
    if SUPPORTED_MODELS[model_type] not in architectures:
        raise ModelError(
            f"The model {source} is not made for generating text: its architecture is "
            f"{shown(architectures)} instead of {SUPPORTED_MODELS[model_type]}."
        )
    quantization = config.get("quantization_config")
    if quantization:
        method = quantization.get("quant_method", "unknown") if isinstance(quantization, dict) else "unknown"
        raise ModelError(f"The model {source} has quantized weights ({shown(method)}); choose the unquantized model.")
    _check_attention(config, model_type, source)
    _check_rope(config, source)
    _find_context_length(config, source=source)
    return model_type


def _check_attention(config: Mapping[str, Any], model_type: str, source: str) -> None:
    strange = {str(kind) for kind in _listed(config, "layer_types", source) if kind != "full_attention"}
    attention_types = config.get("attention_types") or config.get("attention_layers")
    if attention_types and "local" in str(attention_types):
        strange.add("local attention")
    window = config.get("sliding_window", 4096 if model_type in _SLIDING_BY_DEFAULT else None)
    if window is not None and config.get("use_sliding_window", not model_type.startswith("qwen")):
        strange.add("sliding_attention")
    if strange:
        kinds = ", ".join(sorted(strange)).replace("_", " ")
        raise ModelError(f"The model {source} ({model_type}) uses {kinds}; choose a model with full attention.")


def _check_rope(config: Mapping[str, Any], source: str) -> None:
    rope = config.get("rope_parameters") or config.get("rope_scaling")
    kind = (rope.get("rope_type") or rope.get("type")) if isinstance(rope, dict) else None
    if kind in _LENGTH_DEPENDENT_ROPE:
        raise ModelError(
            f"The model {source} has a position encoding that depends on the length of the text ({kind}), "
            "which is not supported."
        )


def _find_context_length(config: Mapping[str, Any], *, source: str) -> int:
    for key in ("n_positions", "max_position_embeddings", "n_ctx"):
        length = config.get(key)
        if length is None:
            continue
        if not isinstance(length, int) or isinstance(length, bool) or length < 2:
            raise ModelError(f"The config.json of {source} has {key}={shown(length)}, which is no context length.")
        return length
    raise ModelError(f"The config.json of {source} does not give the model's context length.")


def _read_weights(folder: Path) -> tuple[dict[str, StoredTensor], int]:
    single = folder / WEIGHTS_NAME
    if single.exists():
        return read_stored_tensors(single), single.stat().st_size
    index = folder / INDEX_NAME
    if index.exists():
        return _read_shards(folder, index)
    if (folder / "adapter_model.safetensors").exists():
        raise ModelError(f"The folder {folder} contains only an adapter; merge it into its base model first.")
    if any(path.suffix in _PICKLE_SUFFIXES for path in folder.iterdir()):
        raise IncompleteModel(
            f"The folder {folder} has only pickle weights, which can run code when loaded; "
            f"add {WEIGHTS_NAME} or choose another model."
        )
    raise IncompleteModel(f"The folder {folder} has no weights: {WEIGHTS_NAME} is missing.")


def _read_shards(folder: Path, index: Path) -> tuple[dict[str, StoredTensor], int]:
    found = read_json(index)
    weight_map = found.get("weight_map") if isinstance(found, dict) else None
    if not isinstance(weight_map, dict) or not weight_map:
        raise IncompleteModel(f"The file {index} does not list the weights.")
    tensors: dict[str, StoredTensor] = {}
    num_bytes = 0
    for name, shard in weight_map.items():
        if not isinstance(shard, str):
            raise ModelError(
                f"The file {index} has {shown(name)}={shown(shard)} in weight_map, which is not a file's name."
            )
    for shard in sorted(set(weight_map.values())):
        if Path(shard).name != shard:
            raise ModelError(f"The file {index} points to a file outside its folder: {shown(shard)}.")
        stored = read_stored_tensors(folder / shard)
        if any(name not in stored for name, place in weight_map.items() if place == shard):
            raise IncompleteModel(f"The weights file {folder / shard} lacks weights that {INDEX_NAME} lists.")
        tensors |= stored
        num_bytes += (folder / shard).stat().st_size
    return tensors, num_bytes


def _check_tokenizer(folder: Path) -> None:
    path = folder / "tokenizer.json"
    if path.exists():
        return  # check_small_files has read it
    vocabulary = folder / "vocab.json"
    if vocabulary.exists() and (folder / "merges.txt").exists():
        check_numbers(vocabulary)
        return
    if (folder / "tokenizer.model").exists():
        raise ModelError(f"The folder {folder} has only tokenizer.model, which is not supported; add tokenizer.json.")
    raise IncompleteModel(f"The folder {folder} has no tokenizer: tokenizer.json is missing.")


def _count_parameters(tensors: Mapping[str, StoredTensor], *, is_tied: bool) -> int:
    num = 0
    for name, tensor in tensors.items():
        # Old GPT-2 and GPT-NeoX files store their causal masks, of shape (1, 1, n, n).
        is_mask = name.endswith(_MASK_SUFFIXES) and len(tensor.shape) == 4
        is_copy = is_tied and name in _OUTPUT_EMBEDDINGS
        if not (is_mask or is_copy or name.endswith(_BUFFER_SUFFIXES)):
            num += tensor.num_values
    return num


def _listed(config: Mapping[str, Any], key: str, source: str) -> list[Any]:
    value = config.get(key) or []
    if not isinstance(value, list):
        raise ModelError(f"The config.json of {source} has {key}={shown(value)}, which is not valid.")
    return value


def digest_model_folder(folder: Path) -> str:
    """Return a digest of the sizes and times of a model's files; it changes with the weights and the tokenizer."""
    paths = sorted(path for pattern in _DIGESTED for path in folder.glob(pattern))
    files = [f"{path.name} {(status := path.stat()).st_size} {status.st_mtime_ns}" for path in paths]
    return hashlib.sha256(json.dumps(files).encode("utf-8", "surrogatepass")).hexdigest()[:16]

"""From a folder on disk to a model in memory, without touching the network."""

import inspect
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Before transformers is imported: with a dead network its hub look-ups can hang for ever.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_OFFLINE"] = "1"

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from bot.core.results import ModelInfo
from bot.engine.model_folder import check_model_folder
from bot.engine.tokenizing import PromptTokenizer
from bot.engine.vocabulary import Vocabulary
from bot.errors import ModelError

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model ready to run: weights in float32 on `device`, evaluation mode, with its tokenizer.

    `network` is the transformers model, `chat_tokenizer` the transformers tokenizer (for its chat template only).
    `eos_ids` end a text when drawn; there may be none.
    """

    network: Any
    chat_tokenizer: Any
    tokenizer: PromptTokenizer
    vocabulary: Vocabulary
    device: torch.device
    eos_ids: tuple[int, ...]
    info: ModelInfo


def load_model(folder: Path, *, name: str, device: str, precision: str, num_threads: int | None) -> LoadedModel:
    """Load the model in `folder`. Raises ModelError, in one sentence, for whatever is in the way."""
    if precision not in ("auto", "float32"):
        raise ModelError(f"PRECISION={precision} is not offered yet: only float32 (or auto) is.")
    target = choose_device(device)
    check_model_folder(folder)
    if num_threads is not None:
        torch.set_num_threads(num_threads)
    torch.set_float32_matmul_precision("highest")  # no TF32: figures mean the same on every device
    torch.backends.cudnn.allow_tf32 = False
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    try:
        return _load(folder, name, target)
    except ModelError:
        raise
    except torch.OutOfMemoryError as e:
        raise ModelError(f"The model {name} does not fit into the memory of {target}.") from e
    except MemoryError as e:
        raise ModelError(f"The model {name} does not fit into memory.") from e
    except Exception as e:
        first_line = (str(e).strip().splitlines() or [type(e).__name__])[0]
        raise ModelError(f"The model {name} in {folder} can't be loaded: {first_line}") from e


def choose_device(wanted: str) -> torch.device:
    """Return the torch device for auto, cpu, cuda, cuda:N or mps. Raises ModelError that names what is there."""
    present = ["cpu"]
    present += [f"cuda:{index}" for index in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    present += ["mps"] if torch.backends.mps.is_available() else []
    if wanted == "auto":
        return torch.device(present[1] if len(present) > 1 else "cpu")
    chosen = "cuda:0" if wanted == "cuda" else wanted
    if chosen not in present:
        raise ModelError(f"DEVICE={wanted} is not there; this machine has {', '.join(present)}.")
    return torch.device(chosen)


def _load(folder: Path, name: str, device: torch.device) -> LoadedModel:
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    network, report = AutoModelForCausalLM.from_pretrained(
        folder, use_safetensors=True, dtype=torch.float32, output_loading_info=True, **options
    )
    broken = [*report["missing_keys"], *(str(key) for key in report["mismatched_keys"])]
    if broken:
        raise ModelError(f"The model {name} in {folder} is incomplete: {len(broken)} of its weights are missing.")
    network = network.eval().requires_grad_(False).to(device)
    chat_tokenizer = AutoTokenizer.from_pretrained(folder, **options)
    backend = getattr(chat_tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise ModelError(f"The model {name} in {folder} has no tokenizer.json that this bot can read.")
    config = network.config.get_text_config(decoder=True)
    vocab_size = int(network.get_output_embeddings().weight.shape[0])
    vocabulary = Vocabulary(backend, size=vocab_size)
    tokenizer = PromptTokenizer(
        backend, vocabulary, bos_id=chat_tokenizer.bos_token_id, eos_id=chat_tokenizer.eos_token_id
    )
    context_length = getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None)
    if not context_length:
        raise ModelError(f"The model {name} in {folder} does not say how long its context is.")
    info = ModelInfo(
        name=name,
        folder=str(folder),
        device=str(device),
        precision="float32",
        context_length=int(context_length),
        num_parameters=sum(weight.numel() for weight in network.parameters()),
        model_type=str(config.model_type),
        has_cache="past_key_values" in inspect.signature(network.forward).parameters,
        has_chat_template=bool(getattr(chat_tokenizer, "chat_template", None)),
        vocab_size=vocab_size,
    )
    return LoadedModel(network, chat_tokenizer, tokenizer, vocabulary, device, _find_eos_ids(network), info)


def _find_eos_ids(network: Any) -> tuple[int, ...]:
    eos = getattr(network.generation_config, "eos_token_id", None)
    if eos is None:
        eos = getattr(network.config, "eos_token_id", None)
    if eos is None:
        return ()
    return tuple(eos) if isinstance(eos, list | tuple) else (int(eos),)

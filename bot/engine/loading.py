"""Loading of a model from a folder into memory; never uses the network."""

import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

# Set before the import of transformers: without a working network its hub look-ups can hang forever.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_OFFLINE"] = "1"

import torch
from transformers import AutoConfig
from transformers.utils import logging as transformers_logging

from bot.core.prompt_parts import ChatTurn
from bot.core.results import ModelInfo, PrecisionFigures
from bot.core.wording import MAX_PATH, shorten
from bot.engine.loaded_model import Lane, LoadedModel
from bot.engine.models.model_folder import ModelConfigFacts, check_model_folder, digest_model_folder
from bot.engine.models.small_files import shown
from bot.engine.networks.choosing_network import PRECISIONS, open_network
from bot.engine.networks.native.native_network import NativeNetwork
from bot.engine.networks.network import Network
from bot.engine.paged_cache import PagedCache
from bot.engine.precision.choice import AUTO, FLOAT32, PrecisionChoice, choose_precision, is_measured
from bot.engine.precision.measuring import find_figures
from bot.engine.processors import count_processors
from bot.engine.references.measuring import find_references
from bot.engine.references.record import read_references
from bot.engine.start_token.measuring import StartToken, find_start_token
from bot.engine.start_token.record import read_start_figures
from bot.engine.tokens.chat_markup import render_turns
from bot.engine.tokens.opening import open_chat_tokenizer
from bot.engine.tokens.tokenizing import PromptTokenizer
from bot.engine.tokens.vocabulary import Vocabulary
from bot.errors import ModelError, RequestError

logger = logging.getLogger(__name__)

_MEASURING_CACHE_BYTES: Final = 2**26
# Those of the native networks; asking transformers takes a second, as that imports torch's compiler.
_ACTIVATIONS: Final = frozenset({"gelu_new", "gelu_pytorch_tanh", "silu"})
_NUM_THREADS: Final = torch.get_num_threads()  # torch's default, before anything here changes it


def load_model(
    folder: Path,
    *,
    name: str,
    device: str,
    precision: str,
    num_threads: int | None,
    kv_cache_mb: int = 512,
    models_dir: Path | None = None,
) -> LoadedModel:
    """Load the model in `folder`. Raises ModelError, in one sentence, if that fails.

    If the choice of precision needs measurements and there is no record of them, in `models_dir` or beside the model,
    measures first. If a faster way to run is not available here, says so in the log and in `info.notices`.
    """
    target = choose_device(device)
    facts = check_model_folder(folder)
    _set_up(num_threads)
    notices: list[str] = []

    def tell(sentence: str) -> None:
        if sentence not in notices:
            notices.append(sentence)
            logger.warning("%s", sentence)

    with _translated_errors(folder, name, target):
        config = _open_config(folder)
        choice = _find_precision(folder, name, facts, target, precision, models_dir, tell)
        return _load(folder, name, config, target, choice, kv_cache_mb * 2**20, facts, models_dir, notices, tell)


def measure_model(
    folder: Path,
    *,
    name: str,
    device: str,
    precision: str,
    num_threads: int | None,
    models_dir: Path,
    tell: Callable[[str], None],
) -> PrecisionChoice:
    """Return the precision that `load_model` would use; measure it, start token and references first, if needed.

    Ctrl-C ends it within one pass and leaves nothing behind. Raises ModelError.
    """
    target = choose_device(device)
    facts = check_model_folder(folder)
    _set_up(num_threads)

    with _translated_errors(folder, name, target):
        _open_config(folder)
        if read_start_figures(folder, models_dir) is None or read_references(folder, models_dir) is None:
            chat_tokenizer = open_chat_tokenizer(folder, name)
            network = open_network(
                folder, device=target, precision=FLOAT32, kv_cache_bytes=_MEASURING_CACHE_BYTES, tell=tell
            )
            try:
                _, tokenizer, _ = _make_tokenizer(folder, name, chat_tokenizer, network, models_dir)
                find_references(folder, name=name, tokenizer=tokenizer, network=network, models_dir=models_dir)
            finally:
                network.close()
                del network
        return _find_precision(folder, name, facts, target, precision, models_dir, tell)


@contextmanager
def _translated_errors(folder: Path, name: str, device: torch.device) -> Iterator[None]:
    try:
        yield
    except ModelError:
        raise
    except torch.OutOfMemoryError as e:
        raise ModelError(
            f"The model {name} does not fit into the memory of {device}; use a smaller model or another DEVICE."
        ) from e
    except MemoryError as e:
        raise ModelError(f"The model {name} does not fit into memory; use a smaller model.") from e
    except Exception as e:
        first_line = (str(e).strip().splitlines() or [type(e).__name__])[0]
        raise ModelError(f"The model {name} in {folder} can't be loaded: {first_line}") from e


def _set_up(num_threads: int | None) -> None:
    # torch does not know a container's quota; threads beyond it only wait for one another.
    torch.set_num_threads(num_threads or min(_NUM_THREADS, count_processors()))
    torch.set_float32_matmul_precision("highest")  # no TF32, so that scores agree between devices
    torch.backends.cudnn.allow_tf32 = False
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()


def _find_precision(
    folder: Path,
    name: str,
    facts: ModelConfigFacts,
    device: torch.device,
    wanted: str,
    models_dir: Path | None,
    tell: Callable[[str], None],
) -> PrecisionChoice:
    if wanted not in (AUTO, *PRECISIONS):
        raise ModelError(f"PRECISION takes auto or one of {', '.join(PRECISIONS)}, not {wanted!r}.")
    figures: tuple[PrecisionFigures, ...] = ()
    if is_measured(wanted, facts.num_parameters):
        figures = find_figures(folder, name=name, facts=facts, device=device, models_dir=models_dir, tell=tell)
    return choose_precision(wanted, facts.num_parameters, figures)


def choose_device(wanted: str) -> torch.device:
    """Return the torch device for auto, cpu, cuda, cuda:N or mps. Raises ModelError with the available devices."""
    present = ["cpu"]
    present += [f"cuda:{index}" for index in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    present += ["mps"] if torch.backends.mps.is_available() else []
    if wanted == "auto":
        return torch.device(present[1] if len(present) > 1 else "cpu")
    chosen = "cuda:0" if wanted == "cuda" else wanted
    if chosen not in present:
        raise ModelError(f"DEVICE={wanted} is not available; this machine has {', '.join(present)}.")
    return torch.device(chosen)


def _load(
    folder: Path,
    name: str,
    config: Any,
    device: torch.device,
    choice: PrecisionChoice,
    kv_cache_bytes: int,
    facts: ModelConfigFacts,
    models_dir: Path | None,
    notices: Sequence[str],
    tell: Callable[[str], None],
) -> LoadedModel:
    chat_tokenizer = open_chat_tokenizer(folder, name)
    try:
        writing = _open_lane(folder, device, choice.precision, kv_cache_bytes, tell)
    except ModelError as e:
        if choice.precision == FLOAT32 or not choice.is_automatic:
            raise
        tell(f"{e} The model runs in float32 for now.")  # for example, the native step can no longer be compiled
        choice = PrecisionChoice(FLOAT32, f"{choice.precision} was not available this time", choice.figures, True)
        writing = _open_lane(folder, device, FLOAT32, kv_cache_bytes, tell)
    network = writing.network
    if network.precision == FLOAT32:
        scoring = Lane(network.make_twin(), writing.cache)
    else:
        scoring = _open_lane(folder, device, FLOAT32, kv_cache_bytes, tell)
    if isinstance(network, NativeNetwork):
        # torch has little left to do, and its threads spin after each call on the CPUs that the native step needs.
        torch.set_num_threads(1)
    vocabulary, tokenizer, start = _make_tokenizer(folder, name, chat_tokenizer, scoring.network, models_dir)
    has_chat_template = bool(getattr(chat_tokenizer, "chat_template", None))
    if vocabulary.num_tokens > vocabulary.size:
        tell(
            f"The tokenizer of {name} has {vocabulary.num_tokens:,} tokens, but the model only {vocabulary.size:,}: "
            "texts with the added tokens are refused."
        )
        has_chat_template = has_chat_template and _can_read_chat(chat_tokenizer, tokenizer, name)
    info = ModelInfo(
        name=name,
        folder=str(folder),
        device=str(device),
        precision=network.precision,
        context_length=network.context_length,
        num_parameters=facts.num_parameters,
        model_type=str(config.model_type),
        has_cache=facts.has_cache,
        has_chat_template=has_chat_template,
        vocab_size=network.vocab_size,
        precision_reason=choice.reason,
        precision_figures=choice.figures,
        start_token=start.token,
        start_figures=start.figures,
        references=read_references(folder, models_dir) or (),
        notices=tuple(notices),
        weights_digest=digest_model_folder(folder),
    )
    eos_ids = _find_eos_ids(folder, config)
    return LoadedModel(writing, scoring, chat_tokenizer, tokenizer, vocabulary, device, eos_ids, info)


def _open_config(folder: Path) -> Any:
    path = folder / "config.json"
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as e:
        problem = " ".join(line.strip() for line in str(e).splitlines())
        raise ModelError(f"The file {path} can't be used: {shorten(problem, MAX_PATH)}") from e
    for key in ("hidden_act", "activation_function", "afn"):
        name = getattr(config, key, None)
        if name is not None and not _is_activation(name):
            raise ModelError(f"The file {path} has {key}={shown(name)}, which is not supported.")
    return config


def _is_activation(name: str) -> bool:
    if name in _ACTIVATIONS:
        return True
    from transformers.activations import ACT2FN

    return name in ACT2FN


def _make_tokenizer(
    folder: Path, name: str, chat_tokenizer: Any, network: Network, models_dir: Path | None
) -> tuple[Vocabulary, PromptTokenizer, StartToken]:
    """Return the tokenizer for `network` (in float32), with the start token of plain text, measured if needed."""
    backend = chat_tokenizer.backend_tokenizer
    vocabulary = Vocabulary(backend, size=network.vocab_size)
    bos_id, eos_id = (
        token_id if token_id is not None and token_id < network.vocab_size else None
        for token_id in (chat_tokenizer.bos_token_id, chat_tokenizer.eos_token_id)
    )
    tokenizer = PromptTokenizer(backend, vocabulary, bos_id=bos_id, eos_id=eos_id)
    start = find_start_token(
        folder, name=name, chat_tokenizer=chat_tokenizer, tokenizer=tokenizer, network=network, models_dir=models_dir
    )
    tokenizer.document_id = start.token_id
    return vocabulary, tokenizer, start


def _can_read_chat(chat_tokenizer: Any, tokenizer: PromptTokenizer, name: str) -> bool:
    """Return whether the model has all tokens of its own chat template."""
    try:
        prompt = render_turns(chat_tokenizer, [ChatTurn("user", "a")], model_name=name)
        tokenizer.check_known(tokenizer.encode_prompt(prompt).ids)
    except (ModelError, RequestError):
        return False
    return True


def _open_lane(
    folder: Path, device: torch.device, precision: str, kv_cache_bytes: int, tell: Callable[[str], None]
) -> Lane:
    network = open_network(folder, device=device, precision=precision, kv_cache_bytes=kv_cache_bytes, tell=tell)
    return Lane(network, PagedCache(network))


def _find_eos_ids(folder: Path, config: Any) -> tuple[int, ...]:
    eos = None
    if (folder / "generation_config.json").exists():
        eos = json.loads((folder / "generation_config.json").read_bytes()).get("eos_token_id")
    if eos is None:
        eos = getattr(config, "eos_token_id", None)
    if eos is None:
        return ()
    return tuple(eos) if isinstance(eos, list | tuple) else (int(eos),)

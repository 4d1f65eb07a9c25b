"""The catalog of models: what a name means, where its files are, and which model `auto` is; never uses the network."""

import contextlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from huggingface_hub import constants

from bot.core.suggesting import nearest
from bot.core.wording import MAX_PATH, quote
from bot.engine.models.model_folder import ModelConfigFacts, check_model_folder
from bot.engine.models.weights_file import IncompleteModel
from bot.errors import ModelError

AUTO: Final = "auto"
SMOLLM2: Final = "smollm2-135m"
GPT2: Final = "gpt2"

# name -> ids on the Hugging Face hub that the cache may have its files under; the first is the one to download.
_HUB_IDS: Final[Mapping[str, tuple[str, ...]]] = {
    "gpt2": ("openai-community/gpt2", "gpt2"),
    "gpt2-medium": ("openai-community/gpt2-medium", "gpt2-medium"),
    "gpt2-large": ("openai-community/gpt2-large", "gpt2-large"),
    "gpt2-xl": ("openai-community/gpt2-xl", "gpt2-xl"),
    "openai-community/openai-gpt": ("openai-community/openai-gpt", "openai-gpt"),
}
KNOWN_NAMES: Final = (AUTO, *_HUB_IDS, SMOLLM2)
_HUB_ID: Final = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
_BARE_NAME: Final = re.compile(r"[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
_CHOICE_FILE: Final = "auto.json"


class ModelNotPulled(ModelError):
    """The model is known, but some of its files are not on this machine yet."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"The model {name} is not on this machine; download it with: python -m bot model pull {name}")


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """A model that can be loaded from `folder`; `reason` completes the sentence "Model: NAME, because …"."""

    name: str
    folder: Path
    reason: str

    @property
    def line(self) -> str:
        """Return the line that tells people which model was chosen and why."""
        return f"Model: {self.name}, because {self.reason}"


@dataclass(frozen=True, slots=True)
class ListedModel:
    """A row of the list: `facts` if the model is installed and works, `problem` if it is installed but does not."""

    name: str
    source: str
    folder: Path | None = None
    facts: ModelConfigFacts | None = None
    problem: str | None = None


def resolve_model(name: str, models_dir: Path) -> ModelChoice:
    """Return the installed model `name`, without using the network.

    Raises ModelError for a wrong name or a model that can't be used, ModelNotPulled if some of its files are missing.
    """
    if name == AUTO:
        return _resolve_auto(models_dir)
    check_name(name)
    return ModelChoice(name, _find_folder(name, models_dir), "MODEL asks for it")


def check_name(name: str) -> None:
    """Raise ModelError, with the nearest known name, if `name` can't be the name of a model."""
    if name in KNOWN_NAMES or is_folder_name(name) or _is_hub_id(name):
        return
    if _BARE_NAME.fullmatch(name) and _snapshot_of(name) is not None:
        return
    short_names = {known.rpartition("/")[2]: known for known in KNOWN_NAMES}
    suggestion = short_names.get(nearest(name, short_names) or "")
    shown = quote(name, MAX_PATH)
    if suggestion:
        raise ModelError(f"There is no model named {shown}; did you mean {suggestion}?")
    raise ModelError(
        f"There is no model named {shown}; choose one of {', '.join(KNOWN_NAMES)}, "
        "a Hugging Face id such as EleutherAI/pythia-160m, or a folder."
    )


def is_folder_name(name: str) -> bool:
    """Return whether `name` means a folder on disk: it looks like a path, or is a folder with a model in it."""
    if name in KNOWN_NAMES or not name or "\0" in name:
        return False
    looks_like_path = name.startswith((".", "~", "/", "\\")) or Path(name).is_absolute() or name.count("/") > 1
    try:
        return looks_like_path or (Path(name) / "config.json").is_file()
    except OSError:  # for example, the name is too long for a file
        return False


def hub_id(name: str) -> str:
    """Return the id on the Hugging Face hub that `name` stands for."""
    return _HUB_IDS[name][0] if name in _HUB_IDS else name


def smollm2_folder(models_dir: Path) -> Path:
    """Return the folder of the converted smollm2-135m."""
    return models_dir / SMOLLM2


def hub_cache_folder(repo_id: str) -> Path:
    """Return the folder of `repo_id` in the Hugging Face cache; it may not exist."""
    return Path(constants.HF_HUB_CACHE) / f"models--{repo_id.replace('/', '--')}"


def list_models(models_dir: Path) -> tuple[ListedModel, ...]:
    """Return the known models, installed or not, then every other model in the cache that works here."""
    known = []
    for name in KNOWN_NAMES[1:]:
        source = "package index" if name == SMOLLM2 else f"Hugging Face hub, {hub_id(name)}"
        try:
            folder = _find_folder(name, models_dir)
        except ModelNotPulled:
            known.append(ListedModel(name, source))
        except ModelError as e:
            known.append(ListedModel(name, source, problem=str(e)))
        else:
            known.append(ListedModel(name, source, folder, check_model_folder(folder)))
    return (*known, *_list_others())


def record_choice(choice: ModelChoice, models_dir: Path) -> None:
    """Record which model `auto` is, so that it stays the same. Raises ModelError if the folder can't be written."""
    record = {
        "name": choice.name,
        "reason": choice.reason,
        "decided_at_utc": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    path = models_dir / _CHOICE_FILE
    try:
        models_dir.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        partial.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        partial.replace(path)
    except OSError as e:
        raise ModelError(f"The choice of model can't be saved in {path}: {e.strerror or e}.") from e


def _resolve_auto(models_dir: Path) -> ModelChoice:
    recorded = _read_choice(models_dir)
    if recorded is not None:
        name, reason = recorded
        with contextlib.suppress(ModelError):
            return ModelChoice(name, _find_folder(name, models_dir), reason)
    try:
        choice = ModelChoice(GPT2, _find_folder(GPT2, models_dir), "it is in the Hugging Face cache")
    except ModelError as e:
        raise ModelNotPulled(AUTO) from e
    # If this can't be saved, the next start makes the same choice again.
    with contextlib.suppress(ModelError):
        record_choice(choice, models_dir)
    return choice


def _read_choice(models_dir: Path) -> tuple[str, str] | None:
    try:
        record = json.loads((models_dir / _CHOICE_FILE).read_bytes())
        name, reason = record["name"], record["reason"]
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return (name, reason) if name in (GPT2, SMOLLM2) and isinstance(reason, str) else None


def _find_folder(name: str, models_dir: Path) -> Path:
    """Return the checked folder of the model `name`, which is not `auto`. Raises ModelError, ModelNotPulled."""
    if is_folder_name(name):
        folder = _expanded(name)
        check_model_folder(folder)
        return folder
    if name == SMOLLM2:
        candidates = [smollm2_folder(models_dir)]
    else:
        snapshots = (_snapshot_of(repo_id) for repo_id in _HUB_IDS.get(name, (name,)))
        candidates = [snapshot for snapshot in snapshots if snapshot is not None]
    for folder in candidates:
        if folder.is_dir():
            with contextlib.suppress(IncompleteModel):
                check_model_folder(folder)
                return folder
    raise ModelNotPulled(name)


def _expanded(name: str) -> Path:
    try:
        return Path(name).expanduser().absolute()
    except RuntimeError as e:  # "~somebody" who does not exist
        raise ModelError(f"The model folder {name} does not exist.") from e


def _is_hub_id(name: str) -> bool:
    is_well_formed = _HUB_ID.fullmatch(name) is not None and len(name) <= 96
    return is_well_formed and "--" not in name and ".." not in name and not name.endswith((".git", "-", "."))


def _snapshot_of(repo_id: str) -> Path | None:
    """Return the folder in the cache that holds the main revision of `repo_id`, or None."""
    repo = hub_cache_folder(repo_id)
    try:
        commit = (repo / "refs" / "main").read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None
    snapshot = repo / "snapshots" / commit
    return snapshot if commit and snapshot.is_dir() else None


def _list_others() -> Iterator[ListedModel]:
    named = {repo_id for ids in _HUB_IDS.values() for repo_id in ids}
    for repo in sorted(Path(constants.HF_HUB_CACHE).glob("models--*")):
        repo_id = repo.name.removeprefix("models--").replace("--", "/")
        snapshot = None if repo_id in named else _snapshot_of(repo_id)
        if snapshot is not None:
            with contextlib.suppress(ModelError):
                yield ListedModel(repo_id, f"Hugging Face hub, {repo_id}", snapshot, check_model_folder(snapshot))

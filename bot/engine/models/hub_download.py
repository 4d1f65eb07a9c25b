"""Download of a model from the Hugging Face hub into the standard Hugging Face cache; used by the pull process only."""

import fnmatch
import hashlib
import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from filelock import FileLock
from huggingface_hub import HfApi, constants, hf_hub_download, hf_hub_url, snapshot_download
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError
from huggingface_hub.file_download import http_get
from huggingface_hub.hf_api import BlobLfsInfo, RepoSibling
from huggingface_hub.utils._headers import build_hf_headers

from bot.engine.models.catalog import hub_cache_folder, hub_id
from bot.engine.models.disk_space import require_space
from bot.engine.models.model_folder import INDEX_NAME, WEIGHTS_NAME, check_config, check_model_folder
from bot.engine.models.pull_progress import ProgressWriter
from bot.engine.models.weights_file import IncompleteModel
from bot.errors import ModelError

# Besides the weights, only these files are downloaded: no pickle files and no Python code.
_SMALL_FILES: Final = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
)
_SHARDS: Final = "model-*-of-*.safetensors"
# The packages that define the transport errors of the hub's client.
_HTTP_CLIENTS: Final = frozenset({"httpx", "httpx2", "httpcore", "httpcore2"})
_CONTACT_TIMEOUT_S: Final = 10.0
_CHUNK_BYTES: Final = 1 << 20
# The hub's client passes on 10 MB at a time: a slow connection then looks stalled, and a broken one loses that much.
constants.DOWNLOAD_CHUNK_SIZE = 1 << 16


def probe_hub() -> None:
    """Return once the hub has confirmed that it has GPT-2; else raise what the hub's client raises."""
    HfApi().model_info(hub_id("gpt2"), timeout=_CONTACT_TIMEOUT_S)


def fetch_from_hub(name: str, progress: ProgressWriter) -> Path:
    """Download the model `name` into the Hugging Face cache and return its folder there.

    An interrupted download resumes where it stopped. Raises ModelError, one sentence, before the weights are
    downloaded if the engine can't run the model; what the hub's client raises (see `explain_hub_error`); OSError.
    """
    repo_id = hub_id(name)
    progress.phase(f"Asking the Hugging Face hub for {repo_id}")
    info = HfApi().model_info(repo_id, files_metadata=True, timeout=_CONTACT_TIMEOUT_S)
    files = {file.rfilename: file for file in info.siblings or ()}
    weights = _choose_weights(repo_id, set(files))
    config_path = hf_hub_download(repo_id, "config.json", revision=info.sha)
    check_config(json.loads(Path(config_path).read_bytes()), source=repo_id)
    _fetch_large_files(repo_id, [files[name] for name in weights], str(info.sha), progress)
    wanted = [name for name in (*weights, *_SMALL_FILES) if name in files]
    progress.phase("Downloading the tokenizer and the configuration")
    snapshot = Path(snapshot_download(repo_id, allow_patterns=wanted, max_workers=2, tqdm_class=_counter(progress)))
    try:
        check_model_folder(snapshot)
    except IncompleteModel:
        progress.phase(f"Downloading {repo_id} again, because the local files are damaged")
        snapshot_download(repo_id, allow_patterns=wanted, force_download=True, tqdm_class=_counter(progress))
        check_model_folder(snapshot)
    return snapshot


def explain_hub_error(name: str, error: Exception) -> str | None:
    """Return one sentence for an error of the hub's client during the download of `name`; None for any other error."""
    if isinstance(error, GatedRepoError):
        return f"The model {name} is gated: accept its terms on the Hugging Face hub and set HF_TOKEN."
    if isinstance(error, RepositoryNotFoundError):
        return f"The Hugging Face hub has no model {hub_id(name)} that you can access; check the name."
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        advice = "try again later" if status >= 500 or status == 429 else "check the name and the network's proxy"
        return f"The Hugging Face hub answered {status} for {name}; {advice}."
    is_network = isinstance(error, ConnectionError | TimeoutError | LocalEntryNotFoundError)
    if not is_network and type(error).__module__.partition(".")[0] not in _HTTP_CLIENTS:
        return None
    detail = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
    return (
        f"The Hugging Face hub can't be reached, so {name} was not downloaded ({detail}); check the network, "
        "or use smollm2-135m, which comes from the package index."
    )


def _choose_weights(repo_id: str, names: set[str]) -> list[str]:
    if "config.json" not in names:
        raise ModelError(f"The repository {repo_id} contains no model: it has no config.json.")
    if WEIGHTS_NAME in names:
        return [WEIGHTS_NAME]
    shards = sorted(fnmatch.filter(names, _SHARDS))
    if INDEX_NAME in names and shards:
        return [INDEX_NAME, *shards]
    raise ModelError(
        f"The repository {repo_id} has no safetensors weights. Other formats (such as pickle) "
        "can run code when loaded; choose a model with safetensors weights."
    )


def _fetch_large_files(repo_id: str, files: Sequence[RepoSibling], commit: str, progress: ProgressWriter) -> None:
    blobs = hub_cache_folder(repo_id) / "blobs"
    blobs.mkdir(parents=True, exist_ok=True)
    missing = [file for file in files if file.lfs is not None and not (blobs / file.lfs.sha256).exists()]
    require_space(blobs, sum(file.size or 0 for file in missing), what=repo_id)
    for file in missing:
        if file.lfs is not None:
            _fetch_blob(repo_id, file.rfilename, file.lfs, commit, progress)


def _fetch_blob(repo_id: str, file_name: str, lfs: BlobLfsInfo, commit: str, progress: ProgressWriter) -> None:
    """Download one large file into the cache's blobs, which are named by SHA-256, resuming what an earlier call left.

    The hub's own client starts such a file from zero after a kill. File names and lock follow the cache's rules, so
    that any other client can use the file.
    """
    sha256, size = lfs.sha256, lfs.size
    blobs = hub_cache_folder(repo_id) / "blobs"
    locks = Path(constants.HF_HUB_CACHE) / ".locks" / hub_cache_folder(repo_id).name
    locks.mkdir(parents=True, exist_ok=True)
    partial = blobs / f"{sha256}.incomplete"
    with FileLock(locks / f"{sha256}.lock"):
        if (blobs / sha256).exists():
            return
        partial.touch()
        with partial.open("r+b") as target:
            num_here = target.seek(0, 2)
            if num_here > size:
                num_here = target.truncate(0)
                target.seek(0)
            progress.phase(f"Downloading {repo_id} ({file_name})", total=size)
            progress.advance(num_here)
            http_get(
                hf_hub_url(repo_id, file_name, revision=commit),
                target,
                resume_size=num_here,
                headers=build_hf_headers(),
                expected_size=size,
                tqdm_class=_counter(progress),
            )
        if _sha256(partial, size, progress) != sha256:
            partial.unlink()
            raise ModelError(f"The file {file_name} of {repo_id} arrived damaged and was deleted; pull again.")
        partial.replace(blobs / sha256)


def _sha256(path: Path, size: int, progress: ProgressWriter) -> str:
    progress.phase("Checking the download", total=size)
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            progress.advance(file.tell())
    return digest.hexdigest()


def _counter(progress: ProgressWriter) -> Any:
    """Return a class that the hub's client can use as its tqdm bar; it only reports the number of bytes received."""

    class ByteCounter:
        def __init__(self, *args: Any, total: int | None = None, initial: int = 0, **kwargs: Any) -> None:
            self.total = total
            self.n = initial
            self._iterable = args[0] if args else kwargs.get("iterable")

        def __iter__(self) -> Any:
            return iter(self._iterable or ())

        def __enter__(self) -> "ByteCounter":
            return self

        def __exit__(self, *_error: object) -> None:
            pass

        def __getattr__(self, _name: str) -> Any:
            return lambda *_args, **_kwargs: None  # methods that only draw

        def update(self, num: float | None = 1) -> None:
            self.n += int(num or 0)
            progress.advance(self.n)

        @classmethod
        def get_lock(cls) -> Any:
            return threading.RLock()

        @classmethod
        def set_lock(cls, _lock: Any) -> None:
            pass

    return ByteCounter

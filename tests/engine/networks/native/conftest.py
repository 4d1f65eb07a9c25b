"""Models for the native step, and a skip if this machine has no compiler."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from bot.engine.networks.native.building import NativeUnavailable, load_library
from bot.engine.networks.native.native_network import NativeNetwork


@pytest.fixture(scope="session")
def library_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the step as this account has it compiled; skips where there is no compiler for it."""
    folder = tmp_path_factory.mktemp("native-library")
    try:
        shutil.copy2(load_library()._name, folder)
    except NativeUnavailable as e:
        if "No C++ compiler" in str(e):
            pytest.skip(str(e))
        raise
    return folder


@pytest.fixture
def load(library_folder: Path) -> Iterator[Callable[..., NativeNetwork]]:
    """Return a function that loads a network; all are closed at the end."""
    torch.set_num_threads(1)
    opened: list[NativeNetwork] = []

    def load_network(folder: Path, precision: str = "float32", num_threads: int = 2) -> NativeNetwork:
        opened.append(
            NativeNetwork.load(
                folder,
                precision=precision,
                kv_cache_bytes=1 << 22,
                num_threads=num_threads,
                cache_folder=library_folder,
            )
        )
        return opened[-1]

    yield load_network
    for network in opened:
        network.close()

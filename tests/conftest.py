"""Fixtures for every test: tiny random models on disk, made once in a session."""

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function from a name (gpt2, llama, llama2, openai_gpt) to the folder of that tiny model."""
    import torch

    from tests import tiny_models

    torch.set_num_threads(1)
    folders: dict[str, Path] = {}

    def folder_of(name: str) -> Path:
        if name not in folders:
            folders[name] = getattr(tiny_models, f"make_tiny_{name}")(tmp_path_factory.mktemp(name))
        return folders[name]

    return folder_of


@pytest.fixture(scope="session")
def tiny_gpt2(tiny_model: Callable[[str], Path]) -> Path:
    """Return the folder of a tiny random GPT-2."""
    return tiny_model("gpt2")


@pytest.fixture(scope="session")
def tiny_llama(tiny_model: Callable[[str], Path]) -> Path:
    """Return the folder of a tiny random Llama with grouped-query attention and a chat template."""
    return tiny_model("llama")


@pytest.fixture(scope="session")
def tiny_llama2(tiny_model: Callable[[str], Path]) -> Path:
    """Return the folder of a tiny random Llama whose tokenizer has `▁` for spaces and puts `<s>` first."""
    return tiny_model("llama2")


@pytest.fixture(scope="session")
def tiny_openai_gpt(tiny_model: Callable[[str], Path]) -> Path:
    """Return the folder of a tiny random first GPT: no cache, no BOS, no EOS."""
    return tiny_model("openai_gpt")

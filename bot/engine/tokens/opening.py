"""Opening of a model's tokenizer; an error names the file, and the key or line in it."""

from pathlib import Path
from typing import Any

from jinja2 import TemplateError, TemplateSyntaxError
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from bot.engine.tokens.chat_markup import apply_template
from bot.errors import ModelError


def open_chat_tokenizer(folder: Path, name: str) -> Any:
    """Return the transformers tokenizer of the model in `folder`. Raises ModelError."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as e:
        raise _explain(e, folder) from e
    if getattr(tokenizer, "backend_tokenizer", None) is None:
        raise ModelError(f"The model {name} in {folder} has no tokenizer.json that Fewshot can read.")
    _check_chat_template(tokenizer, folder)
    return tokenizer


def _explain(error: Exception, folder: Path) -> ModelError:
    """Return the error of the file that is at fault."""
    path = folder / "tokenizer.json"
    if not path.exists():
        files = f"{folder / 'vocab.json'} and {folder / 'merges.txt'}"
        return ModelError(f"The files {files} are not a tokenizer: {_first_line(error)}")
    try:
        Tokenizer.from_file(str(path))
    except Exception as e:  # the library has no class of its own for this
        return ModelError(f"The file {path} is not a tokenizer: {_first_line(e)}")
    return ModelError(f"The tokenizer in {folder} can't be opened with its tokenizer_config.json: {_first_line(error)}")


def _check_chat_template(tokenizer: Any, folder: Path) -> None:
    if not getattr(tokenizer, "chat_template", None):
        return
    try:
        apply_template(tokenizer, [("user", "a")])
    except TemplateSyntaxError as e:
        path = folder / "chat_template.jinja"
        where = f"The file {path}" if path.exists() else f"The chat_template in {folder / 'tokenizer_config.json'}"
        raise ModelError(f"{where} has an error in line {e.lineno}: {e.message}") from e
    except (TemplateError, ValueError):
        pass  # it may refuse such a conversation, and yet take others


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]

"""The JSON files of a model's folder: that each can be read, and that the keys in use have values of the right type."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from bot.core.wording import MAX_PATH, shorten
from bot.engine.models.weights_file import IncompleteModel
from bot.errors import ModelError

_MAX_JSON_BYTES: Final = 50_000_000


class Kind(NamedTuple):
    """What a key's value may be: `name` completes "which is not …"."""

    name: str
    takes: Callable[[Any], bool]


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_ids(value: Any) -> bool:
    return value is None or _is_int(value) or (isinstance(value, list) and all(map(_is_int, value)))


def _is_token(value: Any) -> bool:
    """Return whether it is a token as transformers writes it: its text, or an object with the text as content."""
    return isinstance(value, str) or (isinstance(value, dict) and isinstance(value.get("content"), str))


def _are_tokens(value: Any) -> bool:
    values = value.values() if isinstance(value, dict) else value
    return value is None or (isinstance(value, list | dict) and all(map(_is_token, values)))


def _is_chat_template(value: Any) -> bool:
    if not isinstance(value, list):
        return value is None or isinstance(value, str | dict)
    return all(isinstance(one, dict) and {type(one.get("name")), type(one.get("template"))} == {str} for one in value)


def _are_added_tokens(value: Any) -> bool:
    return isinstance(value, dict) and all(key.isdecimal() and _is_token(token) for key, token in value.items())


_COUNT: Final = Kind("a whole number above 0", lambda value: _is_int(value) and value > 0)
_COUNT_OR_NULL: Final = Kind(_COUNT.name, lambda value: value is None or _COUNT.takes(value))
_NUMBER: Final = Kind("a number", _is_number)
_SIDE: Final = Kind("left or right", lambda value: value in ("left", "right"))
_FLAG: Final = Kind("true or false", lambda value: isinstance(value, bool))
_OBJECT_OR_NULL: Final = Kind("an object", lambda value: value is None or isinstance(value, dict))
_TEXT_OR_NULL: Final = Kind("a text", lambda value: value is None or isinstance(value, str))
_IDS: Final = Kind("a token's number or a list of them", _is_ids)
_TOKEN: Final = Kind("a token", lambda value: value is None or _is_token(value))
_TOKENS: Final = Kind("a list of tokens", _are_tokens)

_TOKEN_IDS: Final[Mapping[str, Kind]] = {f"{role}_token_id": _IDS for role in ("bos", "eos", "pad")}
_SPECIAL_TOKENS: Final[Mapping[str, Kind]] = {
    **{f"{role}_token": _TOKEN for role in ("bos", "eos", "unk", "pad", "sep", "cls", "mask")},
    "additional_special_tokens": _TOKENS,
    "extra_special_tokens": _TOKENS,
}
_KEYS: Final[Mapping[str, Mapping[str, Kind]]] = {
    "config.json": {
        **dict.fromkeys(("vocab_size", "n_layer", "n_head", "n_embd", "hidden_size", "intermediate_size"), _COUNT),
        **dict.fromkeys(("num_hidden_layers", "num_attention_heads"), _COUNT),
        **dict.fromkeys(("n_inner", "head_dim", "num_key_value_heads"), _COUNT_OR_NULL),
        **dict.fromkeys(("layer_norm_epsilon", "layer_norm_eps", "rms_norm_eps", "rope_theta"), _NUMBER),
        **dict.fromkeys(("tie_word_embeddings", "use_cache", "attention_bias", "mlp_bias"), _FLAG),
        **dict.fromkeys(("rope_parameters", "rope_scaling"), _OBJECT_OR_NULL),
        **dict.fromkeys(("hidden_act", "activation_function", "afn"), _TEXT_OR_NULL),
        **_TOKEN_IDS,
    },
    "generation_config.json": _TOKEN_IDS,
    "tokenizer_config.json": {
        **_SPECIAL_TOKENS,
        "added_tokens_decoder": Kind("an object of numbered tokens", _are_added_tokens),
        "chat_template": Kind("a template", _is_chat_template),
        "tokenizer_class": _TEXT_OR_NULL,
        "model_max_length": Kind(_NUMBER.name, lambda value: value is None or _is_number(value)),
        "padding_side": _SIDE,
        "truncation_side": _SIDE,
    },
    "special_tokens_map.json": _SPECIAL_TOKENS,
    "added_tokens.json": {},
    "tokenizer.json": {
        "model": Kind("an object", lambda value: isinstance(value, dict)),
        "added_tokens": Kind("a list of tokens", lambda value: isinstance(value, list) and all(map(_is_token, value))),
    },
}


def check_small_files(folder: Path) -> None:
    """Raise ModelError, one sentence with the file and the key, if a file in `folder` can't be what it should be.

    Files that are missing are left to others.
    """
    for name, kinds in _KEYS.items():
        path = folder / name
        if not path.exists():
            continue
        content = read_object(path)
        for key, kind in kinds.items():
            if key in content and not kind.takes(content[key]):
                raise ModelError(f"The file {path} has {key}={shown(content[key])}, which is not {kind.name}.")
    if (folder / "added_tokens.json").exists():
        check_numbers(folder / "added_tokens.json")
    template = folder / "chat_template.jinja"
    if template.exists():
        try:
            template.read_text(encoding="utf-8")
        except UnicodeDecodeError as e:
            line = template.read_bytes()[: e.start].count(b"\n") + 1
            raise ModelError(f"The file {template} is not UTF-8 text (line {line}).") from e


def check_numbers(path: Path) -> None:
    """Raise ModelError if the file at `path` is no JSON object of tokens and their numbers."""
    for token, number in read_object(path).items():
        if not _is_int(number):
            raise ModelError(f"The file {path} has {shown(token)}={shown(number)}, which is not a whole number.")


def read_object(path: Path) -> dict[str, Any]:
    """Return the JSON object in the file at `path`. Raises ModelError, IncompleteModel."""
    content = read_json(path)
    if not isinstance(content, dict):
        raise IncompleteModel(f"The file {path} is not a JSON object.")
    return content


def read_json(path: Path) -> Any:
    """Return what the JSON file at `path` holds. Raises ModelError; IncompleteModel if it is damaged."""
    try:
        if path.stat().st_size > _MAX_JSON_BYTES:
            raise ModelError(f"The file {path} is too large for a file of that name.")
        content = path.read_bytes()
        if not content.strip():
            raise IncompleteModel(f"The file {path} is empty.")
        return json.loads(content)
    except OSError as e:
        raise ModelError(f"The file {path} can't be read: {e.strerror or e}.") from e
    except json.JSONDecodeError as e:
        raise IncompleteModel(f"The file {path} is not valid JSON (line {e.lineno}).") from e
    except (ValueError, RecursionError) as e:
        raise IncompleteModel(f"The file {path} is not valid JSON.") from e


def shown(value: object) -> str:
    """Return a value of a file, cut to a readable length."""
    return shorten(str(value), MAX_PATH)

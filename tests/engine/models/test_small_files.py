"""Every file of a model's folder, missing, empty, broken or with a value of the wrong type: one sentence names it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bot.engine.loading import load_model
from bot.errors import ModelError

INDEX = "model.safetensors.index.json"
WEIGHTS = "model.safetensors"
Change = Callable[[Path], object]


@pytest.fixture
def folder(tiny_llama: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_llama, tmp_path / "model"))


def write(name: str, content: bytes) -> Change:
    def change(folder: Path) -> None:
        if name == INDEX:
            (folder / WEIGHTS).unlink()
        if name in ("vocab.json", "merges.txt"):  # they are read only where there is no tokenizer.json
            split_tokenizer(folder)
        (folder / name).write_bytes(content)

    return change


def split_tokenizer(folder: Path) -> None:
    """Write the tokenizer as GPT-2 has it, in two files."""
    model = json.loads((folder / "tokenizer.json").read_text())["model"]
    (folder / "vocab.json").write_text(json.dumps(model["vocab"]))
    merges = (merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"])
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]))
    (folder / "tokenizer.json").unlink()
    config = folder / "tokenizer_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "tokenizer_class": "GPT2Tokenizer"}))


def set_key(name: str, key: str, value: object) -> Change:
    def change(folder: Path) -> None:
        path = folder / name
        content = json.loads(path.read_text()) if path.exists() else {}
        write(name, json.dumps({**content, key: value}).encode())(folder)

    return change


def remove(name: str) -> Change:
    def change(folder: Path) -> None:
        if name in ("vocab.json", "merges.txt"):
            split_tokenizer(folder)
        (folder / name).unlink(missing_ok=True)

    return change


FILES = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    INDEX,
    "vocab.json",
)
# What a wrong value of a key is called; the sentence also has the file, the key and the value.
WRONG: list[tuple[str, str, Any, str]] = [
    *(("config.json", key, "x", "which is not a whole number above 0") for key in ("vocab_size", "hidden_size")),
    ("config.json", "num_hidden_layers", None, "which is not a whole number above 0"),
    ("config.json", "num_attention_heads", 0, "which is not a whole number above 0"),
    ("config.json", "num_key_value_heads", 1.5, "which is not a whole number above 0"),
    ("config.json", "rms_norm_eps", "x", "which is not a number"),
    ("config.json", "hidden_act", 3, "which is not a text"),
    ("config.json", "hidden_act", "nope", "which is not supported"),
    ("config.json", "rope_parameters", [], "which is not an object"),
    ("config.json", "tie_word_embeddings", "x", "which is not true or false"),
    *(
        (name, "eos_token_id", value, "which is not a token's number or a list of them")
        for name in ("config.json", "generation_config.json")
        for value in ("x", [1, "x"], {})
    ),
    *(
        (name, "bos_token", value, "which is not a token")
        for name in ("tokenizer_config.json", "special_tokens_map.json")
        for value in (3, {"a": 1}, [])
    ),
    ("special_tokens_map.json", "additional_special_tokens", "x", "which is not a list of tokens"),
    ("tokenizer_config.json", "extra_special_tokens", 3, "which is not a list of tokens"),
    ("tokenizer_config.json", "chat_template", 5, "which is not a template"),
    ("tokenizer_config.json", "chat_template", [{"name": "default"}], "which is not a template"),
    ("tokenizer_config.json", "tokenizer_class", 5, "which is not a text"),
    ("tokenizer_config.json", "model_max_length", "long", "which is not a number"),
    ("tokenizer_config.json", "padding_side", "up", "which is not left or right"),
    ("tokenizer_config.json", "added_tokens_decoder", {"x": {}}, "which is not an object of numbered tokens"),
    ("tokenizer.json", "model", 3, "which is not an object"),
    ("tokenizer.json", "added_tokens", [3], "which is not a list of tokens"),
    ("added_tokens.json", "wug", "x", "which is not a whole number"),
    ("vocab.json", "wug", "x", "which is not a whole number"),
]
MISSING = {
    "config.json": "The folder {folder} contains no model: it has no config.json.",
    "tokenizer.json": "The folder {folder} has no tokenizer: tokenizer.json is missing.",
    WEIGHTS: "The folder {folder} has no weights: model.safetensors is missing.",
    "vocab.json": "The folder {folder} has no tokenizer: tokenizer.json is missing.",
    "merges.txt": "The folder {folder} has no tokenizer: tokenizer.json is missing.",
}
OTHERS: dict[str, tuple[Change, str]] = {
    "a part of tokenizer.json": (
        set_key("tokenizer.json", "pre_tokenizer", 3),
        "The file {folder}/tokenizer.json is not a tokenizer: data did not match any variant of untagged enum "
        "PreTokenizerUntagged at line 1 column ",
    ),
    "merges.txt": (
        write("merges.txt", b"{ not merges"),
        "The files {folder}/vocab.json and {folder}/merges.txt are not a tokenizer: ",
    ),
    "another key of config.json": (
        set_key("config.json", "initializer_range", "x"),
        "The file {folder}/config.json can't be used: Validation error for field 'initializer_range'",
    ),
    "no weight_map": (write(INDEX, b"{}"), f"The file {{folder}}/{INDEX} does not list the weights."),
    "weight_map a number": (set_key(INDEX, "weight_map", 3), f"The file {{folder}}/{INDEX} does not list the weights."),
    "a shard's name a number": (
        set_key(INDEX, "weight_map", {"model.norm.weight": 3}),
        f"The file {{folder}}/{INDEX} has model.norm.weight=3 in weight_map, which is not a file's name.",
    ),
    "chat_template.jinja": (
        write("chat_template.jinja", b"{% for m in messages %}\n{% endif %}"),
        "The file {folder}/chat_template.jinja has an error in line 2: Encountered unknown tag 'endif'.",
    ),
    "chat_template.jinja not UTF-8": (
        write("chat_template.jinja", b"Hello\n\xff"),
        "The file {folder}/chat_template.jinja is not UTF-8 text (line 2).",
    ),
    "chat_template in tokenizer_config.json": (
        lambda folder: [remove("chat_template.jinja")(folder), set_template(folder)],
        "The chat_template in {folder}/tokenizer_config.json has an error in line 1: ",
    ),
}


def set_template(folder: Path) -> None:
    set_key("tokenizer_config.json", "chat_template", "{% for")(folder)


def sentence_of(folder: Path) -> str | None:
    """Return the sentence with which loading fails, None if it does not."""
    try:
        load_model(folder, name="tiny", device="cpu", precision="float32", num_threads=1).close()
    except ModelError as e:
        return str(e)
    return None


@pytest.mark.parametrize("name", [*FILES, WEIGHTS, "merges.txt", "chat_template.jinja"])
def test_a_missing_file_is_named_if_the_model_needs_it(name: str, folder: Path) -> None:
    remove(name)(folder)
    expected = MISSING.get(name)
    assert sentence_of(folder) == (expected and expected.format(folder=folder))


@pytest.mark.parametrize("name", FILES)
def test_an_empty_file_is_named(name: str, folder: Path) -> None:
    write(name, b"\n")(folder)
    assert sentence_of(folder) == f"The file {folder / name} is empty."


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_not_json_is_named_with_the_line(name: str, folder: Path) -> None:
    write(name, b'{\n"a": 3,\n oops')(folder)
    assert sentence_of(folder) == f"The file {folder / name} is not valid JSON (line 3)."


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_not_an_object_is_named(name: str, folder: Path) -> None:
    write(name, b"[]")(folder)
    assert str(sentence_of(folder)).startswith(f"The file {folder / name} ")


@pytest.mark.parametrize(("name", "key", "value", "what"), WRONG)
def test_a_value_of_the_wrong_type_is_named_with_file_and_key(
    name: str, key: str, value: object, what: str, folder: Path
) -> None:
    set_key(name, key, value)(folder)
    assert sentence_of(folder) == f"The file {folder / name} has {key}={value}, {what}."


@pytest.mark.parametrize("case", OTHERS)
def test_what_is_wrong_inside_a_file_is_named_with_its_place(case: str, folder: Path) -> None:
    change, sentence = OTHERS[case]
    change(folder)
    assert str(sentence_of(folder)).startswith(sentence.format(folder=folder))


def test_files_that_hold_nothing_unusual_load(folder: Path) -> None:
    write("special_tokens_map.json", b'{"bos_token": {"content": "<|im_start|>"}, "sep_token": null}')(folder)
    set_key("generation_config.json", "eos_token_id", [2, 1])(folder)
    write("chat_template.jinja", b"")(folder)
    assert sentence_of(folder) is None


def test_a_tokenizer_in_two_files_loads(folder: Path) -> None:
    split_tokenizer(folder)
    assert sentence_of(folder) is None

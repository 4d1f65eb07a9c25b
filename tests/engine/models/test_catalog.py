"""Names of models: what they mean, which are refused, and what `auto` remembers."""

import json
import shutil
from pathlib import Path

import pytest
from huggingface_hub import constants

from bot.engine.models.catalog import (
    ModelChoice,
    ModelNotPulled,
    hub_cache_folder,
    list_models,
    record_choice,
    resolve_model,
)
from bot.errors import ModelError

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    return tmp_path / "models"


def put_into_cache(repo_id: str, model: Path) -> Path:
    repo = hub_cache_folder(repo_id)
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text(COMMIT)
    return Path(shutil.copytree(model, repo / "snapshots" / COMMIT))


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("gtp2", "There is no model named 'gtp2'; did you mean gpt2?"),
        ("GPT2", "There is no model named 'GPT2'; did you mean gpt2?"),
        ("gpt2-larg", "There is no model named 'gpt2-larg'; did you mean gpt2-large?"),
        ("smollm", "There is no model named 'smollm'; did you mean smollm2-135m?"),
        ("openai-gpt", "There is no model named 'openai-gpt'; did you mean openai-community/openai-gpt?"),
        ("", "There is no model named ''; choose one of auto, gpt2,"),
        ("x y", "There is no model named 'x y'; choose one of"),
        ("org/../../etc", "The model folder "),
        ("org/na--me", "There is no model named 'org/na--me'; choose one of"),
        ("org/name.git", "There is no model named 'org/name.git'; choose one of"),
        ("a\0b", "There is no model named 'a\\x00b'; choose one of"),
        pytest.param("z" * 10_000, f"There is no model named '{'z' * 60}…'; choose one of", id="a very long name"),
        ("./nowhere", "The model folder "),
        ("~nobody-has-this-name/x", "The model folder ~nobody-has-this-name/x does not exist."),
    ],
)
def test_a_wrong_name_gets_one_sentence_with_the_nearest_known_one(name: str, sentence: str, models_dir: Path) -> None:
    with pytest.raises(ModelError) as caught:
        resolve_model(name, models_dir)
    assert str(caught.value).startswith(sentence)
    assert not isinstance(caught.value, ModelNotPulled)


@pytest.mark.parametrize(
    "name", ["auto", "gpt2", "gpt2-xl", "openai-community/openai-gpt", "some/model", "smollm2-135m"]
)
def test_a_model_that_is_not_here_says_how_to_fetch_it(name: str, models_dir: Path) -> None:
    with pytest.raises(ModelNotPulled, match=f"python -m bot model pull {name}$"):
        resolve_model(name, models_dir)


def test_a_local_folder_is_a_name(tiny_gpt2: Path, models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve_model(str(tiny_gpt2), models_dir).folder == tiny_gpt2
    monkeypatch.chdir(tiny_gpt2.parent)
    assert resolve_model(f"./{tiny_gpt2.name}", models_dir).folder == tiny_gpt2
    assert resolve_model(tiny_gpt2.name, models_dir).folder == tiny_gpt2


@pytest.mark.parametrize("repo_id", ["openai-community/gpt2", "gpt2"])
def test_a_model_that_somebody_already_has_is_found(repo_id: str, tiny_gpt2: Path, models_dir: Path) -> None:
    snapshot = put_into_cache(repo_id, tiny_gpt2)
    assert resolve_model("gpt2", models_dir).folder == snapshot


def test_a_cached_model_without_its_weights_is_not_pulled(tiny_gpt2: Path, models_dir: Path) -> None:
    snapshot = put_into_cache("openai-community/gpt2", tiny_gpt2)
    (snapshot / "model.safetensors").rename(snapshot / "pytorch_model.bin")
    with pytest.raises(ModelNotPulled):
        resolve_model("gpt2", models_dir)


def test_auto_is_gpt2_where_that_is_in_the_cache_and_says_so(tiny_gpt2: Path, models_dir: Path) -> None:
    put_into_cache("openai-community/gpt2", tiny_gpt2)
    choice = resolve_model("auto", models_dir)
    assert choice.line == "Model: gpt2, because it is in the Hugging Face cache"
    record = json.loads((models_dir / "auto.json").read_text())
    assert (record["name"], record["reason"]) == ("gpt2", "it is in the Hugging Face cache")
    assert record["decided_at_utc"].endswith("+00:00")


def test_auto_stays_what_it_was_decided_to_be(tiny_gpt2: Path, tiny_llama: Path, models_dir: Path) -> None:
    shutil.copytree(tiny_llama, models_dir / "smollm2-135m")
    record_choice(ModelChoice("smollm2-135m", models_dir, "the hub was away"), models_dir)
    put_into_cache("openai-community/gpt2", tiny_gpt2)
    assert resolve_model("auto", models_dir).line == "Model: smollm2-135m, because the hub was away"


def test_auto_is_decided_again_when_its_model_has_vanished(tiny_gpt2: Path, models_dir: Path) -> None:
    record_choice(ModelChoice("smollm2-135m", models_dir, "the hub was away"), models_dir)
    with pytest.raises(ModelNotPulled):
        resolve_model("auto", models_dir)
    put_into_cache("openai-community/gpt2", tiny_gpt2)
    assert resolve_model("auto", models_dir).name == "gpt2"


@pytest.mark.parametrize("content", [b"", b"[]", b'{"name": "gpt2"}', b'{"name": "../../x", "reason": ""}', b"\xff"])
def test_a_damaged_record_of_the_choice_is_as_good_as_none(content: bytes, tiny_gpt2: Path, models_dir: Path) -> None:
    models_dir.mkdir()
    (models_dir / "auto.json").write_bytes(content)
    put_into_cache("openai-community/gpt2", tiny_gpt2)
    assert resolve_model("auto", models_dir).name == "gpt2"


def test_auto_works_where_nothing_can_be_recorded(tiny_gpt2: Path, tmp_path: Path) -> None:
    put_into_cache("openai-community/gpt2", tiny_gpt2)
    (tmp_path / "file").touch()
    assert resolve_model("auto", tmp_path / "file" / "models").name == "gpt2"


def test_the_list_shows_what_is_installed_and_what_else_would_work(tiny_gpt2: Path, models_dir: Path) -> None:
    put_into_cache("openai-community/gpt2", tiny_gpt2)
    put_into_cache("somebody/tiny", tiny_gpt2)
    (put_into_cache("somebody/broken", tiny_gpt2) / "config.json").unlink()
    listed = {model.name: model for model in list_models(models_dir)}
    assert list(listed) == [
        *("gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl", "openai-community/openai-gpt", "smollm2-135m"),
        "somebody/tiny",
    ]
    assert {name for name, model in listed.items() if model.facts} == {"gpt2", "somebody/tiny"}
    size = (tiny_gpt2 / "model.safetensors").stat().st_size
    assert listed["gpt2"].facts is not None
    assert listed["gpt2"].facts.num_bytes == size

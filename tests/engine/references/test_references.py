"""Reference texts: what a model makes of texts of known kinds, measured once and kept."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from bot.core.results import ReferenceFigure
from bot.engine.engine import LocalEngine
from bot.engine.loading import measure_model
from bot.engine.references.measuring import read_texts
from bot.engine.references.record import RECORD, read_references, write_references

MODEL = os.environ.get("FEWSHOT_TEST_MODEL", "")


def measure(folder: Path, models_dir: Path) -> None:
    measure_model(
        folder,
        name="tiny",
        device="cpu",
        precision="float32",
        num_threads=1,
        models_dir=models_dir,
        tell=lambda _: None,
    )


def test_there_are_texts_of_each_kind() -> None:
    texts = read_texts()
    assert list(texts) == ["news", "everyday chat", "code", "German", "French", "Spanish", "shuffled words"]
    assert all(len(one) > 80 for found in texts.values() for one in found)
    originals = (texts["news"][0], texts["everyday chat"][0], texts["news"][2])
    for original, shuffled in zip(originals, texts["shuffled words"], strict=True):
        assert sorted(original.split()) == sorted(shuffled.split())


def test_a_model_that_only_guesses_has_none_and_is_not_read_again(
    tiny_model: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny_model("gpt2")
    measure(folder, tmp_path)
    assert read_references(folder, tmp_path) == ()
    monkeypatch.setattr("bot.engine.references.measuring._measure", None)
    measure(folder, tmp_path)


async def test_what_was_recorded_is_told_by_the_engine(tiny_model: Callable[[str], Path], tmp_path: Path) -> None:
    folder = tiny_model("llama")
    figures = (ReferenceFigure("news", 20.5), ReferenceFigure("code", 7.25))
    write_references(folder, tmp_path, figures)
    async with LocalEngine.open(folder, name="tiny", device="cpu", num_threads=1, models_dir=tmp_path) as engine:
        assert engine.info.references == figures


@pytest.mark.parametrize("rows", ['[["news"]]', '[{"kind": "news", "perplexity": NaN}]', '"x"', '[{"kind": 5}]'])
def test_a_broken_record_is_none(
    tiny_model: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: str
) -> None:
    folder = tiny_model("openai_gpt")
    write_references(folder, tmp_path, ())
    (record,) = (tmp_path / "references").iterdir()
    text = record.read_text()
    record.write_text(text.replace('"figures": []', f'"figures": {rows}'))
    monkeypatch.setattr(RECORD, "_measured_here", {})
    assert read_references(folder, tmp_path) is None


@pytest.mark.real_model
@pytest.mark.skipif(not MODEL, reason="FEWSHOT_TEST_MODEL names no folder of smollm2-135m; make oracle does")
def test_a_real_model_finds_news_more_probable_than_shuffled_words(tmp_path: Path) -> None:
    measure(Path(MODEL), tmp_path)
    figures = {one.kind: one.perplexity for one in read_references(Path(MODEL), tmp_path) or ()}
    assert figures["news"] < figures["everyday chat"] < figures["shuffled words"]
    assert figures["news"] < figures["German"] < figures["shuffled words"]

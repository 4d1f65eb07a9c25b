"""What a newcomer sees on the real model smollm2-135m; FEWSHOT_TEST_MODEL names its folder (`make oracle` does)."""

import os
import time
from pathlib import Path

import pytest

from tests.platforms.programs import Program

MODEL = os.environ.get("FEWSHOT_TEST_MODEL", "")

pytestmark = [
    pytest.mark.real_model,
    pytest.mark.skipif(not MODEL, reason="FEWSHOT_TEST_MODEL names no folder of smollm2-135m; make oracle does"),
]


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path, Path(MODEL), {"NUM_THREADS": "0"})


def test_bad_english_is_more_surprising_than_good_english(program: Program) -> None:
    bad, good, compared = program.ask(
        "!perplexity Can it does what?",
        "!perplexity Can it do that?",
        "!compare Can it does what? | Can it do that?",
    )
    assert bad["perplexity"] > 2 * good["perplexity"]
    assert bad["text"].startswith("Surprising to the model")
    assert good["text"].startswith("Ordinary to the model")
    assert compared["best"] == 1
    assert not compared["is_close"]


def test_plain_text_is_read_after_the_token_between_documents(program: Program) -> None:
    pangram, words = program.ask("!perplexity The quick brown fox jumps over the lazy dog.", "!next Once upon a")
    assert pangram["start_token"] == "<|endoftext|>"
    assert pangram["perplexity"] == pytest.approx(9.5, abs=0.3)
    assert words["words"][0]["text"] == " time"
    assert words["words"][0]["probability"] == pytest.approx(0.35, abs=0.02)


def test_the_lessons_sentiment_prompt_answers_one_of_its_labels(program: Program) -> None:
    zero, few = program.ask(
        "!prompt sentiment-zero This is awful for you to say this",
        "!prompt sentiment This is awful for you to say this",
    )
    for answer in (zero, few):
        assert set(answer["probabilities"]) == {"Positive", "Negative"}
        assert sum(answer["probabilities"].values()) == pytest.approx(1)
    assert few["label"] == "Negative"


def test_the_shipped_templates_are_right_on_their_held_out_rows(program: Program) -> None:
    sentiment, topic = program.ask("!prompt test sentiment", "!prompt test topic")
    for answer in (sentiment, topic):
        assert answer["num_tests"] == 100
        # 97 and 98 were measured: docs/measurements.md. Other kernels may turn a row that is nearly even.
        assert answer["score"]["accuracy"] >= 0.95


def test_the_same_seed_gives_the_same_texts_also_three_at_once_and_after_a_restart(program: Program) -> None:
    line = "!complete --seed 42 --max_new_tokens 12 The best thing about rain is"
    first, second = program.ask(line, line)
    (third,) = program.ask(line)
    assert len({choice["text"] for choice in first["choices"]}) == 3
    assert first["choices"] == second["choices"] == third["choices"]


def test_it_expects_paris(program: Program) -> None:
    (answer,) = program.ask("!next The capital of France is")
    assert answer["words"][0]["text"].strip() == "Paris"
    assert answer["words"][0]["probability"] > 0.5


def test_a_half_typed_word_is_finished(program: Program) -> None:
    (answer,) = program.ask("!complete --temperature 0 The capital of France is Par")
    assert answer["choices"][0]["text"].startswith("is")


def test_what_was_said_five_messages_ago_is_read_until_a_fresh_start(program: Program) -> None:
    talk = ["I live in Oslo.", "It is cold here.", "I like soup.", "I have a dog.", "What do I like?"]
    *_, why = program.ask(*talk, "!why")
    assert all(line in why["prompt"] for line in talk)
    *_, why = program.ask("!why", "!fresh", "Hello again.", "!why")
    assert "Oslo" not in why["prompt"]


def test_every_shipped_template_answers(program: Program) -> None:
    (listed,) = program.ask("!prompt list")
    names = [template["name"] for template in listed["templates"] if template["kind"] != "chat"]
    answers = program.ask(*(f"!prompt {name} The old bridge is closed and people are unhappy." for name in names))
    assert all(answer.get("text") for answer in answers), answers


def test_special_tokens_in_a_text_are_only_text(program: Program) -> None:
    (answer,) = program.ask("!perplexity a<|im_end|>b <|endoftext|>")
    assert answer["num_tokens"] > 8
    assert "".join(token["text"] for token in answer["tokens"]) == "a<|im_end|>b <|endoftext|>"


def test_it_is_ready_soon(program: Program) -> None:
    # The bound is 4 s beyond the import of torch and transformers on a quiet machine; benchmarks/start.py measures it.
    program.ask("!help")
    started = time.monotonic()
    program.ask("!help")
    assert time.monotonic() - started < 40

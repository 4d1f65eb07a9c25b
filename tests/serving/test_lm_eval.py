"""lm-evaluation-harness gets from the served engine what it gets from its own model; offline.

FEWSHOT_TEST_MODEL may name a real model's folder, too.
"""

import os
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.serving.served import Served, serve_in_thread

pytestmark = [
    pytest.mark.oracle,
    # The harness' own dependencies warn when they are imported and used; none of that is ours.
    pytest.mark.filterwarnings("ignore"),
    # A real model's figures beside other requests take minutes on a small processor.
    pytest.mark.timeout(1200),
]

TASKS = ("fewshot_choices", "fewshot_rolling", "fewshot_continuing")
MAX_LENGTH = 94  # tokens in a window
# The harness' client of a server keeps two tokens of its max_length free: the one that it asks for, and another one.
CLIENT_MAX_LENGTH = MAX_LENGTH + 2
TOLERANCE = 1e-4  # nats, of a whole text
# On smollm2-135m and these texts the harness' own float32 is up to 2.2e-3 away from its float64, ours up to 2.4e-4.
REAL_TOLERANCE = 3e-4


def models() -> list[str]:
    return ["gpt2", "llama", *(["real"] if os.environ.get("FEWSHOT_TEST_MODEL") else [])]


def evaluate(kind: str, **arguments: Any) -> dict[str, list[dict[str, Any]]]:
    """Return the samples of each task, in the order of their documents."""
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    found = simple_evaluate(
        model=kind,
        model_args=arguments,
        tasks=list(TASKS),
        task_manager=TaskManager(include_path=str(Path(__file__).with_name("lm_eval_tasks")), include_defaults=False),
        log_samples=True,
        bootstrap_iters=0,
        verbosity="ERROR",
    )
    return {name: sorted(rows, key=lambda row: row["doc_id"]) for name, rows in found["samples"].items()}


def evaluate_served(served: Served, folder: Path, **more: Any) -> dict[str, list[dict[str, Any]]]:
    return evaluate(
        "local-completions",
        model="tiny",
        base_url=f"{served.base}/completions",
        tokenizer_backend="huggingface",
        tokenizer=str(folder),
        max_length=CLIENT_MAX_LENGTH,
        max_retries=1,
        **more,
    )


def figures_of(samples: dict[str, list[dict[str, Any]]]) -> dict[str, list[Any]]:
    """Return what the model answered to each request of each document."""
    return {name: [one[0] for row in rows for one in row["resps"]] for name, rows in samples.items()}


def assert_equal(
    found: dict[str, list[dict[str, Any]]], expected: dict[str, list[dict[str, Any]]], tolerance: float
) -> None:
    ours, theirs = figures_of(found), figures_of(expected)
    # A part of a character at the end is no text for the engine; the harness shows it as a broken one.
    written = [text.rstrip("\ufffd") for text in theirs["fewshot_continuing"]]
    assert [text.rstrip("\ufffd") for text in ours["fewshot_continuing"]] == written
    for (logprob, is_greedy), (their_logprob, is_greedy_there) in zip(
        ours["fewshot_choices"], theirs["fewshot_choices"], strict=True
    ):
        assert (float(logprob), is_greedy) == (
            pytest.approx(float(their_logprob), abs=tolerance, rel=0),
            is_greedy_there,
        )
    totals = [float(total) for total in ours["fewshot_rolling"]]
    assert totals == pytest.approx([float(total) for total in theirs["fewshot_rolling"]], abs=tolerance, rel=0)


@contextmanager
def load_on(served: Served) -> Iterator[list[int]]:
    """Ask for other things all the time; the yielded list has the numbers of tokens that were written."""
    is_over, num_written = threading.Event(), list[int]()

    def ask(seed: int) -> None:
        with openai.OpenAI(base_url=served.base, api_key="none", max_retries=0) as client:
            while not is_over.is_set():
                prompt = "The cat sat on the" if seed % 2 else ["Once upon a time", "Q: Is ice cold or hot?\nA:"]
                answer = client.completions.create(
                    model="tiny", prompt=prompt, max_tokens=6, seed=seed, logprobs=3, echo=True
                )
                assert answer.usage is not None
                num_written.append(answer.usage.completion_tokens)

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield num_written
    finally:
        is_over.set()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize("name", models())
def test_the_harness_gets_the_figures_of_its_own_model(name: str, roomy_model: Callable[[str], Path]) -> None:
    pytest.importorskip("lm_eval")
    folder = Path(os.environ["FEWSHOT_TEST_MODEL"]) if name == "real" else roomy_model(name)
    tolerance = REAL_TOLERANCE if name == "real" else TOLERANCE
    expected = evaluate(
        "hf", pretrained=str(folder), device="cpu", dtype="float64", batch_size=1, max_length=MAX_LENGTH
    )
    with serve_in_thread(folder, precision="float32") as served:
        first = evaluate_served(served, folder)
        assert_equal(first, expected, tolerance)
        with load_on(served) as num_written:
            # Everything is remembered by now, and the requests come in the order in which they happen to be sent.
            for how in ({"num_concurrent": 6}, {"batch_size": 4}):
                again = evaluate_served(served, folder, **how)
                assert_equal(again, expected, tolerance)
                assert figures_of(again) == figures_of(first)  # to the bit
            check_in_random_order(served, folder, first["fewshot_choices"])
        assert num_written


def check_in_random_order(served: Served, folder: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Ask as texts, in random order, what the harness has asked as token ids."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    asked = [
        (arguments, response[0])
        for row in rows
        for arguments, response in zip(row["arguments"], row["resps"], strict=True)
    ]
    random.Random(5).shuffle(asked)
    with openai.OpenAI(base_url=served.base, api_key="none", max_retries=0) as client:
        for (context, continuation), (expected, _) in asked:
            num_before = len(tokenizer(context).input_ids)
            answer = client.completions.create(
                model="tiny", prompt=context + continuation, max_tokens=0, echo=True, logprobs=1
            )
            found = answer.choices[0].logprobs
            assert found is not None
            assert found.token_logprobs is not None
            total = sum(one for one in found.token_logprobs[num_before:] if one is not None)
            assert total == pytest.approx(float(expected), rel=1e-12)

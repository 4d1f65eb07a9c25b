"""score() gives lm-evaluation-harness' own figures; offline. FEWSHOT_TEST_MODEL may name a real model's folder, too."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from bot.engine.engine import LocalEngine

pytestmark = [
    pytest.mark.oracle,
    # The harness' own dependencies warn when they are imported and used; none of that is ours.
    pytest.mark.filterwarnings("ignore"),
]

TEXTS = (
    ".",
    "Hello",
    "Can it does what?",
    "😀👍🏽 😀",
    "今日はいい天気ですね。散歩に行きましょう。",
    "def add(a, b):\n    return a + b\n\n\nprint(add(1, 2))  # 3\n",
    " leading and trailing white space \n",
    "Once upon a time there was a small robot who wanted to learn how to write stories.",
    "É un café très cher — 12,50 € !",
    "The cat sat on the mat and looked at the dog, who ran to the door. " * 40,
)


def models() -> list[str]:
    return ["gpt2", "llama", *(["real"] if os.environ.get("FEWSHOT_TEST_MODEL") else [])]


@pytest.mark.parametrize("name", models())
async def test_scores_are_those_of_lm_evaluation_harness(name: str, tiny_model: Callable[[str], Path]) -> None:
    pytest.importorskip("lm_eval")
    folder = Path(os.environ["FEWSHOT_TEST_MODEL"]) if name == "real" else tiny_model(name)
    async with LocalEngine.open(folder, name=name, device="cpu") as engine:
        context_length, start_token = engine.info.context_length, engine.info.start_token
        # The last text is longer than the context, unless that is too much for a processor.
        texts = (*TEXTS[:-1], TEXTS[-1] * max(1, min(context_length, 1024) // 300))
        scores = [await engine.score(text) for text in texts]
    assert len(scores[-1]) > min(context_length, 1024)
    totals = [sum(score.logprob for score in tokens if score.logprob is not None) for tokens in scores]
    # Right after <|endoftext|> SmolLM2's activations are so large that float32 itself is 6e-5 nats away (transformers);
    # a text of one token has nothing to average that with.
    rounding = 3e-4 if name == "real" else 0.0
    expected = harness_totals(folder, texts, context_length, start_token)
    assert totals == pytest.approx(expected, rel=1e-5, abs=rounding)


def harness_totals(folder: Path, texts: tuple[str, ...], context_length: int, start_token: str | None) -> list[float]:
    """Return what HFLM.loglikelihood_rolling says of each text after `start_token`, in nats.

    In float64: on a long text that repeats itself its own float32 is 1.2e-4 away from that, ten times the bound.
    """
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    assert start_token is not None
    harness = HFLM(
        pretrained=str(folder),
        device="cpu",
        dtype="float64",
        batch_size=1,
        max_length=context_length,
        prefix_token_id=AutoTokenizer.from_pretrained(folder).convert_tokens_to_ids(start_token),
    )
    requests = [
        Instance(request_type="loglikelihood_rolling", doc={}, arguments=(text,), idx=index)
        for index, text in enumerate(texts)
    ]
    return [float(total) for total in harness.loglikelihood_rolling(requests, disable_tqdm=True)]

"""Large requests hold up nobody: what can't fit is refused before it is read whole."""

import io
import json
from collections.abc import Sequence
from typing import Any

import aiohttp
import pytest

from bot.core.prompt_parts import Prompt
from bot.serving.errors import ApiError
from bot.serving.lengths import check_lengths
from tests.serving.served import Served
from tests.stalls import QuickEngine

MB = 1024 * 1024


class CountingEngine(QuickEngine):
    """Counts a token for each character, and notes the longest text that it had to read at once."""

    def __init__(self) -> None:
        super().__init__()
        self.longest = self.num_read = 0

    async def count_tokens(self, prompts: Sequence[Prompt]) -> tuple[int, ...]:
        counts = tuple(len(prompt.text) for prompt in prompts)
        self.longest, self.num_read = max(self.longest, *counts), self.num_read + sum(counts)
        return counts


async def test_a_text_that_is_far_too_long_is_read_in_pieces_and_not_to_its_end() -> None:
    engine = CountingEngine()
    room = engine.info.context_length
    with pytest.raises(ApiError, match=f"The prompt has more than {2 * room:,} tokens, but at most {room - 1:,} fit"):
        await check_lengths(engine, [Prompt.plain("1" * (100 * room))], "prompt")
    assert engine.longest <= room
    assert engine.num_read <= 4 * room


async def test_a_text_that_may_fit_is_not_read_twice() -> None:
    engine = CountingEngine()
    await check_lengths(engine, [Prompt.plain("a" * engine.info.context_length)], "prompt")
    assert engine.num_read == 0


@pytest.mark.parametrize(
    ("path", "body", "status", "sentence"),
    [
        ("completions", {"prompt": "1" * 3 * MB}, 400, "The prompt has more than 1,024 tokens, but at most 511 fit."),
        ("completions", {"prompt": [1] * 100_000}, 400, "The prompt has 100,000 tokens, but at most 511 fit."),
        (
            "completions",
            {"prompt": [[1]] * 50_000},
            400,
            "One request takes at most 128 continuations (prompts times n), not 50,000.",
        ),
        ("completions", {"prompt": [[1]] * 200_000}, 413, "The request has too many values."),
        ("completions", {"prompt": "a", "logit_bias": [0] * 1_200_000}, 413, "The request has too many values."),
        ("completions", {"prompt": "a", **{f"x{i}": 1 for i in range(1000)}}, 400, "The body has 1,002 fields"),
        (
            "chat/completions",
            {"messages": [{"role": "user", "content": "1" * 3 * MB}]},
            400,
            "The prompt has more than 1,024 tokens, but at most 511 fit.",
        ),
    ],
)
async def test_what_can_t_fit_is_refused_in_one_sentence(
    served_llama: Served, path: str, body: dict[str, Any], status: int, sentence: str
) -> None:
    data = json.dumps({"model": "tiny", **body}, separators=(",", ":"))
    async with aiohttp.ClientSession() as http:
        headers = {"Content-Type": "application/json"}
        response = await http.post(f"{served_llama.base}/{path}", data=io.BytesIO(data.encode()), headers=headers)
        error = (await response.json())["error"]
    assert (response.status, error["message"][: len(sentence)]) == (status, sentence)

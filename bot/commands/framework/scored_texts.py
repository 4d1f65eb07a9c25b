"""The scores of texts by one model, with a card for each step."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Final

from bot.commands.framework.command import Request
from bot.commands.framework.progress import Finished, watched
from bot.core.cards import Card, Progress, Text
from bot.core.prompt_parts import Prompt
from bot.core.results import TokenScore
from bot.services.measuring import OnProgress

AllScores = Sequence[Sequence[TokenScore]]  # of each of several texts

_SCORING: Final = "tokens read"
STOPPED: Final = Card(blocks=(Text("Stopped before all of the text was read."),), data={"is_stopped": True})


async def score_texts(
    request: Request, texts: Sequence[str], *, num_expected: int = 0
) -> AsyncGenerator[Card | Finished[AllScores]]:
    """Score each of `texts` with the model of `request`; the last item is the scores, unless the request is stopped."""
    engine = request.services.engine

    async def start(on_progress: OnProgress) -> AllScores:
        found: list[Sequence[TokenScore]] = []
        counts = (0,) if len(texts) == 1 else await engine.count_tokens([Prompt.plain(text) for text in texts])
        for text in texts:

            def on_token(num_done: int, num_total: int, before: int = sum(map(len, found))) -> None:
                on_progress(before + num_done, max(before + num_total, sum(counts)))

            found.append(await engine.score(text, num_expected=num_expected, asker=request.asker, on_progress=on_token))
        return found

    yield Card(blocks=(Progress(_SCORING),), is_final=False)  # with a button to stop while it waits in the queue
    async with aclosing(watched(_SCORING, start, stopper=request.stopper)) as steps:
        async for step in steps:
            yield step

"""What an answer took from the examples nearest to its message, in words and as a table."""

from collections.abc import AsyncGenerator, Sequence
from typing import Any, Final

from bot.commands.framework.command import Request
from bot.commands.framework.progress import Finished, watched
from bot.core.cards import Block, Card, Table, Text
from bot.core.neighbours import KeptRows
from bot.core.safe_text import one_line
from bot.core.templates.template import PromptTemplate
from bot.core.wording import MAX_CELL, shorten
from bot.services.measuring import OnProgress
from bot.services.neighbours import NearExample, load_kept

_NUM_SHOWN: Final = 8


def kept_examples(request: Request, template: PromptTemplate) -> AsyncGenerator[Card | Finished[KeptRows | None]]:
    """Load what the model made of the kept examples of `template`, with a card for each that it reads first.

    The last item is the result, None when stopped. Raises as `load_kept` does.
    """

    async def start(on_progress: OnProgress) -> KeptRows | None:
        return await load_kept(
            request.services.measuring,
            template,
            asker=request.asker,
            on_progress=on_progress,
            stopper=request.stopper,
        )

    return watched("examples read", start)


def near_sentence(template: PromptTemplate) -> str:
    """Return one sentence about where the examples of `template` are used, "" if all of them are in the prompt."""
    found, num_kept = template.neighbours, len(template.kept_examples)
    if found is None or not num_kept:
        return ""
    if not template.compares:
        return f"{len(template.prompt_examples)} examples are in the prompt; the other {num_kept} do not count."
    num_near = min(found.num_nearest, num_kept)
    nearest = "the nearest one counts" if num_near == 1 else f"the {num_near} nearest count"
    return (
        f"{len(template.prompt_examples)} examples are in the prompt; of the other {num_kept},"
        f" {nearest} {found.weight:.0%} of the answer."
    )


def near_blocks(nearest: Sequence[NearExample]) -> tuple[Block, ...]:
    """Return the table of the nearest examples, the nearest first."""
    if not nearest:
        return ()
    rows = tuple(
        (shorten(one_line(near.example.input), MAX_CELL), near.example.output, f"{near.likeness:.2f}")
        for near in nearest[:_NUM_SHOWN]
    )
    blocks: list[Block] = [Text("The nearest examples:", is_quiet=True), Table(("example", "label", "likeness"), rows)]
    if len(nearest) > _NUM_SHOWN:
        blocks.append(Text(f"{len(nearest) - _NUM_SHOWN} more are not shown.", is_quiet=True))
    return tuple(blocks)


def near_data(nearest: Sequence[NearExample]) -> list[dict[str, Any]]:
    """Return the nearest examples as data for scripts."""
    return [{"input": near.example.input, "output": near.example.output, "likeness": near.likeness} for near in nearest]

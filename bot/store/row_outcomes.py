"""Measured outcomes of single template rows, so that an interrupted measurement can resume: numbers, no text."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Final

from bot.core.messages import now_utc
from bot.store.backend import Transaction
from bot.store.records import Records, to_microseconds

# Figures by name; a list has one figure per label, in the order of the labels.
Outcome = Mapping[str, float | Sequence[float]]

ROW_OUTCOME_DAYS: Final = 90


class RowOutcomes(Records):
    """The part of the store that holds measurements of rows, by prompt, model and row."""

    async def get_row_outcomes(self, prompt_sha256: str, model: str, row_sha256s: Sequence[str]) -> dict[str, Outcome]:
        """Return the known outcomes of those rows, by checksum."""
        rows = await self._database.read(
            "SELECT o.row_sha256, o.numbers FROM json_each(?) wanted CROSS JOIN row_outcomes o"
            " ON o.prompt_sha256 = ? AND o.model = ? AND o.row_sha256 = wanted.value",
            json.dumps(list(row_sha256s)),
            prompt_sha256,
            model,
        )
        # A template may have a thousand rows, each with a sketch of a hundred numbers.
        return await asyncio.to_thread(lambda: {row["row_sha256"]: json.loads(row["numbers"]) for row in rows})

    async def put_row_outcomes(self, prompt_sha256: str, model: str, outcomes: Mapping[str, Outcome]) -> None:
        """Save outcomes by the rows' checksums. Raises ValueError for anything but finite numbers."""
        values = [(row_sha256, _to_json(outcome)) for row_sha256, outcome in outcomes.items()]
        saved_at_us = to_microseconds(now_utc())

        async def insert(transaction: Transaction) -> None:
            for row_sha256, numbers in values:
                await transaction.execute(
                    "INSERT INTO row_outcomes (prompt_sha256, model, row_sha256, numbers, saved_at_utc)"
                    " VALUES (?, ?, ?, ?, ?) ON CONFLICT (prompt_sha256, model, row_sha256)"
                    " DO UPDATE SET numbers = excluded.numbers, saved_at_utc = excluded.saved_at_utc",
                    prompt_sha256,
                    model,
                    row_sha256,
                    numbers,
                    saved_at_us,
                )

        await self._database.write(insert)


def _to_json(outcome: Outcome) -> str:
    for figure in outcome.values():
        for number in [figure] if isinstance(figure, int | float) else figure:
            if not isinstance(number, int | float):
                raise ValueError("an outcome holds numbers only")
    return json.dumps(dict(outcome), allow_nan=False)

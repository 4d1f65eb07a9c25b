"""Commands that list and show prompt templates, with their scores on the model at hand."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any, Final

from bot.commands.context import Services
from bot.commands.framework.command import Cards, Command, Request
from bot.commands.templates.score_cards import kept_score_line, model_name, worth_data
from bot.core.cards import Block, Card, Facts, Table, Text, Verbatim
from bot.core.mentions import mention
from bot.core.messages import Scope
from bot.core.prompt import build_prompt
from bot.core.safe_text import clean_name
from bot.core.templates.parsing import format_template
from bot.core.templates.template import BUILT_IN, PromptTemplate
from bot.core.templates.worth import Worth
from bot.services.worth import known_worth
from bot.store.templates import StoredTemplate

_MAX_TESTS_SHOWN: Final = 12
_COLUMNS: Final = ("name", "kind", "version", "by", "score", "what it does")
_UNMEASURED: Final = "not measured yet"


@dataclass(frozen=True, slots=True)
class Listing:
    """All templates of a place: the blocks that show them; by name their data, facts, and whether they have tests."""

    blocks: tuple[Block, ...]
    by_name: Mapping[str, Mapping[str, Any]]
    facts: Mapping[str, tuple[tuple[str, str], ...]]
    tested: Mapping[str, bool]

    @property
    def data(self) -> Iterable[Mapping[str, Any]]:
        """Return the data of all templates, in order."""
        return self.by_name.values()


async def list_templates(services: Services, scope: Scope) -> Listing:
    """Return all templates; those that do not work with the model at hand stand apart."""
    library = await services.templates.of(scope)
    model = services.measuring.fingerprint
    rows: dict[str, tuple[str, ...]] = {}
    poor: set[str] = set()
    data: dict[str, Mapping[str, Any]] = {}
    # In a thread, since parsing hundreds of templates for the first time is slow.
    templates = await asyncio.to_thread(list, library)
    for template in templates:
        own = library.own(template.name)
        worth = None if own else await known_worth(services.measuring, template)
        is_poor = worth is not None and not worth.is_enough
        rows[template.name] = _row(template, own, worth, model)
        poor |= {template.name} if is_poor else set()
        data[template.name] = {
            "name": template.name,
            "kind": template.kind,
            "version": template.version,
            "description": template.description,
            "number": library.number(template.name),
            "author": own.author_name if own else None,
            "created_at_utc": own.created_at_utc.isoformat() if own else None,
            "score": own.score if own else worth_data(worth),
            "is_stale": bool(own and own.score and own.score_model != model),
            "needs_larger_model": is_poor,
        }
    return Listing(
        _list_blocks(rows, poor, model),
        data,
        {
            name: tuple((key, value) for key, value in zip(_COLUMNS[1:-1], row[1:-1], strict=True) if value)
            for name, row in rows.items()
        },
        {template.name: bool(template.tests) for template in templates},
    )


def _list_blocks(rows: Mapping[str, tuple[str, ...]], poor: Set[str], model: str) -> tuple[Block, ...]:
    good = [row for name, row in rows.items() if name not in poor]
    blocks: list[Block] = [_table(good)] if good else []
    if poor:
        blocks += [
            Text(f"On their own tests {model_name(model)} mostly answers wrong. These need a larger model:"),
            _table([row for name, row in rows.items() if name in poor]),
        ]
    if notes := _notes(list(rows.values())):
        blocks.append(Text(notes, is_quiet=True))
    return tuple(blocks)


def _row(template: PromptTemplate, own: StoredTemplate | None, worth: Worth | None, model: str) -> tuple[str, ...]:
    by = f"{clean_name(own.author_name)}, {own.created_at_utc:%Y-%m-%d}" if own and own.author_name else ""
    version = str(own.number) if own else BUILT_IN
    score = kept_score_line(own.score, own.score_model, model) if own and own.score else ""
    if own is None and template.tests:
        score = worth.words if worth is not None else _UNMEASURED
    return template.name, template.kind, version, by, score, template.description


def _table(rows: Sequence[tuple[str, ...]]) -> Table:
    # A server without its own templates has no authors and no scores to show.
    used = [i for i in range(len(_COLUMNS)) if any(row[i] for row in rows)]
    return Table(tuple(_COLUMNS[i] for i in used), tuple(tuple(row[i] for i in used) for row in rows))


def _notes(rows: Sequence[tuple[str, ...]]) -> str:
    """Return what the scores in `rows` mean, as far as they are there."""
    notes = []
    scores = [row[_COLUMNS.index("score")] for row in rows]
    if any(score.startswith("fit ") for score in scores):
        notes.append("fit: how much of the right answers the model knows from the message.")
    if _UNMEASURED in scores:
        notes.append(
            "Built-in templates are measured while nobody asks for anything;"
            f" a moderator measures one at once with {mention('prompt test NAME')}."
        )
    return " ".join(notes)


async def answer_show(request: Request) -> Cards:
    """Show a template's text and token cost."""
    services = request.services
    library = await services.templates.of(request.message.scope)
    template = library.get(request.arguments["NAME"])
    own = library.own(template.name)
    facts = [
        ("kind", template.kind),
        ("version", f"{own.number if own else BUILT_IN} ({template.version})"),
        ("examples", template.examples_in_words),
        ("tests", str(len(template.tests))),
    ]
    num_tokens = None
    if template.kind != "chat":
        # A text of one letter stands for the unknown input.
        (num_tokens,) = await services.engine.count_tokens([build_prompt(template, "a")])
        facts.append(("tokens", f"{num_tokens:,} of {services.engine.info.context_length:,}"))
    if template.neighbours is not None:
        found = template.neighbours
        facts.append(("nearest examples", f"the {found.num_nearest} nearest count {found.weight:.0%}"))
    worth = None if own else await known_worth(services.measuring, template)
    if own and own.score:
        facts.append(("score", kept_score_line(own.score, own.score_model, services.measuring.fingerprint)))
    elif worth is not None:
        facts.append(("score", worth.words if worth.is_enough else f"{worth.words}: needs a larger model"))
    blocks: list[Block] = [Text(f"{template.name}: {template.description}"), Facts(tuple(facts))]
    shown = template.source_text
    if len(template.tests) > _MAX_TESTS_SHOWN:
        # Many rows that the model never reads would hide those that it reads.
        shown = format_template(replace(template, tests=()))
        blocks.append(
            Text(f"Shown without its tests. All of it: {mention(f'prompt export {template.name}')}", is_quiet=True)
        )
    yield Card(
        blocks=(*blocks, Verbatim(shown)),
        data={
            "name": template.name,
            "kind": template.kind,
            "version": template.version,
            "number": library.number(template.name),
            "description": template.description,
            "source": template.source_text,
            "num_tokens": num_tokens,
            "score": own.score if own else worth_data(worth),
        },
    )


COMMANDS: Final = (
    Command(
        name="prompt show",
        summary="Show a template's text and token cost",
        answer=answer_show,
        arguments=("NAME",),
        needs_published=True,
        examples=("prompt show sentiment",),
    ),
)

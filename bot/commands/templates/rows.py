"""Commands that list, add and remove a template's examples and tests, and accept proposed examples."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final, Literal

from bot.commands.framework.command import Cards, Command, Request
from bot.commands.templates.draft_cards import draft_card
from bot.commands.templates.drafts import begin_draft, change_draft, check_editor, parsed
from bot.commands.templates.proposals import (
    Proposal,
    find_proposals,
    keep_origins,
    list_proposals,
    proposals_card,
    split_numbers,
)
from bot.core.cards import Block, Card, Table, Text, TextFile
from bot.core.mentions import mention
from bot.core.messages import AttachmentFormat
from bot.core.suggesting import suggest
from bot.core.templates.forms import checked, with_default_stop
from bot.core.templates.lines import parse_rows
from bot.core.templates.table_files import read_examples
from bot.core.templates.template import Example, PromptTemplate
from bot.core.wording import list_words, quote
from bot.errors import RequestError

TableName = Literal["examples", "tests"]

EXAMPLE_ACTIONS: Final = ("list", "add", "remove", "proposed", "take", "dismiss")
TEST_ACTIONS: Final = ("list", "add", "remove")
_NUM_SHOWN: Final = 25
_MAX_ROWS: Final = 500


async def answer_examples(request: Request) -> Cards:
    """List or change the examples of a template."""
    async for card in _answer(request, "examples", EXAMPLE_ACTIONS):
        yield card


async def answer_tests(request: Request) -> Cards:
    """List or change the tests of a template."""
    async for card in _answer(request, "tests", TEST_ACTIONS):
        yield card


async def _answer(request: Request, table: TableName, actions: Sequence[str]) -> Cards:
    services, scope, author = request.services, request.message.scope, request.message.author
    name, action = request.arguments["NAME"], request.arguments.get("ACTION", "list").casefold()
    if action not in actions:
        hint = suggest(action, actions, f"choose from {', '.join(actions)}.")
        raise RequestError(f"There is no action {quote(action)}; {hint}")
    if action == "list":
        yield await _list(request, table)
        return
    if action == "proposed":
        await services.templates.get(scope, name)
        yield proposals_card(name, await list_proposals(services, scope, name))
        return
    await check_editor(services, scope, author, f"prompt {table}")
    if action == "dismiss":
        proposals = await find_proposals(services, scope, name, request.text)
        # If another moderator was faster, the numbers are looked up again, which says so.
        while not await services.store.dismiss_proposals([proposal.card.id for proposal in proposals]):
            proposals = await find_proposals(services, scope, name, request.text)
        sentence = f"{_these(proposals, f'for {name}')} dismissed."
        yield Card(blocks=(Text(sentence),), data={"text": sentence, "template": name}, answers="private")
        return
    draft = await begin_draft(services, scope, author, name)
    taken: list[Proposal] = []
    if action == "take":
        taken = await find_proposals(services, scope, name, request.text)
        change, done = _adding(table, [one.row for one in taken]), f"{_these(taken)} added to your draft."
    elif action == "add":
        if not request.text.strip():
            raise RequestError(f"The rows are missing. Write {mention(f'prompt {table} {name} add input => output')}.")
        change, done = _adding_text(table, request.text, request.source.format), "Added to your draft."
    else:
        change, done = _removing(table, request.text), "Removed from your draft."

    async def changed(template: PromptTemplate) -> PromptTemplate:
        if taken:
            # Another moderator may have been faster.
            await find_proposals(services, scope, name, request.text)
        # Stored before the draft, so that erasing the message always reaches the draft.
        for one in taken:
            await keep_origins(services, scope, name, one, has_labels=bool(template.labels))
        return await asyncio.to_thread(change, template)

    draft = await change_draft(services, scope, draft, changed, closes=[one.card.id for one in taken])
    yield await draft_card(services, scope, draft, notice=done, has_buttons=request.services.traits.has_buttons)


def _these(proposals: Sequence[Proposal], of: str = "") -> str:
    """Return the start of a sentence about these proposals."""
    numbers = " ".join((list_words([str(one.number) for one in proposals]), *([of] if of else [])))
    return f"Proposal {numbers} is" if len(proposals) == 1 else f"Proposals {numbers} are"


def _adding(table: TableName, rows: Sequence[Example]) -> Callable[[PromptTemplate], PromptTemplate]:
    def change(template: PromptTemplate) -> PromptTemplate:
        return _with_rows(template, table, (*getattr(template, table), *rows))

    return change


def _adding_text(table: TableName, text: str, format: AttachmentFormat) -> Callable[[PromptTemplate], PromptTemplate]:
    """Return the change that adds the rows of a file with rows, else those in the lines of `text`."""

    def change(template: PromptTemplate) -> PromptTemplate:
        labels = template.labels
        rows = read_examples(text, format, labels=labels) if format else parse_rows(text, labels=labels)
        return _with_rows(template, table, (*getattr(template, table), *rows))

    return change


def _removing(table: TableName, text: str) -> Callable[[PromptTemplate], PromptTemplate]:
    def change(template: PromptTemplate) -> PromptTemplate:
        rows: tuple[Example, ...] = getattr(template, table)
        numbers = _read_numbers(text, len(rows), table, template.name)
        return _with_rows(template, table, tuple(row for i, row in enumerate(rows, start=1) if i not in numbers))

    return change


def _read_numbers(text: str, num_rows: int, table: str, name: str) -> set[int]:
    words = split_numbers(text)
    if not words:
        listed, remove = mention(f"prompt {table} {name}"), mention(f"prompt {table} {name} remove 2")
        raise RequestError(f"Name the rows by number, as in {remove}. See the numbers with {listed}.")
    numbers = set()
    for word in words:
        if not word.isascii() or not word.isdigit() or not 1 <= int(word[:9]) <= num_rows:
            there = f"The numbers are 1 to {num_rows}" if num_rows else "There are none"
            raise RequestError(f"{name} has no {table[:-1]} {quote(word)}. {there}.")
        numbers.add(int(word[:9]))
    return numbers


def _with_rows(template: PromptTemplate, table: TableName, rows: tuple[Example, ...]) -> PromptTemplate:
    """Return `template` with other rows and its stop texts kept. Raises RequestError if that is not valid."""
    if len(rows) > _MAX_ROWS:
        raise RequestError(f"A template takes at most {_MAX_ROWS} {table} here. A prompt file can hold more.")
    if table == "tests":
        return checked(replace(template, tests=rows))
    slot = template.has_examples_slot or bool(rows)
    return checked(with_default_stop(replace(template, examples=rows, has_examples_slot=slot), template))


async def _list(request: Request, table: TableName) -> Card:
    """List the rows of the asker's draft, else of the published version."""
    services, scope, author = request.services, request.message.scope, request.message.author
    name = request.arguments["NAME"]
    draft = await services.store.get_draft(scope, name, author.id)
    template = parsed(draft.source_text, name) if draft else None
    is_draft = template is not None
    if template is None:
        template = await services.templates.get(scope, name)
    rows: tuple[Example, ...] = getattr(template, table)
    title = f"{table.capitalize()} of {'your draft of ' if is_draft else ''}{name}: {len(rows)}"
    blocks: list[Block] = [Text(title)]
    data: dict[str, Any] = {
        "text": title,
        "template": name,
        "is_draft": is_draft,
        table: [{"input": row.input, "output": row.output} for row in rows],
    }
    lines = [(str(i), row.input, row.output) for i, row in enumerate(rows, start=1)]
    file = None
    num_shown = _NUM_SHOWN if services.traits.has_files else len(lines)
    if lines:
        blocks.append(Table(("", "input", "output"), tuple(lines[:num_shown])))
    if len(lines) > num_shown:
        blocks.append(Text(f"The file has {len(lines) - num_shown} more.", is_quiet=True))
        text = "\n".join("\t".join(" ".join(cell.split()) for cell in line) for line in lines)
        file = TextFile(f"{name}-{table}.txt", text + "\n")
    if table == "examples":
        num = len(await list_proposals(services, scope, name))
        data["num_proposed"] = num
        if num:
            blocks.append(Text(f"{num} proposed: {mention(f'prompt examples {name} proposed')}", is_quiet=True))
    return Card(blocks=tuple(blocks), data=data, file=file, answers="private")


COMMANDS: Final = (
    Command(
        name="prompt examples",
        summary="List or change the examples of a template, and accept proposed ones",
        answer=answer_examples,
        arguments=("NAME", "ACTION"),
        num_optional_arguments=1,
        argument_choices={"ACTION": EXAMPLE_ACTIONS},
        text="optional",
        text_name="ROWS",
        takes_file=True,
        who="moderators",
        answers="private",
        details="Actions: list, add, remove, proposed, take, dismiss. add takes lines such as input => output, or a"
        " file: .csv or .tsv with the columns input and output, or .jsonl; remove, take and dismiss take numbers."
        f" Every change goes into your draft; to publish it, use {mention('prompt publish NAME')}.",
        examples=(
            "prompt examples sentiment",
            "prompt examples sentiment add What a day! => Positive",
            "prompt examples sentiment remove 2",
            "prompt examples sentiment take 1",
        ),
    ),
    Command(
        name="prompt tests",
        summary="List or change the tests of a template",
        answer=answer_tests,
        arguments=("NAME", "ACTION"),
        num_optional_arguments=1,
        argument_choices={"ACTION": TEST_ACTIONS},
        text="optional",
        text_name="ROWS",
        takes_file=True,
        who="moderators",
        answers="private",
        details="Tests measure a template; the model never reads them as examples. Actions: list, add, remove."
        " add takes lines such as input => output, or a .csv, .tsv or .jsonl file; remove takes numbers.",
        examples=("prompt tests sentiment", "prompt tests sentiment add This is awful => Negative"),
    ),
)

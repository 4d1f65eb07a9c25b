"""What the tests of editing do again and again: open a form, fill it in, click on the card that follows."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import count
from typing import Any

from bot.core.cards import Card, Form
from bot.core.messages import Author, FormSubmitted, Scope
from bot.core.templates.template import Neighbours, PromptTemplate
from bot.store.row_outcomes import Outcome
from tests.bots import HERE, Talk

GREETING = {
    "description": "Greets in French.",
    "instruction": "Greetings.",
    "query": "$input =",
    "labels": "",
    "file": "",
}
_numbers = count()


async def form_of(talk: Talk, line: str, **how: Any) -> Form:
    """Say a command that opens a form, and return that."""
    card = await talk.card(line, has_buttons=True, reach="form", **how)
    assert card.form is not None, card
    assert card.answers == "private"
    return card.form


def values_of(form: Form) -> dict[str, str]:
    """Return what stands in a form's fields already."""
    return {field.name: field.value for field in form.fields}


async def fill(
    talk: Talk,
    form: Form,
    values: Mapping[str, str],
    *,
    who: str = "Ann",
    scope: Scope = HERE,
    is_moderator: bool = True,
) -> Card:
    """Send a form with `values` in the place of what stands there, and return the card that follows."""
    author = Author(who.lower(), who, is_moderator=is_moderator)
    sent = FormSubmitted(f"f{next(_numbers)}", scope, author, form.id, {**values_of(form), **values})
    cards = [shown async for shown in talk.bot.submit(sent)]
    assert [shown.is_final for shown in cards] == [True]
    assert cards[0].answers == "private"
    return cards[0]


async def drafted(talk: Talk, line: str, values: Mapping[str, str], **how: Any) -> Card:
    """Open a form with `line`, fill it in, and return the draft's card, which must be a valid one."""
    form = await form_of(talk, line, **how)
    card = await fill(talk, form, values, **{name: how[name] for name in ("who", "scope") if name in how})
    assert card.error is None, card.error
    assert not card.data["problem"], card.data["problem"]
    return card


def action_names(card: Card) -> list[str]:
    """Return the actions of a card's buttons."""
    return [button.action for button in card.buttons]


async def seem_measured(talk: Talk, template: PromptTemplate, nats: float) -> None:
    """Let each test of `template` cost `nats`, as if the model had been asked."""
    measuring = talk.services.measuring
    outcomes = {
        measuring._row_key(template, row): {"nats": nats + i / 10, "num_bytes": len(row.output.encode()), "is_exact": 0}
        for i, row in enumerate(template.tests)
    }
    await talk.store.put_row_outcomes(measuring._prompt_key(template), measuring.fingerprint, outcomes)


async def seem_read(talk: Talk, template: PromptTemplate) -> None:
    """Store outcomes as of a model that is unsure of every label, but in whose sketches the labels lie apart."""
    measuring = talk.services.measuring
    prompt = replace(template, neighbours=Neighbours(2, 1, 0.0))
    outcomes: dict[str, Outcome] = {}
    for i, row in enumerate((*template.examples, *template.tests)):
        sketch = [0.01 * i] * 4 + [1.0 if row.output == "good" else -1.0] * 4
        outcomes[measuring._row_key(prompt, row)] = {"logprobs": [-1.0, -1.1], "sketch": sketch}
    await talk.store.put_row_outcomes(measuring._prompt_key(prompt), measuring.fingerprint, outcomes)

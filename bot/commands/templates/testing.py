"""The command that measures a template on its held-out tests."""

from contextlib import aclosing
from dataclasses import replace
from typing import Final

from bot.commands.framework.command import MODEL, Cards, Command, Request
from bot.commands.framework.model_choice import find_template_model
from bot.commands.templates.drafts import not_finished
from bot.commands.templates.score_cards import score_blocks, score_data
from bot.commands.templates.scoring import measured_cards
from bot.core.cards import Answers, Block, Card, Text
from bot.core.templates.parsing import parse_template
from bot.core.templates.template import PromptTemplate
from bot.errors import RequestError
from bot.store.drafts import Draft

_NUM_SHOWN: Final = 6
_KEPT: Final = "Finished measurements are saved: the same command continues from here."


async def answer_test(request: Request) -> Cards:
    """Measure the asker's draft, else the published version, on its held-out tests."""
    services, scope, name = request.services, request.message.scope, request.arguments["NAME"]
    draft = await services.store.get_draft(scope, name, request.message.author.id)
    template = valid_state(draft)
    answers = who_sees(request, draft)
    cards = measured_cards(services, scope, name, template, asker=request.asker, stopper=request.stopper)
    score = None
    async with aclosing(cards):
        async for step in cards:
            if isinstance(step, Card):
                yield replace(step, answers=answers)
            else:
                score = step.value
    if score is None:
        yield replace(stopped_card(name), answers=answers)
        return
    side = f"Your draft of {name}" if score.is_draft else name
    notes: list[Block] = []
    if draft is not None and draft.form_values is not None:
        notes.append(Text(f"Your last edit is not valid and was left out: {draft.problem}", is_quiet=True))
    title = f"{side} on {len(score.template.tests)} held-out tests"
    blocks = (Text(title), *score_blocks(score), *notes)
    yield Card(blocks=blocks, data={"text": title, **score_data(score)}, answers=answers)


def who_sees(request: Request, draft: Draft | None) -> Answers:
    """Return who sees a measurement: of a draft only its author, as of all that is asked with a slash command."""
    return "public" if draft is None and request.message.reach != "form" else "private"


async def is_about_draft(request: Request) -> bool:
    """Say whether the asker has a draft of the template, whose rows others need not see."""
    message = request.message
    return (
        await request.services.store.get_draft(message.scope, request.arguments["NAME"], message.author.id) is not None
    )


def valid_state(draft: Draft | None) -> PromptTemplate | None:
    """Return the last valid state of a draft, None if there is no draft. Raises RequestError if it has none."""
    if draft is None:
        return None
    if draft.source_text is None:
        raise RequestError(not_finished(draft))
    return parse_template(draft.source_text, name=draft.name, source=draft.name)


def stopped_card(name: str) -> Card:
    """Return the card of a measurement that was stopped."""
    return Card(
        blocks=(Text(f"Stopped. {name} was not changed. {_KEPT}"),), data={"template": name, "is_stopped": True}
    )


COMMANDS: Final = (
    Command(
        name="prompt test",
        summary="Measure your draft, or the published version, on its held-out tests",
        answer=answer_test,
        find_model=find_template_model,
        arguments=("NAME",),
        options=(MODEL,),
        who="moderators",
        answers="private",
        is_secret_for=is_about_draft,
        examples=("prompt test sentiment",),
    ),
)

"""The command that searches for better examples, and the button that takes what it found."""

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from bot.commands.context import Services
from bot.commands.framework.command import Cards, Command, Option, Request
from bot.commands.framework.model_choice import find_template_model
from bot.commands.framework.progress import Finished, watched
from bot.commands.framework.request import check_owner
from bot.commands.templates.draft_cards import draft_card
from bot.commands.templates.drafts import check_editor, take_found
from bot.commands.templates.scoring import score_to_keep
from bot.commands.templates.testing import is_about_draft, stopped_card, valid_state, who_sees
from bot.core.cards import Block, Button, Card, Facts, Table, Text, Verbatim
from bot.core.mentions import mention
from bot.core.messages import Author, Click, Scope
from bot.core.statistics import ClassifyFigures
from bot.core.stopping import Stopper
from bot.core.templates.diff import diff_templates
from bot.services.measuring import OnProgress
from bot.services.open_cards import open_card
from bot.services.tuning import MAX_SCORINGS, Trial, Tuning, count_scorings, tune, with_examples
from bot.store.cards import OpenCard
from bot.store.drafts import Draft

TUNING_CARD: Final = "template_tuning"
_LIFETIME: Final = timedelta(days=30)
_NUM_SHOWN: Final = 6


async def answer_tune(request: Request) -> Cards:
    """Search for better examples or a better order; what is clearly better becomes a draft, the rest is offered."""
    services, message, name = request.services, request.message, request.arguments["NAME"]
    scope, author = message.scope, message.author
    await check_editor(services, scope, author, "prompt tune")
    kept = await services.store.get_draft(scope, name, author.id)
    template = valid_state(kept) or await services.templates.get(scope, name)
    num_scorings = count_scorings(template)
    answers = who_sees(request, kept)
    await services.measuring.count_tokens(template)

    async def start(on_progress: OnProgress) -> Tuning | None:
        return await tune(
            services.measuring, template, asker=request.asker, on_progress=on_progress, stopper=request.stopper
        )

    found = None
    async with aclosing(watched("measurements done", start)) as steps:
        async for step in steps:
            if isinstance(step, Finished):
                found = step.value
            else:
                yield replace(step, answers=answers)
    if found is None:
        yield replace(stopped_card(name), answers=answers)
        return
    is_taken = found.is_better and (found.is_sure or bool(request.options.get("take")))
    if is_taken:
        await take_examples(services, scope, author, name, found.template.version, found.best.candidate.indexes)
    card = replace(_tuning_card(found, num_scorings, is_taken=is_taken), answers=answers)
    yield card if is_taken or not found.is_better else await _offered(request, found, card)


async def take_examples(
    services: Services, scope: Scope, author: Author, name: str, version: str, indexes: Sequence[int]
) -> Draft:
    """Make these of the examples those of the asker's draft. Raises as `take_found` does."""
    return await take_found(services, scope, author, name, version, lambda current: with_examples(current, indexes))


async def _offered(request: Request, found: Tuning, card: Card) -> Card:
    """Return the card of a result that may be chance, with a way to take it anyway."""
    services, message, name = request.services, request.message, found.template.name
    if not services.traits.has_buttons:
        hint = f"To make it your draft anyway, use {mention(f'prompt tune --take yes {name}')}."
        return replace(card, blocks=(*card.blocks, Text(hint, is_quiet=True)))
    # The examples themselves are not stored here, so that erasing a message reaches all of them.
    state = {"name": name, "version": found.template.version, "indexes": list(found.best.candidate.indexes)}
    offer = await open_card(services.store, message.scope, message.author.id, TUNING_CARD, state, lives=_LIFETIME)
    return replace(card, buttons=(Button("take", "Make it my draft"),), open_card_id=offer.id, revision=offer.revision)


async def act_on_tuning(services: Services, click: Click, card: OpenCard, stopper: Stopper) -> Cards:
    """Make the offered examples those of the asker's draft, and show it."""
    scope, author, state = click.scope, click.author, card.state
    check_owner(card, author, "card", "prompt tune NAME")
    await check_editor(services, scope, author, "prompt tune")
    draft = await take_examples(services, scope, author, state["name"], state["version"], state["indexes"])
    yield await draft_card(services, scope, draft, notice="Your draft has these examples now.")


def tuning_title(found: Tuning, *, is_taken: bool) -> str:
    """Return what a search found, in one sentence or two."""
    name, what = found.template.name, found.best.candidate.what
    if is_taken:
        return f"Your draft of {name} now has its examples {what}."
    if found.is_better:
        return f"{name} does better with its examples {what}, but that may be chance. Nothing was changed."
    return f"No better examples or order found for {name}. Nothing was changed."


def _tuning_card(found: Tuning, num_scorings: int, *, is_taken: bool) -> Card:
    name, before, best, gain = found.template.name, found.trials[0], found.best, found.gain
    unit = "bits of the right label" if isinstance(before.figures, ClassifyFigures) else "bits per byte of the output"
    title = tuning_title(found, is_taken=is_taken)
    blocks: list[Block] = [Text(title)]
    if found.is_better:
        chance = "" if found.is_sure else ", so it may be chance"
        blocks.append(
            Text(
                f"On its own examples, each left out in turn: {before.cost:.3f} → {best.cost:.3f} {unit};"
                f" {gain.mean:+.3f} saved (95% interval {gain.low:+.3f} to {gain.high:+.3f}{chance})."
            )
        )
        blocks.append(Verbatim(diff_templates(found.template, found.proposal)))
    ranked = sorted(found.trials[1:], key=lambda trial: trial.cost)[: _NUM_SHOWN - 1]
    blocks.append(Table(("examples", unit, *_more_columns(before)), tuple(_row(one) for one in (before, *ranked))))
    tried = f"{len(found.trials)} variants on {found.num_rows} examples, at most {num_scorings:,} scorings"
    blocks.append(Facts((("tried", tried),)))
    if is_taken:
        warning = (
            f"The best of {len(found.trials)} was chosen on these same examples, so it looks better than it is. Measure"
            f" the draft on the held-out tests, which the search never read, with {mention(f'prompt test {name}')}."
        )
        blocks.append(Text(warning, is_quiet=True))
    return Card(blocks=tuple(blocks), data=tuning_data(found, num_scorings, title, is_taken=is_taken))


def _more_columns(trial: Trial) -> tuple[str, ...]:
    return ("accuracy",) if isinstance(trial.figures, ClassifyFigures) else ()


def _row(trial: Trial) -> tuple[str, ...]:
    figures = trial.figures
    more = (f"{figures.accuracy:.0%}",) if isinstance(figures, ClassifyFigures) else ()
    return (trial.candidate.what, f"{trial.cost:.3f}", *more)


def tuning_data(found: Tuning, num_scorings: int, title: str, *, is_taken: bool) -> dict[str, Any]:
    """Return the result of a search as data for scripts."""
    is_shown = found.is_better
    return {
        "text": title,
        "template": found.template.name,
        "is_proposed": is_taken,
        "is_offered": is_shown and not is_taken,
        "change": found.best.candidate.what if is_shown else None,
        "examples": [i + 1 for i in found.best.candidate.indexes] if is_shown else None,
        "before": score_to_keep(found.trials[0].figures),
        "after": score_to_keep(found.best.figures) if is_shown else None,
        "gain": found.gain.mean,
        "gain_interval": [found.gain.low, found.gain.high],
        "num_tried": len(found.trials),
        "max_scorings": num_scorings,
        "diff": diff_templates(found.template, found.proposal) if is_shown else "",
    }


COMMANDS: Final = (
    Command(
        name="prompt tune",
        summary="Search for better examples or a better order, as a draft",
        answer=answer_tune,
        find_model=find_template_model,
        arguments=("NAME",),
        options=(Option("take", "choice", "make the best your draft even if it may be chance", choices=("yes",)),),
        who="moderators",
        answers="private",
        is_secret_for=is_about_draft,
        details=(
            "The search leaves out each example in turn and tries other orders. It scores every variant on the examples"
            f" themselves, with at most {MAX_SCORINGS:,} requests to the model. It never reads the held-out tests, and"
            " publishes nothing. What is clearly better becomes your draft; what may be chance is offered."
        ),
        examples=("prompt tune sentiment",),
    ),
)

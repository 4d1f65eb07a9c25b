"""The command that lets a template use all its examples, and the button that takes what it found."""

import math
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import asdict, replace
from datetime import timedelta
from typing import Any, Final

from bot.commands.context import Services
from bot.commands.framework.command import Cards, Command, Option, Request
from bot.commands.framework.model_choice import find_template_model
from bot.commands.framework.near_examples import near_sentence
from bot.commands.framework.progress import Finished, watched
from bot.commands.framework.request import check_owner
from bot.commands.templates.draft_cards import draft_card
from bot.commands.templates.drafts import begin_draft, change_draft, check_editor, take_found
from bot.commands.templates.scoring import score_to_keep
from bot.commands.templates.testing import is_about_draft, stopped_card, valid_state, who_sees
from bot.core.cards import Block, Button, Card, Table, Text, Verbatim
from bot.core.mentions import mention
from bot.core.messages import Author, Click, Scope
from bot.core.sampling_params import SamplingOption
from bot.core.stopping import Stopper
from bot.core.templates.diff import diff_templates
from bot.core.templates.forms import checked
from bot.core.templates.template import Neighbours, PromptTemplate
from bot.core.wording import quote
from bot.errors import RequestError
from bot.services.measuring import OnProgress
from bot.services.neighbours import Found, find_neighbours
from bot.services.open_cards import open_card
from bot.store.cards import OpenCard
from bot.store.drafts import Draft

NEIGHBOURS_CARD: Final = "template_neighbours"
ACTIONS: Final = ("on", "off")
_LIFETIME: Final = timedelta(days=30)
_IN_PROMPT: Final = SamplingOption("in_prompt", "request", "", 0, 1000, None)


async def answer_neighbours(request: Request) -> Cards:
    """Let a template use its examples outside the prompt, or put all of them back into it."""
    services, message, name = request.services, request.message, request.arguments["NAME"]
    scope, author = message.scope, message.author
    await check_editor(services, scope, author, "prompt neighbours")
    action = request.arguments["ACTION"].lower()
    if action not in ACTIONS:
        raise RequestError(f"{mention('prompt neighbours ACTION NAME')} takes on or off, not {quote(action)}.")
    kept = await services.store.get_draft(scope, name, author.id)
    template = valid_state(kept) or await services.templates.get(scope, name)
    if action == "off":
        yield await _turned_off(request, template)
        return
    answers = who_sees(request, kept)
    found = None
    async with aclosing(_search(request, template)) as steps:
        async for step in steps:
            if isinstance(step, Finished):
                found = step.value
            else:
                yield replace(step, answers=answers)
    if found is None:
        yield replace(stopped_card(name), answers=answers)
        return
    is_taken = found.is_sure or bool(request.options.get("take"))
    if is_taken:
        await _take(services, scope, author, name, found.template.version, found.setting)
    card = replace(_found_card(found, is_taken=is_taken), answers=answers)
    yield card if is_taken or not found.may_help else await _offered(request, found, card)


async def _turned_off(request: Request, template: PromptTemplate) -> Card:
    """Put all examples back into the prompt of the asker's draft. Raises RequestError if they do not fit."""
    services, scope, name = request.services, request.message.scope, template.name
    if template.neighbours is None:
        raise RequestError(f"All examples of {name} are in its prompt already.")

    async def change(template: PromptTemplate) -> PromptTemplate:
        return checked(replace(template, neighbours=None))

    draft = await begin_draft(services, scope, request.message.author, name)
    draft = await change_draft(services, scope, draft, change)
    notice = "All examples are in the prompt of your draft again."
    return await draft_card(services, scope, draft, notice=notice, has_buttons=services.traits.has_buttons)


def _search(request: Request, template: PromptTemplate) -> AsyncGenerator[Card | Finished[Found | None]]:
    async def start(on_progress: OnProgress) -> Found | None:
        return await find_neighbours(
            request.services.measuring,
            template,
            num_in_prompt=request.options.get("in_prompt"),
            asker=request.asker,
            on_progress=on_progress,
            stopper=request.stopper,
        )

    return watched("rows read", start)


async def _take(
    services: Services, scope: Scope, author: Author, name: str, version: str, setting: Neighbours
) -> Draft:
    """Give the asker's draft this setting. Raises as `take_found` does."""
    return await take_found(
        services, scope, author, name, version, lambda template: replace(template, neighbours=setting)
    )


async def _offered(request: Request, found: Found, card: Card) -> Card:
    """Return the card of a result that may be chance, with a way to take it anyway."""
    services, message, name = request.services, request.message, found.template.name
    if not services.traits.has_buttons:
        hint = f"To make it your draft anyway, use {mention(f'prompt neighbours --take yes on {name}')}."
        return replace(card, blocks=(*card.blocks, Text(hint, is_quiet=True)))
    state = {"name": name, "version": found.template.version, "setting": asdict(found.setting)}
    offer = await open_card(services.store, message.scope, message.author.id, NEIGHBOURS_CARD, state, lives=_LIFETIME)
    return replace(card, buttons=(Button("take", "Make it my draft"),), open_card_id=offer.id, revision=offer.revision)


async def act_on_neighbours(services: Services, click: Click, card: OpenCard, stopper: Stopper) -> Cards:
    """Give the asker's draft the offered setting, and show it."""
    scope, author, state = click.scope, click.author, card.state
    check_owner(card, author, "card", "prompt neighbours on NAME")
    await check_editor(services, scope, author, "prompt neighbours")
    setting = Neighbours(**state["setting"])
    draft = await _take(services, scope, author, state["name"], state["version"], setting)
    yield await draft_card(services, scope, draft, notice="Your draft uses all its examples now.")


def _found_card(found: Found, *, is_taken: bool) -> Card:
    title = _title(found, is_taken=is_taken)
    blocks: list[Block] = [Text(title)]
    if is_taken:
        blocks.append(Text(near_sentence(found.proposal)))
    if (gain := _gain_sentence(found)) is not None:
        blocks.append(Text(gain))
    blocks.append(_table(found))
    if is_taken or found.may_help:
        blocks.append(Verbatim(_diff(found)))
    blocks += [Text(note, is_quiet=True) for note in _notes(found, is_taken=is_taken)]
    return Card(blocks=tuple(blocks), data=_data(found, title, is_taken=is_taken))


def _title(found: Found, *, is_taken: bool) -> str:
    name = found.template.name
    if is_taken:
        return f"Your draft of {name} now uses all its {len(found.template.examples)} examples."
    if found.setting == found.template.neighbours:
        return f"{name} has the best setting already. Nothing was changed."
    if not found.is_useful:
        return f"Comparing with the nearest examples does not help {name}. Nothing was changed."
    if found.comparison is None:
        return f"The nearest examples may help {name}, but it has no tests to show it. Nothing was changed."
    if found.comparison.verdict == "worse":
        return f"{name} does worse with its nearest examples. Nothing was changed."
    if not found.may_help:
        return f"{name} does no better with its nearest examples. Nothing was changed."
    return f"The nearest examples may help {name}, but that may be chance. Nothing was changed."


def _gain_sentence(found: Found) -> str | None:
    """Return before and after on the tests with the interval of the difference; None without tests."""
    if found.before is None or found.after is None or found.comparison is None:
        return None
    gain = found.comparison.interval
    is_chance = found.comparison.verdict == "no clear difference" and gain.mean != 0
    chance = ", so it may be chance" if is_chance else ""
    return (
        f"On its {found.before.num_rows} held-out tests:"
        f" {found.before.accuracy:.0%} → {found.after.accuracy:.0%} right;"
        f" {100 * gain.mean:+.1f} points (95% interval {100 * gain.low:+.1f} to {100 * gain.high:+.1f}{chance})."
    )


def _table(found: Found) -> Table:
    choice, before, after = found.choice, found.before, found.after
    rows = []
    if before is not None and after is not None:
        rows.append(("tests answered right", f"{before.accuracy:.0%}", f"{after.accuracy:.0%}"))
        rows.append(("bits of the right label", f"{before.mean_bits:.3f}", f"{after.mean_bits:.3f}"))
    rows.append(("examples in the prompt", _num_before(found), str(len(found.proposal.prompt_examples))))
    rows.append(("bits on the other examples", f"{_mean(choice.bits_before):.3f}", f"{_mean(choice.bits_after):.3f}"))
    return Table(("", "before", "after"), tuple(rows))


def _num_before(found: Found) -> str:
    return str(len((found.template if found.fits_before else found.proposal).prompt_examples))


def _notes(found: Found, *, is_taken: bool) -> list[str]:
    num_kept, setting = len(found.proposal.kept_examples), found.setting
    notes = [
        f"The {num_kept} examples outside the prompt were answered one by one from the others. That chose"
        f" {setting.num_nearest} nearest and a weight of {setting.weight:.0%}, so the bits on them look better than"
        " they are. The tests were not read for the choice."
    ]
    if not found.is_useful:
        notes[0] = (
            f"The {num_kept} examples outside the prompt were answered one by one from the others, and no number of"
            " nearest ones saved bits of the right label."
        )
    if found.before is not None and not found.fits_before:
        notes.append("All examples together do not fit the model, so before has the same prompt without the others.")
    if is_taken:
        again = mention(f"prompt neighbours on {found.template.name}")
        notes.append(f"After you add examples, {again} chooses again and reads only the new ones.")
    return notes


def _mean(bits: Sequence[float]) -> float:
    return math.fsum(bits) / len(bits)


def _diff(found: Found) -> str:
    return diff_templates(found.template, found.proposal)


def _data(found: Found, title: str, *, is_taken: bool) -> dict[str, Any]:
    comparison, choice = found.comparison, found.choice
    return {
        "text": title,
        "template": found.template.name,
        "is_proposed": is_taken,
        "is_offered": found.may_help and not is_taken,
        "num_in_prompt": len(found.proposal.prompt_examples),
        "num_kept": len(found.proposal.kept_examples),
        "num_nearest": found.setting.num_nearest,
        "weight": found.setting.weight,
        "before": None if found.before is None else score_to_keep(found.before),
        "after": None if found.after is None else score_to_keep(found.after),
        "verdict": None if comparison is None else comparison.verdict,
        "gain": None if comparison is None else comparison.interval.mean,
        "gain_interval": None if comparison is None else [comparison.interval.low, comparison.interval.high],
        "left_out_bits": [_mean(choice.bits_before), _mean(choice.bits_after)],
        "left_out_gain_interval": [found.gain.low, found.gain.high],
        "diff": _diff(found) if is_taken or found.may_help else "",
    }


COMMANDS: Final = (
    Command(
        name="prompt neighbours",
        summary="Use all examples of a template, also those that its prompt has no room for",
        answer=answer_neighbours,
        find_model=find_template_model,
        arguments=("ACTION", "NAME"),
        argument_choices={"ACTION": ACTIONS},
        options=(
            Option("take", "choice", "make it your draft even if it may be chance", choices=("yes",)),
            Option("in_prompt", "whole", "how many examples stay in the prompt", number=_IN_PROMPT),
        ),
        who="moderators",
        answers="private",
        is_secret_for=is_about_draft,
        details=(
            "Some examples stay in the prompt. The model reads each of the others once, and a message is compared with"
            " what it made of them: the labels of the nearest ones count with a weight that is chosen on the examples,"
            " each left out in turn. The held-out tests then show before and after. What is clearly better becomes your"
            f" draft; what may be chance is offered. To undo it, use {mention('prompt neighbours off NAME')}."
        ),
        examples=("prompt neighbours on sentiment", "prompt neighbours off sentiment"),
    ),
)

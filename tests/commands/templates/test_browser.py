"""The template browser of `prompt list`: a template is chosen, shown, tried, edited, measured and published there."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import timedelta

import pytest

from bot.core.cards import Card, Facts, Table, Text, Verbatim
from bot.core.messages import Author, FormSubmitted
from bot.services.open_cards import open_card
from tests.bots import HERE, MOOD, PROMPTS, Talk

OpenTiny = Callable[..., AbstractAsyncContextManager[Talk]]


async def browser_of(talk: Talk, **how: object) -> Card:
    return await talk.card("!prompt list", has_buttons=True, **how)


def actions(card: Card) -> list[str]:
    return [button.action for button in card.buttons]


async def choose(talk: Talk, card: Card, name: str, **how: object) -> Card:
    return await talk.click(card, "choose", value=name, **how)  # type: ignore[arg-type]


async def test_the_list_has_a_select_of_all_templates_and_the_settings_for_moderators(talk: Talk) -> None:
    card = await browser_of(talk)
    assert isinstance(card.blocks[0], Table)
    (select,) = card.selects
    assert [option.value for option in select.options] == sorted(PROMPTS)
    assert select.options[-1].help == "complete · English to French."
    assert actions(card) == ["settings"]
    assert actions(await browser_of(talk, is_moderator=False)) == []
    assert [one["name"] for one in card.data["templates"]] == sorted(PROMPTS)


async def test_a_chosen_template_is_shown_in_place_with_what_a_member_may_do(talk: Talk) -> None:
    card = await choose(talk, await browser_of(talk, is_moderator=False), "sentiment")
    assert card.answers == "public"
    assert card.blocks[0] == Text("sentiment: Friendly or not?")
    assert card.blocks[1] == Facts((("kind", "classify"), ("version", "built-in")))
    assert actions(card) == ["show", "try", "history", "list"]
    assert [option.value for option in card.selects[0].options if option.is_chosen] == ["sentiment"]
    shown = await talk.click(card, "show")
    assert isinstance(shown.blocks[-1], Verbatim)
    assert shown.blocks[-1].text == PROMPTS["sentiment"]
    history = await talk.click(shown, "history")
    assert "nobody has changed it here" in str(history.blocks)
    other = await choose(talk, history, "chat")
    # What is talked with can't be tried with one text.
    assert actions(other) == ["show", "history", "list"]
    back = await talk.click(other, "list")
    assert isinstance(back.blocks[0], Table)
    assert back.open_card_id == card.open_card_id


async def test_a_template_is_tried_and_the_browser_stays(talk: Talk) -> None:
    card = await choose(talk, await browser_of(talk), "sentiment")
    form = (await talk.click(card, "try")).form
    assert form is not None
    assert form.title == "Try sentiment"
    for is_on_card in (False, True):
        author = Author("ann", "Ann")
        submitted = FormSubmitted(f"f{is_on_card}", HERE, author, form.id, {"text": "I love it"}, is_on_card=is_on_card)
        *_, answer = [one async for one in talk.bot.submit(submitted)]
        assert answer.answers == "private"
        assert "Positive" in str(answer.blocks)
    assert await talk.click(card, "show")


async def test_a_moderator_edits_measures_and_publishes_from_it(talk: Talk) -> None:
    card = await choose(talk, await browser_of(talk), "sentiment", is_moderator=True)
    assert actions(card) == ["show", "try", "edit", "history", "list"]
    form = (await talk.click(card, "edit", is_moderator=True)).form
    assert form is not None
    assert form.title == "Template sentiment"
    await talk.ask(f"!prompt import mood {MOOD}")
    card = await talk.click(card, "list", is_moderator=True)
    assert card.blocks[-1] == Text("Your drafts: mood", is_quiet=True)
    (select,) = card.selects
    assert {option.value: option.help for option in select.options}["mood"] == "your draft"
    card = await choose(talk, card, "mood", is_moderator=True)
    assert card.blocks[0] == Text("mood: a new template, not published yet")
    assert actions(card) == ["edit", "test", "draft", "publish", "list"]
    draft = await talk.click(card, "draft", is_moderator=True)
    assert draft.answers == "private"
    assert "Draft of mood" in str(draft.blocks)
    measured = await talk.click(card, "test", is_moderator=True)
    assert measured.answers == "private"
    assert "held-out tests" in str(measured.blocks)
    published = await talk.click(card, "publish", is_moderator=True)
    assert published.blocks[0] == Text("Published mood as version 1.")
    assert published.answers == "private"
    # Nobody else is offered the drafts.
    theirs = await browser_of(talk, who="Bo", is_moderator=False)
    assert "Your drafts" not in str(theirs.blocks)
    card = await choose(talk, card, "mood", is_moderator=True)
    assert actions(card) == ["show", "try", "edit", "test", "history", "list"]
    assert ("version", "1") in card.blocks[1].items  # type: ignore[union-attr]


async def test_a_draft_that_is_not_valid_can_be_opened_and_not_published(talk: Talk) -> None:
    await talk.card("!prompt import tale +++\nnothing")
    card = await choose(talk, await browser_of(talk), "tale", is_moderator=True)
    assert "publish" not in actions(card)
    assert "draft" in actions(card)


async def test_the_settings_are_those_of_the_server_and_its_selects_change_them(talk: Talk) -> None:
    card = await talk.click(await browser_of(talk), "settings", is_moderator=True)
    assert card.answers == "private"
    assert {select.label for select in card.selects} >= {"Choose the sampling preset of this server"}
    changed = await talk.click(card, "preset", value="wild", is_moderator=True)
    assert "for this server" in str(changed.blocks[0])
    there = replace(HERE, channel="elsewhere")
    assert (await talk.ask("!settings", scope=there))["settings"]["preset"] == "wild"


async def test_only_the_owner_turns_it_and_an_old_one_does_nothing(talk: Talk) -> None:
    card = await browser_of(talk)
    assert await talk.click_refusal(card, "choose", who="Bo", value="chat") == (
        "That card belongs to someone else. Get your own with /prompt list."
    )
    await choose(talk, card, "sentiment")
    assert await talk.click_refusal(card, "choose", value="chat") == "That card is out of date; use the newest one."


async def test_who_is_no_moderator_any_more_runs_nothing_for_moderators(talk: Talk) -> None:
    card = await choose(talk, await browser_of(talk), "sentiment", is_moderator=True)
    for action in ("edit", "settings"):
        assert (await talk.click_refusal(card, action, is_moderator=False)).startswith("Only moderators can use")


async def test_a_template_that_is_gone_is_one_sentence(talk: Talk) -> None:
    card = await browser_of(talk)
    assert await talk.click_refusal(card, "choose", value="gone") == "The template gone is gone. Choose another one."


@pytest.mark.parametrize("num", [25, 26, 60])
async def test_many_templates_are_on_pages_of_one_select(open_tiny: OpenTiny, num: int) -> None:
    names = [f"t{number:02}" for number in range(num - 1)]
    prompts = {"chat": PROMPTS["chat"], **dict.fromkeys(names, PROMPTS["story"])}
    async with open_tiny(prompts=prompts) as talk:
        card, found = await browser_of(talk), []
        for _ in range(3):
            options = card.selects[0].options
            assert len(options) <= 25
            found += [option.value for option in options if not option.value.startswith(":")]
            if options[-1].value == ":0" or not options[-1].value.startswith(":"):
                break
            card = await choose(talk, card, options[-1].value)
        assert found == ["chat", *names]


async def test_a_person_who_is_not_read_sees_the_list_without_a_select(talk: Talk) -> None:
    await talk.store.opt_out(HERE.platform, "ann", True)
    card = await browser_of(talk)
    assert isinstance(card.blocks[0], Table)
    assert card.selects == ()


async def test_an_unknown_button_of_an_earlier_version_is_out_of_date(talk: Talk) -> None:
    kept = await open_card(talk.store, HERE, "ann", "browser", {}, lives=timedelta(days=1))
    shown = Card(open_card_id=kept.id, revision=kept.revision)
    for action in ("dance", "edit"):
        assert "out of date" in await talk.click_refusal(shown, action)


async def test_show_calls_the_version_as_the_list_does(talk: Talk) -> None:
    for version in ("built-in", "1"):
        card = await talk.card("!prompt show story")
        assert dict(card.blocks[1].items)["version"] == f"{version} ({card.data['version']})"  # type: ignore[union-attr]
        await talk.ask("!prompt examples story add a => b")
        await talk.ask("!prompt publish story")

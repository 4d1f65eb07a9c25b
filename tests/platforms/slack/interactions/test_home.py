"""The Home tab and the global shortcut: the template browser, and what its buttons lead to."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.core.cards import Card, Text
from bot.platforms.slack.interactions import home
from bot.platforms.slack.interactions.home import view_blocks
from bot.platforms.slack.manifest import BROWSER_SHORTCUT
from bot.platforms.slack.traits import SLACK
from tests.bots import MOOD, Talk
from tests.platforms.slack.outgoing.test_rendering import BLOCKS
from tests.platforms.slack.towns import Town, a_town, buttons, visible_text
from tests.servers.slack import interactions as triggers
from tests.servers.slack.checking import view_findings
from tests.servers.slack.faults import Fault
from tests.servers.slack.objects import View
from tests.servers.slack.people import Person

OpenTiny = Callable[..., AbstractAsyncContextManager[Talk]]
CHOOSE = "Choose a template"
TESTS = "I love the cat => Positive\nI hate the dog => Negative\nThis is awful => Negative"


@pytest.fixture
async def town(open_tiny: OpenTiny) -> AsyncIterator[Town]:
    async with a_town(lambda: open_tiny("gpt2", traits=SLACK, quota_per_minute=600)) as opened:
        yield opened


async def open_home(town: Town, person: Person) -> View:
    async def opens() -> None:
        person.opens_home()

    return await view_of(town, opens())


async def view_of(town: Town, doing: Any) -> View:
    view = await town.outcome(doing)
    assert isinstance(view, View)
    return view


async def test_the_home_tab_lists_the_templates_and_shows_a_chosen_one(town: Town):
    async with town.run():
        tab = await open_home(town, town.ann)
        intro, *listed = visible_text(tab).splitlines()
        assert intro.startswith("I am Fewshot. Mention me in a channel")
        assert "/fewshot help lists what I can do." in intro
        assert listed[0] == "Templates"
        assert listed[1].startswith("chat")
        assert "English to French." in visible_text(tab)
        assert buttons(tab) == [CHOOSE]
        assert await view_of(town, town.ann.selects(tab, CHOOSE, "sentiment")) is tab
        assert visible_text(tab).startswith("sentiment: Friendly or not?")
        assert buttons(tab) == [CHOOSE, "Show", "Try", "History", "All templates"]
        await view_of(town, town.ann.clicks(tab, "Show"))
        assert "I love this" in visible_text(tab)
        await view_of(town, town.ann.clicks(tab, "History"))
        assert "nobody has changed it" in visible_text(tab)
    async with town.run():
        # Its buttons work after a restart.
        await view_of(town, town.ann.clicks(tab, "All templates"))
        assert "English to French." in visible_text(tab)


async def test_a_template_is_tried_from_the_home_tab(town: Town):
    async with town.run():
        tab = await open_home(town, town.ann)
        await view_of(town, town.ann.selects(tab, CHOOSE, "sentiment"))
        form = await view_of(town, town.ann.clicks(tab, "Try"))
        assert form.title == "Try sentiment"
        answer = await view_of(town, town.ann.submits(form, {"Text": "I love it"}))
        assert answer.kind == "modal"
        assert "Positive" in visible_text(answer)
        assert town.slack.open_views(town.ann.user) == [answer]
        assert "Why" in buttons(answer)
        why = await view_of(town, town.ann.clicks(answer, "Why"))
        assert "Feelings." in visible_text(why)
        assert [view.kind for view in town.slack.open_views(town.ann.user)] == ["modal", "modal"]


async def test_a_moderator_edits_measures_and_publishes_from_the_home_tab(town: Town):
    async with town.run():
        tab = await open_home(town, town.mo)
        assert buttons(tab) == [CHOOSE, "Settings"]
        await view_of(town, town.mo.selects(tab, CHOOSE, "sentiment"))
        assert buttons(tab) == [CHOOSE, "Show", "Try", "Edit", "History", "All templates"]
        form = await view_of(town, town.mo.clicks(tab, "Edit"))
        await town.mo.submits(form, {"Query": "no slot"})
        assert list(form.errors) == ["query"]
        draft = await view_of(town, town.mo.submits(form, {"Query": "$input ->", "Description": "D."}))
        assert "Draft of sentiment" in visible_text(draft)
        assert town.slack.open_views(town.mo.user) == [draft]
        # A form above the draft's card, a mistake in it, and its success below.
        rows = await view_of(town, town.mo.clicks(draft, "Examples and tests"))
        assert rows.previous_id == draft.id
        assert await view_of(town, town.mo.submits(rows, {"Tests": TESTS})) is draft
        assert "Test" in buttons(draft)
        assert await view_of(town, town.mo.clicks(draft, "Test")) is draft
        assert "accuracy" in visible_text(draft)
        published = await view_of(town, town.mo.clicks(draft, "Publish"))
        if published is not draft:
            published = await view_of(town, town.mo.submits(published, {"Why publish it anyway?": "shorter"}))
        assert published is draft
        assert "Published sentiment as version 1." in visible_text(draft)

        tab = await open_home(town, town.mo)
        await view_of(town, town.mo.selects(tab, CHOOSE, "sentiment"))
        assert "version\u00a01" in visible_text(tab)
        assert "Mo," in visible_text(tab)
        assert "Test" in buttons(tab)


async def test_own_drafts_and_the_settings_of_the_workspace_are_there_for_moderators(town: Town):
    async with town.run():
        await town.outcome(town.mo.slash(town.general, "/prompt", f"import moods {MOOD}"))
        tab = await open_home(town, town.mo)
        assert "Your drafts: moods" in visible_text(tab)
        await view_of(town, town.mo.selects(tab, CHOOSE, "moods"))
        draft = await view_of(town, town.mo.clicks(tab, "Draft"))
        assert "Draft of moods" in visible_text(draft)
        await town.mo.closes(draft)
        await view_of(town, town.mo.clicks(tab, "All templates"))
        settings_view = await view_of(town, town.mo.clicks(tab, "Settings"))
        assert settings_view.title == "Settings"
        chosen = town.mo.selects(settings_view, "Choose the sampling preset of this workspace", "Sampling preset: wild")
        assert await view_of(town, chosen) is settings_view
        assert "for this workspace" in visible_text(settings_view)
        assert "moods" not in visible_text(await open_home(town, town.ann))


async def test_the_global_shortcut_opens_the_browser_in_a_modal(town: Town):
    async with town.run():
        modal = await view_of(town, town.ann.uses_global_shortcut(BROWSER_SHORTCUT))
        assert modal.title == "Templates"
        assert visible_text(modal).count("Templates") == 1
        assert await view_of(town, town.ann.selects(modal, CHOOSE, "story")) is modal
        form = await view_of(town, town.ann.clicks(modal, "Try"))
        assert form.previous_id == modal.id
        answer = await view_of(town, town.ann.submits(form, {"Text": "a cat"}))
        assert answer is not modal
        assert visible_text(modal).startswith("Templates\nstory: A story.")


async def test_the_global_shortcut_opens_before_slack_has_said_who_used_it(town: Town, monkeypatch: pytest.MonkeyPatch):
    async with town.run():
        monkeypatch.setattr(triggers, "TRIGGER_LIFE_S", 0.3)
        town.slack.faults.always("users.info", Fault("slow", delay_s=0.6))
        modal = await view_of(town, town.bo.uses_global_shortcut(BROWSER_SHORTCUT))
        await town.slack.wait_for(lambda: "story" in visible_text(modal), 10, "the templates in the same modal")
        assert town.bo.dm_channel.messages == []


async def test_a_tab_that_is_opened_too_often_says_so_in_the_tab(open_tiny: OpenTiny):
    async with a_town(lambda: open_tiny("gpt2", traits=SLACK, quota_per_minute=1)) as town, town.run():
        tab = await open_home(town, town.ann)
        assert await open_home(town, town.ann) is tab
        assert "You made 1 request within a minute" in visible_text(tab)
        assert town.ann.dm_channel.messages == []


async def test_what_comes_too_late_for_a_modal_is_a_direct_message(
    open_tiny: OpenTiny, monkeypatch: pytest.MonkeyPatch
):
    async with a_town(lambda: open_tiny("gpt2", traits=SLACK), is_clean=False) as town, town.run():
        tab = await open_home(town, town.mo)
        monkeypatch.setattr(triggers, "TRIGGER_LIFE_S", -1.0)
        told = await town.outcome(town.mo.clicks(tab, "Settings"))
        assert told in town.mo.dm_channel.messages
        assert "answer_when" in visible_text(told)
        assert buttons(told) == []


def test_the_models_words_in_a_view_are_shown_as_they_are():
    text = "Tom & Jerry <b> see https://x.example and **more**"
    (block,) = view_blocks(Card(blocks=(Text(text, is_model_text=True),)))
    assert block["elements"][0]["elements"] == [{"type": "text", "text": text}]


@settings(max_examples=40)
@given(st.lists(BLOCKS, max_size=8), st.booleans())
def test_no_card_breaks_a_limit_of_views(blocks: list[Any], is_error: bool):
    card = Card(blocks=tuple(blocks), error="No." * 2000 if is_error else None)
    for view, is_home in ((home._home(card), True), (home._modal(card), False)):
        assert list(view_findings(view, lambda _: None, is_home=is_home)) == []
    assert view_blocks(card)

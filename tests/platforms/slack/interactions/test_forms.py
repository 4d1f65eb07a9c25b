"""A moderator changes a template on Slack: modals with mistakes at their fields, drafts, tests, publishing."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

import pytest

from bot.commands.bot import Bot
from bot.platforms.shared import submitting
from bot.platforms.slack.traits import SLACK
from tests.bots import Talk
from tests.platforms.slack.towns import Town, a_town, buttons, shortcut, visible_text
from tests.servers.slack import interactions as triggers
from tests.servers.slack.faults import Fault
from tests.servers.slack.objects import Message, View

OpenTiny = Callable[..., AbstractAsyncContextManager[Talk]]
TESTS = "I love the cat => Positive\nI hate the dog => Negative\nThis is awful => Negative"


@pytest.fixture
async def town(open_tiny: OpenTiny) -> AsyncIterator[Town]:
    async with a_town(lambda: open_tiny("gpt2", traits=SLACK, quota_per_minute=600)) as opened:
        yield opened


async def modal_of(town: Town, doing: object) -> View:
    view = await town.outcome(doing)  # type: ignore[arg-type]
    assert isinstance(view, View)
    return view


def typed(view: View, block_id: str) -> str:
    """Return what a field of an open modal holds."""
    (element,) = view.values[block_id].values()
    return str(element.get("value") or "")


async def test_a_mistake_is_shown_at_its_field_and_loses_nothing_and_success_updates_the_card(town: Town):
    async with town.run():
        view = await modal_of(town, town.mo.slash(town.general, "/prompt", "edit sentiment"))
        assert view.title == "Template sentiment"
        wrong = await town.mo.submits(view, {"Instruction": "How does it feel?", "Query": "no slot here"})
        assert wrong.failure is None
        assert list(view.errors) == ["query"]
        assert view.errors["query"].startswith("The text needs $input")
        assert "Your text is saved" in view.errors["query"]
        assert view in town.slack.open_views(town.mo.user)
        assert (typed(view, "query"), typed(view, "instruction")) == ("no slot here", "How does it feel?")
        # There is no card yet, so a mistake shows none.
        assert town.whispers(town.mo) == []
        card = await town.outcome(town.mo.submits(view, {"Query": "$input ->"}))
        assert town.slack.open_views(town.mo.user) == []
        assert card in town.whispers(town.mo)
        assert "How does it feel?" in visible_text(card)
        assert buttons(card)[:2] == ["Publish", "Edit again"]

        # From the card, a mistake shows it again with the problem, and success in its place.
        view = await modal_of(town, town.mo.clicks(card, "Edit again"))
        shown = await town.outcome(town.mo.submits(view, {"Labels": "one"}))
        assert shown is card
        assert list(view.errors) == ["labels"]
        assert "⚠" in visible_text(card)
        again = await town.outcome(
            town.mo.submits(view, {"Labels": "Positive, Negative, Neutral", "Description": "D."})
        )
        assert again is card
        assert "+ D." in visible_text(card)
        assert len(town.whispers(town.mo)) == 1

        rows = await modal_of(town, town.mo.clicks(card, "Examples and tests"))
        await town.outcome(town.mo.submits(rows, {"Tests": "no arrow"}))
        assert list(rows.errors) == ["tests"]
        await town.outcome(town.mo.submits(rows, {"Tests": TESTS}))
        assert "Test" in buttons(card)
        await town.mo.clicks(card, "Test")
        await town.slack.wait_for(lambda: "accuracy" in visible_text(card), 30, "the figures of the tests")

    # What is not published yet is there after a restart, and so are the buttons of its card.
    async with town.run():
        published = await town.outcome(town.mo.clicks(card, "Publish"))
        if isinstance(published, View):
            published = await town.outcome(town.mo.submits(published, {"Why publish it anyway?": "shorter"}))
        assert published is card
        assert "Published sentiment as version 1." in visible_text(card)
        form = await modal_of(town, town.mo.clicks(card, "Try it"))
        tried = await town.outcome(town.mo.submits(form, {"Text": "I love it"}))
        assert tried is card
        assert "Positive" in visible_text(card)
        assert buttons(card) == ["Try another text", "Why"]
        why = await town.outcome(town.mo.clicks(card, "Why"))
        assert why is not card
        assert "How does it feel?" in visible_text(why)


async def test_a_new_template_from_a_file_and_one_that_is_none(town: Town):
    async with town.run():
        view = await modal_of(town, town.mo.slash(town.general, "/fewshot", "prompt new moods"))
        picture = town.slack.world.add_file(town.mo.user, "x.png", b"\x89PNG\r\n")
        await town.mo.submits(view, {"Or a .prompt file": [picture]})
        assert list(view.errors) == ["file"], view.errors
        text = b'+++\ndescription = "Which mood?"\nkind = "classify"\nlabels = ["good", "bad"]\n+++\n$input =\n'
        broken = town.slack.world.add_file(town.mo.user, "moods.prompt", text.replace(b"classify", b"clasify"))
        await town.mo.submits(view, {"Or a .prompt file": [broken]})
        assert list(view.errors) == ["file"], view.errors
        assert "Line 3 of the file" in view.errors["file"]
        good = town.slack.world.add_file(town.mo.user, "moods.prompt", text)
        card = await town.outcome(town.mo.submits(view, {"Or a .prompt file": [good]}))
        assert "Which mood?" in visible_text(card)


async def test_a_slow_answer_closes_the_modal_and_is_shown_when_it_is_there(
    town: Town, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(submitting, "_SUBMITTING_S", 0.0)
    async with town.run():
        view = await modal_of(town, town.mo.slash(town.general, "/prompt", "edit sentiment"))
        card = await town.outcome(town.mo.submits(view, {"Query": "no slot here"}))
        assert town.slack.open_views(town.mo.user) == []
        assert isinstance(card, Message)
        # What was typed is behind the card's button.
        assert "$input" in visible_text(card)
        again = await modal_of(town, town.mo.clicks(card, "Edit again"))
        (query,) = [block for block in again.payload["blocks"] if block["block_id"] == "query"]
        assert query["element"]["initial_value"] == "no slot here"


async def test_a_form_is_acknowledged_in_time_while_slack_does_not_say_who_sent_it(
    town: Town, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(submitting, "_SUBMITTING_S", 0.1)
    async with town.run():
        view = await modal_of(town, town.mo.slash(town.general, "/prompt", "edit sentiment"))
        assert town.client is not None
        town.client.interactions._people._people.clear()
        town.slack.faults.always("users.info", Fault("slow", delay_s=1.5))
        sent = await town.mo.submits(view, {"Instruction": "How does it feel?"})
        assert sent.acknowledged_after_s is not None
        assert sent.acknowledged_after_s < 1.4
        card = await town.whisper(town.mo)
        assert "How does it feel?" in visible_text(card)


async def test_a_form_that_meets_a_bug_stays_open_and_says_so(town: Town, monkeypatch: pytest.MonkeyPatch):
    async with town.run():
        view = await modal_of(town, town.mo.slash(town.general, "/prompt", "edit sentiment"))
        monkeypatch.setattr(Bot, "submit", lambda *_: 1 / 0)
        sent = await town.mo.submits(view, {"Instruction": "How does it feel?"})
        assert sent.failure is None
        assert next(iter(view.errors.values())).startswith("Something broke inside the bot.")
        assert typed(view, "instruction") == "How does it feel?"


async def test_a_proposed_example_is_checked_in_its_form(town: Town):
    async with town.run():
        said = town.ann.says(town.general, "What a day!")
        view = await modal_of(town, town.ann.uses_shortcut(said, shortcut("Use as example")))
        await town.ann.submits(view, {"Template": "sentiment", "What it should answer": "Happy"})
        assert "one of Positive" in next(iter(view.errors.values()))
        assert list(view.errors) == ["output"]
        done = await town.outcome(town.ann.submits(view, {"What it should answer": "positive"}))
        assert "Proposed as an example of sentiment" in visible_text(done)


async def test_a_form_that_opens_too_late_says_so(open_tiny: OpenTiny, monkeypatch: pytest.MonkeyPatch):
    async with a_town(lambda: open_tiny("gpt2", traits=SLACK), is_clean=False) as town, town.run():
        monkeypatch.setattr(triggers, "TRIGGER_LIFE_S", -1.0)
        told = await town.outcome(town.mo.slash(town.general, "/prompt", "edit sentiment"))
        assert visible_text(told) == "⚠️ The form took too long to open. Try again."
        assert told in town.whispers(town.mo)
        assert len(town.slack.broken) == 1


@pytest.mark.parametrize(
    "fault", [Fault("rate_limited", retry_after_s=60), Fault("refused", reason="invalid_arguments")]
)
async def test_a_form_that_slack_does_not_open_says_so(town: Town, fault: Fault):
    async with town.run():
        town.slack.faults.always("views.open", fault)
        told = await town.outcome(town.mo.slash(town.general, "/prompt", "edit sentiment"))
        assert visible_text(told) == "⚠️ Slack did not open the form. Try again in a minute."
        assert told in town.whispers(town.mo)


@pytest.mark.parametrize("fault", ["accepted_then_error", "accepted_then_reset"])
async def test_a_form_that_slack_opened_without_saying_so_is_open(open_tiny: OpenTiny, fault: str):
    async with a_town(lambda: open_tiny("gpt2", traits=SLACK), is_clean=False) as town, town.run():
        town.slack.faults.once("views.open", fault)  # type: ignore[arg-type]
        view = await modal_of(town, town.mo.slash(town.general, "/prompt", "edit sentiment"))
        await town.slack.wait_for(lambda: len(town.slack.calls("views.open")) == 2, what="another try")
        await town.slack.sockets.is_idle()
        assert town.whispers(town.mo) == []
        await town.outcome(town.mo.submits(view, {"Instruction": "How does it feel?"}))


async def test_people_without_rights_get_no_form_and_nobody_submits_anothers(town: Town):
    async with town.run():
        refused = await town.outcome(town.ann.slash(town.general, "/prompt", "edit sentiment"))
        assert "Only moderators can use /fewshot prompt edit" in visible_text(refused)
        view = await modal_of(town, town.mo.slash(town.general, "/prompt", "edit sentiment"))
        town.mo.user.rank = "member"
        town.client._people.forget(town.team.id, town.mo.id)  # type: ignore[union-attr]
        await town.mo.submits(view, {"Description": "D."})
        assert "Only moderators" in next(iter(view.errors.values()))

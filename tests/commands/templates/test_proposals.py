"""Examples that members propose for templates, at once or with a form, and the moderators' list of them."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace

import pytest

from bot.core.cards import Card
from bot.core.messages import Author, FormSubmitted, Scope
from bot.store.proposals import MAX_PROPOSALS
from tests.bots import HERE, Talk

LINE = "!prompt example --template sentiment --output positive What a day!"


async def form_of(talk: Talk, line: str = "!prompt example I love rain", **how: object) -> Card:
    card = await talk.card(line, has_buttons=True, reach="form", is_moderator=False, **how)
    assert card.form is not None, card
    return card


async def submit(talk: Talk, card: Card, values: Mapping[str, str], *, who: str = "Ann") -> Card:
    assert card.form is not None
    submitted = FormSubmitted("f1", HERE, Author(who.lower(), who), card.form.id, values)
    cards = [shown async for shown in talk.bot.submit(submitted)]
    assert [shown.is_final for shown in cards] == [True]
    return cards[0]


async def test_a_form_asks_what_is_not_said(talk: Talk) -> None:
    card = await form_of(talk)
    assert card.form is not None
    template, text, output = card.form.fields
    assert [option.value for option in template.options] == ["exact", "sentiment", "story", "translate-en-fr"]
    assert (text.value, output.value) == ("I love rain", "")
    assert card.answers == "private"
    done = await submit(talk, card, {"template": "sentiment", "input": "I love rain", "output": " positive "})
    assert done.error is None
    assert done.answers == "private"
    listed = await talk.ask("!prompt examples sentiment proposed")
    assert listed["examples"][0]["input"] == "I love rain"
    assert listed["examples"][0]["output"] == "Positive", "as the label is written"
    assert listed["examples"][0]["by"] == "Ann"
    assert (await talk.ask("!prompt examples story proposed"))["num_proposed"] == 0


async def test_a_chosen_template_stands_first_in_the_form(talk: Talk) -> None:
    card = await form_of(talk, "!prompt example --template story I love rain")
    assert card.form is not None
    options = card.form.fields[0].options
    assert options[0].value == "story"
    assert options[0].is_chosen
    assert len({option.value for option in options}) == len(options)


async def test_a_message_is_used_as_an_example(talk: Talk) -> None:
    await talk.ask("What a day!", who="Bob")
    card = await form_of(talk, "!prompt example", reply_to=talk.message_ids[0])
    assert card.form is not None
    assert card.form.fields[1].value == "What a day!"
    await submit(talk, card, {"template": "story", "input": "What a day!", "output": "It was."})
    assert (await talk.ask("!prompt examples story proposed"))["num_proposed"] == 1
    await talk.bot.deleted("terminal", [talk.message_ids[0]])
    assert (await talk.ask("!prompt examples story proposed"))["num_proposed"] == 0, "it goes with the message"


async def test_all_can_be_said_in_one_line(talk: Talk) -> None:
    assert (await talk.ask(LINE, is_moderator=False))["output"] == "Positive"
    missing = "Name the template and the output: !prompt example --template NAME --output TEXT INPUT"
    assert await talk.refusal("!prompt example I love rain") == missing
    assert (await talk.ask("!prompt examples sentiment proposed"))["num_proposed"] == 1


async def test_a_public_line_offers_a_button_that_opens_the_form(talk: Talk) -> None:
    card = await talk.card("!prompt example I love rain", has_buttons=True, reach="public")
    assert [button.label for button in card.buttons] == ["Open"]
    opened = await talk.click(card, "open")
    assert opened.form is not None
    assert opened.form.fields[1].value == "I love rain"


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"template": "sentimen"}, "There is no template 'sentimen'; did you mean sentiment?"),
        (
            {"template": "chat"},
            "chat is a chat template. Choose a template that takes an input.",
        ),
        ({"output": "Great"}, "The output of sentiment is one of Positive, Negative, Neutral."),
        ({"input": "  "}, "The input takes 1 to 4,000 characters, not 0."),
        ({"template": "story", "output": "x" * 4001}, "The output takes 1 to 4,000 characters, not 4,001."),
    ],
)
async def test_a_wrong_value_is_one_sentence_and_nothing_is_kept(
    talk: Talk, values: Mapping[str, str], sentence: str
) -> None:
    card = await form_of(talk)
    filled = {"template": "sentiment", "input": "I love rain", "output": "Positive", **values}
    assert (await submit(talk, card, filled)).error == sentence
    assert (await talk.ask("!prompt examples sentiment proposed"))["num_proposed"] == 0


async def test_a_form_is_its_owner_s_and_ends_with_its_message(talk: Talk) -> None:
    card = await form_of(talk)
    filled = {"template": "sentiment", "input": "I love rain", "output": "Positive"}
    assert "belongs to someone else" in str((await submit(talk, card, filled, who="Bob")).error)
    await talk.bot.deleted("terminal", [talk.message_ids[-1]])
    assert str((await submit(talk, card, filled)).error).startswith("That form has expired")


async def test_proposals_are_seen_by_the_moderators_of_their_server_only(talk: Talk) -> None:
    await talk.ask(LINE)
    for scope, num in (
        (replace(HERE, channel="random"), 1),
        (replace(HERE, server="work"), 0),
        (Scope("terminal", "@me", "1", kind="direct"), 0),
    ):
        assert (await talk.ask("!prompt examples sentiment proposed", scope=scope))["num_proposed"] == num
    await talk.ask(LINE, scope=Scope("terminal", "@me", "2", kind="direct"))
    answer = await talk.ask("!prompt examples sentiment proposed", scope=Scope("terminal", "@me", "1", kind="direct"))
    assert answer["num_proposed"] == 0, "a direct message is no server"
    assert "moderators" in await talk.refusal("!prompt examples sentiment proposed", is_moderator=False)


async def test_a_long_list_says_how_many_more_there_are(talk: Talk) -> None:
    for i in range(27):
        await talk.ask(f"!prompt example --template story --output yes case {i}", who="Ann" if i % 2 else "Bob")
    card = await talk.card("!prompt examples story proposed")
    assert card.data["num_proposed"] == 27
    assert card.data["examples"][0]["input"] == "case 26"
    assert getattr(card.blocks[-1], "text", "") == "There are 2 older ones."


async def test_what_was_proposed_is_forgotten_with_its_person(talk: Talk) -> None:
    await talk.ask(LINE, who="Bob")
    await talk.ask("!privacy --do forget-now", who="Bob")
    assert (await talk.ask("!prompt examples sentiment proposed"))["num_proposed"] == 0


async def test_a_proposal_keeps_its_number_whatever_is_dismissed(talk: Talk) -> None:
    for word in ("one", "two", "three", "four"):
        await talk.ask(f"!prompt example --template sentiment --output positive {word}", is_moderator=False)
    await talk.ask("!prompt examples sentiment dismiss 1")
    await talk.ask("!prompt examples sentiment dismiss 2")
    listed = (await talk.ask("!prompt examples sentiment proposed"))["examples"]
    assert [(row["number"], row["input"]) for row in listed] == [("4", "four"), ("3", "three")]
    assert (await talk.ask("!prompt examples sentiment dismiss 3, 4"))["text"] == (
        "Proposals 3 and 4 for sentiment are dismissed."
    )
    again = await talk.ask("!prompt example --template sentiment --output positive five", is_moderator=False)
    assert again["number"] == 5, "a number is never given twice"
    other = await talk.ask("!prompt example --template story --output Yes five", is_moderator=False)
    assert other["number"] == 1, "each template counts its own"


async def test_one_person_proposes_a_limited_number_of_examples(talk: Talk) -> None:
    for i in range(MAX_PROPOSALS):
        await talk.ask(f"!prompt example --template sentiment --output positive day {i}", is_moderator=False)
    refused = await talk.refusal(LINE, is_moderator=False)
    assert refused == (
        "20 of your examples wait for a moderator here, which is the limit. Try again when some of them were taken or"
        " dismissed."
    )
    await talk.ask(LINE, who="Bob", is_moderator=False)
    await talk.ask("!prompt examples sentiment dismiss 7")
    await talk.ask(LINE, is_moderator=False)


async def test_of_two_who_take_a_proposal_at_once_one_gets_it(talk: Talk) -> None:
    await talk.ask(LINE, is_moderator=False)
    take = "!prompt examples sentiment take 1"
    cards = await asyncio.gather(*(talk.card(take, who=who) for who in ("Ann", "Bob", "Ann", "Bob")))
    refusals = sorted(card.error or "" for card in cards)
    see = "See the numbers with !prompt examples sentiment proposed."
    assert refusals == ["", *[f"There is no proposal '1'. {see}"] * 3]
    drafts = await talk.store.list_drafts(HERE)
    assert [draft.source_text.count("What a day!") for draft in drafts if draft.source_text] == [1]

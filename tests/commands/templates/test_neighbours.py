"""prompt neighbours, and what people see of templates that use more examples than their prompt holds."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any

import pytest

from bot.commands.workbench.measuring import run_tests
from bot.commands.workbench.trying import preview, try_out
from bot.core.cards import Bars, Card, Facts, Progress, Table, Text, Verbatim
from bot.core.engine import Asker
from bot.core.messages import Author
from bot.core.prompt import build_prompt
from bot.core.stopping import Stopper
from bot.core.templates.parsing import format_template, parse_template
from bot.core.templates.template import Neighbours, PromptTemplate
from bot.services.measuring import _prior_key
from bot.store.drafts import Draft
from bot.store.row_outcomes import Outcome
from tests.bots import HERE, MANY, PROMPTS, Talk
from tests.commands.templates.drafts import seem_read

OpenTiny = Callable[..., AbstractAsyncContextManager[Talk]]
ANN = Author("ann", "Ann", is_moderator=True)


def many(**changes: Any) -> PromptTemplate:
    template = replace(parse_template(MANY, name="many", source="many"), **changes)
    return parse_template(format_template(template), name="many", source="many")


PLAIN = many(neighbours=None)
WITH_MANY = {**PROMPTS, "many": MANY, "plain": PLAIN.source_text}


def texts_of(card: Card) -> str:
    return "\n".join(block.text for block in card.blocks if isinstance(block, Text))


def table_of(card: Card, heading: str) -> Table:
    return next(block for block in card.blocks if isinstance(block, Table) and heading in block.columns)


def facts_of(card: Card) -> dict[str, str]:
    return dict(next(block for block in card.blocks if isinstance(block, Facts)).items)


async def draft_of(talk: Talk, name: str) -> PromptTemplate | None:
    draft = await talk.store.get_draft(HERE, name, "ann")
    return (
        None if draft is None or draft.source_text is None else parse_template(draft.source_text, name=name, source="")
    )


async def test_what_the_tests_show_becomes_the_draft(open_tiny: OpenTiny) -> None:
    tests = tuple(replace(test, input=f"{test.input}{i}") for i in range(3) for test in many().tests)
    asked = many(tests=tests, neighbours=Neighbours(2, 1, 0.0))
    async with open_tiny(prompts={**WITH_MANY, "many": asked.source_text}) as talk:
        await seem_read(talk, asked)
        cards = [card async for card in talk.snapshots("!prompt neighbours on many")]
        card, data = cards[-1], cards[-1].data
        assert all(isinstance(block, Progress) for one in cards[:-1] for block in one.blocks)
        assert (data["is_proposed"], data["is_offered"], data["verdict"]) == (True, False, "better")
        assert (data["num_in_prompt"], data["num_kept"], data["weight"]) == (2, 10, 1.0)
        assert data["gain_interval"][0] > 0
        assert "Your draft of many now uses all its 12 examples." in texts_of(card)
        assert "2 examples are in the prompt; of the other 10, the" in texts_of(card)
        assert "On its 18 held-out tests: 50% → 100% right; +50.0 points (95% interval" in texts_of(card)
        assert any(isinstance(block, Verbatim) and block.text == data["diff"] for block in card.blocks)
        draft = await draft_of(talk, "many")
        assert draft is not None
        assert draft.neighbours == Neighbours(2, data["num_nearest"], 1.0)
        assert replace(draft, neighbours=None) == replace(asked, neighbours=None)
        assert await talk.store.template_history(HERE, "many") == []
        assert facts_of(await talk.card("!prompt draft many"))["examples"] == (
            "12: 2 in the prompt, 10 compared with the message"
        )


async def test_what_may_be_chance_is_offered_and_not_adopted(open_tiny: OpenTiny) -> None:
    async with open_tiny(prompts=WITH_MANY) as talk:
        plain = await talk.services.templates.get(HERE, "plain")
        await seem_read(talk, plain)
        line = "!prompt neighbours --in_prompt 2 on plain"
        typed = await talk.card(line)
        assert (typed.data["is_proposed"], typed.data["is_offered"]) == (False, True)
        assert "that may be chance. Nothing was changed." in texts_of(typed)
        assert "use !prompt neighbours --take yes on plain." in texts_of(typed)
        assert await draft_of(talk, "plain") is None
        card = await talk.card(line, has_buttons=True)
        assert [button.label for button in card.buttons] == ["Make it my draft"]
        taken = await talk.click(card, "take", is_moderator=True)
        assert taken.answers == "private"
        assert taken.data["diff"] == card.data["diff"]
        draft = await draft_of(talk, "plain")
        assert draft is not None
        assert draft.neighbours is not None
        assert draft.neighbours.num_nearest == card.data["num_nearest"]
        assert await talk.click_refusal(card, "take", is_moderator=True) == (
            "Your draft of plain changed since the search began, so the result was not stored. Give the command again."
        )


async def test_what_does_not_help_is_taken_only_when_asked_to(open_tiny: OpenTiny) -> None:
    async with open_tiny(prompts=WITH_MANY) as talk:
        measuring, plain = talk.services.measuring, await talk.services.templates.get(HERE, "plain")
        prompt = replace(plain, neighbours=Neighbours(2, 1, 0.0))
        outcomes: dict[str, Outcome] = {
            # As if the model were sure and right, and everything looked alike to it.
            measuring._row_key(prompt, row): {
                "logprobs": [-9.0, -0.1][:: -1 if row.output == "good" else 1],
                "sketch": [1.0, 0.0],
            }
            for row in (*plain.examples, *plain.tests)
        }
        outcomes[_prior_key(prompt)] = {"prior": [0.5, 0.5]}
        await talk.store.put_row_outcomes(measuring._prompt_key(prompt), measuring.fingerprint, outcomes)
        card = await talk.card("!prompt neighbours --in_prompt 2 on plain", has_buttons=True)
        assert (card.data["weight"], card.data["is_offered"], card.buttons) == (0.0, False, ())
        assert "does not help plain. Nothing was changed." in texts_of(card)
        taken = await talk.ask("!prompt neighbours --take yes --in_prompt 2 on plain")
        assert taken["is_proposed"]
        draft = await draft_of(talk, "plain")
        assert draft is not None
        assert draft.neighbours == Neighbours(2, 1, 0.0)


async def test_what_is_no_better_on_the_tests_is_not_offered(open_tiny: OpenTiny) -> None:
    # With all the weight already, there is nothing left to gain.
    prompts = {**WITH_MANY, "many": many(neighbours=Neighbours(2, 2, 1.0)).source_text}
    async with open_tiny(prompts=prompts) as talk:
        await seem_read(talk, await talk.services.templates.get(HERE, "many"))
        card = await talk.card("!prompt neighbours on many", has_buttons=True)
        assert (card.data["gain"], card.data["is_offered"], card.buttons, card.data["diff"]) == (0.0, False, (), "")
        assert "many does no better with its nearest examples. Nothing was changed." in texts_of(card)
        assert "100% → 100% right; +0.0 points (95% interval +0.0 to +0.0)." in texts_of(card)
        assert await talk.ask("!prompt neighbours --take yes on many")
        again = await talk.card("!prompt neighbours on many", has_buttons=True)
        assert "many has the best setting already. Nothing was changed." in texts_of(again)


async def test_off_puts_all_examples_back_into_the_prompt(open_tiny: OpenTiny) -> None:
    async with open_tiny(prompts=WITH_MANY) as talk:
        card = await talk.card("!prompt neighbours off many")
        assert "All examples are in the prompt of your draft again." in texts_of(card)
        assert "- 2 examples in the prompt\n- the 2 nearest others count 50%" in card.data["diff"]
        draft = await draft_of(talk, "many")
        assert draft is not None
        assert (draft.neighbours, len(draft.prompt_examples)) == (None, 12)
        refusal = await talk.refusal("!prompt neighbours off many")
        assert refusal == "All examples of many are in its prompt already."


async def test_off_is_refused_where_the_examples_do_not_fit(open_tiny: OpenTiny) -> None:
    rows = tuple(replace(row, input=f"{row.input} {i} " + "long" * 6) for i in range(6) for row in many().examples)
    async with open_tiny(prompts={**WITH_MANY, "many": many(examples=rows).source_text}) as talk:
        assert "no message fits" in await talk.refusal("!prompt neighbours off many")
        assert await draft_of(talk, "many") is None


async def test_more_rows_than_fit_can_be_added_to_a_draft_with_neighbours(open_tiny: OpenTiny) -> None:
    rows = "\n".join(f"{row.input} {i} {'long' * 6} => {row.output}" for i in range(6) for row in many().examples)
    async with open_tiny(prompts=WITH_MANY) as talk:
        refusal = await talk.refusal(f"!prompt examples plain add {rows}")
        assert "give !prompt neighbours --take yes on plain before you add them" in refusal
        await talk.ask("!prompt neighbours --take yes --in_prompt 2 on plain")
        data = await talk.ask(f"!prompt examples plain add {rows}")
        assert data["num_left_for_input"] > 0
        draft = await draft_of(talk, "plain")
        assert draft is not None
        assert (len(draft.prompt_examples), len(draft.kept_examples)) == (2, 12 + 72 - 2)


@pytest.mark.parametrize(
    "command", ["neighbours on story", "neighbours on missing", "neighbours maybe many", "neighbours on"]
)
async def test_wrong_requests_get_one_sentence_and_change_nothing(open_tiny: OpenTiny, command: str) -> None:
    said = {
        "neighbours on story": "story has no labels, and only templates with labels can compare their examples.",
        "neighbours on missing": "There is no template 'missing'",
        "neighbours maybe many": "ACTION",
        "neighbours on": "NAME is missing.",
    }
    async with open_tiny(prompts=WITH_MANY) as talk:
        assert said[command] in await talk.refusal(f"!prompt {command}")
        assert await talk.store.get_draft(HERE, "many", "ann") is None


async def test_a_stopped_search_changes_nothing_and_goes_on_later(open_tiny: OpenTiny) -> None:
    async with open_tiny(prompts=WITH_MANY) as talk:
        stopper = Stopper()
        async for card in talk.snapshots("!prompt neighbours on many", stopper=stopper):
            stopper.stop()
            last = card
        assert last.data["is_stopped"]
        assert await draft_of(talk, "many") is None
        assert await talk.ask("!prompt neighbours on many")


async def test_a_draft_that_changes_during_the_search_is_left_alone(open_tiny: OpenTiny) -> None:
    async with open_tiny(prompts=WITH_MANY) as talk:
        changed = many(instruction="Changed.\n\n")
        last = None
        async for card in talk.snapshots("!prompt neighbours --take yes on many"):
            if last is None:
                await talk.store.save_draft(HERE, Draft("many", ANN.id, source_text=changed.source_text))
            last = card
        assert last is not None
        assert "changed since the search began" in (last.error or "")
        assert await draft_of(talk, "many") == changed


# ---- answers


async def test_an_answer_says_where_its_examples_are_and_why_shows_the_nearest(open_tiny: OpenTiny) -> None:
    async with open_tiny(prompts=WITH_MANY) as talk:
        cards = [card async for card in talk.snapshots("!prompt many so nice")]
        assert [block.what for card in cards[:-1] for block in card.blocks if isinstance(block, Progress)]
        card = cards[-1]
        sentence = "2 examples are in the prompt; of the other 10, the 2 nearest count 50% of the answer."
        assert sentence in texts_of(card)
        assert any(isinstance(block, Bars) for block in card.blocks)
        assert sum(card.data["probabilities"].values()) == pytest.approx(1)
        again = [card async for card in talk.snapshots("!prompt many so nice")]
        assert again[-1].data["probabilities"] == card.data["probabilities"]
        why = await talk.card("!why")
        assert sentence in texts_of(why)
        near = table_of(why, "likeness")
        assert [row[0] for row in near.rows] == [one["input"] for one in card.data["nearest"]]
        assert why.data["nearest"] == card.data["nearest"]
        assert {row[0] for row in near.rows} <= {example.input for example in many().kept_examples}
        assert why.data["is_exact"]
        assert "fine" in why.data["prompt"]
        assert "gain" not in why.data["prompt"], "only two examples are in the prompt"


async def test_answers_without_neighbours_say_nothing_of_them(open_tiny: OpenTiny) -> None:
    async with open_tiny(prompts=WITH_MANY) as talk:
        card = await talk.card("!prompt plain so nice")
        assert "nearest" not in card.data
        assert "nearest" not in texts_of(card)
        why = await talk.card("!why")
        assert "nearest" not in why.data


async def test_examples_without_weight_are_neither_read_nor_shown(open_tiny: OpenTiny) -> None:
    weightless = many(neighbours=Neighbours(2, 2, 0.0)).source_text
    async with open_tiny(prompts={**WITH_MANY, "many": weightless}) as talk:
        cards = [card async for card in talk.snapshots("!prompt many so nice")]
        assert len(cards) == 1
        assert "nearest" not in cards[0].data
        why = await talk.card("!why")
        assert "2 examples are in the prompt; the other 10 do not count." in texts_of(why)
        assert why.data["nearest"] == []


async def test_each_of_several_lines_is_blended_as_alone(open_tiny: OpenTiny) -> None:
    async with open_tiny(prompts=WITH_MANY) as talk:
        lines = ["so nice", "a loss", "mud"]
        data = await talk.ask("!prompt many " + "\n".join(lines))
        for line, row in zip(lines, data["rows"], strict=True):
            alone = await talk.ask(f"!prompt many {line}")
            assert row["label"] == alone["label"]
            assert row["probabilities"] == pytest.approx(alone["probabilities"])


async def test_a_stop_while_examples_are_read_gives_no_answer(open_tiny: OpenTiny) -> None:
    async with open_tiny(prompts=WITH_MANY) as talk:
        for text in ("so nice", "so nice\na loss"):
            stopper = Stopper()
            stopper.stop()
            card = await talk.card(f"!prompt many {text}", stopper=stopper)
            assert card.data["text"] == ""


# ---- what is shown of such a template


async def test_show_and_test_say_how_the_examples_are_used(open_tiny: OpenTiny) -> None:
    async with open_tiny(prompts=WITH_MANY) as talk:
        facts = facts_of(await talk.card("!prompt show many"))
        assert facts["examples"] == "12: 2 in the prompt, 10 compared with the message"
        assert facts["nearest examples"] == "the 2 nearest count 50%"
        assert facts_of(await talk.card("!prompt show plain"))["examples"] == "12"
        tested = table_of(await talk.card("!prompt test many"), "many")
        assert ("examples in the prompt", "2") in tested.rows
        assert ("examples compared", "10; the 2 nearest count 50%") in tested.rows
        await talk.ask("!prompt neighbours off many")
        both = table_of(await talk.card("!prompt test many"), "many")
        assert ("examples in the prompt", "12", "2") in both.rows
        assert ("examples compared", "0", "10; the 2 nearest count 50%") in both.rows


async def test_erasing_a_row_erases_what_was_read_of_it(open_tiny: OpenTiny) -> None:
    async with open_tiny(prompts=WITH_MANY) as talk:
        await talk.ask("!prompt example --template many --output bad what a mess")
        await talk.ask("!prompt examples many take 1")
        await talk.ask("!prompt publish many")
        await talk.ask("!prompt many so nice")
        assert len(await talk.store._database.read("SELECT 1 FROM row_outcomes")) == 11 + 1
        await talk.ask("!forget", reply_to=talk.message_ids[0])
        left = await talk.services.templates.get(HERE, "many")
        assert "what a mess" not in left.source_text
        assert await talk.store._database.read("SELECT 1 FROM row_outcomes") == []
        assert (await talk.ask("!prompt many so nice"))["nearest"]


# ---- the workbench of a page


async def test_what_is_tried_is_answered_as_it_will_be_once_its_examples_are_read(open_tiny: OpenTiny) -> None:
    async with open_tiny(prompts=WITH_MANY) as talk:
        services, template = talk.services, await talk.services.templates.get(HERE, "many")
        asker = Asker("here", "me")
        before = await try_out(services, template, "so nice", asker=asker)
        assert "run the tests once to read the 10 examples outside of it" in before["text"]
        shown = await preview(services, template, "so nice")
        assert [part["what"] for part in shown["parts"]] == ["instruction", "example", "example", "question"]
        assert "".join(part["text"] for part in shown["parts"]) == build_prompt(template, "so nice").text
        data = await talk.ask("!prompt many so nice")
        after = await try_out(services, template, "so nice", asker=asker)
        assert dict(after["probabilities"]) == pytest.approx(data["probabilities"])
        assert "outside of it" not in after["text"]


async def test_the_workbench_shows_each_test_as_it_is_answered_with_the_nearest_examples(open_tiny: OpenTiny) -> None:
    async with open_tiny(prompts=WITH_MANY) as talk:
        steps = [step async for step in run_tests(talk.services, HERE, ANN, "many", asker=Asker(), stopper=Stopper())]
        progress = [step["progress"] for step in steps if "progress" in step]
        assert [done for done, _ in progress] == sorted(done for done, _ in progress)
        rows = [step["row"] for step in steps if "row" in step]
        figures = steps[-1]["figures"]
        assert [row["answered"] for row in rows] == [row["answered"] for row in figures]
        score = (await talk.ask("!prompt test many"))["score"]
        assert sum(row["is_right"] for row in rows) == score["num_right"]
        assert sum(row["bits"] for row in rows) / len(rows) == pytest.approx(score["mean_bits"])

"""prompt test and prompt tune, and several lines in one command, on tiny models."""

import csv
import io
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from bot.commands.templates.running_lines import MAX_LINES, MAX_SHOWN
from bot.core.cards import Card, Progress, Table, Text, Verbatim
from bot.core.messages import Author, Scope
from bot.core.stopping import Stopper
from bot.core.templates.parsing import format_template, parse_template
from bot.core.templates.template import Example, PromptTemplate
from bot.services.measuring import _prior_key
from bot.store.drafts import Draft
from tests.bots import HERE, MOOD, PROMPTS, Talk

OpenTiny = Callable[..., AbstractAsyncContextManager[Talk]]
ANN = Author("ann", "Ann", is_moderator=True)
WITH_MOOD = {**PROMPTS, "mood": MOOD}
WORK = Scope("terminal", "work", "general")


def mood(**changes: Any) -> PromptTemplate:
    template = replace(parse_template(MOOD, name="mood", source="mood"), **changes)
    return parse_template(format_template(template), name="mood", source="mood")


def texts_of(card: Card) -> str:
    return "\n".join(block.text for block in card.blocks if isinstance(block, Text))


def table_of(card: Card, heading: str) -> Table:
    return next(block for block in card.blocks if isinstance(block, Table) and heading in block.columns)


async def save_draft(talk: Talk, template: PromptTemplate, author: Author = ANN, **more: Any) -> None:
    await talk.store.save_draft(HERE, Draft(template.name, author.id, source_text=template.source_text, **more))


async def publish(talk: Talk, template: PromptTemplate, scope: Scope = HERE) -> int:
    number = await talk.store.add_template_version(
        scope, template.name, action="edit", author=ANN, source_text=template.source_text, version=template.version
    )
    assert number is not None
    return number


def num_asked(talk: Talk) -> int:
    return talk.services.engine.stats().num_done


# ---- prompt test


async def test_what_is_published_is_measured_on_its_tests(open_tiny: OpenTiny) -> None:
    async with open_tiny(prompts=WITH_MOOD) as talk:
        cards = [card async for card in talk.snapshots("!prompt test mood")]
        shown = [block for card in cards[:-1] for block in card.blocks]
        assert shown
        assert all(
            isinstance(block, Progress) and block.num_total == 6 and block.what == "test rows answered"
            for block in shown
        )
        data = cards[-1].data
        figures = await talk.services.measuring.cached(mood(), mood().tests)
        assert figures is not None
        assert data["score"]["num_right"] == sum(figures.is_right)
        assert data["score"]["accuracy"] == figures.accuracy
        assert data["score"]["mean_bits"] == figures.mean_bits
        assert (data["is_draft"], data["published"], data["verdict"]) == (False, 0, None)
        assert texts_of(cards[-1]).startswith("mood on 6 held-out tests")
        wrong = [i + 1 for i, is_right in enumerate(figures.is_right) if not is_right]
        listed = table_of(cards[-1], "answered wrong").rows
        assert [int(row[0]) for row in listed] == wrong
        assert [row[1] for row in listed] == [mood().tests[i - 1].input for i in wrong]
        confusion = table_of(cards[-1], "right ↓ answered →")
        assert [[int(cell) for cell in row[1:]] for row in confusion.rows] == [list(line) for line in figures.confusion]
        # The shipped one has no row of its own in the store.
        assert (await talk.services.templates.of(HERE)).own("mood") is None


async def test_a_draft_is_measured_beside_what_is_published_on_the_draft_s_tests(open_tiny: OpenTiny) -> None:
    async with open_tiny(prompts=WITH_MOOD) as talk:
        draft = mood(examples=mood().examples[:1], tests=mood().tests[1:])
        await save_draft(talk, draft)
        cards = [card async for card in talk.snapshots("!prompt test mood")]
        progress = [block for card in cards[:-1] for block in card.blocks]
        assert all(isinstance(block, Progress) and block.num_total == 10 for block in progress)
        data = cards[-1].data
        assert (data["is_draft"], data["num_tests"]) == (True, 5)
        ours = await talk.services.measuring.cached(draft, draft.tests)
        theirs = await talk.services.measuring.cached(mood(), draft.tests)
        assert ours is not None
        assert theirs is not None
        assert data["score"]["accuracy"] == ours.accuracy
        assert data["published_score"]["accuracy"] == theirs.accuracy
        assert data["gain"] == pytest.approx(ours.accuracy - theirs.accuracy)
        low, high = data["gain_interval"]
        assert low <= data["gain"] <= high
        pairs = list(enumerate(zip(ours.is_right, theirs.is_right, strict=True), 1))
        assert data["fixed"] == [i for i, (our, their) in pairs if our and not their]
        assert data["broken"] == [i for i, (our, their) in pairs if their and not our]
        assert data["verdict"] == "no clear difference", "five rows tell nothing"
        assert "No clear difference:" in texts_of(cards[-1])
        table = table_of(cards[-1], "published (built-in version)")
        assert table.columns == ("mood", "draft", "published (built-in version)")
        names = [row[0] for row in table.rows]
        assert names == ["accuracy", "bits of the right label", "tests", "tokens", "left for a message"]
        cost = await talk.services.measuring.count_tokens(draft)
        before = await talk.services.measuring.count_tokens(mood())
        assert table.rows[3][1:] == (f"{cost.num_prompt_tokens} of 512", f"{before.num_prompt_tokens} of 512")
        assert table.rows[4][1:] == (str(cost.num_left_for_input), str(before.num_left_for_input))
        # Bob has no draft: he measures what is published.
        assert not (await talk.ask("!prompt test mood", who="Bob"))["is_draft"]
        asked = num_asked(talk)
        assert await talk.ask("!prompt test mood") == data
        assert num_asked(talk) == asked, "what is known is not asked again"


async def test_a_draft_that_loses_rows_is_worse_and_one_that_wins_them_better(open_tiny: OpenTiny) -> None:
    async with open_tiny(prompts=WITH_MOOD) as talk:
        # The published version is right about all rows here: they are labelled with its own answers.
        texts = [f"{a} {b}" for a in ("so", "it", "do", "yes", "mud") for b in ("fine", "no", "I", "see")]
        labels = {text: (await talk.ask(f"!prompt mood {text}"))["label"] for text in texts}
        rows = tuple(Example(text, label) for text, label in labels.items())
        examples = mood().examples
        drafts = [mood(tests=rows, examples=examples[i:]) for i in range(1, 4)]
        drafts += [mood(tests=rows, examples=examples, query=f"{word} $input ->") for word in ("so", "good", "bad")]
        lost = []
        for draft in drafts:
            await save_draft(talk, draft)
            data = await talk.ask("!prompt test mood")
            assert data["published_score"]["accuracy"] == 1
            assert len(data["broken"]) == 20 - data["score"]["num_right"]
            assert data["fixed"] == []
            assert data["verdict"] == ("worse" if len(data["broken"]) >= 6 else "no clear difference")
            lost.append(len(data["broken"]))
        assert max(lost) >= 6, "no draft was worse"
        # Against rows that say the opposite, the same draft wins as many.
        draft = drafts[lost.index(max(lost))]
        other = {"good": "bad", "bad": "good"}
        opposite = tuple(replace(row, output=other[row.output]) for row in rows)
        await save_draft(talk, mood(tests=opposite, examples=draft.examples, query=draft.query))
        card = await talk.card("!prompt test mood")
        assert card.data["verdict"] == "better"
        assert len(card.data["fixed"]) == max(lost)
        assert card.data["broken"] == []
        assert f"The draft is better: +{100 * max(lost) / 20:.1f} points of accuracy" in texts_of(card)
        listed = table_of(card, "fixed").rows
        assert [int(row[0]) for row in listed] == card.data["fixed"][:8]


async def test_a_new_template_has_nothing_beside_it(open_tiny: OpenTiny) -> None:
    async with open_tiny() as talk:
        await save_draft(talk, mood())
        card = await talk.card("!prompt test mood")
        assert card.data["is_draft"]
        assert card.data["published_score"] is None
        assert card.data["verdict"] is None
        assert table_of(card, "draft").columns == ("mood", "draft")


async def test_free_text_is_measured_in_bits_per_byte(open_tiny: OpenTiny) -> None:
    text = PROMPTS["translate-en-fr"].replace(
        "+++\nEnglish",
        '[[tests]]\ninput = "dog"\noutput = "chien"\n[[tests]]\ninput = "a b"\noutput = "l\'a b"\n+++\nEnglish',
    )
    async with open_tiny(prompts={**PROMPTS, "translate-en-fr": text}) as talk:
        template = await talk.services.templates.get(HERE, "translate-en-fr")
        await save_draft(talk, replace(template, source_text=text.replace("English to French.\n\n", "French now.\n\n")))
        card = await talk.card("!prompt test translate-en-fr")
        assert card.data["score"]["bits_per_byte"] > 0
        saved = card.data["published_score"]["bits_per_byte"] - card.data["score"]["bits_per_byte"]
        assert card.data["gain"] == pytest.approx(saved)
        assert "bits per byte saved" in texts_of(card)
        table = table_of(card, "draft")
        assert [row[0] for row in table.rows][:2] == ["bits per byte of the output", "exact outputs"]
        assert table.rows[1][1] == "0 of 2"


async def test_warnings_stand_on_the_card(open_tiny: OpenTiny) -> None:
    async with open_tiny() as talk:
        await save_draft(talk, mood(tests=(*mood().tests, mood().examples[0])))
        card = await talk.card("!prompt test mood")
        assert "⚠ A test that repeats an example shows only that the model can copy: test 7 (example 1)." in texts_of(
            card
        )
        assert any("test 7" in warning for warning in card.data["warnings"])


async def test_a_score_is_kept_with_the_version_and_marked_when_the_model_changes(open_tiny: OpenTiny) -> None:
    async with open_tiny("gpt2", prompts=WITH_MOOD) as talk:
        number = await publish(talk, mood())
        data = await talk.ask("!prompt test mood")
        assert data["published"] == number == 1
        own = (await talk.services.templates.of(HERE)).own("mood")
        assert own is not None
        assert own.score == data["score"]
        assert own.score_model == data["model"] == talk.services.measuring.fingerprint
        (listed,) = [one for one in (await talk.ask("!prompt list"))["templates"] if one["name"] == "mood"]
        assert (listed["number"], listed["score"], listed["is_stale"]) == (1, data["score"], False)
        card = await talk.card("!prompt list")
        (table,) = card.blocks
        assert isinstance(table, Table)
        assert table.columns == ("name", "kind", "version", "by", "score", "what it does")
        (row,) = [row for row in table.rows if row[0] == "mood"]
        assert row[2] == "1"
        assert row[3].startswith("Ann, 20")
        assert row[4] == f"accuracy {data['score']['accuracy']:.0%} on 6 rows"
        # On another server it is the built-in one, which has the same text here.
        (there,) = [one for one in (await talk.ask("!prompt list", scope=WORK))["templates"] if one["name"] == "mood"]
        assert (there["number"], there["author"]) == (0, None)
        assert there["score"] == {**data["score"], "fit": None}
    async with open_tiny("llama", prompts=WITH_MOOD) as talk:
        (listed,) = [one for one in (await talk.ask("!prompt list"))["templates"] if one["name"] == "mood"]
        assert listed["is_stale"]
        shown = texts_of(await talk.card("!prompt show mood"))
        assert shown
        await save_draft(talk, mood(tests=mood().tests[1:]))
        card = await talk.card("!prompt test mood")
        assert card.data["is_stale"]
        assert "out of date: measured with tiny, not the current model" in texts_of(card)
        # Measured on its own tests, the published version has a score of today's model.
        card = await talk.card("!prompt test mood", who="Bob")
        assert not card.data["is_stale"]
        assert "out of date" not in texts_of(card)
        own = (await talk.services.templates.of(HERE)).own("mood")
        assert own is not None
        assert own.score == card.data["score"]
        assert own.score_model == talk.services.measuring.fingerprint


async def test_stopped_it_says_so_and_goes_on_from_there(open_tiny: OpenTiny) -> None:
    async with open_tiny(prompts=WITH_MOOD) as talk:
        stopper = Stopper()
        last = None
        async for card in talk.snapshots("!prompt test mood", stopper=stopper):
            last = card
            if any(isinstance(block, Progress) and block.num_done >= 2 for block in card.blocks):
                stopper.stop()
        assert last is not None
        assert last.data["is_stopped"]
        assert texts_of(last) == (
            "Stopped. mood was not changed. Finished measurements are saved: the same command continues from here."
        )
        before = num_asked(talk)
        await talk.ask("!prompt test mood")
        assert 0 < num_asked(talk) - before <= 4


async def test_what_can_not_be_measured_gets_one_sentence(open_tiny: OpenTiny) -> None:
    async with open_tiny(prompts=WITH_MOOD) as talk:
        assert await talk.refusal("!prompt test story") == (
            "story has no tests. Add some that are not among the examples, with !prompt tests story add"
            " INPUT => OUTPUT."
        )
        assert await talk.refusal("!prompt test moood") == "There is no template 'moood'; did you mean mood?"
        assert await talk.refusal("!prompt test mood", is_moderator=False) == "Only moderators can use !prompt test."
        assert await talk.refusal("!prompt tune mood", is_moderator=False) == "Only moderators can use !prompt tune."
        await save_draft(talk, mood(instruction="so " * 900 + "\n"))
        assert "takes 1," in await talk.refusal("!prompt test mood")
        await talk.store.save_draft(HERE, Draft("mood", "ann", form_values={"query": "x"}, problem="No $input."))
        assert await talk.refusal("!prompt test mood") == (
            "Your draft of mood is not valid: No $input. Fix it with !prompt edit mood, or drop it with !prompt"
            " discard mood."
        )
        await save_draft(talk, mood(), form_values={"query": "x"}, problem="No $input.")
        card = await talk.card("!prompt test mood")
        assert "Your last edit is not valid and was left out: No $input." in texts_of(card)
    async with open_tiny("gpt2", prompts=WITH_MOOD, owner_ids=()) as talk:
        await save_draft(talk, mood(kind="classify", tests=(replace(mood().tests[0], input="so " * 900),)))
        assert "Row 1 is too long to measure" in await talk.refusal("!prompt test mood")


async def test_a_published_version_of_another_kind_is_not_compared(open_tiny: OpenTiny) -> None:
    writes = '+++\ndescription = "W."\n[[tests]]\ninput = "a"\noutput = "b"\n+++\n$input =\n'
    async with open_tiny() as talk:
        await publish(talk, mood())
        await save_draft(talk, parse_template(writes, name="mood", source="mood"))
        card = await talk.card("!prompt test mood")
        assert card.data["verdict"] is None
        assert card.data["published_score"] is None
        assert "can't be compared with the draft: it is of another kind" in texts_of(card)


# ---- prompt tune


async def test_tune_proposes_a_draft_and_publishes_nothing(open_tiny: OpenTiny) -> None:
    async with open_tiny(prompts=WITH_MOOD) as talk:
        cards = [card async for card in talk.snapshots("!prompt tune --take yes mood")]
        assert all(isinstance(block, Progress) for card in cards[:-1] for block in card.blocks)
        card, data = cards[-1], cards[-1].data
        assert data["is_proposed"], "this model has something to gain"
        draft = await talk.store.get_draft(HERE, "mood", "ann")
        assert draft is not None
        assert draft.source_text is not None
        proposed = parse_template(draft.source_text, name="mood", source="mood")
        assert [mood().examples.index(example) + 1 for example in proposed.examples] == data["examples"]
        assert replace(proposed, examples=mood().examples) == mood()
        assert draft.based_on == 0
        assert data["change"] in texts_of(card)
        assert data["after"]["mean_bits"] < data["before"]["mean_bits"]
        assert data["gain"] == pytest.approx(data["before"]["mean_bits"] - data["after"]["mean_bits"])
        assert f"{data['before']['mean_bits']:.3f} → {data['after']['mean_bits']:.3f}" in texts_of(card)
        assert any(isinstance(block, Verbatim) and block.text == data["diff"] for block in card.blocks)
        assert data["num_tried"] == 1 + 4 + 8
        assert num_asked(talk) <= data["max_scorings"] == 13 * 4 * 4
        assert "looks better than it is" in texts_of(card)
        assert await talk.store.template_history(HERE, "mood") == []
        assert (await talk.services.templates.get(HERE, "mood")).examples == mood().examples
        tested = await talk.ask("!prompt test mood")
        assert tested["is_draft"]


async def test_what_may_be_chance_is_offered_and_not_adopted(open_tiny: OpenTiny) -> None:
    async with open_tiny(prompts=WITH_MOOD) as talk:
        typed = await talk.card("!prompt tune mood")
        assert (typed.data["is_proposed"], typed.data["is_offered"]) == (False, True)
        assert typed.data["gain_interval"][0] <= 0 < typed.data["gain"]
        assert f"does better with its examples {typed.data['change']}, but that may be chance" in texts_of(typed)
        assert "To make it your draft anyway, use !prompt tune --take yes mood." in texts_of(typed)
        assert await talk.store.get_draft(HERE, "mood", "ann") is None
        card = await talk.card("!prompt tune mood", has_buttons=True)
        assert [button.label for button in card.buttons] == ["Make it my draft"]
        taken = await talk.click(card, "take", is_moderator=True)
        assert taken.answers == "private"
        assert taken.data["diff"] == card.data["diff"]
        draft = await talk.store.get_draft(HERE, "mood", "ann")
        assert draft is not None
        assert draft.source_text == taken.data["source"]
        assert await talk.click_refusal(card, "take", is_moderator=True) == (
            "Your draft of mood changed since the search began, so the result was not stored. Give the command again."
        )


async def test_what_the_interval_shows_is_adopted(open_tiny: OpenTiny) -> None:
    async with open_tiny(prompts=WITH_MOOD) as talk:
        measuring, template = talk.services.measuring, mood()
        # As if the fourth example misled the model: all others are answered surely without it.
        for left, has_fourth in product(range(4), (True, False)):
            examples = [one for i, one in enumerate(template.examples) if i != left and (has_fourth or i != 3)]
            asked = replace(template, examples=tuple(examples), tests=())
            row, sure = template.examples[left], 3.0 if template.examples[3] not in examples else 0.3
            logprobs = [-1.0 - sure * (label != row.output) for label in template.labels]
            outcomes = {
                measuring._row_key(asked, row): {"logprobs": logprobs},
                _prior_key(asked): {"prior": [0.5, 0.5]},
            }
            await talk.store.put_row_outcomes(measuring._prompt_key(asked), measuring.fingerprint, outcomes)
        data = await talk.ask("!prompt tune mood")
        assert data["change"] == "without example 4"
        assert data["gain_interval"][0] > 0
        assert (data["is_proposed"], data["is_offered"]) == (True, False)
        assert await talk.store.get_draft(HERE, "mood", "ann") is not None


async def test_tune_goes_on_from_a_draft_and_keeps_what_it_is_based_on(open_tiny: OpenTiny) -> None:
    async with open_tiny() as talk:
        await publish(talk, mood())
        await publish(talk, mood(instruction="Moods.\n\n"))
        draft = mood(instruction="How is it?\n\n")
        await save_draft(talk, draft, based_on=1)
        data = await talk.ask("!prompt tune mood")
        kept = await talk.store.get_draft(HERE, "mood", "ann")
        assert kept is not None
        assert kept.based_on == 1
        assert data["is_proposed"] == (kept.source_text != draft.source_text)
        assert kept.source_text is not None
        assert "How is it?" in kept.source_text


async def test_a_draft_that_changes_during_the_search_is_left_alone(open_tiny: OpenTiny) -> None:
    async with open_tiny(prompts=WITH_MOOD) as talk:
        last, changed = None, mood(instruction="Changed.\n\n")
        async for card in talk.snapshots("!prompt tune --take yes mood"):
            if last is None:
                await save_draft(talk, changed)
            last = card
        assert last is not None
        assert last.error == (
            "Your draft of mood changed since the search began, so the result was not stored. Give the command again."
        )
        draft = await talk.store.get_draft(HERE, "mood", "ann")
        assert draft is not None
        assert draft.source_text == changed.source_text


async def test_a_stopped_or_impossible_search_changes_nothing(open_tiny: OpenTiny) -> None:
    async with open_tiny(prompts=WITH_MOOD) as talk:
        stopper = Stopper()
        async for card in talk.snapshots("!prompt tune mood", stopper=stopper):
            stopper.stop()
            last = card
        assert last.data["is_stopped"]
        assert await talk.store.get_draft(HERE, "mood", "ann") is None
        assert "story has 0 examples, but tuning needs at least 3." in await talk.refusal("!prompt tune story")
        await talk.ask("!privacy --read off")
        assert "You asked not to be read" in await talk.refusal("!prompt tune mood")


# ---- several lines


async def test_each_line_gets_the_answer_that_it_gets_alone(any_talk: Talk) -> None:
    lines = ["I love it", "  <|endoftext|> 🙂", "", "=SUM(1)", "what"]
    cards = [card async for card in any_talk.snapshots("!prompt sentiment " + "\n".join(lines))]
    said = [line.strip() for line in lines if line.strip()]
    progress = [block for card in cards[:-1] for block in card.blocks if isinstance(block, Progress)]
    assert [block.num_done for block in progress] == [0, 1, 2, 3]
    assert all(block.num_total == 4 for block in progress)
    rows = cards[-1].data["rows"]
    assert [row["input"] for row in rows] == said
    (table,) = cards[-1].blocks
    assert isinstance(table, Table)
    for row, cells in zip(rows, table.rows, strict=True):
        alone = await any_talk.ask(f"!prompt sentiment -- {row['input']}")
        assert row["label"] == alone["label"]
        assert row["probabilities"] == pytest.approx(alone["probabilities"], abs=1e-5)
        assert row["is_sure"] == alone["is_sure"]
        unsure = "" if alone["is_sure"] else " (unsure)"
        assert cells[2] == f"{alone['label']} {max(alone['probabilities'].values()):.0%}{unsure}"
    assert cards[-1].file is None


async def test_a_file_is_one_input_a_line_and_long_tables_are_files(talk: Talk) -> None:
    lines = [f"line number {i}" for i in range(MAX_SHOWN + 1)]
    lines[3] = "=HYPERLINK(1)"
    card = await talk.card("!prompt sentiment", attachment="\n".join(lines))
    assert len(card.data["rows"]) == len(lines)
    assert card.file is not None
    assert card.file.name == "sentiment.csv"
    table = table_of(card, "line")
    assert len(table.rows) == MAX_SHOWN
    read = list(csv.reader(io.StringIO(card.file.text)))
    head = ["number", "line", "answer", "probability", "sure", "p(Positive)", "p(Negative)", "p(Neutral)", "problem"]
    assert read[0] == head
    assert [row[1] for row in read[1:]] == [*lines[:3], "'=HYPERLINK(1)", *lines[4:]]
    for row, data in zip(read[1:], card.data["rows"], strict=True):
        assert row[2] == data["label"]
        assert [float(cell) for cell in row[5:8]] == pytest.approx(list(data["probabilities"].values()), abs=1e-4)
        assert float(row[3]) == max(map(float, row[5:8]))
    too_many = "\n".join(["x"] * (MAX_LINES + 1))
    assert await talk.refusal("!prompt sentiment", attachment=too_many) == (
        f"The text has {MAX_LINES + 1} lines; the limit is {MAX_LINES}. Send a part of it."
    )


async def test_a_template_that_keeps_line_breaks_takes_the_whole_unless_asked(talk: Talk) -> None:
    await talk.ask("!prompt story --seed 3 a cat\na dog")
    assert (await talk.why())["prompt"] == "A story about a cat\na dog\nOnce"
    answer = await talk.ask("!prompt story --lines each --seed 3 a cat\na dog")
    assert [row["input"] for row in answer["rows"]] == ["a cat", "a dog"]
    for i, row in enumerate(answer["rows"]):
        alone = await talk.ask(f"!prompt story --seed {3 + i} {row['input']}")
        assert row["text"] == alone["text"]
    assert await talk.refusal("!prompt story --lines each --n 2 a\nb") == (
        "Each of several lines gets one answer. Leave out --n."
    )
    assert "takes no sampling options" in await talk.refusal("!prompt sentiment --top_k 3 a\nb")
    assert "is for chat" in await talk.refusal("!prompt chat --lines each a\nb")
    one = await talk.ask("!prompt sentiment --lines whole a\nb")
    assert one["label"] == (await talk.ask("!prompt sentiment a b"))["label"]


async def test_stop_keeps_the_lines_that_are_done_and_a_long_line_is_told(talk: Talk) -> None:
    stopper = Stopper()
    last = None
    async for card in talk.snapshots("!prompt sentiment a\nb\nc\nd", stopper=stopper):
        last = card
        if any(isinstance(block, Progress) and block.num_done == 2 for block in card.blocks):
            stopper.stop()
    assert last is not None
    assert last.is_final
    assert 2 <= len(last.data["rows"]) < 4
    assert f"Stopped after {len(last.data['rows'])} of 4 lines." in texts_of(last)
    card = await talk.card("!prompt sentiment fine\n" + "so " * 900)
    assert card.data["rows"][0]["problem"] is None
    assert "tokens, too long" in card.data["rows"][1]["problem"]
    assert table_of(card, "line").rows[1][2] == f"({card.data['rows'][1]['problem']})"


# ---- who sees it


@pytest.mark.parametrize("command", ["test", "tune"])
async def test_a_measurement_of_a_draft_is_seen_by_its_author_alone(open_tiny: OpenTiny, command: str) -> None:
    async with open_tiny(prompts=WITH_MOOD) as talk:
        line, in_public = f"!prompt {command} mood", {"has_buttons": True, "reach": "public"}
        cards = [card async for card in talk.snapshots(line, **in_public)]
        assert {card.answers for card in cards} == {"public"}, "everybody can read what is published"
        assert {card.answers async for card in talk.snapshots(line, has_buttons=True, reach="form")} == {"private"}
        await save_draft(talk, mood(instruction="Secret.\n\n"))
        offer = await talk.card(line, **in_public)
        assert [button.label for button in offer.buttons] == ["Open"]
        opened = [card async for card in talk.clicks(offer, "open", is_moderator=True)]
        assert {card.answers for card in opened} == {"private"}
        assert opened[-1].data["template"] == "mood"
        others = await talk.card(line, who="Bob", **in_public)
        assert others.answers == "public", "Bob has no draft"

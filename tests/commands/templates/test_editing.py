"""Moderators begin, change and drop drafts of templates: forms that lose nothing, cards that show what it means."""

import asyncio
from dataclasses import replace

import pytest

from bot.core.cards import Card, Text
from bot.core.messages import Reach, Scope
from bot.core.templates.parsing import parse_template
from tests.bots import HERE, PROMPTS, Talk
from tests.commands.templates.drafts import GREETING, action_names, drafted, fill, form_of, values_of

MOD = {"is_moderator": True}


async def test_a_form_begins_a_template_and_the_card_shows_what_it_is(talk: Talk) -> None:
    form = await form_of(talk, "!prompt new greeting")
    assert [field.name for field in form.fields] == ["description", "instruction", "query", "labels", "file"]
    assert values_of(form)["query"] == "$input"
    card = await fill(talk, form, GREETING)
    assert card.error is None
    assert card.data["problem"] == ""
    template = parse_template(card.data["source"], name="greeting", source="greeting")
    assert (template.kind, template.instruction, template.query) == ("complete", "Greetings.\n\n", "$input =")
    assert card.data["diff"].split("\n") == [
        "Description",
        "+ Greets in French.",
        "Instruction",
        "+ Greetings.",
        "Query",
        "+ $input =",
    ]
    assert "multiline" not in card.data["source"]
    assert card.data["num_tokens"] < card.data["context_length"] == 512
    assert card.data["warnings"] == ["There are no tests, so nothing can be measured."]
    assert action_names(card) == ["publish", "edit", "rows", "discard"]
    assert [select.action for select in card.selects] == ["kind", "preset"]
    assert "greeting" not in (await talk.ask("!prompt list"))["templates"], "a draft is nobody else's"


async def test_labels_make_it_classify_and_rows_are_lines(talk: Talk) -> None:
    card = await drafted(talk, "!prompt new mood", {**GREETING, "labels": "Good, Bad"})
    assert card.data["kind"] == "classify"
    assert [select.action for select in card.selects] == ["kind"]
    opened = await talk.click(card, "rows", **MOD)
    assert opened.form is not None
    rows = "What a day! => Good\n\na => b \\=> c => Bad\n"
    card = await fill(talk, opened.form, {"examples": "", "tests": rows})
    assert (
        card.data["problem"]
        == "Tests: Line 3 has the output 'b \\\\=> c => Bad', which is not a label; the labels are Good and Bad."
    )
    assert action_names(card) == ["edit", "rows", "discard"]
    opened = await talk.click(card, "rows", **MOD)
    assert opened.form is not None
    assert values_of(opened.form)["tests"] == rows, "as it was typed"
    card = await fill(talk, opened.form, {"examples": "What a day! => Good\na \\=> b => Bad", "tests": "Yes => Good"})
    assert card.data["problem"] == ""
    template = parse_template(card.data["source"], name="mood", source="mood")
    assert [(row.input, row.output) for row in template.examples] == [("What a day!", "Good"), ("a => b", "Bad")]
    assert action_names(card) == ["publish", "test", "edit", "rows", "discard"]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"description": " "}, "The description is missing. Say in one line what the template is for."),
        ({"query": "$inptu"}, "There is no slot $inptu; did you mean $input?"),
        ({"query": "no slot"}, "The text needs $input exactly once, where the input goes."),
        ({"instruction": "It costs $5."}, "Write a dollar sign as $$. A single one starts a slot, such as $input."),
        ({"labels": "Yes"}, "Kind classify needs 2 to 50 labels: the answers that it chooses from."),
        ({"file": "nothing"}, "Line 1 of the file: The first line must be exactly +++."),
    ],
)
async def test_a_mistake_is_one_sentence_and_nothing_typed_is_lost(
    talk: Talk, values: dict[str, str], sentence: str
) -> None:
    typed = {**GREETING, **values}
    card = await fill(talk, await form_of(talk, "!prompt new greeting"), typed)
    assert card.data["problem"] == sentence
    assert sentence in "".join(block.text for block in card.blocks if isinstance(block, Text))
    again = await talk.click(card, "edit", **MOD)
    assert again.form is not None
    kept = {name: text for name, text in typed.items() if name != "file"}
    assert {name: text for name, text in values_of(again.form).items() if name != "file"} == kept
    if values.get("file"):
        assert card.file is not None
        assert card.file.text == values["file"], "no form can hold a file, so it is handed back"
    assert "greeting is not valid: " in await talk.refusal("!prompt publish greeting", has_buttons=True)
    done = await fill(talk, again.form, GREETING)
    assert done.data["problem"] == ""


async def test_an_import_with_a_mistake_does_not_offer_to_publish_it(talk: Talk) -> None:
    def hint(card: Card) -> str:
        return " ".join(block.text for block in card.blocks if isinstance(block, Text) and block.is_quiet)

    wrong = await talk.card("!prompt import tale", attachment=PROMPTS["story"].replace("$input", "$inptu"))
    assert "did you mean $input?" in wrong.data["problem"]
    assert "publish" not in hint(wrong)
    assert "test" not in hint(wrong)
    assert "!prompt edit tale · !prompt discard tale" in hint(wrong)
    card = await talk.card("!prompt draft tale", has_buttons=True)
    assert action_names(card) == ["edit", "rows", "discard"]
    # The last valid state is not offered either, while a later mistake waits to be fixed.
    right = await talk.card("!prompt import tale", attachment=PROMPTS["story"])
    assert "!prompt publish tale · !prompt edit tale" in hint(right)
    wrong = await talk.card("!prompt import tale", attachment="+++\n+++\nno slot")
    assert "publish" not in hint(wrong)


async def test_a_file_takes_the_place_of_all_fields(talk: Talk) -> None:
    form = await form_of(talk, "!prompt new moods")
    card = await fill(talk, form, {"description": "ignored", "file": PROMPTS["sentiment"]})
    assert card.data["problem"] == ""
    assert card.data["source"] == PROMPTS["sentiment"]


async def test_what_is_longer_than_a_form_stays_as_it_is(talk: Talk) -> None:
    long = PROMPTS["story"].replace("A story about", "x" * 4100 + "\nA story about")
    card = await talk.card("!prompt import tale", attachment=long)
    assert "context has 512" in card.data["problem"]
    rows = "".join(f'[[tests]]\ninput = "{i} {"y" * 90}"\noutput = "no"\n' for i in range(60))
    await talk.card(
        "!prompt import tale",
        attachment=PROMPTS["story"]
        .replace("[sampling]", 'stop = ["!"]\n[sampling]')
        .replace("+++\nA story", rows + "+++\nA story"),
    )
    card = await talk.card("!prompt draft tale", has_buttons=True)
    assert card.data["problem"] == ""
    opened = await talk.click(card, "rows", **MOD)
    assert opened.form is not None
    assert [field.name for field in opened.form.fields] == ["examples", "more_tests"]
    card = await fill(talk, opened.form, {"more_tests": "one more => yes"})
    template = parse_template(card.data["source"], name="tale", source="tale")
    assert len(template.tests) == 61
    assert template.tests[-1].input == "one more"
    assert template.stop == ("!",)


async def test_a_built_in_template_is_edited_as_a_copy_that_keeps_its_kind(talk: Talk) -> None:
    form = await form_of(talk, "!prompt edit sentiment")
    assert values_of(form)["labels"] == "Positive, Negative, Neutral"
    unchanged = await fill(talk, form, {})
    assert unchanged.data["diff"] == ""
    assert [select.action for select in unchanged.selects] == []
    card = await fill(talk, form, {"instruction": "How people feel."})
    assert card.data["diff"] == "Instruction\n- Feelings.\n+ How people feel."
    wrong = PROMPTS["story"]
    card = await talk.card("!prompt import sentiment", attachment=wrong)
    assert card.data["problem"].startswith(
        "sentiment is a built-in template of kind classify, and its kind can't change."
    )


async def test_kind_and_sampling_are_chosen_on_the_card(talk: Talk) -> None:
    card = await drafted(talk, "!prompt new greeting", GREETING)
    card = await talk.click(card, "preset", value="wild", **MOD)
    assert 'preset = "wild"' in card.data["source"]
    assert card.answers == "public", "in the place of the card, which only its owner sees"
    card = await talk.click(card, "kind", value="classify", **MOD)
    assert card.data["problem"] == "Kind classify needs 2 to 50 labels: the answers that it chooses from."
    opened = await talk.click(card, "edit", **MOD)
    assert opened.form is not None
    card = await fill(talk, opened.form, {"labels": "Yes\nNo, never"})
    assert 'labels = ["Yes", "No, never"]' in card.data["source"]
    assert "preset" not in card.data["source"]
    card = await talk.click(card, "kind", value="chat", **MOD)
    assert "$history\n$bot_name:" in card.data["source"]
    opened = await talk.click(card, "edit", **MOD)
    assert opened.form is not None
    assert [field.name for field in opened.form.fields] == ["description", "instruction", "file"]


async def test_rows_are_added_and_taken_out_by_commands(talk: Talk) -> None:
    card = await talk.card("!prompt examples story add a cat => It purred.\na dog => It barked.")
    assert card.data["problem"] == ""
    assert "- " not in card.data["diff"]
    assert (await talk.ask("!prompt examples story"))["examples"] == [
        {"input": "a cat", "output": "It purred."},
        {"input": "a dog", "output": "It barked."},
    ]
    await talk.ask("!prompt examples story remove 1")
    listed = await talk.ask("!prompt examples story")
    assert listed["is_draft"] is True
    assert [row["input"] for row in listed["examples"]] == ["a dog"]
    await talk.ask("!prompt tests story add a cow => It mooed.")
    assert len((await talk.ask("!prompt tests story list"))["tests"]) == 1
    assert (await talk.ask("!prompt tests story", who="Bob"))["tests"] == [], "drafts are their author's"
    for line, sentence in {
        "examples story remove 3": "story has no example '3'. The numbers are 1 to 1.",
        "examples story remove": "Name the rows by number, as in !prompt examples story remove 2.",
        "examples story ad x": "There is no action 'ad'; did you mean add?",
        "tests story take 1": "There is no action 'take'; choose from list, add, remove.",
        "examples story add": "The rows are missing. Write !prompt examples story add input => output.",
        "examples story add a=>b": "Line 1 needs white space on both sides of =>.",
        "examples nothing add a => b": "There is no template 'nothing' yet. Create it with !prompt new nothing.",
        "examples sentiment add a => Positiv": "Line 1 has the output 'Positiv', which is not a label; did you mean",
    }.items():
        assert (await talk.refusal(f"!prompt {line}")).startswith(sentence), line


async def test_a_proposal_is_taken_up_and_forgotten_with_its_message(talk: Talk) -> None:
    await talk.ask("What a glorious day!", who="Bob", is_moderator=False)
    said = talk.message_ids[-1]
    line = "!prompt example --template sentiment --output positive"
    await talk.ask(line, reply_to=said, who="Eve", is_moderator=False)
    await talk.ask("!prompt example --template sentiment --output negative Oh no", who="Eve", is_moderator=False)
    proposed = await talk.ask("!prompt examples sentiment proposed")
    assert [(row["number"], row["input"]) for row in proposed["examples"]] == [
        ("2", "Oh no"),
        ("1", "What a glorious day!"),
    ]
    assert (await talk.ask("!prompt examples sentiment"))["num_proposed"] == 2
    card = await talk.card("!prompt examples sentiment take 1")
    assert card.data["diff"] == "Examples\n+ What a glorious day! => Positive"
    assert (await talk.ask("!prompt examples sentiment"))["num_proposed"] == 1
    await talk.ask("!prompt examples sentiment dismiss 2")
    assert (await talk.ask("!prompt examples sentiment"))["num_proposed"] == 0
    assert "no proposal '7'" in await talk.refusal("!prompt examples sentiment take 7")
    await talk.ask("!prompt publish sentiment")
    assert "glorious" in (await talk.ask("!prompt show sentiment"))["source"]
    await talk.bot.deleted("terminal", [said])
    source = (await talk.ask("!prompt show sentiment"))["source"]
    assert "glorious" not in source
    assert "I love this" in source, "a label is nobody's words, so the other rows stay"


@pytest.mark.parametrize("is_published", [True, False])
async def test_a_form_opened_before_words_were_forgotten_does_not_bring_them_back(
    talk: Talk, is_published: bool
) -> None:
    await talk.ask("What a glorious day!", who="Bob", is_moderator=False)
    said = talk.message_ids[-1]
    await talk.ask("!prompt example --template sentiment --output positive", reply_to=said, is_moderator=False)
    card = await talk.card("!prompt examples sentiment take 1", has_buttons=True)
    if is_published:
        await talk.ask("!prompt publish sentiment")
        await talk.ask("!prompt tests sentiment add I see => Neutral")
        card = await talk.card("!prompt draft sentiment", has_buttons=True)
    opened = await talk.click(card, "rows", **MOD)
    assert opened.form is not None
    assert "glorious" in values_of(opened.form)["examples"]
    await talk.bot.deleted("terminal", [said])
    refused = await fill(talk, opened.form, {})
    assert "were erased" in str(refused.error)
    source = str((await talk.ask("!prompt draft sentiment"))["source"])
    assert "glorious" not in source
    opened = await talk.click(card, "rows", **MOD)
    assert opened.form is not None
    assert (await fill(talk, opened.form, {})).error is None


async def test_the_right_answer_is_proposed_in_reply_to_a_wrong_one(talk: Talk) -> None:
    card = await talk.card("!prompt sentiment What a day!", who="Bob", is_moderator=False)
    asked = talk.message_ids[-1]
    assert card.reply_id
    form = await form_of(talk, "!prompt example", reply_to=card.reply_id, is_moderator=False)
    assert values_of(form)["input"] == "What a day!"
    assert form.fields[0].options[0].value == "sentiment"
    done = await talk.ask("!prompt example Negative", reply_to=card.reply_id, is_moderator=False)
    assert (done["input"], done["output"]) == ("What a day!", "Negative")
    assert (await talk.ask("!prompt examples sentiment"))["num_proposed"] == 1
    await talk.bot.deleted("terminal", [asked])
    assert (await talk.ask("!prompt examples sentiment"))["num_proposed"] == 0


async def test_a_draft_belongs_to_its_author_in_its_server(talk: Talk) -> None:
    card = await drafted(talk, "!prompt new greeting", GREETING)
    assert "belongs to someone else" in await talk.click_refusal(card, "publish", who="Bob", is_moderator=True)
    assert "moderators" in await talk.click_refusal(card, "publish", is_moderator=False)
    assert "no draft" in await talk.refusal("!prompt draft greeting", who="Bob")
    elsewhere = replace(HERE, server="work")
    assert "no draft" in await talk.refusal("!prompt draft greeting", scope=elsewhere)
    assert "expired" in await talk.click_refusal(card, "publish", scope=elsewhere, is_moderator=True)
    channel = replace(HERE, channel="random")
    assert (await talk.ask("!prompt draft greeting", scope=channel))["template"] == "greeting"
    discarded = await talk.click(card, "discard", **MOD)
    assert "discarded" in str(discarded.data["text"])
    assert "expired" in await talk.click_refusal(card, "publish", **MOD)


async def test_a_template_that_is_only_a_draft_is_said_to_be_one_to_its_author(talk: Talk) -> None:
    await drafted(talk, "!prompt new mood", GREETING)
    sentence = "mood is only a draft of yours. Publish it with !prompt publish mood, or see it with !prompt draft mood."
    for line in ("!prompt mood", "!prompt mood a cow", "!prompt show mood", "!prompt delete mood"):
        assert await talk.refusal(line) == sentence
        assert (await talk.refusal(line, who="Bob")).startswith("There is no template 'mood'")


async def test_names_are_checked_and_known_ones_are_edited(talk: Talk) -> None:
    for line, sentence in {
        "new Greeting": "A template's name has 1 to 32 characters of a-z",
        "new list": "No template can be named 'list', because a subcommand has that name. Choose another one.",
        "new draft": "No template can be named 'draft'",
        "new story": "There is already a template story. Edit it with /prompt-edit edit name:story.",
        "edit stori": "There is no template 'stori'; did you mean story?",
        "edit zzzzzz": "There is no template 'zzzzzz'; create it with /prompt-edit new name:zzzzzz.",
        "import ../x": "A template's name has 1 to 32",
        "discard story": "You have no draft of story.",
    }.items():
        text = " +++" if line.startswith("import") else ""
        assert (await talk.refusal(f"!prompt {line}{text}", has_buttons=True, reach="form")).startswith(sentence)


async def test_who_asked_not_to_be_read_keeps_no_template(talk: Talk) -> None:
    await talk.ask("!privacy --read off")
    for line in ("new greeting", "edit story", "import tale x", "examples story add a => b", "publish story"):
        assert "You asked not to be read" in await talk.refusal(f"!prompt {line}", has_buttons=True, reach="form")


async def test_a_draft_is_not_lost_in_a_direct_message_either(talk: Talk) -> None:
    direct = Scope("terminal", "@me", "17", kind="direct")
    await drafted(talk, "!prompt new mine", GREETING, scope=direct, is_moderator=False)
    await talk.ask("!prompt publish mine", scope=direct, is_moderator=False)
    assert (await talk.ask("!prompt mine Hello", scope=direct))["template"] == "mine"
    assert "no template" in await talk.refusal("!prompt mine Hello", scope=replace(direct, channel="18"))


@pytest.mark.parametrize("reach", ["form", "private"])
async def test_a_template_with_the_characters_that_mark_mentions_stays_as_it_is(talk: Talk, reach: Reach) -> None:
    marks = "Say \ue0f0help\ue0f1 and \ue0f0--n\ue0f1"
    source = f'+++\ndescription = "d"\n+++\n{marks} to $input now\n'
    card = await talk.card("!prompt import tale", attachment=source, has_buttons=True, reach=reach)
    assert marks in card.data["source"]
    form = await form_of(talk, "!prompt edit tale")
    assert marks in "".join(values_of(form).values())
    saved = await fill(talk, form, {"description": "another"})
    assert marks in saved.data["source"]


async def test_changes_of_a_draft_at_the_same_time_are_all_kept(talk: Talk) -> None:
    lines = [f"!prompt examples sentiment add day {i} => Positive" for i in range(4)]
    lines += [f"!prompt tests sentiment add night {i} => Negative" for i in range(4)]
    cards = await asyncio.gather(*(talk.card(line) for line in lines))
    assert [card.error for card in cards] == [None] * 8
    draft = await talk.store.get_draft(HERE, "sentiment", "ann")
    assert draft is not None
    template = parse_template(draft.source_text or "", name="sentiment", source="")
    assert sorted(row.input for row in template.examples if "day" in row.input) == [f"day {i}" for i in range(4)]
    assert sorted(row.input for row in template.tests) == [f"night {i}" for i in range(4)]


async def test_a_form_keeps_the_rows_that_were_added_while_it_was_stored(talk: Talk) -> None:
    form = await form_of(talk, "!prompt edit sentiment")
    adding = [talk.card(f"!prompt examples sentiment add day {i} => Positive") for i in range(3)]
    filled, *cards = await asyncio.gather(fill(talk, form, {"description": "In French."}), *adding)
    assert [card.error for card in (filled, *cards)] == [None] * 4
    draft = await talk.store.get_draft(HERE, "sentiment", "ann")
    assert draft is not None
    template = parse_template(draft.source_text or "", name="sentiment", source="")
    assert template.description == "In French."
    assert sorted(row.input for row in template.examples if "day" in row.input) == [f"day {i}" for i in range(3)]


async def test_after_a_failed_form_the_button_of_that_form_is_primary(talk: Talk) -> None:
    def primary(card: Card) -> list[str]:
        return [button.action for button in card.buttons if button.style == "primary"]

    card = await fill(talk, await form_of(talk, "!prompt edit sentiment"), {"query": "no slot"})
    assert card.data["problem"]
    assert primary(card) == ["edit"]
    card = await fill(talk, await form_of(talk, "!prompt edit sentiment"), {"query": "$input ->"})
    assert primary(card) == ["publish"] or not card.data["problem"]
    opened = await talk.click(card, "rows", is_moderator=True)
    assert opened.form is not None
    card = await fill(talk, opened.form, {"tests": "no arrow"})
    assert card.data["problem"].startswith("Tests: ")
    assert primary(card) == ["rows"]

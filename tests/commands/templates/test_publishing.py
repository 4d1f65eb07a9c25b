"""What moderators publish, look back at and take back: the whole way of a template, races, restarts, other models."""

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path

import pytest

from bot.core.cards import Card, Table, Text, Verbatim
from bot.core.messages import Author
from bot.core.templates.parsing import parse_template
from tests.bots import HERE, MOOD, PROMPTS, Talk, open_tiny_bot
from tests.commands.templates.drafts import GREETING, action_names, drafted, fill, form_of, seem_measured, values_of

OpenTiny = Callable[..., AbstractAsyncContextManager[Talk]]
MOD = {"is_moderator": True}
ELSEWHERE = replace(HERE, server="work")


def words_of(card: Card) -> str:
    return "\n".join(block.text for block in card.blocks if isinstance(block, Text))


async def source_of(talk: Talk, name: str) -> str:
    return str((await talk.ask(f"!prompt show {name}"))["source"])


async def published(talk: Talk, name: str, text: str, *, who: str = "Ann", reason: str = "") -> int:
    """Import and publish a template; return its number."""
    card = await talk.card(f"!prompt import {name}", attachment=text, who=who)
    assert card.data["problem"] == "", card.data["problem"]
    return int((await talk.ask(f"!prompt publish {name} {reason}".strip(), who=who))["number"])


async def test_the_whole_way_of_a_template(open_tiny: OpenTiny) -> None:
    async with open_tiny("gpt2") as talk:
        wrong = {**GREETING, "query": "$inptu ="}
        card = await fill(talk, await form_of(talk, "!prompt new greeting"), wrong)
        assert card.data["problem"] == "There is no slot $inptu; did you mean $input?"
    async with open_tiny("gpt2") as talk:
        # A restart later the draft is as it was left.
        form = await form_of(talk, "!prompt edit greeting")
        assert values_of(form)["query"] == "$inptu ="
        card = await fill(talk, form, {"query": "$input ="})
        opened = await talk.click(card, "rows", **MOD)
        assert opened.form is not None
        card = await fill(talk, opened.form, {"examples": "cat => chat\ndog => chien", "tests": "cow => vache"})
        assert action_names(card) == ["publish", "test", "edit", "rows", "discard"]
        shown = [shot async for shot in talk.clicks(card, "test", **MOD)]
        assert shown[-1].data["score"]["num_rows"] == 1
        assert all(not shot.is_final and shot.answers == "public" for shot in shown[:-1])
        card = shown[-1]
        assert "There is no template" in await talk.refusal("!prompt greeting cow", who="Bob", is_moderator=False)
    async with open_tiny("gpt2") as talk:
        # The card works after a restart too.
        done = await talk.click(card, "publish", **MOD)
        assert done.data["text"] == "Published greeting as version 1."
        assert done.answers == "public"
        assert action_names(done) == ["try"]
        used = await talk.ask("!prompt greeting --max_new_tokens 3 cow", who="Bob", is_moderator=False)
        assert used["template"] == "greeting"
        assert (await talk.why())["template"] == "greeting"

        await talk.ask("!prompt examples greeting remove 1")
        await talk.ask("!prompt publish greeting one is enough")
        history = await talk.card("!prompt history greeting", is_moderator=False)
        versions = history.data["versions"]
        assert [(one["number"], one["action"], one["author"], one["reason"]) for one in versions] == [
            (2, "edit", "Ann", "one is enough"),
            (1, "new", "Ann", ""),
        ]
        assert versions[1]["score"]["num_rows"] == 1, "what was measured of the draft stands with the version"
        assert isinstance(history.blocks[1], Table)
        diff = await talk.ask("!prompt diff greeting", is_moderator=False)
        assert diff["diff"] == "Examples\n- cat => chat"
        assert (await talk.ask("!prompt diff greeting 2 1"))["diff"] == "Examples\n+ cat => chat"

        back = await talk.ask("!prompt rollback greeting 1 two are better")
        assert back["number"] == 3
        assert (await talk.ask("!prompt diff greeting 1"))["diff"] == ""
        exported = await talk.card("!prompt export greeting")
        assert exported.file is not None
        assert exported.file.name == "greeting.prompt"
        assert exported.answers == "private"

        card = await talk.card("!prompt import greeting", attachment=exported.file.text, scope=ELSEWHERE)
        assert card.data["problem"] == ""
        assert (await talk.ask("!prompt publish greeting", scope=ELSEWHERE))["number"] == 1
        there = await talk.ask("!prompt show greeting", scope=ELSEWHERE)
        assert there["source"] == await source_of(talk, "greeting")

        card = await talk.card("!prompt delete greeting nobody greets", has_buttons=True)
        assert action_names(card) == ["delete"]
        assert "belongs to someone else" in await talk.click_refusal(card, "delete", who="Bob", is_moderator=True)
        assert "moderators" in await talk.click_refusal(card, "delete")
        assert (await talk.click(card, "delete", **MOD)).data["text"] == "greeting is deleted."
        assert "There is no template" in await talk.refusal("!prompt greeting cow")
        assert (await talk.ask("!prompt show greeting", scope=ELSEWHERE))["source"] == there["source"]
        versions = (await talk.ask("!prompt history greeting"))["versions"]
        assert [(one["number"], one["action"]) for one in versions][:2] == [(4, "delete"), (3, "rollback")]
        assert (await talk.ask("!prompt rollback greeting 3"))["number"] == 5
        assert await source_of(talk, "greeting") == there["source"]


async def test_of_two_moderators_the_second_is_told_and_shown_the_difference(talk: Talk) -> None:
    ours = await form_of(talk, "!prompt edit story")
    theirs = await form_of(talk, "!prompt edit story", who="Bob")
    mine = await fill(talk, ours, {"description": "A tale."})
    his = await fill(talk, theirs, {"description": "A long story."}, who="Bob")
    assert not mine.data["is_overtaken"]
    await talk.click(his, "publish", who="Bob", **MOD)
    refused = await talk.click(mine, "publish", **MOD)
    assert refused.data["is_overtaken"]
    assert refused.data["overtaken"].startswith("Bob published version 1 on ")
    assert refused.data["overtaken_diff"] == "Description\n- A story.\n+ A long story."
    assert refused.data["diff"] == "Description\n- A long story.\n+ A tale."
    assert [block.text for block in refused.blocks if isinstance(block, Verbatim)][:2] == [
        refused.data["overtaken_diff"],
        refused.data["diff"],
    ]
    assert action_names(refused) == ["publish-anyway", "edit", "discard"]
    # Once more somebody is quicker.
    await published(talk, "story", PROMPTS["story"].replace("A story.", "Bob's own."), who="Bob")
    again = await talk.click(refused, "publish-anyway", **MOD)
    assert "version 2" in again.data["overtaken"]
    opened = await talk.click(again, "edit", **MOD)
    assert opened.form is not None
    card = await fill(talk, opened.form, {"description": "All of it."})
    assert not card.data["is_overtaken"], "who edits on after having seen it goes on from there"
    done = await talk.click(card, "publish", **MOD)
    assert done.data["number"] == 3
    assert "All of it." in await source_of(talk, "story")


async def test_publishing_over_another_version_names_it(talk: Talk) -> None:
    await drafted(talk, "!prompt edit story", {"description": "A tale."})
    await published(talk, "story", PROMPTS["story"].replace("A story.", "Bob's own."), who="Bob")
    card = await talk.card("!prompt publish story")
    assert card.data["is_overtaken"]
    hints = [block.text for block in card.blocks if isinstance(block, Text)]
    assert any("!prompt publish --over 1 story" in hint for hint in hints)
    assert (await talk.card("!prompt publish --over 7 story")).data["is_overtaken"]
    assert "takes the number" in await talk.refusal("!prompt publish --over it story")
    assert (await talk.ask("!prompt publish --over 1 story"))["number"] == 2
    assert "no draft" in await talk.refusal("!prompt publish story")


async def test_a_card_publishes_only_what_it_shows(talk: Talk) -> None:
    first = await drafted(talk, "!prompt edit story", {"description": "A tale."})
    await drafted(talk, "!prompt edit story", {"description": "Another tale."})
    shown = await talk.click(first, "publish", **MOD)
    assert "has changed since this card" in str(shown.blocks[0])
    assert "Another tale." in shown.data["source"]
    await talk.click(shown, "publish", **MOD)
    assert "Another tale." in await source_of(talk, "story")
    assert "That card has expired" in await talk.click_refusal(shown, "publish", **MOD)


async def test_a_button_pressed_twice_publishes_once(talk: Talk) -> None:
    card = await drafted(talk, "!prompt edit story", {"description": "A tale."})
    done = await asyncio.gather(*(talk.click(card, "publish", **MOD) for _ in range(4)))
    assert sorted("number" in one.data for one in done) == [False, False, False, True]
    assert len((await talk.ask("!prompt history story"))["versions"]) == 1


async def test_a_worse_draft_asks_for_a_reason_that_stands_in_the_history(talk: Talk) -> None:
    rows = "".join(f'[[tests]]\ninput = "case {i}"\noutput = "answer {i}"\n' for i in range(10))
    text = PROMPTS["story"].replace("+++\nA story", f"{rows}+++\nA story")
    worse = text.replace("Once", "Zzzz")
    await published(talk, "story", text)
    await seem_measured(talk, parse_template(text, name="story", source="story"), 5.0)
    await seem_measured(talk, parse_template(worse, name="story", source="story"), 9.0)
    card = await talk.card("!prompt import story", attachment=worse, has_buttons=True)
    assert card.data["verdict"] == "worse"
    sentence = (
        "This draft scores worse than the published version. To publish it anyway, give a reason:"
        " !prompt publish story REASON"
    )
    assert await talk.refusal("!prompt publish story") == sentence
    asked = await talk.click(card, "publish", **MOD)
    assert asked.form is not None
    assert asked.answers == "private"
    empty = await fill(talk, asked.form, {"reason": " "})
    assert str(empty.error).startswith("The reason is missing")
    stranger = await fill(talk, asked.form, {"reason": "why not"}, who="Bob")
    assert "belongs to someone else" in str(stranger.error)
    assert "limit is 300" in str((await fill(talk, asked.form, {"reason": "x" * 301})).error)
    done = await fill(talk, asked.form, {"reason": "it reads\nbetter"})
    assert done.data["number"] == 2
    assert (await talk.ask("!prompt history story"))["versions"][0]["reason"] == "it reads better"
    # Better than what is published asks nothing.
    await talk.card("!prompt import story", attachment=text)
    assert (await talk.ask("!prompt publish story"))["number"] == 3


async def test_a_score_of_another_model_is_marked(
    tmp_path: Path, roomy_model: Callable[[str], Path], open_tiny: OpenTiny
) -> None:
    text = PROMPTS["exact"].replace("+++\nIt is", '[[tests]]\ninput = "a"\noutput = "b"\n+++\nIt is')
    async with open_tiny("gpt2") as talk:
        await talk.card("!prompt import exact", attachment=text)
        await talk.ask("!prompt test exact")
        await talk.ask("!prompt publish exact")
        (version,) = (await talk.ask("!prompt history exact"))["versions"]
        assert (version["score"]["num_rows"], version["is_stale"]) == (1, False)
    async with open_tiny_bot(roomy_model("llama"), tmp_path) as talk:
        card = await talk.card("!prompt history exact")
        assert card.data["versions"][0]["is_stale"] is True
        table = card.blocks[1]
        assert isinstance(table, Table)
        assert "out of date" in table.rows[0][-1]


async def test_a_shipped_template_comes_back_when_its_copy_is_deleted(talk: Talk) -> None:
    assert "is built in and can't be deleted" in await talk.refusal("!prompt delete sentiment")
    assert "nobody has changed it" in await talk.refusal("!prompt diff sentiment")
    assert (await talk.ask("!prompt history sentiment"))["versions"] == []
    await drafted(talk, "!prompt edit sentiment", {"instruction": "How people feel."})
    await talk.ask("!prompt publish sentiment")
    assert (await talk.ask("!prompt diff sentiment"))["diff"] == "Instruction\n- Feelings.\n+ How people feel."
    assert (await talk.ask("!prompt sentiment I love it"))["label"]
    card = await talk.card("!prompt delete sentiment")
    assert card.blocks[1] == Text("Type yes to delete it, or no to keep it.", is_quiet=True)
    assert (await talk.ask("Yes."))["text"].endswith("the built-in version is back.")
    assert await source_of(talk, "sentiment") == PROMPTS["sentiment"]
    assert "Version 2 of sentiment has no text" in await talk.refusal("!prompt diff sentiment 2 1")


async def test_wrong_versions_get_one_sentence(talk: Talk) -> None:
    await drafted(talk, "!prompt edit story", {"description": "A tale."})
    for word in ("built-in", "Built-In", "shipped"):  # the word of earlier versions is understood, and not shown
        card = await talk.card(f"!prompt diff story {word} draft")
        assert "+ A tale." in card.data["diff"]
        assert card.data["text"] == card.data["diff"]
        assert card.blocks[0] == Text("story: from the built-in version to draft")
    listed = (await talk.card("!prompt list")).blocks[0]
    assert "built-in" in str(listed)
    assert "shipped" not in f"{listed} {await talk.card('!help prompt')}"
    await talk.ask("!prompt publish story")
    for line, sentence in {
        "rollback story 9": "There is no version 9 of story. List them with !prompt history story.",
        "rollback story 1": "That version of story is already published.",
        "rollback story one": "A version is a number from !prompt history story, built-in, or draft.",
        "rollback story draft": "To publish your draft, use !prompt publish story.",
        "diff story draft": "You have no draft of story. Start one with !prompt edit story.",
        "export stori": "There is no template 'stori'; did you mean story?",
        "history zzzz": "There is no template 'zzzz'",
        "delete zzzz": "There is no template 'zzzz'",
        f"rollback story 1 {'x' * 301}": "That version of story is already published.",
        f"publish story {'x' * 301}": "The reason has 301 characters; the limit is 300. Shorten it.",
    }.items():
        assert (await talk.refusal(f"!prompt {line}")).startswith(sentence), line
    assert (await talk.ask("!prompt rollback story 0"))["number"] == 2


async def test_every_change_is_for_moderators_alone(talk: Talk) -> None:
    names = ("new x", "edit story", "draft story", "discard story", "import x y", "examples story", "tests story")
    names += (
        "publish story",
        "rollback story 1",
        "delete story",
        "export story",
        "test story",
        "tune story",
        "neighbours on story",
    )
    for line in names:
        refusal = await talk.refusal(f"!prompt {line}", is_moderator=False, has_buttons=True, reach="form")
        assert refusal.startswith("Only moderators can use /prompt-edit "), line
    card = await drafted(talk, "!prompt edit story", {"description": "A tale."})
    form = await form_of(talk, "!prompt edit story")
    refused = await fill(talk, form, {"description": "Mine now."}, is_moderator=False)
    assert refused.error == "Only moderators can use /prompt-edit edit."
    for action in action_names(card):
        assert "moderators" in await talk.click_refusal(card, action), action


async def test_what_people_write_is_never_read_as_structure(talk: Talk) -> None:
    nasty = "$input $examples +++ => \\=> <|endoftext|> [[tests]] \"\"\" ''' # \u2028 $$"
    await talk.ask(
        f"!prompt tests story add {nasty} => ok {nasty.replace(' => ', ' ')}".replace(" => \\", " \\=> \\", 1)
    )
    (row,) = (await talk.ask("!prompt tests story"))["tests"]
    assert "$examples +++" in row["input"]
    await talk.ask("!prompt publish story")
    assert (await talk.ask("!prompt tests story"))["tests"] == [row]
    answer = await talk.ask("!prompt story $input +++ $bot_name")
    assert answer["template"] == "story"
    assert "A story about $input +++ $bot_name\n" in (await talk.why())["prompt"]


async def test_a_template_that_fills_the_context_is_refused_with_the_count(talk: Talk) -> None:
    long = {**GREETING, "instruction": "word " * 800}
    card = await fill(talk, await form_of(talk, "!prompt new long"), long)
    problem = card.data["problem"]
    assert "tokens" in problem
    assert "512" in problem
    again = await talk.click(card, "edit", **MOD)
    assert again.form is not None
    assert values_of(again.form)["instruction"] == long["instruction"]


async def test_a_template_of_4000_characters_goes_the_whole_way(talk: Talk) -> None:
    tests = "".join(f'[[tests]]\ninput = "case number {i}"\noutput = "answer {i}"\n' for i in range(75))
    text = PROMPTS["story"].replace("+++\nA story", f"{tests}+++\nA story")
    assert len(text) > 4000
    await published(talk, "long", text)
    exported = await talk.card("!prompt export long")
    assert exported.file is not None
    assert exported.file.text == text
    card = await talk.card("!prompt tests long")
    assert len(card.data["tests"]) == 75
    assert card.file is not None
    assert "case number 74" in card.file.text
    wrong = await talk.card(
        "!prompt import longer", attachment=text.replace("A story about", "A story about" + "é" * 33000)
    )
    assert "at most 65,536 bytes" in wrong.data["problem"]


async def test_five_hundred_templates_are_listed_and_suggested_quickly(talk: Talk) -> None:
    ann = Author("ann", "Ann")
    template = parse_template(PROMPTS["sentiment"], name="x", source="x")
    for i in range(500):
        await talk.store.add_template_version(
            HERE, f"mood-{i:03}", action="new", author=ann, source_text=template.source_text, version=template.version
        )
    await talk.bot.suggest_values(HERE, "prompt run", "name", "")  # read once, then from memory
    times = []
    for typed in ("", "mood-4", "mod-499", "sent", "x" * 50):
        began = time.perf_counter()
        found = await talk.bot.suggest_values(HERE, "prompt run", "name", typed)
        times.append(time.perf_counter() - began)
        assert len(found) <= 25
    assert sorted(times)[2] < 0.05, times
    listed = await talk.ask("!prompt list")
    assert len(listed["templates"]) == 506
    assert (await talk.ask("!prompt mood-499 I love it"))["template"] == "mood-499"


@pytest.mark.parametrize("fence", ["", "```\n", "```toml\n"])
async def test_a_template_is_imported_from_a_message(talk: Talk, fence: str) -> None:
    end = "\n```" if fence else ""
    card = await talk.card(f"!prompt import tale {fence}{PROMPTS['story']}{end}", has_buttons=True)
    assert card.data["problem"] == ""
    assert card.data["kind"] == "complete"
    assert "The text is missing" in await talk.refusal("!prompt import tale")


async def test_a_chat_template_is_chosen_for_a_channel_until_it_is_deleted(talk: Talk) -> None:
    # However it is written down: TOML wants no spaces.
    await published(talk, "sailor", PROMPTS["pirate"].replace('kind = "chat"', "kind='chat'"))
    await talk.ask("!settings chat_template sailor")
    await talk.ask("Hello")
    assert (await talk.why())["template"] == "sailor"
    await talk.ask("!prompt delete --sure yes sailor")
    await talk.ask("Hello again")
    assert (await talk.why())["template"] == "chat", "what is gone is replaced by the default"
    assert "There is no template" in await talk.refusal("!prompt show sailor")


async def test_publishing_says_when_the_draft_was_not_measured_since_it_changed(open_tiny: OpenTiny) -> None:
    async with open_tiny(prompts={**PROMPTS, "mood": MOOD}) as talk:
        note = "It was not measured on its tests since its last change. Measure it with !prompt test mood."
        await talk.ask("!prompt examples mood add it rains => bad")
        await talk.ask("!prompt test mood")
        await talk.ask("!prompt examples mood add it shines => good")
        card = await talk.card("!prompt publish mood")
        assert not card.data["is_measured"]
        assert note in words_of(card)
        await talk.ask("!prompt examples mood remove 5")
        await talk.ask("!prompt test mood")
        card = await talk.card("!prompt publish mood anyway")
        assert card.data["is_measured"]
        assert note not in words_of(card)
        assert "Try it with !prompt mood TEXT." in words_of(card)
        await talk.ask("!prompt examples story add a => b")
        assert "not measured" not in words_of(await talk.card("!prompt publish story")), "it has no tests"


async def test_a_published_template_can_be_tried_at_once(talk: Talk) -> None:
    draft = await drafted(talk, "!prompt edit sentiment", {"description": "How is it?"})
    card = await talk.click(draft, "publish", is_moderator=True)
    assert [(button.label, button.style) for button in card.buttons] == [("Try it", "primary")]
    opened = await talk.click(card, "try")
    assert opened.form is not None
    answer = await fill(talk, opened.form, {"text": "--n 3 is a nice day"})
    assert answer.error is None, answer.error
    assert (answer.data["command"], answer.data["template"]) == ("prompt run", "sentiment")
    assert (await talk.ask("!why"))["prompt"].endswith("--n 3 is a nice day ->")
    assert "belongs to someone else" in await talk.click_refusal(card, "try", who="Bob")
    await talk.ask("!prompt examples story add a => b")
    story = await talk.card("!prompt publish story", has_buttons=True)
    assert action_names(story) == ["try"]
    opened = await talk.click(story, "try")
    assert opened.form is not None
    empty = await fill(talk, opened.form, {"text": "  "})
    assert empty.error == (
        "The text is missing. Write /prompt run name:story text:TEXT, or attach a text file; /prompt show name:story"
        " shows the template."
    )


async def test_a_chat_template_is_tried_by_talking(talk: Talk) -> None:
    await drafted(talk, "!prompt edit pirate", {"description": "At sea."})
    card = await talk.card("!prompt publish pirate", has_buttons=True)
    assert not card.buttons
    assert "To talk with it here, use !settings chat_template pirate." in words_of(card)

"""The tree of a completion: its words, what else was expected there, its branches; by buttons and by typed words."""

import asyncio
import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any

import pytest

from bot.commands.clicks import GONE
from bot.commands.completing import MOVED_ON
from bot.commands.framework.request import Quotas
from bot.core.cards import Card, Choices, SelectOption, Table, Verbatim
from bot.core.messages import Author, FormSubmitted
from bot.core.prompt_parts import Prompt
from bot.core.safe_text import clean_model_text
from bot.engine.networks.choosing_network import open_network
from bot.engine.networks.network import BLOCK_TOKENS
from tests.bots import HERE, Talk
from tests.engine.watching import WatchedNetwork

OpenTiny = Callable[..., AbstractAsyncContextManager[Talk]]
ASK = "!complete --seed 5 --max_new_tokens 24 "


@pytest.fixture(autouse=True)
def without_quota(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let one person click more often in a minute than people do."""
    monkeypatch.setattr(Quotas, "count", lambda *_, **__: None)


async def offered(talk: Talk, text: str = "The cat sat", **how: Any) -> Card:
    """Return the card of a completion on a platform with buttons."""
    return await talk.card(ASK + text, has_buttons=True, reach="public", **how)


def texts(card: Card) -> list[str]:
    return [choice["text"] for choice in card.data["choices"]]


def options(card: Card) -> tuple[SelectOption, ...]:
    (select,) = card.selects
    assert select.action == "pick"
    return select.options


def labels(card: Card) -> list[str]:
    return [button.label for button in card.buttons]


def listed(card: Card) -> str:
    """Return the tree as the card shows it."""
    (shown,) = [block.text for block in card.blocks if isinstance(block, Verbatim)]
    return shown


async def opened_word(talk: Talk, card: Card, *, after_first: bool = True) -> Card:
    """Return the card with the words expected in the place of one, a word inside an option."""
    words = await talk.click(card, "words")
    for i, word in enumerate(words.data["words"]):
        if after_first and word["choice"] and not texts(card)[word["choice"] - 1].strip().startswith(word["text"]):
            opened = await talk.click(words, "pick", value=options(words)[i].value)
            if opened.selects:
                return opened
            words = await talk.click(opened, "back")
    raise AssertionError("the tiny model wrote no such word")


async def branched(talk: Talk, card: Card) -> Card:
    """Return the card behind another word."""
    opened = await opened_word(talk, card)
    return await talk.click(opened, "pick", value=options(opened)[0].value)


async def test_another_word_goes_on_in_a_new_branch_and_the_old_one_stays(any_talk: Talk) -> None:
    card = await offered(any_talk)
    words = await any_talk.click(card, "words")
    assert (words.open_card_id, words.revision, words.answers) == (card.open_card_id, 2, "public")
    assert labels(words) == ["Back"]
    assert len(options(words)) <= 25
    assert isinstance(words.blocks[0], Choices), "the texts can be read while a word is chosen"
    opened = await opened_word(any_talk, card=await any_talk.click(words, "back"))
    chosen = opened.data["instead"][0]
    assert 0 < chosen["probability"] < 1
    assert options(opened)[0].help
    moved = await any_talk.click(opened, "pick", value=options(opened)[0].value)
    assert moved.data["prompt"].endswith(chosen["text"])
    assert moved.data["prompt"].startswith("The cat sat")
    assert len(texts(moved)) == 3
    why = await any_talk.ask("!why", reply_to=moved.reply_id)
    assert why["prompt"] == moved.data["prompt"]
    assert why["is_exact"]
    back = await any_talk.click(moved, "undo")
    assert texts(back) == texts(card), "the old branches are on offer again"


async def test_a_word_that_the_moderators_do_not_allow_can_t_be_put_there(talk: Talk) -> None:
    opened = await opened_word(talk, await offered(talk))
    index, word = next((i, one["text"]) for i, one in enumerate(opened.data["instead"]) if one["text"].isalpha())
    value = options(opened)[index].value
    await talk.ask(f"!wordlist add {word}")
    refused = await talk.click_refusal(opened, "pick", who="Ann", value=value)
    assert refused == "The moderators don't allow that word here. Choose another one."
    await talk.ask("!wordlist clear")
    assert (await talk.click(opened, "pick", value=value)).data["choices"]


async def test_the_words_are_those_that_the_model_expects_there(talk: Talk) -> None:
    card = await offered(talk)
    opened = await opened_word(talk, card)
    state = (await talk.store.get_open_card(HERE, card.open_card_id or "")).state  # type: ignore[union-attr]
    _, _, branch_id, start, _ = state["view"]
    (branch,) = [one for one in state["tree"]["branches"] if one["id"] == branch_id]
    before = "The cat sat" + branch["text"][:start]
    expected = await talk.services.engine.next_words(Prompt.document(before.removesuffix(" ")), num=11)
    instead = [(one["text"], pytest.approx(one["probability"])) for one in opened.data["instead"]]
    assert instead
    assert all(
        (word.text, word.probability) in instead for word in expected[:3] if word.text.strip() != opened.data["word"]
    )


async def test_behind_another_word_only_the_end_of_the_text_is_read_anew(
    open_tiny: OpenTiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[WatchedNetwork] = []

    def open_watched(*given: Any, **options: Any) -> WatchedNetwork:
        opened.append(WatchedNetwork(open_network(*given, **options)))
        return opened[-1]

    monkeypatch.setattr("bot.engine.loading.open_network", open_watched)
    async with open_tiny() as talk:
        (network,) = opened
        text = "The cat sat on the mat." + " The cat sat on the mat." * 20
        (num_read,) = await talk.services.engine.count_tokens([Prompt.document(text)])
        assert num_read > 8 * BLOCK_TOKENS
        card = await offered(talk, text)
        word = await opened_word(talk, card)
        network.passes.clear()
        moved = await talk.click(word, "pick", value=options(word)[0].value)
        assert len(texts(moved)) == 3
        (num_written,) = await talk.services.engine.count_tokens([Prompt.plain(moved.data["prompt"][len(text) :])])
    # What the model wrote may be read in other tokens than it was written in.
    assert network.passes[0].num_tokens <= BLOCK_TOKENS + num_written


async def test_the_branches_are_an_indented_list_in_which_one_can_go_back_to_any(any_talk: Talk) -> None:
    card = await offered(any_talk)
    moved = await branched(any_talk, card)
    tree = await any_talk.click(moved, "branches")
    assert labels(tree) == ["Back", "Undo", "Export .txt", "Export .json"]
    lines = listed(tree).splitlines()
    assert lines[0].strip().startswith("1 The cat sat")
    (here,) = [line for line in lines if "→" in line]
    assert "instead of" in here
    assert len(lines) == 1 + 3 + 1 + 3
    depths = {one["text"]: one["depth"] for one in tree.data["branches"]}
    assert depths["The cat sat"] == 0
    assert {depths[text] for text in texts(card)} == {1}
    assert {depths[text] for text in texts(moved)} == {3}
    to = tree.data["branches"][0]
    start = await any_talk.click(tree, "pick", value=options(tree)[to["number"] - 1].value)
    assert labels(start) == ["Go on here", "Back"]
    gone = await any_talk.click(start, "go")
    assert texts(gone) == texts(card)
    assert texts(await any_talk.click(gone, "undo")) == texts(moved)


async def test_going_to_an_end_writes_on_there_and_going_back_shows_what_was_written(talk: Talk) -> None:
    card = await offered(talk)
    tree = await talk.click(card, "branches")
    opened = await talk.click(tree, "pick", value=options(tree)[2].value)
    assert labels(opened) == ["Go on here", "Name", "Prune", "Back"]
    gone = await talk.click(opened, "go")
    assert gone.data["prompt"] == "The cat sat" + texts(card)[1]
    assert len(texts(gone)) == 3
    more = await talk.click(gone, "more")
    undone = await talk.click(await talk.click(more, "undo"), "undo")
    assert texts(undone) == texts(card)
    tree = await talk.click(undone, "branches")
    opened = await talk.click(tree, "pick", value=options(tree)[2].value)
    assert texts(await talk.click(opened, "go")) == texts(more), "nothing is written twice"


async def test_a_pruned_branch_is_gone_with_what_goes_on_from_it_until_undo(talk: Talk) -> None:
    card = await offered(talk)
    taken = await talk.click(card, "1")
    tree = await talk.click(taken, "branches")
    opened = await talk.click(tree, "pick", value=options(tree)[1].value)
    pruned = await talk.click(opened, "prune")
    assert "Pruned: 4 branches. Undo brings them back." in [getattr(block, "text", "") for block in pruned.blocks]
    assert len(pruned.data["branches"]) == 3
    back = await talk.click(pruned, "back")
    assert texts(back) == texts(card)[1:], "the person stood on it"
    again = await talk.click(await talk.click(back, "branches"), "undo")
    assert again.data["branches"] == tree.data["branches"]
    assert texts(await talk.click(again, "back")) == texts(taken)


async def named(talk: Talk, form_card: Card, name: str, *, who: str = "Ann", num: int = 0) -> Card:
    """Submit the form that names a branch."""
    assert form_card.form is not None
    author = Author(who.lower(), who)
    submitted = FormSubmitted(f"f{num}-{id(talk)}", HERE, author, form_card.form.id, {"name": name})
    cards = [one async for one in talk.bot.submit(submitted)]
    return cards[-1]


async def test_a_branch_is_named_and_the_card_on_the_screen_stays_good(talk: Talk) -> None:
    card = await offered(talk)
    tree = await talk.click(card, "branches")
    opened = await talk.click(tree, "pick", value=options(tree)[1].value)
    form = await talk.click(opened, "name")
    for num, name in enumerate(("a first name", "the  end\n\u202e I like " + "x" * 99)):
        told = await named(talk, form, name, num=num)
        assert told.answers == "private"
        assert told.error is None
    back = await talk.click(opened, "back")
    assert "[the end I like xxx" in listed(back)
    assert len(back.data["branches"][1]["name"]) <= 60
    assert await talk.click_refusal(opened, "prune") == MOVED_ON, "now the card shows something else"
    assert (await named(talk, form, "", num=3)).data["text"] == "That branch has no name now."
    assert "[" not in listed(await talk.click(await talk.click(back, "back"), "branches"))


async def test_only_the_owner_names_and_only_a_branch_that_there_is(talk: Talk) -> None:
    card = await offered(talk)
    tree = await talk.click(card, "branches")
    opened = await talk.click(tree, "pick", value=options(tree)[1].value)
    form = await talk.click(opened, "name")
    assert "someone else" in (await named(talk, form, "x", who="Bob")).error  # type: ignore[operator]
    await talk.click(opened, "prune")
    assert (await named(talk, form, "x", num=1)).error == "There is nothing with that number here."
    for form_id in (f"{card.open_card_id}.99", f"{card.open_card_id}.0", f"{card.open_card_id}.x", "nothing.1"):
        forged = replace(form, form=replace(form.form, id=form_id))  # type: ignore[type-var]
        assert (await named(talk, forged, "x", num=2)).error
    await talk.bot.deleted("terminal", [talk.message_ids[-1]])
    assert (
        await named(talk, form, "x", num=4)
    ).error == "That form has expired, or its message was deleted. Give the command again."


async def test_the_beginning_is_neither_named_nor_pruned_whatever_is_clicked(talk: Talk) -> None:
    tree = await talk.click(await offered(talk), "branches")
    start = await talk.click(tree, "pick", value="0")
    for action in ("name", "prune"):
        assert await talk.click_refusal(start, action) == "There is nothing with that number here."


async def test_the_tree_is_exported_as_text_and_as_data(talk: Talk) -> None:
    card = await offered(talk)
    moved = await branched(talk, card)
    tree = await talk.click(moved, "branches")
    text = await talk.click(tree, "txt")
    assert text.answers == "private"
    assert text.file is not None
    assert text.file.name == "branches.txt"
    assert text.file.text.startswith("The cat sat\n  ")
    for one in (*texts(card), *texts(moved)):
        assert clean_model_text(one).strip().split("\n")[0] in text.file.text
    data = await talk.click(tree, "json")
    assert data.file is not None
    values = json.loads(data.file.text)
    assert (values["text"], values["model"], values["sampling"]["seed"]) == ("The cat sat", "tiny", 5)
    by_id = {one["id"]: one for one in values["branches"]}
    for one in values["branches"]:
        parent = by_id.get(one["parent"])
        assert parent is None or 0 <= one["parent_characters"] <= len(parent["text"])
        assert "".join(token["text"] for token in one["tokens"]) == one["text"]
    (word,) = [one for one in values["branches"] if one["is_chosen_word"]]
    assert word["instead_of"]
    assert values["here"] == word["id"]
    assert await talk.click(tree, "back"), "an export changes nothing"


async def test_each_view_is_its_owner_s_and_of_one_revision(talk: Talk) -> None:
    card = await offered(talk)
    words = await talk.click(card, "words")
    sentence = "That card belongs to Ann. Get your own with /complete."
    assert await talk.click_refusal(words, "pick", who="Bob", value=options(words)[0].value) == sentence
    assert await talk.click_refusal(card, "branches") == MOVED_ON
    for action in ("1", "longer", "again", "go", "prune", "name", "txt", "json"):
        assert await talk.click_refusal(words, action) == "That is not possible here. Use back first."
    assert await talk.click_refusal(words, "nonsense") == MOVED_ON
    for value in ("", "9", "#99", "1-9999", "٣", ":x", "#", "-", "9" * 300):
        refusal = await talk.click_refusal(words, "pick", value=value)
        assert refusal == "There is nothing with that number here."
    assert (await talk.click(words, "back")).revision == 3


async def test_of_two_picks_at_once_one_counts(talk: Talk) -> None:
    opened = await opened_word(talk, await offered(talk))
    values = [option.value for option in options(opened)[:2]]
    results = await asyncio.gather(*(talk.click(opened, "pick", value=value) for value in values))
    assert sorted(result.error or "" for result in results) == ["", MOVED_ON]


async def test_the_same_word_chosen_twice_is_one_branch(talk: Talk) -> None:
    opened = await opened_word(talk, await offered(talk))
    first = await talk.click(opened, "pick", value=options(opened)[0].value)
    undone = await talk.click(first, "undo")
    state = (await talk.store.get_open_card(HERE, first.open_card_id or "")).state  # type: ignore[union-attr]
    num = len(state["tree"]["branches"])
    again = await opened_word(talk, undone)
    moved = await talk.click(again, "pick", value=options(again)[0].value)
    assert texts(moved) == texts(first)
    state = (await talk.store.get_open_card(HERE, first.open_card_id or "")).state  # type: ignore[union-attr]
    assert len(state["tree"]["branches"]) == num


async def test_the_tree_is_there_after_a_restart_and_goes_with_its_text(open_tiny: OpenTiny) -> None:
    async with open_tiny() as talk:
        opened = await opened_word(talk, await offered(talk))
    async with open_tiny() as talk:
        moved = await talk.click(opened, "pick", value=options(opened)[0].value)
        assert len(texts(moved)) == 3
        tree = await talk.click(moved, "branches")
    async with open_tiny() as talk:
        start = await talk.click(tree, "pick", value=options(tree)[0].value)
        assert labels(start) == ["Go on here", "Back"]
        card = await talk.store.get_open_card(HERE, start.open_card_id or "")
        assert card is not None
        await talk.bot.deleted("terminal", [card.state["message_id"]])
        assert await talk.click_refusal(start, "go") == GONE


async def test_many_words_and_branches_are_shown_in_pages_that_fit_a_select(talk: Talk) -> None:
    card = await talk.card("!complete --n 5 --seed 3 --max_new_tokens 40 The cat sat", has_buttons=True, reach="public")
    words = await talk.click(card, "words")
    assert len(options(words)) == 25
    last = options(words)[-1]
    assert last.label == "More words"
    second = await talk.click(words, "pick", value=last.value)
    assert {one.value for one in options(second)}.isdisjoint(one.value for one in options(words)[:-1])
    sure, unsure = second.data["words"], words.data["words"]
    assert min(one["probability"] for one in sure) >= max(one["probability"] for one in unsure)
    shown = await talk.click(second, "back")
    for _ in range(5):
        shown = await talk.click(shown, "again")
    tree = await talk.click(shown, "branches")
    assert len(options(tree)) == 25
    assert len(listed(tree).splitlines()) == 24
    assert len(tree.data["branches"]) == 31
    rest = await talk.click(tree, "pick", value=options(tree)[-1].value)
    assert len(listed(rest).splitlines()) == 7
    assert all(len(line) <= 75 for line in listed(rest).splitlines())


async def test_the_tree_is_walked_by_typed_words_too(any_talk: Talk) -> None:
    first = await any_talk.ask(ASK + "The cat sat")
    shown = await any_talk.card("words")
    (table,) = [block for block in shown.blocks if isinstance(block, Table)]
    assert shown.selects == ()
    assert [row[0] for row in table.rows] == [str(number) for number in range(1, len(table.rows) + 1)]
    assert await any_talk.refusal("99") == "There is nothing with that number here."
    moved = None
    for word in shown.data["words"]:
        opened = await any_talk.ask(str(word["number"]))
        if opened["instead"]:
            moved = await any_talk.ask("1")
            break
        await any_talk.ask("back")
    assert moved is not None
    assert moved["prompt"].endswith(opened["instead"][0]["text"])
    tree = await any_talk.ask("Branches")
    number = next(one["number"] for one in tree["branches"] if one["text"] == first["choices"][2]["text"])
    await any_talk.ask(str(number))
    assert (await any_talk.ask("name Two words"))["name"] == "Two words"
    gone = await any_talk.ask("go")
    assert gone["prompt"] == "The cat sat" + first["choices"][2]["text"]
    tree = await any_talk.ask("branches")
    assert "Two words" in [one["name"] for one in tree["branches"]]
    assert "Two words" in (await any_talk.card("txt")).file.text  # type: ignore[union-attr]
    assert (await any_talk.ask("undo"))["branches"], "undo in the list stays there"
    assert (await any_talk.ask("back"))["choices"]


async def test_words_of_another_view_are_chat(talk: Talk) -> None:
    for text in ("go", "prune", "name me a fruit", "txt", "json", "back", "pick", "name", "12"):
        await talk.ask("!complete --n 1 --seed 5 --max_new_tokens 2 The cat sat")
        assert (await talk.ask(text))["command"] == "chat", text


async def test_a_word_of_another_view_leaves_a_list_open(talk: Talk) -> None:
    await talk.ask(ASK + "The cat sat")
    await talk.ask("branches")
    for text in ("prune", "go", "name it"):
        assert await talk.refusal(text) == "Choose a branch first."
    for text in ("longer", "again"):
        assert await talk.refusal(text) == "That is not possible here. Use back first."
    await talk.ask("2")
    assert await talk.refusal("3") == "That is not possible here. Use back first."
    assert (await talk.ask("prune"))["command"] == "complete"


async def test_a_name_is_typed_only_where_no_message_can_be_erased_without_it(talk: Talk) -> None:
    card = await offered(talk)
    tree = await talk.click(card, "branches")
    opened = await talk.click(tree, "pick", value=options(tree)[1].value)
    how = {"has_buttons": True, "reach": "public", "replied_card": opened}
    assert (await talk.ask("name Two words", **how))["command"] == "chat"
    assert (await talk.ask("go", **how))["command"] == "complete"


async def test_a_completion_without_known_words_says_so(talk: Talk) -> None:
    card = await offered(talk)
    stored = await talk.store.get_open_card(HERE, card.open_card_id or "")
    assert stored is not None
    state = json.loads(json.dumps(stored.state))
    for branch in state["tree"]["branches"]:
        branch["ends"] = branch["logprobs"] = []
    assert await talk.store.save_open_card(replace(stored, revision=2, state=state))
    refusal = await talk.click_refusal(replace(card, revision=2), "words")
    assert refusal == "There are no words of the model here yet."


async def test_nothing_that_somebody_not_read_walks_is_stored(talk: Talk) -> None:
    await talk.store.opt_out(HERE.platform, "ann", True)
    card = await offered(talk)
    assert card.buttons == ()
    assert card.selects == ()

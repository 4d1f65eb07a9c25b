"""A text continued by each sampling strategy, side by side: one card, whose options go on as those of complete do."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any

import pytest

from bot.core.cards import Card, Choices, Table
from bot.core.prompt_parts import Prompt
from bot.core.sampling_params import SamplingParams
from bot.core.sentences import end_of_sentence
from bot.core.stopping import Stopper
from bot.core.strategies import STRATEGIES
from bot.engine.networks.choosing_network import open_network
from bot.engine.networks.network import BLOCK_TOKENS
from bot.platforms.discord.outgoing.rendering import render
from bot.platforms.shared.plain_text import plain_block
from bot.platforms.slack.outgoing.rendering import render as render_for_slack
from bot.platforms.terminal.rendering import plain_text, render_card
from tests.bots import Talk
from tests.engine.watching import WatchedNetwork
from tests.platforms.discord.outgoing.test_rendering import shown as shown_on_discord
from tests.platforms.slack.outgoing.checks import shown as shown_on_slack

OpenTiny = Callable[..., AbstractAsyncContextManager[Talk]]
NAMES = ["greedy", "beam", "careful", "normal", "wild"]
# Short and seeded, so that these tests are quick and always the same.
ASK = "!strategies --seed 3 --max_new_tokens 6 "


def names(card: Card) -> list[str]:
    return [choice["strategy"] for choice in card.data["choices"]]


def texts(card: Card) -> list[str]:
    return [choice["text"] for choice in card.data["choices"]]


async def written_alone(talk: Talk, text: str, params: SamplingParams, **how: Any) -> str:
    """Return what the engine writes after `text` with `params` when nothing else is asked of it."""
    generation = talk.services.engine.generate(Prompt.document(text), params, **how)
    async with generation:
        async for _ in generation:
            pass
    return generation.completions[0].text


async def test_the_card_has_a_numbered_continuation_by_each_strategy(any_talk: Talk) -> None:
    card = await any_talk.card(ASK + "The cat sat")
    choices, table = card.blocks[0], card.blocks[1]
    assert isinstance(choices, Choices)
    assert isinstance(table, Table)
    assert names(card) == list(choices.labels) == [row[0] for row in table.rows] == NAMES
    assert choices.prompt == card.data["input"] == "The cat sat"
    assert card.data["command"] == "strategies"
    assert card.data["seed"] == 3
    assert [button.action for button in card.buttons] == ["1", "2", "3", "4", "5", "longer", "again", "words"]


async def test_a_script_gets_of_each_strategy_what_it_does_its_options_and_its_text(any_talk: Talk) -> None:
    answer = await any_talk.ask(ASK + "The cat sat")
    assert [one["name"] for one in answer["strategies"]] == NAMES
    for one, strategy, choice in zip(answer["strategies"], STRATEGIES, answer["choices"], strict=True):
        assert set(one) == {"name", "sentence", "options", "seed", "text", "finish_reason"}
        assert one["sentence"] == strategy.sentence
        assert one["options"]
        assert one["seed"] == 3
        assert (one["text"], one["finish_reason"]) == (choice["text"], choice["finish_reason"])


@pytest.mark.parametrize("options", ["", "--max_new_tokens 8 ", "--stop e "])
async def test_each_strategy_writes_what_it_writes_alone(any_talk: Talk, options: str) -> None:
    # The last word is half typed.
    card = await any_talk.card(f"!strategies --seed 11 {options}The dog ran to the do")
    base = SamplingParams(seed=11, stop=("e",) if "stop" in options else ())
    base = replace(base, max_new_tokens=8) if "max_new_tokens" in options else base
    end_at = None if "max_new_tokens" in options else end_of_sentence
    written = {one["name"]: one["text"] for one in card.data["strategies"]}
    for strategy in STRATEGIES:
        params = strategy.params_from(base)
        alone = await written_alone(any_talk, "The dog ran to the do", params, heal=True, end_at=end_at)
        assert written[strategy.name] == alone, strategy.name


async def test_all_strategies_go_through_the_model_together(
    open_tiny: OpenTiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[WatchedNetwork] = []

    def open_watched(*given: Any, **options: Any) -> WatchedNetwork:
        opened.append(WatchedNetwork(open_network(*given, **options)))
        return opened[-1]

    monkeypatch.setattr("bot.engine.loading.open_network", open_watched)
    async with open_tiny() as talk:
        (network,) = opened
        text = "The cat sat on the mat. " * 6
        await talk.ask(f"!complete --n 1 --seed 3 --max_new_tokens 1 {text}")
        del network.passes[:]
        await talk.ask(f"!strategies --seed 3 --max_new_tokens 12 --stop q {text}")
    num_beams = 4
    assert len(network.passes) <= 14, "as many passes as the longest text needs"
    assert max(one.num_rows for one in network.passes) == len(NAMES) - 1 + num_beams
    assert network.passes[0].num_tokens < 5 * 2 * BLOCK_TOKENS, "the prompt was read before"


async def test_the_same_seed_gives_the_same_texts_and_a_drawn_one_is_shown(talk: Talk) -> None:
    card = await talk.card("!strategies --max_new_tokens 6 The dog ran")
    seed = card.data["seed"]
    assert any(f"seed {seed}" in getattr(block, "text", "") for block in card.blocks)
    again = await talk.card(f"!strategies --max_new_tokens 6 --seed {seed} The dog ran")
    assert texts(again) == texts(card)


async def test_the_card_fills_while_it_is_written(talk: Talk) -> None:
    snapshots = [card async for card in talk.snapshots(ASK + "The cat sat")]
    shown = [card.blocks[0] for card in snapshots[:-1] if isinstance(card.blocks[0], Choices)]
    assert shown
    assert all(list(choices.labels) == NAMES for choices in shown)
    assert any("" in choices.options for choices in shown), "one was there before another"
    last = snapshots[-1].blocks[0]
    assert isinstance(last, Choices)
    assert shown[-1].options == last.options


async def test_stop_keeps_what_is_written(talk: Talk) -> None:
    stopper = Stopper()
    last = None
    async for card in talk.snapshots("!strategies --seed 3 --max_new_tokens 400 The cat sat", stopper=stopper):
        last = card
        if card.blocks and isinstance(card.blocks[0], Choices) and any(card.blocks[0].options):
            stopper.stop()
    assert last is not None
    assert last.is_final
    assert last.data["choices"]
    assert "cancelled" in {one["finish_reason"] for one in last.data["strategies"]}


async def test_a_number_goes_on_with_that_text_by_each_strategy_and_undo_leads_back(any_talk: Talk) -> None:
    first = await any_talk.card(ASK + "The cat sat")
    second = await any_talk.card("3")
    assert second.data["command"] == "strategies"
    assert second.data["prompt"] == "The cat sat" + texts(first)[2]
    assert set(names(second)) <= set(NAMES)
    assert len(second.data["choices"]) > 1
    back = await any_talk.card("undo")
    assert texts(back) == texts(first)
    assert names(back) == NAMES


async def test_longer_extends_each_text_by_its_own_strategy(any_talk: Talk) -> None:
    first = await any_talk.card(ASK + "The cat sat")
    longer = await any_talk.card("longer")
    assert names(longer) == NAMES
    base = SamplingParams(max_new_tokens=6, seed=4)
    for strategy, before, after in zip(STRATEGIES, texts(first), texts(longer), strict=True):
        alone = await written_alone(any_talk, "The cat sat" + before, strategy.params_from(base))
        assert after == before + alone, strategy.name


async def test_another_seed_changes_only_what_is_drawn(talk: Talk) -> None:
    first = await talk.card(ASK + "The cat sat")
    again = await talk.card("again")
    assert names(again) == NAMES
    assert texts(again)[:2] == texts(first)[:2]
    assert texts(again)[2:] != texts(first)[2:]
    assert again.data["seed"] == 4


async def test_strategies_that_write_nothing_are_named_and_are_no_options(talk: Talk) -> None:
    first = await talk.card(ASK + "The cat sat")
    stop = texts(first)[0].strip()[0]
    card = await talk.card(f'{ASK}--stop "{stop}" The cat sat')
    silent = [one["name"] for one in card.data["strategies"] if not one["text"]]
    assert silent
    assert names(card) == [name for name in NAMES if name not in silent]
    assert all(one["finish_reason"] is None for one in card.data["strategies"] if one["name"] in silent)
    notice = f"The model has nothing to add here with {' and '.join(silent)}."
    assert notice in [getattr(block, "text", "") for block in card.blocks]
    taken = await talk.card("1")
    assert taken.data["prompt"] == "The cat sat" + texts(card)[0]


async def test_who_is_not_read_gets_the_texts_and_nothing_is_stored(talk: Talk) -> None:
    await talk.ask("!privacy --read off")
    card = await talk.card(ASK + "The cat sat")
    assert names(card) == NAMES
    assert not card.buttons
    said = [getattr(block, "text", "") for block in card.blocks]
    assert sum("You asked not to be read, so this is not stored" in one for one in said) == 1


async def test_there_is_no_more_than_one_text_of_each(talk: Talk) -> None:
    await talk.card(ASK + "The cat sat")
    refusal = await talk.refusal("more")
    assert refusal == "Each strategy writes one text. Use again for other texts."


async def test_words_and_branches_work_and_say_which_strategy_wrote(talk: Talk) -> None:
    await talk.card(ASK + "The cat sat")
    words = await talk.card("words")
    assert {one["choice"] for one in words.data["words"]} <= {1, 2, 3, 4, 5}
    await talk.card("back")
    taken = await talk.card("2")
    listed = plain_text(render_card(await talk.card("branches"), is_colored=False))
    assert all(f"{name}: " in listed for name in NAMES)
    branch = plain_text(render_card(await talk.card("3"), is_colored=False))
    assert "strategy beam" in branch
    went = await talk.card("go")
    assert went.data["prompt"] == taken.data["prompt"]
    assert names(went) == names(taken)
    exported = await talk.card("branches")
    exported = await talk.card("json")
    assert exported.file is not None
    assert '"strategy": "careful"' in exported.file.text


async def test_a_word_in_the_place_of_another_is_gone_on_with_by_each_strategy(talk: Talk) -> None:
    await talk.card(ASK + "The cat sat")
    words = await talk.card("words")
    number = next(one["number"] for one in words.data["words"])
    await talk.card(str(number))
    assert set(names(await talk.card("1"))) <= set(NAMES)


async def test_the_buttons_do_the_same(talk: Talk) -> None:
    card = await talk.card(ASK + "The cat sat", has_buttons=True)
    second = await talk.click(card, "1")
    assert second.data["prompt"] == "The cat sat" + texts(card)[0]
    assert second.data["command"] == "strategies"
    refusal = await talk.click_refusal(second, "2", who="Bob")
    assert refusal.endswith("Get your own with /strategies.")


async def test_why_says_which_strategy_wrote_and_writes_the_same_again(talk: Talk) -> None:
    card = await talk.card(ASK + "The cat sat")
    why = await talk.card("!why")
    shown = plain_text(render_card(why, is_colored=False))
    assert "strategy wild" in shown
    assert "This explains the text that wild wrote; all strategies read the same prompt." in shown
    assert why.data["answer"] == texts(card)[-1]
    assert (await talk.ask("!why rerun"))["is_same"] is True


@pytest.mark.parametrize(
    "option", ["--temperature 1", "--preset wild", "--n 2", "--num_beams 4", "--top_k=3", "--repetition_penalty 1"]
)
async def test_options_that_the_strategies_set_are_refused_with_the_reason(talk: Talk, option: str) -> None:
    assert await talk.refusal(f"!strategies {option} The cat") == (
        "Each strategy sets its own sampling options, so !strategies TEXT takes only --max_new_tokens, --seed, --stop."
        " Use !complete TEXT to choose the others."
    )


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("!strategies", "TEXT"),
        ("!strategies --seed x The cat", "seed takes a whole number from 0 to"),
        ("!strategies --max_new_tokens 0 The cat", "max_new_tokens takes a whole number from 1 to 512"),
        ("!strategies --heat 3 The cat", "There is no option --heat"),
    ],
)
async def test_bad_input_gets_one_sentence(talk: Talk, line: str, sentence: str) -> None:
    assert sentence in await talk.refusal(line)


async def test_every_platform_shows_the_strategy_beside_the_number(talk: Talk) -> None:
    card = await talk.card(ASK + "The cat sat", has_buttons=True)
    for number, (strategy, text) in enumerate(zip(STRATEGIES, texts(card), strict=True), 1):
        head = f"{number} {strategy.name}"
        assert f"{head}: The cat sat{text}" in plain_block(card.blocks[0])
        on_discord, on_slack = shown_on_discord(render(card)), shown_on_slack(render_for_slack(card))
        in_terminal = plain_text(render_card(card, is_colored=True))
        assert f"`{head}` The cat sat" in on_discord
        assert head in on_slack
        assert f"{head:<9}  The cat sat" in in_terminal
        for shown in (in_terminal, on_discord, on_slack):
            assert strategy.sentence[:20] in shown
    typed = await talk.card(ASK + "The cat sat")
    assert "type 1 · 2 · 3 · 4 · 5 · longer" in plain_text(render_card(typed, is_colored=True))


async def test_a_completion_has_no_labels(talk: Talk) -> None:
    card = await talk.card("!complete --seed 3 --max_new_tokens 6 The cat sat")
    assert isinstance(card.blocks[0], Choices)
    assert card.blocks[0].labels == ()
    assert "strategies" not in card.data
    with pytest.raises(ValueError, match="a label for each option"):
        Choices("a", ("b", "c"), labels=("greedy",))

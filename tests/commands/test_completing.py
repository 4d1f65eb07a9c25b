"""Continuing a text: numbered continuations, and the typed answers that act on them."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from bot.core.cards import Choices
from bot.core.messages import now_utc
from bot.core.prompt_parts import Prompt
from bot.core.sampling_params import COMPLETION_DEFAULTS, apply_options
from bot.core.stopping import Stopper
from bot.engine.networks.choosing_network import open_network
from bot.engine.networks.network import BLOCK_TOKENS
from tests.bots import HERE, ScriptedEngine, Talk, open_scripted_bot
from tests.engine.watching import WatchedNetwork

OpenTiny = Callable[..., AbstractAsyncContextManager[Talk]]
# Short and seeded, so that these tests are quick and always the same.
ASK = "!complete --seed 3 --max_new_tokens 6 "


def texts(answer: dict[str, Any]) -> list[str]:
    return [choice["text"] for choice in answer["choices"]]


async def test_there_are_three_numbered_continuations_after_the_text(any_talk: Talk) -> None:
    card = await any_talk.card("!complete --seed 3 The cat sat")
    assert isinstance(card.blocks[0], Choices)
    assert card.blocks[0].prompt == "The cat sat"
    assert card.blocks[0].first_number == 1
    assert list(card.blocks[0].options) == texts(card.data)
    assert len(card.blocks[0].options) == 3
    assert card.data["command"] == "complete"
    assert card.data["input"] == card.data["prompt"] == "The cat sat"
    assert card.data["seed"] == 3
    assert card.data["model"] == "tiny"
    for choice in card.data["choices"]:
        assert set(choice) == {"text", "logprob", "finish_reason", "seed"}
        assert choice["logprob"] < 0
        assert choice["finish_reason"] in {"stop", "length"}
    assert [button.label for button in card.buttons] == ["1", "2", "3", "More", "Longer", "Again", "Words"]


@pytest.mark.parametrize("options", ["", "--n 1 ", "--n 5 ", "--top_k 0 --temperature 1.5 --repetition_penalty 1 "])
async def test_the_same_seed_gives_the_same_texts_again(any_talk: Talk, options: str) -> None:
    first = await any_talk.ask(f"!complete --seed 11 --max_new_tokens 8 {options}The dog ran")
    await any_talk.ask(f"!complete --seed 12 --max_new_tokens 8 {options}Something else")
    again = await any_talk.ask(f"!complete --seed 11 --max_new_tokens 8 {options}The dog ran")
    assert again["choices"] == first["choices"]
    other = await any_talk.ask(f"!complete --seed 12 --max_new_tokens 8 {options}The dog ran")
    assert other["choices"] != first["choices"]


async def test_a_drawn_seed_is_shown_and_gives_the_same_texts(talk: Talk) -> None:
    card = await talk.card("!complete --max_new_tokens 6 The dog ran")
    seed = card.data["seed"]
    assert any(f"seed {seed}" in getattr(block, "text", "") for block in card.blocks)
    again = await talk.ask(f"!complete --max_new_tokens 6 --seed {seed} The dog ran")
    assert again["choices"] == card.data["choices"]


@pytest.mark.parametrize("options", ["--temperature 0", "--preset greedy", "--num_beams 2", "--preset beam"])
async def test_greedy_and_beams_give_one_continuation_and_nothing_to_draw_again(talk: Talk, options: str) -> None:
    answer = await talk.ask(f"!complete {options} --max_new_tokens 6 The dog ran")
    assert len(answer["choices"]) == 1
    for action in ("more", "again"):
        assert (await talk.refusal(action)).startswith("These options always give the same continuation")
    longer = await talk.ask("longer")
    assert texts(longer)[0].startswith(texts(answer)[0])
    assert len(texts(longer)[0]) > len(texts(answer)[0])


async def test_a_number_takes_a_continuation_and_the_next_three_appear(any_talk: Talk) -> None:
    first = await any_talk.ask(ASK + "The cat sat")
    second = await any_talk.ask("2")
    assert second["command"] == "complete"
    assert second["prompt"] == "The cat sat" + texts(first)[1]
    assert second["input"] == "The cat sat"
    assert len(second["choices"]) == 3
    assert second["choices"] != first["choices"]
    third = await any_talk.ask(" 1 \n")
    assert third["prompt"] == second["prompt"] + texts(second)[0]


async def test_more_keeps_the_old_ones_and_adds_three_up_to_nine(any_talk: Talk) -> None:
    first = await any_talk.ask(ASK + "The cat sat")
    more = await any_talk.ask("More")
    assert more["choices"][:3] == first["choices"]
    assert len(more["choices"]) == 6
    assert more["choices"][3:] != first["choices"], "another seed"
    most = await any_talk.ask("more")
    assert most["choices"][:6] == more["choices"]
    assert len(most["choices"]) == 9
    assert (await any_talk.refusal("more")).startswith("There are already 9 continuations.")
    ninth = await any_talk.ask("9")
    assert ninth["prompt"] == "The cat sat" + texts(most)[8]


async def test_more_never_goes_above_nine(talk: Talk) -> None:
    await talk.ask("!complete --n 5 --seed 3 --max_new_tokens 12 The cat")
    card = await talk.card("more")
    assert len(card.data["choices"]) == 9
    assert "more" not in [button.action for button in card.buttons]


async def test_longer_extends_each_continuation(any_talk: Talk) -> None:
    first = await any_talk.ask(ASK + "The cat sat")
    longer = await any_talk.ask("longer")
    assert longer["prompt"] == "The cat sat"
    assert len(longer["choices"]) == 3
    for before, after in zip(first["choices"], longer["choices"], strict=True):
        assert after["text"].startswith(before["text"])
        assert after["logprob"] < before["logprob"]
    assert texts(longer) != texts(first)


async def test_longer_writes_after_each_continuation_what_it_would_get_alone(any_talk: Talk) -> None:
    first = await any_talk.ask("!complete --n 5 --seed 3 --max_new_tokens 6 --stop e The cat sat")
    longer = await any_talk.ask("longer")
    for number, (before, after) in enumerate(zip(first["choices"], longer["choices"], strict=True)):
        options = {"seed": 4 + number, "n": 1, "max_new_tokens": 6, "stop": ["e"]}
        text = "The cat sat" + before["text"]
        generation = any_talk.services.engine.generate(
            Prompt.document(text), apply_options(COMPLETION_DEFAULTS, options)
        )
        async with generation:
            async for _ in generation:
                pass
        (alone,) = generation.completions
        assert after["text"] == before["text"] + alone.text
        assert after["finish_reason"] == alone.finish_reason
        assert after["logprob"] == pytest.approx(before["logprob"] + alone.logprob, rel=1e-4)


async def test_longer_takes_all_continuations_through_the_model_together(
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
        (num_read,) = await talk.services.engine.count_tokens([Prompt.document(text)])
        assert num_read > 3 * BLOCK_TOKENS
        await talk.ask(f"!complete --n 5 --seed 3 --max_new_tokens 12 {text}")
        del network.passes[:]
        answer = await talk.ask("longer")
    assert [choice["finish_reason"] for choice in answer["choices"]] == ["length"] * 5
    assert [one.num_rows for one in network.passes] == [5] * 12
    assert network.passes[0].num_tokens < 5 * 2 * BLOCK_TOKENS, "the prompt was read before"


async def test_all_continuations_grow_while_they_become_longer_and_stop_keeps_them(talk: Talk) -> None:
    first = texts(await talk.ask("!complete --n 5 --seed 3 --max_new_tokens 200 --stop q The cat"))
    stopper = Stopper()
    async for card in talk.snapshots("longer", stopper=stopper):
        if not card.is_final:
            grown = card.blocks[0].options
            if all(len(new) > len(old) for old, new in zip(first, grown, strict=True)):
                stopper.stop()
    assert "cancelled" in {choice["finish_reason"] for choice in card.data["choices"]}
    for old, new, choice in zip(first, grown, card.data["choices"], strict=True):
        assert choice["text"].startswith(new)
        assert len(old) < len(choice["text"]) < len(old) + 600
    assert texts(await talk.ask("undo")) == first


async def test_why_explains_the_last_of_the_longer_ones(talk: Talk) -> None:
    first = await talk.ask("!complete --n 5 --seed 3 --max_new_tokens 6 The cat sat")
    longer = texts(await talk.ask("longer"))
    why = await talk.why()
    assert why["is_exact"]
    assert why["prompt"] == "The cat sat" + texts(first)[4]
    assert why["prompt"] + why["answer"] == "The cat sat" + longer[4]
    assert (why["num_prompt_tokens"],) == await talk.services.engine.count_tokens([Prompt.document(why["prompt"])])
    assert why["num_new_tokens"] <= 6
    assert (why["seed"], why["sampling"]["n"]) == (8, 1)


async def test_again_draws_others_in_their_place(talk: Talk) -> None:
    first = await talk.ask(ASK + "The cat sat")
    again = await talk.ask("again")
    assert again["prompt"] == first["prompt"]
    assert len(again["choices"]) == 3
    assert again["choices"] != first["choices"]
    assert again["seed"] != first["seed"]
    assert (await talk.ask("again"))["choices"] not in (first["choices"], again["choices"])


async def test_undo_goes_back_step_by_step_to_the_start(any_talk: Talk) -> None:
    steps = [await any_talk.ask(ASK + "The cat sat")]
    steps += [await any_talk.ask(action) for action in ("more", "5", "longer", "again")]
    for before in reversed(steps[:-1]):
        undone = await any_talk.ask("undo")
        assert undone["choices"] == before["choices"]
        assert undone["seed"] == before["seed"], "the seed that drew what is shown"
        assert undone["prompt"] == before["prompt"]
    assert await any_talk.refusal("undo") == "There is nothing to undo."


async def test_a_number_that_is_not_on_offer_is_refused_and_the_card_stays(talk: Talk) -> None:
    await talk.ask(ASK + "The cat sat")
    assert await talk.refusal("4") == "Choose a number from 1 to 3."
    assert (await talk.ask("3"))["command"] == "complete"


async def test_the_card_works_after_a_restart(open_tiny: OpenTiny) -> None:
    async with open_tiny() as talk:
        first = await talk.ask(ASK + "The cat sat")
        second = await talk.ask("1")
    async with open_tiny() as talk:
        assert (await talk.ask("undo"))["choices"] == first["choices"]
        again = await talk.ask("1")
        assert again["prompt"] == second["prompt"]


async def test_the_same_steps_from_the_same_seed_give_the_same_texts(talk: Talk) -> None:
    steps = (ASK + "The cat", "more", "4", "longer", "again")
    runs = [[(await talk.ask(text))["choices"] for text in steps] for _ in range(2)]
    assert runs[0] == runs[1]


async def test_after_talking_on_numbers_and_words_are_chat_until_branches_brings_the_tree_back(talk: Talk) -> None:
    first = await talk.ask(ASK + "The cat sat")
    assert (await talk.ask("Hello"))["command"] == "chat"
    assert (await talk.ask("1"))["command"] == "chat"
    assert (await talk.why())["prompt"].endswith("Ann: 1\nFewshot:")
    assert (await talk.ask("undo"))["command"] == "chat"
    assert len((await talk.ask("branches"))["branches"]) == 4
    assert (await talk.ask("back"))["choices"] == first["choices"]
    assert (await talk.ask("1"))["prompt"] == "The cat sat" + texts(first)[0]


async def test_commands_leave_the_card_open(talk: Talk) -> None:
    await talk.ask(ASK + "The cat sat")
    await talk.ask("!next The")
    await talk.refusal("!complet x")
    assert (await talk.ask("1"))["command"] == "complete"


async def test_the_newest_card_is_meant(talk: Talk) -> None:
    await talk.ask(ASK + "The cat sat")
    await talk.ask(ASK + "The dog ran")
    assert (await talk.ask("1"))["prompt"].startswith("The dog ran")


@pytest.mark.parametrize("text", ["0", "10", "1.", "one", "more please", "+1"])
async def test_other_words_are_chat(talk: Talk, text: str) -> None:
    await talk.ask(ASK + "The cat sat")
    assert (await talk.ask(text))["command"] == "chat"


async def test_numbers_of_others_and_elsewhere_are_chat(talk: Talk) -> None:
    await talk.ask(ASK + "The cat sat")
    assert (await talk.ask("1", who="Bob"))["command"] == "chat"
    assert (await talk.ask("1"))["command"] == "complete", "what others say leaves the card open"
    elsewhere = type(HERE)("terminal", "home", "random")
    assert (await talk.ask("1", scope=elsewhere))["command"] == "chat"


async def test_without_a_card_a_number_is_chat(talk: Talk) -> None:
    for text in ("1", "more", "undo"):
        assert (await talk.ask(text))["command"] == "chat"


@pytest.mark.parametrize("typed", ["Once upon a ti", "I hate this aw", "The ca", "The cat "])
async def test_a_half_typed_word_is_finished_but_a_taken_continuation_is_not_rewritten(talk: Talk, typed: str) -> None:
    async def continued(text: str, seed: int, *, heal: bool) -> list[str]:
        params = apply_options(COMPLETION_DEFAULTS, {"seed": seed, "max_new_tokens": 6})
        generation = talk.services.engine.generate(Prompt.document(text), params, heal=heal)
        async with generation:
            async for _ in generation:
                pass
        return [completion.text for completion in generation.completions]

    first = texts(await talk.ask(ASK + typed))
    assert first == await continued(typed, 3, heal=True)
    assert first != await continued(typed, 3, heal=False)
    assert texts(await talk.ask("again")) == await continued(typed, 4, heal=True)
    second = await talk.ask("1")
    assert texts(second) == await continued(second["prompt"], 5, heal=False)


async def test_a_continuation_ends_with_its_sentence_unless_a_length_is_asked_for(tmp_path: Path) -> None:
    engine = ScriptedEngine([" on the mat."])
    async with open_scripted_bot(engine, tmp_path) as talk:
        for text in ("!complete --n 1 The cat", "1", "longer", "again"):
            await talk.ask(text)
        assert [how["end_at"](" on 3.5 mats. And") for how in engine.how] == [13] * 4
        engine.how.clear()
        for text in ("!complete --n 1 --max_new_tokens 40 The cat", "1", "longer", "again", "more"):
            await talk.ask(text)
        assert [how["end_at"] for how in engine.how] == [None] * 5


async def test_a_length_that_is_asked_for_is_honoured(talk: Talk) -> None:
    num_full = 0
    for seed in range(6):
        answer = await talk.ask(f"!complete --n 5 --top_k 0 --temperature 2 --seed {seed} --max_new_tokens 30 The cat")
        why = await talk.why()
        num_full += sum(choice["finish_reason"] == "length" for choice in answer["choices"])
        assert why["num_new_tokens"] <= 5 * 30
    assert num_full > 20, "only an end of text comes before the length"


async def test_stop_texts_end_a_continuation_and_are_not_part_of_it(talk: Talk) -> None:
    free = texts(await talk.ask("!complete --seed 4 --max_new_tokens 30 The cat"))
    stop = next(c for c in free[0][3:] if c.isascii() and c.isalpha())
    stopped = await talk.ask(f"!complete --seed 4 --max_new_tokens 30 --stop {stop} The cat")
    assert texts(stopped)[0] == free[0][: free[0].index(stop)]
    assert all(stop not in text for text in texts(stopped))
    assert stopped["choices"][0]["finish_reason"] == "stop"


async def test_a_text_in_reply_to_a_message_is_that_message_s(talk: Talk) -> None:
    await talk.ask("The cat sat", who="Bob")
    answer = await talk.ask("!complete --seed 3 --max_new_tokens 6", reply_to=talk.message_ids[0])
    assert answer["input"] == "The cat sat"
    assert (await talk.ask("1"))["prompt"] == "The cat sat" + texts(answer)[0]
    assert (await talk.why())["is_exact"]


async def test_why_shows_what_each_continuation_was_made_of(any_talk: Talk) -> None:
    first = await any_talk.ask(ASK + "The <|endoftext|> cat\nsat ")
    why = await any_talk.why()
    assert why["prompt"] == "The <|endoftext|> cat\nsat "
    assert why["is_exact"]
    assert why["answered_command"] == "complete"
    assert why["seed"] == first["seed"]
    await any_talk.ask("2")
    why = await any_talk.why()
    assert why["prompt"] == "The <|endoftext|> cat\nsat " + texts(first)[1]
    assert why["is_exact"]


async def test_a_forgotten_text_is_never_continued(talk: Talk) -> None:
    await talk.ask(ASK + "Zorp sat")
    await talk.store.delete_message("terminal", talk.message_ids[0])
    answer = await talk.ask("1")
    assert answer["command"] == "chat", "its card went with it"
    assert "Zorp" not in str(answer)


async def test_a_text_that_was_edited_away_or_has_expired_is_gone(talk: Talk) -> None:
    gone = "The text of this card was deleted. Start again with !complete TEXT."
    await talk.ask(ASK + "Zorp sat")
    await talk.store.edit_message("terminal", talk.message_ids[0], "never mind")
    assert await talk.refusal("1") == gone
    await talk.ask(ASK + "Zorp sat")
    await talk.store.delete_expired(now=now_utc().replace(year=now_utc().year + 1))
    assert (await talk.ask("more"))["command"] == "chat", "the card ended with its text"


async def test_an_edited_text_is_continued_as_it_is_now(talk: Talk) -> None:
    first = await talk.ask(ASK + "Zorp sat")
    await talk.store.edit_message("terminal", talk.message_ids[0], ASK + "Blip ran")
    assert (await talk.ask("1"))["prompt"] == "Blip ran" + texts(first)[0]
    assert (await talk.why())["is_exact"]


async def test_a_text_that_does_not_fit_is_refused_and_the_next_one_works(talk: Talk) -> None:
    assert "at most 511 fit" in await talk.refusal("!complete " + "blah " * 3000)
    assert (await talk.ask(ASK + "The cat"))["choices"]


async def test_a_text_that_fills_the_context_stops_growing_with_a_sentence(talk: Talk) -> None:
    await talk.ask("!complete --n 1 --seed 1 --top_k 0 --max_new_tokens 512 " + "The cat sat on the mat. " * 20)
    for _ in range(4):
        card = await talk.card("1")
        if card.error:
            break
    assert "fit. Shorten the text." in card.error
    assert (await talk.ask("again"))["choices"], "the card is still there"


async def test_stop_ends_all_continuations_and_shows_what_there_is(talk: Talk) -> None:
    stopper = Stopper()
    async for card in talk.snapshots("!complete --seed 3 --max_new_tokens 300 The cat", stopper=stopper):
        if not card.is_final and all(len(option) > 3 for option in card.blocks[0].options):
            stopper.stop()
    assert {choice["finish_reason"] for choice in card.data["choices"]} <= {"cancelled", "stop"}
    assert any(choice["finish_reason"] == "cancelled" for choice in card.data["choices"])
    assert all(3 < len(text) < 600 for text in texts(card.data))
    assert (await talk.ask("1"))["prompt"] == "The cat" + texts(card.data)[0]


async def test_of_two_answers_to_one_card_at_once_one_acts_and_the_other_is_told_so(talk: Talk) -> None:
    first = await talk.ask(ASK + "The cat")
    answers = await asyncio.gather(talk.card("1"), talk.card("2"))
    (done,) = [answer for answer in answers if answer.error is None]
    (refused,) = [answer.error for answer in answers if answer.error is not None]
    assert done.data["prompt"] in {"The cat" + text for text in texts(first)[:2]}
    assert refused == "That card is out of date; use the newest one."
    assert (await talk.ask("undo"))["choices"] == first["choices"]


async def test_continuations_for_somebody_who_types(any_talk: Talk) -> None:
    num_stored = await any_talk.num_stored()
    first = await any_talk.suggest("The cat", num=3, max_new_tokens=5, seed=1)
    assert 1 <= len(first) <= 3
    assert first == await any_talk.suggest("The cat", num=3, max_new_tokens=5, seed=1)
    assert all("\n" not in text and text == text.rstrip() != "" for text in first)
    assert await any_talk.suggest("\ud800 broken", num=1, max_new_tokens=5, seed=1) is not None
    assert await any_talk.num_stored() == num_stored

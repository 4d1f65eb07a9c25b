"""Between tokens and text: encoding of prompts, streaming of characters, stop strings, token healing."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.core.prompt_parts import Prompt, PromptPart
from bot.core.results import Completion, Delta
from bot.core.sampling_params import SamplingParams
from bot.engine.loaded_model import LoadedModel
from bot.engine.loading import load_model
from bot.engine.requests.generation import plan_generation, plan_job
from bot.engine.tokens.detokenizing import Detokenizer, StopMatcher
from bot.engine.tokens.vocabulary import byte_of_character
from tests.engine.running import run_job

ODD_TEXTS = ("Hello there", "日本語 and 😀👍🏽", "é\u0301 \u200d x", "\n\n tabs\t", "def f(x):\n    return x")


@pytest.fixture(scope="module")
def loaded(tiny_model: Callable[[str], Path]) -> Callable[[str], LoadedModel]:
    models: dict[str, LoadedModel] = {}

    def get(name: str) -> LoadedModel:
        if name not in models:
            models[name] = load_model(tiny_model(name), name=name, device="cpu", precision="auto", num_threads=1)
        return models[name]

    return get


def write(
    model: LoadedModel,
    text: str,
    params: SamplingParams,
    *,
    heal: bool = False,
    end_at: Callable[[str], int | None] | None = None,
) -> tuple[tuple[Completion, ...], list[Delta]]:
    deltas: list[Delta] = []
    plan = plan_generation(model, Prompt.plain(text), params, heal=heal, end_at=end_at)
    return run_job(plan_job(model, plan, params, deltas.append)).completions, deltas


def test_the_256_characters_stand_for_the_256_bytes() -> None:
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    assert {byte: character for character, byte in byte_of_character().items()} == bytes_to_unicode()


@pytest.mark.parametrize("name", ["gpt2", "llama"])
@pytest.mark.parametrize("text", ODD_TEXTS)
def test_text_comes_back_from_its_tokens_piece_by_piece(
    loaded: Callable[[str], LoadedModel], name: str, text: str
) -> None:
    model = loaded(name)
    ids = model.tokenizer.encode_text(text).ids
    detokenizer = Detokenizer(model.vocabulary)
    pieces = [detokenizer.push(token_id) for token_id in ids]
    assert "".join(pieces) == text
    assert not any("\ufffd" in piece for piece in pieces)


def test_an_emoji_split_over_tokens_comes_whole(loaded: Callable[[str], LoadedModel]) -> None:
    model = loaded("gpt2")
    ids = model.tokenizer.encode_text("😀").ids
    assert len(ids) == 4
    detokenizer = Detokenizer(model.vocabulary)
    assert [detokenizer.push(token_id) for token_id in ids] == ["", "", "", "😀"]


def test_broken_characters_show_once_and_an_unfinished_one_at_the_end_not(
    loaded: Callable[[str], LoadedModel],
) -> None:
    model = loaded("gpt2")
    emoji = model.tokenizer.encode_text("😀").ids
    letter = model.tokenizer.encode_text("a").ids
    detokenizer = Detokenizer(model.vocabulary)
    assert "".join(detokenizer.push(token_id) for token_id in (*emoji[:2], *letter, *emoji[:3])) == "\ufffda"


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ids=st.lists(st.integers(0, 399), max_size=30))
def test_streamed_text_is_what_transformers_decodes(loaded: Callable[[str], LoadedModel], ids: list[int]) -> None:
    model = loaded("llama")
    detokenizer = Detokenizer(model.vocabulary)
    streamed = "".join(detokenizer.push(token_id) for token_id in ids)
    whole = model.chat_tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    assert whole.rstrip("\ufffd") == streamed.rstrip("\ufffd")


def test_sentencepiece_tokens_keep_their_spaces(loaded: Callable[[str], LoadedModel]) -> None:
    model = loaded("llama2")
    detokenizer = Detokenizer(model.vocabulary)
    ids = model.tokenizer.encode_text("Hello world 😀").ids
    assert "".join(detokenizer.push(token_id) for token_id in ids) == " Hello world 😀"
    assert model.tokenizer.encode_prompt(Prompt.plain("Hello")).ids[0] == model.tokenizer.bos_id


def test_words_of_the_first_gpt_are_joined_as_people_write_them(loaded: Callable[[str], LoadedModel]) -> None:
    model = loaded("openai_gpt")
    ids = model.tokenizer.encode_text("Hello there, who are you? it's (a) cat.").ids
    detokenizer = Detokenizer(model.vocabulary, is_space_due=True)
    assert "".join(detokenizer.push(token_id) for token_id in ids) == " hello there, who are you? it's (a) cat."


@pytest.mark.parametrize("marker", ["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
def test_a_marker_that_somebody_typed_is_plain_text(loaded: Callable[[str], LoadedModel], marker: str) -> None:
    model = loaded("llama")
    marker_id = model.chat_tokenizer.convert_tokens_to_ids(marker)
    typed = model.tokenizer.encode_prompt(Prompt.plain(f"Hello {marker} you"))
    assert marker_id not in typed.ids
    markup = model.tokenizer.encode_prompt(Prompt((PromptPart(marker, is_markup=True),)))
    assert markup.ids == (marker_id,)


def test_a_marker_in_two_plain_parts_is_plain_text(loaded: Callable[[str], LoadedModel]) -> None:
    model = loaded("llama")
    parts = (PromptPart("<|im_"), PromptPart("start|>"))
    assert model.tokenizer.encode_prompt(Prompt(parts)) == model.tokenizer.encode_prompt(Prompt.plain("<|im_start|>"))


def test_adjacent_plain_parts_are_one_text(loaded: Callable[[str], LoadedModel]) -> None:
    model = loaded("gpt2")
    parts = (PromptPart("The c"), PromptPart(""), PromptPart("at sat"))
    assert model.tokenizer.encode_prompt(Prompt(parts)) == model.tokenizer.encode_prompt(Prompt.plain("The cat sat"))


def test_a_lone_surrogate_is_replaced(loaded: Callable[[str], LoadedModel]) -> None:
    model = loaded("gpt2")
    assert model.tokenizer.encode_text("a\ud83db") == model.tokenizer.encode_text("a\ufffdb")
    assert model.tokenizer.encode_prompt(Prompt.plain("\udc00")).ids


@pytest.mark.parametrize("name", ["gpt2", "llama", "llama2", "openai_gpt"])
def test_parts_that_were_encoded_before_give_the_same_tokens(loaded: Callable[[str], LoadedModel], name: str) -> None:
    tokenizer = loaded(name).tokenizer
    known: dict[tuple[str, bool], tuple[int, ...]] = {}
    for text in (*ODD_TEXTS, *ODD_TEXTS, "Hello <|im_start|> you"):
        plain = Prompt.plain(text)
        if tokenizer.encode_text(text).ids:
            assert tokenizer.encode_prompt(plain).plain_ids == tokenizer.encode_text(text).ids
        mixed = Prompt((PromptPart("<|im_start|>", is_markup=True), PromptPart(text), PromptPart("a", is_markup=True)))
        for prompt in (mixed, Prompt((PromptPart("a"), *mixed.parts, PromptPart(text)))):
            assert tokenizer.encode_prompt(prompt, known=known) == tokenizer.encode_prompt(prompt)


@pytest.mark.parametrize("name", ["gpt2", "llama2", "openai_gpt"])
@pytest.mark.parametrize("text", ODD_TEXTS)
def test_offsets_name_the_characters_of_each_token(loaded: Callable[[str], LoadedModel], name: str, text: str) -> None:
    encoded = loaded(name).tokenizer.encode_text(text)
    assert len(encoded.ids) == len(encoded.offsets)
    assert all(0 <= start <= end <= len(text) for start, end in encoded.offsets)
    assert [start for start, _ in encoded.offsets] == sorted(start for start, _ in encoded.offsets)
    if name == "gpt2":
        assert {at for start, end in encoded.offsets for at in range(start, end)} == set(range(len(text)))


def test_stop_strings_straddle_pieces_and_never_show() -> None:
    matcher = StopMatcher(("\nHuman:", "END"))
    shown = [matcher.push(piece) for piece in ("Hi", "\n", "Hum", "bug\nHu", "man", ": more")]
    assert shown == ["Hi", "", "", "\nHumbug", "", ""]
    assert matcher.is_matched
    assert matcher.flush() == ""


def test_what_was_held_back_comes_at_the_end() -> None:
    matcher = StopMatcher(("stop",))
    assert [matcher.push("a st"), matcher.push("o"), matcher.flush()] == ["a ", "", "sto"]


@given(
    text=st.text("abc", max_size=30),
    stops=st.lists(st.text("abc", min_size=1, max_size=4), min_size=1, max_size=3).map(tuple),
    cuts=st.lists(st.integers(1, 5), max_size=30),
)
def test_stop_strings_match_the_same_however_the_text_is_cut(
    text: str, stops: tuple[str, ...], cuts: list[int]
) -> None:
    one_by_one, in_pieces = StopMatcher(stops), StopMatcher(stops)
    expected = "".join([*map(one_by_one.push, text), one_by_one.flush()])
    shown, rest = [], text
    for cut in [*cuts, len(text)]:
        shown.append(in_pieces.push(rest[:cut]))
        rest = rest[cut:]
        assert not any(stop in "".join(shown) for stop in stops)
    assert "".join([*shown, in_pieces.flush()]) == expected
    assert one_by_one.is_matched == any(stop in text for stop in stops)


def test_a_generation_ends_before_its_stop_string(loaded: Callable[[str], LoadedModel]) -> None:
    model = loaded("llama")
    params = SamplingParams(seed=4, max_new_tokens=30, top_k=5)
    free = write(model, "The cat", params)[0][0].text
    stop = free[6:9]
    for options in ({"seed": 4, "top_k": 5}, {"num_beams": 1, "seed": 4, "top_k": 5}):
        (completion,), deltas = write(model, "The cat", SamplingParams(max_new_tokens=30, stop=(stop,), **options))
        assert completion.finish_reason == "stop"
        assert completion.text == free[: free.index(stop)]
        assert "".join(delta.text for delta in deltas) == completion.text


@pytest.mark.parametrize("options", [{"seed": 4, "n": 3}, {"num_beams": 3}])
def test_a_continuation_ends_where_end_at_says_so(
    loaded: Callable[[str], LoadedModel], options: dict[str, int]
) -> None:
    model = loaded("llama")
    params = SamplingParams(max_new_tokens=40, **options)
    free = write(model, "The cat", params)[0]

    def end_after_eight(text: str) -> int | None:
        return 8 if len(text) >= 8 else None

    cut, deltas = write(model, "The cat", params, end_at=end_after_eight)
    for completion, whole in zip(cut, free, strict=True):
        assert (completion.text, completion.finish_reason) == (whole.text[:8], "stop")
        assert "".join(delta.text for delta in deltas if delta.index == completion.index) == completion.text
        assert completion.token_ids == whole.token_ids[: len(completion.token_ids)]


def test_beams_are_cut_at_a_stop_string(loaded: Callable[[str], LoadedModel]) -> None:
    model = loaded("llama")
    params = SamplingParams(num_beams=3, max_new_tokens=15)
    free = write(model, "The cat", params)[0][0]
    stop = free.text[2:4]
    (cut,), deltas = write(model, "The cat", SamplingParams(num_beams=3, max_new_tokens=15, stop=(stop,)))
    assert (cut.text, cut.finish_reason) == (free.text[: free.text.index(stop)], "stop")
    assert cut.token_ids == free.token_ids[: len(cut.token_ids)]
    assert len(deltas) == 1


@pytest.mark.parametrize("name", ["gpt2", "llama", "llama2", "openai_gpt"])
@pytest.mark.parametrize("text", ["The cat sat on th", "Hello wor", "Can it d", "The cat sat on the 😀", "a\n\n", "Th"])
@pytest.mark.parametrize("options", [{"n": 3, "seed": 2}, {"temperature": 0}, {"num_beams": 3, "n": 2}])
def test_healing_repeats_what_was_typed_and_shows_only_the_rest(
    loaded: Callable[[str], LoadedModel], name: str, text: str, options: dict[str, int]
) -> None:
    model = loaded(name)
    params = SamplingParams(max_new_tokens=12, **options)
    plan = plan_generation(model, Prompt.plain(text), params, heal=True)
    completions, _ = write(model, text, params, heal=True)
    assert completions == write(model, text, params, heal=True)[0]
    for completion in completions:
        written = b"".join(model.vocabulary.token_bytes(token_id) for token_id in completion.token_ids)
        assert written.startswith(plan.healing.typed)
        if name != "openai_gpt":
            shown = written[len(plan.healing.typed) :].decode("utf-8", "replace").rstrip("\ufffd")
            assert completion.text.rstrip("\ufffd") == shown


def test_healing_takes_trailing_white_space_back(loaded: Callable[[str], LoadedModel]) -> None:
    plan = plan_generation(loaded("gpt2"), Prompt.plain("The cat "), SamplingParams(), heal=True)
    assert plan.healing.typed == b" "
    assert plan.ids == loaded("gpt2").tokenizer.encode_prompt(Prompt.plain("The cat")).ids


def test_healing_a_prompt_of_one_token_begins_from_bos_or_is_left_out(loaded: Callable[[str], LoadedModel]) -> None:
    plan = plan_generation(loaded("gpt2"), Prompt.plain("T"), SamplingParams(), heal=True)
    assert (plan.ids, plan.healing.typed) == ((loaded("gpt2").tokenizer.start_id,), b"T")
    plan = plan_generation(loaded("openai_gpt"), Prompt.plain("the"), SamplingParams(), heal=True)
    assert (len(plan.ids), plan.healing.typed) == (1, b"")


def test_longer_tokens_begin_with_the_typed_bytes_and_go_on(loaded: Callable[[str], LoadedModel]) -> None:
    vocabulary = loaded("gpt2").vocabulary
    longer = set(vocabulary.ids_longer_than(b" th"))
    assert longer
    for token_id in range(vocabulary.size):
        shown = vocabulary.token_bytes(token_id)
        assert (token_id in longer) == (shown.startswith(b" th") and shown != b" th")

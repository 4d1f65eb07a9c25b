"""Scores by a server: the model's own where they are true, by first tokens where these suffice, else refused."""

import math
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest

from bot.core.prompt_parts import ChatTurn, Prompt
from bot.core.sampling_params import SamplingParams
from bot.errors import FewshotError, PromptTooLong, RequestError
from bot.remote.abilities import NO_DRAWABLE, NO_DRAWN, NO_IDS, NO_LABELS, NO_SCORES, NO_SKETCH, NO_TOP_TOKENS
from bot.remote.answers import Token
from bot.remote.counting import estimate
from bot.remote.echoes import place
from bot.remote.engine import RemoteEngine
from tests.remote.remotes import LIKE_OPENAI, LIKE_REASONING, LIKE_VLLM, engine_on
from tests.servers.openai.behaviour import OPENAI, VLLM, Fault
from tests.servers.openai.server import OpenAIServer, serve_openai
from tests.servers.openai.toy_model import logits_after, logprob_of, logprobs_of, tokenize

TEXT = "The cat sat on the mat, then it ran home."


@pytest.fixture
async def server() -> AsyncIterator[OpenAIServer]:
    async with serve_openai() as server:
        yield server


@pytest.fixture
async def engine(server: OpenAIServer) -> AsyncIterator[RemoteEngine]:
    async with engine_on(server) as engine:
        yield engine


def own_logprobs(text: str) -> list[float | None]:
    tokens = tokenize(text)
    return [None, *(logprob_of(token, tokens[:at]) for at, token in enumerate(tokens) if at)]


async def test_a_text_has_the_scores_and_places_of_the_servers_tokens(engine: RemoteEngine) -> None:
    seen: list[tuple[int, int]] = []
    scores = await engine.score(TEXT, num_expected=2, on_progress=lambda *numbers: seen.append(numbers))
    assert [one.logprob for one in scores] == own_logprobs(TEXT)
    assert [TEXT[one.start : one.end] for one in scores] == tokenize(TEXT)
    best = list(logprobs_of(logits_after(tokenize(TEXT)[:1])).items())[:2]
    assert [(one.text, one.logprob) for one in scores[1].expected] == best
    tokens = tokenize(TEXT)
    own = [list(logprobs_of(logits_after(tokens[:at])))[:2] for at in range(len(tokens))]
    assert [one.rank for one in scores[1:]] == [
        best.index(token) + 1 if token in best else None for token, best in zip(tokens[1:], own[1:], strict=True)
    ]
    assert seen[-1] == (len(scores), len(scores))


async def test_a_text_beyond_the_context_is_scored_in_windows(server: OpenAIServer) -> None:
    text = " ".join([TEXT] * 8)
    async with engine_on(server, replace(LIKE_VLLM, context_length=40)) as engine:
        scores = await engine.score(text)
    assert "".join(one.text for one in scores) == text
    assert [one.logprob for one in scores] == own_logprobs(text)
    assert len(server.requests) > 3
    assert max(len(tokenize(body["prompt"])) for body in server.bodies()) < 40


async def test_continuations_have_their_own_scores(engine: RemoteEngine) -> None:
    before = tokenize("A text:")
    scores = await engine.score_continuations(Prompt.plain("A text:"), [" cat sat", " dog"])
    expected = [logprob_of(" cat", before) + logprob_of(" sat", [*before, " cat"]), logprob_of(" dog", before)]
    assert scores == pytest.approx(expected)
    with pytest.raises(RequestError, match="An empty text"):
        await engine.score_continuations(Prompt.plain("A text:"), [""])
    with pytest.raises(RequestError, match="join the end of this prompt"):
        await engine.score_continuations(Prompt.plain("A te"), ["xt"])
    with pytest.raises(PromptTooLong):
        await engine.score_continuations(Prompt.plain("word " * 5000), [" cat"])


async def test_next_words_and_tokens_are_the_likeliest(server: OpenAIServer, engine: RemoteEngine) -> None:
    best = [(text, math.exp(one)) for text, one in logprobs_of(logits_after(["The", " cat"])).items()][:3]
    tokens = await engine.next_tokens(Prompt.document("The cat"), num=3)
    assert [(one.text, one.probability) for one in tokens] == best
    assert [(one.text, one.probability) for one in await engine.next_words(Prompt.document("The cat"), num=3)] == best


async def test_labels_are_weighed_by_first_tokens_where_these_tell_them_apart() -> None:
    prompt = Prompt.plain("I love it ->")
    async with serve_openai(OPENAI) as server, engine_on(server, LIKE_OPENAI) as engine:

        async def weigh(tops: dict[str, float], labels: Sequence[str]) -> tuple[float, ...]:
            server.tops = tops
            return await engine.score_continuations(prompt, [f" {label}" for label in labels])

        tops = {"Pos": -0.5, "Neg": -1.5, " Positive": -3.0, "Oh": -4.0}
        first, second = await weigh(tops, ["Positive", "Negative"])
        assert (first, second) == (pytest.approx(math.log(math.exp(-0.5) + math.exp(-3.0))), pytest.approx(-1.5))
        for labels in (["Positive", "Neutral"], ["Positive", "Possible"], ["Negative"]):
            with pytest.raises(RequestError) as caught:
                await weigh(tops, labels)
            assert str(caught.value) == (NO_SCORES if len(labels) == 1 else NO_LABELS)


async def test_what_a_server_does_not_tell_is_refused_with_who_does() -> None:
    document, params = Prompt.document("The cat"), SamplingParams()
    async with serve_openai(OPENAI) as server, engine_on(server, LIKE_REASONING) as engine:
        asked = (
            (engine.score("x"), NO_SCORES),
            (engine.next_words(document, num=3), NO_TOP_TOKENS),
            (engine.next_tokens(document, num=3), NO_TOP_TOKENS),
            (engine.score_continuations(document, [" a", " b"]), NO_LABELS),
            (engine.score_and_sketch(document, [" a", " b"]), NO_SKETCH),
            (engine.score_drawn(document, "x", params), NO_DRAWN),
            (engine.drawn_tokens(document, params, num=3), NO_DRAWABLE),
            (engine.score_tokens(document), NO_IDS),
        )
        for answer, sentence in asked:
            with pytest.raises(RequestError) as caught:
                await answer  # type: ignore[attr-defined]
            assert str(caught.value) == sentence
        assert server.requests == []


async def test_a_server_in_trouble_is_asked_again_for_scores(server: OpenAIServer, engine: RemoteEngine) -> None:
    server.faults = [Fault(status=503, headers={"Retry-After": "0"}), Fault(cut_after=0)]
    assert [one.logprob for one in await engine.score(TEXT)] == own_logprobs(TEXT)
    server.faults = [Fault(status=401)]
    with pytest.raises(FewshotError, match="refuses the bot's key"):
        await engine.score(TEXT)
    assert (engine.stats().num_done, engine.stats().num_failed) == (1, 1)


async def test_tokens_are_counted_by_the_server_and_each_text_once(server: OpenAIServer, engine: RemoteEngine) -> None:
    turns = [ChatTurn("system", "Be kind."), ChatTurn("user", "Hello there")]
    prompt = await engine.render_chat(turns)
    assert prompt.turns == tuple(turns)
    assert prompt.text == "System: Be kind.\n\nUser: Hello there\n\nAssistant: "
    text = Prompt.plain("The cat sat.")
    counts = await engine.count_tokens([text, prompt])
    assert counts == (4, len(tokenize("system: Be kind.\nuser: Hello there\nassistant:")))
    server.behaviour = replace(VLLM, tokenizes=False)
    assert await engine.make_prompt(lambda tools: tools.count_tokens([prompt, text])) == counts[::-1]


@pytest.mark.parametrize(
    ("text", "at_least", "at_most"),
    [
        ("The quick brown fox jumps over the lazy dog.", 10, 14),
        ("antidisestablishmentarianism", 5, 8),
        ("1234567", 3, 8),
        ("Привет, как дела?", 8, 20),
        ("这是一个测试", 6, 14),
        ("🦙🦙", 4, 8),
        ("def f(x):\n    return x\n", 9, 14),
        ("", 0, 0),
    ],
)
def test_an_estimate_has_rather_too_many_tokens_than_too_few(text: str, at_least: int, at_most: int) -> None:
    assert at_least <= estimate(Prompt.plain(text)) <= at_most


@pytest.mark.parametrize(
    ("tokens", "text", "spans"),
    [
        (["<s>", "A", " b"], "A b", [(0, 1), (1, 3)]),
        (["A", " b", " c"], "A b", [(0, 1), (1, 3)]),
        (["na", "\ufffd", "\ufffd", "ve"], "na\u00efve", [(0, 2), (2, 3), (2, 3), (3, 5)]),
        (["bytes:\\xf0\\x9f", "bytes:\\xa6\\x99"], "\U0001f999", [(0, 1), (0, 1)]),
        (["A", " c"], "A b", None),
        (["A"], "A b", None),
        ([], "A", None),
    ],
)
def test_tokens_find_their_places_in_the_text(
    tokens: list[str], text: str, spans: list[tuple[int, int]] | None
) -> None:
    placed = place([Token(token, None if at == 0 else -1.0) for at, token in enumerate(tokens)], text)
    assert (None if placed is None else [(one.start, one.end) for one in placed]) == spans

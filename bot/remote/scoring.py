"""Scores of given texts, labels and next words by a server, where it was found to tell them truly."""

import asyncio
import math
from collections.abc import Callable, Sequence
from typing import Final

from bot.core.prompt_parts import Prompt
from bot.core.results import TokenScore, WordProbability
from bot.errors import PromptTooLong, RequestError
from bot.remote.abilities import NO_LABELS, NO_SCORES, NO_TOP_TOKENS, Abilities
from bot.remote.answers import Token, pieces_of
from bot.remote.bodies import logprobs_of, put
from bot.remote.counting import estimate
from bot.remote.echoes import Placed, place
from bot.remote.server import CHAT, COMPLETIONS, Body, Server, ask_again

_ASK_S: Final = 120.0
_MAX_WORD_TOKENS: Final = 4
_MANY_AT_ONCE: Final = 8
_UNMATCHED: Final = "The tokens that the model's server tells don't make up this text, so it can't be scored."
_NO_TEXT: Final = "There is nothing to score in an empty text."
_STRADDLES: Final = (
    "The model's tokens join the end of this prompt with the start of an answer, so answers can't be scored apart."
)


class Scoring:
    """Asks a server for probabilities. Every method raises RequestError for what the server lacks, and Unavailable."""

    def __init__(self, server: Server, abilities: Abilities, *, context_length: int) -> None:
        self._server = server
        self._abilities = abilities
        self._context_length = context_length
        self._at_once = asyncio.Semaphore(_MANY_AT_ONCE)

    async def score(
        self, text: str, *, num_expected: int, on_progress: Callable[[int, int], None] | None
    ) -> tuple[TokenScore, ...]:
        """Return the score of each of the server's tokens of `text`, in rolling windows if it is long."""
        if not self._abilities.scores_texts:
            raise RequestError(NO_SCORES)
        if not text:
            raise RequestError(_NO_TEXT)
        found: list[TokenScore] = []
        num_all = estimate(Prompt.plain(text))
        done = 0
        for start, end in _windows(text, num_all, self._context_length - 2):
            placed = await self._echo(text[start:end], num_top=num_expected)
            found += [_score(one, start, num_expected) for one in placed if one.start + start >= done]
            done = end
            if on_progress is not None:
                on_progress(len(found), max(len(found), num_all))
        return tuple(found)

    async def score_continuations(self, prompt: Prompt, continuations: Sequence[str]) -> tuple[float, ...]:
        """Return the log-probability (nats) of each continuation after `prompt`.

        Where given texts have no scores, several labels are weighed by their first tokens, if these tell them apart.
        """
        if not all(continuations):
            raise RequestError("An empty text has no probability as a continuation.")
        if self._abilities.scores_texts and not prompt.turns:
            asked = (self._score_continuation(prompt.text, one) for one in continuations)
            return tuple(await asyncio.gather(*asked))
        if len(continuations) < 2:
            raise RequestError(NO_SCORES)
        tops = await self._top_tokens(prompt, num=max(self._abilities.num_top, self._abilities.num_chat_top))
        return weigh_labels(tops, continuations)

    async def next_tokens(self, prompt: Prompt, *, num: int) -> tuple[WordProbability, ...]:
        """Return the likeliest next tokens, at most `num` and as many as the server tells."""
        self._check_next(prompt)
        tops = await self._top_tokens(prompt, num=num)
        return tuple(WordProbability(text, math.exp(logprob)) for text, logprob in tops[:num])

    async def next_words(self, prompt: Prompt, *, num: int) -> tuple[WordProbability, ...]:
        """Return the likeliest next words: of each likely next token the likeliest word that begins with it."""
        self._check_next(prompt)
        tops = (await self._top_tokens(prompt, num=num))[:num]
        words = await asyncio.gather(*(self._finish_word(prompt, text, logprob) for text, logprob in tops))
        shares: dict[str, float] = {}
        for word, logprob in words:
            shares[word] = shares.get(word, 0.0) + math.exp(logprob)
        ordered = sorted(shares.items(), key=lambda one: -one[1])
        return tuple(WordProbability(word, min(1.0, share)) for word, share in ordered)

    def _check_next(self, prompt: Prompt) -> None:
        # In chat, the first token of an answer is not what follows a text.
        if not (self._abilities.num_chat_top if prompt.turns else self._abilities.num_top):
            raise RequestError(NO_TOP_TOKENS)

    async def _ask(self, path: str, body: Body) -> tuple[Token, ...]:
        async with self._at_once:
            answer = await ask_again(lambda: self._server.post(path, body), timeout_s=_ASK_S)
        return tuple(token for piece in pieces_of(answer)[:1] for token in piece.tokens)

    async def _echo(self, text: str, *, num_top: int) -> tuple[Placed, ...]:
        body = echo_body(text, self._server.choice.model, self._abilities, num_top=num_top)
        placed = place(await self._ask(COMPLETIONS, body), text)
        if placed is None:
            raise RequestError(_UNMATCHED)
        return placed

    async def _score_continuation(self, before: str, continuation: str) -> float:
        num_tokens = estimate(Prompt.plain(before + continuation))
        if num_tokens > 2 * self._context_length:  # twice, because an estimate alone must not refuse what fits
            raise PromptTooLong(num_tokens=num_tokens, max_tokens=self._context_length)
        placed = await self._echo(before + continuation, num_top=0)
        border = len(before)
        if any(one.start < border < one.end for one in placed):
            raise RequestError(_STRADDLES)
        logprobs = [one.token.logprob for one in placed if one.start >= border]
        known = [one for one in logprobs if one is not None]
        if not known or len(known) < len(logprobs):
            raise RequestError(_UNMATCHED)
        return math.fsum(known)

    async def _top_tokens(self, prompt: Prompt, *, num: int) -> list[tuple[str, float]]:
        """Return the likeliest first tokens of an answer to `prompt` at temperature 1, best first."""
        ask = put(prompt, self._server.choice.model, self._abilities)
        if not (self._abilities.num_chat_top if ask.path == CHAT else self._abilities.num_top):
            raise RequestError(NO_LABELS)
        name = self._abilities.max_tokens_name if ask.path == CHAT else "max_tokens"
        warmth = {"temperature": 1} if "temperature" in self._abilities.options else {}
        tokens = await self._ask(
            ask.path, {**ask.body, name: 1, **warmth, **logprobs_of(self._abilities, ask.path, num=max(1, num))}
        )
        return [(one.text, one.logprob) for one in tokens[0].expected] if tokens else []

    async def _finish_word(self, prompt: Prompt, text: str, logprob: float) -> tuple[str, float]:
        if not text.strip() or not text[-1].isalnum():
            return text, logprob
        greedy = {"temperature": 0} if "temperature" in self._abilities.options else {}
        body = {"model": self._server.choice.model, "prompt": prompt.text + text, "max_tokens": _MAX_WORD_TOKENS}
        tokens = await self._ask(COMPLETIONS, {**body, **greedy, **logprobs_of(self._abilities, COMPLETIONS, num=1)})
        for token in tokens:
            if not token.text[:1].isalnum() or token.logprob is None:
                break
            text, logprob = text + token.text, logprob + token.logprob
        return text, logprob


def echo_body(text: str, model: str, abilities: Abilities, *, num_top: int) -> Body:
    """Return the request for the scores of `text` itself."""
    return {
        "model": model,
        "prompt": text,
        "max_tokens": abilities.min_new_tokens_when_scoring,
        "echo": True,
        "logprobs": max(1, min(num_top, abilities.num_top)),
    }


def weigh_labels(tops: Sequence[tuple[str, float]], continuations: Sequence[str]) -> tuple[float, ...]:
    """Return for each label the log-probability of the tokens that begin it and no other label.

    Raises RequestError if a label has no such token among `tops`, or a token begins several.
    """
    labels = [one.strip() for one in continuations]
    sums = [0.0] * len(labels)
    for text, logprob in tops:
        start = text.strip()
        matching = [i for i, label in enumerate(labels) if start and label.startswith(start)]
        if len(matching) > 1:
            raise RequestError(NO_LABELS)
        if matching:
            sums[matching[0]] += math.exp(logprob)
    if not all(sums):
        raise RequestError(NO_LABELS)
    return tuple(math.log(one) for one in sums)


def _score(placed: Placed, shift: int, num_expected: int) -> TokenScore:
    token = placed.token
    start, end = placed.start + shift, placed.end + shift
    expected = token.expected[:num_expected] if num_expected else ()
    # Behind the likeliest ones that were asked for, servers name the token itself, wherever its place is.
    ranks = (i for i, one in enumerate(expected, start=1) if one.text == token.text)
    return TokenScore(0, token.text, start, end, token.logprob, expected, next(ranks, None))


def _windows(text: str, num_tokens: int, max_tokens: int) -> list[tuple[int, int]]:
    """Return overlapping spans of `text` that fit the context by the estimate, each cut before a space if it can be."""
    if num_tokens <= max_tokens:
        return [(0, len(text))]
    size = max(1, len(text) * max_tokens // num_tokens)
    spans: list[tuple[int, int]] = []
    end = 0
    while end < len(text):
        start = max(0, end - size // 2)
        start = max(text.rfind(" ", 0, start + 1), 0) if start else 0
        last = start + size
        cut = text.rfind(" ", end + 1, last) if last < len(text) else len(text)
        end = min(len(text), cut if cut > end else last)
        spans.append((start, end))
    return spans

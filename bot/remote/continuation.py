"""One continuation as a server writes it: where it ends is decided here, whatever the server does of that itself."""

import math
from collections.abc import Sequence

from bot.core.ending import EndRule
from bot.core.results import Completion, FinishReason
from bot.core.safe_text import JoinedHalves
from bot.remote.answers import Token
from bot.remote.bodies import Join


class Disagreement(Exception):
    """An answer that was asked for again differs from what was shown of it."""


class Continuation:
    """The text of one continuation, and what of it may be shown: what may become a stop text is held back.

    `before` is the text that it follows. `end_at` is called from `end_from` tokens on (see Engine.generate). After
    `max_pieces` pieces it ends, whatever the server was told.
    """

    def __init__(
        self,
        index: int,
        *,
        stops: Sequence[str] = (),
        end_at: EndRule | None = None,
        end_from: int = 0,
        max_pieces: float = math.inf,
        before: str = "",
        join: Join = "as it is",
    ) -> None:
        self.index = index
        self.completion: Completion | None = None
        self._num_pieces = 0
        self._halves = JoinedHalves()  # a server may cut a character in two
        self._max_pieces = max_pieces
        self._stops = tuple(stops)
        self._end_at = end_at
        self._end_from = end_from
        self._before = before
        self._joint = _Joint(before) if join == "after the last word" else None
        self._text = ""
        # Some servers tell them with each piece, others at the end. None where they are not those of the text.
        self._tokens: list[Token] | None = None if self._joint is not None else []
        self._num_shown = 0
        self._again: str | None = None

    @property
    def is_begun(self) -> bool:
        """Say whether the server has written something."""
        return bool(self._text)

    @property
    def num_tokens(self) -> int:
        """Return how many tokens were written, as far as that can be told."""
        return max(len(self._tokens or ()), self._num_pieces)

    def push(self, text: str, tokens: Sequence[Token] = ()) -> str:
        """Take what the server wrote; return what may be shown of it. Raises Disagreement."""
        if self.completion is not None:
            return ""
        self._num_pieces += bool(text)
        text = self._halves.push(text)
        if self._joint is not None:
            text = self._joint.push(text)
        if self._again is not None:
            text = self._compared(text)
        self._text += text
        if self._tokens is not None:
            self._tokens.extend(tokens)
        if not text:
            return ""
        if (end := self._find_stop(len(text))) is not None:
            return self._end(end, "stop")
        if self._end_at is not None and self.num_tokens >= self._end_from:
            end = self._end_at(self._text)
            if end is not None:
                return self._end(end, "length" if self._end_from else "stop")
        if self._num_pieces >= self._max_pieces:
            return self._end(len(self._text), "length")
        return self._show(len(self._text) - self._num_held())

    def finish(self, reason: FinishReason) -> str:
        """End it for `reason`; return the text that was held back."""
        if self.completion is not None:
            return ""
        self._text += self._halves.finish()
        if self._joint is not None:
            self._text += self._joint.finish()
        return self._end(len(self._text), reason)

    def begin_again(self) -> None:
        """Expect the same text once more, of which only what goes beyond is new."""
        if self.completion is not None:
            return
        self._num_pieces = 0
        self._halves = JoinedHalves()
        self._joint = _Joint(self._before) if self._joint is not None else None
        self._again = "" if self._text else None
        self._tokens = None if self._text or self._joint is not None else []

    def _compared(self, text: str) -> str:
        again = (self._again or "") + text
        self._again = again
        if len(again) <= len(self._text):
            if not self._text.startswith(again):
                raise Disagreement
            return ""
        if not again.startswith(self._text):
            raise Disagreement
        self._again = None
        return again[len(self._text) :]

    def _find_stop(self, num_new: int) -> int | None:
        found = []
        for stop in self._stops:
            at = self._text.find(stop, max(0, len(self._text) - num_new - len(stop) + 1))
            if at >= 0:
                found.append(at)
        return min(found, default=None)

    def _num_held(self) -> int:
        """Return how many characters at the end may be the start of a stop text."""
        lengths = ((stop, num) for stop in self._stops for num in range(1, min(len(stop), len(self._text) + 1)))
        return max((num for stop, num in lengths if self._text.endswith(stop[:num])), default=0)

    def _show(self, end: int) -> str:
        text = self._text[self._num_shown : end]
        self._num_shown = max(self._num_shown, end)
        return text

    def _end(self, end: int, reason: FinishReason) -> str:
        self._text = self._text[: max(end, self._num_shown)]
        tokens = self._tokens or []
        known = [one.logprob for one in tokens if one.logprob is not None]
        is_whole = "".join(one.text for one in tokens).startswith(self._text)
        is_known = bool(tokens) and len(known) == len(tokens) and is_whole
        ends, logprobs = _places(tokens, self._text) if is_known else ((), ())
        self.completion = Completion(
            self.index, self._text, (), sum(known) if is_known else None, reason, logprobs, ends
        )
        return self._show(len(self._text))


def _places(tokens: Sequence[Token], text: str) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Return the ends and log-probabilities of those tokens that make up `text`, which their texts begin with."""
    ends: list[int] = []
    logprobs: list[float] = []
    at = 0
    for token in tokens:
        if at >= len(text):
            break
        at += len(token.text)
        ends.append(min(at, len(text)))
        logprobs.append(token.logprob or 0.0)
    return tuple(ends), tuple(logprobs)


class _Joint:
    """Joins a chat model's answer to the text before it: the answer was asked to begin with that text's last word."""

    def __init__(self, before: str) -> None:
        stripped = before.rstrip()
        self._ends_in_space = stripped != before
        self._word = stripped[max(stripped.rfind(" "), stripped.rfind("\n")) + 1 :]
        self._waiting: str | None = ""

    def push(self, text: str) -> str:
        """Return what of `text` goes on from the text before, "" while that is not clear."""
        if self._waiting is None:
            return text
        self._waiting += text
        waiting = self._waiting.lstrip()
        if len(waiting) <= len(self._word) and self._word.startswith(waiting):
            return ""
        self._waiting = None
        return self._joined(waiting)

    def finish(self) -> str:
        """Return what was waiting when the answer ended."""
        waiting, self._waiting = (self._waiting or "").lstrip(), None
        return self._joined(waiting) if waiting and waiting != self._word else ""

    def _joined(self, answer: str) -> str:
        if self._word and answer.startswith(self._word):
            rest = answer[len(self._word) :]
            return rest.lstrip() if self._ends_in_space else rest
        needs_space = not self._ends_in_space and bool(self._word) and answer[:1].isalnum()
        return f" {answer}" if needs_space else answer

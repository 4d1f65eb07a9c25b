"""One attempt at an answer while the model writes it: what of it may be shown, and whether it is worth keeping."""

from collections.abc import Sequence
from typing import Final, Literal

from bot.core.prompt import find_loop
from bot.core.repeats import find_said_again, may_repeat, repeats_one, sentences_of, words_of
from bot.core.reply_text import clean_reply, has_other_speaker
from bot.core.safe_text import clean_model_text
from bot.core.sentences import cut_to_whole
from bot.core.word_list import WordList

Fault = Literal["an empty answer", "a loop", "a repeat", "a blocked word"]

_NO_WORDS: Final = WordList()
_LOOK_CHARACTERS: Final = 16
# So many answers before are compared with a whole one.
_MAX_ANSWERS: Final = 8


class ReplyDraft:
    """One attempt; `push` what the model writes.

    `said` is the start of the answer if that exists already. `names` are the speakers of the conversation, the bot's
    first. `answers` are its earlier ones, oldest first: the draft ends before a sentence of theirs, and one that begins
    with such a sentence or is nearly equal to one of the last answers is a fault, except in the last attempt. What may
    still become a repeat is not shown, so nothing that was shown is drawn again for that reason. A text with a word of
    `words` is a fault in every attempt, and what may become such a word is not shown.
    """

    def __init__(
        self,
        said: str,
        names: Sequence[str],
        answers: Sequence[str] = (),
        *,
        is_last: bool = False,
        words: WordList = _NO_WORDS,
    ) -> None:
        self._said = said
        self._names = tuple(names)
        self._earlier = () if said or is_last else tuple(map(words_of, answers[-_MAX_ANSWERS:]))
        self._sentences = frozenset() if said else sentences_of(answers)
        self._is_last = is_last
        self._words = words
        self._raw = ""
        self._num_looked_at = 0
        self._loop_start: int | None = None
        self._is_ended = False
        self._is_shown = False

    @property
    def is_over(self) -> bool:
        """Say whether nothing that follows can belong to the answer: it loops, repeats, or another speaker begins."""
        return self._loop_start is not None or self._is_ended

    def push(self, text: str) -> None:
        """Add what the model wrote."""
        self._raw += text
        if not self.is_over and len(self._raw) >= self._num_looked_at + _LOOK_CHARACTERS:
            self._look()

    def _look(self) -> None:
        self._num_looked_at = len(self._raw)
        whole = self._said + self._raw
        start = find_loop(whole)
        self._loop_start = None if start is None else max(0, start - len(self._said))
        has_other = has_other_speaker(whole, names=self._names, num_said=len(self._said))
        self._is_ended = has_other or self._repeat_in(self._strip(self._raw), last="ignored") is not None

    def show(self) -> str:
        """Return the text that people may see by now, "" if there is none yet."""
        if self.is_over:
            return ""
        text = self._strip(self._raw, is_growing=True)
        text = text[: self._repeat_in(text, last="open")].rstrip()
        if self._words:
            text = self._words.completed(text)
            if self._has_blocked(text):
                self._is_ended = True
                return ""
            if len(text) <= len(self._said):
                return ""
        if not self._is_shown and may_repeat(text, self._earlier):
            return ""
        self._is_shown = self._is_shown or bool(text)
        return text

    def finish(self, *, is_cut: bool) -> str:
        """Return the whole answer; one that the limit has cut (`is_cut`) ends with its last whole sentence."""
        if self._loop_start is None:
            self._look()
        text = self._strip(self._raw[: self._loop_start])
        if start := self._repeat_in(text):
            return cut_to_whole(text[:start].rstrip()).rstrip()
        if not is_cut or self.is_over:
            return text
        whole = cut_to_whole(text).rstrip()
        return whole if len(whole) > len(self._said) else text

    def find_fault(self, text: str) -> Fault | None:
        """Return why the finished answer `text` should be drawn again, None if it should not."""
        if self._has_blocked(text):
            return "a blocked word"
        if not text:
            return "an empty answer"
        if self._loop_start is not None:
            return "a loop"
        is_repeat = self._repeat_in(text) == 0 or repeats_one(text, self._earlier)
        return "a repeat" if is_repeat and not self._is_shown else None

    def _has_blocked(self, text: str) -> bool:
        """Say whether what the model added to `said` has a word of the list, or ends one."""
        return self._words.is_in(text[len(self._said) :], before=self._said)

    def _repeat_in(self, text: str, *, last: Literal["whole", "open", "ignored"] = "whole") -> int | None:
        """Return where in `text` a sentence of an earlier answer begins, None if nowhere; see `find_said_again`."""
        # The last attempt is kept, whatever it begins with.
        return find_said_again(text, self._sentences, start=1 if self._is_last else 0, last=last)

    def _strip(self, raw: str, *, is_growing: bool = False) -> str:
        """Return the cleaned whole answer, "" if nothing was added to `said`."""
        said = self._said
        text = clean_reply(said + clean_model_text(raw), names=self._names, num_said=len(said), is_growing=is_growing)
        return text if text.startswith(said) and len(text) > len(said) else ""

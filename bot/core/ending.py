"""Where a text that is being written ends, as data: an engine follows such a rule wherever it runs."""

from dataclasses import dataclass

from bot.core.sentences import end_of_sentence, ends_whole


@dataclass(frozen=True, slots=True)
class AfterSentence:
    """The text ends after its first sentence."""

    def __call__(self, text: str) -> int | None:
        """Return the index of the end, None while `text` goes on."""
        return end_of_sentence(text)


@dataclass(frozen=True, slots=True)
class AfterWhole:
    """An answer ends where it may: after a whole sentence or line. `said` comes before its text."""

    said: str = ""

    def __call__(self, text: str) -> int | None:
        """Return the index of the end, None while `text` goes on."""
        return len(text) if ends_whole(self.said + text) else None


@dataclass(frozen=True, slots=True)
class UnlessExactly:
    """A text that can't become `output` any more is cut short."""

    output: str

    def __call__(self, text: str) -> int | None:
        """Return the index of the end, None while `text` goes on."""
        written, output = text.lstrip(), self.output
        is_lost = not written.startswith(output) if len(written) >= len(output) else not output.startswith(written)
        return len(text) if is_lost or written[len(output) :].strip() else None


EndRule = AfterSentence | AfterWhole | UnlessExactly

"""The errors that this package raises on purpose; each message says what happened, then what to do.

FewshotError
├── RequestError            the person who asked can fix it: bad option, unknown name, text too long
│   ├── TemplateError       a prompt file or template text is wrong (carries source and line)
│   ├── OptedOut            the person asked not to be read, so nothing may be stored for them
│   └── PromptTooLong       the prompt does not fit the model's context (carries both counts)
├── Unavailable             it may work later: queue full, disk full, shutting down
│   ├── Busy                too many requests wait; the same one works in a moment
│   ├── ModelChanged        the model's server has another one since the prompt was made for it
│   └── DeliveryFailed      the platform could not be reached in time
├── MissingPermission       the bot may not do this in the channel
├── MessageGone             the message, channel or interaction is no longer there
├── SendRefused             the platform rejects the message, and would reject it again
├── GenerationError         this request failed inside the model (non-finite logits, an error in one step), or the
│                           model's server refuses it and would refuse it again
└── SetupError              the operator can fix it: settings, model, database; the process ends with status 2
    ├── ModelError          a model is missing, broken or unsupported
    └── StoreError          the database can't be opened
"""


class FewshotError(Exception):
    """The root of all errors raised on purpose."""


class RequestError(FewshotError):
    """The request is not valid; the message tells the person who asked how to fix it."""


class TemplateError(RequestError):
    """A template's text breaks a rule of the prompt file.

    `source` names the file or template, `line` counts from 1 (None if no line applies). str() starts with both.
    """

    def __init__(self, problem: str, *, source: str, line: int | None = None) -> None:
        self.problem = problem
        self.source = source
        self.line = line
        super().__init__(f"{source}:{line}: {problem}" if line is not None else f"{source}: {problem}")


class OptedOut(RequestError):
    """The person asked not to be read, so nothing of theirs may be stored."""


class PromptTooLong(RequestError):
    """The prompt and an answer do not fit the model's context."""

    def __init__(self, *, num_tokens: int, max_tokens: int, num_pictures: int = 0) -> None:
        self.num_tokens = num_tokens
        self.max_tokens = max_tokens
        pictures = {0: "", 1: " with its picture"}.get(num_pictures, f" with its {num_pictures} pictures")
        advice = "Send fewer pictures, or a shorter text." if num_pictures > 1 else "Shorten the text."
        if num_pictures == 1:
            advice = "Send the text without the picture."
        super().__init__(f"The prompt has {num_tokens:,} tokens{pictures}, but at most {max_tokens:,} fit. {advice}")


class Unavailable(FewshotError):
    """The request may work later: the queue or the disk is full, or the bot is shutting down."""


class Busy(Unavailable):
    """Too many requests are waiting, or this one waited too long; in a moment it may work."""


class ModelChanged(Unavailable):
    """The model's server has another model than the one that the prompt was made for; asked again, it answers."""


class DeliveryFailed(Unavailable):
    """The platform could not be reached in time; the last message may have arrived anyway."""


class MissingPermission(FewshotError):
    """The bot may not do this in the channel."""


class MessageGone(FewshotError):
    """The message, the channel or the interaction is no longer there."""


class SendRefused(FewshotError):
    """The platform rejects the message, and would reject it again."""


class GenerationError(FewshotError):
    """One request failed inside the model, or at its server, and would fail again; others may not be affected."""


class SetupError(FewshotError):
    """The operator can fix this; the process ends with exit status 2."""


class ModelError(SetupError):
    """A model is missing, broken, unsupported or unsafe to load."""


class StoreError(SetupError):
    """The database can't be opened: it is damaged, or newer than this program."""

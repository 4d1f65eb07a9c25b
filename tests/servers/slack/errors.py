"""Answers of the Web API with `ok` false."""

from typing import Any


class ApiError(Exception):
    """An error as Slack names it; `more` goes into the answer beside it."""

    def __init__(self, error: str, **more: Any) -> None:
        super().__init__(error)
        self.error = error
        self.more = more


class NotOffered(AssertionError):
    """A person in a test does what Slack's client does not let them do."""

"""The error that a route raises; it becomes Discord's JSON error."""

from typing import Any


class ApiError(Exception):
    """An answer with `status`, Discord's own `code`, and a message; `details` name the errors in the body.

    `more` is added to the body.
    """

    def __init__(
        self, status: int, code: int, message: str, details: str = "", more: dict[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.details = details
        self.more = more or {}

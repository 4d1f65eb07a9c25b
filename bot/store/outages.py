"""What the operator is told while the database can't be used: the cause and the path once, and once when it works."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

logger = logging.getLogger(__name__)

Use = Literal["written", "read"]
# On a disk that is almost full short writes may work between longer ones that fail: that is one outage.
_QUIET_S: Final = 60.0
_CONSEQUENCE: Final[dict[Use, str]] = {
    "written": "Nothing new is stored until then.",
    "read": "Nobody is answered until then.",
}


class Outages:
    """The present outages of the database `path`: one line when each begins, one when it ends.

    An outage ends with the first success after `quiet_s` without a failure.
    """

    def __init__(self, path: Path | str, *, quiet_s: float = _QUIET_S) -> None:
        self._path = path
        self._quiet_s = quiet_s
        self._causes: dict[Use, str] = {}
        self._failed_at_s: dict[Use, float] = {}

    @property
    def problem(self) -> str:
        """Return one sentence about the present outage, "" without one."""
        return next((f"The database can't be {use}: {cause}." for use, cause in self._causes.items()), "")

    def failed(self, use: Use, cause: str) -> None:
        """Note that the database can't be used for `cause`, the end of a sentence; tell it unless that is known."""
        self._failed_at_s[use] = time.monotonic()
        if self._causes.get(use) != cause:
            self._causes[use] = cause
            logger.error("The database %s can't be %s: %s. %s", self._path, use, cause, _CONSEQUENCE[use])

    def works(self, use: Use) -> None:
        """Note that the database was used without a failure."""
        if use in self._causes and time.monotonic() - self._failed_at_s[use] >= self._quiet_s:
            del self._causes[use]
            logger.warning("The database %s can be %s again.", self._path, use)


class Retries:
    """Work on the files that is tried again after each write: only the first failure of a row is logged."""

    def __init__(self) -> None:
        self._failing: set[str] = set()

    @contextmanager
    def trying(self, doing: str, *errors: type[Exception]) -> Iterator[None]:
        """Log a failure of the block with one of `errors` instead of raising it."""
        try:
            yield
        except errors as e:
            if doing not in self._failing:
                self._failing.add(doing)
                logger.warning("%s failed and will be retried: %s", doing, e)
        else:
            self._failing.discard(doing)

"""The address of a database on a PostgreSQL server."""

import re
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class DatabaseUrl:
    """An address in the form of libpq: postgresql://USER:PASSWORD@HOST:PORT/NAME?PARAMETERS. str() has no password."""

    url: str = field(repr=False)

    def __str__(self) -> str:
        # Up to the last @, because a password that was not encoded may have one. A parameter may be a password too.
        return re.sub(r"^(\w+://)([^:/@]*)(:.*)?@", r"\1\2@", self.url.partition("?")[0])

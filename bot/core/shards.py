"""The shards of Discord that one program has, of all shards of the bot."""

import re
from dataclasses import dataclass
from typing import Final

_FORM: Final = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?/([0-9]{1,5})")
MAX_SHARDS: Final = 16_384


@dataclass(frozen=True, slots=True)
class Shards:
    """The shards from `first` to `last`, counted from 0, of `total`; str() is the form of the setting SHARDS."""

    first: int
    last: int
    total: int

    @classmethod
    def read(cls, text: str) -> "Shards | None":
        """Return the shards that a text such as 0-3/16 or 5/16 names, None if it names none."""
        found = _FORM.fullmatch(text.replace(" ", ""))
        if found is None:
            return None
        shards = cls(int(found[1]), int(found[2] or found[1]), int(found[3]))
        return shards if shards.first <= shards.last < shards.total <= MAX_SHARDS else None

    def __str__(self) -> str:
        return f"{self.first if self.first == self.last else f'{self.first}-{self.last}'}/{self.total}"

    @property
    def ids(self) -> list[int]:
        """Return the numbers of the shards."""
        return list(range(self.first, self.last + 1))

    @property
    def names(self) -> list[str]:
        """Return the name of each shard, such as 3/16."""
        return [f"{number}/{self.total}" for number in self.ids]

    @property
    def phrase(self) -> str:
        """Return the shards in words."""
        if self.first == self.last:
            return f"shard {self.first} of {self.total}"
        return f"shards {self.first} to {self.last} of {self.total}"

    def has_server(self, server_id: int) -> bool:
        """Say whether the events of a server come to these shards."""
        return self.first <= (server_id >> 22) % self.total <= self.last

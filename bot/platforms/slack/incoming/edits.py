"""The edits that were handled: events tell of each more than once and in any order, and so do histories."""

from collections import OrderedDict
from typing import Final

from bot.platforms.slack.ids import SlackId

_MAX_KEPT: Final = 1_000


class Edits:
    """Knows when each message was edited last, as far as that was heard of."""

    def __init__(self) -> None:
        self._times: OrderedDict[SlackId, str] = OrderedDict()

    def is_new(self, edited: SlackId, edited_ts: str) -> bool:
        """Note an edit, and say whether it is later than those before it; one without a time always is."""
        if edited_ts and edited_ts <= self._times.get(edited, ""):
            return False
        self._times[edited] = edited_ts
        self._times.move_to_end(edited)
        while len(self._times) > _MAX_KEPT:
            self._times.popitem(last=False)
        return True

    def is_newest(self, edited: SlackId, edited_ts: str) -> bool:
        """Say whether no later edit has been heard of."""
        return self._times.get(edited, "") <= edited_ts

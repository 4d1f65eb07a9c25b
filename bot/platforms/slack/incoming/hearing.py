"""What the sockets have delivered lately, held against what was said: a socket that answers pings may still be deaf."""

import asyncio
import logging
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from bot.errors import FewshotError
from bot.platforms.slack.ids import Address, SlackId
from bot.platforms.slack.incoming.channels import Channels
from bot.platforms.slack.incoming.reading import read_said
from bot.platforms.slack.outgoing.sender import Sender
from bot.platforms.slack.workspaces import Workspace, Workspaces

logger = logging.getLogger(__name__)

Json = Mapping[str, Any]

_MAX_KEPT: Final = 5_000
# Looking is cheap, but each channel takes a call: the latest ones each time, the others by turns.
_NUM_LATEST: Final = 4
_NUM_BY_TURNS: Final = 4
_LOOKED_BACK_S: Final = 300.0
# An app that has not subscribed to the messages of private channels, say, will never hear one: so often a kind of which
# no message was ever delivered counts all the same.
_NUM_DOUBTFUL: Final = 3


class Hearing:
    """Knows the messages that sockets have delivered, and the channels in which people talk."""

    def __init__(
        self, sender: Sender, workspaces: Workspaces, channels: Channels, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._sender = sender
        self._workspaces = workspaces
        self._channels = channels
        self._clock = clock
        self._began = clock()
        self._heard: OrderedDict[SlackId, None] = OrderedDict()
        self._talking: OrderedDict[Address, None] = OrderedDict()
        self._num_looks = 0
        # The kinds of channels, by workspace, of which messages are delivered, and how often others were missed.
        self._delivered: set[tuple[str, str]] = set()
        self._num_doubtful: Counter[tuple[str, str]] = Counter()

    def delivered(self, event: Json, team: str, channel: str) -> None:
        """Note a message, of anybody, that a socket has delivered."""
        if event.get("type") == "message":
            self._delivered.add((team, self._kind_of(team, channel)))
        self.note(event, team, channel)

    def _kind_of(self, team: str, channel: str) -> str:
        return self._channels.type_in(team, channel) or ""

    def note(self, event: Json, team: str, channel: str) -> None:
        """Note a message, of anybody, that was delivered or read back."""
        heard, place = SlackId(team, channel, str(event.get("ts"))), Address(team, channel)
        self._heard[heard] = None
        if len(self._heard) > _MAX_KEPT:
            self._heard.popitem(last=False)
        self._talking[place] = None
        self._talking.move_to_end(place)
        if len(self._talking) > _MAX_KEPT:
            self._talking.popitem(last=False)

    async def is_anything_missed(self, known: Sequence[Address], *, on_its_way_s: float) -> bool:
        """Say whether something was said, in the latest channels, that no socket has delivered.

        The latest are those of this run, then `known`. What was said in the last `on_its_way_s` is left out. What can't
        be read counts as heard; never raises.
        """
        oldest, latest = max(self._began, self._clock() - _LOOKED_BACK_S), self._clock() - on_its_way_s
        if latest <= oldest:
            return False

        async def look(place: Address) -> bool:
            workspace = self._workspaces.get(place.team)
            try:
                return workspace is not None and await self._is_missed_in(place, workspace, oldest, latest)
            except (FewshotError, ValueError) as e:  # also a time of Slack's that is no number
                logger.info("could not look at channel %s: %s", place.channel, e)
                return False

        # All at once: one that Slack is slow to answer for must not keep the others waiting.
        looks = {asyncio.create_task(look(place)): place for place in self._places(known)}
        waiting = set(looks)
        try:
            while waiting:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                if any(one.result() and self._counts(looks[one]) for one in done):
                    return True
            return False
        finally:
            for one in waiting:
                one.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    def _counts(self, place: Address) -> bool:
        """Say whether a missed message at `place` means that a socket is deaf."""
        kind = (place.team, self._kind_of(place.team, place.channel))
        if kind in self._delivered:
            return True
        self._num_doubtful[kind] += 1
        if self._num_doubtful[kind] == _NUM_DOUBTFUL:
            logger.warning("no socket delivers messages of the kind %r; is the app subscribed to them?", kind[1])
        return self._num_doubtful[kind] <= _NUM_DOUBTFUL

    def _places(self, known: Sequence[Address]) -> list[Address]:
        """Return the channels to look at now."""
        channels = [Address(one.team, one.channel) for one in known]
        places = list(dict.fromkeys([*reversed(self._talking), *channels]))
        latest, others = places[:_NUM_LATEST], places[_NUM_LATEST:]
        start = self._num_looks * _NUM_BY_TURNS % len(others) if others else 0
        self._num_looks += 1
        return [*latest, *(others + others)[start : start + _NUM_BY_TURNS]]

    async def _is_missed_in(self, place: Address, workspace: Workspace, oldest: float, latest: float) -> bool:
        """Look at the newest messages of a channel, and at a thread with a reply of which nobody has heard."""

        def is_new(ts: object) -> bool:
            return (
                bool(ts)
                and oldest < float(str(ts)) < latest
                and SlackId(place.team, place.channel, str(ts)) not in heard
            )

        heard = self._heard
        for message in await self._sender.newest(place):
            said = read_said(message, workspace, channel=place.channel)
            if said is not None and is_new(said.id.ts):
                return True
            if is_new(message.get("latest_reply")):
                thread = Address(place.team, place.channel, str(message["ts"]))
                for reply in await self._sender.newest(thread, after=f"{oldest:.6f}"):
                    said = read_said(reply, workspace, channel=place.channel)
                    if said is not None and is_new(said.id.ts):
                        return True
        return False

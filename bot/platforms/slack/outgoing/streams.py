"""Messages that are written on while people read them; each word appears once, whatever becomes of a call."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final
from weakref import WeakValueDictionary

from bot.errors import SendRefused
from bot.platforms.slack.ids import Address, SlackId
from bot.platforms.slack.outgoing.calls import Calls, Json, SlackRefused
from bot.platforms.slack.outgoing.pace import APPENDS_TO_ONE, POSTS, SLOW, Pace
from bot.platforms.slack.workspaces import Workspaces

if TYPE_CHECKING:
    from bot.platforms.slack.outgoing.sender import Sender

logger = logging.getLogger(__name__)

_DEADLINE_S: Final = 8.0
_MAX_KEPT: Final = 2_000
_ENDED: Final = "message_not_in_streaming_state"


class Streams:
    """Starts streams, adds to them and ends them. Every method raises what `Calls` raises."""

    def __init__(self, sender: "Sender", workspaces: Workspaces, calls: Calls, pace: Pace) -> None:
        self._sender = sender
        self._workspaces = workspaces
        self._calls = calls
        self._pace = pace
        self._known: OrderedDict[SlackId, None] = OrderedDict()
        # Somebody in a shared channel may be of another workspace.
        self._team_of: Callable[[str, str], str] = lambda team, _: team
        # Each is kept as long as somebody holds it or waits for it.
        self._starting: WeakValueDictionary[Address, asyncio.Lock] = WeakValueDictionary()

    def now(self) -> float:
        """Return the time in seconds by which the age of a stream is measured."""
        return self._pace.now()

    def know_teams_by(self, team_of: Callable[[str, str], str]) -> None:
        """Let `team_of` say which workspace somebody is of, by the workspace in which they were met and their id."""
        self._team_of = team_of

    def turn(self, address: Address) -> asyncio.Lock:
        """Return the lock that is held while a stream is started in a thread, or one is looked for."""
        lock = self._starting.get(address) or asyncio.Lock()
        self._starting[address] = lock
        return lock

    def may_start(self, team: str) -> bool:
        """Say whether Slack lets another stream begin in a workspace now."""
        return not self._pace.wait_s(("chat_startStream", team), SLOW)

    def adopt(self, sent: SlackId) -> bool:
        """Note that a stream belongs to an answer; return False if it did already."""
        if sent in self._known:
            return False
        self._known[sent] = None
        while len(self._known) > _MAX_KEPT:
            self._known.popitem(last=False)
        return True

    async def start(
        self, address: Address, user_id: str, markdown: str, *, after_ts: str, is_unsure: bool = False
    ) -> SlackId:
        """Start a message in a thread for a request at `after_ts`, and return its id.

        With `is_unsure` an earlier try may have started it.
        """
        client = self._workspaces[address.team].client

        async def find() -> Json | None:
            found = await self.find_lost(address, after_ts)
            return None if found is None else {"ts": found.ts}

        # One after another, since a stream whose start has an unknown outcome is found as the only unknown one.
        async with self.turn(address):
            await self._pace.wait_for_method(address.team, "chat_startStream")
            await self._pace.wait(("post", address.channel), POSTS)
            answer = await self._calls.run(
                lambda: client.chat_startStream(
                    channel=address.channel,
                    thread_ts=address.thread,
                    recipient_team_id=self._team_of(address.team, user_id),
                    recipient_user_id=user_id,
                    markdown_text=markdown,
                ),
                deadline_s=_DEADLINE_S,
                find=find,
                is_unsure=is_unsure,
            )
            sent = SlackId(address.team, address.channel, str(answer["ts"]))
            self.adopt(sent)
            return sent

    async def find_lost(self, address: Address, after_ts: str) -> SlackId | None:
        """Return the bot's message in a thread after `after_ts` of which nobody knows, None without any.

        A stream has no metadata until its end.
        """
        me = self._workspaces[address.team].user_id
        for message in await self._sender.newest(address, after=after_ts):
            sent = SlackId(address.team, address.channel, str(message.get("ts", "")))
            is_mine = message.get("user") == me and not message.get("metadata") and not message.get("files")
            if is_mine and sent.ts > after_ts and self.adopt(sent):
                return sent
        return None

    async def append(self, sent: SlackId, markdown: str) -> None:
        """Add words. Raises SendRefused after an unknown outcome: repeated, the words could appear twice."""
        await self._pace.wait(("append", sent), APPENDS_TO_ONE)
        await self._pace.wait_for_method(sent.team, "chat_appendStream")
        client = self._workspaces[sent.team].client
        await self._calls.run(
            lambda: client.chat_appendStream(channel=sent.channel, ts=sent.ts, markdown_text=markdown),
            deadline_s=_DEADLINE_S,
            find=_give_up,
        )

    async def finish(self, sent: SlackId, markdown: str, blocks: Sequence[Json], metadata: Json) -> None:
        """End a stream with its last words, and blocks below them. Raises SendRefused after an unknown outcome."""
        await self._pace.wait_for_method(sent.team, "chat_stopStream")
        client = self._workspaces[sent.team].client
        await self._calls.run(
            lambda: client.chat_stopStream(
                channel=sent.channel,
                ts=sent.ts,
                markdown_text=markdown or None,
                blocks=list(blocks) or None,
                metadata=metadata,
            ),
            find=_give_up,
        )

    async def stop(self, sent: SlackId) -> None:
        """End a stream as it is, so that the message can be updated; do nothing if it has ended."""
        await self._pace.wait_for_method(sent.team, "chat_stopStream")
        client = self._workspaces[sent.team].client
        try:
            await self._calls.run(lambda: client.chat_stopStream(channel=sent.channel, ts=sent.ts))
        except SlackRefused as e:
            if e.code != _ENDED:
                raise


async def _give_up() -> Json | None:
    raise SendRefused("It is unknown whether Slack has accepted the words.")

"""The sender of all the bot's messages on Slack: each at most once, without pings and previews, within a deadline."""

import asyncio
import json
import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import aiohttp
from slack_sdk.errors import SlackApiError

from bot.errors import FewshotError, MessageGone
from bot.platforms.slack.ids import Address, SlackId
from bot.platforms.slack.outgoing.calls import DEADLINE_S, Calls, Json, SlackRefused, error_code, refusal_of
from bot.platforms.slack.outgoing.pace import APPENDS_TO_ONE, POSTS, QUICK, UPDATES, Pace
from bot.platforms.slack.outgoing.rendering import Attached, Rendering
from bot.platforms.slack.outgoing.streams import Streams
from bot.platforms.slack.workspaces import Workspaces

logger = logging.getLogger(__name__)

EVENT_TYPE: Final = "fewshot_answer"
_PAGE: Final = 200
# Of a longer part of a channel only the newest can be read, of a thread the oldest: Slack pages so.
_MAX_PAGES: Final = 20
MAX_READ: Final = _PAGE * _MAX_PAGES
# Slack looks at an uploaded picture before it can be shown; until then blocks with it are not valid.
_NUM_PICTURE_TRIES: Final = 8
_PICTURE_PAUSE_S: Final = 0.5
_SAME_FILE_S: Final = 60.0
_MAX_BEHIND_S: Final = 4.0  # how late the updates of a workspace may be when another answer is started
_OPENED_BEFORE: Final = frozenset({"exchanged_trigger_id", "duplicate_external_id"})
_STREAMING: Final = "streaming_state_conflict"
_MESSAGE_ID: Final = re.compile(r"\w+:(?!interaction:)\w+:(?P<ts>\d+\.\d{6})(?!\d)")
_NO_PREVIEWS: Final[dict[str, Any]] = {"unfurl_links": False, "unfurl_media": False}


class Sender:
    """Posts, updates, deletes and reacts. Every method raises what `Calls` raises."""

    def __init__(
        self,
        workspaces: Workspaces,
        session: aiohttp.ClientSession,
        *,
        deadline_s: float = DEADLINE_S,
        pace: Pace | None = None,
    ) -> None:
        self._workspaces = workspaces
        self._session = session
        self._calls = Calls(deadline_s=deadline_s)
        self._pace = pace or Pace()
        self.streams = Streams(self, workspaces, self._calls, self._pace)

    async def call(self, team: str, method_name: str, /, *, deadline_s: float | None = None, **arguments: Any) -> Json:
        """Call the method `method_name` (as `chat_update`) of a workspace's client; only for what may be repeated."""
        method = getattr(self._workspaces[team].client, method_name)
        await self._pace.wait_for_method(team, method_name)
        return await self._calls.run(lambda: method(**arguments), deadline_s=deadline_s)

    async def post(
        self,
        address: Address,
        rendering: Rendering,
        *,
        request_id: str,
        deadline_s: float | None = None,
        is_unsure: bool = False,
    ) -> SlackId:
        """Post `rendering` and return its id; sent twice for the same `request_id`, it appears once.

        With `is_unsure` an earlier try may have posted it.
        """
        client = self._workspaces[address.team].client
        file_ids = await self._upload_pictures(address.team, rendering)
        await self._pace.wait(("post", address.channel), POSTS)

        async def post() -> Any:
            return await client.chat_postMessage(
                channel=address.channel,
                thread_ts=address.thread or None,
                text=rendering.text,
                blocks=rendering.blocks_with(file_ids),
                metadata=metadata_of(request_id),
                **_NO_PREVIEWS,
            )

        async def find() -> Json | None:
            return await self.find(address, request_id)

        async def run() -> Json:
            return await self._calls.run(post, deadline_s=deadline_s, find=find, is_unsure=is_unsure)

        answer = await self._with_pictures(rendering, run)
        return SlackId(address.team, str(answer.get("channel", address.channel)), str(answer["ts"]))

    async def find(self, address: Address, request_id: str) -> Json | None:
        """Return the posted message that answers `request_id`, None if there is none."""
        for message in await self.newest(address, after=_time_in(request_id)):
            if is_answer(message, request_id):
                return message
        return None

    async def newest(
        self, address: Address, *, after: str = "", is_inclusive: bool = False, deadline_s: float | None = None
    ) -> list[Json]:
        """Return the messages of a thread or channel after a time, or the newest ones, with their metadata.

        A thread's first message comes with it, however old it is. The deadline, in seconds, is that of one page.
        """
        arguments: dict[str, Any] = {"channel": address.channel, "limit": _PAGE, "include_all_metadata": True}
        if after:
            arguments |= {"oldest": after, "inclusive": is_inclusive}
        method = "conversations_replies" if address.thread else "conversations_history"
        if address.thread:
            arguments["ts"] = address.thread
        messages: list[Json] = []
        cursor = ""
        for _ in range(_MAX_PAGES if address.thread or after else 1):
            if cursor:
                arguments["cursor"] = cursor
            answer = await self.call(address.team, method, deadline_s=deadline_s, **arguments)
            messages += [message for message in answer.get("messages") or () if isinstance(message, dict)]
            cursor = str((answer.get("response_metadata") or {}).get("next_cursor") or "")
            if not cursor:
                break
        return messages

    async def update(
        self, sent: SlackId, rendering: Rendering, *, deadline_s: float | None = None, request_id: str = ""
    ) -> None:
        """Replace the bot's own message. With `request_id` it is found by that from now on."""
        client = self._workspaces[sent.team].client
        file_ids = await self._upload_pictures(sent.team, rendering)
        await self._pace.wait(("update", sent.team), UPDATES)

        async def update() -> Any:
            return await client.chat_update(
                channel=sent.channel,
                ts=sent.ts,
                text=rendering.text,
                blocks=rendering.blocks_with(file_ids),
                metadata=metadata_of(request_id) if request_id else None,
            )

        async def run() -> Json:
            return await self._calls.run(update, deadline_s=deadline_s)

        try:
            await self._with_pictures(rendering, run)
        except SlackRefused as e:
            if e.code != _STREAMING:
                raise
            await self.streams.stop(sent)
            await self._with_pictures(rendering, run)

    async def wait_turn(self, address: Address, sent: SlackId | None, *, is_streamed: bool) -> None:
        """Wait until a snapshot can be shown, without taking its turn: by then there may be a newer one."""
        while True:
            wait_s = self._snapshot_wait_s(address, sent, is_streamed=is_streamed)
            if not wait_s:
                return
            await self._pace.sleep(wait_s)

    def _snapshot_wait_s(self, address: Address, sent: SlackId | None, *, is_streamed: bool) -> float:
        if sent is None:
            # What is posted unfinished has to be updated at its end: where many wait for that, answers are posted once.
            behind_s = self._pace.wait_s(("update", address.team), UPDATES) - _MAX_BEHIND_S
            return max(0.0, behind_s, self._pace.wait_s(("post", address.channel), POSTS))
        if is_streamed:
            all_wait_s = self._pace.wait_s(("chat_appendStream", address.team), QUICK)
            return max(all_wait_s, self._pace.wait_s(("append", sent), APPENDS_TO_ONE))
        return self._pace.wait_s(("update", address.team), UPDATES)

    async def post_private(self, address: Address, user_id: str, rendering: Rendering) -> None:
        """Show `rendering` to one person only; in a thread it is visible only if somebody has replied there."""
        client = self._workspaces[address.team].client
        file_ids = await self._upload_pictures(address.team, rendering)
        await self._with_pictures(
            rendering,
            lambda: self._calls.run(
                lambda: client.chat_postEphemeral(
                    channel=address.channel,
                    user=user_id,
                    thread_ts=address.thread or None,
                    text=rendering.text,
                    blocks=rendering.blocks_with(file_ids),
                )
            ),
        )

    async def send_files(self, address: Address, user_id: str, files: Sequence[Attached]) -> None:
        """Send files to one person only: in their direct messages, since nothing else can hold them."""
        if not address.channel.startswith("D"):
            opened = await self.call(address.team, "conversations_open", users=user_id)
            address = Address(address.team, str(opened["channel"]["id"]))
        for file in files:
            await self.upload(address, file)

    async def respond(
        self,
        team: str,
        response_url: str,
        rendering: Rendering,
        *,
        replaces: bool = False,
        thread: str = "",
        is_first: bool = False,
    ) -> None:
        """Answer an interaction by its address, which Slack accepts five times in 30 minutes.

        Only what everybody sees can be in a `thread`. `is_first` says that this is the first answer to a slash command:
        with an unknown outcome it is sent again in its own place, and appears once.
        """
        file_ids = await self._upload_pictures(team, rendering)
        body = {
            "response_type": "ephemeral" if rendering.is_private else "in_channel",
            "text": rendering.text,
            "blocks": rendering.blocks_with(file_ids),
            **({"thread_ts": thread} if thread else {}),
            **_NO_PREVIEWS,
        }

        num_tries = 0

        async def post() -> Any:
            nonlocal num_tries
            num_tries += 1
            body["replace_original"] = replaces or (is_first and num_tries > 1)
            async with self._session.post(response_url, json=body) as response:
                if response.status in {404, 410}:
                    raise MessageGone("The interaction can't be answered any more.")
                if 400 <= response.status < 500 and response.status != 429:
                    raise SlackRefused(f"http_{response.status}")
                response.raise_for_status()
                if code := _refusal_in(await response.text(errors="replace")):
                    raise refusal_of(code)
            return None

        await self._calls.run(post)

    async def open_modal(self, team: str, trigger_id: str, view: Json, *, is_above: bool, deadline_s: float) -> None:
        """Open a modal, `is_above` the one in which the trigger was issued; a trigger opens one."""
        client = self._workspaces[team].client
        method = client.views_push if is_above else client.views_open
        num_tries = 0

        async def open_it() -> Any:
            nonlocal num_tries
            num_tries += 1
            try:
                return await method(trigger_id=trigger_id, view=view)
            except SlackApiError as e:
                if num_tries > 1 and error_code(e) in _OPENED_BEFORE:
                    return None  # by the try before, whose answer was lost
                raise

        await self._calls.run(open_it, deadline_s=deadline_s)

    async def delete(self, sent: SlackId) -> None:
        """Delete the bot's own message; do nothing if it is already gone."""
        try:
            try:
                await self.call(sent.team, "chat_delete", channel=sent.channel, ts=sent.ts)
            except SlackRefused as e:
                if e.code != _STREAMING:
                    raise
                await self.streams.stop(sent)
                await self.call(sent.team, "chat_delete", channel=sent.channel, ts=sent.ts)
        except MessageGone:
            logger.debug("a message to delete is already gone")

    async def react(self, target: SlackId, emoji: str) -> bool:
        """Add a reaction if possible; return whether it was added."""
        try:
            await self.call(target.team, "reactions_add", channel=target.channel, timestamp=target.ts, name=emoji)
        except SlackRefused as e:
            return e.code == "already_reacted"
        except FewshotError as e:
            logger.info("could not add a reaction: %s", type(e).__name__)
            return False
        return True

    async def show_status(self, address: Address, status: str) -> None:
        """Show beside the bot's name in a thread what it is doing; nothing depends on it, so it never raises."""
        if not address.thread:
            return
        try:
            await self.call(
                address.team,
                "assistant_threads_setStatus",
                deadline_s=3.0,
                channel_id=address.channel,
                thread_ts=address.thread,
                status=status,
            )
        except FewshotError as e:
            logger.debug("could not show a status: %s", e)

    async def upload(self, address: Address, file: Attached, *, after: str = "", is_unsure: bool = False) -> None:
        """Upload a file into a thread or channel, below what was sent at the time `after`; it appears once.

        With `is_unsure` an earlier try may have uploaded it.
        """
        client = self._workspaces[address.team].client
        # A file has no metadata. The same one in the last minute is the one that is looked for.
        after = after or f"{time.time() - _SAME_FILE_S:.6f}"
        await self._pace.wait(("post", address.channel), POSTS)
        await self._calls.run(
            lambda: client.files_upload_v2(
                channel=address.channel,
                thread_ts=address.thread or None,
                file=file.data,
                filename=file.name,
                title=file.name,
            ),
            find=lambda: self._find_file(address, file, after),
            is_unsure=is_unsure,
        )

    async def _find_file(self, address: Address, file: Attached, after: str) -> Json | None:
        """Return the bot's message with `file` in a thread or channel after a time, None if there is none."""
        me = self._workspaces[address.team].user_id
        for message in await self.newest(address, after=after):
            if message.get("user") == me and str(message.get("ts", "")) > after:
                for one in message.get("files") or ():
                    if (one.get("name"), one.get("size")) == (file.name, len(file.data)):
                        return message
        return None

    async def _upload_pictures(self, team: str, rendering: Rendering) -> list[str]:
        """Upload the pictures of `rendering` without showing them, and return their ids."""
        ids = []
        for picture in rendering.pictures:
            client = self._workspaces[team].client
            answer = await self._calls.run(
                lambda client=client, picture=picture: client.files_upload_v2(  # type: ignore[misc]
                    file=picture.data, filename=picture.name, title=picture.name, alt_txt=picture.alt
                )
            )
            ids.append(str(answer["files"][0]["id"]))
        return ids

    async def _with_pictures(self, rendering: Rendering, call: Callable[[], Any]) -> Json:
        """Make `call`, again for a while if Slack does not know the uploaded pictures yet."""
        for _ in range(_NUM_PICTURE_TRIES if rendering.pictures else 0):
            try:
                return dict(await call())
            except SlackRefused as e:
                if e.code != "invalid_blocks":
                    raise
            await asyncio.sleep(_PICTURE_PAUSE_S)
        return dict(await call())


def _refusal_in(text: str) -> str:
    """Return Slack's name of the error in the answer of a response address, "" if there is none."""
    try:
        answer = json.loads(text)
    except ValueError:
        return ""  # "ok"
    return str(answer.get("error") or "unknown") if isinstance(answer, dict) and answer.get("ok") is False else ""


def metadata_of(request_id: str) -> Json:
    """Return the metadata of the message that answers a request; nobody sees it, and the bot finds it by that."""
    return {"event_type": EVENT_TYPE, "event_payload": {"request": request_id}}


def is_answer(message: Mapping[str, Any], request_id: str) -> bool:
    """Say whether a message of a history answers a request."""
    metadata = message.get("metadata") or {}
    payload = metadata.get("event_payload") or {}
    return metadata.get("event_type") == EVENT_TYPE and payload.get("request") == request_id


def _time_in(request_id: str) -> str:
    """Return the time of the message that a request was, "" where it was none: its answer is later."""
    found = _MESSAGE_ID.match(request_id)
    return found["ts"] if found else ""

"""What goes with a message of the bot's that is removed: its pictures, and the files below it."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bot.errors import FewshotError
from bot.platforms.slack.ids import Address, SlackId
from bot.platforms.slack.outgoing.sender import Sender

logger = logging.getLogger(__name__)

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Placed:
    """A message as its channel has it now, and the first message of its thread ("" outside threads)."""

    message: Json
    thread: str


async def find_placed(sender: Sender, wanted: SlackId) -> Placed | None:
    """Return a message and its thread, None if it is not there. Raises what the sender raises."""
    found = await sender.call(wanted.team, "conversations_replies", channel=wanted.channel, ts=wanted.ts, limit=1)
    messages = [one for one in found.get("messages") or () if isinstance(one, dict)]
    if not messages:
        return None
    # Of a message in a thread Slack may return the first message of the thread, or the message itself.
    own = next((one for one in messages if one.get("ts") == wanted.ts), None)
    root = str((own or {}).get("thread_ts") or messages[0].get("ts"))
    return Placed(own or {}, "" if root == wanted.ts else root)


async def remove(sender: Sender, sent: SlackId, *, me: str) -> None:
    """Delete a message of the bot's with its pictures and the files below it. Raises what the sender raises."""
    try:
        await _remove_files(sender, sent, me)
    except FewshotError as e:
        logger.info("could not remove the files of an answer in channel %s: %s", sent.channel, e)
    await sender.delete(sent)


async def _remove_files(sender: Sender, sent: SlackId, me: str) -> None:
    placed = await find_placed(sender, sent)
    if placed is None:
        return
    below = await sender.newest(Address(sent.team, sent.channel, placed.thread), after=sent.ts, is_inclusive=True)
    for message in sorted(below, key=lambda one: str(one.get("ts", ""))):
        ts = str(message.get("ts", ""))
        if ts < sent.ts or message.get("user") != me:
            continue
        if ts != sent.ts and message.get("metadata"):
            return  # the next answer
        pictures = (block.get("slack_file") or {} for block in message.get("blocks") or ())
        for file in (*pictures, *(message.get("files") or ())):
            if file_id := file.get("id"):
                await sender.call(sent.team, "files_delete", file=file_id)
        if ts != sent.ts and message.get("files"):
            await sender.delete(SlackId(sent.team, sent.channel, ts))

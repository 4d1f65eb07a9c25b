"""Slack's limits of messages and views, and the project's own rules about pings and previews."""

import json
import re
from collections.abc import Iterator
from typing import Any

from tests.servers.slack.checking_blocks import MOST_MARKDOWN, Surface, check_blocks
from tests.servers.slack.checking_elements import MOST_ID, HasImage
from tests.servers.slack.counting import Findings

Json = dict[str, Any]
MOST_TEXT, MOST_UPDATE_BYTES, MOST_ALL_BLOCKS = 40_000, 4000, 13_000
MESSAGE_FIELDS = frozenset(
    {
        "as_user",
        "attachments",
        "blocks",
        "channel",
        "chunks",
        "client_msg_id",
        "file_ids",
        "icon_emoji",
        "icon_url",
        "link_names",
        "markdown_text",
        "metadata",
        "mrkdwn",
        "parse",
        "recipient_team_id",
        "recipient_user_id",
        "reply_broadcast",
        "session_status",
        "task_display_mode",
        "team_id",
        "text",
        "thread_ts",
        "token",
        "ts",
        "unfurl_links",
        "unfurl_media",
        "user",
        "username",
    }
)
VIEW_FIELDS = (
    "type",
    "title",
    "blocks",
    "close",
    "submit",
    "private_metadata",
    "callback_id",
    "clear_on_close",
    "notify_on_close",
    "external_id",
    "submit_disabled",
)
PING = re.compile(r"<(!channel|!here|!everyone|!subteam\^\w+|@[UW]\w+)(?:\|[^>]*)?>")


def message_error(arguments: Json, *, is_update: bool) -> str | None:
    """Return Slack's name of the limit that the texts of a message break, if any."""
    text = arguments.get("text") or ""
    if len(text) > MOST_TEXT or (is_update and _escaped_bytes(text) > MOST_UPDATE_BYTES):
        return "msg_too_long"
    markdown = arguments.get("markdown_text")
    if markdown is not None and (arguments.get("text") or arguments.get("blocks")):
        return "markdown_text_conflict"
    if len(markdown or "") > MOST_MARKDOWN:
        return "msg_too_long"
    blocks = arguments.get("blocks") or []
    if sum(len(part) for part in texts_of(blocks)) > MOST_ALL_BLOCKS:
        return "msg_blocks_too_long"
    if not (text.strip() or markdown or blocks or arguments.get("attachments")):
        return "no_text"
    return None


def _escaped_bytes(text: str) -> int:
    return len(re.sub(r"&(?!amp;|lt;|gt;)", "&amp;", text).encode())


def message_findings(blocks: object, has_image: HasImage) -> Findings:
    """Return what is wrong with the blocks of a message."""
    found = Findings()
    check_blocks(found, "/blocks", blocks, "message", has_image)
    return found


def view_findings(view: Json, has_image: HasImage, *, is_home: bool) -> Findings:
    """Return what is wrong with a view."""
    found = Findings()
    surface: Surface = "home" if is_home else "modal"
    found.one_of("/view/type", view.get("type"), (surface,))
    found.fields("/view", view, VIEW_FIELDS)
    check_blocks(found, "/view/blocks", view.get("blocks"), surface, has_image)
    found.text("/view/private_metadata", view.get("private_metadata"), 0, 3000, needed=False)
    found.text("/view/callback_id", view.get("callback_id"), 0, MOST_ID, needed=False)
    found.text("/view/external_id", view.get("external_id"), 0, MOST_ID, needed=False)
    for name in ("clear_on_close", "notify_on_close", "submit_disabled"):
        found.flag(f"/view/{name}", view.get(name))
    if is_home:
        return found
    found.plain("/view/title", view.get("title"), 24)
    has_inputs = any(isinstance(one, dict) and one.get("type") == "input" for one in view.get("blocks") or ())
    found.plain("/view/submit", view.get("submit"), 24, needed=has_inputs)
    found.plain("/view/close", view.get("close"), 24, needed=False)
    return found


def metadata_error(metadata: object) -> str | None:
    if metadata is None:
        return None
    if not isinstance(metadata, dict) or set(metadata) - {"event_type", "event_payload", "entities"}:
        return "invalid_metadata_format"
    if not isinstance(metadata.get("event_type"), str) or not isinstance(metadata.get("event_payload"), dict):
        return "invalid_metadata_schema"
    return "metadata_too_large" if len(json.dumps(metadata)) > 8000 else None


def texts_of(part: object) -> Iterator[str]:
    """Yield every text that a person reads in blocks, in order."""
    if isinstance(part, list):
        for one in part:
            yield from texts_of(one)
    elif isinstance(part, dict):
        for key in ("text", "fields", "elements", "rows", "accessory", "element", "label", "hint", "title", "alt_text"):
            value = part.get(key)
            if isinstance(value, str):
                yield value
            elif value is not None:
                yield from texts_of(value)


def pings(arguments: Json, own_id: str) -> list[str]:
    """Return what in a message would ping somebody other than the bot itself."""
    parts = [arguments.get("text") or "", arguments.get("markdown_text") or "", *_marked_up(arguments.get("blocks"))]
    parts += texts_of(arguments.get("attachments"))
    for chunk in arguments.get("chunks") or ():
        parts += [chunk.get("text") or "", *_marked_up(chunk.get("blocks"))]
    found = [match.group(0) for part in parts for match in PING.finditer(part) if match.group(1) != f"@{own_id}"]
    found += [str(one) for one in _rich_pings(arguments.get("blocks")) if one.get("user_id") != own_id]
    if arguments.get("link_names"):
        found.append("link_names")
    if arguments.get("parse") == "full":
        found.append("parse=full")
    return found


def _marked_up(part: object) -> Iterator[str]:
    """Yield the texts of blocks in which Slack reads markup; in plain and rich text a mention is only letters."""
    if isinstance(part, list):
        for one in part:
            yield from _marked_up(one)
    elif isinstance(part, dict):
        if part.get("type") in ("mrkdwn", "markdown") and isinstance(part.get("text"), str):
            yield part["text"]
        for value in part.values():
            yield from _marked_up(value)


def _rich_pings(part: object) -> Iterator[Json]:
    if isinstance(part, list):
        for one in part:
            yield from _rich_pings(one)
    elif isinstance(part, dict):
        if part.get("type") in ("user", "usergroup", "broadcast"):
            yield part
        yield from _rich_pings(part.get("elements"))
        yield from _rich_pings(part.get("rows"))


def previews(arguments: Json) -> list[str]:
    """Return the flags of a new message that let Slack fetch what it links to."""
    return [name for name in ("unfurl_links", "unfurl_media") if arguments.get(name) not in (False, "false", "0", 0)]

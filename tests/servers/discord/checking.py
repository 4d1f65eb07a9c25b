"""Discord's limits on what a bot sends; one sentence for each limit that a body breaks.

Lengths are counted in code points, as Discord's API counts them (its staff in discord-api-docs #1315). The project adds
a rule of its own: no message may ping anyone.
"""

from collections.abc import Sequence
from typing import Any

from tests.servers.discord.checking_commands import check_command, check_commands
from tests.servers.discord.checking_components import check_message_components, check_modal_components, needs_v2
from tests.servers.discord.counting import Findings
from tests.servers.discord.schema import shape_of

MOST_FILES = 10
SUPPRESS_EMBEDS, EPHEMERAL, SILENT, VOICE, V2 = 1 << 2, 1 << 6, 1 << 12, 1 << 13, 1 << 15
INTERACTION_FLAGS = SUPPRESS_EMBEDS | EPHEMERAL | SILENT | VOICE | V2
CREATE_FLAGS = SUPPRESS_EMBEDS | SILENT | VOICE | V2
REFERENCE = "attachment://"

CHANNEL, WEBHOOK = "/channels/{}/messages", "/webhooks/{}/{}"
# The flags that a new message may set there.
CREATES = {("POST", CHANNEL): CREATE_FLAGS, ("POST", WEBHOOK): INTERACTION_FLAGS}
EDITS = frozenset(
    ("PATCH", path) for path in (CHANNEL + "/{}", WEBHOOK + "/messages/{}", WEBHOOK + "/messages/@original")
)
CALLBACK = ("POST", "/interactions/{}/{}/callback")
COMMANDS = ("/applications/{}/commands", "/applications/{}/guilds/{}/commands")

MESSAGE, DEFERRED, DEFERRED_UPDATE, UPDATE, CHOICES, MODAL = 4, 5, 6, 7, 8, 9


def check_body(method: str, path: str, body: object, *, files: Sequence[str] = ()) -> list[str]:
    """Return a sentence for every limit that the body breaks, none if it may be sent.

    `path` is a template such as `/channels/{channel_id}/messages` (parameters may have any name), `files` the names of
    the files sent with it, in order. Bodies of other paths are not checked.
    """
    key = (method.upper(), shape_of(path))
    found = Findings()
    if key in CREATES:
        _message(found, body, files, edit=False, flags=CREATES[key])
    elif key in EDITS:
        _message(found, body, files, edit=True)
    elif key == CALLBACK:
        _callback(found, body, files)
    elif key[1] in COMMANDS and key[0] == "PUT":
        check_commands(found, body)
    elif key[1] in COMMANDS and key[0] == "POST":
        check_command(found, "command", body)
    return list(found)


def _callback(found: Findings, body: object, files: Sequence[str]) -> None:
    if not isinstance(body, dict):
        found.say("an interaction's answer", "must be an object")
        return
    kind, data = body.get("type"), body.get("data")
    if kind in (MESSAGE, UPDATE):
        _message(found, data, files, edit=kind == UPDATE, flags=INTERACTION_FLAGS)
    elif kind == MODAL:
        _modal(found, data)
    elif kind == CHOICES:
        _choices(found, data)
    elif kind == DEFERRED:
        flags = data.get("flags") if isinstance(data, dict) else None
        if flags not in (None, 0, EPHEMERAL):
            found.say("flags", "of a deferred answer may only say that it is ephemeral")
    elif kind not in (1, DEFERRED_UPDATE):
        found.say("type", f"{kind!r} is no kind of answer that this bot gives")


def _modal(found: Findings, data: object) -> None:
    if not isinstance(data, dict):
        found.say("the form", "must be an object")
        return
    found.text("title", data.get("title"), 1, 45)
    found.text("custom_id", data.get("custom_id"), 1, 100)
    check_modal_components(found, data.get("components"))


def _choices(found: Findings, data: object) -> None:
    choices = data.get("choices") if isinstance(data, dict) else None
    for where, choice in found.objects("choices", choices, 0, 25):
        found.choice(where, choice)


def _message(found: Findings, body: object, files: Sequence[str], *, edit: bool, flags: int | None = None) -> None:
    if not isinstance(body, dict):
        found.say("the message", "must be an object")
        return
    found.text("content", body.get("content"), 0, 2000, needed=False)
    _nonce(found, body.get("nonce"))
    _pings(found, body.get("allowed_mentions"))
    _embeds(found, body.get("embeds"))
    _parts(found, body, files, edit=edit, flags=flags)


def _parts(found: Findings, body: dict[str, Any], files: Sequence[str], *, edit: bool, flags: int | None) -> None:
    given = body.get("flags") or 0
    if not isinstance(given, int):
        found.say("flags", "must be a number")
        return
    if flags is not None and given & ~flags:
        found.say("flags", f"{given & ~flags} may not be set here")
    v2 = bool(given & V2)
    if not v2 and needs_v2(body.get("components")):
        v2 = True
        # An edit without flags leaves those of the message as they are.
        if not edit or body.get("flags") is not None:
            found.say("flags", f"lack {V2}, which components V2 need")
    for field in ("content", "embeds", "sticker_ids", "poll") if v2 else ():
        if body.get(field):
            found.say(field, "may not stand beside components V2")
    # An edit without components leaves those of the message as they are.
    kept = edit and body.get("components") is None
    urls = [] if kept else check_message_components(found, body.get("components"), v2=v2)
    _files(found, body, files, urls, edit=edit)
    if v2 and not kept:
        shown = {url.removeprefix(REFERENCE) for url in urls}
        for name in files:
            if name not in shown:
                found.say("files", f"{name} is sent but no component shows it")
    if not edit and not _shows_anything(body, files):
        found.say("the message", "is empty")


def _shows_anything(body: dict[str, Any], files: Sequence[str]) -> bool:
    content = body.get("content")
    text = content.strip() if isinstance(content, str) else content
    others = ("embeds", "sticker_ids", "components", "poll", "attachments")
    return bool(text or files or any(body.get(field) for field in others))


def _nonce(found: Findings, nonce: object) -> None:
    if isinstance(nonce, str):
        found.text("nonce", nonce, 0, 25)
    elif nonce is not None and (isinstance(nonce, bool) or not isinstance(nonce, int)):
        found.say("nonce", "must be text or a number")


def _pings(found: Findings, mentions: object) -> None:
    if not isinstance(mentions, dict):
        found.say("allowed_mentions", "is missing: the message could ping")
    elif mentions.get("parse") != [] or mentions.get("users") or mentions.get("roles") or mentions.get("replied_user"):
        found.say("allowed_mentions", "must allow no pings")


def _embeds(found: Findings, embeds: object) -> None:
    total = 0
    for where, embed in found.objects("embeds", embeds, 0, 10, needed=False):
        found.text(f"{where}.title", embed.get("title"), 0, 256, needed=False)
        found.text(f"{where}.description", embed.get("description"), 0, 4096, needed=False)
        texts = [embed.get("title"), embed.get("description")]
        for holder, field in ((embed.get("footer"), "text"), (embed.get("author"), "name")):
            texts.append(holder.get(field) if isinstance(holder, dict) else None)
        for place, part in found.objects(f"{where}.fields", embed.get("fields"), 0, 25, needed=False):
            found.text(f"{place}.name", part.get("name"), 1, 256)
            found.text(f"{place}.value", part.get("value"), 1, 1024)
            texts += [part.get("name"), part.get("value")]
        total += sum(len(text) for text in texts if isinstance(text, str))
    if total > 6000:
        found.say("embeds", f"have {total:,} characters together; Discord allows 6,000")


def _files(found: Findings, body: dict[str, Any], files: Sequence[str], urls: Sequence[str], *, edit: bool) -> None:
    if len(files) > MOST_FILES:
        found.say("files", f"are {len(files)}; Discord allows {MOST_FILES}")
    listed = found.objects("attachments", body.get("attachments"), 0, MOST_FILES, needed=False)
    for place, one in listed:
        found.text(f"{place}.description", one.get("description"), 0, 1024, needed=False)
        index = str(one.get("id"))
        # Small ids are places in the list of sent files, the others name files that the message has already.
        if not index.isdecimal():
            found.say(f"{place}.id", "must be a number")
        elif len(index) <= 2 and int(index) >= len(files):
            found.say(place, f"speaks of file {index}, which is not sent")
    # An edit that lists no attachments keeps those of the message, whose names are not known here.
    if edit and "attachments" not in body:
        return
    names = {*files, *(str(one.get("filename")) for _, one in listed)}
    for url in dict.fromkeys(urls):
        if url.startswith(REFERENCE) and url.removeprefix(REFERENCE) not in names:
            found.say("components", f"show {url}, which is not sent")

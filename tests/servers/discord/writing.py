"""Turns the body of a request into a new message or a change of one."""

from typing import TYPE_CHECKING, Any

from tests.servers.discord.errors import ApiError
from tests.servers.discord.texts import walk
from tests.servers.discord.world import IS_COMPONENTS_V2, SUPPRESS_EMBEDS, Attachment, Channel, Message, World

if TYPE_CHECKING:
    from tests.servers.discord.rest import Call

REFERENCE = "attachment://"


def fill_new(message: Message, call: "Call", body: dict[str, Any]) -> None:
    """Fill a new message from the body."""
    message.content = body.get("content") or ""
    message.embeds = body.get("embeds") or []
    message.flags |= body.get("flags") or 0
    message.nonce = body.get("nonce")
    message.attachments = _files(call, message.channel, body.get("attachments"), [])
    message.components = _components(body.get("components") or [], message, call.discord.world)
    if message.content and not message.flags & SUPPRESS_EMBEDS:
        call.discord.violations.append(f"{call.method} {call.template}: embeds are not suppressed")


def change(message: Message, call: "Call", body: dict[str, Any]) -> None:
    """Change a message by the body; what the body does not name stays. Raises ApiError before any change."""
    flags = message.flags
    if body.get("flags") is not None:
        flags = (flags & ~SUPPRESS_EMBEDS) | (body["flags"] & (SUPPRESS_EMBEDS | IS_COMPONENTS_V2))
    content = message.content if "content" not in body else body["content"] or ""
    components = message.components if "components" not in body else body["components"] or []
    embeds = message.embeds if "embeds" not in body else body["embeds"] or []
    if flags & IS_COMPONENTS_V2 and content:
        call.discord.violations.append(f"{call.method} {call.template}: components V2 beside content")
        raise ApiError(400, 50035, "Invalid Form Body", "content may not stand beside components V2")
    attachments = message.attachments
    if "attachments" in body or call.files:
        attachments = _files(call, message.channel, body.get("attachments"), attachments)
    if not (content or embeds or attachments or components):
        raise ApiError(400, 50006, "Cannot send an empty message")
    if "http" in content and not flags & SUPPRESS_EMBEDS:
        call.discord.violations.append(f"{call.method} {call.template}: a link's embed is not suppressed")
    message.flags, message.content, message.embeds, message.attachments = flags, content, embeds, attachments
    message.components = _components(components, message, call.discord.world)


def _files(
    call: "Call", channel: Channel, described: list[dict[str, Any]] | None, present: list[Attachment]
) -> list[Attachment]:
    """Return the attachments after the change: those kept by id, then the uploaded files."""
    if described is None:
        described = [{"id": attachment.id} for attachment in present]
        described += [{"id": number} for number in call.files]
    files = []
    by_id = {attachment.id: attachment for attachment in present}
    for item in described:
        number = int(item["id"])
        if number in by_id:
            files.append(by_id[number])
        elif number in call.files:
            name, content = call.files[number]
            files.append(
                call.discord.world.add_file(channel, item.get("filename") or name, content, item.get("description"))
            )
        else:
            raise ApiError(400, 50035, "Invalid Form Body", f"attachment {number} is not there")
    return files


def _components(components: list[dict[str, Any]], message: Message, world: World) -> list[dict[str, Any]]:
    """Return the components with ids, and with the addresses of the files that they show."""
    urls = {attachment.filename: attachment.url for attachment in message.attachments}
    numbers = iter(range(1, 1000))
    for part in walk(components):
        part.setdefault("id", next(numbers))
        for holder in ([part] if "file" in part or "media" in part else []) + (part.get("items") or []):
            for key in ("file", "media"):
                media = holder.get(key)
                if media and media["url"].startswith(REFERENCE):
                    media["url"] = media["proxy_url"] = urls.get(media["url"].removeprefix(REFERENCE), media["url"])
                if media:
                    media.setdefault("id", str(world.next_id()))
    return components

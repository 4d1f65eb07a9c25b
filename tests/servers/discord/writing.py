"""Turn the body of a request into a message, or into a change of one."""

from typing import TYPE_CHECKING, Any

from tests.servers.discord.errors import ApiError
from tests.servers.discord.texts import walk
from tests.servers.discord.world import IS_COMPONENTS_V2, SUPPRESS_EMBEDS, Attachment, Channel, Message, World

if TYPE_CHECKING:
    from tests.servers.discord.rest import Call

REFERENCE = "attachment://"


def fill_new(message: Message, call: "Call", body: dict[str, Any]) -> None:
    """Give a new message what the body says."""
    message.content = body.get("content") or ""
    message.embeds = body.get("embeds") or []
    message.flags |= body.get("flags") or 0
    message.nonce = body.get("nonce")
    message.attachments = _files(call, message.channel, body.get("attachments"), [])
    message.components = _components(body.get("components") or [], message, call.discord.world)
    if message.content and not message.flags & SUPPRESS_EMBEDS:
        call.discord.violations.append(f"{call.method} {call.template}: embeds are not suppressed")


def change(message: Message, call: "Call", body: dict[str, Any]) -> None:
    """Change a message as the body says: what it does not name stays."""
    flags = body.get("flags")
    is_v2 = bool(message.flags & IS_COMPONENTS_V2)
    if flags is not None:
        kept = message.flags & ~SUPPRESS_EMBEDS
        message.flags = kept | (flags & (SUPPRESS_EMBEDS | IS_COMPONENTS_V2))
    if is_v2 and body.get("content"):
        call.discord.violations.append(f"{call.method} {call.template}: content on a message of components V2")
        raise ApiError(400, 50035, "Invalid Form Body", "content may not be set on a message of components V2")
    if not is_v2 and message.flags & IS_COMPONENTS_V2 and message.content and body.get("content", 0) not in (None, ""):
        call.discord.violations.append(f"{call.method} {call.template}: components V2 beside content")
        raise ApiError(400, 50035, "Invalid Form Body", "content has to be emptied first")
    if "content" in body:
        message.content = body["content"] or ""
    if "embeds" in body:
        message.embeds = body["embeds"] or []
    if "attachments" in body or call.files:
        message.attachments = _files(call, message.channel, body.get("attachments"), message.attachments)
    if "components" in body:
        message.components = _components(body["components"] or [], message, call.discord.world)
    if "http" in message.content and not message.flags & SUPPRESS_EMBEDS:
        call.discord.violations.append(f"{call.method} {call.template}: a link's embed is not suppressed")
    if not (message.content or message.embeds or message.attachments or message.components):
        raise ApiError(400, 50006, "Cannot send an empty message")


def _files(
    call: "Call", channel: Channel, described: list[dict[str, Any]] | None, present: list[Attachment]
) -> list[Attachment]:
    """Return the attachments afterwards: those kept by id, then the files that came along."""
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

"""What is sent for a rendering: the arguments of discord.py's calls, made anew for every try."""

from typing import Any, Final

import discord

from bot.platforms.discord.outgoing.rendering import Rendering

_NO_PINGS: Final = discord.AllowedMentions.none()

ReplyTo = discord.Message | discord.PartialMessage | discord.MessageReference


def reference_to(
    target: ReplyTo,
) -> discord.MessageReference:
    """Return a reply that is sent even where the message replied to is gone."""
    if isinstance(target, discord.MessageReference):
        reference = target
    else:
        reference = discord.MessageReference(message_id=target.id, channel_id=target.channel.id)
    reference.fail_if_not_exists = False
    return reference


def create_body(rendering: Rendering, chunk: int) -> dict[str, Any]:
    """Return what a new message is made of; the files are fresh, for one try."""
    body: dict[str, Any] = {"allowed_mentions": _NO_PINGS}
    if rendering.layout is not None:
        body["view"] = rendering.layout
    else:
        body.update(content=rendering.content[chunk], suppress_embeds=True)
    if rendering.is_last(chunk):
        if rendering.view is not None:
            body["view"] = rendering.view
        if rendering.files:
            body["files"] = rendering.build_files()
    return body


def edit_body(rendering: Rendering, chunk: int) -> dict[str, Any]:
    """Return what an existing message becomes: nothing that it had before stays."""
    is_last = rendering.is_last(chunk)
    return {
        # A message that becomes a layout must lose its text.
        "content": None if rendering.layout is not None else rendering.content[chunk],
        "view": rendering.layout if rendering.layout is not None else rendering.view if is_last else None,
        "attachments": rendering.build_files() if is_last else [],
        "allowed_mentions": _NO_PINGS,
    }

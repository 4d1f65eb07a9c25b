"""The text of attached files, fetched only from Discord's servers."""

from collections.abc import Collection, Sequence
from typing import Final

import aiohttp
import discord

from bot.platforms.discord.traits import DISCORD
from bot.platforms.shared.text_files import MAX_BYTES, TIMEOUT_S, AttachedFile, TextAttachment, read_text_file

__all__ = ["CDN_ORIGINS", "MAX_BYTES", "TIMEOUT_S", "TextAttachment", "is_text_file", "read_text_attachment"]

CDN_ORIGINS: Final = ("https://cdn.discordapp.com", "https://media.discordapp.net")


async def read_text_attachment(
    attachments: Sequence[discord.Attachment],
    session: aiohttp.ClientSession,
    *,
    allowed_origins: Collection[str] = CDN_ORIGINS,
    is_required: bool = False,
) -> TextAttachment | None:
    """Return the first text file among `attachments`, None if there is none. Raises what `read_text_file` raises."""
    return await read_text_file(
        [_file_of(attachment) for attachment in attachments],
        session,
        platform_name=DISCORD.name,
        allowed_origins=allowed_origins,
        is_required=is_required,
    )


def is_text_file(attachment: discord.Attachment) -> bool:
    """Say whether a file's declared type or its extension is that of a text."""
    return _file_of(attachment).is_text


def _file_of(attachment: discord.Attachment) -> AttachedFile:
    return AttachedFile(attachment.filename, attachment.content_type or "", attachment.size, attachment.url)

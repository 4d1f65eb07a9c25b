"""Attached files, texts and pictures, fetched only from Discord's servers."""

from collections.abc import Collection, Sequence
from typing import Final

import aiohttp
import discord

from bot.core.picture import Picture
from bot.platforms.discord.traits import DISCORD
from bot.platforms.shared.attached_files import AttachedFile, FileOrigins
from bot.platforms.shared.picture_files import read_pictures
from bot.platforms.shared.text_files import MAX_BYTES, TIMEOUT_S, TextAttachment, read_text_file

__all__ = [
    "CDN_ORIGINS",
    "MAX_BYTES",
    "TIMEOUT_S",
    "TextAttachment",
    "is_text_file",
    "picture_ids_of",
    "read_attached_pictures",
    "read_text_attachment",
]

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
        FileOrigins(DISCORD.name, allowed_origins),
        is_required=is_required,
    )


async def read_attached_pictures(
    attachments: Sequence[discord.Attachment],
    session: aiohttp.ClientSession,
    *,
    allowed_origins: Collection[str] = CDN_ORIGINS,
) -> tuple[Picture, ...]:
    """Return copies of the pictures among `attachments`. Raises what `read_pictures` raises."""
    files = [_file_of(attachment) for attachment in attachments]
    return await read_pictures(files, session, FileOrigins(DISCORD.name, allowed_origins))


def picture_ids_of(attachments: Sequence[discord.Attachment]) -> tuple[str, ...]:
    """Return the ids of the pictures among `attachments`."""
    return tuple(file.id for file in map(_file_of, attachments) if file.is_picture)


def is_text_file(attachment: discord.Attachment) -> bool:
    """Say whether a file's declared type or its extension is that of a text."""
    return _file_of(attachment).is_text


def _file_of(attachment: discord.Attachment) -> AttachedFile:
    return AttachedFile(
        attachment.filename, attachment.content_type or "", attachment.size, attachment.url, str(attachment.id)
    )

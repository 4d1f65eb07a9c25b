"""The text of attached files, fetched only from Discord's servers and within fixed limits."""

import asyncio
import re
from collections.abc import Collection, Sequence
from typing import Final

import aiohttp
import discord
from yarl import URL

from bot.errors import RequestError

MAX_BYTES: Final = 256 * 1024
TIMEOUT_S: Final = 5.0
CDN_ORIGINS: Final = ("https://cdn.discordapp.com", "https://media.discordapp.net")

_NOT_DOWNLOADED: Final = "The attached file could not be downloaded. Attach it again."
_TEXT_TYPES: Final = frozenset({"application/json", "application/toml", "application/xml", "application/yaml"})
_TEXT_NAME: Final = re.compile(
    r".*\.(?:c|cfg|conf|cpp|css|csv|diff|go|h|html|ini|java|jsonl?|js|log|md|prompt|py|rs|rst|sh|sql|srt|tex|text|toml|ts"
    r"|tsv|txt|xml|ya?ml)",
    re.IGNORECASE | re.DOTALL,
)


async def read_text_attachment(
    attachments: Sequence[discord.Attachment],
    session: aiohttp.ClientSession,
    *,
    allowed_origins: Collection[str] = CDN_ORIGINS,
    is_required: bool = False,
) -> str | None:
    """Return the text of the first text file among `attachments`, None if there is none.

    Raises RequestError, one sentence, for a file that is too large, not UTF-8, not at `allowed_origins`, or not
    downloaded within 5 s; with `is_required` also if there are files and none is a text file.
    """
    attachment = next(filter(is_text_file, attachments), None)
    if attachment is None:
        if is_required and attachments:
            raise RequestError("The attached file is not a text file. Attach one such as .txt, .md or .csv.")
        return None
    if attachment.size > MAX_BYTES:
        raise RequestError(
            f"The attached file has {attachment.size:,} bytes. The limit is {MAX_BYTES:,}: shorten the file."
        )
    try:
        async with asyncio.timeout(TIMEOUT_S):
            content = await _fetch(attachment.url, session, allowed_origins)
    except TimeoutError:
        raise RequestError(f"The attached file could not be downloaded within {TIMEOUT_S:g} s. Try again.") from None
    except aiohttp.ClientError:
        raise RequestError(_NOT_DOWNLOADED) from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise RequestError("The attached file is not UTF-8 text. Save it as UTF-8 and attach it again.") from None


def is_text_file(attachment: discord.Attachment) -> bool:
    """Say whether a file's declared type or its extension is that of a text."""
    content_type = (attachment.content_type or "").partition(";")[0].strip().lower()
    if content_type.startswith("text/") or content_type in _TEXT_TYPES:
        return True
    return _TEXT_NAME.fullmatch(attachment.filename) is not None


async def _fetch(url: str, session: aiohttp.ClientSession, allowed_origins: Collection[str]) -> bytes:
    """Return the content of `url`, at most MAX_BYTES whatever size was declared. Raises RequestError."""
    if not _is_at(url, allowed_origins):
        raise RequestError("I read only files that were uploaded to Discord. Upload the file.")
    # Compressed content could grow far beyond the limit when it is decompressed.
    headers = {"Accept-Encoding": "identity"}
    async with session.get(url, headers=headers, allow_redirects=False) as response:
        if response.status != 200 or response.headers.get("Content-Encoding", "identity") != "identity":
            raise RequestError(_NOT_DOWNLOADED)
        content = bytearray()
        async for chunk in response.content.iter_chunked(16 * 1024):
            content += chunk
            if len(content) > MAX_BYTES:
                raise RequestError(f"The attached file has more than {MAX_BYTES:,} bytes. Shorten the file.")
        return bytes(content)


def _is_at(url: str, origins: Collection[str]) -> bool:
    try:
        return str(URL(url).origin()) in origins
    except ValueError:
        return False

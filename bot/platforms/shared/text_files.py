"""The text of a file that somebody attached, within fixed limits; where it may be fetched from, the platform says."""

import asyncio
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import aiohttp
from yarl import URL

from bot.core.messages import AttachmentFormat, attachment_format
from bot.errors import RequestError

MAX_BYTES: Final = 256 * 1024
TIMEOUT_S: Final = 5.0

_NOT_DOWNLOADED: Final = "The attached file could not be downloaded. Attach it again."
_TEXT_TYPES: Final = frozenset({"application/json", "application/toml", "application/xml", "application/yaml"})
_TEXT_NAME: Final = re.compile(
    r".*\.(?:c|cfg|conf|cpp|css|csv|diff|go|h|html|ini|java|jsonl?|js|log|md|ndjson|prompt|py|rs|rst|sh|sql|srt|tex|text|toml|ts"
    r"|tab|tsv|txt|xml|ya?ml)",
    re.IGNORECASE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class AttachedFile:
    """A file as its platform offers it; `size` is in bytes."""

    name: str
    content_type: str
    size: int
    url: str

    @property
    def is_text(self) -> bool:
        """Say whether the declared type or the extension is that of a text."""
        content_type = self.content_type.partition(";")[0].strip().lower()
        if content_type.startswith("text/") or content_type in _TEXT_TYPES:
            return True
        return _TEXT_NAME.fullmatch(self.name) is not None


@dataclass(frozen=True, slots=True)
class TextAttachment:
    """The text of an attached file, and its format."""

    text: str
    format: AttachmentFormat


async def read_text_file(
    files: Sequence[AttachedFile],
    session: aiohttp.ClientSession,
    *,
    platform_name: str,
    allowed_origins: Collection[str],
    headers: Mapping[str, str] | None = None,
    is_required: bool = False,
) -> TextAttachment | None:
    """Return the first text file among `files`, None if there is none.

    `headers` go along with the download. Raises RequestError, one sentence, for a file that is too large, not UTF-8,
    not at `allowed_origins`, or not downloaded within 5 s; with `is_required` also if there are files and none is a
    text file.
    """
    file = next((file for file in files if file.is_text), None)
    if file is None:
        if is_required and files:
            raise RequestError("The attached file is not a text file. Attach one such as .txt, .md or .csv.")
        return None
    if file.size > MAX_BYTES:
        raise RequestError(f"The attached file has {file.size:,} bytes. The limit is {MAX_BYTES:,}: shorten the file.")
    if not _is_at(file.url, allowed_origins):
        raise RequestError(f"I read only files that were uploaded to {platform_name}. Upload the file.")
    try:
        async with asyncio.timeout(TIMEOUT_S):
            content = await _fetch(file.url, session, headers or {})
    except TimeoutError:
        raise RequestError(f"The attached file could not be downloaded within {TIMEOUT_S:g} s. Try again.") from None
    except aiohttp.ClientError:
        raise RequestError(_NOT_DOWNLOADED) from None
    try:
        return TextAttachment(content.decode("utf-8-sig"), attachment_format(file.name))
    except UnicodeDecodeError:
        raise RequestError("The attached file is not UTF-8 text. Save it as UTF-8 and attach it again.") from None


async def _fetch(url: str, session: aiohttp.ClientSession, headers: Mapping[str, str]) -> bytes:
    """Return the content of `url`, at most MAX_BYTES whatever size was declared. Raises RequestError."""
    # Compressed content could grow far beyond the limit when it is decompressed.
    sent = {**headers, "Accept-Encoding": "identity"}
    async with session.get(url, headers=sent, allow_redirects=False) as response:
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

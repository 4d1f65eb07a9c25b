"""Files that people attach: what their platform says of them, and their content, from its own servers only."""

import asyncio
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

import aiohttp
from yarl import URL

from bot.errors import RequestError

_NOT_DOWNLOADED: Final = "The attached file could not be downloaded. Attach it again."
_TEXT_TYPES: Final = frozenset({"application/json", "application/toml", "application/xml", "application/yaml"})
_TEXT_NAME: Final = re.compile(
    r".*\.(?:c|cfg|conf|cpp|css|csv|diff|go|h|html|ini|java|jsonl?|js|log|md|ndjson|prompt|py|rs|rst|sh|sql|srt|tex|text|toml|ts"
    r"|tab|tsv|txt|xml|ya?ml)",
    re.IGNORECASE | re.DOTALL,
)
_PICTURE_NAME: Final = re.compile(r".*\.(?:png|jpe?g|webp|gif)", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class AttachedFile:
    """A file as its platform offers it; `size` is in bytes."""

    name: str
    content_type: str
    size: int
    url: str
    id: str = ""

    @property
    def is_text(self) -> bool:
        """Say whether the declared type or the extension is that of a text."""
        kind = self._kind
        return kind.startswith("text/") or kind in _TEXT_TYPES or _TEXT_NAME.fullmatch(self.name) is not None

    @property
    def is_picture(self) -> bool:
        """Say whether the declared type or the extension is that of a picture."""
        if self.is_text:
            return False
        return self._kind.startswith("image/") or _PICTURE_NAME.fullmatch(self.name) is not None

    @property
    def _kind(self) -> str:
        return self.content_type.partition(";")[0].strip().lower()


@dataclass(frozen=True, slots=True)
class FileOrigins:
    """Where files may be fetched from: `origins` of the platform `name`, with `headers`."""

    name: str
    origins: Collection[str]
    headers: Mapping[str, str] | None = None


async def fetch_file(
    file: AttachedFile, session: aiohttp.ClientSession, origins: FileOrigins, *, max_bytes: int, timeout_s: float
) -> bytes:
    """Return the content of `file`, at most `max_bytes` whatever size was declared.

    Raises RequestError, one sentence, for a file that is not at `origins`, not there, too large, or not downloaded
    within `timeout_s`.
    """
    if not _is_at(file.url, origins.origins):
        raise RequestError(f"I read only files that were uploaded to {origins.name}. Upload the file.")
    try:
        async with asyncio.timeout(timeout_s):
            return await _fetch(file.url, session, origins.headers or {}, max_bytes)
    except TimeoutError:
        raise RequestError(f"The attached file could not be downloaded within {timeout_s:g} s. Try again.") from None
    except aiohttp.ClientError:
        raise RequestError(_NOT_DOWNLOADED) from None


async def _fetch(url: str, session: aiohttp.ClientSession, headers: Mapping[str, str], max_bytes: int) -> bytes:
    # Compressed content could grow far beyond the limit when it is decompressed.
    sent = {**headers, "Accept-Encoding": "identity"}
    async with session.get(url, headers=sent, allow_redirects=False) as response:
        if response.status != 200 or response.headers.get("Content-Encoding", "identity") != "identity":
            raise RequestError(_NOT_DOWNLOADED)
        content = bytearray()
        async for chunk in response.content.iter_chunked(16 * 1024):
            content += chunk
            if len(content) > max_bytes:
                raise RequestError(f"The attached file has more than {max_bytes:,} bytes. Send a smaller one.")
        return bytes(content)


def _is_at(url: str, origins: Collection[str]) -> bool:
    try:
        return str(URL(url).origin()) in origins
    except ValueError:
        return False

"""The text of a file that somebody attached, within fixed limits; where it may be fetched from, the platform says."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import aiohttp

from bot.core.messages import AttachmentFormat, attachment_format
from bot.errors import RequestError
from bot.platforms.shared.attached_files import AttachedFile, FileOrigins, fetch_file

MAX_BYTES: Final = 256 * 1024
TIMEOUT_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class TextAttachment:
    """The text of an attached file, and its format."""

    text: str
    format: AttachmentFormat


async def read_text_file(
    files: Sequence[AttachedFile],
    session: aiohttp.ClientSession,
    origins: FileOrigins,
    *,
    is_required: bool = False,
) -> TextAttachment | None:
    """Return the first text file among `files`, None if there is none.

    Raises RequestError, one sentence, for a file that is too large, not UTF-8, not at `origins`, or not downloaded
    within 5 s; with `is_required` also if there are files and none is a text file.
    """
    file = next((file for file in files if file.is_text), None)
    if file is None:
        if is_required and files:
            raise RequestError("The attached file is not a text file. Attach one such as .txt, .md or .csv.")
        return None
    if file.size > MAX_BYTES:
        raise RequestError(f"The attached file has {file.size:,} bytes. The limit is {MAX_BYTES:,}: shorten the file.")
    content = await fetch_file(file, session, origins, max_bytes=MAX_BYTES, timeout_s=TIMEOUT_S)
    try:
        return TextAttachment(content.decode("utf-8-sig"), attachment_format(file.name))
    except UnicodeDecodeError:
        raise RequestError("The attached file is not UTF-8 text. Save it as UTF-8 and attach it again.") from None

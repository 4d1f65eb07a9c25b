"""The pictures that somebody attached, as small copies: fetched within fixed limits, and copied off the loop."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import aiohttp

from bot.core.picture import MAX_PICTURES, Picture, PictureType
from bot.errors import RequestError
from bot.platforms.shared.attached_files import AttachedFile, FileOrigins, fetch_file

MAX_BYTES: Final = 8 * 2**20
TIMEOUT_S: Final = 10.0
# Decoded, a picture has up to 160 MB, so one is copied after the other. The thread starts with the first picture.
_COPYING: Final = ThreadPoolExecutor(max_workers=1, thread_name_prefix="copying-pictures")


async def read_pictures(
    files: Sequence[AttachedFile], session: aiohttp.ClientSession, origins: FileOrigins
) -> tuple[Picture, ...]:
    """Return small copies of the pictures among `files`, in their order.

    Raises RequestError, one sentence, for more than MAX_PICTURES, and for one that is too large, no picture that can be
    read, not at `origins`, or not downloaded within 10 s.
    """
    pictures = [file for file in files if file.is_picture]
    if not pictures:
        return ()
    if len(pictures) > MAX_PICTURES:
        raise RequestError(
            f"That message has {len(pictures)} pictures, and I read {MAX_PICTURES} at most. Send fewer at once."
        )
    for file in pictures:
        if file.size > MAX_BYTES:
            raise RequestError(
                f"The attached picture has {file.size / 2**20:.1f} MiB; the limit is {MAX_BYTES // 2**20}. Send a"
                " smaller one."
            )
    return tuple([await _read(file, session, origins) for file in pictures])


async def _read(file: AttachedFile, session: aiohttp.ClientSession, origins: FileOrigins) -> Picture:
    content = await fetch_file(file, session, origins, max_bytes=MAX_BYTES, timeout_s=TIMEOUT_S)
    media_type, data = await asyncio.get_running_loop().run_in_executor(_COPYING, _copy, content)
    return Picture(file.id, media_type, data)


def _copy(content: bytes) -> tuple[PictureType, bytes]:
    from bot.pictures.copying import copy_picture  # Pillow is loaded with the first picture

    return copy_picture(content)

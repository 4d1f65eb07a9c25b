"""Small copies of people's pictures: nothing but what can be seen, in one of two formats."""

import io
from typing import Final

from PIL import Image, ImageOps

from bot.core.picture import MAX_EDGE, PictureType
from bot.errors import RequestError

MAX_PIXELS: Final = 40_000_000
_FORMATS: Final = ("PNG", "JPEG", "WEBP", "GIF")
_SIGNATURES: Final = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a")
_WEBP: Final = (b"RIFF", b"WEBP")
_JPEG_QUALITY: Final = 85
_BACKGROUND: Final = (255, 255, 255)
_NO_PICTURE: Final = (
    "The attached picture is not a PNG, JPEG, WebP or GIF file. Save it as one of these and attach it again."
)
_BROKEN: Final = "The attached picture is damaged. Save it again and attach the new file."
# What Pillow raises for files that are cut off, damaged or made to harm.
_UNREADABLE: Final = (
    OSError,
    ValueError,
    SyntaxError,
    LookupError,
    TypeError,
    ArithmeticError,
    EOFError,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)


def copy_picture(data: bytes) -> tuple[PictureType, bytes]:
    """Return the first frame of a picture, upright, at most MAX_EDGE pixels long, without any of its metadata.

    It is a PNG or a JPEG, whichever is smaller. Takes up to some seconds of a processor. Raises RequestError, one
    sentence, for another kind of file, a damaged one, and one of more than MAX_PIXELS.
    """
    if not (data.startswith(_SIGNATURES) or (data[:4], data[8:12]) == _WEBP):
        raise RequestError(_NO_PICTURE)
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as opened:
            # The size is known before anything is decoded.
            if opened.width * opened.height > MAX_PIXELS:
                raise RequestError(
                    f"The attached picture has {opened.width * opened.height / 1e6:,.0f} million pixels; the limit is"
                    f" {MAX_PIXELS // 1_000_000}. Send a smaller one."
                )
            # Of a JPEG only what is needed is decoded.
            opened.draft(None, (MAX_EDGE, MAX_EDGE))
            small = _upright_and_small(opened)
    except _UNREADABLE as e:
        raise RequestError(_BROKEN) from e
    return _smaller_of(small)


def _upright_and_small(opened: Image.Image) -> Image.Image:
    """Return a new picture with the colours of `opened` alone; what is transparent becomes white."""
    opened.load()
    turned = _upright(opened)
    has_transparency = turned.has_transparency_data
    turned = turned.convert("RGBA" if has_transparency else "RGB")
    turned.thumbnail((MAX_EDGE, MAX_EDGE))
    # A copy would keep comments and profiles, which are written into a file again.
    clean = Image.new("RGB", turned.size, _BACKGROUND)
    clean.paste(turned, mask=turned.getchannel("A") if has_transparency else None)
    return clean


def _upright(opened: Image.Image) -> Image.Image:
    """Return a picture as the camera was held; as it is if what says so is damaged."""
    try:
        return ImageOps.exif_transpose(opened)
    except _UNREADABLE:
        return opened


def _smaller_of(picture: Image.Image) -> tuple[PictureType, bytes]:
    png, jpeg = io.BytesIO(), io.BytesIO()
    picture.save(png, "PNG")
    picture.save(jpeg, "JPEG", quality=_JPEG_QUALITY)
    if len(png.getvalue()) <= len(jpeg.getvalue()):
        return "image/png", png.getvalue()
    return "image/jpeg", jpeg.getvalue()

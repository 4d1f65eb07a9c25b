"""Copies of people's pictures: small, upright, and nothing but what can be seen."""

import io
import zlib

import pytest
from PIL import Image, PngImagePlugin

from bot.errors import RequestError
from bot.pictures.copying import copy_picture
from tests.pictures.samples import BLUE, RED, picture_file

EXIF_ORIENTATION = 0x0112
EXIF_MAKER = 0x010F


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_each_kind_of_picture_is_copied(kind: str) -> None:
    media_type, data = copy_picture(picture_file(RED, kind=kind))
    copy = opened(data)
    assert media_type == f"image/{(copy.format or '').lower()}"
    assert copy.size == (64, 48)
    red, green, blue = copy.convert("RGB").getpixel((10, 10))  # type: ignore[misc]
    assert red > 240
    assert max(green, blue) < 20


@pytest.mark.parametrize(("size", "copied"), [((3000, 1500), (1024, 512)), ((100, 4000), (26, 1024)), ((5, 5), (5, 5))])
def test_a_copy_is_no_longer_than_1024_pixels_and_never_larger_than_the_picture(
    size: tuple[int, int], copied: tuple[int, int]
) -> None:
    assert opened(copy_picture(picture_file(size=size))[1]).size == copied


def test_a_copy_is_upright_and_has_nothing_of_what_the_camera_wrote() -> None:
    exif = Image.Exif()
    exif[EXIF_ORIENTATION], exif[EXIF_MAKER] = 6, "KANARIE"
    _, data = copy_picture(
        picture_file(size=(80, 40), kind="JPEG", exif=exif, comment=b"KANARIE", icc_profile=b"KANARIE")
    )
    assert opened(data).size == (40, 80)
    assert b"KANARIE" not in data
    assert not opened(data).getexif()


def test_a_picture_with_damaged_notes_of_a_camera_is_copied_all_the_same() -> None:
    assert opened(copy_picture(picture_file(exif=b"Exif\0\0KANARIE"))[1]).size == (64, 48)


def test_the_texts_of_a_png_are_not_copied() -> None:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Author", "KANARIE")
    _, data = copy_picture(picture_file(pnginfo=texts))
    assert b"KANARIE" not in data


def test_what_is_transparent_becomes_white() -> None:
    _, data = copy_picture(picture_file((250, 10, 10, 0), mode="RGBA"))
    assert opened(data).convert("RGB").getpixel((5, 5)) == (255, 255, 255)


def test_of_an_animation_the_first_frame_is_copied() -> None:
    frames = [Image.new("RGB", (40, 40), colour) for colour in (RED, BLUE)]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    copy = opened(copy_picture(file.getvalue())[1]).convert("RGB")
    red, _, blue = copy.getpixel((5, 5))  # type: ignore[misc]
    assert red > blue


def test_the_smaller_format_is_taken() -> None:
    noise = Image.effect_noise((200, 200), 90).convert("RGB")
    file = io.BytesIO()
    noise.save(file, "PNG")
    assert copy_picture(file.getvalue())[0] == "image/jpeg"
    assert copy_picture(picture_file(size=(200, 200)))[0] == "image/png"


def huge_png(width: int, height: int) -> bytes:
    """Return a PNG whose header says how large it is; there is hardly anything behind it."""
    data = bytearray(picture_file(size=(8, 8)))
    data[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "is not a PNG, JPEG, WebP or GIF file"),
        (b"Hello", "is not a PNG, JPEG, WebP or GIF file"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is not a PNG, JPEG, WebP or GIF file"),
        (b"BM" + bytes(100), "is not a PNG, JPEG, WebP or GIF file"),
        (picture_file()[:60], "is damaged"),
        (picture_file(kind="JPEG")[:200], "is damaged"),
        (picture_file(kind="WEBP")[:20], "is damaged"),
        (b"GIF89a" + bytes(50), "is damaged"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "is damaged"),
        (huge_png(10_000, 4_001), "has 40 million pixels; the limit is 40"),
        (huge_png(9_000, 9_000), "has 81 million pixels; the limit is 40"),
        (huge_png(60_000, 60_000), "is damaged"),
    ],
)
def test_what_is_no_picture_that_can_be_copied_is_one_sentence(data: bytes, sentence: str) -> None:
    with pytest.raises(RequestError) as caught:
        copy_picture(data)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)

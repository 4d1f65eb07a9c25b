"""The fonts of pictures: Noto Sans and Noto Emoji from their package, then the extra package and the system's fonts."""

import importlib.util
import os
import sys
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final

from PIL import Image, ImageDraw, ImageFont
from PIL.ImageFont import FreeTypeFont

# Font packages from PyPI; the first is a dependency, the other belongs to the extra `fonts`.
_PACKAGES: Final = ("manimgx_fonts", "noto_cjk_sans_otc")
# Outlines, so that the tint behind an emoji stays visible. It has digits too, which look better in other fonts.
_EMOJI: Final = "Emoji"
_SYSTEM_FOLDERS: Final = {
    "darwin": ("/System/Library/Fonts", "/Library/Fonts", "~/Library/Fonts"),
    "win32": ("${WINDIR}/Fonts",),
}.get(sys.platform, ("/usr/share/fonts", "/usr/local/share/fonts", "~/.local/share/fonts"))
# Fonts with many characters come before fonts of one script; missing ones are skipped.
_SYSTEM_NAMES: Final[tuple[str, ...]] = (
    "DejaVuSans.ttf",
    "NotoSansCJK-Regular.ttc",
    "NotoSansCJKsc-Regular.otf",
    "wqy-microhei.ttc",
    "DroidSansFallbackFull.ttf",
    "NotoEmoji-Regular.ttf",
    "Symbola.ttf",
    "FreeSans.ttf",
    "unifont.otf",
    "unifont.ttf",
    "Arial Unicode.ttf",
    "PingFang.ttc",
    "Hiragino Sans GB.ttc",
    "AppleSDGothicNeo.ttc",
    "Apple Symbols.ttf",
    "segoeui.ttf",
    "msyh.ttc",
    "YuGothM.ttc",
    "malgun.ttf",
    "Nirmala.ttc",
    "Nirmala.ttf",
    "LeelawUI.ttf",
    "seguisym.ttf",
    "seguiemj.ttf",
)
_FONT_ENDINGS: Final = (".ttf", ".otf", ".ttc")
_MAX_SYSTEM_FONTS: Final = 150
_JOINERS: Final = "\u200c\u200d"
_PROBE_SIZE: Final = 16
# A noncharacter, which no font has: it is drawn as the font's missing-glyph sign.
_NO_CHARACTER: Final = "\U0010ffff"


class Face:
    """One font: with shaping, without shaping, and in a small size to test which characters it has."""

    def __init__(self, font: FreeTypeFont, plain_font: FreeTypeFont, probe: FreeTypeFont | ImageFont.ImageFont) -> None:
        self._font = font
        self._plain_font = plain_font
        self._probe = probe
        self._missing = self._picture(_NO_CHARACTER)

    def font_for(self, text: str) -> FreeTypeFont:
        """Return the font for `text`: without shaping for lower-case ASCII letters, which takes half the time."""
        return self._plain_font if text.isascii() and text.isalpha() and text.islower() else self._font

    def covers(self, character: str) -> bool:
        """Return whether the font has a glyph for `character`: it looks different from the missing-glyph sign."""
        return self._picture(character) != self._missing

    def _picture(self, character: str) -> bytes:
        picture = Image.new("L", (3 * _PROBE_SIZE, 3 * _PROBE_SIZE))
        ImageDraw.Draw(picture).text((_PROBE_SIZE, _PROBE_SIZE), character, fill=255, font=self._probe)
        return picture.tobytes()


class Fonts:
    """The fonts at one size, the best first. Use from one thread at a time, as FreeType is not thread-safe."""

    def __init__(self, size: int, paths: Sequence[Path] | None = None) -> None:
        self.size = size
        self._unread = iter(_font_paths() if paths is None else paths)
        self._faces: list[Face] = []
        self.main = self._main().font_for(" ")
        self.find = lru_cache(maxsize=16384)(self._find)
        self.width = lru_cache(maxsize=16384)(self._width)

    def _main(self) -> Face:
        """Return the font for Latin letters: the first that can be read, else Pillow's default font."""
        for face in self._each_face():
            return face
        font = ImageFont.load_default(self.size)
        if not isinstance(font, FreeTypeFont):
            raise RuntimeError(
                "Pillow was built without FreeType, so pictures can't have text; install Pillow with FreeType."
            )
        self._faces.append(Face(font, font, ImageFont.load_default(_PROBE_SIZE)))
        return self._faces[-1]

    def _each_face(self) -> Iterator[Face]:
        """Yield the faces read so far, then read more; skip files that can't be read."""
        yield from tuple(self._faces)
        for path in self._unread:
            try:
                font = ImageFont.truetype(path, self.size)
                plain_font = ImageFont.truetype(path, self.size, layout_engine=ImageFont.Layout.BASIC)
                probe = ImageFont.truetype(path, _PROBE_SIZE, layout_engine=ImageFont.Layout.BASIC)
                face = Face(font, plain_font, probe)
            except (OSError, ValueError):  # not a font, or a bitmap font without this size, such as colour emoji
                continue
            self._faces.append(face)
            yield face

    def _find(self, cluster: str) -> Face | None:
        """Return the first font with all characters of `cluster`, else with its base character; None if none has it."""
        wanted = [c for c in cluster if c not in _JOINERS]
        for characters in (wanted, wanted[:1]):
            for face in self._each_face():
                if all(face.covers(c) for c in characters):
                    return face
        return None

    def _width(self, cluster: str) -> float:
        face = self.find(cluster)
        return self.box_width if face is None else face.font_for(cluster).getlength(cluster)

    @property
    def box_width(self) -> float:
        """Return the width of the box that replaces a character without a font."""
        return self.size * 0.7


def _font_paths() -> Iterator[Path]:
    for package in _PACKAGES:
        spec = importlib.util.find_spec(package)
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            paths = [path for path in _files_in(Path(folder)) if "Italic" not in path.name]
            # The font for Latin has the shortest name.
            yield from sorted(paths, key=lambda path: (_EMOJI in path.name, len(path.name), path.name))
    found: dict[str, Path] = {}
    for folder in _SYSTEM_FOLDERS:
        for path in sorted(_files_in(Path(os.path.expandvars(folder)).expanduser())):
            found.setdefault(path.name, path)
    others = [name for name in sorted(found) if name.startswith("NotoSans") and "-Regular." in name]
    names = [name for name in _SYSTEM_NAMES if name in found]
    names += [name for name in others if name not in names]
    yield from (found[name] for name in names[:_MAX_SYSTEM_FONTS])


def _files_in(folder: Path) -> Iterator[Path]:
    for root, _, names in os.walk(folder):  # skips folders that can't be read
        yield from (Path(root, name) for name in names if name.endswith(_FONT_ENDINGS))

"""HTML pages that look like a terminal and like a chat, and Chromium that makes a picture of one."""

import html
import re
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import pyte
from PIL import Image, ImageChops

_SCALE: Final = 2
_MARGIN: Final = 40
_TALLEST: Final = 3000
_COLOURS: Final = {
    "default": "#d8dee9",
    "black": "#3b4252",
    "red": "#e06c75",
    "green": "#98c379",
    "brown": "#e5c07b",
    "blue": "#61afef",
    "magenta": "#c678dd",
    "cyan": "#56b6c2",
    "white": "#d8dee9",
    "brightblack": "#7f8797",
}
_TERMINAL: Final = """<style>
body { margin: 0; background: #1e222a; }
pre { margin: 0; padding: 18px 22px; font: 15px/1.25 "DejaVu Sans Mono", monospace; color: #d8dee9; }
</style><pre>%s</pre>"""
_CHAT: Final = """<style>
body { margin: 0; background: #ffffff; color: #2b2d31; font: 15px/1.45 "Liberation Sans", Arial, sans-serif; }
main { padding: 18px 22px; }
.message { display: grid; grid-template-columns: 40px 1fr; column-gap: 14px; margin-bottom: 16px; }
.face { width: 40px; height: 40px; border-radius: 50%%; color: #fff; text-align: center; line-height: 40px; }
.name { font-weight: bold; } .app { background: #4a6fa5; color: #fff; font-size: 10px; border-radius: 3px;
 padding: 1px 4px; margin-left: 6px; vertical-align: 1px; }
.before { grid-column: 2; font-size: 12.5px; color: #6b6f78; }
.card { border: 1px solid #d9dce1; border-left: 4px solid #4a6fa5; border-radius: 5px; padding: 10px 14px;
 margin-top: 4px; max-width: 560px; }
.card img { max-width: 100%%; margin: 8px 0; border-radius: 3px; }
h2 { font-size: 18px; margin: 0 0 4px; } h3 { font-size: 16px; margin: 0 0 4px; }
small { color: #6b6f78; font-size: 12.5px; }
code { font: 13px "DejaVu Sans Mono", monospace; background: #eceef1; border-radius: 3px; padding: 1px 4px; }
.button { display: inline-block; background: #e3e5e8; border-radius: 5px; padding: 4px 14px; margin: 8px 6px 0 0;
 font-size: 14px; } .primary { background: #4a6fa5; color: #fff; }
.mention { background: #dde5f2; color: #34568b; border-radius: 3px; padding: 0 2px; }
</style><main>%s</main>"""


def terminal_page(lines: Sequence[dict[int, pyte.screens.Char]], columns: int) -> str:
    """Return a page of the lines of a terminal's screen, in its colours."""
    return _TERMINAL % "\n".join(_line(line, columns) for line in lines)


def _line(line: dict[int, pyte.screens.Char], columns: int) -> str:
    parts = []
    for column in range(columns):
        char = line[column]
        style = f"color:{_colour(char.fg)}" + (";font-weight:bold" if char.bold else "")
        if char.bg != "default":
            style += f";background:{_colour(char.bg)}"
        parts.append((style, html.escape(char.data)))
    while parts and not parts[-1][1].strip():
        parts.pop()
    return "".join(f'<span style="{style}">{text}</span>' for style, text in parts)


def _colour(name: str) -> str:
    """Return the colour that pyte names, or gives as six hexadecimal digits."""
    return f"#{name}" if re.fullmatch(r"[0-9a-f]{6}", name) else _COLOURS.get(name, _COLOURS["default"])


def chat_page(messages: Sequence[str]) -> str:
    """Return a page of messages, one below the other."""
    return _CHAT % "".join(messages)


def message_html(name: str, body: str, *, is_bot: bool, before: str = "") -> str:
    """Return one message of a chat; `before` is what it answers."""
    colour = "#4a6fa5" if is_bot else "#8a6d3b"
    sign = '<span class="app">APP</span>' if is_bot else ""
    above = f'<div class="before">{html.escape(before)}</div>' if before else ""
    return (
        f'<div class="message">{above}<div class="face" style="background:{colour}">{name[0]}</div>'
        f'<div><span class="name">{html.escape(name)}</span>{sign}<div>{body}</div></div></div>'
    )


def markdown_html(text: str) -> str:
    """Return Discord's markdown as HTML, as far as the bot writes it."""
    return "<br>".join(_markdown_line(line) for line in text.split("\n")).replace("</h2><br>", "</h2>")


def _markdown_line(line: str) -> str:
    for sign, tag in (("### ", "h3"), ("## ", "h2"), ("-# ", "small")):
        if line.startswith(sign):
            return f"<{tag}>{_inline(line[len(sign) :])}</{tag}>"
    return _inline(line)


def _inline(text: str) -> str:
    # What is escaped stands aside as a private character until the marks have been read.
    text = re.sub(r"\\([!-/:-@\[-`{-~])", lambda found: chr(0xE000 + ord(found[1])), text)
    text = html.escape(text, quote=False)
    text = re.sub(r"`([^`]+)`", r"<code>\1</code>", text)
    text = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", text)
    text = re.sub(r"&lt;@!?\d+&gt;", '<span class="mention">@Fewshot</span>', text)
    return re.sub(r"[\ue000-\ue07f]", lambda found: html.escape(chr(ord(found[0]) - 0xE000)), text)


def components_html(components: Sequence[dict[str, Any]], pictures: dict[str, str]) -> str:
    """Return cards, texts, pictures and buttons as HTML; `pictures` maps a URL to one that holds the bytes."""
    return "".join(_component(part, pictures) for part in components)


def _component(part: dict[str, Any], pictures: dict[str, str]) -> str:
    inner = components_html(part.get("components", ()), pictures)
    if part["type"] == 17:
        return f'<div class="card">{inner}</div>'
    if part["type"] == 10:
        return f"<div>{markdown_html(part['content'])}</div>"
    if part["type"] == 12:
        return "".join(f'<img src="{pictures[item["media"]["url"]]}">' for item in part["items"])
    if part["type"] == 2:
        look = "button primary" if part["style"] == 1 else "button"
        return f'<span class="{look}">{html.escape(part["label"])}</span>'
    return f"<div>{inner}</div>"


def take_picture(page: str, path: Path, *, width: int, chromium: str) -> None:
    """Write a PNG of `page`, `width` CSS pixels wide and as tall as what is on it."""
    with tempfile.TemporaryDirectory() as folder:
        shot = Path(folder) / "shot.png"
        document = f'<!doctype html><meta charset="utf-8">{page}'
        source = Path(folder) / "page.html"
        source.write_text(document, encoding="utf-8")
        arguments = ("--headless", "--no-sandbox", "--hide-scrollbars", f"--force-device-scale-factor={_SCALE}")
        subprocess.run(
            [
                chromium,
                *arguments,
                f"--window-size={width},{_TALLEST}",
                f"--screenshot={shot}",
                f"file://{quote(str(source))}",
            ],
            check=True,
            capture_output=True,
        )
        with Image.open(shot) as image:
            _cropped(image.convert("RGB")).quantize(128).save(path, optimize=True)


def _cropped(image: Image.Image) -> Image.Image:
    """Return `image` without the empty part at its bottom."""
    background = image.getpixel((0, image.height - 1))
    plain = Image.new("RGB", image.size, background)
    box = ImageChops.difference(image, plain).getbbox()
    bottom = image.height if box is None else min(image.height, box[3] + _MARGIN)
    return image.crop((0, 0, image.width, bottom))

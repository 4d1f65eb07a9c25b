"""Cards as one Slack message: blocks within Slack's limits, files for what does not fit."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bot.core.cards import Block, Card, Table, Text, TextFile
from bot.core.safe_text import replace_lone_surrogates
from bot.core.wording import shorten
from bot.pictures.picture import Picture
from bot.platforms.shared.drawing import draw_pictures, is_drawn
from bot.platforms.shared.plain_text import plain_block
from bot.platforms.slack.interactions.items import item_blocks, stop_block
from bot.platforms.slack.outgoing.blocks import Shown, show_block
from bot.platforms.slack.outgoing.escaping import escape_entities
from bot.platforms.slack.outgoing.rich_text import Json, paragraph, quiet, words

MAX_ALT_TEXT: Final = 2000
# Of the uploaded file; the image block has the longer one.
_MAX_FILE_ALT: Final = 1000
# Slack refuses about 13,000 characters in all blocks together, and does not say how it counts; this is half.
MAX_CHARACTERS: Final = 6_000
_MAX_FALLBACK: Final = 1_500
_MAX_FALLBACK_BYTES: Final = 3_900
_MAX_BLOCKS: Final = 40
_PICTURE_ID: Final = "picture:"
_IN_FILE: Final = "The complete text is in the file."
_NO_FILES: Final = "A file is missing here: the bot's token lacks the scope files:write."
_DONE: Final = "Done."
_WAITING: Final = "…"


@dataclass(frozen=True, slots=True)
class Attached:
    """A file as bytes; `alt` is the alt text of a picture."""

    name: str
    data: bytes
    alt: str = ""


@dataclass(frozen=True, slots=True)
class Rendering:
    """A rendered card: `text` for notifications, `blocks`, the `pictures` in them, and `files` beside the message."""

    text: str
    blocks: tuple[Json, ...]
    pictures: tuple[Attached, ...] = ()
    files: tuple[Attached, ...] = ()
    is_private: bool = False

    def looks_like(self, other: "Rendering | None") -> bool:
        """Say whether both look the same to a person."""
        return other is not None and (self.blocks, self.is_private) == (other.blocks, other.is_private)

    def blocks_with(self, file_ids: Sequence[str]) -> list[Json]:
        """Return the blocks with the uploaded pictures' ids, in the order of `pictures`."""
        id_of = {f"{_PICTURE_ID}{number}": file_id for number, file_id in enumerate(file_ids)}
        return [
            {**block, "slack_file": {"id": id_of[block["slack_file"]["id"]]}} if "slack_file" in block else block
            for block in self.blocks
        ]


async def prepare(card: Card) -> tuple[Picture, ...]:
    """Return the pictures of a finished card; none if drawing fails."""
    return await draw_pictures(card, max_alt_characters=MAX_ALT_TEXT)


def render(
    card: Card, *, pictures: Sequence[Picture] = (), stop_id: str | None = None, allows_files: bool = True
) -> Rendering:
    """Return the card rendered as one Slack message.

    `pictures` are those that `prepare` drew. `stop_id` adds a Stop button to a card that is not final. Without
    `allows_files` a line says that a file is missing.
    """
    is_private = card.answers == "private"
    if card.error is not None:
        text = f"⚠️ {' '.join(card.error.split())}"
        return Rendering(_fallback(text), (paragraph([words(shorten(text, 2000))]),), is_private=is_private)
    blocks, is_whole, attached = _body(card, pictures if allows_files else ())
    files = [] if card.file is None else [_text_file(card.file)]
    if not is_whole and card.is_final:
        files.insert(0, _whole_file(card))
        if allows_files:
            blocks.append(quiet(_IN_FILE))
    if files and not allows_files:
        blocks.append(quiet(_NO_FILES))
    if not blocks:
        blocks = [quiet(_DONE if card.is_final else _WAITING)]
    if card.is_final:
        blocks += item_blocks(card)
    elif stop_id is not None:
        blocks.append(stop_block(stop_id))
    plain = "\n".join(plain_block(block) for block in card.blocks)
    return Rendering(
        _fallback(plain or _DONE), tuple(blocks), attached, tuple(files) if allows_files else (), is_private
    )


def _fallback(text: str) -> str:
    """Return the text for notifications and screen readers; an update of a message with a longer one is refused."""
    text = replace_lone_surrogates(text)
    limit = _MAX_FALLBACK
    while len((shown := escape_entities(shorten(text, limit))).encode()) > _MAX_FALLBACK_BYTES:
        limit = limit * 2 // 3
    return shown


def _body(card: Card, pictures: Sequence[Picture]) -> tuple[list[Json], bool, tuple[Attached, ...]]:
    """Return the card's blocks, whether nothing was left out, and its pictures."""
    blocks = [block for block in card.blocks if not (isinstance(block, Text) and block.is_blank)]
    drawn = iter(pictures)
    picture_of = {i: next(drawn, None) for i, block in enumerate(blocks) if is_drawn(block)}
    table_at = next((i for i, block in enumerate(blocks) if isinstance(block, Table)), None)
    room = _rooms([block for i, block in enumerate(blocks) if picture_of.get(i) is None])
    shown: list[Json] = []
    attached: list[Attached] = []
    is_whole = True
    for i, block in enumerate(blocks):
        if (picture := picture_of.get(i)) is not None:
            shown.append(_image(picture, len(attached)))
            attached.append(Attached(f"{picture.name}.png", picture.png, shorten(picture.alt, _MAX_FILE_ALT)))
            continue
        one = show_block(block, room, is_title=i == 0 and len(blocks) > 1, allows_table=i == table_at)
        if len(shown) + len(one.blocks) > _MAX_BLOCKS:
            one = Shown(one.blocks[: _MAX_BLOCKS - len(shown)], is_whole=False)
        shown += one.blocks
        is_whole = is_whole and one.is_whole
    return shown, is_whole, tuple(attached)


def _rooms(blocks: Sequence[Block]) -> int:
    """Return how many characters each block may have, so that all of them fit: short ones leave room to long ones."""
    lengths = sorted(len(json.dumps(show_block(block, MAX_CHARACTERS).blocks, ensure_ascii=False)) for block in blocks)
    left, room = MAX_CHARACTERS, MAX_CHARACTERS
    for num_done, length in enumerate(lengths):
        room = left // (len(lengths) - num_done)
        if length > room:
            return room
        left -= length
    return MAX_CHARACTERS


def _image(picture: Picture, number: int) -> Json:
    alt = shorten(picture.alt, MAX_ALT_TEXT) or picture.name
    return {"type": "image", "slack_file": {"id": f"{_PICTURE_ID}{number}"}, "alt_text": alt}


def _text_file(file: TextFile) -> Attached:
    return Attached(file.name, file.text.encode("utf-8", "replace"))


def _whole_file(card: Card) -> Attached:
    text = "\n\n".join(plain_block(block) for block in card.blocks)
    return Attached("whole.txt", (text.rstrip("\n") + "\n").encode("utf-8", "replace"))

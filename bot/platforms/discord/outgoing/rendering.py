"""Cards as Discord messages: plain text for cards of text, components V2 for others, files for what does not fit."""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import discord

from bot.core.cards import Block, Card, Choices, Text, TextFile
from bot.core.splitting import split_text
from bot.pictures.picture import Picture
from bot.platforms.discord.interactions.items import CardButton, CardSelect, StopButton
from bot.platforms.discord.outgoing.blocks import GAP, show_block, show_text_whole
from bot.platforms.discord.outgoing.safe_markdown import escape_line, escape_text, utf16_length
from bot.platforms.shared.drawing import draw_pictures, is_drawn
from bot.platforms.shared.plain_text import plain_block

MAX_CONTENT: Final = 2000
MAX_LAYOUT_TEXT: Final = 4000
MAX_CHUNKS: Final = 3
MAX_ALT_TEXT: Final = 1024
_MAX_DISPLAYS: Final = 16
_ROW: Final = 5
_MAX_ROWS: Final = 5
_ACCENT: Final = 0xE8833A
_IN_PROGRESS_ACCENT: Final = 0x80848E
_IN_FILE: Final = "-# The complete text is in the file."
_ALL_IN_FILE: Final = "The answer is too long for a message, so it is in the file."
_NO_FILES: Final = "-# A file is missing here: the bot needs the permission Attach Files."
_DONE: Final = "Done."

View = discord.ui.View | discord.ui.LayoutView


@dataclass(frozen=True, slots=True)
class Attached:
    """A file as bytes, so that every try can send it from the start."""

    name: str
    data: bytes
    description: str | None = None

    def build(self) -> discord.File:
        """Return a file object for one try."""
        return discord.File(io.BytesIO(self.data), filename=self.name, description=self.description)


@dataclass(frozen=True, slots=True)
class Rendering:
    """A rendered card: either `content`, one text per message with `view` under the last, or one `layout`."""

    content: tuple[str, ...] = ()
    view: "discord.ui.View | None" = None
    layout: "discord.ui.LayoutView | None" = None
    files: tuple[Attached, ...] = ()
    is_private: bool = False

    @property
    def num_messages(self) -> int:
        """Return the number of messages."""
        return 1 if self.layout is not None else len(self.content)

    def looks_like(self, other: "Rendering | None") -> bool:
        """Say whether both look the same to a person; files are not compared."""
        return other is not None and self._look() == other._look()

    def _look(self) -> tuple[object, ...]:
        views = [view.to_components() for view in (self.view, self.layout) if view is not None]
        return self.content, views, self.is_private

    def is_last(self, chunk: int) -> bool:
        """Say whether message `chunk` (from 0) is the last one, which carries buttons and files."""
        return chunk == self.num_messages - 1

    def build_files(self) -> list[discord.File]:
        """Return the files for one try to send them."""
        return [file.build() for file in self.files]


@dataclass(slots=True)
class _Layout:
    """A layout that is being built, with its files."""

    allows_files: bool
    items: list[discord.ui.Item[Any]] = field(default_factory=list)
    files: list[Attached] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def attach(self, file: Attached) -> None:
        """Add a file, or a line that says that it is missing."""
        if self.allows_files:
            self.files.append(file)
            self.items.append(discord.ui.File(f"attachment://{file.name}"))
        elif _NO_FILES not in self.remarks:
            self.remarks.append(_NO_FILES)
            self.items.append(discord.ui.TextDisplay(_NO_FILES))


async def prepare(card: Card) -> tuple[Picture, ...]:
    """Return the pictures of a finished card; none if drawing fails."""
    return await draw_pictures(card, max_alt_characters=MAX_ALT_TEXT)


def render(
    card: Card,
    *,
    pictures: Sequence[Picture] = (),
    stop_id: str | None = None,
    as_layout: bool = False,
    is_one_message: bool = False,
    allows_files: bool = True,
) -> Rendering:
    """Return the card rendered for Discord.

    `pictures` are those that `prepare` drew. `stop_id` adds a Stop button to a card that is not final. `as_layout` asks
    for components V2, which a message that has them must keep; `is_one_message` allows one message only, since the
    second part of an answer to an interaction can't be sent safely. Without `allows_files` a line says that a file is
    missing.
    """
    is_private = card.answers == "private"
    items = _items(card, stop_id)
    if _is_words(card) and not as_layout and (allows_files or card.file is None):
        is_book = any(isinstance(block, Text) and len(block.text) > MAX_CHUNKS * MAX_CONTENT for block in card.blocks)
        content = _content(card) if not is_book else ("",) * (MAX_CHUNKS + 1)
        if not card.is_final and len(content) > 1:
            content = (_tail_of(card),)
        is_short = len(content) <= (1 if is_one_message else MAX_CHUNKS)
        fits_layout = not is_book and sum(map(utf16_length, content)) <= MAX_LAYOUT_TEXT
        files = _card_files(card)
        if is_short:
            return Rendering(content=content, view=_view(items), files=files, is_private=is_private)
        if allows_files and not (is_one_message and fits_layout):
            files = (_whole_file(card, "answer.txt"), *files)
            return Rendering(content=(_ALL_IN_FILE,), view=_view(items), files=files, is_private=is_private)
    layout, files = _layout(card, () if not allows_files else pictures, items, allows_files=allows_files)
    return Rendering(layout=layout, files=files, is_private=is_private)


# ---- buttons


def _items(card: Card, stop_id: str | None) -> list[list[discord.ui.Item[Any]]]:
    """Return the buttons and selects, row by row."""
    rows: list[list[discord.ui.Item[Any]]] = []
    if not card.is_final:
        return [[StopButton.of(stop_id)]] if stop_id else []
    card_id = card.open_card_id or (f"reply-{card.reply_id}" if card.reply_id else None)
    if card_id is None:
        return []
    rows += [[CardSelect.of(select, card_id, card.revision)] for select in card.selects if select.options]
    buttons = [CardButton.of(button, card_id, card.revision) for button in card.buttons]
    numbers = [button for button in buttons if (button.item.label or "").isdigit()]
    others = [button for button in buttons if button not in numbers]
    # If all buttons fit in one row, numbers stay in order with the others.
    groups = [buttons] if len(buttons) <= _ROW else [numbers, others]
    for group in groups:
        rows += [list(group[i : i + _ROW]) for i in range(0, len(group), _ROW)]
    return rows[:_MAX_ROWS]


def _view(rows: Sequence[Sequence[discord.ui.Item[Any]]]) -> "discord.ui.View | None":
    if not rows:
        return None
    view = discord.ui.View(timeout=None)
    for number, row in enumerate(rows):
        for item in row:
            item.row = number
            view.add_item(item)
    return view


# ---- plain messages


def _content(card: Card) -> tuple[str, ...]:
    """Return the texts of a card of text, one for each message."""
    if card.error is not None:
        return (_error(card.error),)
    chunks: list[str] = []
    for block in card.blocks:
        for piece in _pieces(block):
            if not piece.strip():
                continue
            if chunks and utf16_length(joined := f"{chunks[-1]}\n{piece}") <= MAX_CONTENT:
                chunks[-1] = joined
            else:
                chunks.append(piece)
    if not chunks:
        return (_DONE if card.is_final else "-# …",) if not card.file else ("",)
    return tuple(chunks)


def _error(sentence: str) -> str:
    text = f"⚠️ {escape_line(sentence)}"
    return text if utf16_length(text) <= MAX_CONTENT else text[: MAX_CONTENT // 2 - 1] + "…"


def _pieces(block: Block) -> list[str]:
    """Return a paragraph's text in pieces that each fit in a message."""
    if not isinstance(block, Text):
        return []

    def show(part: str) -> str:
        return show_text_whole(Text(part, block.is_model_text, block.is_quiet))

    # Escapes make a piece longer, depending on where it is cut; so smaller limits are tried if a piece is too long.
    for limit in (MAX_CONTENT, MAX_CONTENT - 100, MAX_CONTENT // 2):
        pieces = [show(part) for part in split_text(block.text, limit, length=lambda part: utf16_length(show(part)))]
        if all(utf16_length(piece) <= MAX_CONTENT for piece in pieces):
            return pieces
    return [escape_text(part) for part in split_text(block.text, MAX_CONTENT // 4, length=utf16_length)]


def _tail_of(card: Card) -> str:
    """Return the end of a text that is still being written, as much as fits in one message."""
    text = "\n".join(block.text for block in card.blocks if isinstance(block, Text) and not block.is_quiet)
    size = MAX_CONTENT - 200
    while size > 50:
        tail = text[-size:]
        space = tail.find(" ", 0, 100)
        shown = show_text_whole(Text(tail[space + 1 :], is_model_text=True))
        if utf16_length(shown) <= MAX_CONTENT - 3:
            return "…\n" + shown
        size = size * 2 // 3
    return "…"


# ---- components V2


def _layout(
    card: Card, pictures: Sequence[Picture], rows: Sequence[Sequence[discord.ui.Item[Any]]], *, allows_files: bool
) -> tuple["discord.ui.LayoutView", tuple[Attached, ...]]:
    made = _Layout(allows_files)
    if card.error is not None:
        made.items.append(discord.ui.TextDisplay(_error(card.error)))
    else:
        _add_blocks(made, card, pictures)
    if card.file is not None and card.error is None:
        made.attach(_text_file(card.file))
    if not made.items:
        made.items.append(discord.ui.TextDisplay(_DONE if card.is_final else "-# …"))
    made.items += [discord.ui.ActionRow(*row) for row in rows]
    view = discord.ui.LayoutView(timeout=None)
    if _is_words(card):
        # A card of text looks like an ordinary message.
        for item in made.items:
            view.add_item(item)
    else:
        accent = _ACCENT if card.is_final else _IN_PROGRESS_ACCENT
        view.add_item(discord.ui.Container(*made.items, accent_colour=accent))
    return view, tuple(made.files)


def _is_words(card: Card) -> bool:
    return card.error is not None or all(isinstance(block, Text) for block in card.blocks)


def _add_blocks(made: _Layout, card: Card, pictures: Sequence[Picture]) -> None:
    blocks = [block for block in card.blocks if not (isinstance(block, Text) and block.is_blank)]
    drawn = iter(pictures)
    picture_of = {i: next(drawn, None) for i, block in enumerate(blocks) if is_drawn(block)}
    texts, is_whole = _fit_blocks([None if picture_of.get(i) else block for i, block in enumerate(blocks)])
    paragraphs: list[str] = []

    def flush() -> None:
        if paragraphs:
            made.items.append(discord.ui.TextDisplay("\n".join(paragraphs)))
            paragraphs.clear()

    is_dense = len(blocks) > _MAX_DISPLAYS
    was_text = False
    for i, block in enumerate(blocks):
        if picture := picture_of.get(i):
            flush()
            made.items.append(_picture(made, picture, i))
            continue
        # Paragraphs are joined; tables, bars and choices get a text display of their own.
        if not (is_dense or (was_text and isinstance(block, Text))):
            flush()
        was_text = isinstance(block, Text)
        parts = texts[i].split(GAP) if isinstance(block, Choices) else [texts[i]]
        for number, part in enumerate(parts):
            if number and not is_dense:
                flush()
            if part.strip():
                paragraphs.append(part)
    is_cut = not is_whole and card.is_final
    if is_cut and made.allows_files:
        paragraphs.append(_IN_FILE)
    flush()
    if is_cut:
        made.attach(_whole_file(card, "whole.txt"))


def _fit_blocks(blocks: Sequence[Block | None]) -> tuple[list[str], bool]:
    """Return each block's markdown, shortened so that all fit in one message, and whether nothing was left out."""
    budget = MAX_LAYOUT_TEXT - 2 * len(_NO_FILES) - len(blocks) - 1
    is_many = len(blocks) > 1

    def show(i: int, room: int) -> tuple[str, bool]:
        block = blocks[i]
        if block is None:
            return "", True
        shown = show_block(block, room, is_title=is_many and i == 0)
        return shown.text, shown.is_whole

    shown = [show(i, budget) for i in range(len(blocks))]
    total = sum(utf16_length(text) for text, _ in shown)
    if total > budget:
        # Short blocks stay whole, long ones share the remaining space.
        lengths = sorted(utf16_length(text) for text, _ in shown)
        left, share = budget, 0
        for num_done, length in enumerate(lengths):
            share = left // (len(lengths) - num_done)
            if length > share:
                break
            left -= length
        shown = [
            (text, whole) if utf16_length(text) <= share else show(i, share) for i, (text, whole) in enumerate(shown)
        ]
    # A block that can't be made short enough appears only in the file.
    kept: list[str] = []
    is_whole = all(whole for _, whole in shown)
    left = budget
    for text, _ in shown:
        left -= utf16_length(text)
        kept.append(text if left >= 0 else "")
        is_whole = is_whole and left >= 0
    return kept, is_whole


def _picture(made: _Layout, picture: Picture, number: int) -> discord.ui.Item[Any]:
    name = f"{picture.name}-{number}.png"
    made.files.append(Attached(name, picture.png, picture.alt))
    return discord.ui.MediaGallery(discord.MediaGalleryItem(f"attachment://{name}", description=picture.alt))


# ---- files


def _card_files(card: Card) -> tuple[Attached, ...]:
    return (_text_file(card.file),) if card.file is not None and card.error is None else ()


def _text_file(file: TextFile) -> Attached:
    # A layout refers to the file by this name, and Discord replaces all other characters.
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", file.name).strip("._") or "file.txt"
    return Attached(name, file.text.encode("utf-8", "replace"))


def _whole_file(card: Card, name: str) -> Attached:
    text = "\n\n".join(plain_block(block) for block in card.blocks)
    return Attached(name, (text.rstrip("\n") + "\n").encode("utf-8", "replace"))

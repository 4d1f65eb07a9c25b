"""Cards as text for a terminal: styled fragments with colours, plain lines without."""

from collections.abc import Sequence
from typing import Final

from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.formatted_text.utils import fragment_list_to_text
from prompt_toolkit.utils import get_cwidth

from bot.core.cards import Bars, Block, Card, Choices, Facts, Progress, Table, Text, TintedText, Verbatim
from bot.core.safe_text import clean_model_text

# One hue, from pale to strong, each with a text colour that is readable on it.
_TINTS: Final = (
    (4.0, ""),
    (7.0, "bg:#fde6c8 fg:#000000"),
    (10.0, "bg:#fdc38a fg:#000000"),
    (14.0, "bg:#f59b4c fg:#000000"),
    (float("inf"), "bg:#c75a00 fg:#ffffff"),
)
_BAR_WIDTH: Final = 30
_MAX_CELL: Final = 60
QUIET_STYLE: Final = "fg:#888888"
MODEL_STYLE: Final = "bold"


def _tint(bits: float | None) -> str:
    if bits is None:
        return ""
    return next(style for limit, style in _TINTS if bits < limit)


def _clip(text: str, width: int) -> str:
    text = " ".join(text.split())
    return text if get_cwidth(text) <= width else text[: max(1, width - 1)] + "…"


def _pad(text: str, width: int) -> str:
    return text + " " * max(0, width - get_cwidth(text))


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(_pad(cell, width) for cell, width in zip(cells, widths, strict=True)).rstrip() + "\n"


def _table(table: Table) -> StyleAndTextTuples:
    cells = [[_clip(cell, _MAX_CELL) for cell in row] for row in table.rows]
    widths = [max([get_cwidth(name), *(get_cwidth(row[i]) for row in cells)]) for i, name in enumerate(table.columns)]
    lines: StyleAndTextTuples = []
    if any(table.columns):
        lines.append((QUIET_STYLE, _row(table.columns, widths)))
    lines += [("", _row(row, widths)) for row in cells]
    return lines


def _bars(bars: Bars) -> StyleAndTextTuples:
    items = [*bars.items, *([(bars.rest_name, bars.rest)] if bars.rest_name else [])]
    width = max(get_cwidth(name) for name, _ in items)
    largest = max((fraction for _, fraction in items), default=0) or 1
    lines: StyleAndTextTuples = []
    for i, (name, fraction) in enumerate(items):
        bar = "█" * round(_BAR_WIDTH * fraction / largest) or "▏"
        style = QUIET_STYLE if i == len(bars.items) else "fg:#c75a00"
        lines += [("", f"{_pad(name, width)}  "), (style, _pad(bar, _BAR_WIDTH)), ("", f"  {fraction:6.1%}\n")]
    return lines


def _choices(choices: Choices) -> StyleAndTextTuples:
    lines: StyleAndTextTuples = []
    tail = choices.prompt if len(choices.prompt) <= 200 else "…" + choices.prompt[-200:]
    if not choices.options:
        return [("", tail + "\n")]
    for i, option in enumerate(choices.options):
        lines += [("", f"{choices.first_number + i}  {tail}"), (MODEL_STYLE, clean_model_text(option)), ("", "\n")]
    return lines


def render_block(block: Block, *, is_colored: bool) -> StyleAndTextTuples:
    """Return one block as styled lines, each ending in a line break."""
    match block:
        case Text():
            style = MODEL_STYLE if block.is_model_text and is_colored else QUIET_STYLE if block.is_quiet else ""
            return [(style, (clean_model_text(block.text) if block.is_model_text else block.text) + "\n")]
        case Facts():
            return [("", " · ".join(f"{name} {value}" for name, value in block.items) + "\n")]
        case Table():
            return _table(block)
        case Bars():
            return _bars(block)
        case TintedText():
            if not is_colored:
                return []
            return [*((_tint(bits), piece) for piece, bits in block.pieces), ("", "\n")]
        case Choices():
            return _choices(block)
        case Verbatim():
            return [("", block.text + "\n")]
        case Progress():
            total = "" if block.num_total is None else f" {block.num_done:,} of {block.num_total:,}"
            return [(QUIET_STYLE, f"{block.what}{total}\n")]


def render_card(card: Card, *, is_colored: bool) -> StyleAndTextTuples:
    """Return the card as styled lines; an error is one line."""
    if card.error is not None:
        return [("fg:#c75a00" if is_colored else "", card.error + "\n")]
    fragments: StyleAndTextTuples = []
    for block in card.blocks:
        fragments += render_block(block, is_colored=is_colored)
    if card.file is not None:
        fragments.append(("", card.file.text.rstrip("\n") + "\n"))
    # The buttons of a completion can be typed as words; the buttons of other cards have commands.
    if card.buttons and is_colored and card.data.get("command") == "complete":
        fragments.append((QUIET_STYLE, "type " + " · ".join(button.action for button in card.buttons) + "\n"))
    return fragments


def plain_text(fragments: StyleAndTextTuples) -> str:
    """Return the text of styled fragments without the styles."""
    return fragment_list_to_text(fragments)

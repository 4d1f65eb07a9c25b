"""Cards as text for a terminal: styled fragments with colours, plain lines without."""

from typing import Final

from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.formatted_text.utils import fragment_list_to_text
from prompt_toolkit.utils import get_cwidth

from bot.core.bar_signs import bar_of
from bot.core.cards import Bars, Block, Card, Choices, Contrast, Facts, Progress, Table, Text, TintedText, Verbatim
from bot.core.safe_text import clean_model_text
from bot.platforms.terminal.tables import QUIET_STYLE, pad, render_table
from bot.platforms.terminal.wrapping import clip, wrap

# One hue, from pale to strong, each with a text colour that is readable on it.
_TINTS: Final = (
    (4.0, ""),
    (7.0, "bg:#fde6c8 fg:#000000"),
    (10.0, "bg:#fdc38a fg:#000000"),
    (14.0, "bg:#f59b4c fg:#000000"),
    (float("inf"), "bg:#c75a00 fg:#ffffff"),
)
_BAR_WIDTH: Final = 30
MODEL_STYLE: Final = "bold"


def _tint(bits: float | None) -> str:
    if bits is None:
        return ""
    return next(style for limit, style in _TINTS if bits < limit)


def _bars(bars: Bars, width: int | None) -> StyleAndTextTuples:
    items = [*bars.items, *([(bars.rest_name, bars.rest)] if bars.rest_name else [])]
    name_width = max((get_cwidth(name) for name, _ in items), default=0)
    bar_width = _BAR_WIDTH
    if width is not None:
        name_width = min(name_width, max(4, min(width // 2, width - 14)))
        bar_width = max(4, min(_BAR_WIDTH, width - name_width - len("    100.0%")))
    # A rest may be nearly everything, so it has no bar, and the others are relative to the longest one.
    largest = max((fraction for _, fraction in bars.items), default=0) or 1
    lines: StyleAndTextTuples = []
    for i, (name, fraction) in enumerate(items):
        is_rest = i == len(bars.items)
        bar = "" if is_rest else bar_of(fraction / largest, bar_width)
        style = QUIET_STYLE if is_rest else ""
        shown = name if width is None else clip(name, name_width)
        lines += [(style, f"{pad(shown, name_width)}  "), ("fg:#c75a00", pad(bar, bar_width))]
        lines.append((style, f"  {fraction:6.1%}\n"))
    return lines


def _choices(choices: Choices, width: int | None) -> StyleAndTextTuples:
    lines: StyleAndTextTuples = []
    tail = choices.prompt if len(choices.prompt) <= 200 else "…" + choices.prompt[-200:]
    if not choices.options:
        return _wrapped([("", tail + "\n")], width)
    num_cells = max(map(len, choices.heads))
    for head, option in zip(choices.heads, choices.options, strict=True):
        padded = f"{head:<{num_cells}}  "
        line: StyleAndTextTuples = [("", padded + tail), (MODEL_STYLE, clean_model_text(option)), ("", "\n")]
        lines += _wrapped(line, width, hang=len(padded))
    return lines


def _facts(facts: Facts, width: int | None) -> StyleAndTextTuples:
    lines: list[str] = []
    for name, value in facts.items:
        fact = f"{name} {value}"
        longer = f"{lines[-1]} · {fact}" if lines else fact
        if lines and (width is None or get_cwidth(longer) <= width):
            lines[-1] = longer
        else:
            lines.append(fact)
    return _wrapped([("", "".join(f"{line}\n" for line in lines) or "\n")], width)


def _wrapped(fragments: StyleAndTextTuples, width: int | None, *, hang: int = 0) -> StyleAndTextTuples:
    """Return lines of styled text, which end in a line break, in rows of at most `width` cells."""
    if width is None:
        return fragments
    return [fragment for row in wrap(fragments, width, hang=hang) for fragment in [*row, ("", "\n")]]


def render_block(block: Block, *, is_colored: bool, width: int | None = None) -> StyleAndTextTuples:
    """Return one block as styled lines, each ending in a line break, and none wider than `width`.

    Verbatim text keeps its lines, so that it can be copied.
    """
    match block:
        case Text():
            style = MODEL_STYLE if block.is_model_text and is_colored else QUIET_STYLE if block.is_quiet else ""
            text = clean_model_text(block.text) if block.is_model_text else block.text
            return _wrapped([(style, text + "\n")], width)
        case Facts():
            return _facts(block, width)
        case Table():
            return render_table(block, width)
        case Bars():
            return _bars(block, width)
        case TintedText():
            if not is_colored:
                return []
            return _wrapped([*((_tint(bits), piece) for piece, bits in block.pieces), ("", "\n")], width)
        case Contrast():
            return [line for table in block.tables for line in render_table(table, width)]
        case Choices():
            return _choices(block, width)
        case Verbatim():
            return [("", block.text + "\n")]
        case Progress():
            total = "" if block.num_total is None else f" {block.num_done:,} of {block.num_total:,}"
            return _wrapped([(QUIET_STYLE, f"{block.what}{total}\n")], width)


def render_card(card: Card, *, is_colored: bool, width: int | None = None) -> StyleAndTextTuples:
    """Return the card as styled lines of at most `width` cells; without a width an error is one line."""
    if card.error is not None:
        return _wrapped([("fg:#c75a00" if is_colored else "", card.error + "\n")], width)
    fragments: StyleAndTextTuples = []
    for block in card.blocks:
        fragments += render_block(block, is_colored=is_colored, width=width)
    if card.file is not None:
        fragments.append(("", card.file.text.rstrip("\n") + "\n"))
    # The buttons of continuations can be typed as words; the buttons of other cards have commands.
    if card.buttons and is_colored and card.data.get("command") in ("complete", "strategies", "story"):
        words = "type " + " · ".join(button.action for button in card.buttons) + "\n"
        fragments += _wrapped([(QUIET_STYLE, words)], width)
    return fragments


def plain_text(fragments: StyleAndTextTuples) -> str:
    """Return the text of styled fragments without the styles."""
    return fragment_list_to_text(fragments)

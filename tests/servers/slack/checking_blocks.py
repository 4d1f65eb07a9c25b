"""Slack's limits of blocks, by their type and where they show."""

from collections.abc import Callable
from typing import Any, Literal

from tests.servers.slack.checking_elements import (
    IN_ACTIONS,
    IN_INPUT,
    IN_SECTION,
    MOST_ID,
    HasImage,
    check_element,
    check_image,
)
from tests.servers.slack.counting import Findings

Json = dict[str, Any]
Surface = Literal["message", "modal", "home"]
MOST_MARKDOWN, MOST_TABLE = 12_000, 10_000
MOST_BLOCKS: dict[Surface, int] = {"message": 50, "modal": 100, "home": 100}
FIELDS = {
    "section": ("text", "fields", "accessory", "expand"),
    "header": ("text",),
    "divider": (),
    "context": ("elements",),
    "actions": ("elements",),
    "image": ("image_url", "slack_file", "alt_text", "title"),
    "markdown": ("text",),
    "table": ("rows", "column_settings"),
    "input": ("label", "element", "dispatch_action", "hint", "optional"),
    "rich_text": ("elements",),
    "context_actions": ("elements",),
}
ONLY_IN_MESSAGES = ("markdown", "table", "context_actions")
RICH_PARTS = ("rich_text_section", "rich_text_list", "rich_text_preformatted", "rich_text_quote")
RICH_ELEMENTS = ("text", "link", "user", "usergroup", "channel", "emoji", "broadcast", "date", "color", "team")


def check_blocks(found: Findings, where: str, blocks: object, surface: Surface, has_image: HasImage) -> None:
    """Check the blocks of a message, a modal or a Home tab."""
    placed = found.objects(where, blocks, 0, MOST_BLOCKS[surface])
    for place, block in placed:
        check_block(found, place, block, surface, has_image)
    ids = [block["block_id"] for _, block in placed if block.get("block_id")]
    found.unique(where, "block_id", ids)
    markdown = sum(_length(block.get("text")) for _, block in placed if block.get("type") == "markdown")
    if markdown > MOST_MARKDOWN:
        found.say(where, f"markdown blocks must be less than {MOST_MARKDOWN + 1} characters together")
    tables = [block for _, block in placed if block.get("type") == "table"]
    if len(tables) > 1:
        found.say(where, "only_one_table_allowed")


def check_block(found: Findings, where: str, block: Json, surface: Surface, has_image: HasImage) -> None:
    kind = block.get("type")
    if not found.one_of(f"{where}/type", kind, FIELDS):
        return
    assert isinstance(kind, str)
    if surface != "message" and kind in ONLY_IN_MESSAGES:
        found.say(f"{where}/type", f"{kind} blocks are not allowed in a {surface}")
    found.fields(where, block, ("type", "block_id", *FIELDS[kind]))
    found.text(f"{where}/block_id", block.get("block_id"), 1, MOST_ID, needed=False)
    _CHECKS[kind](found, where, block, has_image)


def _section(found: Findings, where: str, block: Json, has_image: HasImage) -> None:
    if block.get("text") is None and block.get("fields") is None:
        found.say(where, "must have text or fields")
    found.text_object(f"{where}/text", block.get("text"), 3000, needed=False)
    for place, field in found.objects(f"{where}/fields", block.get("fields"), 1, 10, needed=False):
        found.text_object(place, field, 2000)
    accessory = found.object(f"{where}/accessory", block.get("accessory"), needed=False)
    if accessory is not None:
        check_element(found, f"{where}/accessory", accessory, IN_SECTION, has_image)
    found.flag(f"{where}/expand", block.get("expand"))


def _header(found: Findings, where: str, block: Json, _: HasImage) -> None:
    found.plain(f"{where}/text", block.get("text"), 150)


def _divider(found: Findings, where: str, block: Json, _: HasImage) -> None:
    """Nothing but the type belongs to a divider."""


def _context(found: Findings, where: str, block: Json, has_image: HasImage) -> None:
    for place, element in found.objects(f"{where}/elements", block.get("elements"), 1, 10):
        if element.get("type") == "image":
            check_element(found, place, element, frozenset({"image"}), has_image)
        else:
            # The documentation names no limit here; sections have this one.
            found.text_object(place, element, 3000)


def _actions(found: Findings, where: str, block: Json, has_image: HasImage) -> None:
    placed = found.objects(f"{where}/elements", block.get("elements"), 1, 25)
    for place, element in placed:
        check_element(found, place, element, IN_ACTIONS, has_image)
    found.unique(
        f"{where}/elements", "action_id", [element["action_id"] for _, element in placed if element.get("action_id")]
    )


def _image(found: Findings, where: str, block: Json, has_image: HasImage) -> None:
    check_image(found, where, block, has_image)
    found.plain(f"{where}/title", block.get("title"), 2000, needed=False)


def _markdown(found: Findings, where: str, block: Json, _: HasImage) -> None:
    found.text(f"{where}/text", block.get("text"), 1, MOST_MARKDOWN)


def _table(found: Findings, where: str, block: Json, _: HasImage) -> None:
    rows = block.get("rows")
    if not isinstance(rows, list) or not 1 <= len(rows) <= 100:
        found.say(f"{where}/rows", "must be an array of 1 to 100 rows")
        return
    total = 0
    widths = set()
    for number, row in enumerate(rows):
        cells = found.objects(f"{where}/rows/{number}", row, 1, 20)
        widths.add(len(cells))
        for place, cell in cells:
            total += _cell(found, place, cell)
    if len(widths) > 1:
        found.say(f"{where}/rows", "must all have the same number of cells")
    if total > MOST_TABLE:
        found.say(f"{where}/rows", f"must be less than {MOST_TABLE + 1} characters together")
    settings = block.get("column_settings")
    if settings is not None and (not isinstance(settings, list) or len(settings) > 20):
        found.say(f"{where}/column_settings", "must be an array of at most 20 items")
        return
    for number, one in enumerate(settings or ()):
        if one is not None:
            place = f"{where}/column_settings/{number}"
            found.fields(place, one, ("align", "is_wrapped"))
            found.one_of(f"{place}/align", one.get("align"), ("left", "center", "right"), needed=False)


def _cell(found: Findings, where: str, cell: Json) -> int:
    """Check a cell and return its characters."""
    if not found.one_of(f"{where}/type", cell.get("type"), ("raw_text", "raw_number", "rich_text")):
        return 0
    if cell["type"] == "rich_text":
        _rich_text(found, where, cell)
        return sum(
            _length(part.get("text")) for line in cell.get("elements") or () for part in line.get("elements") or ()
        )
    found.text(f"{where}/text", cell.get("text"), 1, 3000)
    return _length(cell.get("text"))


def _input(found: Findings, where: str, block: Json, has_image: HasImage) -> None:
    found.plain(f"{where}/label", block.get("label"), 2000)
    found.plain(f"{where}/hint", block.get("hint"), 2000, needed=False)
    found.flag(f"{where}/optional", block.get("optional"))
    found.flag(f"{where}/dispatch_action", block.get("dispatch_action"))
    element = found.object(f"{where}/element", block.get("element"))
    if element is not None:
        check_element(found, f"{where}/element", element, IN_INPUT, has_image)


def _rich_text(found: Findings, where: str, block: Json, _: HasImage | None = None) -> None:
    for place, part in found.objects(f"{where}/elements", block.get("elements"), 0, 1000):
        if not found.one_of(f"{place}/type", part.get("type"), RICH_PARTS):
            continue
        for spot, element in found.objects(f"{place}/elements", part.get("elements"), 0, 1000):
            kinds = ("rich_text_section",) if part["type"] == "rich_text_list" else RICH_ELEMENTS
            found.one_of(f"{spot}/type", element.get("type"), kinds)
            if element.get("type") == "text":
                found.text(f"{spot}/text", element.get("text"), 1, 4000)


def _context_actions(found: Findings, where: str, block: Json, _: HasImage) -> None:
    for place, element in found.objects(f"{where}/elements", block.get("elements"), 1, 5):
        if found.one_of(f"{place}/type", element.get("type"), ("feedback_buttons", "icon_button")):
            found.text(f"{place}/action_id", element.get("action_id"), 1, MOST_ID, needed=False)


def _length(text: object) -> int:
    return len(text) if isinstance(text, str) else 0


_CHECKS: dict[str, Callable[[Findings, str, Json, HasImage], None]] = {
    "section": _section,
    "header": _header,
    "divider": _divider,
    "context": _context,
    "actions": _actions,
    "image": _image,
    "markdown": _markdown,
    "table": _table,
    "input": _input,
    "rich_text": _rich_text,
    "context_actions": _context_actions,
}

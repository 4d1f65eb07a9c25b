"""What a person reads in a message or view, and the buttons and fields that they find in it."""

from collections.abc import Iterator
from typing import Any

from tests.servers.slack.checking_elements import MULTI_SELECTS, SELECTS
from tests.servers.slack.errors import NotOffered
from tests.servers.slack.objects import Message, View

Json = dict[str, Any]
CHOOSERS = SELECTS | MULTI_SELECTS | {"overflow", "radio_buttons", "checkboxes"}


def blocks_of(shown: Message | View) -> list[Json]:
    return shown.blocks if isinstance(shown, Message) else list(shown.payload["blocks"])


def visible_text(shown: Message | View) -> str:
    """Return the text of a message or view: its blocks, or without any the message's text."""
    lines = [line for block in blocks_of(shown) for line in _lines(block)]
    if isinstance(shown, View):
        return "\n".join([shown.title, *lines] if shown.title else lines)
    if shown.markdown:
        lines.insert(0, shown.markdown)
    lines += [f"[file: {file.title}]" for file in shown.files]
    return "\n".join(lines or [shown.text])


def _lines(block: Json) -> Iterator[str]:
    kind = block["type"]
    if kind in ("section", "header", "markdown"):
        if block.get("text"):
            yield _text(block["text"])
        yield from (_text(field) for field in block.get("fields") or ())
    elif kind == "context":
        yield " ".join(_text(one) if one["type"] != "image" else f"[{one['alt_text']}]" for one in block["elements"])
    elif kind == "image":
        yield f"[image: {block['alt_text']}]"
    elif kind == "table":
        yield from (" | ".join(_cell(cell) for cell in row) for row in block["rows"])
    elif kind == "input":
        yield _text(block["label"])
    elif kind == "rich_text":
        yield _rich(block)
    elif kind == "divider":
        yield "---"


def _text(text: Json | str) -> str:
    return text if isinstance(text, str) else str(text.get("text", ""))


def _cell(cell: Json) -> str:
    return _rich(cell) if cell["type"] == "rich_text" else str(cell.get("text", ""))


def _rich(block: Json) -> str:
    return "".join(
        _rich(element) if "elements" in element else str(element.get("text") or element.get("url") or "")
        for element in block.get("elements") or ()
    )


def elements_of(shown: Message | View) -> Iterator[tuple[Json, Json]]:
    """Yield every element that can be used, with the block that it is in."""
    for block in blocks_of(shown):
        for element in block.get("elements") or ():
            if block["type"] == "actions":
                yield block, element
        for key in ("accessory", "element"):
            if isinstance(block.get(key), dict) and block[key]["type"] != "image":
                yield block, block[key]


def labels(shown: Message | View) -> list[str]:
    """Return the labels of the buttons, in order."""
    return [element["text"]["text"] for _, element in elements_of(shown) if element["type"] == "button"]


def find_element(shown: Message | View, name: str, *, kinds: frozenset[str]) -> tuple[Json, Json]:
    """Return the element of these kinds with that label, placeholder, action_id or value, and its block.

    Raises:
        NotOffered: There is none.
    """
    found = [(block, element) for block, element in elements_of(shown) if element["type"] in kinds]
    for block, element in found:
        names = (_text(element.get("text") or ""), _text(element.get("placeholder") or ""), element.get("action_id"))
        if name in (*names, element.get("value"), _text(block.get("label") or "")):
            return block, element
    raise NotOffered(f"there is no {name!r} among {[_name(element) for _, element in found]}")


def _name(element: Json) -> str:
    return _text(element.get("text") or element.get("placeholder") or "") or str(element.get("action_id"))


def find_option(element: Json, name: str) -> Json:
    """Return the option with that label or value. Raises NotOffered."""
    options = list(element.get("options") or ())
    for group in element.get("option_groups") or ():
        options += group["options"]
    for option in options:
        if name in (_text(option["text"]), option["value"]):
            return dict(option)
    raise NotOffered(f"there is no option {name!r} among {[_text(option['text']) for option in options]}")

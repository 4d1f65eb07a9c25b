"""Discord's limits on the components of messages and forms."""

from collections.abc import Callable
from typing import Any

from tests.servers.discord.counting import Findings

ROW, BUTTON, SELECT, TEXT_INPUT, SECTION, TEXT, THUMBNAIL, GALLERY, FILE, SEPARATOR, CONTAINER, LABEL = (
    *range(1, 5),
    *range(9, 15),
    17,
    18,
)
# Of users, roles, both, channels.
OTHER_SELECTS = frozenset({5, 6, 7, 8})
SELECTS = OTHER_SELECTS | {SELECT}
UPLOAD, RADIOS, CHECKBOXES, CHECKBOX = 19, 21, 22, 23

IN_CONTAINER = frozenset({ROW, SECTION, TEXT, GALLERY, FILE, SEPARATOR})
V2_ONLY = (IN_CONTAINER | {CONTAINER}) - {ROW}
IN_LABEL = SELECTS | {TEXT_INPUT, UPLOAD, RADIOS, CHECKBOXES, CHECKBOX}
LINK, PREMIUM = 5, 6

NAMES = {
    ROW: "a row",
    BUTTON: "a button",
    SELECT: "a select",
    TEXT_INPUT: "a text input",
    SECTION: "a section",
    TEXT: "a text",
    THUMBNAIL: "a thumbnail",
    GALLERY: "a gallery",
    FILE: "a file",
    SEPARATOR: "a separator",
    CONTAINER: "a container",
    LABEL: "a label",
    UPLOAD: "a file upload",
    RADIOS: "radio buttons",
    CHECKBOXES: "checkboxes",
    CHECKBOX: "a checkbox",
    **dict.fromkeys(OTHER_SELECTS, "a select"),
}


def needs_v2(components: object) -> bool:
    """Return whether a message with these components needs the flag of components V2."""
    listed = components if isinstance(components, list) else []
    kinds = [one.get("type") for one in listed if isinstance(one, dict)]
    return any(kind == number for kind in kinds for number in V2_ONLY)


def check_message_components(found: Findings, components: object, *, v2: bool) -> list[str]:
    """Check the components of a message and return the addresses of the media that they show."""
    walk = _Walk(found, modal=False)
    if v2:
        walk.children("components", components, V2_ONLY | {ROW}, 0, 40)
    elif components is not None:
        walk.children("components", components, frozenset({ROW}), 0, 5)
    if walk.count > 40 and not (isinstance(components, list) and len(components) > 40):
        found.say("components", f"are {walk.count}, nested ones counted; Discord allows 40")
    if walk.characters > 4000:
        found.say("components", f"have {walk.characters:,} characters of text together; Discord allows 4,000")
    walk.finish()
    return walk.urls


def check_modal_components(found: Findings, components: object) -> None:
    walk = _Walk(found, modal=True)
    walk.children("components", components, frozenset({ROW, TEXT, LABEL}), 1, 5)
    walk.finish()


class _Walk:
    """One pass over a tree of components, with what is counted over all of it."""

    def __init__(self, found: Findings, *, modal: bool) -> None:
        self._found = found
        self._modal = modal
        self._ids: list[object] = []
        self._custom_ids: list[object] = []
        self.count = 0
        self.characters = 0
        self.urls: list[str] = []
        self._checks: dict[int, Callable[[str, dict[str, Any]], None]] = {
            ROW: self._row,
            BUTTON: self._button,
            TEXT_INPUT: self._text_input,
            SECTION: self._section,
            TEXT: self._text,
            THUMBNAIL: self._media,
            GALLERY: self._gallery,
            FILE: self._file,
            SEPARATOR: self._separator,
            CONTAINER: self._container,
            LABEL: self._label,
            UPLOAD: self._upload,
            RADIOS: self._group,
            CHECKBOXES: self._group,
            CHECKBOX: self._named,
            **dict.fromkeys(SELECTS, self._select),
        }

    def finish(self) -> None:
        self._found.unique("components", "custom_id", self._custom_ids)
        self._found.unique("components", "id", self._ids)

    def children(self, where: str, items: object, allowed: frozenset[int], least: int, most: int) -> None:
        for place, item in self._found.objects(where, items, least, most):
            self._component(place, item, allowed)

    def _component(self, where: str, item: object, allowed: frozenset[int]) -> None:
        self.count += 1
        if not isinstance(item, dict):
            self._found.say(where, "is missing" if item is None else "must be an object")
            return
        kind = item.get("type")
        if not isinstance(kind, int) or kind not in allowed:
            name = NAMES.get(kind, f"a component of type {kind!r}") if isinstance(kind, int) else "no component"
            self._found.say(where, f"is {name}, which may not stand there")
            return
        self._found.number(f"{where}.id", item.get("id"), 0, 2**31 - 1)
        # An id of 0 is one that Discord chooses.
        if isinstance(item.get("id"), int) and item["id"] != 0:
            self._ids.append(item["id"])
        self._checks[kind](where, item)

    def _row(self, where: str, row: dict[str, Any]) -> None:
        allowed = frozenset({TEXT_INPUT}) if self._modal else SELECTS | {BUTTON}
        self.children(f"{where}.components", row.get("components"), allowed, 1, 5)
        parts = row.get("components")
        kinds = [part.get("type") for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []
        if len(kinds) > 1 and any(kind != BUTTON for kind in kinds):
            self._found.say(where, "may have up to 5 buttons or one other component")
        for number, part in enumerate(parts if self._modal and isinstance(parts, list) else []):
            if isinstance(part, dict):
                self._found.text(f"{where}.components[{number}].label", part.get("label"), 1, 45)

    def _named(self, where: str, item: dict[str, Any]) -> None:
        if self._found.text(f"{where}.custom_id", item.get("custom_id"), 1, 100):
            self._custom_ids.append(item["custom_id"])

    def _emoji(self, where: str, emoji: object) -> None:
        if emoji is not None:
            self._found.text(f"{where}.name", emoji.get("name") if isinstance(emoji, dict) else None, 1, 32)

    def _button(self, where: str, button: dict[str, Any]) -> None:
        self._found.text(f"{where}.label", button.get("label"), 0, 80, needed=False)
        self._emoji(f"{where}.emoji", button.get("emoji"))
        style = button.get("style")
        if style not in range(1, 7):
            self._found.say(f"{where}.style", f"is {style!r}; Discord allows 1 to 6")
            return
        if style == LINK:
            if self._found.text(f"{where}.url", button.get("url"), 1, 512):
                self._address(f"{where}.url", button["url"], ("https://", "http://", "discord://"))
            unwanted = ["custom_id", "sku_id"]
        elif style == PREMIUM:
            self._found.text(f"{where}.sku_id", button.get("sku_id"), 1, 20)
            unwanted = ["custom_id", "label", "url", "emoji"]
        else:
            self._named(where, button)
            unwanted = ["url", "sku_id"]
        for field in unwanted:
            if button.get(field) is not None:
                self._found.say(f"{where}.{field}", f"may not be set for a button of style {style}")
        if style != PREMIUM and not button.get("label") and not button.get("emoji"):
            self._found.say(where, "needs a label or an emoji")

    def _select(self, where: str, select: dict[str, Any]) -> None:
        self._named(where, select)
        self._found.text(f"{where}.placeholder", select.get("placeholder"), 0, 150, needed=False)
        self._values(where, select, 25)
        if self._modal and select.get("disabled"):
            self._found.say(where, "may not be disabled in a form")
        if select.get("type") == SELECT:
            self._options(where, select, 1, 25)

    def _values(self, where: str, item: dict[str, Any], most: int) -> None:
        self._found.number(f"{where}.min_values", item.get("min_values"), 0, most)
        self._found.number(f"{where}.max_values", item.get("max_values"), 1, most)
        self._found.order(where, item, "min_values", "max_values")
        if self._modal and item.get("min_values") == 0 and item.get("required", True):
            self._found.say(where, "is required, so its min_values may not be 0")

    def _options(self, where: str, item: dict[str, Any], least: int, most: int) -> None:
        options = self._found.objects(f"{where}.options", item.get("options"), least, most)
        for place, option in options:
            self._found.text(f"{place}.label", option.get("label"), 1, 100)
            self._found.text(f"{place}.value", option.get("value"), 1, 100)
            self._found.text(f"{place}.description", option.get("description"), 0, 100, needed=False)
            self._emoji(f"{place}.emoji", option.get("emoji"))
        self._found.unique(f"{where}.options", "value", [str(option.get("value")) for _, option in options])
        chosen = sum(1 for _, option in options if option.get("default"))
        allowed = item.get("max_values")
        allowed = 1 if allowed is None else allowed
        if isinstance(allowed, int) and chosen > allowed:
            self._found.say(where, f"has {chosen} options chosen and a max_values of {allowed}")
        for bound in ("min_values", "max_values"):
            value = item.get(bound)
            if isinstance(value, int) and value > len(options):
                self._found.say(f"{where}.{bound}", f"is {value} with {len(options)} options")

    def _group(self, where: str, item: dict[str, Any]) -> None:
        self._named(where, item)
        self._values(where, item, 10)
        self._options(where, item, 2 if item.get("type") == RADIOS else 1, 10)

    def _upload(self, where: str, item: dict[str, Any]) -> None:
        self._named(where, item)
        self._values(where, item, 10)

    def _text_input(self, where: str, field: dict[str, Any]) -> None:
        self._named(where, field)
        if field.get("style") not in (1, 2):
            self._found.say(f"{where}.style", f"is {field.get('style')!r}; Discord allows 1 and 2")
        self._found.text(f"{where}.placeholder", field.get("placeholder"), 0, 100, needed=False)
        self._found.number(f"{where}.min_length", field.get("min_length"), 0, 4000)
        self._found.number(f"{where}.max_length", field.get("max_length"), 1, 4000)
        self._found.order(where, field, "min_length", "max_length")
        most = field.get("max_length")
        most = most if isinstance(most, int) and 0 < most < 4000 else 4000
        self._found.text(f"{where}.value", field.get("value"), 0, most, needed=False)

    def _label(self, where: str, label: dict[str, Any]) -> None:
        self._found.text(f"{where}.label", label.get("label"), 1, 45)
        self._found.text(f"{where}.description", label.get("description"), 1, 100, needed=False)
        inner = label.get("component")
        self._component(f"{where}.component", inner, IN_LABEL)
        if isinstance(inner, dict) and inner.get("type") == TEXT_INPUT and inner.get("label") is not None:
            self._found.say(f"{where}.component.label", "may not be set inside a label")

    def _section(self, where: str, section: dict[str, Any]) -> None:
        self.children(f"{where}.components", section.get("components"), frozenset({TEXT}), 1, 3)
        self._component(f"{where}.accessory", section.get("accessory"), frozenset({BUTTON, THUMBNAIL}))

    def _text(self, where: str, text: dict[str, Any]) -> None:
        content = text.get("content")
        self._found.text(f"{where}.content", content, 1, 4000)
        self.characters += len(content) if isinstance(content, str) else 0

    def _gallery(self, where: str, gallery: dict[str, Any]) -> None:
        for place, item in self._found.objects(f"{where}.items", gallery.get("items"), 1, 10):
            self._media(place, item)

    def _media(self, where: str, item: dict[str, Any]) -> None:
        self._found.text(f"{where}.description", item.get("description"), 1, 1024, needed=False)
        self._source(f"{where}.media", item.get("media"), ("https://", "http://", "attachment://"))

    def _file(self, where: str, item: dict[str, Any]) -> None:
        self._source(f"{where}.file", item.get("file"), ("attachment://",))

    def _source(self, where: str, source: object, schemes: tuple[str, ...]) -> None:
        url = source.get("url") if isinstance(source, dict) else None
        if self._found.text(f"{where}.url", url, 1, 2048):
            self._address(f"{where}.url", str(url), schemes)
            self.urls.append(str(url))

    def _address(self, where: str, url: str, schemes: tuple[str, ...]) -> None:
        if not url.startswith(schemes):
            self._found.say(where, f"must begin with {' or '.join(schemes)}")

    def _separator(self, where: str, separator: dict[str, Any]) -> None:
        self._found.number(f"{where}.spacing", separator.get("spacing"), 1, 2)

    def _container(self, where: str, container: dict[str, Any]) -> None:
        self._found.number(f"{where}.accent_color", container.get("accent_color"), 0, 0xFFFFFF)
        self.children(f"{where}.components", container.get("components"), IN_CONTAINER, 1, 40)

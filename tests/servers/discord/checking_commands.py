"""Discord's limits on application commands."""

import unicodedata
from typing import Any

from tests.servers.discord.counting import MOST_NUMBER, Findings

CHAT, USER, MENU = 1, 2, 3
# The most commands of each type that an app may have. Discord now allows more context menus; discord.py 2.7.1 allows 5.
MOST_OF = {CHAT: 100, USER: 5, MENU: 5}
KINDS = {CHAT: "slash commands", USER: "user menus", MENU: "message menus"}

SUBCOMMAND, GROUP, STRING, INTEGER, CHANNEL, NUMBER, ATTACHMENT = 1, 2, 3, 4, 7, 10, 11
VALUES = frozenset(range(STRING, ATTACHMENT + 1))
MOST_CHARACTERS = 8000


def check_commands(found: Findings, commands: object) -> None:
    """Check all commands of an app in the form of a bulk overwrite."""
    placed = found.objects("commands", commands, 0, sum(MOST_OF.values()))
    for kind, most in MOST_OF.items():
        names = [str(command.get("name")) for _, command in placed if _kind_of(command) == kind]
        if len(names) > most:
            found.say("commands", f"has {len(names)} {KINDS[kind]}; Discord allows {most}")
        found.unique("commands", "name", names)
    for where, command in placed:
        check_command(found, where, command)


def check_command(found: Findings, where: str, command: object) -> None:
    if not isinstance(command, dict):
        found.say(where, "must be an object")
        return
    kind = _kind_of(command)
    if kind == CHAT:
        _names(found, where, command)
        _options(found, where, command.get("options"), top=True)
    elif kind in MOST_OF:
        found.text(f"{where}.name", command.get("name"), 1, 32)
        for field in ("description", "options"):
            if command.get(field):
                found.say(f"{where}.{field}", "may not be set for a context menu")
    else:
        found.say(f"{where}.type", f"is {command.get('type')!r}; Discord allows 1 to 3")
    total = _characters(command)
    if total > MOST_CHARACTERS:
        found.say(where, f"has {total:,} characters in names, descriptions and values; Discord allows 8,000")
    _places(found, where, command)
    _permissions(found, f"{where}.default_member_permissions", command.get("default_member_permissions"))


def _kind_of(command: dict[str, Any]) -> int:
    return CHAT if command.get("type") is None else _number(command["type"])


def _number(kind: object) -> int:
    # A type that is not a number is as unknown as 0.
    return kind if isinstance(kind, int) else 0


def _names(found: Findings, where: str, item: dict[str, Any]) -> None:
    for place, name in _variants(f"{where}.name", item, "name"):
        if found.text(place, name, 1, 32) and not all(_may_name(letter) for letter in name):
            found.say(place, f"{name!r} may have only letters, numbers, - and _")
        elif isinstance(name, str) and name != name.lower():
            found.say(place, f"{name!r} must be in lower case")
    for place, text in _variants(f"{where}.description", item, "description"):
        found.text(place, text, 1, 100)


def _variants(where: str, item: dict[str, Any], field: str) -> list[tuple[str, Any]]:
    """Return a text and its translations with their paths."""
    translations = item.get(f"{field}_localizations")
    translations = translations if isinstance(translations, dict) else {}
    return [(where, item.get(field)), *((f"{where} ({language})", text) for language, text in translations.items())]


def _may_name(letter: str) -> bool:
    # Discord: ^[-_'\p{L}\p{N}\p{sc=Deva}\p{sc=Thai}]{1,32}$
    in_script = unicodedata.name(letter, "").startswith(("DEVANAGARI ", "THAI "))
    return letter in "-_'" or unicodedata.category(letter)[0] in "LN" or in_script


def _options(found: Findings, where: str, options: object, *, top: bool = False, group: bool = False) -> None:
    placed = found.objects(f"{where}.options", options, 0, 25, needed=False)
    allowed = frozenset({SUBCOMMAND}) if group else VALUES | {SUBCOMMAND, GROUP} if top else VALUES
    kinds = [_number(option.get("type")) for _, option in placed]
    if any(kind in (SUBCOMMAND, GROUP) for kind in kinds) and any(kind in VALUES for kind in kinds):
        found.say(f"{where}.options", "mixes sub commands with other options")
    found.unique(f"{where}.options", "name", [str(option.get("name")) for _, option in placed])
    optional = False
    for (place, option), kind in zip(placed, kinds, strict=True):
        _names(found, place, option)
        if kind not in allowed:
            found.say(f"{place}.type", f"{option.get('type')!r} may not stand there")
        elif kind in (SUBCOMMAND, GROUP):
            _options(found, place, option.get("options"), group=kind == GROUP)
        else:
            if option.get("required") and optional:
                found.say(place, "is required and follows an optional option")
            optional = optional or not option.get("required")
            _value(found, place, option)


def _value(found: Findings, where: str, option: dict[str, Any]) -> None:
    kind = option["type"]
    if kind == STRING:
        found.number(f"{where}.min_length", option.get("min_length"), 0, 6000)
        found.number(f"{where}.max_length", option.get("max_length"), 1, 6000)
        found.order(where, option, "min_length", "max_length")
    elif kind in (INTEGER, NUMBER):
        for field in ("min_value", "max_value"):
            found.number(f"{where}.{field}", option.get(field), -MOST_NUMBER, MOST_NUMBER, whole=kind == INTEGER)
        found.order(where, option, "min_value", "max_value")
    limits = {STRING: ("min_length", "max_length"), INTEGER: ("min_value", "max_value")}
    own = limits.get(INTEGER if kind == NUMBER else kind, ())
    for field in ("min_length", "max_length", "min_value", "max_value"):
        if option.get(field) is not None and field not in own:
            found.say(f"{where}.{field}", "may not be set for this type")
    _choices(found, where, option, takes_text=kind == STRING, takes_numbers=kind in (INTEGER, NUMBER))


def _choices(found: Findings, where: str, option: dict[str, Any], *, takes_text: bool, takes_numbers: bool) -> None:
    placed = found.objects(f"{where}.choices", option.get("choices"), 0, 25, needed=False)
    if not (takes_text or takes_numbers) and (placed or option.get("autocomplete")):
        found.say(where, "may offer no choices: it is neither text nor a number")
        return
    if placed and option.get("autocomplete"):
        found.say(where, "may not have both choices and autocomplete")
    for place, choice in placed:
        found.choice(place, choice)
        if choice.get("value") is not None and isinstance(choice["value"], str) != takes_text:
            found.say(f"{place}.value", "is of another type than its option")
    found.unique(f"{where}.choices", "name", [str(choice.get("name")) for _, choice in placed])


def _characters(item: dict[str, Any]) -> int:
    """Count the characters of names, descriptions and values; of each text only the longest translation."""
    total = 0
    for field in ("name", "description", "value"):
        total += max(len(text) if isinstance(text, str) else 0 for _, text in _variants("", item, field))
    for field in ("options", "choices"):
        parts = item.get(field)
        total += sum(_characters(part) for part in parts if isinstance(part, dict)) if isinstance(parts, list) else 0
    return total


def _places(found: Findings, where: str, command: dict[str, Any]) -> None:
    for field, known in (("integration_types", {0, 1}), ("contexts", {0, 1, 2})):
        given = command.get(field)
        if given is None:
            continue
        if not isinstance(given, list) or not given or not all(isinstance(one, int) and one in known for one in given):
            found.say(f"{where}.{field}", f"must be a list of at least one of {sorted(known)}")
        elif len(set(given)) < len(given):
            found.say(f"{where}.{field}", "has one of its values twice")


def _permissions(found: Findings, where: str, given: object) -> None:
    # Documented as a string of digits; discord.py sends the number, which Discord's OpenAPI document asks for.
    number = int(given) if isinstance(given, str) and given.isdecimal() else given
    if given is not None and (isinstance(number, bool) or not isinstance(number, int) or number < 0):
        found.say(where, "must be a number of permissions")

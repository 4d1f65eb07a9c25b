"""The part of Discord's client that finds, checks and fills in commands and modals before it sends them."""

from collections.abc import Callable
from typing import Any

from tests.servers.discord.payloads import attachment_payload, user_payload
from tests.servers.discord.permissions import Permission
from tests.servers.discord.texts import walk
from tests.servers.discord.world import Attachment, Channel, User, World

SUBCOMMAND, GROUP, STRING, INTEGER, BOOLEAN, USER, NUMBER, ATTACHMENT = 1, 2, 3, 4, 5, 6, 10, 11
CHAT_INPUT, MESSAGE_MENU = 1, 3
TEXT_INPUT, UPLOAD, ROW, LABEL, TEXT = 4, 19, 1, 18, 10
STRING_SELECT, RADIOS, CHECKBOXES, CHECKBOX = 3, 21, 22, 23
IN_GUILD, IN_BOT_DM, IN_PRIVATE = 0, 1, 2
TYPES: dict[int, Any] = {
    STRING: str,
    INTEGER: int,
    BOOLEAN: bool,
    NUMBER: (int, float),
    USER: User,
    ATTACHMENT: tuple,
}
AddFile = Callable[[str, bytes], Attachment]


class NotOffered(AssertionError):
    """Discord's client does not allow this action."""


def context_of(channel: Channel, bot: User) -> int:
    if channel.guild:
        return IN_GUILD
    return IN_BOT_DM if channel.kind == 1 and bot not in channel.recipients else IN_PRIVATE


def installs(world: World, user: User, channel: Channel) -> dict[str, str]:
    """Return the installations of the app that apply here: "0" the guild's, "1" the user's."""
    owners = {}
    if channel.guild and world.bot.id in channel.guild.members:
        owners["0"] = str(channel.guild.id)
    if context_of(channel, world.bot) == IN_BOT_DM:
        owners["0"] = "0"
    if user.has_installed:
        owners["1"] = str(user.id)
    return owners


def find_command(world: World, user: User, channel: Channel, name: str, kind: int) -> dict[str, Any]:
    """Return the registered command as it is offered to `user` here. Raises NotOffered."""
    place = channel.guild.id if channel.guild else None
    everything = [*(world.commands.get(place, []) if place else []), *world.commands[None]]
    found = [command for command in everything if command["name"] == name and command["type"] == kind]
    if not found:
        known = sorted(command["name"] for command in everything if command["type"] == kind)
        raise NotOffered(f"no command {name!r} is registered; there are {known}")
    command = found[0]
    owners = installs(world, user, channel)
    context = context_of(channel, world.bot)
    if command["contexts"] is not None and context not in command["contexts"]:
        raise NotOffered(f"{name!r} is not offered in context {context}")
    if not any(int(owner) in command["integration_types"] for owner in owners):
        raise NotOffered(
            f"{name!r} is not installed here: installed for {owners}, needs {command['integration_types']}"
        )
    bits = world.permissions(user, channel)
    if channel.guild and not bits & Permission.USE_APPLICATION_COMMANDS:
        raise NotOffered(f"{user.name} may not use commands in {channel.name}")
    needed = command["default_member_permissions"]
    if channel.guild and needed is not None and "0" in owners:
        has_all = int(needed) & ~bits == 0 and int(needed) != 0
        if not has_all and not bits & Permission.ADMINISTRATOR:
            raise NotOffered(f"{name!r} is not offered to {user.name}: it needs the permissions {needed}")
    return command


def command_data(
    command: dict[str, Any], path: list[str], values: dict[str, Any], focused: str | None, add_file: AddFile
) -> dict[str, Any]:
    """Return the data of a slash command, with every given value checked as the client does."""
    resolved: dict[str, Any] = {}
    options = command["options"]
    inner: list[dict[str, Any]] = []
    nested = inner
    for part in path:
        option = next((o for o in options if o["name"] == part and o["type"] in (SUBCOMMAND, GROUP)), None)
        if option is None:
            raise NotOffered(f"{command['name']!r} has no subcommand {part!r}: {[o['name'] for o in options]}")
        entry: dict[str, Any] = {"name": part, "type": option["type"], "options": []}
        nested.append(entry)
        nested, options = entry["options"], option.get("options", [])
    if any(option["type"] in (SUBCOMMAND, GROUP) for option in options):
        raise NotOffered(f"{command['name']!r} needs a subcommand: {[option['name'] for option in options]}")
    by_name = {option["name"]: option for option in options}
    unknown = set(values) - set(by_name)
    if unknown:
        raise NotOffered(f"{command['name']!r} has no option {sorted(unknown)}; it has {sorted(by_name)}")
    for name, option in by_name.items():
        if name not in values:
            if option.get("required") and focused is None:
                raise NotOffered(f"{command['name']!r} needs the option {name!r}")
            continue
        is_focused = name == focused
        if is_focused and not option.get("autocomplete"):
            raise NotOffered(f"the option {name!r} suggests nothing")
        value = values[name] if is_focused else checked_value(option, values[name], resolved, add_file)
        nested.append(
            {"name": name, "type": option["type"], "value": value} | ({"focused": True} if is_focused else {})
        )
    data = {"id": command["id"], "name": command["name"], "type": CHAT_INPUT, "options": inner}
    if command.get("guild_id"):
        data["guild_id"] = command["guild_id"]
    return data | ({"resolved": resolved} if resolved else {})


def checked_value(option: dict[str, Any], value: Any, resolved: dict[str, Any], add_file: AddFile) -> Any:
    """Return the value as it is sent. Raises NotOffered if the client would not accept it."""
    name, kind = option["name"], option["type"]
    choices = {choice["name"]: choice["value"] for choice in option.get("choices") or ()}
    if choices:
        if value not in choices and value not in choices.values():
            raise NotOffered(f"the option {name!r} has the choices {sorted(choices)}, not {value!r}")
        return choices.get(value, value)
    if not isinstance(value, TYPES[kind]) or (isinstance(value, bool) and kind != BOOLEAN):
        raise NotOffered(f"the option {name!r} of type {kind} takes no {value!r}")
    if kind == STRING:
        _in_range(name, len(value), max(option.get("min_length") or 0, 1), option.get("max_length", 6000))
    elif kind in (INTEGER, NUMBER):
        _in_range(name, value, option.get("min_value", -(2**53)), option.get("max_value", 2**53))
    elif kind == ATTACHMENT:
        return _resolve_file(add_file(*value), resolved)
    elif kind == USER:
        resolved.setdefault("users", {})[str(value.id)] = user_payload(value)
        return str(value.id)
    return value


def _in_range(name: str, size: float, least: float, most: float) -> None:
    if not least <= size <= most:
        raise NotOffered(f"the option {name!r} allows {least:g} to {most:g}, not {size:g}")


def _resolve_file(attachment: Attachment, resolved: dict[str, Any]) -> str:
    resolved.setdefault("attachments", {})[str(attachment.id)] = attachment_payload(attachment)
    return str(attachment.id)


def form_data(modal: dict[str, Any], values: dict[str, Any], add_file: AddFile) -> dict[str, Any]:
    """Return the data of a filled-in form; `values` are by label or custom_id, what is left out keeps its default."""
    resolved: dict[str, Any] = {}
    used: set[str] = set()

    def filled(part: dict[str, Any], label: str) -> dict[str, Any]:
        key = next((key for key in (label, part["custom_id"]) if key in values), None)
        if key is not None:
            used.add(key)
        value = _field_value(part, label, values[key] if key is not None else None, resolved, add_file)
        name = "values" if isinstance(value, list) else "value"
        return {"type": part["type"], "id": part.get("id", 1), "custom_id": part["custom_id"], name: value}

    components: list[dict[str, Any]] = []
    labels: list[str] = []
    for number, top in enumerate(modal["components"], 1):
        if top["type"] == LABEL:
            labels.append(top["label"])
            components.append({"type": LABEL, "id": number, "component": filled(top["component"], top["label"])})
        elif top["type"] == ROW:
            inputs = [filled(part, part.get("label", "")) for part in top["components"]]
            labels += [part.get("label", "") for part in top["components"]]
            components.append({"type": ROW, "id": number, "components": inputs})
        elif top["type"] == TEXT:
            components.append({"type": TEXT, "id": number})
    if set(values) - used:
        raise NotOffered(f"the form {modal['title']!r} has no field {sorted(set(values) - used)}; it has {labels}")
    data = {"custom_id": modal["custom_id"], "components": components}
    return data | ({"resolved": resolved} if resolved else {})


def _field_value(
    part: dict[str, Any], label: str, value: Any, resolved: dict[str, Any], add_file: AddFile
) -> str | bool | list[str] | None:
    is_required = part.get("required", part["type"] != CHECKBOX)
    if part["type"] == TEXT_INPUT:
        text = part.get("value") or "" if value is None else str(value)
        if is_required and not text:
            raise NotOffered(f"the field {label!r} has to be filled in")
        if text and not part.get("min_length", 0) <= len(text) <= part.get("max_length", 4000):
            raise NotOffered(f"the field {label!r} does not take {len(text)} characters")
        return text
    if part["type"] == CHECKBOX:
        return bool(part.get("default")) if value is None else bool(value)
    if part["type"] == UPLOAD:
        files = [value] if isinstance(value, tuple) else list(value or ())
        chosen = [_resolve_file(add_file(*file), resolved) for file in files]
    else:
        chosen = chosen_values(part, label, [value] if isinstance(value, str) else value)
    if is_required and not chosen:
        raise NotOffered(f"the field {label!r} has to be filled in")
    if part["type"] == RADIOS:
        return chosen[0] if chosen else None
    return chosen


def chosen_values(select: dict[str, Any], label: str, given: list[str] | None) -> list[str]:
    """Return the values of what is chosen, by label or value; the defaults where nothing is given."""
    options = select.get("options", [])
    if given is None:
        return [option["value"] for option in options if option.get("default")]
    values = []
    for item in given:
        found = [option["value"] for option in options if item in (option["label"], option["value"])]
        if not found:
            raise NotOffered(f"{label!r} offers {[option['label'] for option in options]}, not {item!r}")
        values.append(found[0])
    least, most = select.get("min_values", 1), select.get("max_values", 1)
    if not (least if values else 0) <= len(values) <= most:
        raise NotOffered(f"{label!r} takes {least} to {most} choices, not {len(values)}")
    return values


def find_component(components: list[dict[str, Any]], name: str, kinds: tuple[int, ...]) -> dict[str, Any]:
    """Return the one component of `kinds` with that label, emoji, placeholder or custom_id, if it can be used."""
    present = [part for part in walk(components) if part["type"] in kinds]

    def names(part: dict[str, Any]) -> tuple[str | None, ...]:
        emoji = (part.get("emoji") or {}).get("name")
        return (part.get("custom_id"), part.get("label"), part.get("placeholder"), emoji)

    found = [part for part in present if name in names(part)]
    if len(found) != 1:
        shown = [part.get("label") or part.get("placeholder") or part.get("custom_id") for part in present]
        raise NotOffered(f"{len(found)} components are called {name!r}; there are {shown}")
    if found[0].get("disabled"):
        raise NotOffered(f"{name!r} is switched off")
    return found[0]

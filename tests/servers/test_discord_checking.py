"""The check of what the bot sends knows Discord's limits, and accepts what discord.py sends for valid cards."""

from collections.abc import Sequence
from typing import Any

import discord
import pytest
from discord import app_commands
from discord.http import handle_message_parameters
from discord.webhook.async_ import interaction_message_response_params
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.servers.discord.checking import check_body
from tests.servers.test_discord_schema import (
    CALLBACK,
    COMMANDS,
    MESSAGE,
    MESSAGES,
    NO_PINGS,
    ORIGINAL,
    Card,
    commands,
    files,
    form,
    sent,
)

FOLLOW_UP = "/webhooks/{application_id}/{token}"
V2 = 1 << 15
NONE: dict[str, object] = {"parse": []}
NAMES = ["map.png", "all.txt"]
TEXT = {"type": 10, "content": "a"}


def button(**other: object) -> dict[str, object]:
    return {"type": 2, "style": 1, "label": "Go", "custom_id": "go"} | other


def row(*parts: object) -> dict[str, object]:
    return {"type": 1, "components": list(parts)}


def select(**other: object) -> dict[str, object]:
    return {"type": 3, "custom_id": "pick", "options": [{"label": "a", "value": "a"}]} | other


def gallery(*urls: str, **other: object) -> dict[str, object]:
    return {"type": 12, "items": [{"media": {"url": url}} | other for url in urls]}


def legacy(*components: object, **other: object) -> dict[str, object]:
    return {"content": "x", "components": list(components), "allowed_mentions": NONE} | other


def layout(*components: object, **other: object) -> dict[str, object]:
    return {"components": list(components), "flags": V2, "allowed_mentions": NONE} | other


def plain(**other: object) -> dict[str, object]:
    return {"content": "x", "allowed_mentions": NONE} | other


BAD_MESSAGES: list[tuple[dict[str, object], str]] = [
    (plain(content="x" * 2001), "content has 2,001 characters; Discord allows 0 to 2,000."),
    (plain(content="😀" * 2001), "content has 2,001 characters; Discord allows 0 to 2,000."),
    (plain(content=5), "content must be text."),
    (plain(content=" \n"), "the message is empty."),
    ({"allowed_mentions": NONE, "tts": False}, "the message is empty."),
    (plain(nonce="1" * 26), "nonce has 26 characters; Discord allows 0 to 25."),
    (plain(nonce=True), "nonce must be text or a number."),
    ({"content": "x"}, "allowed_mentions is missing: the message could ping."),
    (plain(allowed_mentions={}), "allowed_mentions must allow no pings."),
    (plain(allowed_mentions={"parse": ["users"]}), "allowed_mentions must allow no pings."),
    (plain(allowed_mentions=NONE | {"users": ["1"]}), "allowed_mentions must allow no pings."),
    (plain(allowed_mentions=NONE | {"roles": ["1"]}), "allowed_mentions must allow no pings."),
    (plain(allowed_mentions=NONE | {"replied_user": True}), "allowed_mentions must allow no pings."),
    (plain(flags=64), "flags 64 may not be set here."),
    (plain(flags="4"), "flags must be a number."),
    (plain(embeds=[{}] * 11), "embeds has 11 items; Discord allows 0 to 10."),
    (plain(embeds=[{"description": "x" * 4000}] * 2), "embeds have 8,000 characters together; Discord allows 6,000."),
    (plain(embeds=[{"title": "x" * 257}]), "embeds[0].title has 257 characters; Discord allows 0 to 256."),
    (plain(attachments=[{"id": 0}]), "attachments[0] speaks of file 0, which is not sent."),
    (plain(attachments=[{"id": "first"}]), "attachments[0].id must be a number."),
    # Components of before V2
    (legacy(*[row(button(style=5, url="https://x.org", custom_id=None))] * 6), "components has 6 items"),
    (legacy({"type": 99}), "components[0] is a component of type 99, which may not stand there."),
    (legacy({"type": 3}), "components[0] is a select, which may not stand there."),
    (legacy({"type": "row"}), "components[0] is no component, which may not stand there."),
    (legacy("row"), "components[0] must be an object."),
    (legacy(TEXT, content=None), "flags lack 32768, which components V2 need."),
    (legacy(row()), "components[0].components has 0 items; Discord allows 1 to 5."),
    (legacy(row(*(button(custom_id=str(n)) for n in range(6)))), "components[0].components has 6 items"),
    (legacy(row(button(), select())), "components[0] may have up to 5 buttons or one other component."),
    (legacy(row(select(), select(custom_id="b"))), "components[0] may have up to 5 buttons or one other component."),
    (legacy(row({"type": 4})), "components[0].components[0] is a text input, which may not stand there."),
    (legacy(row(button()), row(button())), "components has the custom_id 'go' twice."),
    # Buttons
    (
        legacy(row(button(label="x" * 81))),
        "components[0].components[0].label has 81 characters; Discord allows 0 to 80.",
    ),
    (legacy(row(button(emoji="🔁"))), "components[0].components[0].emoji.name is missing."),
    (legacy(row(button(emoji={"name": "x" * 33}))), "components[0].components[0].emoji.name has 33 characters"),
    (legacy(row(button(label=None))), "components[0].components[0] needs a label or an emoji."),
    (legacy(row(button(custom_id=""))), "components[0].components[0].custom_id has 0 characters"),
    (legacy(row(button(custom_id="x" * 101))), "components[0].components[0].custom_id has 101 characters"),
    (legacy(row(button(custom_id=None))), "components[0].components[0].custom_id is missing."),
    (
        legacy(row(button(url="https://x.org"))),
        "components[0].components[0].url may not be set for a button of style 1.",
    ),
    (legacy(row(button(style=7))), "components[0].components[0].style is 7; Discord allows 1 to 6."),
    (legacy(row(button(style=5, custom_id=None))), "components[0].components[0].url is missing."),
    (legacy(row(button(style=5, url="https://x.org"))), "components[0].components[0].custom_id may not be set"),
    (
        legacy(row(button(style=5, url="javascript:x", custom_id=None))),
        "components[0].components[0].url must begin with",
    ),
    (legacy(row(button(style=6, sku_id="1", custom_id=None))), "components[0].components[0].label may not be set"),
    # Selects
    (legacy(row(select(options=[]))), "components[0].components[0].options has 0 items; Discord allows 1 to 25."),
    (legacy(row(select(options=[{"label": "", "value": "a"}]))), "components[0].components[0].options[0].label has 0"),
    (
        legacy(row(select(options=[{"label": "a", "value": "x" * 101}]))),
        "components[0].components[0].options[0].value has",
    ),
    (
        legacy(row(select(options=[{"label": "a", "value": "a", "description": "x" * 101}]))),
        "components[0].components[0].options[0].description has 101 characters; Discord allows 0 to 100.",
    ),
    (
        legacy(row(select(options=[{"label": "a", "value": "a"}, {"label": "b", "value": "a"}]))),
        "components[0].components[0].options has the value 'a' twice.",
    ),
    (
        legacy(row(select(options=[{"label": v, "value": v, "default": True} for v in "ab"]))),
        "components[0].components[0] has 2 options chosen and a max_values of 1.",
    ),
    (legacy(row(select(placeholder="x" * 151))), "components[0].components[0].placeholder has 151 characters"),
    (
        legacy(row(select(type=5, min_values=26))),
        "components[0].components[0].min_values is 26; Discord allows 0 to 25.",
    ),
    (legacy(row(select(max_values=2))), "components[0].components[0].max_values is 2 with 1 options."),
    (legacy(row(select(type=5, min_values=3, max_values=2))), "components[0].components[0] has a min_values above its"),
    # Components V2
    (layout(TEXT, content="x"), "content may not stand beside components V2."),
    (layout(TEXT, embeds=[{"title": "x"}]), "embeds may not stand beside components V2."),
    (layout(TEXT, sticker_ids=["1"]), "sticker_ids may not stand beside components V2."),
    (layout(TEXT, poll={"question": {}}), "poll may not stand beside components V2."),
    (layout(button()), "components[0] is a button, which may not stand there."),
    (layout(*[TEXT] * 41), "components has 41 items; Discord allows 0 to 40."),
    (layout({"type": 17, "components": [TEXT] * 40}), "components are 41, nested ones counted; Discord allows 40."),
    (layout(*[{"type": 10, "content": "x" * 2001}] * 2), "components have 4,002 characters of text together"),
    (layout({"type": 10, "content": ""}), "components[0].content has 0 characters; Discord allows 1 to 4,000."),
    (layout(TEXT | {"id": 7}, TEXT | {"id": 7}), "components has the id 7 twice."),
    (layout(TEXT | {"id": -1}), "components[0].id is -1; Discord allows 0 to 2,147,483,647."),
    (layout({"type": 9, "components": [TEXT]}), "components[0].accessory is missing."),
    (layout({"type": 9, "components": [TEXT] * 4, "accessory": button()}), "components[0].components has 4 items"),
    (layout({"type": 9, "components": [TEXT], "accessory": TEXT}), "components[0].accessory is a text"),
    (layout({"type": 17, "components": []}), "components[0].components has 0 items; Discord allows 1 to 40."),
    (layout({"type": 17, "components": [{"type": 17}]}), "components[0].components[0] is a container, which may not"),
    (layout({"type": 17, "components": [TEXT], "accent_color": 1 << 24}), "components[0].accent_color is 16777216"),
    (layout({"type": 14, "spacing": 3}), "components[0].spacing is 3; Discord allows 1 to 2."),
    (layout(gallery()), "components[0].items has 0 items; Discord allows 1 to 10."),
    (layout(gallery(*["https://x.org/a.png"] * 11)), "components[0].items has 11 items; Discord allows 1 to 10."),
    (layout(gallery("https://x.org/a.png", description="x" * 1025)), "components[0].items[0].description has 1,025"),
    (layout(gallery("file:///a.png")), "components[0].items[0].media.url must begin with"),
    (layout(gallery("attachment://no.png")), "components show attachment://no.png, which is not sent."),
    (
        layout({"type": 13, "file": {"url": "https://x.org/a.txt"}}),
        "components[0].file.url must begin with attachment://.",
    ),
    (
        layout({"type": 13, "file": {"url": "attachment://no.txt"}}),
        "components show attachment://no.txt, which is not sent.",
    ),
    (layout({"type": 13}), "components[0].file.url is missing."),
]


@pytest.mark.parametrize(("body", "sentence"), BAD_MESSAGES)
def test_a_message_beyond_a_limit_gets_its_sentence(body: dict[str, object], sentence: str) -> None:
    found = check_body("POST", MESSAGES, body)
    assert len(found) == 1, found
    assert found[0].startswith(sentence)
    assert found[0].endswith(".")


def test_files_beyond_a_limit_get_their_sentence() -> None:
    many = [f"{number}.txt" for number in range(11)]
    assert check_body("POST", MESSAGES, plain(), files=many) == ["files are 11; Discord allows 10."]
    lost = check_body("POST", MESSAGES, layout(gallery("attachment://a.png")), files=["a.png", "b.txt"])
    assert lost == ["files b.txt is sent but no component shows it."]


@pytest.mark.parametrize(("method", "path"), [("PATCH", MESSAGE), ("POST", FOLLOW_UP), ("PATCH", ORIGINAL)])
def test_edits_and_webhooks_have_the_same_limits(method: str, path: str) -> None:
    assert check_body(method, path, {"content": "x" * 2001}) == [
        "content has 2,001 characters; Discord allows 0 to 2,000.",
        "allowed_mentions is missing: the message could ping.",
    ]


@pytest.mark.parametrize("kind", [4, 7])
def test_answers_to_interactions_have_the_same_limits(kind: int) -> None:
    assert check_body("POST", CALLBACK, {"type": kind, "data": plain(nonce="1" * 26)}) == [
        "nonce has 26 characters; Discord allows 0 to 25."
    ]
    assert check_body("POST", CALLBACK, {"type": kind}) == ["the message must be an object."]


def test_an_edit_may_leave_things_as_they_are() -> None:
    assert check_body("PATCH", MESSAGE, {"allowed_mentions": NONE, "components": []}) == []
    assert check_body("PATCH", MESSAGE, {"allowed_mentions": NONE, "flags": V2 | 4}, files=["a.png"]) == []
    kept = {"components": [gallery("attachment://kept.png")], "allowed_mentions": NONE}
    assert check_body("PATCH", MESSAGE, kept) == []
    assert check_body("PATCH", MESSAGE, kept | {"flags": 4}) == ["flags lack 32768, which components V2 need."]
    assert check_body("PATCH", MESSAGE, kept | {"attachments": []}) == [
        "components show attachment://kept.png, which is not sent."
    ]


FIELD = {"type": 4, "style": 1, "custom_id": "text"}


def label(component: object, **other: object) -> dict[str, object]:
    return {"type": 18, "label": "Text", "component": component} | other


def modal(*components: object, **other: object) -> dict[str, object]:
    return {"type": 9, "data": {"title": "Form", "custom_id": "form", "components": list(components)} | other}


BAD_ANSWERS: list[tuple[object, str]] = [
    ([], "an interaction's answer must be an object."),
    ({"type": 3}, "type 3 is no kind of answer that this bot gives."),
    ({"type": 5, "data": {"flags": 4}}, "flags of a deferred answer may only say that it is ephemeral."),
    ({"type": 9}, "the form must be an object."),
    (modal(label(FIELD), title="x" * 46), "title has 46 characters; Discord allows 1 to 45."),
    (modal(label(FIELD), custom_id="x" * 101), "custom_id has 101 characters; Discord allows 1 to 100."),
    (modal(), "components has 0 items; Discord allows 1 to 5."),
    (modal(*[TEXT] * 6), "components has 6 items; Discord allows 1 to 5."),
    (modal(FIELD), "components[0] is a text input, which may not stand there."),
    (modal(label(FIELD), label(FIELD)), "components has the custom_id 'text' twice."),
    (modal(label(FIELD, label="x" * 46)), "components[0].label has 46 characters; Discord allows 1 to 45."),
    (modal(label(FIELD, description="x" * 101)), "components[0].description has 101 characters"),
    (modal(label(None)), "components[0].component is missing."),
    (modal(label(button())), "components[0].component is a button, which may not stand there."),
    (modal(label(FIELD | {"label": "x"})), "components[0].component.label may not be set inside a label."),
    (modal(row(FIELD)), "components[0].components[0].label is missing."),
    (modal(label(FIELD | {"style": 3})), "components[0].component.style is 3; Discord allows 1 and 2."),
    (modal(label(FIELD | {"value": "x" * 4001})), "components[0].component.value has 4,001 characters"),
    (modal(label(FIELD | {"value": "xxx", "max_length": 2})), "components[0].component.value has 3 characters"),
    (modal(label(FIELD | {"max_length": 4001})), "components[0].component.max_length is 4001"),
    (modal(label(FIELD | {"min_length": 3, "max_length": 2})), "components[0].component has a min_length above"),
    (modal(label(FIELD | {"placeholder": "x" * 101})), "components[0].component.placeholder has 101 characters"),
    (modal(label(select(disabled=True))), "components[0].component may not be disabled in a form."),
    (modal(label(select(min_values=0))), "components[0].component is required, so its min_values may not be 0."),
    (modal(label({"type": 19, "custom_id": "f", "max_values": 11})), "components[0].component.max_values is 11"),
    (modal(label(select(type=21))), "components[0].component.options has 1 items; Discord allows 2 to 10."),
    ({"type": 8}, "choices is missing."),
    ({"type": 8, "data": {"choices": [{"name": str(n), "value": n} for n in range(26)]}}, "choices has 26 items"),
    ({"type": 8, "data": {"choices": [{"name": "x" * 101, "value": "a"}]}}, "choices[0].name has 101 characters"),
    ({"type": 8, "data": {"choices": [{"name": "a", "value": "x" * 101}]}}, "choices[0].value has 101 characters"),
    ({"type": 8, "data": {"choices": [{"name": "a", "value": 2**53 + 1}]}}, "choices[0].value is 9007199254740993"),
    ({"type": 8, "data": {"choices": [{"name": "a"}]}}, "choices[0].value is missing."),
]


@pytest.mark.parametrize(("body", "sentence"), BAD_ANSWERS)
def test_an_answer_to_an_interaction_beyond_a_limit_gets_its_sentence(body: object, sentence: str) -> None:
    found = check_body("POST", CALLBACK, body)
    assert len(found) == 1, found
    assert found[0].startswith(sentence)


def command(*options: object, **other: object) -> dict[str, object]:
    return {"name": "say", "description": "Say it", "type": 1, "options": list(options)} | other


def option(kind: int = 3, **other: object) -> dict[str, object]:
    return {"type": kind, "name": "text", "description": "The text"} | other


def menu(name: str = "Continue This", **other: object) -> dict[str, object]:
    return {"type": 3, "name": name} | other


CHOICE = {"name": "a", "value": "a"}
LONG = {"choices": [{"name": f"{n:03}" + "x" * 97, "value": "x" * 100} for n in range(25)]}

BAD_COMMANDS: list[tuple[dict[str, object], str]] = [
    (command(name="x" * 33), "command.name has 33 characters; Discord allows 1 to 32."),
    (command(name="Say"), "command.name 'Say' must be in lower case."),
    (command(name="say it"), "command.name 'say it' may have only letters, numbers, - and _."),
    (command(name_localizations={"de": "Sag"}), "command.name (de) 'Sag' must be in lower case."),
    (command(description=""), "command.description has 0 characters; Discord allows 1 to 100."),
    (command(type=9), "command.type is 9; Discord allows 1 to 3."),
    (command(*(option(name=f"o{n}") for n in range(26))), "command.options has 26 items; Discord allows 0 to 25."),
    (command(option(), option()), "command.options has the name 'text' twice."),
    (
        command(option(), option(name="b", required=True)),
        "command.options[1] is required and follows an optional",
    ),
    (command(option(1), option(name="b")), "command.options mixes sub commands with other options."),
    (command(option(2, options=[option()])), "command.options[0].options[0].type 3 may not stand there."),
    (command(option(1, options=[option(1)])), "command.options[0].options[0].type 1 may not stand there."),
    (command(option(12)), "command.options[0].type 12 may not stand there."),
    (command(option(choices=[{"name": str(n), "value": "a"} for n in range(26)])), "command.options[0].choices has 26"),
    (command(option(choices=[CHOICE | {"name": "x" * 101}])), "command.options[0].choices[0].name has 101 characters"),
    (
        command(option(choices=[CHOICE | {"value": "x" * 101}])),
        "command.options[0].choices[0].value has 101 characters",
    ),
    (command(option(choices=[CHOICE | {"value": 1}])), "command.options[0].choices[0].value is of another type"),
    (command(option(choices=[CHOICE, CHOICE])), "command.options[0].choices has the name 'a' twice."),
    (command(option(choices=[CHOICE], autocomplete=True)), "command.options[0] may not have both choices and"),
    (
        command(option(5, autocomplete=True)),
        "command.options[0] may offer no choices: it is neither text nor a number.",
    ),
    (command(option(max_length=6001)), "command.options[0].max_length is 6001; Discord allows 1 to 6,000."),
    (command(option(min_length=3, max_length=2)), "command.options[0] has a min_length above its max_length."),
    (command(option(4, max_value=2**53 + 1)), "command.options[0].max_value is 9007199254740993"),
    (command(option(4, min_value=0.5)), "command.options[0].min_value must be a whole number."),
    (command(option(4, max_length=3)), "command.options[0].max_length may not be set for this type."),
    (
        command(option() | LONG, option(name="b") | LONG),
        "command has 10,030 characters in names, descriptions and values",
    ),
    (command(integration_types=[2]), "command.integration_types must be a list of at least one of [0, 1]."),
    (command(contexts=[]), "command.contexts must be a list of at least one of [0, 1, 2]."),
    (command(contexts=[0, 0]), "command.contexts has one of its values twice."),
    (
        command(default_member_permissions="manage"),
        "command.default_member_permissions must be a number of permissions.",
    ),
    (menu("x" * 33), "command.name has 33 characters; Discord allows 1 to 32."),
    (menu(description="x"), "command.description may not be set for a context menu."),
]


@pytest.mark.parametrize(("body", "sentence"), BAD_COMMANDS)
def test_a_command_beyond_a_limit_gets_its_sentence(body: dict[str, object], sentence: str) -> None:
    found = check_body("POST", COMMANDS, body)
    assert len(found) == 1, found
    assert found[0].startswith(sentence)


def test_all_commands_together_have_limits() -> None:
    assert check_body("PUT", COMMANDS, [menu(f"Menu {number}") for number in range(6)]) == [
        "commands has 6 message menus; Discord allows 5."
    ]
    slash = [command(name=f"c{number}") for number in range(101)]
    assert check_body("PUT", COMMANDS, slash) == ["commands has 101 slash commands; Discord allows 100."]
    assert check_body("PUT", COMMANDS, [command(), command(), menu("say")]) == ["commands has the name 'say' twice."]
    assert check_body("PUT", COMMANDS, [command(contexts=[9])]) == [
        "commands[0].contexts must be a list of at least one of [0, 1, 2]."
    ]


@pytest.mark.parametrize("name", ["say", "fünf", "日本", "don't", "a-b_c", "ไทย", "नमस्ते", "٣"])
def test_names_of_commands_may_be_of_any_script(name: str) -> None:
    assert check_body("POST", COMMANDS, command(name=name)) == []


GOOD: list[tuple[str, str, object, Sequence[str]]] = [
    ("POST", MESSAGES, plain(content="x" * 2000, nonce="1" * 25, flags=4), ()),
    ("POST", MESSAGES, plain(content="👨‍👩‍👧" * 400), ()),
    ("POST", MESSAGES, plain(allowed_mentions=NONE | {"replied_user": False}), ()),
    ("POST", MESSAGES, {"allowed_mentions": NONE}, ("a.txt",)),
    ("POST", FOLLOW_UP, plain(flags=64), ()),
    ("POST", MESSAGES, legacy(*(row(button(custom_id=str(n))) for n in range(5))), ()),
    ("POST", MESSAGES, layout(*[TEXT] * 40), ()),
    ("POST", MESSAGES, layout(TEXT | {"id": 0}, TEXT | {"id": 0}, content=None, embeds=[]), ()),
    ("POST", CALLBACK, {"type": 5, "data": {"flags": 64}}, ()),
    ("POST", CALLBACK, {"type": 5}, ()),
    ("POST", CALLBACK, {"type": 6}, ()),
    ("POST", CALLBACK, {"type": 8, "data": {"choices": []}}, ()),
    ("PUT", "/applications/{a}/guilds/{g}/commands", [], ()),
    ("POST", "/channels/{channel_id}/typing", None, ()),
    ("DELETE", MESSAGE, None, ()),
]


@pytest.mark.parametrize(("method", "path", "body", "names"), GOOD)
def test_bodies_within_the_limits_pass(method: str, path: str, body: object, names: Sequence[str]) -> None:
    assert check_body(method, path, body, files=names) == []


async def test_what_discord_py_sends_for_valid_cards_passes() -> None:
    hidden = discord.MessageFlags(ephemeral=True)
    card = handle_message_parameters(view=Card(), files=files(), allowed_mentions=NO_PINGS)
    edit = handle_message_parameters(None, embed=None, view=Card(), attachments=files(), allowed_mentions=NO_PINGS)
    emptied = handle_message_parameters("Done.", view=None, attachments=[], allowed_mentions=NO_PINGS)
    answer = interaction_message_response_params(type=4, content="hi", flags=hidden, allowed_mentions=NO_PINGS)
    update = interaction_message_response_params(type=7, view=Card(), attachments=files(), allowed_mentions=NO_PINGS)
    choices: dict[str, Any] = {"choices": [app_commands.Choice(name="a", value="b").to_dict()]}
    assert check_body("POST", MESSAGES, sent(card), files=NAMES) == []
    assert check_body("PATCH", MESSAGE, sent(edit), files=NAMES) == []
    assert check_body("PATCH", MESSAGE, sent(emptied)) == []
    assert check_body("PATCH", ORIGINAL, sent(edit), files=NAMES) == []
    assert check_body("POST", CALLBACK, sent(answer)) == []
    assert check_body("POST", CALLBACK, sent(update), files=NAMES) == []
    assert check_body("POST", CALLBACK, {"type": 8, "data": choices}) == []
    assert check_body("POST", CALLBACK, {"type": 9, "data": form().to_dict()}) == []
    assert check_body("PUT", COMMANDS, commands()) == []


FIELDS = sorted(
    {
        *(
            "type",
            "data",
            "components",
            "component",
            "accessory",
            "items",
            "media",
            "file",
            "url",
            "options",
            "choices",
        ),
        *("name", "value", "description", "id", "custom_id", "label", "style", "flags", "content", "allowed_mentions"),
        *("embeds", "footer", "fields", "attachments", "contexts", "name_localizations", "min_values", "max_values"),
    }
)
VALUES = st.none() | st.booleans() | st.integers(-1, 30) | st.floats(allow_nan=False) | st.text(max_size=3)
JSON = st.recursive(VALUES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner))


@settings(deadline=None, max_examples=40)
@given(JSON, st.dictionaries(st.sampled_from(FIELDS), JSON))
def test_no_body_is_too_strange_to_check(anything: object, body: dict[str, object]) -> None:
    for strange in (anything, body, [body], {"type": 9, "data": body}, {"components": [body], "options": [body]}):
        for method, path in (("POST", MESSAGES), ("POST", CALLBACK), ("PUT", COMMANDS), ("POST", COMMANDS)):
            assert all(isinstance(sentence, str) for sentence in check_body(method, path, strange))

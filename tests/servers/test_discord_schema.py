"""Request bodies are checked against an OpenAPI document: a small one of our own, and Discord's if it is available."""

import io
import json
import os
from pathlib import Path
from typing import Any

import discord
import pytest
from discord import app_commands, ui
from discord.http import MultipartParameters, handle_message_parameters
from discord.webhook.async_ import interaction_message_response_params

from tests.servers.discord.schema import Validate, load_validator

MESSAGES = "/channels/{channel_id}/messages"
MESSAGE = "/channels/{channel_id}/messages/{message_id}"
ORIGINAL = "/webhooks/{webhook_id}/{webhook_token}/messages/@original"
CALLBACK = "/interactions/{interaction_id}/{interaction_token}/callback"
COMMANDS = "/applications/{application_id}/commands"
NO_PINGS = discord.AllowedMentions.none()


def ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def component(number: int, **properties: object) -> dict[str, Any]:
    kind = {"type": "integer", "enum": [number], "allOf": [ref("Kind")]}
    return {"type": "object", "properties": {"type": kind, **properties}, "required": ["type", *properties]}


SMALL_DOCUMENT = {
    "openapi": "3.1.0",
    "paths": {
        "/boxes/{box_id}": {
            "parameters": [],
            "put": {
                "requestBody": {
                    "required": True,
                    "content": {
                        "application/json": {
                            "schema": {
                                "type": "object",
                                "properties": {
                                    "owner": ref("SnowflakeType"),
                                    "first": {"oneOf": [{"type": "null"}, ref("Leaf")]},
                                    "parts": {"type": "array", "items": {"oneOf": [ref("Leaf"), ref("Branch")]}},
                                    "size": {"oneOf": [{"type": "integer"}, {"type": "string", "maxLength": 3}]},
                                },
                            }
                        }
                    },
                }
            },
        },
        "/boxes/{box_id}/@me": {"delete": {}},
    },
    "components": {
        "schemas": {
            "SnowflakeType": {"type": "string", "pattern": "^(0|[1-9][0-9]*)$"},
            "Kind": {"type": "integer", "oneOf": [{"title": "LEAF", "const": 1}, {"title": "BRANCH", "const": 2}]},
            "Leaf": component(1, text={"type": "string", "maxLength": 5}),
            "Branch": component(2, parts={"type": "array", "items": {"oneOf": [ref("Leaf"), ref("Branch")]}}),
        }
    },
}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Validate:
    path = tmp_path_factory.mktemp("openapi") / "small.json"
    path.write_text(json.dumps(SMALL_DOCUMENT), encoding="utf-8")
    return load_validator(path)


@pytest.fixture(scope="module")
def official() -> Validate:
    path = os.environ.get("DISCORD_OPENAPI")
    if not path:
        pytest.skip("DISCORD_OPENAPI names no copy of Discord's OpenAPI document")
    return load_validator(Path(path))


LEAF = {"type": 1, "text": "a"}

REFUSED_BY_SMALL: list[tuple[object, str]] = [
    ([], "$: [] is not of type 'object'."),
    ({"owner": "x1"}, "$.owner: 'x1' does not match '^(0|[1-9][0-9]*)$'."),
    ({"owner": -1}, "$.owner: -1 is less than the minimum of 0."),
    ({"owner": True}, "$.owner: True is not of type 'string', 'integer'."),
    ({"first": {"type": 1, "text": "a longer text"}}, "$.first.text: 'a longer text' is too long."),
    ({"first": {"type": 2, "text": "a"}}, "$.first.type: 2 is not one of [1]."),
    ({"parts": [LEAF, {"type": 3}]}, "$.parts[1]: type 3 is not one of [1, 2]."),
    ({"parts": [{"type": []}]}, "$.parts[0]: type [] is not one of [1, 2]."),
    ({"parts": ["leaf"]}, "$.parts[0]: 'leaf' is not of type 'object'."),
    (
        {"parts": [{"type": 2, "parts": [{"type": 2, "parts": [{"type": 1}]}]}]},
        "$.parts[0].parts[0].parts[0]: 'text' is a required property.",
    ),
    ({"size": "four"}, "$.size: 'four' is too long."),
]


@pytest.mark.parametrize(("body", "sentence"), REFUSED_BY_SMALL)
def test_a_refused_body_gets_one_sentence_with_the_place(small: Validate, body: object, sentence: str) -> None:
    assert small("PUT", "/boxes/{id}", body) == [f"PUT /boxes/{{id}}: {sentence}"]


def test_a_fitting_body_gets_no_sentence(small: Validate) -> None:
    body = {"owner": 12, "first": None, "parts": [LEAF, {"type": 2, "parts": [LEAF]}], "size": 4, "unknown": True}
    assert small("put", "/boxes/{any_name}", body) == []
    assert small("PUT", "/boxes/{box_id}", {"owner": "12", "first": LEAF, "size": "abc"}) == []


def test_every_broken_rule_gets_its_sentence(small: Validate) -> None:
    assert len(small("PUT", "/boxes/{box_id}", {"owner": "x", "parts": [{"type": 9}, {"type": 8}]})) == 3


def test_an_operation_is_known_by_method_and_shape(small: Validate) -> None:
    assert small("POST", "/boxes/{box_id}", {}) == ["Discord's document knows no POST /boxes/{box_id}."]
    assert small("DELETE", "/boxes/{box_id}/{user_id}", None) == [
        "Discord's document knows no DELETE /boxes/{box_id}/{user_id}."
    ]
    assert small("DELETE", "/boxes/{x}/@me", None) == []


def test_an_unexpected_body_and_a_missing_body_are_refused(small: Validate) -> None:
    assert small("DELETE", "/boxes/{x}/@me", {"a": 1}) == ["DELETE /boxes/{x}/@me takes no body."]
    assert small("PUT", "/boxes/{x}", None) == ["PUT /boxes/{x} needs a body."]


def test_a_long_error_is_cut(small: Validate) -> None:
    (sentence,) = small("PUT", "/boxes/{x}", {"first": {"type": 1, "text": "a" * 5000}})
    assert len(sentence) < 400
    assert sentence.endswith("is too long.")


class Card(ui.LayoutView):
    """One of every component that a message may have."""

    def __init__(self) -> None:
        super().__init__(timeout=None)
        go = ui.Button["Card"](label="Go", custom_id="go", emoji="🔁")
        link = ui.Button["Card"](label="Read", url="https://example.org")
        options = [discord.SelectOption(label="One", value="1", description="The first", default=True)]
        container = ui.Container["Card"](accent_colour=0x123456)
        container.add_item(ui.Section("a", "b", accessory=ui.Thumbnail("attachment://map.png", description="A map")))
        container.add_item(ui.Section("c", accessory=ui.Button(label="Stop", custom_id="stop")))
        container.add_item(ui.Separator(spacing=discord.SeparatorSpacing.large))
        container.add_item(ui.MediaGallery(discord.MediaGalleryItem("attachment://map.png", description="A map")))
        container.add_item(ui.File("attachment://all.txt"))
        container.add_item(ui.ActionRow(go, link))
        container.add_item(ui.ActionRow(ui.Select(custom_id="pick", placeholder="Pick", options=options)))
        container.add_item(ui.ActionRow(ui.UserSelect(custom_id="who")))
        self.add_item(container)
        self.add_item(ui.TextDisplay("after"))


def form() -> ui.Modal:
    modal = ui.Modal(title="Form", custom_id="form")
    modal.add_item(ui.TextDisplay("Read this."))
    text = ui.TextInput[ui.Modal](custom_id="text", style=discord.TextStyle.long, default="v", placeholder="p")
    modal.add_item(ui.Label(text="Text", description="Any", component=text))
    options = [discord.SelectOption(label="One")]
    modal.add_item(ui.Label(text="Pick", component=ui.Select(custom_id="pick", options=options)))
    modal.add_item(ui.Label(text="File", component=ui.FileUpload(custom_id="file", required=False)))
    return modal


def commands() -> list[dict[str, Any]]:
    tree = app_commands.CommandTree(discord.Client(intents=discord.Intents.none()))
    top = app_commands.Group(name="top", description="Top", default_permissions=discord.Permissions(manage_guild=True))
    inner = app_commands.Group(name="inner", description="Inner", parent=top)

    @inner.command(name="run", description="Run it")
    @app_commands.choices(kind=[app_commands.Choice(name="A", value="a")])
    @app_commands.allowed_contexts(guilds=True, dms=True, private_channels=True)
    async def run(
        interaction: discord.Interaction,
        text: app_commands.Range[str, 1, 6000],
        count: app_commands.Range[int, 1, 50] = 3,
        heat: app_commands.Range[float, 0.0, 2.0] = 0.7,
        kind: str = "a",
        file: discord.Attachment | None = None,
        channel: discord.TextChannel | None = None,
    ) -> None: ...

    @tree.context_menu(name="Continue This")
    async def continue_this(interaction: discord.Interaction, message: discord.Message) -> None: ...

    tree.add_command(top)
    return [command.to_dict(tree) for command in tree.get_commands(type=None)]


def sent(parameters: MultipartParameters) -> dict[str, Any]:
    """Return the JSON that discord.py would send."""
    if parameters.payload is not None:
        return parameters.payload
    assert parameters.multipart is not None
    body: dict[str, Any] = json.loads(parameters.multipart[0]["value"])
    return body


def files() -> list[discord.File]:
    return [
        discord.File(io.BytesIO(b"x"), "map.png", description="A map"),
        discord.File(io.BytesIO(b"x"), "all.txt"),
    ]


async def test_what_discord_py_sends_fits_the_official_document(official: Validate) -> None:
    hidden = discord.MessageFlags(ephemeral=True)
    reference = discord.MessageReference(message_id=1, channel_id=2, guild_id=3).to_message_reference_dict()
    reply = handle_message_parameters("hi", nonce="1.2", allowed_mentions=NO_PINGS, message_reference=reference)
    card = handle_message_parameters(view=Card(), files=files(), allowed_mentions=NO_PINGS)
    edit = handle_message_parameters(None, view=Card(), attachments=files(), allowed_mentions=NO_PINGS)
    plain = interaction_message_response_params(type=4, content="hi", flags=hidden, allowed_mentions=NO_PINGS)
    update = interaction_message_response_params(type=7, view=Card(), attachments=files(), allowed_mentions=NO_PINGS)
    choices = {"choices": [app_commands.Choice(name="a", value="b").to_dict()]}
    bodies: list[tuple[str, str, object]] = [
        ("POST", MESSAGES, sent(reply)),
        ("POST", MESSAGES, sent(card)),
        ("PATCH", MESSAGE, sent(edit)),
        ("PATCH", ORIGINAL, sent(edit)),
        ("POST", "/webhooks/{webhook_id}/{webhook_token}", sent(card)),
        ("POST", CALLBACK, sent(plain)),
        ("POST", CALLBACK, sent(update)),
        ("POST", CALLBACK, {"type": 5, "data": {"flags": 64}}),
        ("POST", CALLBACK, {"type": 6}),
        ("POST", CALLBACK, {"type": 8, "data": choices}),
        ("POST", CALLBACK, {"type": 9, "data": form().to_dict()}),
        ("PUT", COMMANDS, commands()),
        ("POST", MESSAGES + "/bulk-delete", {"messages": [1, 2]}),
        ("PUT", MESSAGE + "/reactions/{emoji}/@me", None),
        ("POST", "/channels/{channel_id}/typing", None),
        ("GET", "/gateway/bot", None),
    ]
    assert [sentence for body in bodies for sentence in official(*body)] == []


async def test_the_official_document_refuses_invalid_bodies_with_a_place(official: Validate) -> None:
    body = sent(handle_message_parameters(view=Card(), files=files(), allowed_mentions=NO_PINGS))
    body["components"][0]["components"][5]["components"][0]["label"] = "x" * 81
    body["components"][1]["type"] = 99
    body["attachments"][0]["id"] = "first"
    body["nonce"] = "x" * 26
    places = [sentence.split(": ")[1] for sentence in official("POST", MESSAGES, body)]
    assert sorted(places) == [
        "$.attachments[0].id",
        "$.components[0].components[5].components[0].label",
        "$.components[1]",
        "$.nonce",
    ]


async def test_a_form_with_a_button_is_refused(official: Validate) -> None:
    data = form().to_dict() | {"components": [{"type": 18, "label": "L", "component": {"type": 2, "style": 1}}]}
    (sentence,) = official("POST", CALLBACK, {"type": 9, "data": data})
    assert "$.data.components[0].component: type 2 is not one of" in sentence

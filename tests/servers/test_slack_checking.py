"""The checks of blocks and views, each at its limit and one past it."""

from typing import Any

import pytest

from tests.servers.slack.checking import message_error, message_findings, pings, previews, view_findings

Json = dict[str, Any]


def plain(length: int) -> Json:
    return {"type": "plain_text", "text": "a" * length}


def mrkdwn(length: int) -> Json:
    return {"type": "mrkdwn", "text": "a" * length}


def button(**more: Any) -> Json:
    return {"type": "button", "text": plain(1), "action_id": "a"} | more


def option(text: int = 1, value: str = "v", **more: Any) -> Json:
    return {"text": plain(text), "value": value} | more


def select(count: int = 1, **more: Any) -> Json:
    listed = [option(value=str(number)) for number in range(count)]
    return {"type": "static_select", "action_id": "s", "options": listed} | more


def actions(*elements: Json) -> Json:
    return {"type": "actions", "elements": list(elements)}


def buttons(count: int) -> Json:
    return actions(*(button(action_id=str(number)) for number in range(count)))


def image(**more: Any) -> Json:
    return {"type": "image", "image_url": "https://example.com/a.png", "alt_text": "a"} | more


def table(rows: int, cells: int, length: int = 1) -> Json:
    cell = {"type": "raw_text", "text": "a" * length}
    return {"type": "table", "rows": [[cell] * cells for _ in range(rows)]}


def field(**more: Any) -> Json:
    element = {"type": "plain_text_input", "action_id": "i"} | more
    return {"type": "input", "label": plain(1), "element": element}


def no_image(source: Json) -> str | None:
    return None if source.get("id") == "F1" else "there is none"


def errors(*blocks: Any) -> list[str]:
    return [str(finding) for finding in message_findings(list(blocks), no_image)]


LIMITS: list[tuple[str, Json, Json]] = [
    ("section text", {"type": "section", "text": mrkdwn(3000)}, {"type": "section", "text": mrkdwn(3001)}),
    ("fields", {"type": "section", "fields": [mrkdwn(2000)] * 10}, {"type": "section", "fields": [mrkdwn(1)] * 11}),
    ("field", {"type": "section", "fields": [mrkdwn(2000)]}, {"type": "section", "fields": [mrkdwn(2001)]}),
    ("no text", {"type": "section", "text": mrkdwn(1)}, {"type": "section", "text": mrkdwn(0)}),
    ("header", {"type": "header", "text": plain(150)}, {"type": "header", "text": plain(151)}),
    ("header's kind", {"type": "header", "text": plain(1)}, {"type": "header", "text": mrkdwn(1)}),
    ("markdown", {"type": "markdown", "text": "a" * 12_000}, {"type": "markdown", "text": "a" * 12_001}),
    ("context", {"type": "context", "elements": [mrkdwn(1)] * 10}, {"type": "context", "elements": [mrkdwn(1)] * 11}),
    ("actions", buttons(25), buttons(26)),
    ("no actions", buttons(1), actions()),
    ("twice", actions(button(), button(action_id="b")), actions(button(), button())),
    ("button text", actions(button(text=plain(75))), actions(button(text=plain(76)))),
    ("button value", actions(button(value="a" * 2000)), actions(button(value="a" * 2001))),
    ("action_id", actions(button(action_id="a" * 255)), actions(button(action_id="a" * 256))),
    ("style", actions(button(style="danger")), actions(button(style="red"))),
    ("button's kind", actions(button()), actions(button(text=mrkdwn(1)))),
    ("block_id", buttons(1) | {"block_id": "a" * 255}, buttons(1) | {"block_id": "a" * 256}),
    ("options", actions(select(100)), actions(select(101))),
    ("no options", actions(select(1)), actions(select(0))),
    ("option text", actions(select(options=[option(75)])), actions(select(options=[option(76)]))),
    (
        "option value",
        actions(select(options=[option(value="a" * 150)])),
        actions(select(options=[option(value="a" * 151)])),
    ),
    (
        "option description",
        actions(select(options=[option(description=plain(75))])),
        actions(select(options=[option(description=plain(76))])),
    ),
    ("initial", actions(select(initial_option=option(value="0"))), actions(select(initial_option=option(value="x")))),
    ("placeholder", actions(select(placeholder=plain(150))), actions(select(placeholder=plain(151)))),
    (
        "overflow",
        actions({"type": "overflow", "action_id": "o", "options": [option()] * 5}),
        actions({"type": "overflow", "action_id": "o", "options": [option()] * 6}),
    ),
    (
        "confirm",
        actions(button(confirm={"title": plain(100), "text": mrkdwn(300), "confirm": plain(30), "deny": plain(30)})),
        actions(button(confirm={"title": plain(101), "text": mrkdwn(300), "confirm": plain(30), "deny": plain(30)})),
    ),
    ("alt text", image(alt_text="a" * 2000), image(alt_text="a" * 2001)),
    ("image without alt text", image(), {"type": "image", "image_url": "https://example.com/a.png"}),
    ("two sources", image(), image(slack_file={"id": "F1"})),
    (
        "file",
        {"type": "image", "alt_text": "a", "slack_file": {"id": "F1"}},
        {"type": "image", "alt_text": "a", "slack_file": {"id": "F2"}},
    ),
    ("rows", table(100, 1), table(101, 1)),
    ("cells", table(1, 20), table(1, 21)),
    ("characters of a table", table(100, 1, 100), table(100, 1, 101)),
    ("input", field(max_length=3000), field(max_length=3001)),
    ("initial value", field(initial_value="a" * 5, max_length=5), field(initial_value="a" * 6, max_length=5)),
    ("unknown field", {"type": "divider"}, {"type": "divider", "color": "red"}),
    ("unknown block", {"type": "divider"}, {"type": "banner"}),
    ("unknown element", actions(button()), actions({"type": "plain_text_input", "action_id": "a"})),
    (
        "accessory",
        {"type": "section", "text": mrkdwn(1), "accessory": select()},
        {"type": "section", "text": mrkdwn(1), "accessory": {"type": "plain_text_input"}},
    ),
    (
        "rich text",
        {"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": [{"type": "text", "text": "a"}]}]},
        {"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": [{"type": "word", "text": "a"}]}]},
    ),
    (
        "half a surrogate",
        {"type": "section", "text": mrkdwn(1)},
        {"type": "section", "text": mrkdwn(0) | {"text": "\ud83d"}},
    ),
]


@pytest.mark.parametrize(("allowed", "refused"), [pair[1:] for pair in LIMITS], ids=[pair[0] for pair in LIMITS])
def test_a_block_is_checked_at_its_limit(allowed: Json, refused: Json):
    assert errors(allowed) == []
    assert errors(refused)


def test_a_finding_says_what_and_where():
    assert errors({"type": "section", "text": mrkdwn(3001)}) == [
        "must be less than 3001 characters [json-pointer:/blocks/0/text/text]"
    ]


def test_blocks_are_counted_together():
    divider = {"type": "divider"}
    assert errors(*[divider] * 50) == []
    assert errors(*[divider] * 51) == ["no more than 50 items allowed [json-pointer:/blocks]"]
    assert errors({"type": "markdown", "text": "a" * 6000}, {"type": "markdown", "text": "a" * 6001})
    assert errors(table(1, 1), table(1, 1)) == ["only_one_table_allowed [json-pointer:/blocks]"]
    assert errors(divider | {"block_id": "x"}, divider | {"block_id": "x"})


def view(kind: str = "modal", **more: Any) -> Json:
    parts: Json = {"title": plain(24), "submit": plain(24), "close": plain(24)} if kind == "modal" else {}
    return {"type": kind, "blocks": [{"type": "divider"}]} | parts | more


@pytest.mark.parametrize(
    ("allowed", "refused"),
    [
        ({}, {"title": plain(25)}),
        ({}, {"submit": plain(25)}),
        ({}, {"close": plain(25)}),
        ({}, {"title": mrkdwn(3)}),
        ({"private_metadata": "a" * 3000}, {"private_metadata": "a" * 3001}),
        ({"callback_id": "a" * 255}, {"callback_id": "a" * 256}),
        ({"blocks": [{"type": "divider"}] * 100}, {"blocks": [{"type": "divider"}] * 101}),
        ({}, {"blocks": [{"type": "markdown", "text": "a"}]}),
        ({}, {"blocks": [table(1, 1)]}),
        ({"blocks": [field()]}, {"blocks": [field()], "submit": None}),
        ({}, {"colour": "red"}),
    ],
)
def test_a_modal_is_checked_at_its_limit(allowed: Json, refused: Json):
    assert not view_findings(view(**allowed), no_image, is_home=False)
    assert view_findings(view(**refused), no_image, is_home=False)


def test_a_home_tab_is_no_modal():
    assert not view_findings(view("home"), no_image, is_home=True)
    assert view_findings(view("modal"), no_image, is_home=True)
    assert view_findings(view("home", blocks=[{"type": "divider"}] * 101), no_image, is_home=True)


@pytest.mark.parametrize(
    ("arguments", "is_update", "error"),
    [
        ({"text": "a" * 40_000}, False, None),
        ({"text": "a" * 40_001}, False, "msg_too_long"),
        ({"text": "é" * 2000}, True, None),
        ({"text": "é" * 2001}, True, "msg_too_long"),
        ({"text": "&" * 800}, True, None),
        ({"text": "&" * 801}, True, "msg_too_long"),
        ({"text": "&amp;" * 800}, True, None),
        ({"markdown_text": "a" * 12_000}, False, None),
        ({"markdown_text": "a" * 12_001}, False, "msg_too_long"),
        ({"markdown_text": "a", "text": "b"}, False, "markdown_text_conflict"),
        ({"text": " "}, False, "no_text"),
        ({"blocks": []}, False, "no_text"),
        ({"blocks": [{"type": "section", "text": mrkdwn(2600)}] * 5}, False, None),
        ({"blocks": [{"type": "section", "text": mrkdwn(2601)}] * 5}, False, "msg_blocks_too_long"),
    ],
)
def test_the_texts_of_a_message_are_checked_at_their_limits(arguments: Json, is_update: bool, error: str | None):
    assert message_error(arguments, is_update=is_update) == error


@pytest.mark.parametrize(
    "arguments",
    [
        {"text": "hey <!channel>"},
        {"text": "hey <!here|here>"},
        {"text": "<!everyone>"},
        {"text": "<!subteam^S012|@mods>"},
        {"text": "<@U0123>"},
        {"markdown_text": "<!channel>"},
        {"blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": "<@U0123>"}}]},
        {"blocks": [{"type": "context", "elements": [{"type": "mrkdwn", "text": "<!here>"}]}]},
        {"blocks": [{"type": "markdown", "text": "<!here>"}]},
        {
            "blocks": [
                {"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": [{"type": "broadcast"}]}]}
            ]
        },
        {"chunks": [{"type": "markdown_text", "text": "<!channel>"}]},
        {"text": "hey", "link_names": True},
        {"text": "hey", "parse": "full"},
    ],
)
def test_what_would_ping_is_found(arguments: Json):
    assert len(pings(arguments, "U9")) == 1


@pytest.mark.parametrize(
    "block",
    [
        {"type": "table", "rows": [[{"type": "raw_text", "text": "<!here>"}]]},
        {"type": "header", "text": {"type": "plain_text", "text": "<!here>"}},
        {
            "type": "rich_text",
            "elements": [{"type": "rich_text_section", "elements": [{"type": "text", "text": "<@U1>"}]}],
        },
    ],
)
def test_in_plain_and_rich_text_a_mention_is_only_letters(block: Json):
    assert pings({"blocks": [block]}, "U9") == []


def test_what_is_escaped_or_about_the_bot_itself_pings_nobody():
    assert pings({"text": "&lt;!channel&gt; @channel @here <#C1|general> <https://example.com|x> <@U9>"}, "U9") == []


def test_previews_must_be_switched_off():
    assert previews({}) == ["unfurl_links", "unfurl_media"]
    assert previews({"unfurl_links": False, "unfurl_media": True}) == ["unfurl_media"]
    assert previews({"unfurl_links": False, "unfurl_media": False}) == []

import asyncio
import logging
from typing import Any

import discord
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.core.cards import Form, FormField, SelectOption
from bot.platforms.discord.interactions.forms import modal_of, read_submission
from tests.platforms.discord.checks import CALLBACK, objections
from tests.platforms.discord.samples import Connection, attachment, interaction

KINDS = (SelectOption("complete", "complete"), SelectOption("classify", "classify", "picks a label", is_chosen=True))
FORM = Form(
    "draft-17",
    "Edit sentiment",
    (
        FormField("description", "Description", value="Is a message friendly?", max_characters=200),
        FormField(
            "instruction", "Instruction", "paragraph", help="before the examples", value="a\nb", is_required=False
        ),
        FormField("kind", "Kind", "choice", options=KINDS),
        FormField("labels", "Labels", value="", is_required=False),
        FormField("file", "File", "file", help="a .prompt file", is_required=False),
    ),
)


async def payload_of(form: Form) -> dict[str, Any]:
    return modal_of(form).to_dict()


def submitted(
    components: list[dict[str, Any]], custom_id: str = "fewshot-form:draft-17", **resolved: Any
) -> dict[str, Any]:
    return interaction(5, {"custom_id": custom_id, "components": components, "resolved": resolved})


def filled(name: str, value: str, *, kind: int = 4) -> dict[str, Any]:
    return {"type": 18, "id": 1, "component": {"type": kind, "id": 2, "custom_id": name, "value": value}}


def chosen(name: str, *values: str, kind: int = 3) -> dict[str, Any]:
    return {"type": 18, "id": 3, "component": {"type": kind, "id": 4, "custom_id": name, "values": list(values)}}


async def test_a_form_is_a_modal_with_a_label_around_each_field() -> None:
    payload = await payload_of(FORM)
    assert payload["title"] == "Edit sentiment"
    assert payload["custom_id"] == "fewshot-form:draft-17"
    assert [(label["type"], label["label"], label.get("description")) for label in payload["components"]] == [
        (18, "Description", None),
        (18, "Instruction", "before the examples"),
        (18, "Kind", None),
        (18, "Labels", None),
        (18, "File", "a .prompt file"),
    ]
    inputs = [label["component"] for label in payload["components"]]
    assert [(field["type"], field["custom_id"], field["required"]) for field in inputs] == [
        (4, "description", True),
        (4, "instruction", False),
        (3, "kind", True),
        (4, "labels", False),
        (19, "file", False),
    ]
    assert (inputs[0]["style"], inputs[0]["value"], inputs[0]["max_length"]) == (1, "Is a message friendly?", 200)
    assert (inputs[1]["style"], inputs[1]["value"]) == (2, "a\nb")
    assert [option["default"] for option in inputs[2]["options"]] == [False, True]
    assert objections("POST", CALLBACK, {"type": 9, "data": payload}) == []


async def test_a_value_that_is_too_long_is_cut_and_the_form_says_so() -> None:
    field = FormField("text", "Text", "paragraph", help="what it is about", value="x" * 5000)
    (label,) = (await payload_of(Form("1", "Edit", (field,))))["components"]
    assert label["component"]["value"] == "x" * 4000
    assert label["description"] == "Only the first 4,000 of 5,000 characters fit here; the rest is cut."


async def test_a_line_that_has_line_breaks_already_keeps_them() -> None:
    (label,) = (await payload_of(Form("1", "Edit", (FormField("text", "Text", value="a\nb"),))))["components"]
    assert (label["component"]["style"], label["component"]["value"]) == (2, "a\nb")


async def test_the_value_of_a_choice_is_chosen_already() -> None:
    options = (SelectOption("a", "A"), SelectOption("b", "B"))
    field = FormField("kind", "Kind", "choice", value="b", options=options)
    (label,) = (await payload_of(Form("1", "Edit", (field,))))["components"]
    assert [option["default"] for option in label["component"]["options"]] == [False, True]


@pytest.mark.parametrize("num_fields", [0, 6])
async def test_a_form_that_discord_would_not_show_is_a_programming_error(num_fields: int) -> None:
    with pytest.raises(ValueError, match="1 to 5 fields"):
        modal_of(Form("1", "Edit", (FormField("a", "A"),) * num_fields))


fields = st.builds(
    FormField,
    name=st.text("abc_", min_size=1, max_size=20),
    label=st.text(min_size=1, max_size=80),
    kind=st.sampled_from(["line", "paragraph", "choice", "file"]),
    help=st.text(max_size=300),
    value=st.text(max_size=60) | st.just("\U0001f469\u200d\U0001f680" * 3000),
    is_required=st.booleans(),
    max_characters=st.integers(1, 4000),
    options=st.lists(
        st.builds(SelectOption, value=st.text("xyz", min_size=1, max_size=9), label=st.text(min_size=1, max_size=200)),
        min_size=1,
        max_size=25,
        unique_by=lambda option: option.value,
    ).map(tuple),
)


@given(st.lists(fields, min_size=1, max_size=5, unique_by=lambda field: field.name), st.text(min_size=1, max_size=99))
def test_every_form_keeps_discord_s_limits(fields: list[FormField], title: str) -> None:
    payload = asyncio.run(payload_of(Form("7" * 40, title, tuple(fields))))
    assert objections("POST", CALLBACK, {"type": 9, "data": payload}) == []


async def test_a_submission_is_read_from_the_payload_alone() -> None:
    data = submitted(
        [
            filled("description", "new"),
            filled("instruction", ""),
            chosen("kind", "classify"),
            chosen("labels"),
            chosen("file", "555", kind=19),
            {"type": 10, "id": 9},
        ],
        attachments={"555": attachment("a.prompt")},
    )
    found = read_submission(Connection().interaction(data))
    assert found is not None
    assert found.form_id == "draft-17"
    assert found.values == {"description": "new", "instruction": "", "kind": "classify", "labels": "", "file": ""}
    assert {name: file.filename for name, file in found.files.items()} == {"file": "a.prompt"}


async def test_fields_in_rows_and_a_form_without_a_file_are_read_too() -> None:
    row = {"type": 1, "components": [{"type": 4, "custom_id": "text", "value": "words"}]}
    found = read_submission(Connection().interaction(submitted([row, chosen("file", kind=19)])))
    assert found is not None
    assert found.values == {"text": "words", "file": ""}
    assert found.files == {}


async def test_other_interactions_are_not_a_form() -> None:
    connection = Connection()
    assert read_submission(connection.interaction(submitted([], custom_id="other:1"))) is None
    click = {"custom_id": "fewshot-form:1", "component_type": 2}
    assert read_submission(connection.interaction(interaction(3, click))) is None
    assert read_submission(connection.interaction(interaction(2, {"name": "help", "id": "1"}))) is None


async def test_a_form_that_is_sent_in_after_a_restart_comes_to_the_client_and_nothing_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    connection = Connection()
    came: asyncio.Queue[discord.Interaction[Any]] = asyncio.Queue()

    class Client(discord.Client):
        async def on_interaction(self, interaction: discord.Interaction[Any]) -> None:
            came.put_nowait(interaction)

    async with Client(intents=discord.Intents(guilds=True)) as client:
        client._connection.user = connection.me
        client._connection.parse_interaction_create(submitted([filled("description", "new")]))  # type: ignore[arg-type]
        found = read_submission(await asyncio.wait_for(came.get(), 2))
    assert found is not None
    assert found.values == {"description": "new"}
    assert caplog.records == []


async def test_no_modal_is_kept_for_a_form() -> None:
    assert modal_of(FORM).is_finished()

"""Write, over the socket: texts with branches are kept, stay in step between windows, and are their writer's own."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bot.services.writing import MAX_WRITINGS
from tests.platforms.web.conftest import Served, ServePage
from tests.platforms.web.windows import BrowserWindow, Json, Refused, texts_of

SEEDED = {"num": 2, "max_new_tokens": 8, "seed": 3}


async def begun(window: BrowserWindow, text: str) -> Json:
    """Return a new text."""
    writing: Json = (await window.ask("add_writing", text=text))["writing"]
    return writing


async def changed(window: BrowserWindow, op: str, writing: Json, **fields: Any) -> Json:
    """Return a text after a change of the window that showed it as `writing`."""
    typed = {"id": writing["id"], "at": writing["at"], "revision": writing["revision"], "text": writing["text"]}
    answer: Json = (await window.ask(op, **{**typed, **fields}))["writing"]
    return answer


async def listed(window: BrowserWindow) -> list[str]:
    return [one["name"] for one in (await window.ask("writings"))["writings"]]


def shown(writing: Json) -> list[tuple[int, str, str]]:
    return [(one["depth"], one["text"], one["name"]) for one in writing["branches"]]


async def test_a_text_is_typed_taken_changed_and_walked_and_stays_after_a_restart(serve: ServePage):
    async with serve() as served, served.window() as window:
        writing = await begun(window, "Once upon")
        writing = await changed(window, "save_writing", writing, text="Once upon a")
        writing = await changed(window, "take_writing", writing, added=" time.", seed=12)
        assert writing["text"] == "Once upon a time."
        assert [(one["is_model"], one["seed"]) for one in writing["branches"]] == [(False, None), (True, 12)]
        model = writing["at"]
        writing = await changed(window, "put_word", writing, whole="Once upon a day", word=" day", probability=0.25)
        assert writing["text"] == "Once upon a day"
        assert shown(writing) == [(1, "Once upon a", ""), (2, " time.", ""), (2, " day", "")]
        writing = await changed(window, "go_branch", writing, branch=model)
        assert writing["text"] == "Once upon a time."
        writing = await changed(window, "name_branch", writing, branch=model, name=" the  first ")
        writing = await changed(window, "prune_branch", writing, branch=3)
        assert shown(writing) == [(1, "Once upon a", ""), (2, " time.", "the first")]
        writing = await changed(window, "undo_writing", writing)
        assert len(writing["branches"]) == 3
        writing = await changed(window, "rename_writing", writing, name="A tale")
        await begun(window, "")
        assert await listed(window) == ["A new text", "A tale"]
    async with serve() as served, served.window() as window:
        again = (await window.ask("writing", id=writing["id"]))["writing"]
        assert again == writing
        file = await window.ask("export_writing", id=writing["id"], format="txt")
        assert "[the first]" in file["text"]
        data = json.loads((await window.ask("export_writing", id=writing["id"], format="json"))["text"])
        assert [one["text"] for one in data["branches"]] == ["Once upon a", " time.", " day"]
        await window.ask("remove_writing", id=writing["id"])
        with pytest.raises(Refused, match="That text is not there any more"):
            await window.ask("writing", id=writing["id"])


async def test_two_windows_stay_in_step_and_neither_loses_what_it_typed(served: Served):
    async with served.window() as one, served.window() as two:
        here = await begun(one, "Once")
        await two.until(lambda: [frame for frame in two.frames if frame["op"] == "writings"], "the list's change")
        there = (await two.ask("writing", id=here["id"]))["writing"]
        here = await changed(one, "save_writing", here, text="Once upon")
        seen = await two.until(lambda: [frame for frame in two.frames if frame["op"] == "writing"], "the text")
        assert seen[-1]["writing"]["text"] == "Once upon"
        # The second window had not seen that yet when it typed.
        there = await changed(two, "save_writing", there, text="Once more")
        assert there["text"] == "Once more"
        assert "another window" in there["notice"]
        here = await changed(one, "go_branch", here, branch=here["at"])
        assert here["text"] == "Once upon"
        assert sorted(one["text"] for one in here["branches"]) == ["Once upon", "more"]
        # What is the same needs no branch.
        again = await changed(two, "save_writing", {**there, "revision": 1})
        assert again["notice"] == ""
        assert len(again["branches"]) == 2


async def test_nobody_reads_the_texts_of_others(served: Served):
    async with served.window() as window, served.window() as other:
        writing = await begun(window, "a secret")
        person = (await window.ask("add_person", name="Ben"))["id"]
        await other.ask("become", id=person)
        assert await listed(other) == []
        for op in ("writing", "save_writing", "remove_writing", "export_writing"):
            with pytest.raises(Refused, match="not there"):
                await other.ask(op, id=writing["id"], at=1, revision=1, text="mine")
        await changed(window, "save_writing", writing, text="another secret")
        assert "secret" not in json.dumps(other.frames)


async def test_privacy_shows_exports_and_erases_texts(served: Served):
    async with served.window() as window:
        await begun(window, "my zebra text")
        person = window.welcome["me"]["id"]
        exported = await served.talk.store.export_person("web", person)
        assert "my zebra text" in json.dumps([dict(one) for one in exported], default=str)
        await served.talk.store.forget_person("web", person)
        assert await listed(window) == []


async def test_somebody_who_asked_not_to_be_read_is_told_that_nothing_is_kept(served: Served):
    async with served.window() as window:
        await served.talk.store.opt_out("web", window.welcome["me"]["id"], is_out=True)
        with pytest.raises(Refused, match="asked not to be read"):
            await begun(window, "hello")
        with pytest.raises(Refused, match="asked not to be read"):
            await listed(window)


async def test_continuations_are_shown_while_they_are_written_and_can_be_stopped(serve: ServePage):
    story = " upon a time there was a fox who lived in a wood."
    async with serve([story], pause_s=0.1) as served, served.window() as window:
        asking = asyncio.ensure_future(window.ask("continue", text="Once", **SEEDED))
        growing = await window.until(
            lambda: [frame for frame in window.frames if frame["op"] == "continuing"], "a first word"
        )
        await window.ask("stop_continuing", asked=growing[0]["asked"])
        answer = await asking
        assert answer["seed"] == 3
        assert answer["texts"][0].startswith(growing[0]["texts"][0])
        assert not answer["texts"][0].endswith("wood.")
        await window.ask("stop_continuing", asked=growing[0]["asked"])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"temperature": 9}, "temperature takes a number from 0 to 2, not 9."),
        ({"preset": "odd"}, "preset takes one of careful, normal, wild, greedy, beam, not"),
        ({"num_beams": 4, "top_k": 3}, "Beam search does not sample"),
        (["temperature"], "Those are no sampling options."),
        ({"colour": 1}, "Those are no sampling options."),
        ({"stop": 3}, "Those are no sampling options."),
    ],
)
async def test_options_that_are_none_are_one_sentence(served: Served, options: object, sentence: str):
    async with served.window() as window:
        with pytest.raises(Refused) as caught:
            await window.ask("continue", text="Once", options=options, **SEEDED)
        assert sentence in str(caught.value)


async def test_greedy_and_beams_write_one_continuation(served: Served):
    async with served.window() as window:
        for preset in ("greedy", "beam"):
            answer = await window.ask("continue", text="Once", options={"preset": preset}, **SEEDED)
            assert len(answer["texts"]) == 1


async def test_write_and_tab_ask_the_model_of_the_open_channel_and_say_that_it_is_loaded(
    open_page: ServePage, roomy_model: Callable[[str], Path]
):
    async with open_page(others={"other": roomy_model("llama")}, room=1) as served, served.window() as window:
        models = served.talk.services.models
        first, *_ = window.welcome["servers"][0]["channels"]
        await window.open(first["id"])
        here = {"channel": first["id"]}

        async def asked_of(op: str, **fields: Any) -> tuple[str, list[str]]:
            """Return the model that was asked, and what the window was told first."""
            before, told = {one.name: one.num_done for one in models.states()}, len(window.frames)
            await window.ask(op, **here, **fields)
            after = {one.name: one.num_done for one in models.states()}
            (name,) = [name for name in after if after[name] > before[name]]
            return name, [frame["sentence"] for frame in window.frames[told:] if frame["op"] == "loading"]

        asking: dict[str, Any] = {
            "continue": {"text": "The cat", **SEEDED},
            "instead": {"before": "The cat", "word": "sat"},
            "suggest": {"command": "complete", "option": "TEXT", "typed": "The cat"},
            "look": {"line": "perplexity -- The cat sat"},
        }
        for op, fields in asking.items():
            assert await asked_of(op, **fields) == ("tiny", []), op
        scope = served.page.stage.places.scope_of(served.page.stage.places.person(window.welcome["me"]["id"]), **here)
        await served.talk.store.set_setting(scope, "channel", "model", "other")
        for op, fields in asking.items():
            assert await asked_of(op, **fields) == ("other", ["Loading other …"]), op
            assert await asked_of(op, **{**fields, **_other_words(fields)}) == ("other", []), op
            await models.close()
            models._is_closing = False


def _other_words(fields: Json) -> Json:
    """Return fields whose answer is not known yet."""
    return {"typed": "A dog"} if "typed" in fields else {}


async def test_other_words_come_as_they_would_be_written_there(open_page: ServePage):
    async with open_page() as served, served.window() as window:
        found = await window.ask("instead", before="The cat ", word="sat")
        assert found["words"]
        for one in found["words"]:
            assert not one["text"].startswith(" ")
            assert 0 < one["probability"] <= 1
        assert all(one["text"].strip() != "sat" for one in found["words"])
        probabilities = [one["probability"] for one in found["words"]]
        assert probabilities == sorted(probabilities, reverse=True)
        first = await window.ask("instead", before="", word="The")
        assert first["words"]


@pytest.mark.parametrize(
    "fields",
    [
        {"op": "writing"},
        {"op": "save_writing", "id": 3},
        {"op": "save_writing", "id": "none", "at": "x", "text": "y"},
        {"op": "put_word", "id": "none", "whole": "a", "probability": 7},
        {"op": "put_word", "id": "none", "whole": " ", "probability": 0.5},
        {"op": "go_branch", "id": "none", "branch": None},
        {"op": "add_writing", "text": "x" * 300_000},
        {"op": "instead", "before": 1},
    ],
)
async def test_what_no_page_sends_is_one_sentence(served: Served, fields: Json):
    async with served.window() as window:
        with pytest.raises(Refused) as caught:
            await window.ask(**fields)
        assert str(caught.value).count(".") <= 2


async def test_hostile_words_come_back_as_they_are_or_without_what_hides(served: Served):
    async with served.window() as window:
        for text in ("<script>alert(1)</script>", "a\u200bb", "\ud800", "x\u202ey", "\x00\x01"):
            writing = await begun(window, text)
            named = await changed(window, "name_branch", writing, branch=writing["branches"][0]["id"], name=text)
            assert "\u202e" not in named["branches"][0]["name"]
            assert (await window.ask("writing", id=writing["id"]))["writing"]["text"] == writing["text"]


async def test_somebody_has_a_limited_number_of_texts(served: Served):
    async with served.window() as window:
        for _ in range(MAX_WRITINGS):
            await begun(window, "x")
        with pytest.raises(Refused, match=f"You have {MAX_WRITINGS} texts"):
            await begun(window, "y")


async def test_names_of_texts_that_are_not_there_leave_nothing_behind(served: Served):
    async with served.window() as window:
        for number in range(20):
            with pytest.raises(Refused, match="not there any more"):
                await window.ask("rename_writing", id=f"none-{number}", name="a")
        writing = await begun(window, "Once")
        await window.ask("remove_writing", id=writing["id"])
    assert len(served.page.writings._turns) == 0


async def test_a_removed_text_is_erased_from_the_files(served: Served):
    async with served.window() as window:
        writing = await begun(window, "my zebra text")
        for number in range(30):
            writing = await changed(
                window, "save_writing", writing, text=f"my zebra text {number}" + " and so on" * 500
            )
            await begun(window, f"another {number}")
        await window.ask("remove_writing", id=writing["id"])
    for path in served.path.parent.glob(f"{served.path.name}*"):
        assert b"zebra" not in path.read_bytes(), path.name


async def test_other_windows_look_again_when_somebody_lets_the_bot_forget_them(served: Served):
    async with served.window() as one, served.window() as two:
        await begun(two, "my zebra text")
        await one.open(one.welcome["servers"][0]["channels"][0]["id"])
        num_before = len([frame for frame in two.frames if frame["op"] == "writings"])
        await one.say("/privacy --do forget-now")
        await two.until(
            lambda: len([frame for frame in two.frames if frame["op"] == "writings"]) > num_before, "the list's change"
        )
        assert await listed(two) == []


async def test_a_word_in_a_script_without_spaces_is_put_where_it_stands(served: Served):
    async with served.window() as window:
        writing = await begun(window, "我爱你🦊的狗")
        word = {"whole": "我爱你🦊的猫", "word": "猫", "probability": 0.5}
        writing = await changed(window, "put_word", writing, **word)
        assert shown(writing) == [(1, "我爱你🦊的狗", ""), (2, "猫", "")]
        assert writing["branches"][1]["instead_of"] == "狗"
        for wrong in ({**word, "word": ""}, {**word, "word": "x"}, {**word, "probability": float("nan")}):
            with pytest.raises(Refused, match="Choose a word first"):
                await changed(window, "put_word", writing, **wrong)


async def test_a_line_break_is_put_in_the_place_of_a_word(served: Served):
    async with served.window() as window:
        writing = await begun(window, "A rose is")
        writing = await changed(window, "put_word", writing, whole="A rose\n", word="\n", probability=0.1)
        assert writing["text"] == "A rose\n"
        assert len(writing["branches"]) == 2


async def test_privacy_says_that_texts_are_kept_and_that_they_will_be_erased(served: Served):
    async with served.window() as window:
        await window.open(window.welcome["servers"][0]["channels"][0]["id"])
        await window.say("/privacy")
        assert "Write" not in texts_of(await window.private_card())
        await begun(window, "one text")
        await window.say("/privacy")
        assert "1 text" in texts_of(await window.private_card(1))
        await begun(window, "another text")
        await window.say("/privacy --do forget")
        assert "Your 2 texts in Write are erased, too." in texts_of(await window.private_card(2))

"""The workbench's frames: who may do what, what two people do at once, and that nothing typed is lost."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.bots import MOOD
from tests.platforms.web.conftest import Served, ServePage
from tests.platforms.web.test_talking import HOSTILE
from tests.platforms.web.windows import BrowserWindow, Refused

Json = dict[str, Any]
BLANK = {
    "description": "",
    "kind": "complete",
    "instruction": "",
    "query": "$input",
    "preset": "normal",
    "options": "",
    "labels": [],
    "examples": [],
    "tests": [],
}
STATE = {
    **BLANK,
    "description": "Good or bad?",
    "kind": "classify",
    "query": "$input ->",
    "labels": ["good", "bad"],
    "examples": [["so fine", "good"], ["a loss", "bad"], ["yes", "good"]],
    "tests": [["fun", "good"], ["sad", "bad"]],
}


class Bench:
    """A window that speaks of one server's templates."""

    def __init__(self, window: BrowserWindow) -> None:
        self.window = window

    async def ask(self, op: str, **fields: Any) -> Json:
        return await self.window.ask(f"workbench_{op}", **{"channel": self.window.channel, **fields})

    async def refusal(self, op: str, **fields: Any) -> str:
        with pytest.raises(Refused) as refused:
            await self.ask(op, **fields)
        return str(refused.value)

    async def open(self, name: str) -> Json:
        return dict((await self.ask("open", name=name))["template"])

    async def save(self, name: str, state: Json, **over: Any) -> Json:
        """Save over what is stored now."""
        opened = await self.open(name)
        return await self.ask(
            "save", name=name, state=state, **{"base": opened["state"], "revision": opened["revision"], **over}
        )

    async def listed(self, name: str) -> Json | None:
        found = (await self.ask("list"))["templates"]
        return next((one for one in found if one["name"] == name), None)

    async def make(self, name: str, state: Json) -> None:
        await self.ask("create", name=name)
        await self.save(name, state)

    async def publish(self, name: str, **fields: Any) -> Json:
        opened = await self.open(name)
        known = {"revision": opened["revision"], "over": opened["number"]}
        return await self.ask("publish", name=name, **{**known, **fields})

    def news(self) -> list[str]:
        return [one["sentence"] for one in self.window.frames if one["op"] == "workbench_news"]


async def a_bench(served: Served, stack: AsyncExitStack, name: str = "", *, is_moderator: bool = True) -> Bench:
    """Open a window on the workbench, of a new person if `name` is not ""."""
    window = await stack.enter_async_context(served.window())
    if name:
        id_ = (await window.ask("add_person", name=name, is_moderator=is_moderator))["id"]
        channel = window.channel
        await window.ask("become", id=id_)
        await window.open(channel)
    bench = Bench(window)
    await bench.ask("watch", name="")
    return bench


async def test_a_template_is_begun_typed_tested_published_listed_and_used(open_page: ServePage) -> None:
    async with open_page() as served, AsyncExitStack() as stack:
        ada = await a_bench(served, stack)
        await ada.ask("create", name="mood")
        opened = await ada.open("mood")
        assert opened["has_draft"]
        assert "description is missing" in opened["next"]
        half = {**STATE, "tests": [["fun", "good"], ["sad", ""]]}
        saved = await ada.save("mood", half)
        assert saved["problem"] == "Test 2 has no output. Fill it in, or remove the row."
        assert (await ada.open("mood"))["state"] == half
        assert (await ada.save("mood", STATE))["problem"] == ""
        assert (await ada.open("mood"))["next"] == "Run the tests."
        assert not (await ada.ask("test", name="mood"))["is_stopped"]
        rows = [one["row"] for one in ada.window.frames if one["op"] == "workbench_step" and "row" in one]
        assert [one["index"] for one in rows] == [0, 1]
        for row in rows:
            assert sum(share for _, share in row["probabilities"]) == pytest.approx(1)
            assert row["is_right"] == (row["answered"] == row["output"])
        opened = await ada.open("mood")
        assert [one["index"] for one in opened["results"]] == [0, 1]
        assert opened["score"]["score"]["num_rows"] == 2
        done = await ada.publish("mood", reason="a first version")
        assert done["sentence"] == "Published mood as version 1."
        listed = await ada.listed("mood")
        assert listed is not None
        assert (listed["number"], listed["author"], listed["has_draft"]) == (1, "Ada", False)
        assert "accuracy" in listed["score"]
        asked = await ada.window.say("!prompt mood what a day")
        answer = await ada.window.answer_to(asked)
        assert answer["card"]["error"] is None


async def test_what_is_not_measured_is_said_when_it_is_published(open_page: ServePage) -> None:
    async with open_page() as served, AsyncExitStack() as stack:
        ada = await a_bench(served, stack)
        await ada.make("mood", STATE)
        assert "It was not measured" in (await ada.publish("mood"))["sentence"]


async def test_a_member_looks_and_proposes_and_changes_nothing(open_page: ServePage) -> None:
    async with open_page() as served, AsyncExitStack() as stack:
        ada = await a_bench(served, stack)
        ben = await a_bench(served, stack, "Ben", is_moderator=False)
        await ada.make("mood", STATE)
        assert await ben.listed("mood") is None
        await ada.publish("mood")
        opened = await ben.open("mood")
        assert (opened["is_moderator"], opened["has_draft"], opened["state"]) == (False, False, STATE)
        only = "Only moderators can use !"
        known = {"name": "mood", "state": STATE, "base": STATE, "revision": opened["revision"]}
        assert (await ben.refusal("save", **known)).startswith(only)
        for op, fields in (
            ("create", {"name": "other"}),
            ("import", {"name": "mood", "text": MOOD}),
            ("join", {"name": "mood"}),
            ("discard", {"name": "mood"}),
            ("publish", {"name": "mood", "revision": ""}),
            ("roll_back", {"name": "mood", "version": "1"}),
            ("settle", {"name": "mood", "number": "1", "table": "examples"}),
            ("test", {"name": "mood"}),
            ("tune", {"name": "mood"}),
            ("take", {"name": "mood", "version": "", "indexes": [0]}),
            ("try", {"name": "mood", "state": STATE, "input": "a"}),
        ):
            assert (await ben.refusal(op, **fields)).startswith(only), op
        proposed = await ben.ask("propose", name="mood", input="what luck", output="good")
        assert proposed["sentence"] == "Proposed as an example of mood. The moderators see it here."
        assert (await ben.open("mood"))["proposals"] == []
        (proposal,) = (await ada.open("mood"))["proposals"]
        assert (proposal["input"], proposal["output"], proposal["by"]) == ("what luck", "good", "Ben")
        assert (await ada.listed("mood") or {})["num_proposed"] == 1
        await ada.ask("settle", name="mood", number=str(proposal["number"]), table="tests")
        opened = await ada.open("mood")
        assert opened["state"]["tests"][-1] == ["what luck", "good"]
        assert opened["proposals"] == []


async def test_two_windows_that_save_at_once_keep_both_changes(open_page: ServePage) -> None:
    async with open_page() as served, AsyncExitStack() as stack:
        ada, again = await a_bench(served, stack), await a_bench(served, stack)
        await ada.make("mood", STATE)
        opened = await ada.open("mood")
        base, revision = opened["state"], opened["revision"]
        mine = {**STATE, "description": "One.", "examples": [*STATE["examples"], ["oh no", "bad"]]}
        other = {**STATE, "description": "Two.", "instruction": "Look.", "tests": STATE["tests"][:1]}
        assert not (await ada.ask("save", name="mood", state=mine, base=base, revision=revision))["is_joined"]
        saved = await again.ask("save", name="mood", state=other, base=base, revision=revision)
        assert saved["is_joined"]
        assert saved["clashes"] == [{"field": "description", "theirs": "One."}]
        joined = {**mine, "description": "Two.", "instruction": "Look.", "tests": STATE["tests"][:1]}
        assert saved["state"] == joined == (await ada.open("mood"))["state"]


async def test_two_moderators_see_each_other_and_join_what_the_other_published(open_page: ServePage) -> None:
    async with open_page() as served, AsyncExitStack() as stack:
        ada, ben = await a_bench(served, stack), await a_bench(served, stack, "Ben")
        await ada.make("mood", STATE)
        await ada.publish("mood")
        await ben.ask("watch", name="mood")
        await ada.window.until(
            lambda: {"op": "workbench_editors", "editors": [{"name": "mood", "who": "Ben"}]} in ada.window.frames,
            "who edits",
        )
        await ada.save("mood", {**STATE, "instruction": "Moods."})
        await ben.save("mood", {**STATE, "labels": ["good", "bad", "none"]})
        assert (await ben.listed("mood") or {})["drafts_of"] == ["Ada"]
        assert (await ben.publish("mood", reason="a third label"))["number"] == 2
        await ada.window.until(ada.news, "the news")
        assert ada.news() == ["Ben published version 2 of mood: a third label"]
        opened = await ada.open("mood")
        assert opened["overtaken"].startswith("Ben published version 2")
        assert (await ada.publish("mood", over=1))["missing"] == "overtaken"
        joined = await ada.ask("join", name="mood")
        assert (joined["state"]["instruction"], joined["state"]["labels"]) == ("Moods.", ["good", "bad", "none"])
        assert (await ada.publish("mood"))["number"] == 3


async def test_a_command_in_a_channel_changes_an_open_workbench(open_page: ServePage) -> None:
    async with open_page() as served, AsyncExitStack() as stack:
        ada, other = await a_bench(served, stack), await a_bench(served, stack)
        await ada.make("mood", STATE)
        num_before = _num_changes(other)
        await other.window.say("!prompt examples mood add what a mess => bad")
        await other.window.until(lambda: _num_changes(other) > num_before, "a change")
        state = (await ada.open("mood"))["state"]
        assert state["examples"][-1] == ["what a mess", "bad"]


def _num_changes(bench: Bench) -> int:
    return sum(one["op"] == "workbench_changed" for one in bench.window.frames)


async def test_what_was_published_between_opening_and_typing_is_joined_too(open_page: ServePage) -> None:
    async with open_page() as served, AsyncExitStack() as stack:
        ada, ben = await a_bench(served, stack), await a_bench(served, stack, "Ben")
        await ada.make("mood", STATE)
        await ada.publish("mood")
        seen = await ada.open("mood")
        await ben.save("mood", {**STATE, "instruction": "Moods."})
        await ben.publish("mood")
        typed = {**STATE, "description": "How?"}
        saved = await ada.ask("save", name="mood", state=typed, base=seen["state"], revision=seen["revision"])
        assert saved["is_joined"]
        assert saved["state"] == {**typed, "instruction": "Moods."}


async def test_history_changes_and_rolling_back(open_page: ServePage) -> None:
    async with open_page() as served, AsyncExitStack() as stack:
        ada = await a_bench(served, stack)
        await ada.make("mood", STATE)
        await ada.publish("mood", reason="first")
        await ada.save("mood", {**STATE, "labels": ["good", "bad", "none"]})
        assert "+ none" in (await ada.open("mood"))["diff"]
        await ada.publish("mood", reason="second")
        versions = (await ada.ask("history", name="mood"))["versions"]
        assert [(one["number"], one["reason"], one["author"]) for one in versions] == [
            (2, "second", "Ada"),
            (1, "first", "Ada"),
        ]
        assert "+ none" in (await ada.ask("compare", name="mood", a="1", b="2"))["diff"]
        done = await ada.ask("roll_back", name="mood", version="1", reason="too many labels")
        assert done["number"] == 3
        assert (await ada.open("mood"))["state"] == STATE
        assert "already published" in await ada.refusal("roll_back", name="mood", version="1", reason="")


async def test_a_copy_of_a_shipped_template_and_a_file_are_drafts(open_page: ServePage) -> None:
    async with open_page() as served, AsyncExitStack() as stack:
        ada = await a_bench(served, stack)
        await ada.ask("create", name="feelings", like="sentiment")
        copied, shipped = await ada.open("feelings"), await ada.open("sentiment")
        assert copied["state"] == shipped["state"]
        assert copied["problem"] == ""
        assert "already a template" in await ada.refusal("create", name="sentiment", like="")
        assert "1 to 32 characters" in await ada.refusal("create", name="Über", like="")
        await ada.ask("import", name="mood", text=MOOD)
        opened = await ada.open("mood")
        assert len(opened["state"]["tests"]) == 6
        assert "Line 1" in await ada.refusal("import", name="mood", text="no front matter")
        assert (await ada.open("mood"))["state"] == opened["state"]
        await ada.ask("discard", name="mood")
        assert await ada.listed("mood") is None


async def test_rows_are_read_from_tables_and_a_wrong_line_is_named(open_page: ServePage) -> None:
    async with open_page() as served, AsyncExitStack() as stack:
        ada = await a_bench(served, stack)
        for format_, text in (
            ("tsv", 'text\tlabel\nso fine\tgood\n"two\nlines"\tbad'),
            ("csv", 'so fine,good\n"two\nlines",bad'),
            ("jsonl", '{"input": "so fine", "output": "good"}\n{"input": "two\\nlines", "output": "bad"}'),
        ):
            read = await ada.ask("rows", text=text, format=format_, labels=["good", "bad"])
            assert read["rows"] == [["so fine", "good"], ["two\nlines", "bad"]]
        wrong = await ada.refusal("rows", text="a\tgood\nb\tgod", format="tsv", labels=["good", "bad"])
        assert wrong.startswith("Line 2")
        assert "csv" in await ada.refusal("rows", text="a", format="xlsx")


async def test_the_prompt_of_what_is_typed_is_shown_with_its_tokens_and_can_be_tried(open_page: ServePage) -> None:
    async with open_page() as served, AsyncExitStack() as stack:
        ada = await a_bench(served, stack)
        state = {**STATE, "instruction": "Moods."}
        shown = await ada.ask("preview", name="mood", state=state, input="what a day")
        assert [one["what"] for one in shown["parts"]] == ["instruction", "example", "example", "example", "question"]
        text = "".join(one["text"] for one in shown["parts"])
        assert text.endswith("yes -> good\nwhat a day ->")
        assert sum(one["num_tokens"] for one in shown["parts"]) == shown["num_tokens"]
        assert shown["num_left_for_input"] > 0
        assert shown["answers"] == [" good", " bad"]
        wrong = await ada.refusal("preview", name="mood", state={**state, "query": "no slot"}, input="a")
        assert "$input" in wrong
        tried = await ada.ask("try", name="mood", state=state, input="what a day")
        assert {label for label, _ in tried["probabilities"]} == {"good", "bad"}
        free = {**BLANK, "description": "d"}
        assert (await ada.ask("try", name="free", state=free, input="Once"))["text"]
        assert (await ada.ask("preview", name="chat", state=(await ada.open("chat"))["state"], input="hi"))["parts"]
        assert "at most" in await ada.refusal("try", name="mood", state=state, input="x" * 20_001)


async def test_the_workbench_and_the_context_say_that_the_model_of_the_channel_is_loaded(
    open_page: ServePage, roomy_model: Callable[[str], Path]
) -> None:
    async with open_page(others={"other": roomy_model("llama")}) as served, AsyncExitStack() as stack:
        ada = await a_bench(served, stack)
        models = served.talk.services.models
        await ada.make("mood", STATE)
        places = served.page.stage.places
        scope = places.scope_of(places.person(ada.window.welcome["me"]["id"]), ada.window.channel)
        await served.talk.store.set_setting(scope, "channel", "model", "other")

        def told() -> list[str]:
            return [one["sentence"] for one in ada.window.frames[num_before:] if one["op"] == "loading"]

        typed = {"name": "mood", "state": STATE, "input": "what a day"}
        for op, fields in (("preview", typed), ("try", typed), ("test", {"name": "mood"}), ("open", {"name": "mood"})):
            num_before = len(ada.window.frames)
            await ada.ask(op, **fields)
            assert told() == ["Loading other …"], op
            assert models.is_ready("other")
            await models.close()
            models._is_closing = False
        num_before = len(ada.window.frames)
        with pytest.raises(Refused, match="nothing here to read"):
            await ada.window.ask("context", channel=ada.window.channel)
        assert told() == ["Loading other …"]


async def test_a_search_finds_and_its_result_is_taken_only_over_what_it_searched(open_page: ServePage) -> None:
    async with open_page() as served, AsyncExitStack() as stack:
        ada = await a_bench(served, stack)
        await ada.ask("import", name="mood", text=MOOD)
        found = (await ada.ask("tune", name="mood"))["found"]
        assert found["num_tried"] > 1
        assert any(one["op"] == "workbench_step" and "progress" in one for one in ada.window.frames)
        await ada.ask("take", name="mood", version=found["version"], indexes=[3, 2, 1, 0])
        opened = await ada.open("mood")
        assert opened["state"]["examples"][0] == ["no", "bad"]
        stale = await ada.refusal("take", name="mood", version=found["version"], indexes=[0, 1])
        assert "changed since the search began" in stale
        for indexes in (["a"], [-1], "x", None):
            assert await ada.refusal("take", name="mood", version="", indexes=indexes)


async def test_hostile_texts_come_back_as_they_were_typed(open_page: ServePage) -> None:
    async with open_page() as served, AsyncExitStack() as stack:
        ada = await a_bench(served, stack)
        await ada.ask("create", name="mood")
        for text in (one[:30_000] for one in HOSTILE):
            state = {**STATE, "description": text, "instruction": text, "labels": ["good", "bad"]}
            state["examples"] = [[text, text], ["a", "good"]]
            saved = await ada.save("mood", state)
            opened = await ada.open("mood")
            assert opened["state"] == saved["state"]
            if "\ud800" not in text:
                assert opened["state"]["examples"][0] == [text, text]
            assert opened["problem"]
        long = {**STATE, "instruction": "x" * 300_000}
        assert "at most" in await ada.refusal("save", name="mood", state=long, base=STATE, revision="")
        for wrong in ({}, {"kind": "poem"}, [], "x", {**STATE, "examples": [[1, 2]]}):
            assert await ada.refusal("save", name="mood", state=wrong, base=STATE, revision="")


async def test_a_restart_keeps_the_draft_and_the_results(open_page: ServePage) -> None:
    async with open_page() as served, AsyncExitStack() as stack:
        ada = await a_bench(served, stack)
        await ada.make("mood", STATE)
        await ada.ask("test", name="mood")
        before = await ada.open("mood")
    async with open_page() as served, AsyncExitStack() as stack:
        ada = await a_bench(served, stack)
        assert await ada.open("mood") == before


async def test_a_deleted_template_is_gone_and_can_be_rolled_back(open_page: ServePage) -> None:
    async with open_page() as served, AsyncExitStack() as stack:
        ada = await a_bench(served, stack)
        ben = await a_bench(served, stack, "Ben", is_moderator=False)
        await ada.make("mood", STATE)
        await ada.publish("mood")
        assert "Only moderators" in await ben.refusal("delete", name="mood", number=1)
        assert "not the published one" in await ada.refusal("delete", name="mood", number=7)
        assert (await ada.ask("delete", name="mood", number=1, reason="unused"))["sentence"] == "mood is deleted."
        assert await ada.listed("mood") is None
        assert "no template 'mood'" in await ada.refusal("open", name="mood")
        await ada.ask("roll_back", name="mood", version="1", reason="")
        assert (await ada.open("mood"))["state"] == STATE


async def test_a_run_is_stopped_and_goes_on_from_there(open_page: ServePage) -> None:
    async with open_page() as served, AsyncExitStack() as stack:
        ada = await a_bench(served, stack)
        tests = [[f"case {i}", "good" if i % 2 else "bad"] for i in range(400)]
        await ada.make("mood", {**STATE, "tests": tests})
        running = asyncio.create_task(ada.ask("test", name="mood"))
        await ada.window.until(lambda: _rows(ada), "the first row")
        assert "running here" in await ada.refusal("tune", name="mood")
        await ada.ask("stop")
        assert (await running)["is_stopped"]
        num_before = len((await ada.open("mood"))["results"])
        assert 0 < num_before < len(tests)
        assert not (await ada.ask("test", name="mood"))["is_stopped"]
        assert len((await ada.open("mood"))["results"]) == len(tests)


def _rows(bench: Bench) -> list[Json]:
    return [one["row"] for one in bench.window.frames if one["op"] == "workbench_step" and "row" in one]


async def test_a_window_that_is_closed_edits_nothing_any_more(open_page: ServePage) -> None:
    async with open_page() as served, AsyncExitStack() as stack:
        ada = await a_bench(served, stack)
        async with AsyncExitStack() as inner:
            ben = await a_bench(served, inner, "Ben")
            await ben.ask("watch", name="chat")
            await ada.window.until(lambda: _editors(ada) == [{"name": "chat", "who": "Ben"}], "Ben")
        await ada.window.until(lambda: _editors(ada) == [], "nobody")


def _editors(bench: Bench) -> list[Json] | None:
    found = [one["editors"] for one in bench.window.frames if one["op"] == "workbench_editors"]
    return found[-1] if found else None


async def test_templates_of_a_direct_conversation_are_ones_own(open_page: ServePage) -> None:
    async with open_page() as served, AsyncExitStack() as stack:
        ben = await a_bench(served, stack, "Ben", is_moderator=False)
        ada = await a_bench(served, stack)
        ben.window.channel = ben.window.welcome["servers"][0]["channels"][0]["id"]
        await ben.make("mood", STATE)
        assert (await ben.publish("mood"))["number"] == 1
        assert await ada.listed("mood") is None
        stolen = ben.window.channel
        assert "not there any more" in await ada.refusal("open", name="mood", channel=stolen)


async def test_a_template_that_uses_its_nearest_examples_is_shown_tested_and_tried(open_page: ServePage) -> None:
    async with open_page() as served, AsyncExitStack() as stack:
        ada = await a_bench(served, stack)
        rows = [[f"case {i}", "good" if i % 2 else "bad"] for i in range(20)]
        await ada.make("mood", {**STATE, "examples": rows})
        text = (await ada.open("mood"))["source"].replace(
            "[[examples]]", "[neighbours]\nin_prompt = 4\nnearest = 3\nweight = 0.5\n\n[[examples]]", 1
        )
        await ada.ask("import", name="mood", text=text)
        state = (await ada.open("mood"))["state"]
        assert len(state["examples"]) == 20
        shown = await ada.ask("preview", name="mood", state=state, input="what a day")
        assert [one["what"] for one in shown["parts"]].count("example") == 4
        assert shown["num_kept"] == 16
        await ada.ask("test", name="mood")
        streamed, opened = _rows(ada), await ada.open("mood")
        assert [one["answered"] for one in opened["results"]] == [one["answered"] for one in streamed]
        assert sum(one["is_right"] for one in opened["results"]) == opened["score"]["score"]["num_right"]
        tried = await ada.ask("try", name="mood", state=state, input=STATE["tests"][0][0])
        assert tried["probabilities"] == [
            [label, pytest.approx(share)] for label, share in opened["results"][0]["probabilities"]
        ]
        saved = await ada.save("mood", {**state, "description": "Still with neighbours."})
        assert "[neighbours]" in (await ada.open("mood"))["source"]
        assert saved["problem"] == ""


async def test_words_that_a_member_erased_do_not_come_back_with_an_old_state(open_page: ServePage) -> None:
    async with open_page() as served, AsyncExitStack() as stack:
        ada, ben = await a_bench(served, stack), await a_bench(served, stack, "Ben", is_moderator=False)
        await ada.make("mood", STATE)
        await ada.publish("mood")
        said = await ben.window.say("what a mess")
        await ben.window.say("!prompt example --template mood --output bad", reply_to=said)
        await ben.window.private_card()
        (proposal,) = (await ada.open("mood"))["proposals"]
        await ada.ask("settle", name="mood", number=str(proposal["number"]), table="examples")
        seen = await ada.open("mood")
        assert ["what a mess", "bad"] in seen["state"]["examples"]
        await ben.window.ask("remove", id=said)
        typed = {**seen["state"], "description": "How?"}
        saved = await ada.ask("save", name="mood", state=typed, base=seen["state"], revision=seen["revision"])
        assert saved["state"] == {**STATE, "description": "How?"}
        assert "what a mess" not in str(await ada.open("mood"))

"""Cards on the page: buttons, private cards, forms, places, and what is suggested while typing."""

import base64

import pytest

from tests.platforms.web.conftest import Served, ServePage
from tests.platforms.web.windows import Refused, texts_of
from tests.store.samples import bytes_on_disk


async def test_a_click_changes_the_card_in_place_in_every_window(served: Served) -> None:
    async with served.window() as window, served.window() as other:
        card = await window.answer_to(await window.say("/complete --n 1 Once"))
        await other.until(lambda: card["id"] in other.messages, "the card")
        await window.click(card, "1")
        for one in (window, other):
            await one.until(
                lambda one=one: one.messages[card["id"]]["card"]["card_revision"] > card["card"]["card_revision"],
                "the next card",
            )
        assert len(window.messages) == 2


async def test_a_click_on_an_old_state_of_a_card_changes_nothing(served: Served) -> None:
    async with served.window() as window:
        card = await window.answer_to(await window.say("/complete --n 1 Once"))
        await window.click(card, "1")
        newer = await window.until(
            lambda: (
                window.messages[card["id"]]["card"]["card_revision"] > card["card"]["card_revision"]
                and window.messages[card["id"]]["card"]["is_final"]
                and window.messages[card["id"]]
            ),
            "the next card",
        )
        num_read = len(served.engine.read)
        await window.click(card, "1")
        await window.answer_to(await window.say("@Fewshot hello"))
        assert window.messages[card["id"]]["card"]["card_revision"] == newer["card"]["card_revision"]
        assert len(served.engine.read) == num_read + 1


async def test_buttons_work_after_a_restart(serve: ServePage) -> None:
    async with serve() as served, served.window() as window:
        card = await window.answer_to(await window.say("/complete --n 1 Once"))
    async with serve() as served, served.window() as window:
        await window.click(card, "More")
        await window.until(
            lambda: window.messages[card["id"]]["card"]["card_revision"] > card["card"]["card_revision"], "more"
        )


async def test_only_the_asker_may_press(served: Served) -> None:
    async with served.window() as ada, served.window() as bob:
        bobs = await ada.ask("add_person", name="Bob", is_moderator=False)
        await bob.ask("become", id=bobs["id"])
        await bob.open(ada.channel)
        card = await ada.answer_to(await ada.say("/complete --n 1 Once"))
        await bob.until(lambda: card["id"] in bob.messages, "the card")
        await bob.click(card, "1")
        refused = await bob.private_card()
        assert "belongs to Ada" in texts_of(refused)
        assert not ada.private
        assert ada.messages[card["id"]]["card"]["card_revision"] == card["card"]["card_revision"]


async def test_a_private_answer_is_in_the_window_that_asked_and_its_command_is_no_message(served: Served) -> None:
    async with served.window() as window, served.window() as other:
        await window.answer_to(await window.say("@Fewshot hello"))
        await window.say("/why")
        card = await window.private_card()
        assert "prompt" in str(card["blocks"])
        assert not other.private
        assert len(window.messages) == 2


async def test_a_form_with_a_mistake_stays_and_then_makes_a_draft(served: Served) -> None:
    async with served.window() as window:
        await window.say("/prompt new mood")
        opened = (await window.until(lambda: window.forms, "the form"))[0]
        names = [one["name"] for one in opened["form"]["fields"]]
        assert names[:3] == ["description", "instruction", "query"]
        hand_in = {"channel": window.channel, "form": opened["form"]["id"], "cause": opened["cause"]}
        with pytest.raises(Refused, match="description is missing"):
            await window.ask("submit", values={**dict.fromkeys(names, ""), "query": "$input ->"}, **hand_in)
        values = {**dict.fromkeys(names, ""), "description": "How it feels.", "query": "$input ->"}
        await window.ask("submit", values=values, **hand_in)
        draft = await window.private_card()
        assert "mood" in str(draft["blocks"])
        await window.click_card(draft, "Publish")
        await window.until(
            lambda: "published" in f"{window.private}{window.messages}{window.forms[1:]}".lower(),
            "that it is published",
        )


async def test_typed_command_lines_are_completed(served: Served) -> None:
    async with served.window() as window:
        found = await window.ask("expect", channel=window.channel, line="prompt sho")
        assert (found["values"], found["start"]) == (["show"], 7)
        found = await window.ask("expect", channel=window.channel, line="prompt show st")
        assert found["values"] == ["story"]
        found = await window.ask("continue", text="Once upon", num=2, max_new_tokens=5, seed=1)
        assert found["texts"]


async def test_the_prompt_that_the_model_would_read_is_shown(served: Served) -> None:
    async with served.window() as window:
        with pytest.raises(Refused):
            await window.ask("context", channel=window.channel)
        await window.answer_to(await window.say("@Fewshot hello"))
        card = (await window.ask("context", channel=window.channel))["card"]
        assert "hello" in next(one["text"] for one in card["blocks"] if one["type"] == "verbatim")


async def test_servers_and_channels_are_made_renamed_and_removed_in_every_window(served: Served) -> None:
    async with served.window() as window, served.window() as other:
        server = (await window.ask("add_server", name="  Class\u202e 7b \u202e "))["id"]
        channel = (await window.ask("add_channel", server=server, name="talk"))["id"]
        for name, problem in {"talk": "already", " ": "needs a name", "x" * 65: "too long"}.items():
            with pytest.raises(Refused, match=problem):
                await window.ask("add_channel", server=server, name=name)
        await window.ask("rename_channel", id=channel, name="lobby")
        await window.ask("rename_server", id=server, name="Class 7c")

        def seen() -> list[object]:
            last = other.welcome["servers"][-1]
            return [last["name"], *[one["name"] for one in last["channels"]]]

        await other.until(lambda: seen() == ["Class 7c", "lobby"], "the new names")
        await window.open(channel)
        await window.say("KANARIE")
        await window.ask("remove_channel", id=channel)
        await other.until(lambda: seen() == ["Class 7c"], "no channel")
        with pytest.raises(Refused, match="not there any more"):
            await window.say("Hello?")
        await window.ask("remove_server", id=server)
        await other.until(lambda: len(other.welcome["servers"]) == 2, "no server")


async def test_members_make_no_places(served: Served) -> None:
    async with served.window() as window:
        bob = await window.ask("add_person", name="Bob", is_moderator=False)
        with pytest.raises(Refused, match="already"):
            await window.ask("add_person", name="bob", is_moderator=True)
        await window.ask("become", id=bob["id"])
        for op in ("add_server", "add_channel", "rename_server", "rename_channel", "remove_server", "remove_channel"):
            with pytest.raises(Refused, match="Only a moderator"):
                await window.ask(op, name="x", id="1", server="1")


async def test_a_direct_conversation_is_its_persons_own(served: Served) -> None:
    async with served.window() as ada, served.window() as bob:
        hers = ada.welcome["servers"][0]["channels"][0]["id"]
        bobs = await ada.ask("add_person", name="Bob", is_moderator=True)
        await bob.ask("become", id=bobs["id"])
        with pytest.raises(Refused, match="not there"):
            await bob.ask("open", channel=hers, thread="")
        with pytest.raises(Refused, match="not there"):
            await bob.say("Hello", channel=hers)


async def test_a_report_goes_to_the_channel_of_the_moderators(served: Served) -> None:
    async with served.window() as window:
        server = window.welcome["servers"][1]["id"]
        reports = (await window.ask("add_channel", server=server, name="reports"))["id"]
        general = window.channel
        await window.answer_to(await window.say(f"/settings report_channel {reports}"))
        answer = await window.answer_to(await window.say("@Fewshot hello"))
        num_private = len(window.private)
        await window.say("/report", reply_to=answer["id"])
        await window.private_card(num_private)
        await window.open(reports)
        await window.until(lambda: "A member reported" in str(window.messages), "the report")
        await window.open(general)
        await window.say("/purge 1")
        await window.until(lambda: answer["id"] in window.removed, "the purge")


async def test_a_look_measures_and_leaves_nothing_behind(open_page: ServePage) -> None:
    async with open_page() as served, served.window() as window:
        seen = await window.ask("look", channel=window.channel, line="perplexity Can it KANARIE what?")
        assert seen["card"]["is_final"]
        tokens = seen["data"]["tokens"]
        assert "".join(seen["data"]["input"][one["start"] : one["end"]] for one in tokens) == "Can it KANARIE what?"
        assert all(one["rank"] >= 1 for one in tokens if one["logprob"] is not None)
        assert all(len(one["expected"]) == 3 for one in tokens if one["logprob"] is not None)
        seen = await window.ask("look", channel=window.channel, line="next Once upon a")
        assert seen["data"]["words"]
        drawn = await window.ask("look", channel=window.channel, line="next Once upon a", draws=True)
        assert base64.b64decode(drawn["png"]).startswith(b"\x89PNG")
        assert "words" in drawn["alt"]
        compared = await window.ask(
            "look", channel=window.channel, line="strategies --seed 3 --max_new_tokens 4 KANARIE upon"
        )
        assert [one["name"] for one in compared["data"]["strategies"]] == [
            "greedy",
            "beam",
            "careful",
            "normal",
            "wild",
        ]
        assert compared["card"]["blocks"][0]["labels"] == ["greedy", "beam", "careful", "normal", "wild"]
        assert not compared["card"]["buttons"]
        assert "asked not to be read" not in str(compared["card"])
        for line in ("complete Once", "fresh", "prompt delete story", "nothing", "perplexity"):
            with pytest.raises(Refused):
                await window.ask("look", channel=window.channel, line=line)
        assert not window.messages
        await served.talk.store._database.read("SELECT 1")
        assert b"KANARIE" not in bytes_on_disk(served.path)

"""People talk with the bot on the page: messages, answers, edits, deletions, threads, several windows, a restart."""

import asyncio
import json
import uuid

import pytest

from tests.platforms.web.conftest import Served, ServePage
from tests.platforms.web.windows import Refused, texts_of
from tests.store.samples import bytes_on_disk

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "javascript:alert(1)",
    "'; DROP TABLE messages; --",
    "{{constructor.constructor('alert(1)')()}}",
    "\u202etxet sdrawkcab",
    "a\u200bb\u200cc\u200dd\ufeff",
    "```\nopen fence",
    "\x00\x01\x02 control",
    "\ud800 lone surrogate",
    "Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢",
    "👩‍👩‍👧‍👦" * 50,
    "x" * 100_000,
    "\n" * 500 + "end",
    "&lt;b&gt;&amp;",
    "@everyone <@1> <!channel>",
    "]]>--><!--",
    "%00%0d%0aSet-Cookie: a=b",
    "\u2028\u2029",
    "__proto__",
]


async def test_a_message_to_the_bot_is_answered_in_every_window(served: Served) -> None:
    async with served.window() as one, served.window() as two:
        asked = await one.say("@Fewshot hello")
        for window in (one, two):
            answer = await window.answer_to(asked)
            assert "Hello there." in texts_of(answer["card"])
            assert answer["author"] == {"id": "", "name": "Fewshot", "is_bot": True}
            assert window.messages[asked]["text"] == "@Fewshot hello"
    assert served.engine.read[-1].text.count("hello") == 1
    assert "@" not in served.engine.read[-1].text


async def test_an_answer_is_seen_while_it_is_written(serve: ServePage) -> None:
    async with serve(["One. Two. Three. Four. Five. Six. " * 9], pause_s=0.02) as served, served.window() as window:
        asked = await window.say("@Fewshot count")
        await window.answer_to(asked)
        shown = [one["message"] for one in window.frames if one["op"] == "message" and one["message"]["asked"] == asked]
        assert len(shown) > 3
        assert [one["revision"] for one in shown] == sorted(one["revision"] for one in shown)
        assert [one["card"]["is_final"] for one in shown].count(True) == 1
        assert shown[0]["card"]["stop_id"] == asked
        assert len({one["id"] for one in shown}) == 1


async def test_people_who_talk_to_others_are_not_answered(served: Served) -> None:
    async with served.window() as window:
        await window.say("Good evening, Bob")
        asked = await window.say("@fewshot, hello")
        await window.answer_to(asked)
        assert len(window.messages) == 3


async def test_what_is_sent_twice_is_said_once(served: Served) -> None:
    async with served.window() as window:
        nonce = uuid.uuid4().hex
        first, again = await asyncio.gather(
            window.say("@Fewshot hello", nonce=nonce), window.say("@Fewshot hello", nonce=nonce)
        )
        assert first == again == await window.say("@Fewshot hello", nonce=nonce)
        await window.answer_to(first)
        assert len(window.messages) == 2
        assert len(served.engine.read) == 1


async def test_the_direct_conversation_needs_no_mention(served: Served) -> None:
    async with served.window() as window:
        await window.open(window.welcome["servers"][0]["channels"][0]["id"])
        answer = await window.answer_to(await window.say("hello"))
        assert "Hello there." in texts_of(answer["card"])


async def test_a_thread_with_the_bot_needs_a_mention_once(served: Served) -> None:
    async with served.window() as window:
        root = await window.say("Let us talk")
        await window.open(window.channel, root)
        asked = await window.say("@Fewshot hello", thread=root)
        await window.answer_to(asked)
        answer = await window.answer_to(await window.say("And now?", thread=root, reply_to=asked))
        assert answer["thread"] == root
        await window.until(lambda: window.messages[root]["num_replies"] == 4, "four replies")
        page = await window.open(window.channel, root)
        assert [one["id"] for one in page["messages"]][:2] == [root, asked]
        page = await window.open(window.channel)
        assert [one["id"] for one in page["messages"]] == [root]


async def test_a_reply_to_the_bot_is_for_the_bot(served: Served) -> None:
    async with served.window() as window:
        answer = await window.answer_to(await window.say("@Fewshot hello"))
        again = await window.say("Really?", reply_to=answer["id"])
        await window.answer_to(again)
        assert "Hello there." in served.engine.read[-1].text


async def test_an_edit_during_the_answer_starts_it_again_in_the_same_place(serve: ServePage) -> None:
    async with serve(["Slow. " * 40, "Quick."], pause_s=0.05) as served, served.window() as window:
        asked = await window.say("@Fewshot one")
        await window.until(lambda: any(one["asked"] == asked for one in window.messages.values()), "a first word")
        await window.ask("edit", id=asked, text="@Fewshot two")
        answer = await window.answer_to(asked)
        assert "Quick." in texts_of(answer["card"])
        assert len(window.messages) == 2
        assert (window.messages[asked]["text"], window.messages[asked]["is_edited"]) == ("@Fewshot two", True)


async def test_a_removed_message_is_nowhere(serve: ServePage) -> None:
    async with serve(["KANARIE-ANSWER"]) as served, served.window() as window, served.window() as other:
        asked = await window.say("@Fewshot KANARIE-ASKED")
        answer = await window.answer_to(asked)
        await other.until(lambda: len(other.messages) == 2, "both")
        await window.ask("remove", id=asked)
        for one in (window, other):
            await one.until(lambda one=one: not one.messages, "nothing")
            assert {asked, answer["id"]} <= set(one.removed)
        await served.talk.store._database.read("SELECT 1")
        assert b"KANARIE-ASKED" not in bytes_on_disk(served.path)


async def test_stop_ends_an_answer(serve: ServePage) -> None:
    async with serve(["Word. " * 500], pause_s=0.02) as served, served.window() as window:
        asked = await window.say("@Fewshot go on")
        await window.until(lambda: any(one["asked"] == asked for one in window.messages.values()), "a first word")
        await window.ask("stop", id=asked, channel=window.channel)
        answer = await window.answer_to(asked)
        assert len(texts_of(answer["card"])) < 2000
        with pytest.raises(Refused, match="already finished"):
            await window.ask("stop", id="1", channel=window.channel)


async def test_an_answer_that_a_restart_interrupts_is_given_once(serve: ServePage) -> None:
    async with serve(["Never ends. " * 500], pause_s=0.02) as served, served.window() as window:
        asked = await window.say("@Fewshot hello")
        shown = await window.until(
            lambda: [one for one in window.messages.values() if one["asked"] == asked], "a first word"
        )
    async with serve(["After all."]) as served, served.window() as window:
        answer = await window.answer_to(asked)
        assert answer["id"] == shown[0]["id"]
        assert "After all." in texts_of(answer["card"])
        assert len(window.messages) == 2


async def test_older_messages_come_by_page(served: Served) -> None:
    async with served.window() as window:
        for number in range(60):
            await window.say(f"word {number}")
        page = await window.open(window.channel)
        assert (len(page["messages"]), page["has_more"]) == (50, True)
        assert [one["text"] for one in page["messages"]][-1] == "word 59"
        older = await window.open(window.channel, before=page["messages"][0]["id"])
        assert ([one["text"] for one in older["messages"]], older["has_more"]) == (
            [f"word {number}" for number in range(10)],
            False,
        )


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text)[1:20])
async def test_hostile_words_come_back_as_they_are(served: Served, text: str) -> None:
    async with served.window() as window, served.window() as other:
        asked = await window.say(f"@Fewshot {text}")
        # Some of it is nothing to answer, which the asker is told.
        await window.until(lambda: window.private or len(window.messages) == 2, "an answer")
        await other.until(lambda: asked in other.messages, "the message")
        assert other.messages[asked]["text"] == f"@Fewshot {text}".replace("\ud800", "\ufffd")


async def test_an_empty_and_a_huge_message_get_one_sentence(served: Served) -> None:
    async with served.window() as window:
        with pytest.raises(Refused, match="nothing to send"):
            await window.say("  \n ")
        with pytest.raises(Refused, match="too long: at most 262,144 bytes"):
            await window.say("x" * 262_145)
        with pytest.raises(Refused, match="file is too large"):
            await window.say("!perplexity", file={"name": "a.txt", "text": "x" * 262_145})
        assert not window.messages


async def test_a_mistyped_command_is_not_said_but_answered_with_the_nearest_name(served: Served) -> None:
    async with served.window() as window:
        with pytest.raises(Refused, match="There is no command 'complte'; did you mean /complete"):
            await window.say("/complte Once upon")
        with pytest.raises(Refused, match="/help lists all commands"):
            await window.say("/qwertz")
        assert not window.messages
        said = await window.say("/etc/hosts is a file")
        await window.until(lambda: said in window.messages, "the message")


async def test_a_file_is_read(served: Served) -> None:
    async with served.window() as window:
        answer = await window.answer_to(
            await window.say("@Fewshot read this", file={"name": "notes.txt", "text": "Of mice and men"})
        )
        assert "Of mice and men" in served.engine.read[-1].text
        assert window.messages[answer["asked"]]["file_name"] == "notes.txt"


async def test_only_the_author_changes_a_message_and_a_moderator_may_delete_it(served: Served) -> None:
    async with served.window() as ada, served.window() as bob:
        added = await ada.ask("add_person", name="Bob", is_moderator=False)
        await bob.ask("become", id=added["id"])
        await bob.open(ada.channel)
        hers, his = await ada.say("Mine"), await bob.say("His")
        with pytest.raises(Refused, match="Only the author"):
            await bob.ask("edit", id=hers, text="Hers?")
        with pytest.raises(Refused, match="Only the author"):
            await bob.ask("remove", id=hers)
        with pytest.raises(Refused, match="Only the author can change"):
            await ada.ask("edit", id=his, text="Hers?")
        await ada.ask("remove", id=his)
        await bob.until(lambda: his not in bob.messages, "the deletion")


async def test_words_of_people_who_asked_not_to_be_read_are_shown_and_not_kept(served: Served) -> None:
    async with served.window() as window, served.window() as other:
        await window.say("/privacy --read off")
        await window.private_card()
        said = await window.say("KANARIE-OUT")
        await other.until(lambda: said in other.messages, "the message")
        assert (await other.open(window.channel))["messages"] == []
        await served.talk.store._database.read("SELECT 1")
        assert b"KANARIE-OUT" not in bytes_on_disk(served.path)


async def test_forget_me_takes_my_words_from_every_window(serve: ServePage) -> None:
    async with serve(["KANARIE-A"]) as served, served.window() as window, served.window() as other:
        await window.answer_to(await window.say("@Fewshot KANARIE-Q"))
        await window.say("To nobody KANARIE-N")
        await window.say("/privacy --do forget-now")
        await other.until(lambda: not other.messages, "nothing")
        await window.private_card()
        await served.talk.store._database.read("SELECT 1")
        assert b"KANARIE" not in bytes_on_disk(served.path)


async def test_frames_that_are_none_break_nothing(served: Served) -> None:
    async with served.window() as window:
        for frame in ("", "null", "[]", "{}", '{"op":"say"}', '{"n":"x","op":"say"}', "{", '"x"', "[" * 5000, "1e999"):
            await window.socket.send_str(frame)
        for op, fields in {
            "say": {"text": 5, "channel": window.channel, "nonce": "n"},
            "open": {"channel": ["x"]},
            "click": {"channel": window.channel, "message": "99", "card": "x", "action": "1", "revision": "y"},
            "submit": {"channel": window.channel, "form": "none", "values": {"a": 1}},
            "nothing": {},
            "continue": {"text": "Hi", "num": "three"},
            "edit": {"id": "9" * 40, "text": "x"},
            "remove": {"id": "-1"},
        }.items():
            with pytest.raises(Refused):
                await window.ask(op, **fields)
        await window.answer_to(await window.say("@Fewshot hello"))


async def test_twenty_windows_are_in_step(served: Served) -> None:
    async with served.window() as first:
        others = [served.window() for _ in range(19)]
        windows = [first, *[await one.__aenter__() for one in others]]
        try:
            await asyncio.gather(*(window.say(f"{number}") for window in windows for number in range(10)))
            for window in windows:
                await window.until(lambda window=window: len(window.messages) == 200, "all messages")
            orders = {json.dumps(sorted(window.messages)) for window in windows}
            heard = {
                json.dumps([one["message"]["id"] for one in window.frames if one["op"] == "message"])
                for window in windows
            }
            assert len(orders) == len(heard) == 1
        finally:
            for one in others:
                await one.__aexit__(None, None, None)

"""Answers shown on Discord while they are written: how often, in which form, and after a failure."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import discord
import pytest

from bot.core.cards import Button, Card, Facts, Form, FormField, Text, TextFile, error_card
from bot.platforms.discord.outgoing.outlets import ChannelOutlet
from bot.platforms.discord.outgoing.pace import ChannelPace
from bot.platforms.discord.outgoing.rendering import Rendering, render
from bot.platforms.shared.streaming import Delivered, Timings, deliver
from tests.platforms.discord.channels import Place, open_place
from tests.servers.discord.faults import Fault
from tests.servers.discord.permissions import Permission
from tests.servers.discord.texts import labels, visible_text

QUICK = Timings(typing_after_s=0.02, typing_every_s=0.2, visible_after_s=0.1)
FACTS = Card(blocks=(Facts((("tokens", "14"),)),))


def words(text: str, *, is_final: bool = False) -> Card:
    return Card(blocks=(Text(text, is_model_text=True),), is_final=is_final)


async def script(*steps: Card | float | Exception) -> AsyncIterator[Card]:
    """Yield cards, sleep for numbers, raise exceptions."""
    for step in steps:
        if isinstance(step, Card):
            yield step
        elif isinstance(step, Exception):
            raise step
        else:
            await asyncio.sleep(step)


async def growing(num_words: int, every_s: float) -> AsyncIterator[Card]:
    for number in range(1, num_words + 1):
        yield words("word " * number)
        await asyncio.sleep(every_s)
    yield words("word " * num_words + "end", is_final=True)


@dataclass
class Stream:
    """A place, and what was sent in it by `deliver`."""

    place: Place
    noted: list[tuple[str, int]]

    def outlet(self, request_id: str = "1", sent: Sequence[discord.Message] = ()) -> ChannelOutlet:
        return ChannelOutlet(self.place.sender, self.place.channel, request_id=request_id, sent=sent)

    async def run(
        self, cards: AsyncIterator[Card], outlet: ChannelOutlet | None = None, *, timings: Timings = QUICK
    ) -> Delivered:
        async def note(message_id: str, number: int) -> None:
            self.noted.append((message_id, number))

        return await deliver(cards, outlet or self.outlet(), stop_id="9", on_sent=note, timings=timings)

    @property
    def num_edits(self) -> int:
        return sum(request.method == "PATCH" for request in self.place.stand_in.requests)


@pytest.fixture
async def stream() -> AsyncIterator[Stream]:
    async with open_place() as place:
        place.sender.pace = ChannelPace(every_s=0.2)
        yield Stream(place, [])
        place.stand_in.assert_clean()


async def test_a_quick_answer_is_sent_once_and_never_edited(stream: Stream):
    delivered = await stream.run(script(words("Hel"), words("Hello", is_final=True)))
    assert stream.place.texts == ["Hello"]
    assert stream.num_edits == 0
    assert delivered.is_shown
    assert delivered.card == words("Hello", is_final=True)
    assert stream.noted == [(str(stream.place.said[0].id), 0)]
    assert delivered.sent_ids == (str(stream.place.said[0].id),)


async def test_a_slow_answer_shows_typing_then_its_newest_words_with_stop_then_the_whole(stream: Stream):
    task = asyncio.create_task(stream.run(growing(8, 0.1)))
    world = stream.place.stand_in.world
    message = (await world.wait_until(lambda: stream.place.said, 5, "a partial answer"))[0]
    assert labels(message) == ["Stop"]
    assert message.content.startswith("word")
    assert len(world.typings) == 1
    await task
    assert stream.place.texts == ["word " * 8 + "end"]
    assert labels(message) == []
    lengths = [len(text) for _, text in message.versions]
    assert lengths == sorted(lengths)
    assert 2 <= stream.num_edits <= 5


async def test_a_line_is_shown_while_nothing_is_written_yet(stream: Stream):
    await stream.run(script(0.3, words("At last", is_final=True)))
    (message,) = stream.place.said
    assert [text for _, text in message.versions] == ["-# Thinking …", "At last"]


async def test_typing_is_repeated_while_nothing_is_visible(stream: Stream):
    timings = Timings(typing_after_s=0.01, typing_every_s=0.05, visible_after_s=10)
    await stream.run(script(0.3, words("At last", is_final=True)), timings=timings)
    num_typings = len(stream.place.stand_in.world.typings)
    assert 3 <= num_typings <= 7
    await asyncio.sleep(0.1)
    assert len(stream.place.stand_in.world.typings) == num_typings


async def test_typing_that_fails_aborts_nothing(stream: Stream):
    stream.place.stand_in.faults.sometimes("typing", "banned", 1.0)
    await stream.run(script(0.3, words("At last", is_final=True)))
    assert stream.place.texts == ["At last"]


async def test_edits_are_at_most_one_in_the_pace_of_the_channel_for_all_streams_together(stream: Stream):
    stream.place.sender.pace = ChannelPace(every_s=0.25)
    await asyncio.gather(*(stream.run(growing(10, 0.1), stream.outlet(str(number))) for number in range(3)))
    assert stream.place.texts == ["word " * 10 + "end"] * 3
    # About 1.2 s at four a second, and a last one for each.
    assert stream.num_edits <= 6 + 3


@pytest.mark.parametrize("fault", ["banned", "reset", Fault("error", status=503)])
async def test_the_whole_answer_is_shown_even_where_every_edit_before_failed(stream: Stream, fault: Fault):
    stream.place.stand_in.faults.once("edit", fault, times=2)
    await stream.run(growing(5, 0.1))
    assert stream.place.texts == ["word " * 5 + "end"]


@pytest.mark.parametrize("fault", ["accepted_then_reset", Fault("accepted_then_error", status=503)])
async def test_a_partial_answer_with_an_unknown_result_does_not_stay_as_the_answer(stream: Stream, fault: Fault):
    outlet = stream.outlet()
    outlet._is_unsure = True
    await stream.place.sender.send(stream.place.channel, _rendered("part"), request_id="1")
    stream.place.stand_in.faults.once("send", fault)
    await stream.run(script(words("the whole", is_final=True)), outlet)
    assert stream.place.texts == ["the whole"]


async def test_a_cancelled_partial_answer_is_resumed_in_the_same_place(stream: Stream):
    outlet = stream.outlet()
    stream.place.stand_in.faults.once("send", Fault("slow", delay_s=0.4))
    task = asyncio.create_task(stream.run(script(words("part"), 10, words("never", is_final=True)), outlet))
    await asyncio.sleep(0.25)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await asyncio.sleep(0.4)
    await stream.run(script(words("answered anew", is_final=True)), outlet)
    assert stream.place.texts == ["answered anew"]


async def test_a_long_answer_becomes_several_messages_only_at_its_end(stream: Stream):
    text = "Some words of it. " * 200
    task = asyncio.create_task(stream.run(script(words(text), 0.3, words(text, is_final=True))))
    await stream.place.stand_in.world.wait_until(lambda: stream.place.said, 5, "a partial answer")
    await asyncio.sleep(0.05)
    assert len(stream.place.said) == 1
    assert stream.place.said[0].content.startswith("…\n")
    await task
    assert len(stream.place.said) == 2
    assert " ".join(" ".join(stream.place.texts).split()) == text.strip()
    assert stream.noted == [(str(message.id), number) for number, message in enumerate(stream.place.said)]


async def test_an_answer_started_again_replaces_a_longer_one(stream: Stream):
    outlet = stream.outlet()
    await stream.run(script(words("Some words of it. " * 200, is_final=True)), outlet)
    await stream.run(script(words("Short.", is_final=True)), outlet)
    assert stream.place.texts == ["Short."]


async def test_words_become_a_layout_and_a_layout_stays_one(stream: Stream):
    outlet = stream.outlet()
    await stream.run(script(words("2 ahead of you"), 0.3, FACTS), outlet)
    assert stream.place.texts == ["tokens\u00a0**14**"]
    await stream.run(script(error_card("That is gone.")), outlet)
    assert stream.place.texts == ["⚠️ That is gone."]
    assert stream.place.said[0].content == ""


async def test_the_answer_of_an_earlier_run_is_resumed(stream: Stream):
    (sent,) = await stream.place.sender.send(stream.place.channel, _rendered("part"), request_id="1")
    await stream.run(script(words("the whole", is_final=True)), stream.outlet(sent=[sent]))
    assert stream.place.texts == ["the whole"]


async def test_a_deleted_partial_answer_is_not_sent_again(stream: Stream):
    outlet = stream.outlet()
    task = asyncio.create_task(stream.run(growing(8, 0.1), outlet))
    await stream.place.stand_in.world.wait_until(lambda: stream.place.said, 5, "a partial answer")
    stream.place.stand_in.world.delete(stream.place.said[0])
    delivered = await task
    assert not delivered.is_shown
    assert stream.place.said == []


async def test_an_answer_that_may_not_be_sent_is_reported_as_not_shown(stream: Stream):
    _deny(stream.place, Permission.SEND_MESSAGES)
    delivered = await stream.run(growing(3, 0.1))
    assert not delivered.is_shown
    assert stream.place.told == [stream.place.general.id]


async def test_with_many_faults_every_answer_is_shown_once_and_whole(stream: Stream):
    faults = stream.place.stand_in.faults
    for route in ("send", "edit"):
        for fault in ("banned", "reset", "accepted_then_reset", Fault("accepted_then_error", status=503)):
            faults.sometimes(route, fault, 0.1)
            if route == "send":
                faults.once(route, fault, times=2)  # by chance alone there may be few
    asked = [stream.place.ada.says(stream.place.general, f"question {number}") for number in range(20)]

    async def answer(number: int) -> Delivered:
        place = stream.place
        reply_to = place.partial(asked[number])
        outlet = ChannelOutlet(place.sender, place.channel, request_id=str(asked[number].id), reply_to=reply_to)
        cards = script(words("par"), 0.05 * number, words(f"answer {number}", is_final=True))
        return await stream.run(cards, outlet)

    delivered = await asyncio.gather(*map(answer, range(20)))
    assert all(one.is_shown for one in delivered)
    assert stream.place.stand_in.answered_twice() == []
    answers = [stream.place.stand_in.answers_to(message) for message in asked]
    assert [[answer.content for answer in each] for each in answers] == [[f"answer {n}"] for n in range(20)]
    assert sum(faults.num_injected.values()) > 5


async def test_without_the_permission_for_files_the_text_is_sent(stream: Stream):
    _deny(stream.place, Permission.ATTACH_FILES)
    card = Card(blocks=(Facts((("a", "b"),)),), file=TextFile("a.txt", "text"))
    delivered = await stream.run(script(card))
    assert delivered.is_shown
    assert "needs the permission Attach Files" in stream.place.texts[0]


async def test_the_buttons_of_the_whole_answer_come_with_it(stream: Stream):
    card = Card(blocks=(Text("Yes.", is_model_text=True),), buttons=(Button("why", "why"),), reply_id="r")
    await stream.run(script(words("Y"), 0.2, card))
    assert labels(stream.place.said[0]) == ["Why"]


async def test_an_error_in_the_answer_is_raised_and_both_tasks_end(stream: Stream):
    with pytest.raises(ValueError, match="broken"):
        await stream.run(script(words("part"), 0.3, ValueError("broken")))
    num_requests = len(stream.place.stand_in.requests)
    await asyncio.sleep(0.3)
    assert len(stream.place.stand_in.requests) == num_requests


async def test_a_cancelled_answer_ends_its_source_and_both_tasks(stream: Stream):
    is_closed = asyncio.Event()

    async def cards() -> AsyncIterator[Card]:
        try:
            yield words("part")
            await asyncio.sleep(10)
        finally:
            is_closed.set()

    task = asyncio.create_task(stream.run(cards()))
    await asyncio.sleep(0.2)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert is_closed.is_set()
    others = [other for other in asyncio.all_tasks() if "_Stream" in repr(other)]
    assert others == []


async def test_a_form_that_cannot_be_opened_is_answered_with_a_sentence(stream: Stream):
    form = Form("f", "A form", (FormField("a", "A"),))
    await stream.run(script(Card(form=form)))
    assert stream.place.texts == ["⚠️ A form can't be opened here. Use the slash command."]


async def test_what_is_removed_stays_away(stream: Stream):
    outlet = stream.outlet()
    await stream.run(script(words("Hello", is_final=True)), outlet)
    await outlet.remove()
    delivered = await stream.run(script(words("again", is_final=True)), outlet)
    assert stream.place.said == []
    assert not delivered.is_shown


async def test_an_answer_without_a_card_shows_nothing(stream: Stream):
    delivered = await stream.run(script())
    assert delivered == Delivered(None)
    assert stream.place.said == []


def _rendered(text: str) -> Rendering:
    return render(words(text, is_final=True))


def _deny(place: Place, permission: Permission) -> None:
    role_id = place.guild.members[place.stand_in.world.bot.id].role_ids[0]
    place.stand_in.world.set_overwrite(place.general, place.guild.roles[role_id], deny=permission)


@pytest.mark.parametrize("shown", [words("Half of a"), FACTS], ids=["text", "layout"])
async def test_stop_before_the_first_word_keeps_what_an_earlier_run_showed(stream: Stream, shown: Card):
    rendering = render(shown, stop_id="9", as_layout=shown is FACTS)
    sent = await stream.place.sender.send(stream.place.channel, rendering, request_id="1")
    (message,) = stream.place.said
    before = visible_text(message)
    stopped = Card(blocks=(Text("(stopped)", is_quiet=True),), keeps_shown=True)
    await stream.run(script(0.2, stopped), stream.outlet(sent=sent))
    assert labels(message) == []
    assert visible_text(message) == before
    assert stream.num_edits == 1, "nothing says that it is waited for"


async def test_a_stopped_answer_of_which_this_run_has_shown_something_says_so(stream: Stream):
    sent = await stream.place.sender.send(stream.place.channel, render(words("Half"), stop_id="9"), request_id="1")
    stopped = Card(blocks=(Text("(stopped)", is_quiet=True),), keeps_shown=True)
    await stream.run(script(words("Other"), 0.3, stopped), stream.outlet(sent=sent))
    assert stream.place.texts == ["-# (stopped)"]
    await stream.run(script(stopped), stream.outlet("2"))
    assert stream.place.texts == ["-# (stopped)"] * 2

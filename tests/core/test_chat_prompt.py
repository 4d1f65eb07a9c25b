"""What of a conversation the model reads: what is left out first, and that the counts are those of the prompt."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import takewhile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.core.chat_prompt import ConversationFit, render_conversation
from bot.core.history import HistoryMessage, merge_turns, select_turns
from bot.core.picture import PICTURE_TOKENS, Picture
from bot.core.prompt import transcript_line
from bot.core.prompt_parts import ChatTurn, Prompt, PromptPart
from bot.core.sampling_params import SamplingParams
from bot.core.templates.parsing import parse_template
from bot.errors import PromptTooLong, RequestError

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
CHAT = parse_template(
    '+++\ndescription = "A talk."\nkind = "chat"\n+++\nYou are $bot_name.\n\n$history\n$bot_name:\n',
    name="chat",
    source="chat.prompt",
)


class CharacterTools:
    """Counts each character as a token; in markup a turn costs more than its line does in a transcript."""

    def __init__(self) -> None:
        self.num_counted = 0
        self.num_rendered = 0

    def count_tokens(self, prompts: Sequence[Prompt]) -> tuple[int, ...]:
        self.num_counted += len(prompts)
        return tuple(len(prompt.text) for prompt in prompts)

    def render_chat(self, turns: Sequence[ChatTurn]) -> Prompt:
        self.num_rendered += 1
        parts = [PromptPart(f"<<{turn.role}>>{turn.content}<<end of turn>>", is_markup=True) for turn in turns]
        return Prompt((*parts, PromptPart("<<assistant>>", is_markup=True)))


def said(number: int, text: str, who: str = "Ann", *, revision: int = 1) -> HistoryMessage:
    return HistoryMessage(str(number), who, who, who == "Fewshot", text, None, NOON, revision)


def fit(messages: Sequence[HistoryMessage], *, context_length: int = 300, is_markup: bool = False) -> ConversationFit:
    return ConversationFit(
        CHAT, messages, SamplingParams(max_new_tokens=20), "Fewshot", context_length, is_markup=is_markup
    )


def test_a_conversation_that_fits_is_read_whole() -> None:
    built = fit([said(1, "Hello"), said(2, "Hi.", "Fewshot"), said(3, "How are you?", revision=2)])(CharacterTools())
    assert built.prompt.text == "You are Fewshot.\n\nAnn: Hello\nFewshot: Hi.\nAnn: How are you?\nFewshot:"
    assert built.reads == (("1", 1), ("2", 1), ("3", 2))
    assert built.speakers == ("Fewshot", "Ann")
    assert built.params.stop == ("\n", "\nFewshot:", "\nAnn:"), "in a transcript a turn is a line"
    assert fit([said(1, "Hello")], is_markup=True)(CharacterTools()).params.stop == ("\nFewshot:", "\nAnn:")
    assert built.num_prompt_tokens == len(built.prompt.text)
    assert built.num_template_tokens == len("You are Fewshot.\n\n") + len("Fewshot:") == 26
    assert built.num_messages_dropped == 0


@pytest.mark.parametrize("is_markup", [False, True])
def test_the_oldest_messages_are_left_out_first_and_none_that_would_have_fit(is_markup: bool) -> None:
    messages = [said(i, f"message number {i}", "Ann" if i % 2 else "Bob") for i in range(40)]
    built = fit(messages, is_markup=is_markup)(CharacterTools())
    assert [id for id, _ in built.reads] == [str(i) for i in range(built.num_messages_dropped, 40)], "no gap"
    assert built.num_prompt_tokens == len(built.prompt.text) <= 280
    one_more = fit(messages[built.num_messages_dropped - 1 :], context_length=3000, is_markup=is_markup)
    assert one_more(CharacterTools()).num_prompt_tokens > 280


def test_the_current_message_alone_is_never_left_out_but_refused_with_counts() -> None:
    long = [said(1, "Hello"), said(2, "x" * 400)]
    with pytest.raises(PromptTooLong, match=r"432 tokens.*at most 280"):
        fit(long)(CharacterTools())
    with pytest.raises(RequestError, match="nothing here to read"):
        fit([said(1, "\u200b")])(CharacterTools())


def test_what_the_bot_said_first_and_said_again_is_not_read() -> None:
    messages = [
        said(0, "I am here.", "Fewshot"),
        said(1, "Hi"),
        said(2, "**Fewshot:** Hello!\nUser: and you?", "Fewshot"),
        said(3, "Hm"),
        said(4, "hello", "Fewshot"),
        said(5, "Hi?"),
    ]
    for is_markup in (False, True):
        built = fit(messages, is_markup=is_markup)(CharacterTools())
        assert [turn.text for turn in built.turns] == ["Hi", "Hello!", "Hm\nHi?"]
        assert [id for id, _ in built.reads] == ["1", "2", "3", "5"]
        assert built.answers == ("I am here.", "Hello!", "hello")


@pytest.mark.parametrize("is_markup", [False, True])
def test_what_the_bot_said_first_is_read_by_the_reply_to_it(is_markup: bool) -> None:
    messages = [said(0, "I am here.", "Fewshot"), replace(said(1, "Where?"), reply_to="0")]
    built = fit(messages, is_markup=is_markup)(CharacterTools())
    assert [turn.text for turn in built.turns] == ["I am here.", "Where?"]
    line = '<<user>>"I am here."\nWhere?' if is_markup else "Fewshot: I am here.\nAnn: Where?"
    assert line in built.prompt.text
    assert built.reads == (("0", 1), ("1", 1))


def test_what_can_not_fit_anyway_is_not_even_counted() -> None:
    tools = CharacterTools()
    built = fit([said(i, f"message number {i}") for i in range(5000)])(tools)
    assert built.num_messages_dropped > 4900
    assert tools.num_counted < 20


def leave_out_one_by_one(asked: ConversationFit) -> tuple[int, Prompt] | None:
    """Return how many messages are left out, and the prompt, by the rule itself: one more until it fits."""
    tools = CharacterTools()
    room = asked.context_length - 20
    spoken: list[HistoryMessage] = []
    for message in asked.messages:
        if merge_turns([message]) and not (message.is_me and message.text in [one.text for one in spoken if one.is_me]):
            spoken.append(message)

    def render(first: int) -> Prompt:
        opening = list(takewhile(lambda message: message.is_me, spoken[first:]))
        is_all = len(opening) == len(spoken) - first
        return render_conversation(
            CHAT,
            merge_turns(spoken[first if is_all else first + len(opening) :]),
            bot_name="Fewshot",
            said=asked.said,
            render_chat=tools.render_chat if asked.is_markup else None,
        )

    def count_line(index: int) -> int:
        return len(transcript_line(*merge_turns([spoken[index]]), bot_name="Fewshot")) + 1

    last = len(spoken) - 1
    num_template_tokens = max(0, len(render(last).text) - count_line(last))
    for first in range(select_turns(len(spoken), count_line, room - num_template_tokens), len(spoken)):
        if len(render(first).text) <= room:
            return first, render(first)
    return None


@settings(max_examples=300)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["Ann", "Ann", "Bob", "Fewshot", "Fewshot"]),
            st.sampled_from(["ok", "I see", "a longer line of words", "\n".join("abcdefgh"), "x" * 90]),
        ),
        min_size=1,
        max_size=60,
    ),
    st.integers(120, 700),
    st.sampled_from(["", "I think"]),
    st.booleans(),
)
def test_the_prompt_is_to_the_letter_that_of_leaving_out_one_message_after_another(
    lines: list[tuple[str, str]], context_length: int, begun: str, is_markup: bool
) -> None:
    messages = [said(i, text, who) for i, (who, text) in enumerate(lines)]
    asked = replace(fit(messages, context_length=context_length, is_markup=is_markup), said=begun)
    expected = leave_out_one_by_one(asked)
    try:
        built = asked(CharacterTools())
    except PromptTooLong:
        assert expected is None
    else:
        assert (built.num_messages_dropped, built.prompt) == expected


def test_many_messages_are_left_out_in_a_few_steps() -> None:
    tools = CharacterTools()
    messages = [said(i, "ok" if i % 7 else "a longer answer " * (i % 5), ("Ann", "Fewshot")[i % 2]) for i in range(200)]
    asked = fit(messages, context_length=3000, is_markup=True)
    built = asked(tools)
    expected = leave_out_one_by_one(asked)
    assert (built.num_messages_dropped, built.prompt) == expected
    assert tools.num_counted - tools.num_rendered < 200, "each message's line once"
    assert tools.num_rendered <= 10


@given(
    st.lists(st.tuples(st.sampled_from(["Ann", "Bob", "Fewshot"]), st.text(max_size=60)), max_size=30),
    st.sampled_from(["", "I think"]),
    st.booleans(),
)
def test_counts_are_those_of_the_prompt_and_it_leaves_room_for_the_answer(
    lines: list[tuple[str, str]], begun: str, is_markup: bool
) -> None:
    messages = [said(i, text, who) for i, (who, text) in enumerate(lines)]
    try:
        built = replace(fit(messages, is_markup=is_markup), said=begun)(CharacterTools())
    except RequestError:
        assert merge_turns(messages) == ()
        return
    assert built.num_prompt_tokens == len(built.prompt.text) <= 280
    assert built.num_template_tokens <= built.num_prompt_tokens
    assert built.prompt.text.endswith(begun)
    ids = [id for id, _ in built.reads]
    assert ids == [id for id in (message.id for message in messages) if id in ids], "in order"
    assert [id for turn in built.turns for id in turn.message_ids] == ids


class PictureTools(CharacterTools):
    """As a server's tools are: the turns go along with the text."""

    def render_chat(self, turns: Sequence[ChatTurn]) -> Prompt:
        return replace(super().render_chat(turns), turns=tuple(turns))


def shown(number: int, text: str, num: int = 1, who: str = "Ann") -> HistoryMessage:
    pictures = tuple(Picture(f"{number}{i}", "image/png", b"x") for i in range(num))
    return replace(said(number, text, who), num_pictures=num, pictures=pictures)


def ids_in(prompt: Prompt) -> list[list[str]]:
    return [[picture.id for picture in turn.pictures] for turn in prompt.turns[1:]]


def test_pictures_go_along_with_the_turn_of_their_message_and_a_mark_stands_for_each() -> None:
    messages = [shown(1, "Look"), shown(2, "And this", who="Bob"), said(3, "I see.", "Fewshot"), shown(4, "", 2)]
    prompt = fit(messages, context_length=100_000, is_markup=True)(PictureTools()).prompt
    assert [turn.content for turn in prompt.turns[1:]] == [
        "Ann: Look [picture]\nBob: And this [picture]",
        "I see.",
        "Ann: [picture] [picture]",
    ]
    assert ids_in(prompt) == [["10", "20"], [], ["40", "41"]]


def test_a_picture_counts_as_tokens_and_older_ones_make_room_for_words() -> None:
    messages = [shown(1, "Look"), shown(2, "And now", who="Bob"), shown(3, "And this")]
    room = 4 * PICTURE_TOKENS
    built = fit(messages, context_length=room + 20, is_markup=True)(PictureTools())
    assert ids_in(built.prompt) == [["20", "30"]]
    assert built.num_messages_dropped == 0
    assert built.num_prompt_tokens == len(built.prompt.text) + 2 * PICTURE_TOKENS


def test_words_that_fit_only_without_older_messages_leave_their_pictures_out_too() -> None:
    messages = [shown(1, "Look " * 300), said(2, "I see.", "Fewshot"), shown(3, "word " * 600)]
    built = fit(messages, context_length=4 * PICTURE_TOKENS, is_markup=True)(PictureTools())
    assert built.num_messages_dropped == 1
    assert built.reads == (("3", 1),)
    assert ids_in(built.prompt) == [["30"]]


@pytest.mark.parametrize(
    ("num", "sentence"),
    [
        (1, " tokens with its picture, but at most 280 fit. Send the text without the picture."),
        (3, " with its 3 pictures, but at most 280 fit. Send fewer pictures, or a shorter text."),
    ],
)
def test_pictures_that_do_not_fit_are_one_sentence(num: int, sentence: str) -> None:
    with pytest.raises(PromptTooLong) as caught:
        fit([shown(1, "Look", num)], is_markup=True)(PictureTools())
    assert str(caught.value).endswith(sentence)


def test_a_transcript_has_marks_and_no_pictures() -> None:
    built = fit([shown(1, "Look")])(PictureTools())
    assert "Ann: Look [picture]\n" in built.prompt.text
    assert built.prompt.num_pictures == 0
    assert built.num_prompt_tokens == len(built.prompt.text)

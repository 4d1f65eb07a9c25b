"""What the bot says itself: labels are dropped, other speakers end the answer, lists and notes stay."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.core.reply_text import clean_reply, has_other_speaker

NAMES = ("Fewshot", "Ana", "Bob Lee")


@pytest.mark.parametrize(
    ("written", "reply"),
    [
        (" Hello. \n", "Hello."),
        ("Fewshot: Hello.", "Hello."),
        ("fewshot: Hello.", "Hello."),
        (" FEWSHOT:  Fewshot: Hello.", "Hello."),
        ("**Fewshot:** hello", "hello"),
        ("**Fewshot**: hello", "hello"),
        ("[Fewshot]: hello", "hello"),
        ("### Assistant: hello", "hello"),
        ("Fewshot:\nhello", "hello"),
        ("A: Madrid", "Madrid"),
        ("Q: Madrid?", "Madrid?"),
        ("AI: hello", "hello"),
        ("Bot : hello", "hello"),
        ("Human: hello", "hello"),
        ("User: hello", "hello"),
        ("Answer: 42", "42"),
        ("bob  lee: hello", "hello"),
        ("Ana: I am here", "I am here"),
        ("Fewshot:", ""),
        ("", ""),
    ],
)
def test_a_speaker_s_label_at_the_start_is_dropped(written: str, reply: str) -> None:
    assert clean_reply(written, names=NAMES) == reply


@pytest.mark.parametrize(
    ("written", "reply"),
    [
        ("Sure\nUser: more", "Sure"),
        ("Sure\nuser : more", "Sure"),
        ("Madrid.\nQ: and Italy?\nA: Rome", "Madrid."),
        ("Madrid. Q: and Italy? A: Rome", "Madrid."),
        ("No need. **Fewshot:** This", "No need."),
        ('He said "no." Ana: why?', 'He said "no."'),
        ("Hello.\nAna: And I?", "Hello."),
        ("One\nFewshot: two\nAna: three", "One"),
        ("One\n  **bob lee**: two", "One"),
        ("One\n> Human: two", "One"),
        ("Fewshot: Hi.\nAssistant: Hi again.", "Hi."),
        ("Rome.\nA: It is Rome", "Rome."),
    ],
)
def test_an_answer_ends_where_another_speaker_begins(written: str, reply: str) -> None:
    assert clean_reply(written, names=NAMES) == reply


@pytest.mark.parametrize(
    "text",
    [
        "A: apples, B: bananas",
        "A: apples\nB: bananas\nC: pears",
        "Which one is it?\nA: apples\nB: bananas",
        "Note: it rains.",
        "It rains. Note: take a coat.",
        "Hello.\nAnabel: is a name",
        "Hello, Ana: nice.\nYes.",
        "There are two roles:\n- User: the one who asks\n- Assistant: the one who answers",
        "There are two roles:\n1. **User:** the one who asks\n2. **Bot:** I am that",
        "Put this in the file:\n```yaml\nuser: root\nbot: none\n```",
        "The ratio is\nA:3",
        "Let me see.\nAnswer: 42",
        "I am an AI: a program.",
    ],
)
def test_lists_notes_and_code_stay_as_they_are(text: str) -> None:
    assert clean_reply(text, names=NAMES) == text
    assert not has_other_speaker(text, names=NAMES)


@pytest.mark.parametrize(
    "written",
    [
        "**Fewshot:** Hello Ana. I am well.\nUser: and I?",
        "A: Madrid.\nQ: and Italy?\nA: Rome",
        "No need. **Fewshot:** This",
        "Bob Lee: Both of us are here.\nHuman: yes",
        "Question: why? Assistant: because",
        "Usually it rains.\nAssistant: Yes.",
        "It rains.\n> Human: and tomorrow?",
    ],
)
def test_no_label_flashes_up_while_the_answer_grows(written: str) -> None:
    whole = clean_reply(written, names=NAMES)
    seen = [clean_reply(written[:end], names=NAMES, is_growing=True) for end in range(len(written) + 1)]
    assert all(whole.startswith(text) for text in seen)
    assert sorted(seen, key=len) == seen
    assert whole.startswith(seen[-1])


def test_what_was_shown_before_stays_when_an_answer_goes_on() -> None:
    said = "User: is a word"
    assert clean_reply(f"{said} that\nAna: no", names=NAMES, num_said=len(said)) == f"{said} that"
    assert clean_reply(said, names=NAMES, num_said=len(said)) == said


def test_another_speaker_is_certain_unless_a_list_of_options_may_follow() -> None:
    assert has_other_speaker("Sure\nUser: more", names=NAMES)
    assert not has_other_speaker("Sure\nA: more", names=NAMES)
    assert clean_reply("Sure\nA: more", names=NAMES) == "Sure"


@given(st.text("A:Qna *\nB.Fewshot`", max_size=60))
def test_a_reply_is_part_of_the_text_and_clean_already(text: str) -> None:
    reply = clean_reply(text, names=NAMES)
    assert reply in text
    growing = clean_reply(text, names=NAMES, is_growing=True)
    assert reply.startswith(growing)


@pytest.mark.parametrize("unit", ["A: ", "\nUser: ", "a. ", "\n", "**", "Q: A: ", "```\nAna: ", "Bob ", ". **"])
def test_no_text_of_the_longest_kind_takes_long(unit: str) -> None:
    started = time.process_time()
    for text in (unit * 2_000, unit * 2_000 + "b"):
        clean_reply(text, names=NAMES, is_growing=True)
        has_other_speaker(text, names=NAMES)
    assert time.process_time() - started < 1.0

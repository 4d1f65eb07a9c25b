"""make measure-chat: its conversations, what it counts, and a quick run on a tiny model that repeats exactly."""

import json
import re
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from benchmarks.chat import count_again, counts_of, has_label, is_cut, is_repeat, measure, read_conversations, table


def test_there_are_twelve_conversations_of_thirty_messages() -> None:
    conversations = read_conversations()
    assert [len(conversation.messages) for conversation in conversations] == [30] * 12
    assert all(name.isalpha() and text for each in conversations for name, text in each.messages)


async def test_a_quick_run_has_a_row_for_each_conversation_and_repeats_exactly(
    roomy_model: Callable[[str], Path], tmp_path: Path
) -> None:
    titles = ("small talk", "two at once")
    answers = await measure("tiny", roomy_model("llama"), titles=titles, num_lines=2)
    assert [answer.conversation for answer in answers] == ["small talk"] * 2 + ["two at once"] * 2
    assert answers == await measure("tiny", roomy_model("llama"), titles=titles, num_lines=2)
    lines = list(table(answers))
    rows = [line.split(" | ") for line in lines if re.match(r"\| (small|two|\*\*all)", line)]
    assert [row[1] for row in rows] == ["2", "2", "4"]
    assert [int(count) for count in rows[2][2:-1]] == list(counts_of(answers).values())
    assert sum(line.startswith("- ") for line in lines) == len(counts_of(answers))
    saved = tmp_path / "answers.json"
    saved.write_text(json.dumps({"answers": [asdict(answer) for answer in answers]}))
    assert count_again(saved) == answers


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("I am Fewshot.", True),
        ("i am fewshot", True),
        ("Oh. How can I help you today? Tell me.", True),
        ("Yes, I am. And you?", False),
        ("How can I help him today?", False),
        ("It's here, Ana.", False),
        ("Here it is:\n```\nprint(1, 2, 3, 4)\n```", False),
        ("", False),
    ],
)
def test_a_repeat_is_an_answer_or_a_long_sentence_that_was_said_before(text: str, is_one: bool) -> None:
    assert (
        is_repeat(
            text,
            [
                "I am Fewshot.",
                "Hi. It's here, Ana. See:\n```\nprint(1, 2, 3, 4)\n```",
                "Hello! How can I help you today?",
                "Well. Yes, I am.",
            ],
        )
        == is_one
    )


@pytest.mark.parametrize(
    ("text", "finish_reason", "is_one"),
    [
        ("It is a river in", "length", True),
        ("It is a river.", "length", False),
        ('He said "no."', "length", False),
        ("Nice 🙂", "length", False),
        ("Madrid", "stop", False),
        ("Here is a list:", "stop", True),
        ("Here it is:\n```python\nprint(1)", "stop", True),
        ("```python", "stop", True),
        ("Here it is:\n```python\nprint(1)\n```", "length", False),
        ("Mehl, Eier,", "stop", True),
        ("", "none", False),
    ],
)
def test_an_answer_is_cut_where_more_must_come(text: str, finish_reason: str, is_one: bool) -> None:
    assert is_cut(text, finish_reason) == is_one


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("A: Madrid", True),
        ("fewshot: hello", True),
        ("**Fewshot:** hello", True),
        ("No need. **Fewshot:** This", True),
        ("Sure\nUser: more", True),
        ("Madrid.\nQ: and Italy?", True),
        ("Ana: me", True),
        ("Note: it rains.", False),
        ('```python\na = {\n    "a": 1\n}\n```', False),
        ("I am an AI: a program.", False),
        ("There are two kinds, a and b.", False),
    ],
)
def test_a_label_is_a_speaker_at_the_start_of_a_line_or_sentence(text: str, is_one: bool) -> None:
    assert has_label(text, ("Fewshot", "Ana")) == is_one

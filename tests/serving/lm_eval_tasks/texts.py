"""The texts of the tasks: questions with choices, texts to be measured, and texts to be continued."""

from typing import Any

from datasets import Dataset

_CHOICES = (
    ("The cat sat on the", ["mat", "moon", "mathematics of the mind", "mat and looked at the other cats"], 0),
    ("Once upon a time there was a small", ["robot", "of", "€", "日本の猫"], 0),
    ("Q: Is ice cold or hot?\nA:", ["cold", "hot", "neither of the two, as a matter of fact"], 0),
    ("Q: Is fire cold or hot?\nA:", ["cold", "hot", "neither of the two, as a matter of fact"], 1),
    ("def add(a, b):\n    return", ["a + b", "b", "None", "a - b  # not quite"], 0),
    ("I love this. Mood: good\nI hate this. Mood:", ["bad", "good"], 0),
    ("Il fait très chaud — même à l'ombre, il fait", ["chaud", "froid", "12,50 €"], 0),
)
_ROLLING = (
    "Hello",
    ".",
    "The dog ran to the door, and the cat looked at the dog.",
    "É un café très cher — 12,50 € !",
    "😀👍🏽 今日はいい天気ですね。散歩に行きましょう。",
    "def add(a, b):\n    return a + b\n\n\nprint(add(1, 2))  # 3\n",
    # Longer than two of the windows that the test asks for.
    "".join(
        f"In year {year} the old bridge was painted {year % 7} times, and nobody minded. " for year in range(1900, 1908)
    ),
)
_PROMPTS = (
    "The cat sat on the",
    "Once upon a time there was a small robot who wanted to",
    "Q: What is the capital of France?\nA:",
    "1, 2, 3, 4,",
    "The cat sat on the mat and looked at",
)


def load_choices(**_: Any) -> dict[str, Dataset]:
    """Return the questions with their choices."""
    rows = [{"question": text, "choices": choices, "answer": answer} for text, choices, answer in _CHOICES]
    return {"test": Dataset.from_list(rows)}


def load_rolling(**_: Any) -> dict[str, Dataset]:
    """Return the texts to be measured."""
    return {"test": Dataset.from_list([{"text": text} for text in _ROLLING])}


def load_prompts(**_: Any) -> dict[str, Dataset]:
    """Return the texts to be continued."""
    return {"test": Dataset.from_list([{"text": text, "answer": ""} for text in _PROMPTS])}

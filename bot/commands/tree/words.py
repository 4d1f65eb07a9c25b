"""The words that the model was unsure of, and for one of them what else was expected there."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from bot.commands.tree.lists import (
    BACK,
    MAX_SHOWN,
    MORE,
    PICK,
    Shown,
    named_by_number,
    on_one_line,
    share,
    tail_of,
    turning,
)
from bot.core.cards import Bars, Block, Choices, Select, SelectOption, Table, Text
from bot.core.results import WordProbability
from bot.core.safe_text import clean_model_text
from bot.core.text_tree import Branch
from bot.core.token_names import token_name
from bot.core.written_words import WrittenWord, words_here
from bot.services.completions import CompletionState, View

NUM_INSTEAD: Final = 10
_BROKEN: Final = "\ufffd"  # a part of a character
NO_WORDS: Final = "There are no words of the model here yet."


@dataclass(frozen=True, slots=True)
class WordEntry:
    """A word in a list, with its number there."""

    number: int
    word: WrittenWord

    @property
    def value(self) -> str:
        """Return what a select's option for it carries."""
        return f"{self.word.branch_id}-{self.word.start}"


def word_entries(state: CompletionState, given: str) -> tuple[tuple[WordEntry, ...], ...]:
    """Return the words of a completion in pages: the least sure ones first, on each page in order of reading."""
    words = words_here(state.tree, given)
    ranked = sorted(range(len(words)), key=lambda i: words[i].probability)
    num = MAX_SHOWN if len(words) <= MAX_SHOWN else MAX_SHOWN - 1
    pages = [sorted(ranked[start : start + num]) for start in range(0, len(ranked), num)]
    return tuple(tuple(WordEntry(number, words[i]) for number, i in enumerate(page, 1)) for page in pages)


def choices_of(state: CompletionState, given: str) -> Choices:
    """Return the continuations on offer; what the model wrote before them is cleaned as they are."""
    texts = tuple(option.text for option in state.options)
    return Choices(given + clean_model_text(state.taken), texts, labels=state.labels)


def show_words(state: CompletionState, given: str, *, has_buttons: bool) -> Shown:
    """Return a page of the words that can be opened."""
    choices = choices_of(state, given)
    pages = word_entries(state, given)
    if not pages:
        return Shown((choices, Text(NO_WORDS)), (BACK,), data={"words": []})
    page = state.view.page % len(pages)
    entries = pages[page]
    texts = {entry.word.branch_id: given + state.tree.text_of(entry.word.branch_id) for entry in entries}

    def context(word: WrittenWord) -> str:
        return tail_of(texts[word.branch_id][: len(given) + word.end])

    data = {
        "words": [
            {"number": entry.number, "text": one.text, "probability": one.probability, "choice": one.option or None}
            for entry in entries
            for one in (entry.word,)
        ]
    }
    if not has_buttons:
        rows = tuple(
            (
                str(entry.number),
                on_one_line(entry.word.text),
                share(entry.word.probability),
                _numbered(entry.word, context),
            )
            for entry in entries
        )
        more = " Type more for words that it was surer of." if page + 1 < len(pages) else ""
        hint = Text(f"Type the number of a word to see what else the model expected there.{more}", is_quiet=True)
        buttons = (MORE, BACK) if len(pages) > 1 else (BACK,)
        return Shown((choices, Table(("", "word", "expected with", "in"), rows), hint), buttons, data=data)
    options = [
        # The word comes first: on a phone only the beginning of an option is seen.
        SelectOption(
            entry.value,
            f"{entry.number} · {on_one_line(entry.word.text)} · {share(entry.word.probability)}",
            f"{_whose(entry.word.option)}: {context(entry.word)}",
        )
        for entry in entries
    ]
    which = "the words that the model was least sure of" if page == 0 else "words that the model was surer of"
    hint = Text(f"These are {which}. Choose one to see what else it expected there.")
    select = Select(PICK, "Choose a word", (*options, *turning("words", page, len(pages))))
    return Shown((choices, hint), (BACK,), (select,), data)


def instead_of(state: CompletionState, given: str, word: WrittenWord, found: Sequence[WordProbability]) -> View:
    """Return the view of a word with those that the model expects in its place."""
    before = (given + state.tree.text_of(word.branch_id))[: len(given) + word.start]
    is_spaced_by_given = before.endswith(" ") and not word.start
    instead: dict[str, tuple[str, float]] = {}
    for one in found:
        text = one.text
        # To the model "it" ends before an apostrophe: the "it" of "it's" is no other word.
        probability = one.probability - (word.probability if _is_beginning(text.strip(), word.text) else 0.0)
        if _BROKEN in text or probability <= 0:
            continue
        if is_spaced_by_given:
            # The space before the word is the person's own, so nothing can take its place.
            if not text.startswith(" "):
                continue
            text = text.removeprefix(" ")
        name = token_name(clean_model_text(one.text), follows_word=before[-1:].isalnum())
        if text and text.strip() != word.text and name not in instead:
            instead[name] = (text, probability)
    view = replace(state.view, kind="word", branch_id=word.branch_id, start=word.start)
    likeliest = sorted(instead.values(), key=lambda one: -one[1])
    return replace(view, instead=tuple(likeliest[:NUM_INSTEAD]))


def _is_beginning(text: str, word: str) -> bool:
    """Say whether `word` goes on behind `text` with a character that is no letter or digit."""
    return bool(text) and word.startswith(text) and not word[len(text) : len(text) + 1].isalnum() and word != text


def stem_before(given: str, text: str, start: int) -> str:
    """Return what is before the word at `start` of `text`; the one space before it is a part of the words there."""
    before = given + text[:start]
    return before[:-1] if before.endswith(" ") and before.strip() else before


def put_word(state: CompletionState, value: str) -> CompletionState | None:
    """Return the state behind the word of the view that was picked, in its own branch; None if there is none."""
    view, tree = state.view, state.tree
    numbers = {named_by_number(number): number for number in range(1, len(view.instead) + 1)}
    if value not in numbers or not tree.is_shown(view.branch_id):
        return None
    word, probability = view.instead[numbers[value] - 1]
    before = tree.text_of(view.branch_id)[: view.start]
    parent, kept = tree.place_in(view.branch_id, view.start - before.endswith(" "))
    for one in tree.children(parent):
        if (one.kept, one.text, one.is_word) == (kept, word, True):
            return state.go(one.id)
    logprob = round(math.log(probability), 4)
    return state.put_word(Branch(word, parent, kept, logprob, ends=(len(word),), logprobs=(logprob,)))


def show_word(state: CompletionState, given: str, *, has_buttons: bool) -> Shown:
    """Return the words that were expected in the place of one, with their probabilities."""
    view = state.view
    text = given + state.tree.text_of(view.branch_id)
    before = text[: len(given) + view.start]
    word = next(
        (
            entry.word
            for page in word_entries(state, given)
            for entry in page
            if (entry.word.branch_id, entry.word.start) == (view.branch_id, view.start)
        ),
        None,
    )
    wrote = f"the model wrote “{on_one_line(word.text)}” ({share(word.probability)})" if word else "the text went on"
    named = [
        (token_name(clean_model_text(one), follows_word=before[-1:].isalnum()), part) for one, part in view.instead
    ]
    if not named:
        sentence = f"After “{tail_of(before)}” {wrote}; no other word was expected there."
        return Shown((Text(sentence),), (BACK,), data={"instead": []})
    bars = [(f"{i} {name}", probability) for i, (name, probability) in enumerate(named, 1)]
    used = sum(probability for _, probability in named) + (word.probability if word else 0.0)
    how = "Choose a word" if has_buttons else "Type the number of a word"
    blocks: tuple[Block, ...] = (
        Text(f"After “{tail_of(before)}” {wrote}. Also expected there:"),
        Bars(tuple(bars), max(0.0, 1.0 - used), "anything else"),
        Text(f"{how} to go on with it in a new branch; what was written stays.", is_quiet=True),
    )
    data = {
        "word": word.text if word else None,
        "probability": word.probability if word else None,
        "instead": [{"text": text, "probability": probability} for text, probability in view.instead],
    }
    options = tuple(
        SelectOption(named_by_number(i), f"{i} · {name}", share(probability))
        for i, (name, probability) in enumerate(named, 1)
    )
    selects = (Select(PICK, "Go on with another word", options),) if has_buttons else ()
    return Shown(blocks, (BACK,), selects, data)


def _numbered(word: WrittenWord, context: Callable[[WrittenWord], str]) -> str:
    return f"{word.option}  {context(word)}" if word.option else context(word)


def _whose(option: int) -> str:
    return f"continuation {option}" if option else "the text so far"

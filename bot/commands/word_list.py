"""The words that a server's moderators don't allow in public answers: shown to them, added and removed."""

import unicodedata
from typing import Final

from bot.commands.framework.command import Cards, Command, Request
from bot.core.cards import Card, Table, Text
from bot.core.mentions import mention
from bot.core.suggesting import suggest
from bot.core.word_list import BLOCKED_WORDS, MAX_WORD_LENGTH, MAX_WORDS, WordList, fold_word
from bot.core.wording import list_words, quote
from bot.errors import RequestError
from bot.services.screening import load_word_list

_ACTIONS: Final = ("add", "remove", "clear")
_OFF: Final = "The word list is empty, so it is off."


async def answer_word_list(request: Request) -> Cards:
    """Show the words that are not allowed in public answers, or change them."""
    services, scope = request.services, request.message.scope
    before = await load_word_list(services.store, scope)
    action, typed = request.arguments.get("ACTION", "").casefold(), request.arguments.get("WORDS", "")
    if not action:
        yield _list_card(before)
        return
    if action not in _ACTIONS:
        hint = suggest(action, _ACTIONS, f"it takes {list_words(_ACTIONS, 'or')}.")
        raise RequestError(f"{mention('wordlist')} can't {quote(action)}; {hint}")
    if action == "clear":
        if typed:
            raise RequestError(f"clear removes all words and takes none. Use {mention('wordlist remove WORDS')}.")
        after = WordList()
    else:
        words = _words_of(typed, action)
        after = before.with_words(words) if action == "add" else before.without(words)
    if len(after.words) > MAX_WORDS:
        raise RequestError(f"A word list has at most {MAX_WORDS} words, and this would be {len(after.words)}.")
    await services.store.set_setting(scope, "server", BLOCKED_WORDS, after.to_stored() or None)
    # Everyone in the channel may read this.
    num = abs(len(after.words) - len(before.words))
    done = "added" if action == "add" else "removed"
    sentence = f"{_number(num)} {done}. {_state(after)}"
    yield Card(blocks=(Text(sentence),), data={"text": sentence, "num_words": len(after.words), "num_changed": num})


async def lists_words(request: Request) -> bool:
    """Say whether the answer shows the words."""
    return not request.arguments.get("ACTION")


def _words_of(typed: str, action: str) -> list[str]:
    """Return the typed words as they are compared. Raises RequestError for none, and for one that can't be found."""
    words = [fold_word(word) for word in typed.replace(",", " ").split()]
    if not words:
        raise RequestError(f"Write the words too, with spaces between: {mention(f'wordlist {action} WORDS')}.")
    for word in words:
        if len(word) > MAX_WORD_LENGTH:
            raise RequestError(f"A word of the list has at most {MAX_WORD_LENGTH} characters, and {quote(word)} more.")
        if not any(unicodedata.category(c)[0] in "LN" for c in word) or len(word.split()) != 1:
            raise RequestError(f"{quote(word)} is no word: it has no letter or digit, or has spaces in it.")
    return words


def _list_card(words: WordList) -> Card:
    how = f"{mention('wordlist add WORDS')} and {mention('wordlist remove WORDS')} change it."
    data = {"text": _state(words), "words": list(words.words), "num_words": len(words.words)}
    rows = tuple((word,) for word in words.words)
    table = (Table(("word",), rows),) if rows else ()
    return Card(blocks=(Text(_state(words)), *table, Text(how, is_quiet=True)), data=data, answers="private")


def _state(words: WordList) -> str:
    if not words:
        return _OFF
    return f"The word list has {_number(len(words.words))}: no public answer here may have one."


def _number(num: int) -> str:
    return "1 word" if num == 1 else f"{num} words"


COMMANDS: Final = (
    Command(
        name="wordlist",
        needs_model=False,
        summary="Show or change the words that public answers here may not have",
        answer=answer_word_list,
        arguments=("ACTION", "WORDS"),
        num_optional_arguments=2,
        takes_rest=True,
        argument_choices={"ACTION": _ACTIONS},
        who="moderators",
        answers="private",
        is_secret_for=lists_words,
        needs_conversation=True,
        needs_moderators=True,
        details="It counts for what the model writes: answers in a chat, continuations, stories and templates, not for"
        " what people write, and not for measurements. Only whole words count, in any case. A text with such a word is"
        " written once more, and then refused; it is never changed.",
        examples=("wordlist", "wordlist add damn heck", "wordlist remove heck"),
    ),
)

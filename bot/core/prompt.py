"""The prompts of templates and conversations, and loops in what the model writes."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from bot.core.classification import CONTENT_FREE_INPUTS
from bot.core.history import Turn
from bot.core.prompt_parts import ChatTurn, Prompt, PromptPart, Role
from bot.core.safe_text import clean_name, one_line, replace_lone_surrogates
from bot.core.templates.body import fill_slots
from bot.core.templates.template import PromptTemplate
from bot.errors import RequestError

# The speaker of the inputs in a chat template's examples.
EXAMPLE_SPEAKER: Final = "Member"


def build_prompt(template: PromptTemplate, input: str) -> Prompt:
    """Return the prompt of `template` for `input`. It never ends in white space.

    Raises RequestError for a chat template and for an input of white space only.
    """
    if template.kind == "chat":
        raise RequestError(f"The template {template.name} is for chat and takes no input. Talk to the bot instead.")
    if not input.strip():
        raise RequestError(f"The template {template.name} needs a text to work on.")
    return _ask(template, input)


def build_content_free_prompts(template: PromptTemplate) -> tuple[Prompt, ...]:
    """Return the prompts of `template` for inputs without content (bot.core.classification).

    The empty input is left out if the prompt would end in white space.
    """
    empty = fill_slots(template.query, {"input": ""})
    takes_empty = bool(empty) and not empty[-1].isspace()
    return tuple(_ask(template, input) for input in CONTENT_FREE_INPUTS if input or takes_empty)


def _ask(template: PromptTemplate, input: str) -> Prompt:
    shown = template.prompt_examples
    cases = [_put(template, example.input) + continuation_of(template, example.output) for example in shown]
    cases.append(_put(template, replace_lone_surrogates(input)))
    return Prompt.plain(fill_slots(template.instruction, {}) + template.example_separator.join(cases))


def _put(template: PromptTemplate, input: str) -> str:
    """Return the query filled with `input`; examples and the real question both use it."""
    return fill_slots(template.query, {"input": input if template.is_multiline else one_line(input)}).rstrip()


def continuation_of(template: PromptTemplate, output: str) -> str:
    """Return the exact text that follows the prompt if `output` is the answer."""
    return template.separator + output


def label_continuations(template: PromptTemplate) -> tuple[str, ...]:
    """Return the text that follows the prompt for each label, in order; () for a template that does not classify."""
    return tuple(continuation_of(template, label) for label in template.labels)


def speakers_of(template: PromptTemplate, turns: Sequence[Turn], *, bot_name: str) -> tuple[str, ...]:
    """Return every speaker's name in the conversation, the bot's first."""
    bot_name = clean_name(bot_name)
    names = [bot_name, *(EXAMPLE_SPEAKER for _ in template.examples[:1])]
    names += [_name_of(turn, bot_name) for turn in turns]
    return tuple(dict.fromkeys(names))


def speaker_stops(names: Iterable[str]) -> tuple[str, ...]:
    """Return the stop texts that end an answer before one of `names` speaks."""
    return tuple(f"\n{name}:" for name in names)


def stops_of(template: PromptTemplate, names: Iterable[str] = ()) -> tuple[str, ...]:
    """Return all stop texts of an answer; `names` are the speakers of the conversation (`speakers_of`)."""
    return tuple(dict.fromkeys((*template.stop, *speaker_stops(names))))


def build_transcript(template: PromptTemplate, turns: Sequence[Turn], *, bot_name: str) -> Prompt:
    """Return the conversation as lines `Name: text`, for models without chat markup; the bot's line is left open.

    `turns` end with the current message. Raises ValueError without turns or for a template that is not for chat.
    """
    _check_chat(template, turns)
    bot_name = clean_name(bot_name)
    lines = []
    for example in template.examples:
        lines.append(f"{EXAMPLE_SPEAKER}: {one_line(example.input)}")
        lines.append(f"{bot_name}: {one_line(example.output)}")
    lines += [transcript_line(turn, bot_name=bot_name) for turn in turns]
    instruction = fill_slots(template.instruction, {"bot_name": bot_name})
    return Prompt.plain(instruction + "\n".join([*lines, f"{bot_name}:"]))


def continue_prompt(prompt: Prompt, said: str, *, is_markup: bool) -> Prompt:
    """Return `prompt` followed by `said`, the start of its answer."""
    if not said:
        return prompt
    parts = (*prompt.parts, PromptPart(said if is_markup else f" {said}"))
    turns = (*prompt.turns, ChatTurn("assistant", said)) if prompt.turns else ()
    return replace(prompt, parts=parts, turns=turns)


def transcript_line(turn: Turn, *, bot_name: str) -> str:
    """Return `turn` as one line of a transcript."""
    return f"{_name_of(turn, clean_name(bot_name))}: {one_line(turn.text)}"


def build_chat_turns(template: PromptTemplate, turns: Sequence[Turn], *, bot_name: str) -> tuple[ChatTurn, ...]:
    """Return the conversation for the model's own chat markup: instruction, examples, then the turns.

    After the system turn, "user" and "assistant" alternate, as some chat templates require. If several members
    speak, each line starts with its speaker's name. Words of the bot before any member's are a quotation in the first
    "user" turn. `turns` end with the current message. Raises ValueError without turns or for a template that is not
    for chat.
    """
    _check_chat(template, turns)
    bot_name = clean_name(bot_name)
    instruction = fill_slots(template.instruction, {"bot_name": bot_name}).strip()
    chat = [ChatTurn("system", instruction)] if instruction else []
    for example in template.examples:
        chat += [ChatTurn("user", one_line(example.input)), ChatTurn("assistant", example.output)]
    is_named = len({_name_of(turn, bot_name) for turn in turns if not turn.is_me}) > 1
    # An "assistant" turn can't be first, and the bot's name before its words would teach the model to write it.
    first_member = next((i for i, turn in enumerate(turns) if not turn.is_me), len(turns))
    for i, turn in enumerate(turns):
        is_mine = turn.is_me and i > first_member
        if turn.is_me:
            content = turn.text if is_mine else f'"{turn.text}"'
        else:
            content = _named_lines(turn, bot_name) if is_named else turn.text
        role: Role = "assistant" if is_mine else "user"
        if chat and chat[-1].role == role and i > 0:
            joined = (*chat[-1].pictures, *turn.pictures)
            chat[-1] = ChatTurn(role, f"{chat[-1].content}\n{content}", joined)
        else:
            chat.append(ChatTurn(role, content, turn.pictures))
    return tuple(chat)


def _check_chat(template: PromptTemplate, turns: Sequence[Turn]) -> None:
    if template.kind != "chat":
        raise ValueError(f"{template.name} is no chat template")
    if not turns:
        raise ValueError("a conversation has at least the current message")


def _named_lines(turn: Turn, bot_name: str) -> str:
    return "\n".join(f"{_name_of(turn, bot_name)}: {line}" for line in turn.text.splitlines())


def _name_of(turn: Turn, bot_name: str) -> str:
    """Return the speaker's name for `turn`'s lines; a member with the bot's name is marked."""
    if turn.is_me:
        return bot_name
    name = clean_name(turn.speaker)
    return f"{name} (member)" if name.casefold() == bot_name.casefold() else name


# A loop is a phrase repeated without a gap up to the text's end. Short phrases repeat in ordinary text ("no no no",
# "ha ha ha", a line of dashes), so a loop needs both enough repetitions and enough characters.
_MIN_LOOP_CHARACTERS: Final = 60
_MIN_SIGN_LOOP_CHARACTERS: Final = 160
_MIN_REPETITIONS: Final = 3
_MIN_SHORT_REPETITIONS: Final = 6
_SHORT_PHRASE_CHARACTERS: Final = 20
_LOOP_WINDOW_CHARACTERS: Final = 4000
_BREAK: Final = re.compile(r"(?<=[.!?…。！？])\s|\n|(?<=[。！？])")


def find_loop(text: str) -> int | None:
    """Return the index from which `text` repeats itself up to its end, None if it does not.

    A loop is a phrase repeated at least 3 times (6 times below 20 characters) over the last 60 characters or more;
    without letters and digits (a line of dashes) over 160 or more. `text[:index]` keeps the phrase once, up to the
    end of a sentence or word if it has one. Only the last 4,000 characters are searched; linear time.
    """
    offset = max(0, len(text) - _LOOP_WINDOW_CHARACTERS)
    tail = text[offset:]
    backwards = tail[::-1]
    for period, length in enumerate(_prefix_lengths(backwards)):
        if period == 0:
            continue
        repeated = period + length
        if repeated < _MIN_LOOP_CHARACTERS:
            continue
        num_needed = _MIN_SHORT_REPETITIONS if period < _SHORT_PHRASE_CHARACTERS else _MIN_REPETITIONS
        is_worded = any(c.isalnum() for c in backwards[:period])
        if repeated // period >= num_needed and (is_worded or repeated >= _MIN_SIGN_LOOP_CHARACTERS):
            return offset + _end_of_first(tail, len(tail) - repeated, period)
    return None


def _prefix_lengths(text: str) -> list[int]:
    """Return for each index how many characters from there on equal the start of `text` (the Z function)."""
    lengths = [0] * len(text)
    start = end = 0
    for i in range(1, len(text)):
        length = min(end - i, lengths[i - start]) if i < end else 0
        while i + length < len(text) and text[length] == text[i + length]:
            length += 1
        lengths[i] = length
        if i + length > end:
            start, end = i, i + length
    return lengths


def _end_of_first(text: str, start: int, period: int) -> int:
    """Return where the first repetition ends, at the end of a sentence or word if the phrase has one."""
    first = start + period
    # The phrase may start with the break that ends the repetition before it.
    if found := _BREAK.search(text, first - 1, first + period):
        return found.start()
    if (space := text.find(" ", first - 1, first + period)) >= 0:
        return space
    return first

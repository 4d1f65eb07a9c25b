"""The prompt of a conversation: the newest messages that fit the model's context."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Final, Protocol

from bot.core.history import (
    CleanMessage,
    HistoryMessage,
    Turn,
    clean_messages,
    join_messages,
    leave_out_opening,
    leave_out_repeats,
    select_turns,
)
from bot.core.picture import PICTURE_TOKENS
from bot.core.prompt import build_chat_turns, build_transcript, continue_prompt, speakers_of, stops_of, transcript_line
from bot.core.prompt_parts import ChatTurn, Prompt
from bot.core.sampling_params import SamplingParams
from bot.core.templates.template import PromptTemplate
from bot.errors import PromptTooLong, RequestError

_FIRST_LINES: Final = 8


class PromptTools(Protocol):
    """What a prompt needs from its model: token counts and the model's own chat markup."""

    def count_tokens(self, prompts: Sequence[Prompt]) -> tuple[int, ...]:
        """Return how many tokens each prompt feeds to the model."""

    def render_chat(self, turns: Sequence[ChatTurn]) -> Prompt:
        """Return `turns` in the model's own chat markup. Raises ModelError for a model without one."""


@dataclass(frozen=True, slots=True)
class ChatPrompt:
    """A conversation's prompt, and how many tokens its parts take.

    `said` is the start of the answer if that exists already, else "". `answers` are the bot's own in the history,
    oldest first, also those that are not read.
    """

    prompt: Prompt
    template: PromptTemplate
    turns: tuple[Turn, ...]
    is_markup: bool
    params: SamplingParams
    speakers: tuple[str, ...]
    said: str
    answers: tuple[str, ...]
    reads: tuple[tuple[str, int], ...]
    num_prompt_tokens: int
    num_template_tokens: int
    num_messages_dropped: int


@dataclass(frozen=True, slots=True)
class ConversationFit:
    """The inputs of a conversation's prompt. Call it with a model's tools to build the prompt; pure.

    `messages` are oldest first, the current message last; the model may read the last `history_length` of them.
    `is_markup` asks for the model's own chat markup instead of a transcript. `said` is the start of an answer to
    continue.
    """

    template: PromptTemplate
    messages: Sequence[HistoryMessage]
    params: SamplingParams
    bot_name: str
    context_length: int
    is_markup: bool
    said: str = ""
    history_length: int | None = None

    def __call__(self, tools: PromptTools) -> ChatPrompt:
        """Return the prompt, without the oldest messages if not all fit beside the answer.

        Raises PromptTooLong if the current message alone does not fit, RequestError if there is nothing to read.
        """
        # Whole messages are left out, not whole turns: one turn is everything that a person says in a row.
        everything = clean_messages(self.messages)
        messages = leave_out_repeats(everything[-(self.history_length or len(everything)) :])
        if not messages:
            raise RequestError("There is nothing here to read yet. Write to the bot first.")
        room = self.context_length - min(self.params.max_new_tokens, self.context_length // 2)
        # A transcript is a text alone.
        messages = leave_out_pictures(messages, room // 2 if self.is_markup else None)

        line_counts: dict[int, int] = {}

        def count_line(index: int) -> int:
            if index not in line_counts:
                # Counted from the newest on, in growing batches: tools may be far away.
                first = max(0, index + 1 - max(_FIRST_LINES, len(line_counts)))
                lines = [self._line(messages[i]) for i in range(first, index + 1)]
                for at, num_tokens in zip(range(first, index + 1), tools.count_tokens(lines), strict=True):
                    line_counts[at] = num_tokens + PICTURE_TOKENS * len(messages[at].pictures)
            return line_counts[index]

        @cache
        def read_from(index: int) -> tuple[tuple[Turn, ...], Prompt, int]:
            turns = join_messages(_readable(messages[index:]))
            prompt = self._render(tools, turns)
            return turns, prompt, tools.count_tokens([prompt])[0] + PICTURE_TOKENS * prompt.num_pictures

        def excess(index: int) -> int:
            return read_from(index)[2] - room

        last = len(messages) - 1
        num_template_tokens = max(0, read_from(last)[2] - count_line(last))
        estimate = select_turns(len(messages), count_line, room - num_template_tokens)
        first = find_first_that_fits(range(estimate, len(messages)), excess)
        if first is None:
            num_pictures = read_from(last)[1].num_pictures
            raise PromptTooLong(num_tokens=read_from(last)[2], max_tokens=room, num_pictures=num_pictures)
        turns, prompt, num_tokens = read_from(first)
        speakers = speakers_of(self.template, turns, bot_name=self.bot_name)
        return ChatPrompt(
            prompt=prompt,
            template=self.template,
            turns=turns,
            is_markup=self.is_markup,
            params=replace(self.params, stop=self._stops(speakers)),
            speakers=speakers,
            said=self.said,
            answers=tuple(message.text for message in everything if message.is_me),
            reads=tuple((message.id, message.revision) for message in _readable(messages[first:])),
            num_prompt_tokens=num_tokens,
            num_template_tokens=num_template_tokens,
            num_messages_dropped=first,
        )

    def _line(self, message: CleanMessage) -> Prompt:
        line = transcript_line(*join_messages([message]), bot_name=self.bot_name)
        return Prompt.plain(f"{line}\n")

    def _stops(self, speakers: Sequence[str]) -> tuple[str, ...]:
        stops = stops_of(self.template, speakers)
        # In a transcript a turn is a line. A model that was not taught to end its turn writes on in the next one.
        return stops if self.is_markup or self.template.stop else ("\n", *stops)

    def _render(self, tools: PromptTools, turns: Sequence[Turn]) -> Prompt:
        render_chat = tools.render_chat if self.is_markup else None
        return render_conversation(
            self.template, turns, bot_name=self.bot_name, said=self.said, render_chat=render_chat
        )


def _readable(messages: Sequence[CleanMessage]) -> Sequence[CleanMessage]:
    """Return `messages` without the bot's own at their beginning, all of them if nobody else has spoken."""
    return leave_out_opening(messages) or messages


def leave_out_pictures(messages: Sequence[CleanMessage], max_tokens: int | None) -> tuple[CleanMessage, ...]:
    """Return `messages` with the pictures of the last one, and the newest of the others as far as `max_tokens` allow.

    With None, without any.
    """
    kept: list[CleanMessage] = []
    left = (max_tokens or 0) // PICTURE_TOKENS
    for message in reversed(messages):
        pictures = message.pictures if max_tokens is not None else ()
        if kept:
            pictures = pictures[max(0, len(pictures) - left) :]
        left = max(0, left - len(pictures))
        kept.append(replace(message, pictures=pictures) if pictures != message.pictures else message)
    return tuple(reversed(kept))


def find_first_that_fits(indexes: Sequence[int], excess: Callable[[int], int]) -> int | None:
    """Return the first of `indexes` from which the conversation has no excess; None if there is none.

    `excess(i)` (tokens) is that of the prompt from message i on: the later, the less. It is called O(log n) times.
    """
    if not indexes or excess(indexes[-1]) > 0:
        return None
    if excess(indexes[0]) <= 0:
        return indexes[0]
    over, fitting = 0, len(indexes) - 1
    interpolates = True
    while fitting - over > 1:
        if interpolates:
            most, least = excess(indexes[over]), excess(indexes[fitting])
            at = over + math.ceil(most * (fitting - over) / (most - least))
            at = min(at, fitting - 1)
        else:  # bounds the number of calls if the messages' lengths differ much
            at = (over + fitting) // 2
        interpolates = not interpolates
        if excess(indexes[at]) > 0:
            over = at
        else:
            fitting = at
    return indexes[fitting]


def render_conversation(
    template: PromptTemplate,
    turns: Sequence[Turn],
    *,
    bot_name: str,
    said: str = "",
    render_chat: Callable[[Sequence[ChatTurn]], Prompt] | None = None,
) -> Prompt:
    """Return the prompt of `turns`, in chat markup if `render_chat` is given, else a transcript; it ends with `said`.

    Raises ModelError if the model's own chat template refuses these turns.
    """
    if render_chat is None:
        prompt = build_transcript(template, turns, bot_name=bot_name)
    else:
        prompt = render_chat(build_chat_turns(template, turns, bot_name=bot_name))
    return continue_prompt(prompt, said, is_markup=render_chat is not None)

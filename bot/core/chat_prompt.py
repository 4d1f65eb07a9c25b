"""The prompt of a conversation: the newest messages that fit the model's context."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Protocol

from bot.core.history import HistoryMessage, Turn, clean_messages, join_messages, select_turns
from bot.core.prompt import (
    ChatTurn,
    build_chat_turns,
    build_transcript,
    continue_prompt,
    speakers_of,
    stops_of,
    transcript_line,
)
from bot.core.prompt_parts import Prompt
from bot.core.sampling_params import SamplingParams
from bot.core.templates.template import PromptTemplate
from bot.errors import PromptTooLong, RequestError


class PromptTools(Protocol):
    """What a prompt needs from its model: token counts and the model's own chat markup."""

    def count_tokens(self, prompts: Sequence[Prompt]) -> tuple[int, ...]:
        """Return how many tokens each prompt feeds to the model."""

    def render_chat(self, turns: Sequence[ChatTurn]) -> Prompt:
        """Return `turns` in the model's own chat markup. Raises ModelError for a model without one."""


@dataclass(frozen=True, slots=True)
class ChatPrompt:
    """A conversation's prompt, and how many tokens its parts take.

    `said` is the start of the answer if that exists already, else "".
    """

    prompt: Prompt
    template: PromptTemplate
    turns: tuple[Turn, ...]
    is_markup: bool
    params: SamplingParams
    speakers: tuple[str, ...]
    said: str
    reads: tuple[tuple[str, int], ...]
    num_prompt_tokens: int
    num_template_tokens: int
    num_messages_dropped: int


@dataclass(frozen=True, slots=True)
class ConversationFit:
    """The inputs of a conversation's prompt. Call it with a model's tools to build the prompt; pure.

    `messages` are those that the model may read, oldest first, the current message last. `is_markup` asks for the
    model's own chat markup instead of a transcript. `said` is the start of an answer to continue.
    """

    template: PromptTemplate
    messages: Sequence[HistoryMessage]
    params: SamplingParams
    bot_name: str
    context_length: int
    is_markup: bool
    said: str = ""

    def __call__(self, tools: PromptTools) -> ChatPrompt:
        """Return the prompt, without the oldest messages if not all fit beside the answer.

        Raises PromptTooLong if the current message alone does not fit, RequestError if there is nothing to read.
        """
        # Whole messages are left out, not whole turns: one turn is everything that a person says in a row.
        messages = clean_messages(self.messages)
        if not messages:
            raise RequestError("There is nothing here to read yet. Write to the bot first.")
        room = self.context_length - min(self.params.max_new_tokens, self.context_length // 2)

        def count_line(index: int) -> int:
            line = transcript_line(*join_messages([messages[index]]), bot_name=self.bot_name)
            return tools.count_tokens([Prompt.plain(f"{line}\n")])[0]

        @cache
        def read_from(index: int) -> tuple[tuple[Turn, ...], Prompt, int]:
            turns = join_messages(messages[index:])
            prompt = self._render(tools, turns)
            return turns, prompt, tools.count_tokens([prompt])[0]

        def excess(index: int) -> int:
            return read_from(index)[2] - room

        last = len(messages) - 1
        num_template_tokens = max(0, read_from(last)[2] - count_line(last))
        estimate = select_turns(len(messages), count_line, room - num_template_tokens)
        first = find_first_that_fits([message.is_me for message in messages], estimate, excess)
        if first is None:
            raise PromptTooLong(num_tokens=read_from(last)[2], max_tokens=room)
        turns, prompt, num_tokens = read_from(first)
        speakers = speakers_of(self.template, turns, bot_name=self.bot_name)
        return ChatPrompt(
            prompt=prompt,
            template=self.template,
            turns=turns,
            is_markup=self.is_markup,
            params=replace(self.params, stop=stops_of(self.template, speakers)),
            speakers=speakers,
            said=self.said,
            reads=tuple((message.id, message.revision) for message in messages[first:]),
            num_prompt_tokens=num_tokens,
            num_template_tokens=num_template_tokens,
            num_messages_dropped=first,
        )

    def _render(self, tools: PromptTools, turns: Sequence[Turn]) -> Prompt:
        render_chat = tools.render_chat if self.is_markup else None
        return render_conversation(
            self.template, turns, bot_name=self.bot_name, said=self.said, render_chat=render_chat
        )


def find_first_that_fits(is_me: Sequence[bool], estimate: int, excess: Callable[[int], int]) -> int | None:
    """Return the oldest message, from `estimate` on, from which the conversation has no excess; None if there is none.

    `is_me` says of each message whether it is the bot's; `excess(i)` (tokens) is that of the prompt from message i on.
    It is called O(log n) times.
    """
    # From a later message on there is less to read, with one exception: a conversation that begins with the bot names
    # each line of its opening. So a member's message never has more excess than any message before it, and messages of
    # the bot in a row never have more than the one before.
    if excess(estimate) <= 0:
        return estimate
    members = [index for index in range(estimate, len(is_me)) if not is_me[index]]
    at = _first_without_excess(members, excess)
    begin = members[at - 1] + 1 if at > 0 else estimate
    end = members[at] if at < len(members) else len(is_me)
    mine = range(begin, end)
    found = begin + _first_without_excess(mine, excess)
    return found if found < len(is_me) else None


def _first_without_excess(indexes: Sequence[int], excess: Callable[[int], int]) -> int:
    """Return the first place in `indexes` without excess, which falls along them; their number if all have some."""
    if not indexes or excess(indexes[-1]) > 0:
        return len(indexes)
    if excess(indexes[0]) <= 0:
        return 0
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
    return fitting


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

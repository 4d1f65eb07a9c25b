"""The prompt of a conversation: the newest messages that fit the model's context."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from bot.core.history import HistoryMessage, Turn, merge_turns, select_turns
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
        # Messages are left out one by one, not turn by turn: one turn is everything that a person says in a row.
        spoken = [(message, turn) for message in self.messages for turn in merge_turns([message])]
        if not spoken:
            raise RequestError("There is nothing here to read yet. Write to the bot first.")
        room = self.context_length - min(self.params.max_new_tokens, self.context_length // 2)

        def count_line(index: int) -> int:
            line = transcript_line(spoken[index][1], bot_name=self.bot_name)
            return tools.count_tokens([Prompt.plain(f"{line}\n")])[0]

        (num_alone,) = tools.count_tokens([self._render(tools, [spoken[-1][1]])])
        num_template_tokens = max(0, num_alone - count_line(len(spoken) - 1))
        first = select_turns(len(spoken), count_line, room - num_template_tokens)
        while True:
            kept = [message for message, _ in spoken[first:]]
            turns = merge_turns(kept)
            prompt = self._render(tools, turns)
            (num_tokens,) = tools.count_tokens([prompt])
            if num_tokens <= room:
                break
            if first == len(spoken) - 1:
                raise PromptTooLong(num_tokens=num_tokens, max_tokens=room)
            first += 1
        speakers = speakers_of(self.template, turns, bot_name=self.bot_name)
        return ChatPrompt(
            prompt=prompt,
            template=self.template,
            turns=turns,
            is_markup=self.is_markup,
            params=replace(self.params, stop=stops_of(self.template, speakers)),
            speakers=speakers,
            said=self.said,
            reads=tuple((message.id, message.revision) for message in kept),
            num_prompt_tokens=num_tokens,
            num_template_tokens=num_template_tokens,
            num_messages_dropped=first,
        )

    def _render(self, tools: PromptTools, turns: Sequence[Turn]) -> Prompt:
        render_chat = tools.render_chat if self.is_markup else None
        return render_conversation(
            self.template, turns, bot_name=self.bot_name, said=self.said, render_chat=render_chat
        )


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

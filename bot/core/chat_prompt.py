"""The prompt of a conversation: as many of its messages, the newest first, as the model has room for."""

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
    """What a model knows about prompts: how many tokens they have, and its own chat markup."""

    def count_tokens(self, prompts: Sequence[Prompt]) -> tuple[int, ...]:
        """Return how many tokens each prompt feeds to the model."""

    def render_chat(self, turns: Sequence[ChatTurn]) -> Prompt:
        """Put `turns` into the model's own chat markup. Raises ModelError for a model without."""


@dataclass(frozen=True, slots=True)
class ChatPrompt:
    """A conversation made ready for the model, and what its parts cost in tokens.

    `said` is the beginning of the answer where that is there already, "" else.
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
    """What a conversation's prompt is made of. Called with a model's tools, it makes the prompt; pure.

    `messages` are those that may be read, oldest first, the last one the current message. `is_markup` asks for the
    model's own chat markup, a transcript else. `said` is the beginning of the answer, where that goes on.
    """

    template: PromptTemplate
    messages: Sequence[HistoryMessage]
    params: SamplingParams
    bot_name: str
    context_length: int
    is_markup: bool
    said: str = ""

    def __call__(self, tools: PromptTools) -> ChatPrompt:
        """Return the prompt; the oldest messages are left out where not all fit, with room for an answer.

        Raises PromptTooLong when the current message alone does not fit, RequestError where there is nothing to read.
        """
        # Left out message by message, not turn by turn: all that a person says without an answer is one turn.
        spoken = [(message, turn) for message in self.messages for turn in merge_turns([message])]
        if not spoken:
            raise RequestError("There is nothing here to read yet; say something to the bot first.")
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
    """Return the prompt of `turns`, in chat markup if `render_chat` is given, else a transcript; `said` goes behind it.

    Raises ModelError where the model's own chat template can't put these turns.
    """
    if render_chat is None:
        prompt = build_transcript(template, turns, bot_name=bot_name)
    else:
        prompt = render_chat(build_chat_turns(template, turns, bot_name=bot_name))
    return continue_prompt(prompt, said, is_markup=render_chat is not None)

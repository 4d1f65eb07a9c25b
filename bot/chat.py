"""A conversation: a message in, the model's reply out, built from the channel's template and what was said before."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final
from weakref import WeakValueDictionary

from bot.core.cards import Card, Text
from bot.core.channel_settings import ChannelSetting
from bot.core.history import HistoryMessage, Turn, merge_turns, reply_chain, select_turns
from bot.core.messages import Message, Scope
from bot.core.prompt import (
    build_chat_turns,
    build_transcript,
    clean_reply,
    find_loop,
    speakers_of,
    stops_of,
    transcript_line,
)
from bot.core.prompt_parts import Prompt
from bot.core.results import FinishReason
from bot.core.safe_text import clean_model_text
from bot.core.sampling import SamplingParams, apply_options
from bot.core.stopping import Stopper
from bot.core.template import PromptTemplate
from bot.engine.engine import Engine, Generation
from bot.engine.work import Asker
from bot.errors import PromptTooLong, RequestError
from bot.replies import GeneratedReply, PromptOrigin, record_reply
from bot.store.store import Store
from bot.templates import TemplateLibrary

logger = logging.getLogger(__name__)

MAX_ATTEMPTS: Final = 3
_LOOP_PENALTY_STEP: Final = 0.1
_LOOP_CHECK_CHARACTERS: Final = 16


@dataclass(frozen=True, slots=True)
class ChatPrompt:
    """A conversation made ready for the model, and what its parts cost in tokens."""

    prompt: Prompt
    template: PromptTemplate
    turns: tuple[Turn, ...]
    is_markup: bool
    params: SamplingParams
    speakers: tuple[str, ...]
    reads: tuple[tuple[str, int], ...]
    num_prompt_tokens: int
    num_template_tokens: int
    num_messages_dropped: int


@dataclass(frozen=True, slots=True)
class ContextUse:
    """How the model's context would be shared out by an answer now, in tokens."""

    template_name: str
    num_template_tokens: int
    num_history_tokens: int
    num_answer_tokens: int
    num_free_tokens: int
    context_length: int
    num_turns: int
    num_messages_dropped: int


def asker_of(message: Message) -> Asker:
    """Return for whom a request is made that `message` led to."""
    return Asker(message.scope, (message.scope.platform, message.author.id))


class Chat:
    """Answers the messages of all conversations; turns of one conversation are written one after the other."""

    def __init__(
        self,
        engine: Engine,
        store: Store,
        templates: TemplateLibrary,
        channel_settings: Mapping[str, ChannelSetting],
        *,
        bot_name: str,
        timeout_s: float = 60.0,
    ) -> None:
        self._engine = engine
        self._store = store
        self._templates = templates
        self._channel_settings = channel_settings
        self._timeout_s = timeout_s
        self.bot_name = bot_name
        self._locks: WeakValueDictionary[Scope, asyncio.Lock] = WeakValueDictionary()

    async def reply(self, message: Message, stopper: Stopper) -> AsyncGenerator[Card]:
        """Answer `message`, which is stored already: snapshots while the model writes, then the whole reply.

        Raises PromptTooLong, Unavailable, GenerationError.
        """
        lock = self._locks.setdefault(message.scope, asyncio.Lock())
        async with lock:
            try:
                chat_prompt = await self.prepare(message.scope, message.id, reply_to=message.reply_to)
            except PromptTooLong:
                # Kept, what was refused would stand between every later message and what was said before it.
                await self._store.delete_message(message.scope.platform, message.id)
                raise
            async for card in self._write(message, chat_prompt, stopper):
                yield card

    async def prepare(self, scope: Scope, message_id: str | None = None, *, reply_to: str | None = None) -> ChatPrompt:
        """Build the prompt of the conversation up to the message `message_id` (None: up to now).

        Raises PromptTooLong when the current message alone does not fit, RequestError where there is nothing to read.
        """
        settings = await self._store.get_settings(scope)
        template = self._templates.get(self._value(settings, "chat_template"))
        limit = int(self._value(settings, "history_length"))
        params = apply_options(SamplingParams(), template.sampling)
        if "preset" in settings:
            params = apply_options(params, {"preset": self._value(settings, "preset")})
        params = replace(params, n=1)
        messages: Sequence[HistoryMessage]
        if reply_to and message_id:
            links = await self._store.load_reply_chain(scope, message_id, limit=limit)
            messages = reply_chain({m.id: m for m in links}, message_id)
        else:
            messages = await self._store.load_history(scope, limit=limit, up_to=message_id)
        return await self.build(template, messages, params)

    def _value(self, settings: Mapping[str, str], name: str) -> str:
        setting = self._channel_settings[name]
        if name in settings:
            # What was set may be gone by now: a template that the operator took away.
            with contextlib.suppress(RequestError):
                return setting.read(name, settings[name])
        return setting.default

    async def build(
        self, template: PromptTemplate, messages: Sequence[HistoryMessage], params: SamplingParams
    ) -> ChatPrompt:
        """Build the prompt of `messages`, oldest first; the oldest ones are left out where not all fit."""
        is_markup = template.markup == "auto" and self._engine.info.has_chat_template
        # Left out message by message, not turn by turn: all that a person says without an answer is one turn.
        said = [(message, turn) for message in messages for turn in merge_turns([message])]
        if not said:
            raise RequestError("There is nothing to answer here yet.")
        room = self._engine.info.context_length - min(params.max_new_tokens, self._engine.info.context_length // 2)
        lines = [Prompt.plain(transcript_line(turn, bot_name=self.bot_name) + "\n") for _, turn in said]
        counts = await self._engine.count_tokens(lines)
        (base,) = await self._engine.count_tokens([await self.render(template, [said[-1][1]], is_markup=is_markup)])
        first = select_turns(counts, room - max(0, base - counts[-1]))
        while True:
            kept = [message for message, _ in said[first:]]
            turns = merge_turns(kept)
            prompt = await self.render(template, turns, is_markup=is_markup)
            (num_tokens,) = await self._engine.count_tokens([prompt])
            if num_tokens <= room:
                break
            if first == len(said) - 1:
                raise PromptTooLong(num_tokens=num_tokens, max_tokens=room)
            first += 1
        speakers = speakers_of(template, turns, bot_name=self.bot_name)
        return ChatPrompt(
            prompt=prompt,
            template=template,
            turns=turns,
            is_markup=is_markup,
            params=replace(params, stop=stops_of(template, speakers)),
            speakers=speakers,
            reads=tuple((message.id, message.revision) for message in kept),
            num_prompt_tokens=num_tokens,
            num_template_tokens=max(0, base - counts[-1]),
            num_messages_dropped=first,
        )

    async def count_context(self, scope: Scope) -> ContextUse:
        """Return what the model would read if it answered in `scope` now. Raises RequestError for an empty history."""
        chat_prompt = await self.prepare(scope)
        length = self._engine.info.context_length
        num_answer = min(chat_prompt.params.max_new_tokens, length - chat_prompt.num_prompt_tokens)
        return ContextUse(
            template_name=chat_prompt.template.name,
            num_template_tokens=chat_prompt.num_template_tokens,
            num_history_tokens=chat_prompt.num_prompt_tokens - chat_prompt.num_template_tokens,
            num_answer_tokens=num_answer,
            num_free_tokens=length - chat_prompt.num_prompt_tokens - num_answer,
            context_length=length,
            num_turns=len(chat_prompt.turns),
            num_messages_dropped=chat_prompt.num_messages_dropped,
        )

    async def render(
        self, template: PromptTemplate, turns: Sequence[Turn], *, is_markup: bool, bot_name: str | None = None
    ) -> Prompt:
        """Return the prompt of `turns` in the model's own chat markup, or as a transcript."""
        name = bot_name or self.bot_name
        if is_markup:
            return await self._engine.render_chat(build_chat_turns(template, turns, bot_name=name))
        return build_transcript(template, turns, bot_name=name)

    async def _write(self, message: Message, chat_prompt: ChatPrompt, stopper: Stopper) -> AsyncGenerator[Card]:
        """Generate until the reply says something and does not repeat itself endlessly."""
        params = chat_prompt.params.with_seed()
        for attempt in range(MAX_ATTEMPTS):
            raw = ""
            num_checked = 0
            loop_start = None
            generation = self._engine.generate(
                chat_prompt.prompt, params, timeout_s=self._timeout_s, asker=asker_of(message)
            )
            async with generation:
                stopper.on_stop(generation.cancel)
                async for delta in generation:
                    raw += delta.text
                    if loop_start is None and len(raw) >= num_checked + _LOOP_CHECK_CHARACTERS:
                        num_checked = len(raw)
                        loop_start = find_loop(raw)
                        if loop_start is not None:
                            generation.cancel()
                    if loop_start is None and (text := self._clean(raw, chat_prompt)):
                        yield Card(blocks=(Text(text, is_model_text=True),), is_final=False)
            if loop_start is None:
                loop_start = find_loop(raw)
            text = self._clean(raw[:loop_start], chat_prompt)
            is_last = attempt == MAX_ATTEMPTS - 1
            if stopper.is_stopped or is_last or (text and loop_start is None):
                break
            logger.info("sampling again: %s", "a loop" if text else "an empty answer")
            params = _sampled_anew(params)
        reason = generation.completions[0].finish_reason
        if loop_start is not None and not stopper.is_stopped:
            reason = "stop"
        yield await self._finish(message, chat_prompt, params, generation, text, reason)

    def _clean(self, raw: str, chat_prompt: ChatPrompt) -> str:
        return clean_reply(clean_model_text(raw), bot_name=self.bot_name, names=chat_prompt.speakers)

    async def _finish(
        self,
        message: Message,
        chat_prompt: ChatPrompt,
        params: SamplingParams,
        generation: Generation,
        text: str,
        reason: FinishReason,
    ) -> Card:
        """Keep the reply and return the whole card."""
        if not text:
            if reason == "cancelled":
                return Card(blocks=(Text("(stopped)", is_quiet=True),), data={"text": "", "finish_reason": "cancelled"})
            raise RequestError("The model has nothing to say to that; say it another way, or begin anew with fresh.")
        origin = PromptOrigin(
            "markup" if chat_prompt.is_markup else "transcript",
            reads=chat_prompt.reads,
            template=chat_prompt.template,
            inputs={"bot_name": self.bot_name},
        )
        reply = GeneratedReply("chat", text, chat_prompt.prompt, origin, params, generation, reason)
        notice = await record_reply(self._store, self._engine, message, reply, bot_name=self.bot_name, kind="chat")
        blocks = (Text(text, is_model_text=True), *([Text(notice, is_quiet=True)] if notice else []))
        return Card(
            blocks=blocks,
            data={
                "text": text,
                "finish_reason": reason,
                "seed": params.seed,
                "template": chat_prompt.template.name,
                "model": self._engine.info.name,
            },
        )


def _sampled_anew(params: SamplingParams) -> SamplingParams:
    """Return options under which the model does not fall into the same loop again."""
    return replace(
        params,
        seed=((params.seed or 0) + 1) % 2**63,
        temperature=max(params.temperature, 0.7),
        num_beams=1,
        repetition_penalty=min(2.0, params.repetition_penalty + _LOOP_PENALTY_STEP),
    )

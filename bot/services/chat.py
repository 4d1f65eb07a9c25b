"""Chat: a message in, the model's reply out, from a prompt of the channel's template and history."""

import copy
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final
from weakref import WeakValueDictionary

from bot.core.cards import Card, Text
from bot.core.channel_settings import ChannelSetting
from bot.core.chat_prompt import ChatPrompt, ConversationFit, render_conversation
from bot.core.ending import AfterWhole
from bot.core.engine import Asker, Engine, Generation
from bot.core.history import HistoryMessage, Turn
from bot.core.mentions import mention
from bot.core.messages import Click, Message, Scope
from bot.core.picture import MAX_READ_PICTURES, check_pictures, reads_text_only
from bot.core.prompt_parts import Prompt
from bot.core.reply_draft import ReplyDraft
from bot.core.results import FinishReason
from bot.core.sampling_params import OPTIONS, SamplingParams, apply_options
from bot.core.stopping import Stopper
from bot.core.templates.template import PromptTemplate
from bot.core.word_list import BLOCKED_WORDS, WordList
from bot.errors import ModelChanged, PromptTooLong, RequestError
from bot.services.answer_cards import answer_card, reply_card
from bot.services.places import Place, load_place
from bot.services.queueing import Line, deltas_or_waiting, waiting_card
from bot.services.replies import (
    READ_AGAIN,
    GeneratedReply,
    KeptReply,
    PromptOrigin,
    record_reply,
    rewrite_reply,
)
from bot.services.screening import NOT_ALLOWED, NUM_BLOCKED, load_word_list
from bot.services.templates import Templates
from bot.store.messages import Conversation, StoredMessage
from bot.store.store import Store
from bot.trace import note_step

logger = logging.getLogger(__name__)

SEND_TEXT: Final = f"Send text, or try {mention('help')}."
MAX_ATTEMPTS: Final = 3
# Sentences of the bot among so many messages are not said again, though fewer may be read.
NUM_COMPARED: Final = 60
_PENALTY_STEP: Final = 0.1
# In the last tokens before the limit, one in so many of all, an answer ends as soon as a sentence does.
GRACE_SHARE: Final = 4
# An answer followed by more messages than these is never the latest one.
_LATEST_AMONG: Final = 50

NOT_LATEST: Final = "Only the latest answer here can be changed, and this one is older."
_NOT_THERE: Final = (
    "That message was deleted or may no longer be read here, so there is nothing to answer. Send it again."
)
ALWAYS_THE_SAME: Final = "These options always give the same answer, so there is no other one."


Keep = Callable[[GeneratedReply], Awaitable[KeptReply]]
# Returns what the function writes, by the chat with the model of a place.
By = Callable[[Place, "Callable[[Chat], AsyncGenerator[Card]]"], AsyncGenerator[Card]]


class _PlaceChanged(Exception):
    """The settings or templates have changed since the model was chosen by them."""

    def __init__(self, place: Place) -> None:
        self.place = place
        super().__init__("the settings or templates have changed")


@dataclass(frozen=True, slots=True)
class ContextUse:
    """The use of the model's context by an answer now, in tokens."""

    template_name: str
    num_template_tokens: int
    num_history_tokens: int
    num_answer_tokens: int
    num_free_tokens: int
    context_length: int
    num_turns: int
    num_messages_dropped: int
    prompt: str = field(default="", repr=False)


def asker_of(event: Message | Click) -> Asker:
    """Return the asker of a request that `event` makes."""
    return Asker(event.scope, (event.scope.platform, event.author.id), event.id)


class Chat:
    """Answers the messages of all conversations; each conversation is answered one message at a time."""

    def __init__(
        self,
        engine: Engine,
        store: Store,
        templates: Templates,
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
        self._lines: WeakValueDictionary[Scope, Line] = WeakValueDictionary()

    def on(self, engine: Engine) -> "Chat":
        """Return the same chat with another model; a conversation is still answered one message at a time."""
        other = copy.copy(self)
        other._engine = engine
        return other

    async def reply(
        self, message: Message, stopper: Stopper, place: Place, *, by: "By | None" = None
    ) -> AsyncGenerator[Card]:
        """Answer the stored `message`: snapshots while the model writes, then the whole reply.

        `place` is as it was when the message came. `by` chooses the model when it is the message's turn (None: this
        chat's). Raises PromptTooLong, Unavailable, GenerationError.
        """
        write_by = by or self._by_itself
        cards = self._in_turn(message.scope, lambda: self._reply(message, stopper, place, write_by))
        async with aclosing(cards):
            async for card in cards:
                yield card

    def _by_itself(self, _: Place, write: "Callable[[Chat], AsyncGenerator[Card]]") -> AsyncGenerator[Card]:
        return write(self)

    async def rewrite(
        self, asked: HistoryMessage, reply_id: str, asker: Asker, scope: Scope, stopper: Stopper, *, goes_on: bool
    ) -> AsyncGenerator[Card]:
        """Answer `asked` again in place of the stored answer `reply_id`, or with `goes_on` continue that answer.

        Raises RequestError if it is not the latest answer of the conversation any more.
        """
        cards = self._in_turn(scope, lambda: self._rewrite(asked, reply_id, asker, scope, stopper, goes_on=goes_on))
        async with aclosing(cards):
            async for card in cards:
                yield card

    async def _in_turn(self, scope: Scope, write: Callable[[], AsyncGenerator[Card]]) -> AsyncGenerator[Card]:
        """Write after all earlier messages of this conversation have been answered."""
        line = self._lines.setdefault(scope, Line())
        ticket = line.join()
        try:
            async with aclosing(line.wait(ticket)) as waits:
                async for num_ahead in waits:
                    yield waiting_card(num_ahead)
            async with aclosing(write()) as cards:
                async for card in cards:
                    yield card
        finally:
            line.leave(ticket)

    async def _reply(self, message: Message, stopper: Stopper, place: Place, by: "By") -> AsyncGenerator[Card]:
        """Answer with the model of the place: again from the start where that changed before the first word."""
        num_changes = 0
        while True:
            try:
                async with aclosing(by(place, partial(_answer, message, stopper, place))) as cards:
                    async for card in cards:
                        yield card
                return
            except _PlaceChanged as e:
                place = e.place
            except ModelChanged:
                num_changes += 1
                if num_changes == MAX_ATTEMPTS:
                    raise
                place = await self._load_place(message.scope)

    async def _answer(self, message: Message, stopper: Stopper, place: Place) -> AsyncGenerator[Card]:
        unseen = self._unseen(message, place)
        try:
            chat_prompt = await self.prepare(
                message.scope,
                message.id,
                author_id=message.author.id,
                reply_to=message.reply_to,
                place=place,
                keeps_place=True,
            )
        except PromptTooLong:
            # A stored message that is too long would cut every later message off from the history before it.
            await self._store.delete_message(message.scope.platform, message.id)
            raise

        async def keep(reply: GeneratedReply) -> KeptReply:
            kept = await record_reply(self._store, self._engine, message, reply, bot_name=self.bot_name, kind="chat")
            return replace(kept, notice=" ".join(filter(None, (unseen, kept.notice))) or None)

        words = WordList.stored(place.stored.get(BLOCKED_WORDS, ""))
        async with aclosing(self._write(asker_of(message), chat_prompt, stopper, keep, words)) as cards:
            async for card in cards:
                yield card

    def _unseen(self, message: Message, place: Place) -> str:
        """Return the sentence that the model does not see the pictures of `message`, "" if it sees all.

        Raises RequestError if they are missing, or are all that there is.
        """
        if not message.picture_ids:
            return ""
        if not self.sees_pictures(place.templates.get(place.values["chat_template"])):
            sentence = reads_text_only(self._engine.info.name, len(message.picture_ids))
            if not (message.text.strip() or message.attachment):  # it was not known before that it is a picture alone
                raise RequestError(f"{sentence} {SEND_TEXT}")
            return sentence
        check_pictures(message.picture_ids, message.pictures)
        return ""

    async def _rewrite(
        self, asked: HistoryMessage, reply_id: str, asker: Asker, scope: Scope, stopper: Stopper, *, goes_on: bool
    ) -> AsyncGenerator[Card]:
        reply = await self._store.get_reply(scope, reply_id)
        history = await self._store.load_history(scope, limit=_LATEST_AMONG)
        latest = next((message.id for message in reversed(history) if message.is_me), None)
        if reply is None or latest != reply_id:
            raise RequestError(NOT_LATEST)
        # What earlier continuations wrote is kept: another answer replaces only the last one.
        num_said = int(reply.provenance.prompt_inputs.get("num_said", 0))
        said = reply.message.text if goes_on else reply.message.text[:num_said]
        # A moderator may ask for it too.
        author_id = asked.author_id if asker.person == (scope.platform, asked.author_id) else ""
        chat_prompt = await self.prepare(scope, asked.id, author_id=author_id, reply_to=asked.reply_to, said=said)
        if not goes_on and not chat_prompt.params.is_sampled:
            raise RequestError(ALWAYS_THE_SAME)
        before = reply.provenance.sampling
        if before and before.seed is not None:
            chat_prompt = replace(chat_prompt, params=replace(chat_prompt.params, seed=(before.seed + 1) % 2**63))

        async def keep(written: GeneratedReply) -> KeptReply:
            return await rewrite_reply(self._store, self._engine, scope, reply_id, written)

        words = await load_word_list(self._store, scope)
        async with aclosing(self._write(asker, chat_prompt, stopper, keep, words)) as cards:
            async for card in cards:
                # If stopped before the first word, the answer stays unchanged.
                yield reply_card(reply) if card.is_final and not card.reply_id and not card.data["text"] else card

    async def prepare(
        self,
        scope: Scope,
        message_id: str | None = None,
        *,
        author_id: str = "",
        reply_to: str | None = None,
        said: str = "",
        place: Place | None = None,
        keeps_place: bool = False,
    ) -> ChatPrompt:
        """Build the prompt of the conversation up to the message `message_id` of `author_id` (None: up to now).

        `said` is the start of an answer to continue. A `place` of None is read here; one that has changed since is read
        again, or with `keeps_place` told to the caller, who chose the model by it. Messages of people who have asked
        not to be read are left out, older ones too. Raises PromptTooLong if the current message alone does not fit,
        RequestError if there is nothing to read, or if the message itself may not be read any more.
        """
        place = place or await self._load_place(scope)

        async def load(place: Place) -> Conversation:
            return await self._store.load_conversation(
                scope,
                limit=max(int(place.values["history_length"]), NUM_COMPARED),
                up_to=message_id,
                follows_replies=bool(reply_to and message_id),
            )

        conversation = await load(place)
        if message_id is not None and (not conversation.messages or conversation.messages[-1].id != message_id):
            # Otherwise the message before it would be answered.
            is_out = await self._store.is_opted_out(scope.platform, author_id)
            raise RequestError(READ_AGAIN if is_out else _NOT_THERE)
        if conversation.messages and (conversation.template_change, conversation.settings) != (
            place.template_change,
            place.stored,
        ):
            # During the wait, a setting was changed, or words that a template held were erased.
            earlier, place = place, await self._load_place(scope)
            if keeps_place:
                raise _PlaceChanged(place)
            if place.values["history_length"] != earlier.values["history_length"]:
                conversation = await load(place)
        template = place.templates.get(place.values["chat_template"])
        params = apply_options(SamplingParams(), template.sampling)
        if "preset" in place.stored:
            params = apply_options(params, {"preset": place.values["preset"]})
        length = int(place.values["history_length"])
        messages: Sequence[StoredMessage] = conversation.messages
        if self.sees_pictures(template):
            older, read = messages[:-length], messages[-length:]
            messages = (*older, *await self.with_pictures(scope, read, MAX_READ_PICTURES))
        return await self.build(template, messages, replace(params, n=1), said=said, history_length=length)

    def sees_pictures(self, template: PromptTemplate) -> bool:
        """Say whether the model takes pictures, and `template` puts a conversation to it in turns."""
        info = self._engine.info
        return info.reads_pictures and info.has_chat_template and template.markup == "auto"

    async def with_pictures(self, scope: Scope, messages: Sequence[StoredMessage], num: int) -> Sequence[StoredMessage]:
        """Return `messages`, which are in `scope`, with the newest `num` of their pictures."""
        wanted = {}
        for message in reversed(messages):
            if num > 0 and message.num_pictures:
                wanted[message.id] = min(num, message.num_pictures)
                num -= wanted[message.id]
        if not wanted:
            return messages
        found = await self._store.load_pictures(scope, tuple(wanted))
        return tuple(
            replace(one, pictures=found.get(one.id, ())[-wanted[one.id] :]) if one.id in wanted else one
            for one in messages
        )

    async def _load_place(self, scope: Scope) -> Place:
        return await load_place(self._store, self._templates, self._channel_settings, scope)

    async def build(
        self,
        template: PromptTemplate,
        messages: Sequence[HistoryMessage],
        params: SamplingParams,
        *,
        said: str = "",
        history_length: int | None = None,
    ) -> ChatPrompt:
        """Build the prompt of the last `history_length` messages (None: all), without the oldest if not all fit."""
        info = self._engine.info
        return await self._engine.make_prompt(
            ConversationFit(
                template,
                messages,
                params,
                bot_name=self.bot_name,
                context_length=info.context_length,
                is_markup=template.markup == "auto" and info.has_chat_template,
                said=said,
                history_length=history_length,
            )
        )

    async def count_context(self, scope: Scope) -> ContextUse:
        """Return the use of the context if the model answered in `scope` now. Raises RequestError without history."""
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
            prompt=chat_prompt.prompt.text,
        )

    async def render(
        self,
        template: PromptTemplate,
        turns: Sequence[Turn],
        *,
        is_markup: bool,
        bot_name: str | None = None,
        said: str = "",
    ) -> Prompt:
        """Return the prompt of `turns` in the model's chat markup, or as a transcript; `said` starts the answer."""
        render = partial(render_conversation, template, turns, bot_name=bot_name or self.bot_name, said=said)
        if not is_markup:
            return render()
        return await self._engine.make_prompt(lambda tools: render(render_chat=tools.render_chat))

    async def _write(
        self, asker: Asker, chat_prompt: ChatPrompt, stopper: Stopper, keep: Keep, words: WordList
    ) -> AsyncGenerator[Card]:
        """Generate until the reply is not empty, does not loop and is none of the last ones.

        Raises RequestError for a second one that has one of `words`.
        """
        note_step(asker.request_id, "prompt built", tokens=chat_prompt.num_prompt_tokens)
        params = chat_prompt.params.with_seed(is_kept=self._engine.info.keeps_seed)
        said = chat_prompt.said
        num_blocked = 0
        for attempt in range(MAX_ATTEMPTS):
            is_last = attempt == MAX_ATTEMPTS - 1
            draft = ReplyDraft(said, chat_prompt.speakers, chat_prompt.answers, is_last=is_last, words=words)
            generation = self._engine.generate(
                chat_prompt.prompt,
                params,
                end_at=AfterWhole(said),
                end_from=params.max_new_tokens - params.max_new_tokens // GRACE_SHARE,
                timeout_s=self._timeout_s,
                asker=asker,
            )
            async with generation, aclosing(deltas_or_waiting(generation)) as deltas:
                stopper.on_stop(generation.cancel)
                async for delta in deltas:
                    if isinstance(delta, int):
                        yield waiting_card(delta)
                        continue
                    draft.push(delta.text)
                    if draft.is_over:
                        generation.cancel()
                    # Text written between a stop and its effect is only in the last card.
                    if not stopper.is_stopped and (text := draft.show()):
                        yield Card(blocks=(Text(text, is_model_text=True),), is_final=False)
            reason = generation.completions[0].finish_reason
            text = draft.finish(is_cut=reason == "length")
            fault = draft.find_fault(text)
            if fault == "a blocked word":
                num_blocked += 1
                if num_blocked == 2 or stopper.is_stopped or is_last:
                    raise RequestError(NOT_ALLOWED)
            if stopper.is_stopped or is_last or fault is None:
                break
            logger.info("sampling again: %s", fault)
            params = _drawn_again(params)
        if draft.is_over and not stopper.is_stopped:
            reason = "stop"
        yield await self._finish(chat_prompt, params, generation, text, reason, keep, num_blocked)

    async def _finish(
        self,
        chat_prompt: ChatPrompt,
        params: SamplingParams,
        generation: Generation,
        text: str,
        reason: FinishReason,
        keep: Keep,
        num_blocked: int,
    ) -> Card:
        """Store the reply and return the final card."""
        if not text:
            if reason == "cancelled":
                return Card(
                    blocks=(Text("(stopped)", is_quiet=True),),
                    data={"text": "", "finish_reason": "cancelled"},
                    keeps_shown=not chat_prompt.said,
                )
            if chat_prompt.said:
                raise RequestError("The model has nothing to add to that.")
            raise RequestError(
                f"The model has no answer to that. Use other words, or start over with {mention('fresh')}."
            )
        inputs: dict[str, Any] = {"bot_name": self.bot_name}
        if chat_prompt.prompt.num_pictures:
            # The newest of those that the messages have.
            inputs["num_pictures"] = chat_prompt.prompt.num_pictures
        if num_blocked:
            inputs[NUM_BLOCKED] = num_blocked
        if chat_prompt.said:
            # This part of the prompt is the start of the stored answer.
            inputs["num_said"] = len(chat_prompt.said)
        origin = PromptOrigin(
            "markup" if chat_prompt.is_markup else "transcript",
            reads=chat_prompt.reads,
            template=chat_prompt.template,
            inputs=inputs,
        )
        kept = await keep(GeneratedReply("chat", text, chat_prompt.prompt, origin, params, generation, reason))
        data = {
            "text": text,
            "finish_reason": reason,
            "seed": params.seed,
            "template": chat_prompt.template.name,
            "model": self._engine.info.name,
        }
        return answer_card(text, kept.id, notice=kept.notice, data=data)


def _answer(message: Message, stopper: Stopper, place: Place, chat: Chat) -> AsyncGenerator[Card]:
    return chat._answer(message, stopper, place)


def _drawn_again(params: SamplingParams) -> SamplingParams:
    """Return sampling options that avoid the same answer; they follow from `params`, so a seed tells all attempts."""
    return replace(
        params.shift_seed(1),
        temperature=max(params.temperature, 0.7),
        num_beams=1,
        repetition_penalty=min(OPTIONS["repetition_penalty"].highest, params.repetition_penalty + _PENALTY_STEP),
    )

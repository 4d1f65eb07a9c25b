"""One step of a story: words that are added, a continuation that is chosen, others, or the last part taken back."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from bot.commands.context import Services
from bot.commands.framework.command import Cards, Command
from bot.commands.framework.told import Told, load_told
from bot.core.cards import Block, Button, Card, Choices, Text
from bot.core.ending import AfterSentence
from bot.core.engine import Generation
from bot.core.mentions import mention
from bot.core.messages import Author, Click, Message, Scope
from bot.core.safe_text import clean_model_text
from bot.core.sampling_params import COMPLETION_DEFAULTS, SamplingParams
from bot.core.stopping import Stopper
from bot.core.story import StoryFit, StoryPrompt, count_words, join_parts, last_passage
from bot.core.word_list import WordList
from bot.errors import FewshotError, RequestError
from bot.services.chat import asker_of
from bot.services.queueing import deltas_or_waiting, waiting_card
from bot.services.replies import GeneratedReply, PromptOrigin, record_reply
from bot.services.screening import inputs_of, load_word_list, params_used, screen
from bot.services.story import STORY_CARD
from bot.store.story import StoredStory, StoryOffer

STORY: Final = "story"  # what the data of the cards, and of stored answers, call a step
MAX_CHARACTERS: Final = 400_000  # a long novel; each step reads all of it
# Tokens that the model reads of a story at most. When more of its beginning is left out, all are read again.
_MAX_READ: Final = 2_048
_MAX_PASSAGE: Final = 700
_MAX_TAIL: Final = 40
_MAX_TRIES: Final = 3

NO_STORY: Final = f"No story is being written here. A moderator begins one with {mention('story on')}."
FASTER: Final = "Someone was faster, so the story has already gone on. Choose from its newest continuations."
BEGINS: Final = "What is said here now becomes one text. Write how it begins."
GONE_ON: Final = "The story has gone on below."
_NOTHING: Final = "The model has nothing to add here."
_STOPPED: Final = "Stopped before the first word."
_TOO_LONG: Final = (
    f"A story has at most {MAX_CHARACTERS:,} characters. {mention('story export')} gives it as a file, and a moderator"
    f" ends it with {mention('story off')}."
)
_NOT_YOURS: Final = "Only the person who wrote that, or a moderator, can take it out of the story."


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a story that a message or a click asks for."""

    services: Services
    commands: Mapping[str, Command]
    event: Message | Click
    stopper: Stopper

    @property
    def scope(self) -> Scope:
        """Return the conversation of the story."""
        return self.event.scope

    async def say(self, message: Message) -> Cards:
        """Add what was said to the story, and offer how it goes on. Raises RequestError where it would be too long."""
        told = await self._told()
        is_new = message.id not in {part.message_id for part in told.stored.parts}
        if is_new and len(told.text) + len(message.text) + len(message.attachment or "") > MAX_CHARACTERS:
            raise RequestError(_TOO_LONG)
        if not await self.services.store.add_said(message):
            raise RequestError(NO_STORY)
        self.services.story_turns.gone_on(self.scope)

        def is_last(told: Told) -> bool:
            last = told.stored.parts[-1] if told.stored.parts else None
            return last is not None and last.message_id == message.id and last.bot_text is None

        async with aclosing(self.go_on(is_last)) as cards:
            async for card in cards:
                yield card

    async def act(self, action: str, revision: int | None) -> Cards:
        """Carry out a number, again or undo on the story at `revision` (None: as it is now)."""
        turns = self.services.story_turns
        if turns.is_busy(self.scope):
            yield _private(FASTER)
            return
        with turns.busy(self.scope):
            told = await self._told()
            story = told.stored
            is_stale = revision is not None and revision != story.revision
            # Without an offer its text was edited or deleted, or a restart came in between: then all goes on from here.
            if is_stale and story.offer.texts:
                yield _private(FASTER)
                return
            if isinstance(self.event, Message):
                await self.services.store.add_message(self.event, kind="command")
            is_done = await self.services.store.has_stepped(story, self.event.id)
            if not (is_stale or is_done or await self._change(told, action)):
                yield _private(FASTER)
                return
            revision = (await self._told()).stored.revision
            draws = action == "again"
            async with aclosing(self.go_on(lambda now: now.stored.revision == revision, draws=draws)) as cards:
                async for card in cards:
                    yield card

    async def _change(self, told: Told, action: str) -> bool:
        """Choose a continuation, or undo the last part; return False if somebody else was faster."""
        store, story = self.services.store, told.stored
        if action == "again":
            if not story.params.is_sampled:
                raise RequestError("These options always give the same continuation.")
            return True
        if action == "undo":
            if not story.parts:
                raise RequestError("There is nothing to undo.")
            last = story.parts[-1]
            is_own = last.message is None or last.message.author_id == self.event.author.id
            if not (is_own or self.event.author.is_moderator):
                raise RequestError(_NOT_YOURS)
            return await store.undo_part(story, undone_by=self.event.id)
        if not story.offer.texts:
            return True  # there will be some
        if not 1 <= int(action) <= len(story.offer.texts):
            raise RequestError(f"Choose a number from 1 to {len(story.offer.texts)}.")
        return await store.choose_part(story, int(action) - 1, asked_id=await self._asked_id(story))

    async def _asked_id(self, story: StoredStory) -> str:
        """Return the message whose answer shows this step: the one that asks for it, or the clicked card's."""
        if isinstance(self.event, Message):
            return self.event.id
        clicked = self.event.message_id
        asked_id = await self.services.store.request_of(self.scope.platform, clicked) if clicked else None
        return asked_id or story.answered_id

    async def _told(self) -> Told:
        told = await load_told(self.services, self.commands, self.scope)
        if told is None or told.stored.ended_by is not None:
            raise RequestError(NO_STORY)
        return told

    async def go_on(
        self, is_current: Callable[[Told], bool], *, draws: bool = False, notice: str | None = None
    ) -> Cards:
        """Offer continuations in this step's turn, unless the story is not `is_current` any more by then.

        Those that are on offer already are shown, unless it `draws` others.
        """

        async def write() -> Cards:
            told = await load_told(self.services, self.commands, self.scope)
            if told is None or told.stored.ended_by is not None or not is_current(told):
                yield _gone_on()
            elif told.stored.offer.texts and not draws:
                yield await self.card(told, notice=notice)
            else:
                async with aclosing(self._draw(told, notice)) as cards:
                    async for card in cards:
                        yield card

        async with aclosing(self.services.story_turns.in_turn(self.scope, write)) as cards:
            async for card in cards:
                yield card

    async def _draw(self, told: Told, notice: str | None) -> Cards:
        """Write continuations and offer them; again if the words that they continue were changed meanwhile."""
        now: Told | None = told
        for _ in range(_MAX_TRIES):
            if now is None or now.stored.ended_by is not None or not _goes_on_from(now, told):
                break
            if not now.text.strip():
                yield await self.card(now, notice=BEGINS)
                return
            fit = await self._fit(now)
            words = await load_word_list(self.services.store, self.scope)
            generation = self._generate(now, fit, words)
            try:
                async with aclosing(self._watch(now, generation)) as snapshots:
                    async for snapshot in snapshots:
                        yield snapshot
            except FewshotError as e:
                # The step before counts: what is shown goes on from there.
                yield await self.card(now, notice=str(e))
                return
            texts = tuple(completion.text for completion in generation.completions if completion.text)
            # A round that adds nothing leaves what was on offer before.
            (params,) = params_used(generation, [now.stored.round_params])
            seed = params.seed if self.services.engine.info.keeps_seed else None
            offer = StoryOffer(texts, seed) if texts else now.stored.offer
            if await self.services.store.save_offer(now.stored, offer):
                reply_id = await self._record(now, fit, generation, texts) if texts else None
                missing = _STOPPED if self.stopper.is_stopped else _NOTHING
                shown = await load_told(self.services, self.commands, self.scope)
                if shown is None or shown.stored.ended_by is not None:
                    break
                yield await self.card(shown, notice=notice if texts else missing, reply_id=reply_id)
                return
            now = await load_told(self.services, self.commands, self.scope)
        yield _gone_on()

    async def _fit(self, told: Told) -> StoryPrompt:
        engine, params = self.services.engine, told.stored.params
        num_tokens = min(engine.info.context_length, _MAX_READ)
        return await engine.make_prompt(StoryFit(told.parts, num_tokens, params.max_new_tokens))

    def _generate(self, told: Told, fit: StoryPrompt, words: WordList) -> Generation:
        def generate(params: Sequence[SamplingParams]) -> Generation:
            return self.services.engine.generate(
                fit.prompt,
                params[0],
                # What somebody has sent ends with a whole word; the model's own words may go on.
                is_word_whole=not told.parts[-1].is_bot,
                end_at=AfterSentence() if _ends_sentence(params[0]) else None,
                timeout_s=self.services.request_timeout_s,
                asker=asker_of(self.event),
            )

        return screen(generate, [told.stored.round_params], [told.text], words)

    async def _watch(self, told: Told, generation: Generation) -> Cards:
        shown = [""] * told.stored.params.n
        turns = self.services.story_turns
        async with generation, aclosing(deltas_or_waiting(generation)) as deltas:
            self.stopper.on_stop(generation.cancel)
            turns.begin(self.scope, generation)
            try:
                async for delta in deltas:
                    if isinstance(delta, int):
                        yield waiting_card(delta)
                        continue
                    shown[delta.index] += delta.text
                    yield Card(blocks=_blocks(told.text, tuple(shown)), is_final=False)
            finally:
                turns.end(self.scope, generation)

    async def _record(self, told: Told, fit: StoryPrompt, generation: Generation, texts: tuple[str, ...]) -> str | None:
        """Store how the continuations came about, for `why`; return the id of the stored answer, if it is stored."""
        services, story = self.services, told.stored
        read = told.readable[fit.start_part :]
        origin = PromptOrigin(
            "story",
            reads=tuple((part.message.id, part.message.revision) for part in read if part.message is not None),
            inputs={
                "parts": [part.id for part in read],
                "begun_by": story.begun_by,
                # In the text of these parts alone.
                "start": max(0, fit.start - len(told.text) + len(join_parts(told.parts[fit.start_part :]))),
                "is_word_whole": not told.parts[-1].is_bot,
                **inputs_of(generation),
            },
        )
        (params,) = params_used(generation, [story.round_params])
        reply = GeneratedReply(STORY, "\n".join(texts), fit.prompt, origin, params, generation)
        asked_id = await self._asked_id(story)
        authors = {part.message.id: part.message.author_id for part in told.readable if part.message is not None}
        author = Author(authors.get(asked_id, self.event.author.id), "")
        message = Message(asked_id, self.scope, author, "")
        name = services.chat.bot_name
        kept = await record_reply(services.store, services.engine, message, reply, bot_name=name, kind="command")
        return kept.id

    async def card(self, told: Told, *, notice: str | None = None, reply_id: str | None = None) -> Card:
        """Return the card that shows the end of the story and what is on offer."""
        story, offer = told.stored, told.stored.offer
        start = (await self._fit(told)).start if told.text.strip() else 0
        num_left_out = count_words(told.text[:start])
        small = [f"seed {offer.seed}"] if offer.seed is not None and story.params.is_sampled else []
        if num_left_out:
            words = "word" if num_left_out == 1 else f"{num_left_out:,} words"
            small.append(f"the model no longer reads the first {words}")
        blocks: list[Block] = list(_blocks(told.text, offer.texts))
        if small:
            blocks.append(Text(" · ".join(small), is_quiet=True))
        if notice:
            blocks.append(Text(notice, is_quiet=True))
        return Card(
            blocks=tuple(blocks),
            data={
                "text": told.text,
                "choices": list(offer.texts),
                "seed": offer.seed,
                "num_words_left_out": num_left_out,
                "model": self.services.engine.info.name,
            },
            buttons=_buttons(story),
            open_card_id=f"{STORY_CARD}{story.id}",
            revision=story.revision,
            reply_id=reply_id,
        )


def _goes_on_from(now: Told, before: Told) -> bool:
    """Say whether no part was added since: then only words in between were edited or deleted."""
    return [part.id for part in now.stored.parts[-1:]] == [part.id for part in before.stored.parts[-1:]]


def _ends_sentence(params: SamplingParams) -> bool:
    """Say whether a continuation ends with its sentence, as no other length was asked for."""
    return params.max_new_tokens == COMPLETION_DEFAULTS.max_new_tokens


def _blocks(text: str, options: tuple[str, ...]) -> tuple[Block, ...]:
    """Return the end of the story, and the continuations after its last words."""
    passage, tail = (clean_model_text(last_passage(text, limit)) for limit in (_MAX_PASSAGE, _MAX_TAIL))
    blocks: tuple[Block, ...] = (Choices(passage, ()),) if text.strip() else ()
    return (*blocks, Choices(tail, options)) if options else blocks


def _buttons(story: StoredStory) -> tuple[Button, ...]:
    names = [str(i + 1) for i in range(len(story.offer.texts))]
    if story.parts:
        names.append("undo")
        if story.params.is_sampled or not story.offer.texts:
            names.append("again")
    return tuple(Button(name, name.capitalize()) for name in names)


def _private(sentence: str) -> Card:
    return Card(blocks=(Text(sentence),), data={"text": sentence}, answers="private")


def _gone_on() -> Card:
    return Card(blocks=(Text(GONE_ON, is_quiet=True),), data={"text": GONE_ON})

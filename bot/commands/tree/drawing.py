"""Rounds of a completion: continuations that are drawn, added or made longer, stored, and shown on its card."""

from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from bot.commands.framework.command import Cards, Request
from bot.commands.framework.request import allowed_words
from bot.commands.tree.branches import show_branch, show_branches
from bot.commands.tree.lists import Shown
from bot.commands.tree.strategies import strategies_data, strategies_table
from bot.commands.tree.words import choices_of, show_word, show_words
from bot.core.cards import Block, Button, Card, Choices, Text
from bot.core.ending import AfterSentence
from bot.core.engine import Generation
from bot.core.prompt_parts import Prompt
from bot.core.results import FinishReason, Timings
from bot.core.safe_text import clean_model_text
from bot.core.sampling_params import SamplingParams
from bot.core.strategies import missing_sentence, strategies_with
from bot.core.text_tree import BEGINNING
from bot.core.written_words import has_words
from bot.errors import OptedOut, RequestError
from bot.services.completions import MAX_OPTIONS, OPTIONS_VIEW, CompletionState, ViewKind, drawn_branch, save_completion
from bot.services.queueing import deltas_or_waiting, waiting_card
from bot.services.replies import NOT_KEPT, GeneratedReply, KeptReply, PromptOrigin, record_reply
from bot.services.screening import inputs_of, params_used, screen
from bot.store.cards import OpenCard

_NOTHING: Final = "The model has nothing to add here."
_STOPPED: Final = "Stopped before the first word."
_NO_INPUTS: Final[Mapping[str, Any]] = {}


class _Show(Protocol):
    def __call__(self, state: CompletionState, given: str, *, has_buttons: bool) -> Shown:
        """Return what a view shows."""


_VIEWS: Final[Mapping[ViewKind, _Show]] = {
    "words": show_words,
    "word": show_word,
    "branches": show_branches,
    "branch": show_branch,
}


@dataclass(frozen=True, slots=True)
class Step:
    """One round of completion: `base` is the text to continue, `card` the open card, if there is one."""

    request: Request
    base: str
    card: OpenCard | None

    async def draw(self, state: CompletionState, *, keeps: bool = False) -> Cards:
        """Write the next continuations; `keeps` adds them to those on the card. A half-typed word is finished."""
        if state.by_strategy:
            async with aclosing(self._draw_by_strategy(state)) as snapshots:
                async for snapshot in snapshots:
                    yield snapshot
            return
        params = state.round_params
        at, taken = state.tree.here.at, state.taken
        parent = None if at == BEGINNING else state.tree.branch(at)
        is_word_whole = parent is not None and parent.is_word
        old = state.options if keeps else ()
        if len(old) + params.n > MAX_OPTIONS:
            params = replace(params, n=MAX_OPTIONS - len(old))
        shown = [option.text for option in old] + [""] * params.n
        services = self.request.services

        def generate(params: Sequence[SamplingParams]) -> Generation:
            return services.engine.generate(
                Prompt.document(self.base + taken),
                params[0],
                heal=parent is None,
                is_word_whole=is_word_whole,
                end_at=AfterSentence() if state.ends_sentence else None,
                timeout_s=services.request_timeout_s,
                asker=self.request.asker,
            )

        generation = screen(generate, [params], [self.base + taken], await allowed_words(self.request))
        async with aclosing(self._watch(taken, generation, shown, first=len(old))) as snapshots:
            async for snapshot in snapshots:
                yield snapshot
        (params,) = params_used(generation, [params])
        # A text that was whole, or a Stop before the first word, leaves nothing to choose.
        kept = len(parent.text) if parent else 0
        drawn = [drawn_branch(one, at, kept, seed=params.seed) for one in generation.completions if one.text]
        if not drawn:
            yield await self._show_unchanged(state, seed=params.seed)
            return
        text = "\n".join(branch.text for branch in drawn)
        inputs = {"is_word_whole": is_word_whole, **inputs_of(generation)}
        reply = await self._record(taken, text, params, generation=generation, inputs=inputs)
        yield await self.show(state.offer(drawn, keeps=keeps), seed=params.seed, kept=reply)

    async def _draw_by_strategy(self, state: CompletionState) -> Cards:
        """Write the next continuation by each strategy, all at once and with the same seed."""
        lacking = self.request.services.engine.info.lacking
        strategies = strategies_with(lacking)
        if not strategies:
            raise RequestError(f"There is nothing to compare: {missing_sentence(lacking)}")
        params: Sequence[SamplingParams] = [one.params_from(state.round_params) for one in strategies]
        at, taken = state.tree.here.at, state.taken
        parent = None if at == BEGINNING else state.tree.branch(at)
        is_word_whole = parent is not None and parent.is_word
        services, names = self.request.services, tuple(one.name for one in strategies)

        def generate(params: Sequence[SamplingParams]) -> Generation:
            return services.engine.generate_batch(
                [Prompt.document(self.base + taken)] * len(params),
                params,
                heal=parent is None,
                is_word_whole=is_word_whole,
                end_at=AfterSentence() if state.ends_sentence else None,
                timeout_s=services.request_timeout_s,
                asker=self.request.asker,
            )

        generation = screen(generate, params, [self.base + taken], await allowed_words(self.request))
        async with aclosing(self._watch(taken, generation, [""] * len(params), labels=names)) as snapshots:
            async for snapshot in snapshots:
                yield snapshot
        params = params_used(generation, params)
        written = tuple(zip(names, params, generation.completions, strict=True))
        kept = len(parent.text) if parent else 0
        drawn = [drawn_branch(one, at, kept, seed=used.seed, strategy=name) for name, used, one in written if one.text]
        if not drawn:
            yield await self._show_unchanged(state, seed=params[0].seed)
            return
        blocked = inputs_of(generation)
        inputs = [{"is_word_whole": is_word_whole, "strategy": name, **blocked} for name in names]
        reply = await self._record_each([taken] * len(params), params, generation, inputs)
        if silent := [name for name, _, one in written if not one.text]:
            notice = f"The model has nothing to add here with {' and '.join(silent)}."
            reply = replace(reply, notice=" ".join(filter(None, (reply.notice, notice))))
        yield await self.show(state.offer(drawn), kept=reply)

    async def lengthen(self, state: CompletionState) -> Cards:
        """Extend every continuation on the card by about a sentence, all at once."""
        taken, options = state.taken, state.options
        shown = [option.text for option in options]
        params: Sequence[SamplingParams] = [state.params_to_lengthen(i) for i in range(len(options))]
        befores = [self.base + taken + text for text in shown]
        services = self.request.services

        def generate(params: Sequence[SamplingParams]) -> Generation:
            return services.engine.generate_batch(
                [Prompt.document(before) for before in befores],
                params,
                end_at=AfterSentence() if state.ends_sentence else None,
                timeout_s=services.request_timeout_s,
                asker=self.request.asker,
            )

        generation = screen(generate, params, befores, await allowed_words(self.request))
        async with aclosing(self._watch(taken, generation, shown, labels=state.labels)) as snapshots:
            async for snapshot in snapshots:
                yield snapshot
        if not any(added.text for added in generation.completions):
            yield await self._show_unchanged(state)
            return
        params = params_used(generation, params)
        tips = [state.tree.branch(branch_id) for branch_id in state.tree.here.options]
        longer = [
            drawn_branch(added, tip.id, len(tip.text), seed=used.seed, strategy=tip.strategy) if added.text else None
            for tip, used, added in zip(tips, params, generation.completions, strict=True)
        ]
        blocked: dict[str, Any] = {**inputs_of(generation)}
        inputs = [{"strategy": label, **blocked} for label in state.labels] or [blocked] * len(options)
        kept = await self._record_each([taken + one.text for one in options], params, generation, inputs)
        yield await self.show(state.lengthen(longer), kept=kept)

    async def _record_each(
        self,
        suffixes: Sequence[str],
        params: Sequence[SamplingParams],
        generation: Generation,
        inputs: Sequence[Mapping[str, Any]],
    ) -> KeptReply:
        """Store each text of a batch as an answer of its own; return the last one as the card's."""
        timings = generation.part_timings or (None,) * len(params)  # none if it never ran
        kept = KeptReply(None)
        for i, written in enumerate(generation.completions):
            kept = await self._record(
                suffixes[i],
                written.text,
                params[i],
                finish_reason=written.finish_reason,
                timings=timings[i],
                inputs=inputs[i],
            )
        return kept

    async def _show_unchanged(self, state: CompletionState, *, seed: int | None = None) -> Card:
        """Return the card of a round that added nothing, with the reason; the next round has another seed."""
        is_stopped = self.request.stopper.is_stopped
        unchanged = replace(state, num_rounds=state.num_rounds + 1)
        notice = KeptReply(None, _STOPPED if is_stopped else _NOTHING)
        card = await self.show(unchanged, seed=seed, kept=notice)
        return replace(card, keeps_shown=is_stopped and self.card is None)

    async def _watch(
        self, taken: str, generation: Generation, shown: list[str], *, first: int = 0, labels: tuple[str, ...] = ()
    ) -> Cards:
        """Run the generation and show it; its completion k grows at the end of `shown[first + k]`."""
        async with generation, aclosing(deltas_or_waiting(generation)) as deltas:
            self.request.stopper.on_stop(generation.cancel)
            async for delta in deltas:
                if isinstance(delta, int):
                    yield waiting_card(delta)
                    continue
                shown[first + delta.index] += delta.text
                prompt = self.base + clean_model_text(taken)
                yield Card(blocks=(Choices(prompt, tuple(shown), labels=labels),), is_final=False)

    async def _record(
        self,
        suffix: str,
        text: str,
        params: SamplingParams,
        *,
        generation: Generation | None = None,
        finish_reason: FinishReason | None = None,
        timings: Timings | None = None,
        inputs: Mapping[str, Any] = _NO_INPUTS,
    ) -> KeptReply:
        if not self.request.may_store:
            return KeptReply(None, None if self.request.is_look else NOT_KEPT)
        services = self.request.services
        source = self.request.source
        origin = PromptOrigin(
            "text",
            reads=((source.message_id, source.revision),),
            suffix=suffix,
            inputs={"is_command_line": source.is_command_line, "is_word_whole": False, **inputs},
        )
        prompt = Prompt.document(self.base + suffix)
        reply = GeneratedReply(
            self.request.command.name, text, prompt, origin, params, generation, finish_reason, timings
        )
        message, name = self.request.message, services.chat.bot_name
        return await record_reply(services.store, services.engine, message, reply, bot_name=name, kind="command")

    async def show(self, state: CompletionState, *, seed: int | None = None, kept: KeptReply | None = None) -> Card:
        """Store the state and return the card that shows it."""
        return await self.save(replace(state, num_named=0, is_left=False), seed=seed, kept=kept)

    async def save(self, state: CompletionState, *, seed: int | None = None, kept: KeptReply | None = None) -> Card:
        """Store the state as it is, with its number of naming revisions; return the card that shows it."""
        message = self.request.message
        card = None
        kept = kept or KeptReply(None)
        if self.request.may_store:
            store = self.request.services.store
            try:
                card = await save_completion(store, message.scope, message.author.id, state, self.card)
            except OptedOut:
                kept = KeptReply(None, NOT_KEPT)
        return replace(self.card_of(state, card, seed=seed, notice=kept.notice), reply_id=kept.id)

    def card_of(
        self, state: CompletionState, card: OpenCard | None, *, seed: int | None = None, notice: str | None = None
    ) -> Card:
        """Return the card that shows the state, with buttons if it was stored."""
        seed = state.seed if seed is None else seed
        options = state.options
        data: dict[str, Any] = {
            "input": self.base,
            "prompt": self.base + state.taken,
            "choices": [option.to_dict() for option in options],
            "seed": seed,
            "model": state.model or self.request.services.engine.info.name,
        }
        if state.view == OPTIONS_VIEW:
            data["text"] = options[0].text if options else ""
        if state.by_strategy:
            data["strategies"] = strategies_data(state, self.request.services.engine.info.lacking)
        shown = self._shown(state, seed)
        notices = (Text(notice, is_quiet=True),) if notice else ()
        shown_card = Card(blocks=(*shown.blocks, *notices), data={**data, **shown.data})
        if card is None:
            return shown_card
        return replace(
            shown_card,
            buttons=shown.buttons,
            selects=shown.selects,
            open_card_id=card.id,
            revision=card.revision,
        )

    def _shown(self, state: CompletionState, seed: int | None) -> Shown:
        """Return the blocks, buttons and selects of the view that the state is in."""
        has_buttons = self.request.services.traits.has_buttons
        if (show := _VIEWS.get(state.view.kind)) is not None:
            return show(state, self.base, has_buttons=has_buttons)
        blocks: list[Block] = [choices_of(state, self.base)]
        if state.by_strategy and state.tree.here.options:
            lacking = self.request.services.engine.info.lacking
            blocks.append(strategies_table(state, lacking))
            blocks += [Text(sentence, is_quiet=True)] if (sentence := missing_sentence(lacking)) else []
        if state.params.is_sampled and seed is not None:
            blocks.append(Text(f"seed {seed}", is_quiet=True))
        return Shown(tuple(blocks), self._buttons(state))

    def _buttons(self, state: CompletionState) -> tuple[Button, ...]:
        num_options = len(state.tree.here.options)
        names = [str(i + 1) for i in range(num_options)]
        if state.params.is_sampled and num_options < MAX_OPTIONS and not state.by_strategy:
            names.append("more")
        if num_options:
            names.append("longer")
        if state.tree.past:
            names.append("undo")
        if state.params.is_sampled:
            names.append("again")
        if has_words(state.tree):
            names.append("words")
        if state.tree.past:
            names.append("branches")
        return tuple(Button(name, name.capitalize()) for name in names)

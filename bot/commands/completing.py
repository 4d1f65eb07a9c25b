"""The command that continues a text, and the actions on its card: a number, more, longer, again, undo."""

import re
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, Final

from bot.commands.framework.command import SAMPLING_OPTIONS, Cards, Command, Request
from bot.core.cards import Block, Button, Card, Choices, Text
from bot.core.mentions import mention
from bot.core.prompt import end_of_sentence
from bot.core.prompt_parts import Prompt
from bot.core.results import FinishReason, Timings
from bot.core.sampling_params import SamplingParams, apply_options
from bot.engine.stream import Generation
from bot.errors import OptedOut, RequestError
from bot.services.open_cards import MAX_OPTIONS, CompletionOption, CompletionTree, save_tree
from bot.services.queueing import deltas_or_waiting, waiting_card
from bot.services.replies import NOT_KEPT, GeneratedReply, KeptReply, PromptOrigin, record_reply
from bot.store.cards import OpenCard

DEFAULT_PARAMS: Final = SamplingParams(n=3)
TEXT_GONE: Final = f"The text of this card was deleted. Start again with {mention('complete TEXT')}."
_ACTION: Final = re.compile(r"[1-9]|more|longer|again|undo", re.IGNORECASE)


def is_action(text: str) -> bool:
    """Say whether a plain message may be an action on a completion card."""
    return _ACTION.fullmatch(text.strip()) is not None


async def answer_complete(request: Request) -> Cards:
    """Answer with several continuations of the text to choose from."""
    params = apply_options(DEFAULT_PARAMS, request.options).with_seed()
    source = request.source
    ends_sentence = "max_new_tokens" not in request.options
    tree = CompletionTree(
        source.message_id,
        source.is_command_line,
        params,
        ends_sentence=ends_sentence,
        request_id=request.message.id,
    )
    async for card in _Step(request, request.text, None).draw(tree):
        yield card


async def answer_action(request: Request, card: OpenCard, tree: CompletionTree, action: str) -> Cards:
    """Carry out a number, more, longer, again or undo on the open card; `request.text` is the text to continue."""
    action = action.strip().lower()
    step = _Step(request, request.text, card)
    if action == "undo":
        if not tree.past:
            raise RequestError("There is nothing to undo.")
        yield await step.show(tree.undo())
        return
    if action.isdigit():
        if not 1 <= int(action) <= len(tree.options):
            raise RequestError(f"Choose a number from 1 to {len(tree.options)}.")
        steps = step.draw(tree.take(int(action) - 1))
    elif action == "longer":
        steps = step.lengthen(tree)
    elif not tree.params.is_sampled:
        raise RequestError("These options always give the same continuation. Ask again with a temperature above 0.")
    elif action == "more" and len(tree.options) >= MAX_OPTIONS:
        raise RequestError(f"There are already {MAX_OPTIONS} continuations. Choose one, or use longer, again or undo.")
    else:
        steps = step.draw(tree, keeps=action == "more")
    async for snapshot in steps:
        yield snapshot


def show_again(request: Request, card: OpenCard, tree: CompletionTree, notice: str) -> Card:
    """Return the unchanged open card with a notice."""
    return _Step(request, request.text, card).card_of(tree, card, notice=notice)


@dataclass(frozen=True, slots=True)
class _Step:
    """One round of completion: `base` is the text to continue, `card` the open card, if there is one."""

    request: Request
    base: str
    card: OpenCard | None

    async def draw(self, tree: CompletionTree, *, keeps: bool = False) -> Cards:
        """Sample the next continuations; `keeps` adds them to those on the card. A half-typed word is finished."""
        params = tree.round_params
        old = tree.options if keeps else ()
        if len(old) + params.n > MAX_OPTIONS:
            params = replace(params, n=MAX_OPTIONS - len(old))
        shown = [option.text for option in old] + [""] * params.n
        services = self.request.services
        generation = services.engine.generate(
            Prompt.plain(self.base + tree.taken),
            params,
            heal=not tree.taken,
            end_at=end_of_sentence if tree.ends_sentence else None,
            timeout_s=services.request_timeout_s,
            asker=self.request.asker,
        )
        async with aclosing(self._watch(tree, generation, shown, first=len(old))) as snapshots:
            async for snapshot in snapshots:
                yield snapshot
        drawn = tuple(CompletionOption(c.text, c.logprob, c.finish_reason) for c in generation.completions)
        text = "\n".join(option.text for option in drawn)
        kept = await self._record(tree.taken, text, params, generation=generation)
        yield await self.show(tree.offer(old + drawn), seed=params.seed, kept=kept)

    async def lengthen(self, tree: CompletionTree) -> Cards:
        """Extend every continuation on the card by about a sentence, all at once."""
        shown = [option.text for option in tree.options]
        params = replace(tree.round_params, n=1)
        services = self.request.services
        generation = services.engine.generate_batch(
            [Prompt.plain(self.base + tree.taken + text) for text in shown],
            params,
            end_at=end_of_sentence if tree.ends_sentence else None,
            timeout_s=services.request_timeout_s,
            asker=self.request.asker,
        )
        async with aclosing(self._watch(tree, generation, shown)) as snapshots:
            async for snapshot in snapshots:
                yield snapshot
        longer = []
        kept = KeptReply(None)
        timings = generation.part_timings or (None,) * len(shown)  # none if it never ran
        for i, (option, added) in enumerate(zip(tree.options, generation.completions, strict=True)):
            longer.append(CompletionOption(shown[i], option.logprob + added.logprob, added.finish_reason))
            kept = await self._record(
                tree.taken + option.text,
                added.text,
                params.shift_seed(i),
                finish_reason=added.finish_reason,
                timings=timings[i],
            )
        yield await self.show(tree.offer(tuple(longer)), kept=kept)

    async def _watch(self, tree: CompletionTree, generation: Generation, shown: list[str], *, first: int = 0) -> Cards:
        """Run the generation and show it; its completion k grows at the end of `shown[first + k]`."""
        async with generation, aclosing(deltas_or_waiting(generation)) as deltas:
            self.request.stopper.on_stop(generation.cancel)
            async for delta in deltas:
                if isinstance(delta, int):
                    yield waiting_card(delta)
                    continue
                shown[first + delta.index] += delta.text
                yield Card(blocks=(Choices(self.base + tree.taken, tuple(shown)),), is_final=False)

    async def _record(
        self,
        suffix: str,
        text: str,
        params: SamplingParams,
        *,
        generation: Generation | None = None,
        finish_reason: FinishReason | None = None,
        timings: Timings | None = None,
    ) -> KeptReply:
        if not self.request.may_store:
            return KeptReply(None, NOT_KEPT)
        services = self.request.services
        source = self.request.source
        origin = PromptOrigin(
            "text",
            reads=((source.message_id, source.revision),),
            suffix=suffix,
            inputs={"is_command_line": source.is_command_line},
        )
        prompt = Prompt.plain(self.base + suffix)
        reply = GeneratedReply("complete", text, prompt, origin, params, generation, finish_reason, timings)
        message, name = self.request.message, services.chat.bot_name
        return await record_reply(services.store, services.engine, message, reply, bot_name=name, kind="command")

    async def show(self, tree: CompletionTree, *, seed: int | None = None, kept: KeptReply | None = None) -> Card:
        """Store the tree and return the card that shows it."""
        message = self.request.message
        card = None
        kept = kept or KeptReply(None)
        if self.request.may_store:
            try:
                card = await save_tree(self.request.services.store, message.scope, message.author.id, tree, self.card)
            except OptedOut:
                kept = KeptReply(None, NOT_KEPT)
        return replace(self.card_of(tree, card, seed=seed, notice=kept.notice), reply_id=kept.id)

    def card_of(
        self, tree: CompletionTree, card: OpenCard | None, *, seed: int | None = None, notice: str | None = None
    ) -> Card:
        """Return the card that shows the tree, with buttons if it was stored."""
        seed = tree.params.seed if seed is None else seed
        data: dict[str, Any] = {
            "input": self.base,
            "prompt": self.base + tree.taken,
            "choices": [option.to_dict() for option in tree.options],
            "seed": seed,
            "model": self.request.services.engine.info.name,
        }
        if tree.options:
            data["text"] = tree.options[0].text
        blocks: list[Block] = [Choices(self.base + tree.taken, tuple(option.text for option in tree.options))]
        if tree.params.is_sampled:
            blocks.append(Text(f"seed {seed}", is_quiet=True))
        if notice:
            blocks.append(Text(notice, is_quiet=True))
        if card is None:
            return Card(blocks=tuple(blocks), data=data)
        return Card(
            blocks=tuple(blocks), data=data, buttons=_buttons(tree), open_card_id=card.id, revision=card.revision
        )


def _buttons(tree: CompletionTree) -> tuple[Button, ...]:
    names = [str(i + 1) for i in range(len(tree.options))]
    if tree.params.is_sampled and len(tree.options) < MAX_OPTIONS:
        names.append("more")
    names.append("longer")
    if tree.past:
        names.append("undo")
    if tree.params.is_sampled:
        names.append("again")
    return tuple(Button(name, name.capitalize()) for name in names)


COMMANDS: Final = (
    Command(
        name="complete",
        summary="Continue a text: several versions to choose from",
        answer=answer_complete,
        text="required",
        options=SAMPLING_OPTIONS,
        menu="Complete",
        details="On the answer, a number continues with that text; more adds continuations, longer extends them, again"
        " replaces them and undo goes one step back.",
        examples=("complete The best thing about rain is", "complete --n 2 --seed 7 Once upon a time"),
    ),
)

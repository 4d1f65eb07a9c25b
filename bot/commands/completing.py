"""The command that continues a text, and the typed answers to its card: a number, more, longer, again, undo."""

import re
from dataclasses import dataclass, replace
from typing import Any, Final

from bot.chat import asker_of
from bot.commands.declaring import SAMPLING_OPTIONS, Cards, Command, Request
from bot.core.cards import Block, Button, Card, Choices, Text
from bot.core.prompt import end_of_sentence
from bot.core.prompt_parts import Prompt
from bot.core.sampling import SamplingParams, apply_options
from bot.engine.engine import Generation
from bot.errors import RequestError
from bot.open_cards import MAX_OPTIONS, CompletionOption, CompletionTree, save_tree
from bot.replies import GeneratedReply, PromptOrigin, record_reply
from bot.store.cards import OpenCard

DEFAULT_PARAMS: Final = SamplingParams(n=3)
_ACTION: Final = re.compile(r"[1-9]|more|longer|again|undo", re.IGNORECASE)


def is_action(text: str) -> bool:
    """Say whether a plain message may be an answer to a completion card."""
    return _ACTION.fullmatch(text.strip()) is not None


async def answer_complete(request: Request) -> Cards:
    """Answer with several continuations of the text to choose from."""
    params = apply_options(DEFAULT_PARAMS, request.options).with_seed()
    source = request.source
    ends_sentence = "max_new_tokens" not in request.options
    tree = CompletionTree(source.message_id, source.is_command_line, params, ends_sentence=ends_sentence)
    async for card in _Step(request, request.text, None).draw(tree):
        yield card


async def answer_action(request: Request, card: OpenCard, tree: CompletionTree) -> Cards:
    """Answer a typed number, more, longer, again or undo to the open card; `request.text` is what was asked about."""
    action = request.message.text.strip().lower()
    step = _Step(request, request.text, card)
    if action == "undo":
        if not tree.past:
            raise RequestError("There is nothing to undo here.")
        yield await step.show(tree.undo())
        return
    if action.isdigit():
        if not 1 <= int(action) <= len(tree.options):
            raise RequestError(f"Take a number from 1 to {len(tree.options)}.")
        steps = step.draw(tree.take(int(action) - 1))
    elif action == "longer":
        steps = step.lengthen(tree)
    elif not tree.params.is_sampled:
        raise RequestError("These options always give the same continuation; ask again with a temperature above 0.")
    elif action == "more" and len(tree.options) >= MAX_OPTIONS:
        raise RequestError(f"There are {MAX_OPTIONS} continuations already: take one, or say longer, again or undo.")
    else:
        steps = step.draw(tree, keeps=action == "more")
    async for snapshot in steps:
        yield snapshot


@dataclass(frozen=True, slots=True)
class _Step:
    """One round of completing: `base` is the text that was asked about, `card` what is open already."""

    request: Request
    base: str
    card: OpenCard | None

    async def draw(self, tree: CompletionTree, *, keeps: bool = False) -> Cards:
        """Draw the next continuations; `keeps` puts them behind those on offer. A half-typed word is finished."""
        params = tree.round_params
        old = tree.options if keeps else ()
        if len(old) + params.n > MAX_OPTIONS:
            params = replace(params, n=MAX_OPTIONS - len(old))
        shown = [option.text for option in old] + [""] * params.n
        generation = self._generate(tree, self.base + tree.taken, params, heal=not tree.taken)
        async with generation:
            self.request.stopper.on_stop(generation.cancel)
            async for delta in generation:
                shown[len(old) + delta.index] += delta.text
                yield self._snapshot(tree, shown)
        drawn = tuple(CompletionOption(c.text, c.logprob, c.finish_reason) for c in generation.completions)
        notice = await self._record(tree.taken, params, generation)
        yield await self.show(tree.offer(old + drawn), seed=params.seed, notice=notice)

    async def lengthen(self, tree: CompletionTree) -> Cards:
        """Extend every continuation on offer by another sentence or so."""
        shown = [option.text for option in tree.options]
        longer = list(tree.options)
        notice = None
        for i, option in enumerate(tree.options):
            params = replace(tree.round_params, n=1)
            if params.seed is not None:
                params = replace(params, seed=(params.seed + i) % 2**63)
            generation = self._generate(tree, self.base + tree.taken + option.text, params)
            async with generation:
                self.request.stopper.on_stop(generation.cancel)
                async for delta in generation:
                    shown[i] += delta.text
                    yield self._snapshot(tree, shown)
            (added,) = generation.completions
            longer[i] = CompletionOption(shown[i], option.logprob + added.logprob, added.finish_reason)
            notice = await self._record(tree.taken + option.text, params, generation)
        yield await self.show(tree.offer(tuple(longer)), notice=notice)

    def _generate(self, tree: CompletionTree, text: str, params: SamplingParams, *, heal: bool = False) -> Generation:
        services = self.request.services
        return services.engine.generate(
            Prompt.plain(text),
            params,
            heal=heal,
            end_at=end_of_sentence if tree.ends_sentence else None,
            timeout_s=services.request_timeout_s,
            asker=asker_of(self.request.message),
        )

    def _snapshot(self, tree: CompletionTree, shown: list[str]) -> Card:
        return Card(blocks=(Choices(self.base + tree.taken, tuple(shown)),), is_final=False)

    async def _record(self, suffix: str, params: SamplingParams, generation: Generation) -> str | None:
        services = self.request.services
        source = self.request.source
        origin = PromptOrigin(
            "text",
            reads=((source.message_id, source.revision),),
            suffix=suffix,
            inputs={"is_command_line": source.is_command_line},
        )
        text = "\n".join(completion.text for completion in generation.completions)
        reply = GeneratedReply("complete", text, Prompt.plain(self.base + suffix), origin, params, generation)
        message, name = self.request.message, services.chat.bot_name
        return await record_reply(services.store, services.engine, message, reply, bot_name=name, kind="command")

    async def show(self, tree: CompletionTree, *, seed: int | None = None, notice: str | None = None) -> Card:
        """Keep the tree and return the card that shows it."""
        services = self.request.services
        message = self.request.message
        card = await save_tree(services.store, message.scope, message.author.id, tree, self.card)
        seed = tree.params.seed if seed is None else seed
        data: dict[str, Any] = {
            "input": self.base,
            "prompt": self.base + tree.taken,
            "choices": [option.to_dict() for option in tree.options],
            "seed": seed,
            "model": services.engine.info.name,
        }
        if tree.options:
            data["text"] = tree.options[0].text
        blocks: list[Block] = [Choices(self.base + tree.taken, tuple(option.text for option in tree.options))]
        if tree.params.is_sampled:
            blocks.append(Text(f"seed {seed}", is_quiet=True))
        if notice:
            blocks.append(Text(notice, is_quiet=True))
        return Card(blocks=tuple(blocks), data=data, buttons=_buttons(tree), open_card_id=card.id)


def _buttons(tree: CompletionTree) -> tuple[Button, ...]:
    names = [str(i + 1) for i in range(len(tree.options))]
    if tree.params.is_sampled and len(tree.options) < MAX_OPTIONS:
        names.append("more")
    names.append("longer")
    if tree.params.is_sampled:
        names.append("again")
    if tree.past:
        names.append("undo")
    return tuple(Button(name, name) for name in names)


COMMANDS: Final = (
    Command(
        name="complete",
        summary="several continuations of a text to choose from; answer 1, 2, 3, more, longer, again or undo",
        answer=answer_complete,
        text="required",
        options=SAMPLING_OPTIONS,
        examples=("complete The best thing about rain is", "complete --n 2 --seed 7 Once upon a time"),
    ),
)

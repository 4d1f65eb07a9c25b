"""Story mode: a conversation writes one text together with the bot; anyone there chooses how it goes on."""

from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Final

from bot.commands.context import Services
from bot.commands.framework.command import SAMPLING_OPTIONS, Cards, Command, Option, Request
from bot.commands.framework.told import Told, is_step, load_told
from bot.commands.story_steps import BEGINS, NO_STORY, Step
from bot.core.cards import Card, Text, TextFile
from bot.core.mentions import mention
from bot.core.messages import Click, Message
from bot.core.safe_text import clean_model_text
from bot.core.sampling_params import COMPLETION_DEFAULTS, apply_options
from bot.core.stopping import Stopper
from bot.core.story import count_words, join_parts
from bot.errors import RequestError
from bot.services.replies import READ_AGAIN
from bot.services.story import STORY_CARD

_HOW: Final = f"Anyone here may choose a continuation, or write on. {mention('story off')} ends the story."
_OPTIONS: Final = tuple(option for option in SAMPLING_OPTIONS if option.name != "stop")


def go_on_with(services: Services, commands: Mapping[str, Command], message: Message, stopper: Stopper) -> Cards:
    """Return the cards that answer a message where a story is being written: a word to its card, or words of it."""
    step = Step(services, commands, message, stopper)
    if message.attachment is None and is_step(message.text):
        shown = message.replied_card
        return step.act(message.text.strip().lower(), None if shown is None else shown.revision)
    return step.say(message)


async def press(services: Services, commands: Mapping[str, Command], click: Click, stopper: Stopper) -> Cards:
    """Answer a click on the card of a story: anyone there may."""
    story = await services.store.load_story(click.scope)
    if story is None or click.card_id != f"{STORY_CARD}{story.id}" or not is_step(click.action):
        raise RequestError(NO_STORY)
    async with aclosing(Step(services, commands, click, stopper).act(click.action, click.revision)) as cards:
        async for card in cards:
            yield card


async def answer_on(request: Request) -> Cards:
    """Begin a story, with the text if there is one."""
    services, message = request.services, request.message
    has_words = bool(request.text.strip())
    if has_words and not request.may_store:
        raise RequestError(READ_AGAIN)
    params = apply_options(COMPLETION_DEFAULTS, request.options).with_seed()
    store = services.store
    if not await store.begin_story(message, params, has_words=has_words):
        raise RequestError(
            f"A story is already being written here. {mention('story export')} shows it,"
            f" {mention('story off')} ends it."
        )
    if not has_words:
        sentence = f"Story mode is on. {BEGINS} {_HOW}"
        yield Card(blocks=(Text(sentence),), data={"text": sentence})
        return
    step = Step(services, request.commands, message, request.stopper)
    async with aclosing(step.go_on(lambda told: len(told.stored.parts) == 1, notice=_HOW)) as cards:
        async for card in cards:
            yield card


async def answer_off(request: Request) -> Cards:
    """End the story and show all of it."""
    services, message = request.services, request.message
    if not await services.store.end_story(message.scope, ended_by=message.id):
        raise RequestError(NO_STORY)
    services.story_turns.gone_on(message.scope)
    told = await load_told(services, request.commands, message.scope)
    text = told.text.strip() if told is not None else ""
    ends = Text("Story mode is off. This is the whole story." if text else "Story mode is off. Nothing was written.")
    blocks = (replace(ends, is_quiet=True), Text(text, is_model_text=True)) if text else (ends,)
    yield Card(blocks=blocks, data={"text": text, **_counts(told)})


async def answer_export(request: Request) -> Cards:
    """Show the text of the story as a file."""
    told = await load_told(request.services, request.commands, request.message.scope)
    if told is None or not told.text.strip():
        raise RequestError(f"There is no story here. A moderator begins one with {mention('story on')}.")
    text = clean_model_text(told.text).strip()
    names = {True: request.services.chat.bot_name, False: "Member"}
    if request.options.get("parts") == "on":
        parts = ((names[part.is_bot], clean_model_text(part.text).strip()) for part in told.parts)
        text = "\n\n".join(f"{name}: {words}" for name, words in parts)
    counts = _counts(told)
    sentence = f"The story has {_number(counts['num_words'], 'word')} in {_number(counts['num_parts'], 'part')},"
    sentence += f" {counts['num_bot_parts']} of them by {names[True]}."
    yield Card(blocks=(Text(sentence),), data={"text": text, **counts}, file=TextFile("story.txt", f"{text}\n"))


def _counts(told: Told | None) -> dict[str, Any]:
    parts = () if told is None else told.parts
    return {
        "num_words": count_words(join_parts(parts)),
        "num_parts": len(parts),
        "num_bot_parts": sum(part.is_bot for part in parts),
    }


def _number(num: int, noun: str) -> str:
    return f"1 {noun}" if num == 1 else f"{num:,} {noun}s"


COMMANDS: Final = (
    Command(
        name="story on",
        summary="Begin a story that everyone here writes together with the bot",
        answer=answer_on,
        text="optional",
        who="moderators",
        options=_OPTIONS,
        takes_file=True,
        needs_conversation=True,
        details="What is said here becomes one text. After each message the bot offers continuations. Anyone may choose"
        " one, ask for others with again, or take the last step back with undo, by a button or by typing the number or"
        " word alone.",
        examples=("story on", "story on Once upon a time"),
    ),
    Command(
        name="story off",
        needs_model=False,
        summary="End the story and show all of it",
        answer=answer_off,
        who="moderators",
        needs_conversation=True,
    ),
    Command(
        name="story export",
        needs_model=False,
        summary="Show the story as a text file",
        answer=answer_export,
        options=(
            Option("parts", "choice", "whether to say which parts are the bot's and which are members'", ("on", "off")),
        ),
        needs_conversation=True,
    ),
)

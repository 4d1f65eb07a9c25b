"""The real bot on tiny models: opened as the program opens it, and talked to as a platform does."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from bot.commands.bot import Bot
from bot.commands.context import Services
from bot.core.cards import Card
from bot.core.channel_settings import declare_settings
from bot.core.chat_prompt import PromptTools
from bot.core.database_url import DatabaseUrl
from bot.core.messages import AttachmentFormat, Author, Click, Message, Reach, Scope, ShownCard
from bot.core.platform_traits import PlatformTraits
from bot.core.prompt_parts import ChatTurn, Prompt, PromptPart
from bot.core.results import Completion, Delta, EngineStats, ModelInfo
from bot.core.sampling_params import SamplingParams
from bot.core.stopping import Stopper
from bot.engine.models.catalog import ModelChoice
from bot.errors import Unavailable
from bot.platforms.discord.traits import DISCORD
from bot.program.opening import open_bot, open_engine
from bot.remote.choice import RemoteChoice
from bot.services.chat import Chat
from bot.services.measuring import Measuring
from bot.services.models import ModelOffer, Models, Offers
from bot.services.templates import TemplateLibrary, Templates
from bot.settings import Settings
from bot.store.backend import Transaction
from bot.store.store import Store
from tests.databases import lay_new_database

NO_MODELS: Mapping[str, Path | RemoteChoice] = {}
HERE = Scope("terminal", "home", "general")

# Short, since each character of most words is a token of its own to the tiny models; the seed makes answers repeat.
PROMPTS = {
    "chat": (
        '+++\ndescription = "A talk."\nkind = "chat"\n[sampling]\nseed = 5\nmax_new_tokens = 12\ntop_k = 0\n+++\n'
        "You are $bot_name.\n\n$history\n$bot_name:\n"
    ),
    "pirate": (
        '+++\ndescription = "A talk at sea."\nkind = "chat"\n[sampling]\nseed = 6\nmax_new_tokens = 12\n+++\n'
        "$bot_name is a pirate.\n\n$history\n$bot_name:\n"
    ),
    "sentiment": (
        '+++\ndescription = "Friendly or not?"\nkind = "classify"\nlabels = ["Positive", "Negative", "Neutral"]\n'
        '[[examples]]\ninput = "I love this"\noutput = "Positive"\n'
        '[[examples]]\ninput = "I hate this"\noutput = "Negative"\n+++\nFeelings.\n\n$examples\n$input ->\n'
    ),
    "translate-en-fr": (
        '+++\ndescription = "English to French."\n[sampling]\nmax_new_tokens = 10\n'
        '[[examples]]\ninput = "cat"\noutput = "chat"\n+++\nEnglish to French.\n\n$examples\n$input =\n'
    ),
    "story": '+++\ndescription = "A story."\n[sampling]\nmax_new_tokens = 10\n+++\nA story about $input\nOnce\n',
    "exact": (
        '+++\ndescription = "Always the same."\n[sampling]\ntemperature = 0\nmax_new_tokens = 5\n+++\nIt is $input so\n'
    ),
}
# A template that can be measured and tuned; not among PROMPTS, whose number and names other tests know.
MOOD = (
    '+++\ndescription = "Good or bad?"\nkind = "classify"\nlabels = ["good", "bad"]\n'
    + "".join(
        f'[[{table}]]\ninput = "{text}"\noutput = "{label}"\n'
        for table, rows in {
            "examples": {"so fine": "good", "a loss": "bad", "yes": "good", "no": "bad"},
            "tests": {"fun": "good", "it is bad": "bad", "do it": "good", "sad": "bad", "I see": "good", "mud": "bad"},
        }.items()
        for text, label in rows.items()
    )
    + "+++\nMood.\n\n$examples\n$input ->\n"
)


# One that uses more examples than its prompt holds.
MANY = (
    '+++\ndescription = "Good or bad?"\nkind = "classify"\nlabels = ["good", "bad"]\n'
    "[neighbours]\nin_prompt = 2\nnearest = 2\nweight = 0.5\n"
    + "".join(
        f'[[{table}]]\ninput = "{text}"\noutput = "{label}"\n'
        for table, texts in {
            "examples": {"good": "fine yes joy fun gain hope", "bad": "loss no sad mud pain fear"},
            "tests": {"good": "love win ok", "bad": "hate die ill"},
        }.items()
        for label, words in texts.items()
        for text in words.split()
    )
    + "+++\nMood.\n\n$examples\n$input ->\n"
)


def write_prompts(folder: Path, prompts: Mapping[str, str] = PROMPTS) -> Path:
    """Write prompt files into `folder`; return it."""
    folder.mkdir(exist_ok=True)
    for name, text in prompts.items():
        (folder / f"{name}.prompt").write_text(text, encoding="utf-8")
    return folder


def shown_card_of(card: Card) -> ShownCard:
    """Return what a platform says of the card that a message replies to."""
    assert card.open_card_id
    return ShownCard(card.open_card_id, card.revision)


@dataclass
class Talk:
    """An open bot, and what the tests ask of it. `message_ids` are those of all messages said, in order."""

    bot: Bot
    services: Services
    message_ids: list[str] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=count)
    _typed: Bot = field(init=False)

    def __post_init__(self) -> None:
        traits = replace(self.services.traits, has_buttons=False)
        self._typed = Bot(replace(self.services, traits=traits))

    @property
    def store(self) -> Store:
        return self.services.store

    async def snapshots(
        self,
        text: str,
        *,
        who: str = "Ann",
        scope: Scope = HERE,
        reply_to: str | None = None,
        is_moderator: bool = True,
        stopper: Stopper | None = None,
        has_buttons: bool = False,
        reach: Reach = "private",
        attachment: str | None = None,
        attachment_format: AttachmentFormat = "",
        roles: tuple[str, ...] = (),
        replied_card: Card | None = None,
    ) -> AsyncIterator[Card]:
        """Say `text` and yield every snapshot of the answer; without `has_buttons` as one types in a terminal."""
        # Another opening of the same database goes on with other ids.
        message_id = f"m{next(self._numbers)}-{id(self)}"
        self.message_ids.append(message_id)
        author = Author(id=who.lower(), name=who, is_moderator=is_moderator, roles=roles)
        message = Message(
            message_id,
            scope,
            author,
            text,
            reply_to=reply_to,
            attachment=attachment,
            attachment_format=attachment_format,
            reach=reach,
            replied_card=None if replied_card is None else shown_card_of(replied_card),
        )
        bot = self.bot if has_buttons else self._typed
        async for card in bot.answer(message, stopper or Stopper()):
            yield card

    async def card(self, text: str, **how: Any) -> Card:
        """Say `text` and return the last snapshot, which is the only final one."""
        cards = [card async for card in self.snapshots(text, **how)]
        assert [card.is_final for card in cards] == [False] * (len(cards) - 1) + [True]
        return cards[-1]

    async def ask(self, text: str, **how: Any) -> dict[str, Any]:
        """Say `text` and return the data of an answer that is no error."""
        card = await self.card(text, **how)
        assert card.error is None, card.error
        return dict(card.data)

    async def suggest(self, text: str, *, line: str = "", **how: Any) -> tuple[str, ...]:
        """Return continuations of `text`, the end of the `line` (all of it if none is given) that is being typed."""
        typed = Message("typed", HERE, Author("ann", "Ann", is_moderator=True), line or text)
        return await self.bot.suggest(typed, text, **how)

    async def refusal(self, text: str, **how: Any) -> str:
        """Say `text` and return the one sentence with which it is refused."""
        card = await self.card(text, **how)
        assert card.error, card
        assert not card.blocks
        assert card.answers == "private"
        assert card.data["error"] == card.error
        assert "\n" not in card.error
        assert len(card.error) < 400
        return card.error

    async def clicks(
        self,
        card: Card,
        action: str,
        *,
        who: str = "Ann",
        scope: Scope = HERE,
        value: str = "",
        is_moderator: bool = False,
        roles: tuple[str, ...] = (),
        stopper: Stopper | None = None,
    ) -> AsyncIterator[Card]:
        """Click the button or select `action` of `card` and yield every snapshot of what follows."""
        assert card.open_card_id
        author = Author(id=who.lower(), name=who, is_moderator=is_moderator, roles=roles)
        click_id = f"c{next(self._numbers)}-{id(self)}"
        click = Click(click_id, scope, author, card.open_card_id, card.revision, action, value)
        async for snapshot in self.bot.click(click, stopper or Stopper()):
            assert snapshot.form is None or self.bot.may_open_form(action)
            yield snapshot

    async def click(self, card: Card, action: str, **how: Any) -> Card:
        """Click and return the last snapshot, which is the only final one."""
        cards = [snapshot async for snapshot in self.clicks(card, action, **how)]
        assert [snapshot.is_final for snapshot in cards] == [False] * (len(cards) - 1) + [True]
        return cards[-1]

    async def click_refusal(self, card: Card, action: str, **how: Any) -> str:
        """Click and return the one private sentence that answers, and nothing else."""
        cards = [snapshot async for snapshot in self.clicks(card, action, **how)]
        assert len(cards) == 1, cards
        assert cards[0].error, cards[0]
        assert cards[0].answers == "private"
        return cards[0].error

    async def why(self, scope: Scope = HERE, **how: Any) -> dict[str, Any]:
        """Return the data of `why` in `scope`."""
        return await self.ask("!why", scope=scope, **how)

    async def num_stored(self) -> int:
        """Return how many messages are stored."""
        return (await self.store.count_stored()).num_messages


@asynccontextmanager
async def open_tiny_bot(
    model: Path | RemoteChoice,
    folder: Path,
    *,
    prompts: Mapping[str, str] = PROMPTS,
    traits: PlatformTraits = DISCORD,
    others: Mapping[str, Path | RemoteChoice] = NO_MODELS,
    room: int | None = None,
    **settings: Any,
) -> AsyncIterator[Talk]:
    """Open the real bot on the model of a folder or a server, with its database and prompt files in `folder`.

    `others` are the folders of other models by name; `room` is for how many of them there is memory (None: for all).
    """
    chosen = Settings(
        database=lay_new_database(folder / "fewshot.db"),
        prompts_dir=write_prompts(folder / "prompts", prompts),
        device="cpu",
        num_threads=1,
        **settings,
    )
    choices = [
        other if isinstance(other, RemoteChoice) else ModelChoice(name, other, "a test asks for it")
        for name, other in others.items()
    ]
    hosts = {one.name: one.host for one in choices if isinstance(one, RemoteChoice)}
    offered = tuple(
        ModelOffer(one.name, partial(open_engine, chosen, one), 1, 512, 1000, host=hosts.get(one.name, ""))
        for one in choices
    )
    offers = Offers(offered, max_bytes=len(offered) if room is None else room, default_bytes=1)
    choice = model if isinstance(model, RemoteChoice) else ModelChoice("tiny", model, "a test asks for it")
    async with open_bot(chosen, choice, traits, offers) as bot:
        yield Talk(bot, bot._services)


async def fill_disk(store: Store, *, leaves_bytes: int = 0) -> None:
    """Fill the database up so that it can grow no more, as on a full disk: SQLite reports both as SQLITE_FULL.

    A message of up to `leaves_bytes` still fits.
    """

    async def limit_pages(transaction: Transaction) -> None:
        (row,) = await transaction.execute("PRAGMA page_count")
        await transaction.execute(f"PRAGMA max_page_count = {row[0] + leaves_bytes // 1000}")

    await store._database.write(limit_pages)
    author = Author("filler", "Filler")
    for number in range(1000) if not leaves_bytes else ():
        filler = Message(f"filler{number}", Scope("terminal", "filler", "filler"), author, "x" * (1000 // (number + 1)))
        try:
            await store.add_message(filler, kind="command")
        except Unavailable:
            if number > 300:
                return


async def empty_disk(store: Store) -> None:
    """Let the database grow again."""

    async def lift_limit(transaction: Transaction) -> None:
        await transaction.execute("PRAGMA max_page_count = 1000000")

    await store._database.write(lift_limit)


Script = str | Exception | tuple[str, Exception]


class ScriptedGeneration:
    """Writes a given text in pieces, 5 characters or one of 200 parts; an exception there or after it is raised."""

    def __init__(self, script: Script, pause_s: float = 0.0, may_write: asyncio.Event | None = None) -> None:
        self._script = script
        self._pause_s = pause_s
        self._may_write = may_write
        self.timings = None
        self.part_timings = ()
        self.completions: tuple[Completion, ...] = ()
        self.is_cancelled = False
        self.num_ahead = 0
        self.notice = ""
        self.was_alone = True

    def cancel(self) -> None:
        self.is_cancelled = True

    async def __aenter__(self) -> "ScriptedGeneration":
        return self

    async def __aexit__(self, *_: object) -> None:
        self.cancel()

    async def __aiter__(self) -> AsyncIterator[Delta]:
        if isinstance(self._script, Exception):
            raise self._script
        script, error = self._script if isinstance(self._script, tuple) else (self._script, None)
        written = ""
        size = max(5, len(script) // 200)
        for start in range(0, len(script), size):
            if self.is_cancelled:
                break
            if self._pause_s:
                await asyncio.sleep(self._pause_s)
            if self._may_write is not None:
                await self._may_write.wait()
            piece = script[start : start + size]
            written += piece
            yield Delta(0, piece)
        if error:
            raise error
        self.completions = (Completion(0, written, (1,), -1.0, "cancelled" if self.is_cancelled else "length"),)


class ScriptedTools:
    """Counts each character as a token; there is no chat markup."""

    def count_tokens(self, prompts: Sequence[Prompt]) -> tuple[int, ...]:
        return tuple(len(prompt.text) for prompt in prompts)

    def render_chat(self, turns: Sequence[ChatTurn]) -> Prompt:
        return Prompt(tuple(PromptPart(f"{turn.content}\n") for turn in turns), turns=tuple(turns))


ResultT = TypeVar("ResultT")


class ScriptedEngine:
    """Writes the given texts one after another, the last one again and again; a token is a character to it.

    `read`, `params` and `how` hold what each of the `generations` was given. `pause_s` is how long each piece takes.
    With `is_held` nothing is written until `release`.
    """

    def __init__(
        self,
        scripts: Sequence[Script],
        *,
        context_length: int = 2000,
        pause_s: float = 0.0,
        name: str = "scripted",
        is_held: bool = False,
    ) -> None:
        self._may_write = asyncio.Event() if is_held else None
        self.info = ModelInfo(name, "", "cpu", "float32", context_length, 1, "none", True, False, 256)
        self.scripts = list(scripts)
        self.pause_s = pause_s
        self.read: list[Prompt] = []
        self.generations: list[ScriptedGeneration] = []
        self.params: list[SamplingParams] = []
        self.how: list[dict[str, Any]] = []

    def pinned(self) -> "ScriptedEngine":
        return self

    def generate(self, prompt: Prompt, params: SamplingParams, **how: Any) -> ScriptedGeneration:
        self.read.append(prompt)
        self.params.append(params)
        self.how.append(how)
        script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
        self.generations.append(ScriptedGeneration(script, self.pause_s, self._may_write))
        return self.generations[-1]

    def hold(self) -> None:
        """Let nothing more be written until `release`."""
        assert self._may_write is not None
        self._may_write.clear()

    def release(self) -> None:
        """Let what was held, and all that follows, be written."""
        assert self._may_write is not None
        self._may_write.set()

    def generate_batch(
        self, prompts: Sequence[Prompt], params: Sequence[SamplingParams], **how: Any
    ) -> ScriptedGeneration:
        if len(prompts) != 1:
            raise NotImplementedError
        return self.generate(prompts[0], params[0], **how)

    async def count_tokens(self, prompts: Sequence[Prompt]) -> tuple[int, ...]:
        return ScriptedTools().count_tokens(prompts)

    async def make_prompt(self, make: Callable[[PromptTools], ResultT]) -> ResultT:
        return make(ScriptedTools())

    def stats(self) -> EngineStats:
        raise ValueError("a mistake in the program")


@asynccontextmanager
async def open_scripted_bot(
    engine: ScriptedEngine,
    folder: Path,
    *,
    prompts: Mapping[str, str] = PROMPTS,
    traits: PlatformTraits = DISCORD,
    database: DatabaseUrl | None = None,
) -> AsyncIterator[Talk]:
    """Open the bot on `engine`: everything else is real. Its database is a file in `folder`, or `database`."""
    shipped = TemplateLibrary.read(write_prompts(folder / "prompts", prompts))
    settings = declare_settings(
        ["chat", "pirate"],
        models=[engine.info.name],
        retention_days=30,
        quota_per_minute=600,
        mention_pattern=traits.mention_pattern,
    )
    async with Store.open(database or lay_new_database(folder / "fewshot.db")) as store:
        templates = Templates(shipped, store)
        chat = Chat(engine, store, templates, settings, bot_name="Fewshot")
        services = Services(engine, store, templates, chat, settings, Measuring(engine, store), traits, Models(engine))
        yield Talk(Bot(services), services)

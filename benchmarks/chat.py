"""How well the bot chats: scripted conversations with it, and how often it repeats itself, breaks off or strays.

Run by `make measure-chat`; the conversations were written and committed before anything was tuned on them. Each message
has its own seed, so in float32 a run gives the same answers again.
"""

import argparse
import asyncio
import itertools
import json
import math
import os
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from benchmarks.__main__ import describe_run
from benchmarks.bench import Machine
from benchmarks.workers import Progress
from bot.core.channel_settings import declare_settings
from bot.core.chat_prompt import ChatPrompt
from bot.core.engine import Asker
from bot.core.history import Turn
from bot.core.messages import Author, Message, Scope
from bot.core.safe_text import one_line
from bot.core.statistics import wilson_interval
from bot.core.stopping import Stopper
from bot.core.templates.parsing import parse_template
from bot.core.templates.template import PromptTemplate
from bot.engine.engine import LocalEngine
from bot.engine.models.catalog import resolve_model
from bot.errors import RequestError
from bot.services.chat import Chat
from bot.services.places import load_place
from bot.services.templates import TemplateLibrary, Templates
from bot.settings import Settings
from bot.store.store import Store

CONVERSATIONS: Final = Path(__file__).with_name("conversations.txt")
SHIPPED: Final = Path(__file__).resolve().parent.parent / "prompts" / "chat.prompt"
BOT_NAME: Final = "Fewshot"
_NUM_OTHERS: Final = 2  # other questions whose mean stands for P(answer)
_PATIENCE_S: Final = 86_400.0  # a busy machine does not change what is counted
_MIN_SENTENCE_WORDS: Final = 4  # "Yes, I do." may be said twice
_SENTENCE_BREAK: Final = re.compile(r"(?<=[.!?…。！？])[\"'”’)\]*_]*\s+|\n+")
_WORD: Final = re.compile(r"[\w'’]+")
_CODE: Final = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_SENTENCE_END: Final = re.compile(r"(?:[.!?…。！？][\"'”’»)\]*_`]*|```|[^\w\s,;:(\[{\"'“‘<=+/\\-])\s*\Z")
_PROMISES_MORE: Final = re.compile(r"[,;:(\[{“‘=]\s*\Z")
_ROLES: Final = ("user", "assistant", "human", "ai", "bot", "q", "a", "question", "answer", "system", "member")


@dataclass(frozen=True, slots=True)
class Conversation:
    """A scripted conversation: its title, and its messages as pairs of a speaker and a text."""

    title: str
    messages: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer and what was found in it; `bits` is log2 of P(answer | question) / P(answer).

    `finish_reason` is "none" if the bot had no answer; `text` is "" then.
    """

    conversation: str
    question: str
    text: str
    finish_reason: str
    seed: int
    is_repeat: bool
    is_cut: bool
    has_label: bool
    bits: float

    @property
    def ignores_question(self) -> bool:
        """Say whether the answer is at least as likely after other questions."""
        return bool(self.text) and self.bits <= 0

    @property
    def num_words(self) -> int:
        """Return the number of words of the answer."""
        return len(_WORD.findall(self.text))


def read_conversations(path: Path = CONVERSATIONS) -> tuple[Conversation, ...]:
    """Read conversations: a title after `# `, then lines `Name: text`."""
    found = []
    for block in path.read_text(encoding="utf-8").strip().split("\n\n"):
        title, *lines = block.splitlines()
        messages = tuple((name, text) for name, text in (line.split(": ", 1) for line in lines))
        found.append(Conversation(title.removeprefix("# "), messages))
    return tuple(found)


def read_template(path: Path) -> PromptTemplate:
    """Read a template for chat from its file."""
    return parse_template(path.read_text(encoding="utf-8"), name="chat", source=path.name)


def is_repeat(text: str, earlier: Sequence[str]) -> bool:
    """Say whether `text`, or a sentence of it that is long enough, was said in an earlier answer, word for word.

    Lines of code may be written again.
    """
    said = {_words(answer) for answer in earlier}
    said |= {sentence for answer in earlier for sentence in _sentences(answer)}
    return bool(text) and (_words(text) in said or not said.isdisjoint(_sentences(text)))


def _sentences(text: str) -> set[tuple[str, ...]]:
    sentences = map(_words, _SENTENCE_BREAK.split(_CODE.sub("\n", text)))
    return {sentence for sentence in sentences if len(sentence) >= _MIN_SENTENCE_WORDS}


def _words(text: str) -> tuple[str, ...]:
    return tuple(_WORD.findall(text.casefold()))


def is_cut(text: str, finish_reason: str) -> bool:
    """Say whether the answer breaks off: at the limit inside a sentence, or with a sign after which more must come."""
    if not text:
        return False
    is_inside_block = text.count("```") % 2 == 1
    ended_at_limit = finish_reason == "length" and not _SENTENCE_END.search(text)
    return ended_at_limit or is_inside_block or bool(_PROMISES_MORE.search(text))


def has_label(text: str, names: Sequence[str]) -> bool:
    """Say whether the answer, a line or a sentence of it begins with a speaker's name and a colon, except in code."""
    speaker = "|".join(re.escape(name) for name in (*names, *_ROLES))
    label = rf"(?:\A|\n|[.!?…]\s)\s*[*_#>\[(\"]*(?:{speaker})[*_\])\"]*\s*:"
    return bool(re.search(label, _CODE.sub("\n", text), re.IGNORECASE))


class SeededChat(Chat):
    """The bot's chat, with a given seed for each message."""

    def __init__(self, *given: Any, seeds: Mapping[str, int], **named: Any) -> None:
        super().__init__(*given, **named)
        self._seeds = seeds

    async def prepare(self, scope: Scope, message_id: str | None = None, **how: Any) -> ChatPrompt:
        """Build the prompt as the bot does; the seed is that of the message."""
        chat_prompt = await super().prepare(scope, message_id, **how)
        return replace(chat_prompt, params=replace(chat_prompt.params, seed=self._seeds[message_id or ""]))


@dataclass(frozen=True, slots=True)
class Measurement:
    """The open bot, the conversations, and how much of them to run."""

    chat: SeededChat
    engine: LocalEngine
    store: Store
    templates: Templates
    settings: Mapping[str, Any]
    template: PromptTemplate
    everything: tuple[Conversation, ...]
    chosen: tuple[int, ...]
    num_lines: int
    progress: Progress
    answers: list[Answer]

    async def run(self) -> None:
        """Hold all conversations at once, each message after the answer to the one before."""
        await asyncio.gather(*(self._hold(number) for number in self.chosen))

    async def _hold(self, number: int) -> None:
        conversation = self.everything[number]
        scope = Scope("measuring", "measuring", conversation.title)
        names = [BOT_NAME, *dict.fromkeys(name for name, _ in conversation.messages)]
        said: list[str] = []
        for line, (name, text) in enumerate(conversation.messages[: self.num_lines]):
            message = Message(message_id(number, line), scope, Author(f"{number}{name}", name), text)
            reply, reason = await self._ask(message)
            bits = await self._bits(number, line, reply) if reply else 0.0
            self.answers.append(
                Answer(
                    conversation.title,
                    text,
                    reply,
                    reason,
                    seed_of(number, line),
                    is_repeat(reply, said),
                    is_cut(reply, reason),
                    has_label(reply, names),
                    bits,
                )
            )
            said.append(reply)
            self.progress.show(f"{len(self.answers)} of {len(self.chosen) * self.num_lines} answers")

    async def _ask(self, message: Message) -> tuple[str, str]:
        """Say `message` to the bot; return its answer and why that ended."""
        await self.store.add_message(message, kind="chat")
        place = await load_place(self.store, self.templates, self.settings, message.scope, message.author.id)
        try:
            cards = [card async for card in self.chat.reply(message, Stopper(), place)]
        except RequestError:
            return "", "none"
        return cards[-1].data["text"], cards[-1].data["finish_reason"]

    async def _bits(self, number: int, line: int, reply: str) -> float:
        """Return log2 of how much likelier `reply` is after its question than after the same line elsewhere."""
        others = [self.everything[(number + 1 + k) % len(self.everything)] for k in range(_NUM_OTHERS)]
        asker = Asker("measuring", number)
        logprobs = []
        for conversation in (self.everything[number], *others):
            name, text = conversation.messages[line]
            turn = Turn(name, is_me=False, text=text, message_ids=())
            is_markup = self.template.markup == "auto" and self.engine.info.has_chat_template
            prompt = await self.chat.render(self.template, [turn], is_markup=is_markup)
            given = reply if is_markup else f" {one_line(reply)}"
            logprobs += await self.engine.score_continuations(prompt, [given], asker=asker)
        own, *rest = logprobs
        most = max(rest)
        mean = most + math.log(sum(math.exp(logprob - most) for logprob in rest) / len(rest))
        return (own - mean) / math.log(2)


def message_id(number: int, line: int) -> str:
    """Return the id of a line of a conversation."""
    return f"{number}-{line}"


def seed_of(number: int, line: int) -> int:
    """Return the seed of the answer to a line."""
    return 1_000 * (number + 1) + 10 * line


def table(answers: Sequence[Answer]) -> Iterator[str]:
    """Yield the lines of a Markdown table: a row for each conversation, and the sum with intervals."""
    yield "| conversation | answers | repeats | cut | labels | ignore the question | no answer | words |"
    yield "|---|---|---|---|---|---|---|---|"
    titles = dict.fromkeys(answer.conversation for answer in answers)
    for title in titles:
        yield _row(title, [answer for answer in answers if answer.conversation == title])
    yield _row("**all**", answers)
    yield ""
    for name, num in counts_of(answers).items():
        share = wilson_interval(num, len(answers))
        yield f"- {name}: {share.mean:.1%} ({share.low:.1%} to {share.high:.1%})."


def _row(title: str, answers: Sequence[Answer]) -> str:
    words = sum(answer.num_words for answer in answers) / len(answers)
    counts = " | ".join(str(num) for num in counts_of(answers).values())
    return f"| {title} | {len(answers)} | {counts} | {words:.1f} |"


def count_again(path: Path) -> list[Answer]:
    """Return the answers of a file that `--json` wrote, with their faults as they are found now."""
    names = {each.title: [BOT_NAME, *dict.fromkeys(name for name, _ in each.messages)] for each in read_conversations()}
    said: dict[str, list[str]] = {title: [] for title in names}
    answers = []
    for row in json.loads(path.read_text(encoding="utf-8"))["answers"]:
        title, text = row["conversation"], row["text"]
        found = {
            "is_repeat": is_repeat(text, said[title]),
            "is_cut": is_cut(text, row["finish_reason"]),
            "has_label": has_label(text, names[title]),
        }
        answers.append(Answer(**{**row, **found}))
        said[title].append(text)
    return answers


def counts_of(answers: Sequence[Answer]) -> Mapping[str, int]:
    """Return how many answers have each fault."""
    found: Counter[str] = Counter()
    for answer in answers:
        found["repeats"] += answer.is_repeat
        found["cut"] += answer.is_cut
        found["labels"] += answer.has_label
        found["ignore the question"] += answer.ignores_question
        found["no answer"] += not answer.text
    return found


async def measure(
    model: str,
    folder: Path,
    *,
    titles: Sequence[str] = (),
    num_lines: int | None = None,
    template: PromptTemplate | None = None,
    history_length: int | None = None,
    precision: str = "float32",
) -> list[Answer]:
    """Hold the conversations (`titles`: only these; `num_lines`: only the first lines) and return all answers.

    Without a `template` it is the shipped one for chat.
    """
    everything = read_conversations()
    chosen = tuple(i for i, conversation in enumerate(everything) if not titles or conversation.title in titles)
    num_lines = num_lines or max(len(conversation.messages) for conversation in everything)
    template = template or read_template(SHIPPED)
    seeds = {message_id(i, line): seed_of(i, line) for i, line in itertools.product(chosen, range(num_lines))}
    settings = declare_settings(["chat"], retention_days=30)
    if history_length is not None:
        settings = {**settings, "history_length": replace(settings["history_length"], default=str(history_length))}
    with tempfile.TemporaryDirectory() as place:
        async with (
            Store.open(Path(place) / "measured.db") as store,
            LocalEngine.open(folder, name=model, device="cpu", precision=precision, hang_s=_PATIENCE_S) as engine,
        ):
            templates = Templates(TemplateLibrary({"chat": template}), store)
            chat = SeededChat(engine, store, templates, settings, bot_name=BOT_NAME, timeout_s=_PATIENCE_S, seeds=seeds)
            answers: list[Answer] = []
            await Measurement(
                chat,
                engine,
                store,
                templates,
                settings,
                template,
                everything,
                chosen,
                num_lines,
                Progress(),
                answers,
            ).run()
    order = {conversation.title: i for i, conversation in enumerate(everything)}
    return sorted(answers, key=lambda answer: (order[answer.conversation], answer.seed))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chat", description=__doc__)
    parser.add_argument("--model", default="smollm2-135m", help="a pulled model's name, or a folder")
    parser.add_argument("--precision", default="float32", help="of the model; only float32 repeats a run exactly")
    parser.add_argument("--conversation", action="append", help="only this one; may be repeated")
    parser.add_argument("--quick", action="store_true", help="only the first 3 lines, to see that it works")
    parser.add_argument("--template", type=Path, default=SHIPPED, help="another chat template's file")
    parser.add_argument("--history-length", type=int, help="the most messages that are read; default: as shipped")
    parser.add_argument("--json", type=Path, help="a file for all answers")
    parser.add_argument("--count-again", type=Path, metavar="FILE", help="the table of a file that --json wrote")
    chosen = parser.parse_args(arguments)
    if chosen.count_again:
        sys.stdout.write("\n".join(table(count_again(chosen.count_again))) + "\n")
        return
    choice = resolve_model(chosen.model, Settings.from_env().models_dir)
    facts = describe_run(Machine("cpu", os.cpu_count() or 1), is_quick=chosen.quick)
    name = Path(choice.name).name
    started = time.perf_counter()
    answers = asyncio.run(
        measure(
            name,
            choice.folder,
            titles=chosen.conversation or (),
            num_lines=3 if chosen.quick else None,
            template=read_template(chosen.template),
            history_length=chosen.history_length,
            precision=chosen.precision,
        )
    )
    sys.stdout.write(
        f"{facts['machine']}, {facts['date']}, commit {facts['commit']}: `make measure-chat`, {name} in"
        f" {chosen.precision}, {len(answers)} answers in {time.perf_counter() - started:.0f} s. Intervals are"
        " Wilson's.\n\n" + "\n".join(table(answers)) + "\n"
    )
    if chosen.json:
        rows = [asdict(answer) for answer in answers]
        chosen.json.write_text(json.dumps({**facts, "model": name, "answers": rows}, ensure_ascii=False, indent=1))


if __name__ == "__main__":
    main()

"""The terminal for people: keys in, screen out, in one process with a tiny model."""

import asyncio
import io
import os
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pyte
import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.data_structures import Size
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.output.vt100 import Vt100_Output

from bot.__main__ import open_bot
from bot.commands.bot import Bot
from bot.engine.models.catalog import ModelChoice
from bot.platforms.terminal.conversation import Conversation
from bot.platforms.terminal.interactive import run_interactive
from bot.platforms.terminal.traits import TERMINAL
from bot.settings import Settings
from tests import tiny_models
from tests.bots import empty_disk, fill_disk

TAB = "\t"
ROWS, COLUMNS = 40, 100


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.make_tiny_gpt2(tmp_path_factory.mktemp("model"), context_length=512)


class Terminal(io.TextIOBase):
    """A screen of 40 rows that shows what is written to it as a real terminal would."""

    def __init__(self, keyboard: PipeInput) -> None:
        self.changed = asyncio.Event()
        self.written = ""
        self._screen = pyte.HistoryScreen(COLUMNS, ROWS, history=1000)
        self._screen.set_mode(pyte.modes.LNM)
        # Asked where the cursor is, a terminal answers as if somebody had typed it.
        self._screen.write_process_input = keyboard.send_text
        self._stream = pyte.Stream(self._screen)

    def write(self, text: str) -> int:
        self.written += text
        self._stream.feed(text)
        self.changed.set()
        return len(text)

    def isatty(self) -> bool:
        return True

    @property
    def text(self) -> str:
        """Return the text on the screen."""
        return "\n".join(line.rstrip() for line in self._screen.display).rstrip()


class Person:
    """Somebody at a keyboard who sees a screen."""

    def __init__(self, keyboard: PipeInput, terminal: Terminal) -> None:
        self._keyboard = keyboard
        self.terminal = terminal

    def type(self, keys: str) -> None:
        self._keyboard.send_text(keys)

    async def see(self, pattern: str, timeout_s: float = 60.0) -> str:
        """Wait until the regular expression `pattern` is on the screen; return the screen."""
        try:
            async with asyncio.timeout(timeout_s):
                while not re.search(pattern, self.terminal.text, re.MULTILINE):
                    self.terminal.changed.clear()
                    await self.terminal.changed.wait()
        except TimeoutError:
            pytest.fail(f"{pattern!r} never came; the screen is:\n{self.terminal.text}")
        return self.terminal.text

    async def see_prompt(self) -> str:
        """Wait for an empty line to type on."""
        return await self.see(r"^ada>\s*\Z")


@asynccontextmanager
async def open_conversation(folder: Path, model: Path) -> AsyncIterator[Conversation]:
    settings = Settings(database=folder / "fewshot.db", num_threads=1)
    async with open_bot(settings, ModelChoice("tiny", model, "a test"), TERMINAL) as bot:
        yield Conversation.of(bot, server="local", channel="here", name="ada", is_moderator=True)


@asynccontextmanager
async def sit_down(
    folder: Path, model: Path, *, editor: str = ""
) -> AsyncIterator[tuple[Person, asyncio.Task[int], Bot]]:
    """Open the terminal; yield the person before it and the running program."""
    size = Size(rows=ROWS, columns=COLUMNS)
    with create_pipe_input() as keyboard:
        terminal = Terminal(keyboard)
        output = Vt100_Output(terminal, lambda: size, term="xterm")
        with create_app_session(input=keyboard, output=output):
            async with open_conversation(folder, model) as conversation:
                program = asyncio.create_task(run_interactive(conversation, folder / "typed_lines", editor=editor))
                person = Person(keyboard, terminal)
                await person.see_prompt()
                try:
                    yield person, program, conversation.bot
                finally:
                    program.cancel()
                    await asyncio.wait([program])


async def test_a_line_is_answered_and_ctrl_d_leaves_with_status_0(tmp_path: Path, model: Path) -> None:
    async with sit_down(tmp_path, model) as (person, program, _):
        person.type("!prompt list\r")
        await person.see("^sentiment ")
        await person.see_prompt()
        person.type("\x04")
        assert await asyncio.wait_for(program, 20) == 0


async def test_tab_shows_continuations_more_with_each_tab_and_a_number_inserts_one(tmp_path: Path, model: Path) -> None:
    async with sit_down(tmp_path, model) as (person, _, bot):
        person.type("!next Once upon a" + TAB)
        first = options_on(await person.see("a number inserts one"))
        assert 1 <= len(first) <= 3
        person.type(TAB)
        longer = options_on(await person.see("^5 …"))
        assert len(longer) == 5
        assert max(map(len, longer)) > max(map(len, first))
        expected = await bot.suggest("Once upon a", num=5, max_new_tokens=16, seed=1)
        person.type("2")
        screen = await person.see(r"^ada> !next Once upon a(?!\s*$)")
        assert "inserts one" not in screen
        person.type("\r")
        shown = await person.see("the model expects:")
        assert expected[1].split()[-1] in re.sub(r"\s", "", shown)


def options_on(screen: str) -> list[str]:
    """Return the continuations that the screen offers."""
    return re.findall(r"^\d …(.*)$", screen, re.MULTILINE)


async def test_digits_are_digits_without_continuations(tmp_path: Path, model: Path) -> None:
    async with sit_down(tmp_path, model) as (person, _, _bot):
        person.type("!next 1 2 3\r")
        await person.see("After “1 2 3” the model expects")


async def test_tab_completes_the_name_of_a_command(tmp_path: Path, model: Path) -> None:
    async with sit_down(tmp_path, model) as (person, _, _bot):
        person.type("!perp" + TAB + "a small cat\r")
        await person.see("bits per byte")


async def test_escape_closes_the_continuations(tmp_path: Path, model: Path) -> None:
    async with sit_down(tmp_path, model) as (person, _, _bot):
        person.type("!next Once" + TAB)
        await person.see("a number inserts one")
        person.type("\x1b")
        await asyncio.sleep(0.7)  # an escape alone is told from an escape sequence by what does not follow
        assert "inserts one" not in person.terminal.text
        person.type("7\r")
        await person.see("After “Once7” the model expects")


async def test_further_typing_closes_the_continuations(tmp_path: Path, model: Path) -> None:
    async with sit_down(tmp_path, model) as (person, _, _bot):
        person.type("!next Once" + TAB)
        await person.see("a number inserts one")
        person.type("x2\r")
        await person.see("After “Oncex2” the model expects")


async def test_ctrl_c_stops_the_answer_and_not_the_program(tmp_path: Path, model: Path) -> None:
    async with sit_down(tmp_path, model) as (person, program, _):
        person.type("!complete --max_new_tokens 450 --n 2 --temperature 1.5 --seed 1 Once upon a time\r")
        await person.see(r"^2  Once upon a time")
        os.kill(os.getpid(), signal.SIGINT)
        await person.see(r"^type 1 · 2 · more")
        await person.see_prompt()
        assert not program.done()
        person.type("!stats\r")
        await person.see("tokens/s")


async def test_a_growing_card_is_redrawn_in_place(tmp_path: Path, model: Path) -> None:
    async with sit_down(tmp_path, model) as (person, _, _bot):
        person.type("!complete --max_new_tokens 12 --seed 5 Once upon a time\r")
        await person.see("^type 1")
        screen = await person.see_prompt()
        assert [line[:3] for line in screen.splitlines() if "  Once upon a time" in line] == ["1  ", "2  ", "3  "]


async def test_an_answer_in_chat_is_shown_once(tmp_path: Path, model: Path) -> None:
    async with sit_down(tmp_path, model) as (person, _, _bot):
        person.type("hello there\r")
        await person.see(r"hello there\n(?!…)(.+\n)+ada>\s*\Z")
        person.type("!context\r")
        await person.see("reserved for the answer")
        assert person.terminal.text.count("hello there") == 1


async def test_what_was_typed_is_remembered_readable_by_its_owner_only(tmp_path: Path, model: Path) -> None:
    async with sit_down(tmp_path, model) as (person, _, _bot):
        person.type("!prompt list\r")
        await person.see("^sentiment ")
        await person.see_prompt()
    history = tmp_path / "typed_lines"
    assert "!prompt list" in history.read_text()
    assert history.stat().st_mode & 0o077 == 0


def write_editor(folder: Path, *commands: str) -> str:
    """Return an editor that does to the file what the shell commands say; $1 is the file."""
    path = folder / "my editor"
    path.write_text("#!/bin/sh\n" + "\n".join(commands) + "\n", encoding="utf-8")
    path.chmod(0o700)
    return f'sh "{path}"'


async def test_a_template_is_edited_in_the_persons_editor_and_a_mistake_loses_nothing(
    tmp_path: Path, model: Path
) -> None:
    seen = tmp_path / "seen.prompt"
    editor = write_editor(tmp_path, f'cp "$1" "{seen}"', f'cp "{tmp_path}/next.prompt" "$1"')
    wrong = '+++\ndescription = "Greets."\n+++\nGreetings.\n\n$examples\n$inptu =\n'
    async with sit_down(tmp_path, model, editor=editor) as (person, _, _bot):
        (tmp_path / "next.prompt").write_text(wrong, encoding="utf-8")
        person.type("!prompt new greeting\r")
        await person.see("did you mean \\$input")
        await person.see_prompt()
        assert "$examples" in seen.read_text(encoding="utf-8"), "a new file shows how it is written"
        (tmp_path / "next.prompt").write_text(wrong.replace("inptu", "input"), encoding="utf-8")
        person.type("!prompt edit greeting\r")
        await person.see("left for a message")
        first, rest = seen.read_text(encoding="utf-8").split("\n", 1)
        assert first.startswith("# Line 7 of the file: There is no slot $inptu")
        assert rest == wrong
        await person.see_prompt()
        person.type("!prompt edit greeting\r")
        await person.see("Nothing was changed")
        await person.see_prompt()
        person.type("!prompt publish greeting\r")
        await person.see("Published greeting as version 1")


@pytest.mark.parametrize(
    ("editor", "sentence"),
    [
        ("", "there is none here"),
        ("no-such-editor-anywhere", "can't be started"),
        ("false", "ended with status 1"),
        ("sh -c ':>\"$0\"'", "Nothing was changed"),
    ],
)
async def test_an_unusable_editor_is_one_sentence(tmp_path: Path, model: Path, editor: str, sentence: str) -> None:
    async with sit_down(tmp_path, model, editor=editor) as (person, _, _bot):
        person.type("!prompt edit story\r")
        await person.see(sentence)
        await person.see_prompt()


async def test_an_edited_text_is_saved_in_a_file_if_the_store_fails(tmp_path: Path, model: Path) -> None:
    started, full = tmp_path / "started", tmp_path / "full"
    waiting = f'touch "{started}"; while [ ! -e "{full}" ]; do sleep 0.05; done'
    editor = write_editor(tmp_path, waiting, "head -c 60000 /dev/zero | tr '\\0' x > \"$1\"")
    async with sit_down(tmp_path, model, editor=editor) as (person, _, bot):
        person.type("!prompt edit story\r")
        async with asyncio.timeout(30):
            while not started.exists():
                await asyncio.sleep(0.02)
        await fill_disk(bot.store)
        full.touch()
        screen = await person.see(r"saved in \S+\.prompt")
        await empty_disk(bot.store)
    found = re.search(r"saved in (\S+\.prompt)", screen)
    assert found is not None
    assert read_and_remove(Path(found[1])) == "x" * 60_000


def read_and_remove(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    path.unlink()
    return text

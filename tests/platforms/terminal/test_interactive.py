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

from bot.commands.bot import Bot
from bot.core.cards import Card, Text
from bot.core.messages import Author, Message, Scope
from bot.engine.models.catalog import ModelChoice
from bot.platforms.terminal.answer_view import AnswerView
from bot.platforms.terminal.conversation import Conversation
from bot.platforms.terminal.interactive import run_interactive
from bot.platforms.terminal.traits import TERMINAL
from bot.program.opening import open_bot
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

    def __init__(self, keyboard: PipeInput, columns: int = COLUMNS) -> None:
        self.changed = asyncio.Event()
        self.written = ""
        self._screen = pyte.HistoryScreen(columns, ROWS, history=1000)
        self._screen.set_mode(pyte.modes.LNM)
        # Asked where the cursor is, a terminal answers as if somebody had typed it.
        self._screen.write_process_input = keyboard.send_text
        self._stream = pyte.Stream(self._screen)

    def write(self, text: str) -> int:
        self.written += text
        self._stream.feed(text)
        self.changed.set()
        return len(text)

    @property
    def size(self) -> Size:
        """Return how many rows and columns the screen has."""
        return Size(rows=self._screen.lines, columns=self._screen.columns)

    def resize(self, columns: int) -> None:
        """Make the screen as wide as that; what is on it is cut, as in terminals that don't wrap it again."""
        self._screen.resize(columns=columns)

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

    async def see(self, pattern: str, timeout_s: float = 60.0, *, without: str | None = None) -> str:
        """Wait until the regular expression `pattern` is on the screen, and `without` is not; return the screen."""
        try:
            async with asyncio.timeout(timeout_s):
                while not re.search(pattern, self.terminal.text, re.MULTILINE) or (
                    without and without in self.terminal.text
                ):
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
    folder: Path, model: Path, *, editor: str = "", columns: int = COLUMNS
) -> AsyncIterator[tuple[Person, asyncio.Task[int], Bot]]:
    """Open the terminal; yield the person before it and the running program."""
    with create_pipe_input() as keyboard:
        terminal = Terminal(keyboard, columns)
        output = Vt100_Output(terminal, lambda: terminal.size, term="xterm")
        with create_app_session(input=keyboard, output=output):
            async with open_conversation(folder, model) as conversation:
                program = asyncio.create_task(run_interactive(conversation, editor=editor))
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


@pytest.mark.parametrize("line", ["exit", "!quit", "/exit", " quit "])
async def test_a_word_leaves_too(tmp_path: Path, model: Path, line: str) -> None:
    async with sit_down(tmp_path, model) as (person, program, _):
        person.type(f"{line}\r")
        assert await program == 0


async def test_each_tab_adds_continuations_and_a_number_inserts_one(tmp_path: Path, model: Path) -> None:
    async with sit_down(tmp_path, model) as (person, _, bot):
        person.type("!next Once upon a" + TAB)
        first = options_on(await person.see("a number inserts one"))
        assert 1 <= len(first) <= 3
        person.type(TAB)
        more = options_on(await person.see("^6 …"))
        assert more[: len(first)] == first
        assert max(map(len, more)) > max(map(len, first))
        typed = Message("typed", Scope("terminal", "local", "general"), Author("ada", "ada"), "!next Once upon a")
        expected = await bot.suggest(typed, "Once upon a", num=3, max_new_tokens=6, seed=0)
        person.type("2")
        await person.see(r"^ada> !next Once upon a(?!\s*$)", without="inserts one")
        person.type("\r")
        shown = await person.see("the model ")
        assert expected[1].split()[-1] in re.sub(r"\s", "", shown)


def options_on(screen: str) -> list[str]:
    """Return the continuations that the screen offers."""
    return re.findall(r"^\d …(.*)$", screen, re.MULTILINE)


async def test_digits_are_digits_without_continuations(tmp_path: Path, model: Path) -> None:
    async with sit_down(tmp_path, model) as (person, _, _bot):
        person.type("!next 1 2 3\r")
        await person.see("After “1 2 3” the model ")


async def test_tab_completes_the_name_of_a_command(tmp_path: Path, model: Path) -> None:
    async with sit_down(tmp_path, model) as (person, _, _bot):
        person.type("!perp" + TAB + "a small cat\r")
        await person.see("bits per byte")


async def test_keys_after_tab_follow_what_it_completed(tmp_path: Path, model: Path) -> None:
    async with sit_down(tmp_path, model) as (person, _, _bot):
        person.type("!pro" + TAB + "sh" + TAB + "sentim" + TAB + "-" + TAB + "\r")
        await person.see("^sentiment-zero: ")
        await person.see_prompt()
        assert person.terminal.text.count("ada> !prompt show sentiment-zero") == 1


async def test_tab_lists_what_may_follow_and_each_further_tab_takes_the_next(tmp_path: Path, model: Path) -> None:
    async with sit_down(tmp_path, model) as (person, _, _bot):
        person.type("!complete --t" + TAB)
        screen = await person.see(r"top_p +draw from the likeliest tokens")
        assert re.search(r"temperature +0 always takes", screen)
        person.type(TAB)
        await person.see(r"ada> !complete --temperature$")
        person.type(TAB)
        await person.see(r"ada> !complete --top_k$")
        person.type("\x1b")
        await person.see(r"ada> !complete --t$", without="draw from")
        person.type("emp" + TAB + TAB)
        await person.see("temperature takes a number from 0 to 2: 0 always takes the likeliest token")


async def test_tab_completes_settings_presets_and_files(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my texts").mkdir()
    (tmp_path / "my texts" / "poem.txt").write_text("The quick brown fox", encoding="utf-8")
    async with sit_down(tmp_path, model) as (person, _, _bot):
        person.type("!settings pre" + TAB + "car" + TAB + "\r")
        await person.see(r"^preset +careful")
        await person.see_prompt()
        person.type("!perplexity --f" + TAB + "my" + TAB + TAB + "\r")
        screen = await person.see("bits per byte")
        assert '!perplexity --file "my texts/poem.txt"' in screen


async def test_an_earlier_line_and_a_first_continuation_are_shown_in_grey_and_the_right_arrow_takes_them(
    tmp_path: Path, model: Path
) -> None:
    right = "\x1b[C"
    async with sit_down(tmp_path, model) as (person, _, _bot):
        person.type("!next Once upon\r")
        await person.see("all other words")
        await person.see_prompt()
        person.type("!n")
        await person.see(r"^ada> !next Once upon\Z")
        person.type(right + " a" + TAB)
        (first, *_) = options_on(await person.see("a number inserts one"))
        person.type(right)
        await person.see(rf"^ada> !next Once upon a{re.escape(first.rstrip())}", without="inserts one")


async def test_escape_closes_the_continuations(tmp_path: Path, model: Path) -> None:
    async with sit_down(tmp_path, model) as (person, _, _bot):
        person.type("!next Once" + TAB)
        await person.see("a number inserts one")
        person.type("\x1b")
        await asyncio.sleep(0.7)  # an escape alone is told from an escape sequence by what does not follow
        assert "inserts one" not in person.terminal.text
        person.type("7\r")
        await person.see("After “Once7” the model ")


async def test_further_typing_closes_the_continuations(tmp_path: Path, model: Path) -> None:
    async with sit_down(tmp_path, model) as (person, _, _bot):
        person.type("!next Once" + TAB)
        await person.see("a number inserts one")
        person.type("x2\r")
        await person.see("After “Oncex2” the model ")


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


async def test_the_tree_of_a_completion_is_walked_by_typing_what_is_listed(tmp_path: Path, model: Path) -> None:
    async with sit_down(tmp_path, model) as (person, _, _bot):
        person.type("!complete --max_new_tokens 12 --seed 5 Once upon a time\r")
        await person.see("^type 1")
        await person.see_prompt()
        person.type("branches\r")
        await person.see("^type back · txt · json$")
        await person.see("^1 → Once upon a time$")
        await person.see_prompt()
        person.type("2\r")
        await person.see("^type go · prune · back$")
        await person.see_prompt()
        person.type("go\r")
        await person.see("^type 1.* · undo · again.* · branches$")


async def test_an_answer_in_chat_is_shown_once(tmp_path: Path, model: Path) -> None:
    async with sit_down(tmp_path, model) as (person, _, _bot):
        person.type("hello there\r")
        await person.see(r"hello there\n(?!…)(.+\n)+ada>\s*\Z")
        person.type("!context\r")
        await person.see("reserved for the answer")
        assert person.terminal.text.count("hello there") == 1


@pytest.mark.parametrize("columns", [40, 80, 200])
async def test_tables_and_prose_fit_the_width(tmp_path: Path, model: Path, columns: int) -> None:
    async with sit_down(tmp_path, model, columns=columns) as (person, _, _bot):
        person.type("!help forget\r")
        await person.see("^!forget$")
        await person.see_prompt()
        person.type("!settings\r")
        await person.see("kept$")
        screen = await person.see_prompt()
        assert "mean\ning" not in screen
        words = set(re.findall(r"\w+", screen))
        assert {"chat_template", "history_length", "retention_days", "preset", "messages"} <= words


def test_after_a_change_of_the_width_an_answer_that_grows_is_shown_anew_and_nothing_is_erased() -> None:
    def growing(num_words: int) -> Card:
        text = " ".join(f"word{i}" for i in range(num_words))
        return Card(blocks=(Text(text, is_model_text=True),), is_final=num_words == 20)

    with create_pipe_input() as keyboard:
        terminal = Terminal(keyboard)
        output = Vt100_Output(terminal, lambda: terminal.size, term="xterm")
        with create_app_session(input=keyboard, output=output):
            AnswerView().show(Card(blocks=(Text("above"),)))
            view = AnswerView()
            view.wait()
            view.show(growing(8))
            view.show(growing(9))
            assert terminal.text.splitlines() == ["above", " ".join(f"word{i}" for i in range(9))]
            terminal.resize(40)
            view.show(growing(12))
            view.show(growing(20))
    lines = terminal.text.splitlines()
    assert lines[0] == "above"
    assert " ".join(lines[2:]) == " ".join(f"word{i}" for i in range(20))
    assert max(map(len, lines)) <= 40


UP = "\x1b[A"


def files_with(folder: Path, word: bytes) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and word in path.read_bytes()]


async def test_the_arrow_key_brings_back_lines_of_this_run_and_of_earlier_ones(tmp_path: Path, model: Path) -> None:
    async with sit_down(tmp_path, model) as (person, _, _bot):
        person.type("!prompt list\r")
        await person.see("^sentiment ")
        await person.see_prompt()
    async with sit_down(tmp_path, model) as (person, _, _bot):
        person.type("!nonsense\r")
        await person.see("There is no command 'nonsense'")
        await person.see_prompt()
        person.type(UP)
        await person.see(r"^ada> !nonsense\Z")
        person.type(UP)
        await person.see(r"^ada> !prompt list\Z")


async def test_erased_lines_are_brought_back_by_no_key_and_are_in_no_file(tmp_path: Path, model: Path) -> None:
    async with sit_down(tmp_path, model) as (person, _, _bot):
        for line, shows in (
            ("!next kanarieearly", "all other words"),
            ("!privacy --do forget", "confirm, type yes"),
            ("yes", "Permanently erased"),
            ("!privacy --read off", "no longer reads or stores"),
            ("!next kanarieunread", "After “kanarieunread”"),
        ):
            person.type(f"{line}\r")
            await person.see(shows)
            await person.see_prompt()
        person.type(UP * 9)
        await person.see(r"^ada> !privacy --read off\Z")
        person.type("\x15!next k")
        await person.see(r"^ada> !next kanarieunread\Z")  # until the end of the program
    assert files_with(tmp_path, b"kanarie") == []
    async with sit_down(tmp_path, model) as (person, _, _bot):
        person.type(UP * 9)
        await person.see(r"^ada> (yes|!privacy.*)\Z", without="kanarie")


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

"""What TAB completes before it continues a text: commands, options and their values, and files after `--file`."""

import contextlib
import os
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Final

from prompt_toolkit.auto_suggest import AutoSuggest, AutoSuggestFromHistory, Suggestion
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from bot.commands.framework.line_completion import Expected, Offer
from bot.commands.suggestions import KnownNames
from bot.errors import FewshotError
from bot.platforms.terminal.conversation import Conversation

_FILE_OPTION: Final = "--file"
_FILE: Final = re.compile(rf"""\s{_FILE_OPTION}(?:=|\s+)(?P<path>"[^"]*|'[^']*|[^\s"']*)\Z""")
# How other platforms show commands, which is typed here too.
_SLASH: Final = "/"


class LineCompleter(Completer):
    """Completes the command line before the cursor."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._known = KnownNames()

    async def refresh(self) -> None:
        """Look up the names of templates and settings; without the database the old ones stay."""
        with contextlib.suppress(FewshotError):
            self._known = await self._conversation.bot.known_names(self._conversation.scope)

    def expected(self, text: str) -> Expected:
        """Return what may stand at the end of the line `text`, of which all is free text if it is no command."""
        bot = self._conversation.bot
        prefix = next((one for one in (bot.command_prefix, _SLASH) if text.startswith(one)), None)
        if prefix is None:
            return Expected(0, is_text=True)
        if found := _FILE.search(text):
            return Expected(found.start("path"), tuple(_files(found["path"])), "There is no such file.")
        expected = bot.expected_in(text[len(prefix) :], self._known)
        start, offers, command = expected.start + len(prefix), expected.offers, expected.command
        takes_file = expected.is_option and command is not None and (command.text == "required" or command.takes_file)
        if takes_file and _FILE_OPTION.startswith(text[start:]):
            offers = (*offers, Offer(_FILE_OPTION, "read the text from a file"))
        return replace(expected, start=start, offers=offers)

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """Yield what may stand before the cursor."""
        text = document.text_before_cursor
        expected = self.expected(text)
        for offer in expected.offers:
            yield Completion(
                as_typed(offer),
                start_position=expected.start - len(text),
                display=offer.value,
                display_meta=offer.help,
            )


class LineSuggest(AutoSuggest):
    """The rest of an earlier line or of a command's word, in grey behind the cursor: the right arrow key takes it."""

    def __init__(self, completer: LineCompleter) -> None:
        self._completer = completer
        self._history = AutoSuggestFromHistory()

    def get_suggestion(self, buffer: Buffer, document: Document) -> Suggestion | None:
        """Return the rest of the line or word that is being typed."""
        if earlier := self._history.get_suggestion(buffer, document):
            return earlier
        expected = self._completer.expected(document.text)
        typed = document.text[expected.start :]
        for offer in expected.offers if typed else ():
            if offer.value.startswith(typed) and offer.value != typed:
                return Suggestion(offer.value[len(typed) :])
        return None


def as_typed(offer: Offer) -> str:
    """Return the offer with the space that ends it; a folder's path goes on."""
    return offer.value if offer.value.endswith(os.sep) else f"{offer.value} "


def _files(typed: str) -> Iterable[Offer]:
    """Yield the files and folders whose path starts like `typed`, which may begin with a quotation mark.

    A path with spaces is quoted. Hidden files are named only to those who type the dot.
    """
    quote = typed[:1] if typed[:1] in ("'", '"') else ""
    folder, name = os.path.split(typed.removeprefix(quote))
    try:
        entries = sorted(os.scandir(Path(folder or ".").expanduser()), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        if not entry.name.startswith(name) or (entry.name.startswith(".") and not name):
            continue
        path = str(Path(folder, entry.name))
        mark = quote or ('"' if " " in path else "")
        is_folder = entry.is_dir()
        # A folder's path goes on, so its quotation mark stays open.
        yield Offer(f"{mark}{path}{os.sep}" if is_folder else f"{mark}{path}{mark}", "folder" if is_folder else "")

"""The templates of every server: the built-in ones, and the server's own, which may replace them."""

import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Final

from bot.core.mentions import mention
from bot.core.messages import Scope
from bot.core.suggesting import suggest
from bot.core.templates.parsing import parse_template
from bot.core.templates.template import PromptTemplate
from bot.core.wording import quote
from bot.errors import RequestError, SetupError, TemplateError
from bot.store.store import Store
from bot.store.templates import StoredTemplate

SUFFIX: Final = ".prompt"
SHIPPED: Final = 0  # the number of a built-in template
_MAX_SERVERS_KEPT: Final = 256
_MAX_NAMED: Final = 20
# Only chat templates have this line, and all of them have it.
_HISTORY_LINE: Final = re.compile(r"^[^\S\n]*\$(?:history|\{history\})[^\S\n]*$", re.MULTILINE)


class TemplateLibrary:
    """The built-in templates by name: the files of one folder, all checked at start."""

    def __init__(self, templates: Mapping[str, PromptTemplate]) -> None:
        self._templates = dict(sorted(templates.items()))

    @classmethod
    def read(cls, folder: Path) -> "TemplateLibrary":
        """Read all prompt files of `folder`.

        Raises TemplateError for the first invalid file, SetupError if there is none or one can't be read.
        """
        templates = {}
        try:
            paths = sorted(folder.glob(f"*{SUFFIX}"))
            for path in paths:
                try:
                    text = path.read_bytes().decode()
                except UnicodeDecodeError as e:
                    line = path.read_bytes()[: e.start].count(b"\n") + 1
                    raise TemplateError("This is not UTF-8 text.", source=path.name, line=line) from e
                templates[path.stem] = parse_template(text, name=path.stem, source=path.name)
        except OSError as e:
            raise SetupError(f"The prompt files in {folder} can't be read: {e.strerror or e}.") from e
        if not templates:
            raise SetupError(f"There is no {SUFFIX} file in {folder}. Set PROMPTS_DIR to the folder of the templates.")
        if not any(template.kind == "chat" for template in templates.values()):
            raise SetupError(f"No template in {folder} is of kind chat. Add one, so that the bot can chat.")
        return cls(templates)

    def __iter__(self) -> Iterator[PromptTemplate]:
        return iter(self._templates.values())

    @property
    def names(self) -> tuple[str, ...]:
        """Return all names in order."""
        return tuple(self._templates)

    def get(self, name: str) -> PromptTemplate:
        """Return the template `name`. Raises RequestError that suggests the nearest name."""
        if name in self._templates:
            return self._templates[name]
        raise _unknown_template(name, self.names)


def _unknown_template(name: str, names: Sequence[str]) -> RequestError:
    there_are = f"choose from {', '.join(names)}." if len(names) <= _MAX_NAMED else f"see {mention('prompt list')}."
    return RequestError(f"There is no template {quote(name)}; {suggest(name, names, there_are)}")


class ServerLibrary:
    """The current templates of one server: its own, and the shipped ones that it has not replaced.

    Its own are parsed when first used; those unchanged since `before` are not parsed again.
    """

    def __init__(
        self, shipped: TemplateLibrary, own: Sequence[StoredTemplate], before: "ServerLibrary | None" = None
    ) -> None:
        self._shipped = shipped
        self._own = {one.name: one for one in own}
        self._parsed: dict[str, PromptTemplate] = {}
        if before is not None:
            for name, template in list(before._parsed.items()):
                if name in self._own and self._own[name].source_text == before._own[name].source_text:
                    self._parsed[name] = template
        self.names: tuple[str, ...] = tuple(sorted({*shipped.names, *self._own}))

    def __iter__(self) -> Iterator[PromptTemplate]:
        return (self.get(name) for name in self.names)

    def get(self, name: str) -> PromptTemplate:
        """Return the template `name`. Raises RequestError that suggests the nearest name."""
        if name in self._parsed:
            return self._parsed[name]
        own = self._own.get(name)
        if own is not None and own.source_text is not None:
            self._parsed[name] = parse_template(own.source_text, name=name, source=name)
            return self._parsed[name]
        if name in self._shipped.names:
            return self._shipped.get(name)
        raise _unknown_template(name, self.names)

    @cached_property
    def chat_names(self) -> tuple[str, ...]:
        """Return the names of the chat templates: at least one, since a replaced template keeps its kind."""
        # Checked before parsing, since few of hundreds are for chat.
        likely = (
            name
            for name in self.names
            if name not in self._own or _HISTORY_LINE.search(self._own[name].source_text or "")
        )
        return tuple(name for name in likely if self.get(name).kind == "chat")

    def own(self, name: str) -> StoredTemplate | None:
        """Return the published version of the server's own template `name`, None if it has none."""
        return self._own.get(name)

    def number(self, name: str) -> int:
        """Return the number of the published version, SHIPPED for a built-in template."""
        own = self._own.get(name)
        return SHIPPED if own is None else own.number


class Templates:
    """The templates of all servers, cached until they change in the store."""

    def __init__(self, shipped: TemplateLibrary, store: Store) -> None:
        self.shipped = shipped
        self._store = store
        self._kept: OrderedDict[tuple[str, str, str], tuple[int, ServerLibrary]] = OrderedDict()

    async def of(self, scope: Scope) -> ServerLibrary:
        """Return the templates of the server of `scope`; a direct message has its own. Raises Unavailable."""
        return await self.after(scope, await self._store.latest_template_change(scope))

    async def after(self, scope: Scope, change: int) -> ServerLibrary:
        """Return the templates after the last change, whose number is `change`. Raises Unavailable."""
        key = (scope.platform, scope.server, "" if scope.has_server else scope.channel)
        kept = self._kept.get(key)
        if kept is not None and kept[0] == change:
            self._kept.move_to_end(key)
            return kept[1]
        own = await self._store.published_templates(scope) if change else []
        templates = ServerLibrary(self.shipped, own, kept[1] if kept else None)
        self._kept[key] = (change, templates)
        self._kept.move_to_end(key)
        while len(self._kept) > _MAX_SERVERS_KEPT:
            self._kept.popitem(last=False)
        return templates

    async def get(self, scope: Scope, name: str) -> PromptTemplate:
        """Return the template `name` of the server of `scope`. Raises RequestError that suggests the nearest name."""
        return (await self.of(scope)).get(name)

"""The templates that come with the bot: the files of one folder, all checked when it starts."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from bot.core.suggesting import nearest
from bot.core.template import PromptTemplate, parse_template
from bot.errors import RequestError, SetupError, TemplateError

SUFFIX = ".prompt"


class TemplateLibrary:
    """Templates by name."""

    def __init__(self, templates: Mapping[str, PromptTemplate]) -> None:
        self._templates = dict(sorted(templates.items()))

    @classmethod
    def read(cls, folder: Path) -> "TemplateLibrary":
        """Read all prompt files of `folder`.

        Raises TemplateError for the first file that breaks a rule, SetupError when there is none or it can't be read.
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
            raise SetupError(f"There is no {SUFFIX} file in {folder}; PROMPTS_DIR names the folder.")
        if not any(template.kind == "chat" for template in templates.values()):
            raise SetupError(f"No template in {folder} is of kind chat; without one the bot can't talk.")
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
        suggestion = nearest(name, self.names)
        hint = f"did you mean {suggestion}?" if suggestion else f"there are {', '.join(self.names)}."
        raise RequestError(f"There is no template {name[:32]!r}; {hint}")

"""Commands about the versions of a template: history, diff, rollback, export."""

from collections.abc import Sequence
from typing import Any, Final

from bot.commands.context import Services
from bot.commands.framework.command import Cards, Command, Request
from bot.commands.templates.drafts import check_editor, check_template, parsed, published_template, when, who
from bot.commands.templates.publishing import checked_reason, own_draft
from bot.commands.templates.score_cards import kept_score_line
from bot.core.cards import Card, Table, Text, TextFile, Verbatim
from bot.core.mentions import mention
from bot.core.messages import Author, Scope
from bot.core.templates.diff import diff_templates
from bot.core.templates.template import BUILT_IN, PromptTemplate
from bot.errors import RequestError
from bot.store.templates import StoredTemplate

MAX_SHOWN: Final = 20


_SAME: Final = "They are the same."


async def answer_history(request: Request) -> Cards:
    """List the versions of a template, newest first."""
    services, scope, name = request.services, request.message.scope, request.arguments["NAME"]
    versions = await services.store.template_history(scope, name)
    if not versions:
        template = await services.templates.get(scope, name)
        sentence = _unchanged(template.name)
        yield Card(blocks=(Text(sentence),), data={"text": sentence, "template": name, "versions": []})
        return
    model = services.measuring.fingerprint
    rows = tuple(_history_row(version, model) for version in versions)
    columns = ("version", "what", "by", "when", "reason", "score")
    num_shown = MAX_SHOWN if services.traits.has_files else len(rows)
    file = None
    blocks: tuple[Text | Table, ...] = (Text(f"History of {name}"), Table(columns, rows[:num_shown]))
    if len(rows) > num_shown:
        blocks = (*blocks, Text(f"The file has {len(rows) - num_shown} older ones.", is_quiet=True))
        lines = ("\t".join(row) for row in (columns, *rows))
        file = TextFile(f"{name}-history.txt", "\n".join(lines) + "\n")
    yield Card(
        blocks=blocks,
        file=file,
        data={"template": name, "versions": [version_data(version, model) for version in versions]},
    )


def version_data(version: StoredTemplate, model: str) -> dict[str, Any]:
    """Return one line of a template's history as data for scripts; a score of another model than `model` is stale."""
    return {
        "number": version.number,
        "action": version.action,
        "author": version.author_name,
        "reason": version.reason,
        "parent": version.parent_number,
        "version": version.version,
        "score": dict(version.score) if version.score else None,
        "is_stale": version.score is not None and version.score_model != model,
        "at": version.created_at_utc.isoformat(),
    }


def _version_word(typed: str) -> str:
    """Return the word for a version in lower case; the one of the earlier command lines is understood."""
    word = typed.casefold()
    return BUILT_IN if word in ("shipped", "builtin") else word


def _unchanged(name: str) -> str:
    return f"{name} is a built-in template, and nobody has changed it here."


def _history_row(version: StoredTemplate, model: str) -> tuple[str, ...]:
    by = "" if version.action == "forget" else who(version)
    reason = "a member's words were erased" if version.action == "forget" else version.reason
    score = kept_score_line(version.score, version.score_model, model) if version.score else ""
    return str(version.number), version.action, by, when(version), reason, score


async def _version(services: Services, scope: Scope, author: Author, name: str, word: str) -> PromptTemplate:
    """Return a version of a template: a number, BUILT_IN (or 0), or "draft", the asker's own."""
    if word == "draft":
        draft = await own_draft(services, scope, author, name)
        template = parsed(draft.source_text, name)
        if template is None:
            raise RequestError(f"Your draft of {name} is not a valid template yet.")
        return template
    if word in (BUILT_IN, "0"):
        if name not in services.templates.shipped.names:
            raise RequestError(f"{name} has no built-in version.")
        return services.templates.shipped.get(name)
    return await _numbered(services, scope, name, word)


async def _numbered(services: Services, scope: Scope, name: str, word: str) -> PromptTemplate:
    if not word.isascii() or not word.isdigit():
        raise RequestError(f"A version is a number from {mention(f'prompt history {name}')}, {BUILT_IN}, or draft.")
    number = int(word[:9])
    version = await services.store.get_template_version(scope, name, number)
    if version is None:
        raise RequestError(
            f"There is no version {number} of {name}. List them with {mention(f'prompt history {name}')}."
        )
    if version.source_text is None:
        raise RequestError(f"Version {number} of {name} has no text: it records that the template was deleted.")
    template = parsed(version.source_text, name)
    if template is None:
        raise RequestError(f"Version {number} of {name} is not valid any more: it breaks a newer rule.")
    return template


async def answer_diff(request: Request) -> Cards:
    """Show the changes between two versions: those given, else the published one and the one before."""
    services, scope, author = request.services, request.message.scope, request.message.author
    name = request.arguments["NAME"]
    words = [_version_word(request.arguments[one]) for one in ("A", "B") if one in request.arguments]
    diff, title, words = await diff_versions(services, scope, author, name, words)
    yield Card(
        blocks=(Text(title), Verbatim(diff) if diff else Text(_SAME)),
        data={"text": diff or _SAME, "template": name, "a": words[0], "b": words[1], "diff": diff},
        answers="private" if "draft" in words else "public",
    )


async def diff_versions(
    services: Services, scope: Scope, author: Author, name: str, words: Sequence[str]
) -> tuple[str, str, list[str]]:
    """Return the changes between two versions, a title, and the words for the two; up to two `words` name them.

    Raises RequestError if there is no such version.
    """
    words = list(words)
    if not words:
        words = await _latest_two(services, scope, name)
    elif len(words) == 1:
        published, number = await published_template(services, scope, name)
        if published is None:
            raise RequestError(f"{name} is not published. Give two versions.")
        words.append(str(number))
    old, new = [await _version(services, scope, author, name, word) for word in words]
    labels = [
        "the built-in version" if word in (BUILT_IN, "0") else f"version {word}" if word.isdigit() else word
        for word in words
    ]
    return diff_templates(old, new), f"{name}: from {labels[0]} to {labels[1]}", words


async def _latest_two(services: Services, scope: Scope, name: str) -> list[str]:
    versions = [one for one in await services.store.template_history(scope, name) if one.source_text is not None]
    if not versions:
        template = await services.templates.get(scope, name)
        raise RequestError(_unchanged(template.name))
    newest = str(versions[0].number)
    if len(versions) > 1:
        return [str(versions[1].number), newest]
    if name in services.templates.shipped.names:
        return ["0", newest]
    raise RequestError(f"There is only one version of {name}. See it with {mention(f'prompt show {name}')}.")


async def answer_rollback(request: Request) -> Cards:
    """Publish an earlier version again."""
    services, scope, author = request.services, request.message.scope, request.message.author
    name, word = request.arguments["NAME"], request.arguments["NUMBER"]
    added, sentence = await roll_back(services, scope, author, name, word, reason=request.text)
    yield Card(blocks=(Text(sentence),), data={"text": sentence, "template": name, "number": added})


async def roll_back(
    services: Services, scope: Scope, author: Author, name: str, word: str, *, reason: str
) -> tuple[int, str]:
    """Publish the version that `word` names again; return its new number and a sentence about it.

    Raises RequestError if that is no version, or what is published already.
    """
    await check_editor(services, scope, author, "prompt rollback")
    word = _version_word(word)
    if word == "draft":
        raise RequestError(f"To publish your draft, use {mention(f'prompt publish {name}')}.")
    template = await _version(services, scope, author, name, word)
    published, number = await published_template(services, scope, name)
    if published is not None and published.source_text == template.source_text:
        raise RequestError(f"That version of {name} is already published.")
    await check_template(services, template)
    added = await services.store.add_template_version(
        scope,
        name,
        action="rollback",
        author=author,
        source_text=template.source_text,
        version=template.version,
        reason=checked_reason(reason),
        parent_number=0 if word == BUILT_IN else int(word[:9]),
        expected_published=number,
    )
    if added is None:
        raise RequestError(
            f"Someone else just published {name}. Look at {mention(f'prompt history {name}')} and try again."
        )
    what = "the built-in version" if word in ("0", BUILT_IN) else f"version {word}"
    return added, f"Published {name} as version {added}, with the text of {what}."


async def answer_export(request: Request) -> Cards:
    """Return a template as a file."""
    services, scope, author = request.services, request.message.scope, request.message.author
    name = request.arguments["NAME"]
    if "NUMBER" in request.arguments:
        template = await _version(services, scope, author, name, _version_word(request.arguments["NUMBER"]))
    else:
        template = await services.templates.get(scope, name)
    text = template.source_text if template.source_text.endswith("\n") else f"{template.source_text}\n"
    # Without buttons, as in a terminal, the output is the file's text alone.
    blocks = (
        (Text(f"The file of {name}. It can be imported elsewhere with {mention('prompt import NAME')}."),)
        if request.services.traits.has_buttons
        else ()
    )
    yield Card(
        blocks=blocks,
        file=TextFile(f"{name}.prompt", text),
        data={"text": text, "template": name, "version": template.version},
        answers="private",
    )


COMMANDS: Final = (
    Command(
        name="prompt history",
        summary="Show the versions of a template: who published what, when and why",
        answer=answer_history,
        arguments=("NAME",),
        examples=("prompt history sentiment",),
    ),
    Command(
        name="prompt diff",
        needs_model=False,
        summary="Show the changes between two versions of a template",
        answer=answer_diff,
        arguments=("NAME", "A", "B"),
        num_optional_arguments=2,
        details=f"A version is a number from the history, {BUILT_IN}, or draft. One version is compared with"
        " the published one. With none, the published one is compared with the one before.",
        examples=("prompt diff sentiment", "prompt diff sentiment 2 5", f"prompt diff sentiment {BUILT_IN}"),
    ),
    Command(
        name="prompt rollback",
        summary="Publish an earlier version of a template again",
        answer=answer_rollback,
        arguments=("NAME", "NUMBER"),
        text="optional",
        text_name="REASON",
        who="moderators",
        examples=("prompt rollback sentiment 3 the new one was too strict",),
    ),
    Command(
        name="prompt export",
        needs_model=False,
        summary="Export a template as a file, which can be imported elsewhere",
        answer=answer_export,
        arguments=("NAME", "NUMBER"),
        num_optional_arguments=1,
        who="moderators",
        answers="private",
        examples=("prompt export sentiment",),
    ),
)

"""Commands that look back at what was published of a template: its history, differences, an earlier version anew."""

from typing import Final

from bot.commands.context import Services
from bot.commands.framework.command import Cards, Command, Request
from bot.commands.templates.drafts import check_editor, check_template, parsed, published_template, when, who
from bot.commands.templates.publishing import checked_reason, own_draft
from bot.commands.templates.score_cards import kept_score_line
from bot.core.cards import Card, Table, Text, TextFile, Verbatim
from bot.core.messages import Author, Scope
from bot.core.templates.diff import diff_templates
from bot.core.templates.template import PromptTemplate
from bot.errors import RequestError
from bot.store.templates import StoredTemplate

MAX_SHOWN: Final = 20
_OTHERS_FIRST: Final = "Somebody published {name} at this very moment; look at prompt history {name} and try again."


async def answer_history(request: Request) -> Cards:
    """List the versions of a template, newest first."""
    services, scope, name = request.services, request.message.scope, request.arguments["NAME"]
    versions = await services.store.template_history(scope, name)
    if not versions:
        template = await services.templates.get(scope, name)
        sentence = f"{template.name} is as it came with the bot; nobody has changed it here."
        yield Card(blocks=(Text(sentence),), data={"text": sentence, "template": name, "versions": []})
        return
    model = services.measuring.fingerprint
    rows = tuple(_history_row(version, model) for version in versions)
    columns = ("version", "what", "by", "when", "reason", "score")
    file = None
    blocks: tuple[Text | Table, ...] = (Text(f"History of {name}"), Table(columns, rows[:MAX_SHOWN]))
    if len(rows) > MAX_SHOWN:
        blocks = (*blocks, Text(f"and {len(rows) - MAX_SHOWN} older ones, in the file", is_quiet=True))
        lines = ("\t".join(row) for row in (columns, *rows))
        file = TextFile(f"{name}-history.txt", "\n".join(lines) + "\n")
    yield Card(
        blocks=blocks,
        file=file,
        data={
            "template": name,
            "versions": [
                {
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
                for version in versions
            ],
        },
    )


def _history_row(version: StoredTemplate, model: str) -> tuple[str, ...]:
    by = "" if version.action == "forget" else who(version)
    reason = "words of a member were forgotten" if version.action == "forget" else version.reason
    score = kept_score_line(version.score, version.score_model, model) if version.score else ""
    return str(version.number), version.action, by, when(version), reason, score


async def _version(services: Services, scope: Scope, author: Author, name: str, word: str) -> PromptTemplate:
    """Return a version of a template: by its number, "shipped" (or 0), or "draft", the asker's own."""
    word = word.casefold()
    if word == "draft":
        draft = await own_draft(services, scope, author, name)
        template = parsed(draft.source_text, name)
        if template is None:
            raise RequestError(f"Your draft of {name} is not a valid template yet.")
        return template
    if word in ("shipped", "0"):
        if name not in services.templates.shipped.names:
            raise RequestError(f"{name} does not come with the bot.")
        return services.templates.shipped.get(name)
    return await _numbered(services, scope, name, word)


async def _numbered(services: Services, scope: Scope, name: str, word: str) -> PromptTemplate:
    if not word.isascii() or not word.isdigit():
        raise RequestError(f"A version is a number as prompt history {name} shows it, shipped, or draft.")
    number = int(word[:9])
    version = await services.store.get_template_version(scope, name, number)
    if version is None:
        raise RequestError(f"There is no version {number} of {name}; prompt history {name} lists them.")
    if version.source_text is None:
        raise RequestError(f"Version {number} of {name} holds no text: it says that the template was deleted.")
    template = parsed(version.source_text, name)
    if template is None:
        raise RequestError(f"Version {number} of {name} breaks a rule that is newer than it.")
    return template


async def answer_diff(request: Request) -> Cards:
    """Show what changed between two versions: those named, else the published one and the one before."""
    services, scope, author = request.services, request.message.scope, request.message.author
    name, words = request.arguments["NAME"], [request.arguments[one] for one in ("A", "B") if one in request.arguments]
    if not words:
        words = await _latest_two(services, scope, name)
    elif len(words) == 1:
        published, number = await published_template(services, scope, name)
        if published is None:
            raise RequestError(f"{name} is not published, so say two versions.")
        words.append(str(number))
    old, new = [await _version(services, scope, author, name, word) for word in words]
    labels = ["the shipped one" if word == "0" else word if not word.isdigit() else f"version {word}" for word in words]
    diff = diff_templates(old, new)
    title = f"{name}: from {labels[0]} to {labels[1]}"
    yield Card(
        blocks=(Text(title), Verbatim(diff) if diff else Text("They mean the same.")),
        data={"text": diff or "They mean the same.", "template": name, "a": words[0], "b": words[1], "diff": diff},
        answers="private" if "draft" in labels else "public",
    )


async def _latest_two(services: Services, scope: Scope, name: str) -> list[str]:
    versions = [one for one in await services.store.template_history(scope, name) if one.source_text is not None]
    if not versions:
        template = await services.templates.get(scope, name)
        raise RequestError(f"{template.name} is as it came with the bot; nobody has changed it here.")
    newest = str(versions[0].number)
    if len(versions) > 1:
        return [str(versions[1].number), newest]
    if name in services.templates.shipped.names:
        return ["0", newest]
    raise RequestError(f"There is only one version of {name}; prompt show {name} shows it.")


async def answer_rollback(request: Request) -> Cards:
    """Publish an earlier version anew."""
    services, scope, author = request.services, request.message.scope, request.message.author
    await check_editor(services, scope, author, "prompt rollback")
    name, word = request.arguments["NAME"], request.arguments["NUMBER"].casefold()
    if word == "draft":
        raise RequestError(f"A draft is published with prompt publish {name}.")
    template = await _version(services, scope, author, name, word)
    published, number = await published_template(services, scope, name)
    if published is not None and published.source_text == template.source_text:
        raise RequestError(f"That is what is published of {name} already.")
    await check_template(services, template)
    added = await services.store.add_template_version(
        scope,
        name,
        action="rollback",
        author=author,
        source_text=template.source_text,
        version=template.version,
        reason=checked_reason(request.text),
        parent_number=0 if word == "shipped" else int(word[:9]),
        expected_published=number,
    )
    if added is None:
        raise RequestError(_OTHERS_FIRST.format(name=name))
    what = "the one that comes with the bot" if word in ("0", "shipped") else f"version {word}"
    sentence = f"{name} is at version {added} now, which says the same as {what}."
    yield Card(blocks=(Text(sentence),), data={"text": sentence, "template": name, "number": added})


async def answer_export(request: Request) -> Cards:
    """Hand a template over as its file."""
    services, scope, author = request.services, request.message.scope, request.message.author
    name = request.arguments["NAME"]
    if "NUMBER" in request.arguments:
        template = await _version(services, scope, author, name, request.arguments["NUMBER"])
    else:
        template = await services.templates.get(scope, name)
    text = template.source_text if template.source_text.endswith("\n") else f"{template.source_text}\n"
    # Without buttons, as in a terminal, the file's text is all that is to come out.
    blocks = (Text(f"{name} as a file; prompt import takes it on any server."),) if request.has_buttons else ()
    yield Card(
        blocks=blocks,
        file=TextFile(f"{name}.prompt", text),
        data={"text": text, "template": name, "version": template.version},
        answers="private",
    )


COMMANDS: Final = (
    Command(
        name="prompt history",
        summary="the versions of a template: who published what, when and why",
        answer=answer_history,
        arguments=("NAME",),
        examples=("prompt history sentiment",),
    ),
    Command(
        name="prompt diff",
        summary="what changed between two versions of a template",
        answer=answer_diff,
        arguments=("NAME", "A", "B"),
        num_optional_arguments=2,
        details="A version is its number in the history, shipped, or draft. With one it is compared with what is"
        " published, with none the published one with the one before.",
        examples=("prompt diff sentiment", "prompt diff sentiment 2 5", "prompt diff sentiment shipped"),
    ),
    Command(
        name="prompt rollback",
        summary="publishes an earlier version of a template anew",
        answer=answer_rollback,
        arguments=("NAME", "NUMBER"),
        text="optional",
        text_name="REASON",
        who="moderators",
        examples=("prompt rollback sentiment 3 the new one was too strict",),
    ),
    Command(
        name="prompt export",
        summary="a template as a file, which prompt import takes on any server",
        answer=answer_export,
        arguments=("NAME", "NUMBER"),
        num_optional_arguments=1,
        who="moderators",
        answers="private",
        examples=("prompt export sentiment",),
    ),
)

"""Changes of a moderator's draft by a page: saved as typed, joined with what was saved elsewhere in between."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from bot.commands.context import Services
from bot.commands.templates.drafts import (
    DraftView,
    begin_draft,
    change_draft,
    check_editor,
    check_template,
    checked_name,
    fingerprint,
    published_template,
    rebased,
    save_made,
    view_draft,
)
from bot.commands.templates.proposals import find_proposals, keep_origins
from bot.commands.workbench.opening import revision_of, shown_state
from bot.core.mentions import type_mentions
from bot.core.messages import AttachmentFormat, Author, Scope
from bot.core.safe_text import replace_lone_surrogates
from bot.core.templates.forms import checked, read_file, with_default_stop
from bot.core.templates.states import (
    Clash,
    TemplateState,
    apply_state,
    check_num_rows,
    join_states,
    read_state,
    state_json,
    state_of,
    values_of,
)
from bot.core.templates.table_files import read_examples
from bot.core.templates.template import PromptTemplate
from bot.errors import FewshotError, RequestError
from bot.store.drafts import Draft

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Sent:
    """What a page sends: the state as typed, the one it was typed over, and the revision of the draft that it knew."""

    state: TemplateState
    base: TemplateState
    revision: str


@dataclass(frozen=True, slots=True)
class Saved:
    """A stored draft, its state, whether it was joined with other changes, and what both sides changed."""

    draft: Draft
    state: TemplateState
    is_joined: bool = False
    clashes: tuple[Clash, ...] = ()

    @property
    def data(self) -> Json:
        """Return it as data."""
        return {
            "state": state_json(self.state),
            "revision": fingerprint(self.draft),
            "problem": self.draft.problem,
            "is_joined": self.is_joined,
            "clashes": [{"field": one.field, "theirs": one.theirs} for one in self.clashes],
        }


def read_sent(state: object, base: object, revision: str) -> Sent:
    """Return what a page sent. Raises RequestError if it is not well formed."""
    return Sent(_cleaned(read_state(state)), _cleaned(read_state(base)), revision)


def _cleaned(state: TemplateState) -> TemplateState:
    """Return `state` without what no file can hold: halves of characters."""
    clean = replace_lone_surrogates
    rows = {
        name: tuple(replace(row, input=clean(row.input), output=clean(row.output)) for row in getattr(state, name))
        for name in ("examples", "tests")
    }
    return replace(
        state,
        description=clean(state.description),
        instruction=clean(state.instruction),
        query=clean(state.query),
        options=clean(state.options),
        labels=tuple(map(clean, state.labels)),
        examples=rows["examples"],
        tests=rows["tests"],
    )


async def save(services: Services, scope: Scope, author: Author, name: str, sent: Sent) -> Saved:
    """Store what was typed as the asker's draft.

    If the stored draft is not the one with `sent.revision`, what changed there since `sent.base` is joined with it.
    """
    await check_editor(services, scope, author, "prompt edit")
    draft = await begin_draft(services, scope, author, name)
    saved: list[Saved] = []

    async def made(draft: Draft) -> Draft:
        view = await view_draft(services, scope, draft)
        state, clashes = sent.state, tuple[Clash, ...]()
        is_joined = revision_of(draft, view.published) != sent.revision
        if is_joined:
            state, clashes = join_states(sent.base, sent.state, shown_state(view, view.published))
        draft = await with_state(services, view, state)
        saved[:] = [Saved(draft, state, is_joined, clashes)]
        return draft

    stored = await save_made(services, scope, draft, made)
    return replace(saved[0], draft=stored)


async def with_state(services: Services, view: DraftView, state: TemplateState) -> Draft:
    """Return a draft with `state`: as a valid template if it is one, else as typed, with the problem."""
    try:
        template = await asyncio.to_thread(apply_state, view.start, state)
        await check_template(services, template)
    except FewshotError as e:
        problem = type_mentions(str(e), services.command_prefix)
        return replace(view.draft, form_values=values_of(state), problem=problem)
    return replace(view.draft, source_text=template.source_text, form_values=None, problem="")


async def create(services: Services, scope: Scope, author: Author, name: str, *, like: str = "") -> None:
    """Begin the draft of a new template, empty or with the text of `like`. Raises RequestError for a taken name."""
    await check_editor(services, scope, author, "prompt new")
    name = checked_name(name)
    published, _ = await published_template(services, scope, name)
    if published is not None or await services.store.get_draft(scope, name, author.id) is not None:
        raise RequestError(f"There is already a template {name}. Choose another name, or open it in the list.")
    draft = await begin_draft(services, scope, author, name)
    state = state_of(await services.templates.get(scope, like)) if like else TemplateState()

    async def made(draft: Draft) -> Draft:
        view = await view_draft(services, scope, draft)
        if like:
            source = await services.templates.get(scope, like)
            view = replace(view, template=replace(source, name=name))
        return await with_state(services, view, state)

    await save_made(services, scope, draft, made)


async def import_file(services: Services, scope: Scope, author: Author, name: str, text: str) -> None:
    """Make a prompt file the asker's draft. Raises RequestError, and changes nothing, if it is not valid."""
    await check_editor(services, scope, author, "prompt import")
    draft = await begin_draft(services, scope, author, name)
    template = read_file(replace_lone_surrogates(text).lstrip("\ufeff").lstrip(), name)
    await check_template(services, template)

    async def made(draft: Draft) -> Draft:
        return replace(draft, source_text=template.source_text, form_values=None, problem="")

    await save_made(services, scope, draft, made)


async def read_rows(text: str, format: AttachmentFormat, labels: Sequence[str]) -> list[list[str]]:
    """Return the rows in a table, as pairs of input and output. Raises RequestError that names the first wrong line."""
    rows = await asyncio.to_thread(read_examples, replace_lone_surrogates(text), format, labels=labels)
    check_num_rows(len(rows))
    return [[row.input, row.output] for row in rows]


async def take_newest(services: Services, scope: Scope, author: Author, name: str) -> Saved:
    """Join the asker's draft with the version that was published after it was begun, and base it on that one."""
    await check_editor(services, scope, author, "prompt edit")
    saved: list[Saved] = []

    async def made(draft: Draft) -> Draft:
        view = await view_draft(services, scope, draft)
        mine = shown_state(view, view.published)
        if view.published is None or not view.is_overtaken:
            saved[:] = [Saved(draft, mine)]
            return draft
        theirs = state_of(view.published)
        base = theirs if view.base is None else state_of(view.base)
        state, clashes = join_states(base, mine, theirs)
        draft = rebased(draft, view.published, view.number)
        draft = await with_state(services, replace(view, draft=draft), state)
        saved[:] = [Saved(draft, state, is_joined=True, clashes=clashes)]
        return draft

    stored = await save_made(services, scope, await begin_draft(services, scope, author, name), made)
    return replace(saved[0], draft=stored)


async def take_proposal(services: Services, scope: Scope, author: Author, name: str, number: str, table: str) -> None:
    """Add a proposed row to the examples or tests of the asker's draft."""
    await check_editor(services, scope, author, "prompt examples")
    proposals = await find_proposals(services, scope, name, number)
    field = "tests" if table == "tests" else "examples"

    async def changed(template: PromptTemplate) -> PromptTemplate:
        for one in await find_proposals(services, scope, name, number):
            # Stored before the draft, so that erasing the message always reaches the draft.
            await keep_origins(services, scope, name, one, has_labels=bool(template.labels))
        rows = (*getattr(template, field), *(one.row for one in proposals))
        if field == "tests":
            return checked(replace(template, tests=rows))
        return checked(with_default_stop(replace(template, examples=rows, has_examples_slot=True), template))

    draft = await begin_draft(services, scope, author, name)
    await change_draft(services, scope, draft, changed, closes=[one.card.id for one in proposals])


async def dismiss_proposal(services: Services, scope: Scope, author: Author, name: str, number: str) -> None:
    """Drop a proposed row."""
    await check_editor(services, scope, author, "prompt examples")
    proposals = await find_proposals(services, scope, name, number)
    while not await services.store.dismiss_proposals([one.card.id for one in proposals]):
        proposals = await find_proposals(services, scope, name, number)

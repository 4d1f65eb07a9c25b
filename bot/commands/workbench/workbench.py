"""The workbench of a server's templates as a page calls it."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

from bot.commands.context import Services
from bot.commands.framework.model_choice import Tell, chosen_model, leased, model_of_template, tell_nobody
from bot.commands.templates.drafts import check_editor, fingerprint, view_draft
from bot.commands.templates.history import diff_versions, roll_back, version_data
from bot.commands.templates.proposals import propose
from bot.commands.templates.publishing import Published, checked_reason, delete_published, own_draft, publish_draft
from bot.commands.workbench import measuring, opening, saving, trying
from bot.core.engine import Asker
from bot.core.mentions import type_mentions
from bot.core.messages import AttachmentFormat, Author, Scope
from bot.core.stopping import Stopper
from bot.core.templates.states import TemplateState
from bot.core.templates.template import PromptTemplate
from bot.errors import RequestError

Json = dict[str, Any]


class Workbench:
    """Lists, opens, changes, tests and publishes templates; the rights, limits and sentences are the commands'.

    `author` must have its rights in `scope` (`Bot.with_rights`). Every method may raise RequestError and Unavailable.
    """

    def __init__(self, services: Services, tell: Tell = tell_nobody) -> None:
        self._services = services
        self._tell = tell

    def telling(self, tell: Tell) -> "Workbench":
        """Return the same workbench, which tells `tell` that a model is loaded first."""
        return Workbench(self._services, tell)

    def spell(self, sentence: str) -> str:
        """Return a sentence with its commands as they are typed."""
        return type_mentions(sentence, self._services.command_prefix)

    async def mark(self, scope: Scope) -> tuple[int, ...]:
        """Return numbers that differ after a change of the server's templates, drafts and proposals by anyone."""
        store = self._services.store
        waiting = await store.count_proposals(scope)
        return await store.latest_template_change(scope), sum(waiting.values()), *await store.drafts_mark(scope)

    async def list_all(self, scope: Scope, author: Author) -> list[Json]:
        """Return all templates; see opening.py."""
        async with self._by(scope) as services:
            return await opening.list_all(services, scope, author)

    async def open(self, scope: Scope, author: Author, name: str) -> Json:
        """Return one template with the author's draft."""
        async with self._by(scope, author, name) as services:
            found = await opening.open_template(services, scope, author, name)
        return {**found, "next": self.spell(found["next"]), "problem": self.spell(found["problem"])}

    async def save(
        self, scope: Scope, author: Author, name: str, *, state: object, base: object, revision: str
    ) -> Json:
        """Store the author's draft as typed, joined with what was stored since `revision`."""
        sent = saving.read_sent(state, base, revision)
        async with self._by(scope, author, name) as services:
            return (await saving.save(services, scope, author, name, sent)).data

    async def create(self, scope: Scope, author: Author, name: str, like: str) -> None:
        """Begin a new template, a copy of `like` if that is not ""."""
        await saving.create(self._services, scope, author, name, like=like)

    async def import_file(self, scope: Scope, author: Author, name: str, text: str) -> None:
        """Make a prompt file the author's draft."""
        async with self._by(scope, author, name) as services:
            await saving.import_file(services, scope, author, name, text)

    async def read_rows(self, text: str, format: AttachmentFormat, labels: tuple[str, ...]) -> list[list[str]]:
        """Return the rows of a table; nothing is stored."""
        return await saving.read_rows(text, format, labels)

    async def take_newest(self, scope: Scope, author: Author, name: str) -> Json:
        """Join the author's draft with the version that was published after it was begun."""
        async with self._by(scope, author, name) as services:
            return (await saving.take_newest(services, scope, author, name)).data

    async def discard(self, scope: Scope, author: Author, name: str) -> None:
        """Drop the author's draft."""
        await check_editor(self._services, scope, author, "prompt discard")
        if not await self._services.store.discard_draft(scope, name, author.id):
            raise RequestError(f"You have no draft of {name[:32]}.")

    async def preview(self, scope: Scope, author: Author, name: str, state: object, input: str) -> Json:
        """Return the prompt of what is typed, with token counts."""
        template = await trying.typed_template(self._services, scope, author, name, self._state(state))
        async with self._by_template(scope, template, is_asked=False) as services:
            return await trying.preview(services, template, input)

    async def try_out(self, scope: Scope, author: Author, name: str, state: object, input: str, asker_id: str) -> Json:
        """Return what the model answers with what is typed."""
        await check_editor(self._services, scope, author, "prompt edit")
        template = await trying.typed_template(self._services, scope, author, name, self._state(state))
        async with self._by_template(scope, template, is_asked=True) as services:
            return await trying.try_out(services, template, input, asker=self._asker(scope, author, asker_id))

    async def run_tests(
        self, scope: Scope, author: Author, name: str, asker_id: str, stopper: Stopper
    ) -> AsyncGenerator[Json]:
        """Measure the author's draft on its tests, step by step."""
        asker = self._asker(scope, author, asker_id)
        async with (
            self._by(scope, author, name, is_asked=True) as services,
            aclosing(measuring.run_tests(services, scope, author, name, asker=asker, stopper=stopper)) as steps,
        ):
            async for step in steps:
                yield step

    async def search(
        self, scope: Scope, author: Author, name: str, asker_id: str, stopper: Stopper
    ) -> AsyncGenerator[Json]:
        """Search for better examples, step by step."""
        asker = self._asker(scope, author, asker_id)
        async with (
            self._by(scope, author, name, is_asked=True) as services,
            aclosing(measuring.search(services, scope, author, name, asker=asker, stopper=stopper)) as steps,
        ):
            async for step in steps:
                yield step

    async def take_found(self, scope: Scope, author: Author, name: str, version: str, indexes: object) -> None:
        """Take the examples that a search found into the author's draft."""
        await measuring.take_found(self._services, scope, author, name, version, indexes)

    async def publish(
        self, scope: Scope, author: Author, name: str, *, revision: str, reason: str, over: int | None
    ) -> Json:
        """Publish the author's draft, or return what is missing: "reason", or "overtaken" for a newer version."""
        async with self._by(scope, author, name) as services:
            await check_editor(services, scope, author, "prompt publish")
            reason = checked_reason(reason)
            draft = await own_draft(services, scope, author, name)
            if fingerprint(draft) != revision:
                raise RequestError("Your draft has changed since this was shown. Look at it again, then publish.")
            view = await view_draft(services, scope, draft)
            done = await publish_draft(services, scope, author, view, reason=reason, over=over)
        if not isinstance(done, Published):
            return {"missing": done}
        sentence = f"Published {name} as version {done.number}."
        if done.template.tests and not done.is_measured:
            sentence += " It was not measured on its tests since its last change."
        return {"missing": "", "number": done.number, "is_measured": done.is_measured, "sentence": sentence}

    async def delete(self, scope: Scope, author: Author, name: str, number: int, reason: str) -> Json:
        """Delete version `number` of a template, if it is the published one; its history stays."""
        await check_editor(self._services, scope, author, "prompt delete")
        done = await delete_published(self._services, scope, author, name, number, checked_reason(reason))
        return {"sentence": done.data["text"]}

    async def history(self, scope: Scope, name: str) -> list[Json]:
        """Return the versions of a template, newest first."""
        async with self._by(scope) as services:
            model = services.measuring.fingerprint
        return [version_data(one, model) for one in await self._services.store.template_history(scope, name)]

    async def compare(self, scope: Scope, author: Author, name: str, versions: tuple[str, ...]) -> Json:
        """Return the changes between two versions of a template."""
        diff, title, _ = await diff_versions(self._services, scope, author, name, versions)
        return {"title": title, "diff": diff}

    async def roll_back(self, scope: Scope, author: Author, name: str, version: str, reason: str) -> Json:
        """Publish an earlier version again."""
        number, sentence = await roll_back(self._services, scope, author, name, version, reason=reason)
        return {"number": number, "sentence": sentence}

    async def propose(self, scope: Scope, author: Author, name: str, input: str, output: str) -> str:
        """Propose a row to the moderators; return the sentence that says so."""
        if await self._services.store.is_opted_out(scope.platform, author.id):
            raise RequestError("You asked not to be read, so you can't propose examples.")
        await propose(self._services, scope, author, (name, input, output), None)
        return f"Proposed as an example of {name}. The moderators see it here."

    async def settle_proposal(self, scope: Scope, author: Author, name: str, number: str, table: str) -> None:
        """Take a proposed row into a table of the author's draft, or with table "" dismiss it."""
        if table:
            await saving.take_proposal(self._services, scope, author, name, number, table)
        else:
            await saving.dismiss_proposal(self._services, scope, author, name, number)

    @asynccontextmanager
    async def _by(
        self, scope: Scope, author: Author | None = None, name: str = "", *, is_asked: bool = False
    ) -> AsyncIterator[Services]:
        """Return the parts with the model of the template `name`, or of the place."""
        services = self._services
        place = await services.place_of(scope)
        author_id = "" if author is None else author.id
        model = await model_of_template(services, place, scope, name, author_id=author_id, is_asked=is_asked)
        async with leased(services, model, self._tell) as leasing:
            yield leasing

    @asynccontextmanager
    async def _by_template(self, scope: Scope, template: PromptTemplate, *, is_asked: bool) -> AsyncIterator[Services]:
        """Return the parts with the model of a template that is being written."""
        services = self._services
        model = chosen_model(services, await services.place_of(scope), template, is_asked=is_asked)
        async with leased(services, model, self._tell) as leasing:
            yield leasing

    def _state(self, state: object) -> TemplateState:
        return saving.read_sent(state, state, "").state

    def _asker(self, scope: Scope, author: Author, asker_id: str) -> Asker:
        return Asker(scope, (scope.platform, author.id), asker_id)

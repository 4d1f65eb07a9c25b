"""The template browser: the list of templates, and for a chosen one what can be done with it, on a card."""

from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import replace
from datetime import timedelta
from typing import Final

from bot.commands.context import Services
from bot.commands.framework.command import Cards, Command, Request
from bot.commands.framework.model_choice import answer_request
from bot.commands.framework.request import check_owner, read_request
from bot.commands.templates.listing import Listing, list_templates
from bot.commands.templates.publishing import TRY_CARD, try_form
from bot.core.cards import Block, Button, Card, Facts, Select, SelectOption, Text
from bot.core.messages import Author, Click, Message, Scope
from bot.core.stopping import Stopper
from bot.errors import OptedOut, RequestError, Unavailable
from bot.services.open_cards import open_card
from bot.store.cards import OpenCard

BROWSER_CARD: Final = "browser"
_LIFETIME: Final = timedelta(days=30)
_MAX_OPTIONS: Final = 25
# A template's name never begins with it.
_PAGE: Final = ":"
_IN_PLACE: Final = {"show": "prompt show", "history": "prompt history"}
_BESIDE: Final = {"edit": "prompt edit", "test": "prompt test", "draft": "prompt draft", "publish": "prompt publish"}
_OUT_OF_DATE: Final = "That card is out of date; use the newest one."


async def answer_list(request: Request) -> Cards:
    """List all templates; those that do not work with the model at hand stand apart. A select opens one of them."""
    services, message = request.services, request.message
    listing = await list_templates(services, message.scope)
    card = Card(blocks=listing.blocks, data={"templates": list(listing.data)})
    if not services.traits.has_buttons or not request.may_store:
        yield card
        return
    try:
        kept = await open_card(services.store, message.scope, message.author.id, BROWSER_CARD, {}, lives=_LIFETIME)
    except (OptedOut, Unavailable):
        yield card  # the list can be read all the same
        return
    browser = await _Browser.load(services, message.scope, message.author, listing)
    yield replace(browser.overview(kept), data=card.data)


async def browse(
    services: Services,
    commands: Mapping[str, Command],
    click: Click,
    card: OpenCard,
    stopper: Stopper,
    *,
    may_store: bool,
) -> Cards:
    """Carry out an action on the browser: open a template, or run a command about the one that is open."""
    check_owner(card, click.author, "card", "prompt list")
    if card.revision != click.revision:
        raise RequestError(_OUT_OF_DATE)
    name = str(card.state.get("name", ""))
    if click.action in ("choose", "list", *_IN_PLACE):
        yield await _turned(services, commands, click, card, stopper)
        return
    if click.action == "settings":
        line = "settings --level server" if click.scope.has_server else "settings"
    elif not name:
        raise RequestError(_OUT_OF_DATE)
    elif click.action == "try":
        await services.templates.get(click.scope, name)
        state = {"name": name, "is_beside": True}
        kept = await open_card(services.store, click.scope, click.author.id, TRY_CARD, state, lives=_LIFETIME)
        yield await try_form(services, click.scope, kept)
        return
    elif click.action in _BESIDE:
        line = f"{_BESIDE[click.action]} {name}"
    else:
        raise RequestError(_OUT_OF_DATE)
    async with aclosing(_run(services, commands, click, line, stopper, may_store=may_store)) as cards:
        async for shown in cards:
            # The browser stays; what its buttons lead to stands beside it.
            yield replace(shown, answers="private")


async def _run(
    services: Services,
    commands: Mapping[str, Command],
    click: Click,
    line: str,
    stopper: Stopper,
    *,
    may_store: bool = True,
) -> Cards:
    """Answer a command `line`, as if the person who clicked had given it."""
    message = Message(click.id, click.scope, click.author, f"{services.command_prefix}{line}", reach=click.reach)
    request = await read_request(services, commands, message, stopper, may_store=may_store, click_id=click.id)
    async with aclosing(await answer_request(request)) as cards:
        async for card in cards:
            yield card


async def _turned(
    services: Services, commands: Mapping[str, Command], click: Click, card: OpenCard, stopper: Stopper
) -> Card:
    """Return the browser at another template, page or view, as the card's next revision."""
    name, page = str(card.state.get("name", "")), int(card.state.get("page", 0))
    if click.action == "list":
        name = ""
    elif click.action == "choose" and click.value.startswith(_PAGE):
        page = int(click.value.removeprefix(_PAGE))
    elif click.action == "choose":
        name = click.value
    browser = await _Browser.load(services, click.scope, click.author, await list_templates(services, click.scope))
    if name and name not in browser.names:
        raise RequestError(f"The template {name} is gone. Choose another one.")
    following = replace(card, revision=card.revision + 1, state={"name": name, "page": page})
    shown = browser.overview(following)
    if click.action in _IN_PLACE:
        lines = _run(services, commands, click, f"{_IN_PLACE[click.action]} {name}", stopper)
        *_, answer = [one async for one in lines]
        shown = replace(browser.opened(following), blocks=answer.blocks, file=answer.file, data=answer.data)
    elif name:
        shown = browser.opened(following)
    if not await services.store.save_open_card(following):
        raise RequestError(_OUT_OF_DATE)
    return shown


class _Browser:
    """What one person may see and do with the templates of a place."""

    def __init__(self, listing: Listing, author: Author, drafts: Mapping[str, bool], max_options: int) -> None:
        self._listing = listing
        self._author = author
        self._drafts = drafts
        self._max_options = max_options

    @classmethod
    async def load(cls, services: Services, scope: Scope, author: Author, listing: Listing) -> "_Browser":
        """Read the author's drafts; each is named with whether it is valid."""
        drafts: dict[str, bool] = {}
        if author.is_moderator:
            stored = await services.store.list_drafts(scope, author.id)
            drafts = {one.name: one.form_values is None and bool(one.source_text) for one in stored}
        limit = min(services.traits.max_options or _MAX_OPTIONS, _MAX_OPTIONS)
        return cls(listing, author, drafts, limit)

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of all templates, with those of the person's drafts."""
        return tuple(sorted({*self._listing.by_name, *self._drafts}))

    def overview(self, card: OpenCard) -> Card:
        """Return the list, with a select that opens a template."""
        blocks: tuple[Block, ...] = self._listing.blocks
        if self._drafts:
            blocks = (*blocks, Text(f"Your drafts: {', '.join(sorted(self._drafts))}", is_quiet=True))
        buttons = (Button("settings", "Settings"),) if self._author.is_moderator else ()
        return self._card(card, blocks, buttons)

    def opened(self, card: OpenCard) -> Card:
        """Return what there is about one template, with a button for each thing that this person may do with it."""
        name = str(card.state["name"])
        data = self._listing.by_name.get(name)
        has_draft = name in self._drafts
        blocks: list[Block] = []
        if data is None:
            blocks = [Text(f"{name}: a new template, not published yet")]
        else:
            blocks = [Text(f"{name}: {data['description']}"), Facts(self._listing.facts[name])]
        if has_draft:
            blocks.append(Text("You have a draft of it, which only you see.", is_quiet=True))
        buttons: list[Button] = []
        if data is not None:
            buttons.append(Button("show", "Show"))
            buttons += [Button("try", "Try", "primary")] if data["kind"] != "chat" else []
        if self._author.is_moderator:
            buttons.append(Button("edit", "Edit"))
            buttons += (
                [Button("test", "Test")] if has_draft or (data is not None and self._listing.tested[name]) else []
            )
        if data is not None:
            buttons.append(Button("history", "History"))
        if has_draft:
            buttons.append(Button("draft", "Draft"))
            buttons += [Button("publish", "Publish")] if self._drafts[name] else []
        return self._card(card, tuple(blocks), (*buttons, Button("list", "All templates")))

    def _card(self, card: OpenCard, blocks: tuple[Block, ...], buttons: tuple[Button, ...]) -> Card:
        select = self._select(str(card.state.get("name", "")), int(card.state.get("page", 0)))
        return Card(
            blocks=blocks, buttons=buttons, selects=(select,), open_card_id=card.id, revision=card.revision, data={}
        )

    def _select(self, chosen: str, page: int) -> Select:
        """Return the select with one page of the templates; its last option turns to the next page."""
        names = self.names
        num = self._max_options if len(names) <= self._max_options else self._max_options - 1
        num_pages = max(1, -(-len(names) // num))
        page %= num_pages
        options = [
            SelectOption(name, name, self._about(name), is_chosen=name == chosen)
            for name in names[page * num : (page + 1) * num]
        ]
        if num_pages > 1:
            following = (page + 1) % num_pages
            options.append(
                SelectOption(f"{_PAGE}{following}", "More templates", f"page {following + 1} of {num_pages}")
            )
        return Select("choose", "Choose a template", tuple(options))

    def _about(self, name: str) -> str:
        data = self._listing.by_name.get(name)
        return "your draft" if data is None else f"{data['kind']} · {data['description']}"


COMMANDS: Final = (Command(name="prompt list", summary="Show the templates, with their scores", answer=answer_list),)

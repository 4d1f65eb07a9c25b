"""Who may do what where: rights.csv says it, everybody tries it.

Each row of rights.csv is one thing to do: a command (typed or with a slash), an entry of a message's menu, a click on a
button or a select of a card, a word typed to a card, a form to send. Each column is a kind of place, and a cell says
who may do it there:

everyone             all who are there
moderators           who is a moderator in that place: see MODERATORS
owner                the person whom the card or form belongs to (they asked for it), and nobody else
owner or moderators  the person who asked, and the moderators
nobody               the bot refuses it there
-                    it does not occur there, since the bot reads no messages there
"""

import csv
import re
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from bot.commands.bot import COMMANDS
from bot.commands.clicks import _ACTS, _SUBMITS
from bot.commands.story_steps import STORY
from bot.commands.templates.browser import BROWSER_CARD
from bot.commands.templates.publishing import TRY_CARD
from bot.core.cards import Card, error_card
from bot.core.messages import Author, Click, FormSubmitted, Message, PlaceKind, Reach, Scope
from bot.core.stopping import Stopper
from bot.core.templates.parsing import parse_template
from bot.platforms.shared.answering import Answering
from bot.services.ledger import Delivery
from bot.services.open_cards import COMMAND_CARD, COMPLETION_CARD
from tests.bots import MANY, MOOD, PROMPTS, Talk, shown_card_of
from tests.commands.templates.drafts import seem_measured, seem_read
from tests.platforms.shared.board import TRAITS, Board, BoardOutlet, BoardPlatform

OpenTiny = Callable[..., AbstractAsyncContextManager[Talk]]

# Who is a moderator in each kind of place, of: a member; one who may manage the server, as the platform says; one with
# a role that the setting moderator_roles names; one whom OWNER_IDS names.
MODERATORS = {
    "server": {"permission", "role", "operator"},
    "thread": {"permission", "role", "operator"},
    "direct": {"member", "permission", "role", "operator"},
    "group": {"operator"},
    "foreign": {"permission", "operator"},
}
ACTORS = {
    "member": Author("bob", "Bob", roles=("7",)),
    "permission": Author("adam", "Adam", is_moderator=True),
    "role": Author("mia", "Mia", roles=("7", "8")),
    "operator": Author("olga", "Olga"),
}
PLACES = {
    "server": Scope("discord", "home", "general"),
    "thread": Scope("discord", "home", "general", "42"),
    "direct": Scope("discord", "@me", "17", kind="direct"),
    "group": Scope("discord", "@me", "18", kind="group"),
    "foreign": Scope("discord", "away", "lobby", kind="foreign"),
}
ASKER = Author("ann", "Ann")
ROBOT = Author("robo", "Robo", is_bot=True, is_moderator=True)
# Whose cards of templates and settings are: a moderator there.
KEEPERS = {place: ACTORS["operator" if place == "group" else "permission"] for place in PLACES}
# What is on the card of a completion in the list of branches, and on one of them.
OF_THE_TREE = ("pick", "back", "txt", "json")
OF_A_BRANCH = ("go", "name", "prune")
OF_A_MODERATOR = (
    "browser",
    "settings",
    "template_draft",
    "template_delete",
    "template_try",
    "template_tuning",
    "template_neighbours",
)
FORMS_OF_A_MODERATOR = ("template_form", "reason_form", "template_try")

with (Path(__file__).parent / "rights.csv").open(encoding="utf-8", newline="") as _file:
    ROWS = {row["what"]: row for row in csv.DictReader(_file)}
LINES = {
    "complete": "complete --seed 3 --max_new_tokens 8 The cat",
    "strategies": "strategies --seed 3 --max_new_tokens 4 The cat",
    "perplexity": "perplexity The cat",
    "compare": "compare The cat | The dog",
    "next": "next The cat",
    "prompt run": "prompt story a cat",
    "prompt show": "prompt show story",
    "prompt example": "prompt example --template story --output yes a cat",
    "prompt examples": "prompt examples story",
    "prompt new": "prompt new tale",
    "prompt edit": "prompt edit story",
    "prompt draft": "prompt draft story",
    "prompt discard": "prompt discard story",
    "prompt import": "prompt import tale +++",
    "prompt tests": "prompt tests story",
    "prompt test": "prompt test story",
    "prompt tune": "prompt tune story",
    "prompt neighbours": "prompt neighbours on many",
    "prompt publish": "prompt publish story",
    "prompt rollback": "prompt rollback story built-in",
    "prompt delete": "prompt delete story",
    "prompt export": "prompt export story",
    "prompt history": "prompt history story",
    "prompt diff": "prompt diff story built-in",
    "purge": "purge 1",
    "story on": "story on Once",
    "forget (an own message)": "forget",
    "forget (another's message)": "forget",
    "forget (the bot's answer)": "forget",
}
# What has to be said before, so that there is something to act on.
_DRAFT, _PUBLISHED = ("prompt examples story add a => b",), ("prompt examples story add a => b", "prompt publish story")
BEFORE = {
    "prompt draft": _DRAFT,
    "prompt discard": _DRAFT,
    "prompt publish": _DRAFT,
    "prompt rollback": _PUBLISHED,
    "prompt delete": _PUBLISHED,
    "prompt test": ("prompt tests story add a => b",),
    "prompt tune": ("prompt examples story add a => b\nc => d\ne => f",),
    "prompt neighbours": (f"prompt import many {MANY}",),
}
# The same, by a moderator whoever does it then.
BEFORE_BY_KEEPER = {
    "story on": ("story off",),
    "story off": ("story on",),
    "story export": ("story off", "story on Once"),
}
TALE = PROMPTS["story"].replace("+++\nA story", '[[tests]]\ninput = "a"\noutput = "b"\n+++\nA story')
TALE = PROMPTS["story"].replace("+++\nA story", '[[tests]]\ninput = "a"\noutput = "b"\n+++\nA story')
# The cards of what is done with an imported template: its text, and the command.
SEARCHED = {
    "template_try": (TALE, "publish"),
    "template_tuning": (MOOD, "tune"),
    "template_neighbours": (MANY.replace("weight = 0.5", "weight = 0.0"), "neighbours on"),
}
NEEDS_AN_ANSWER = ("why", "report", "context", "fresh", "purge", "forget", "menu")
_numbers = count()


def who_may(place: str, cell: str) -> dict[str, bool]:
    """Return whether each actor may do what `cell` says in `place`, in words of rights.csv; "owner" is one of them."""
    moderators = MODERATORS[place]
    allowed = {
        "everyone": {"owner", *ACTORS},
        "moderators": moderators,
        "owner": {"owner"},
        "owner or moderators": {"owner", *moderators},
        "nobody": set(),
    }[cell]
    return {actor: actor in allowed for actor in ("owner", *ACTORS)}


async def said(
    talk: Talk, author: Author, scope: Scope, text: str, *, reach: Reach = "form", to: Card | str | None = None
) -> Card:
    """Say `text`, in reply `to` a card or to the message with that id."""
    reply_to = to if isinstance(to, str) else None
    shown = shown_card_of(to) if isinstance(to, Card) else None
    message = Message(f"a{next(_numbers)}", scope, author, text, reply_to=reply_to, replied_card=shown, reach=reach)
    return [card async for card in talk.bot.answer(message, Stopper())][-1]


async def clicked(talk: Talk, author: Author, scope: Scope, card: Card, action: str, value: str = "") -> Card:
    assert card.open_card_id, card.error
    click = Click(f"a{next(_numbers)}", scope, author, card.open_card_id, card.revision, action, value)
    return [shown async for shown in talk.bot.click(click, Stopper())][-1]


async def run_command(talk: Talk, author: Author, place: str, what: str) -> Card:
    """Let the author use the command, in reply to what somebody said, or was answered, there."""
    scope = PLACES[place]
    menu = what.removeprefix("menu ") if what.startswith("menu ") else None
    name = next(command.name for command in COMMANDS.values() if command.menu == menu) if menu else what
    reply_to = None
    if what.split(maxsplit=1)[0] in NEEDS_AN_ANSWER:
        speaker = author if what == "forget (an own message)" else Author("sue", "Sue")
        spoken = Message(f"a{next(_numbers)}", scope, speaker, "Hello")
        answer = [card async for card in talk.bot.answer(spoken, Stopper())][-1]
        is_about_answer = what in ("why", "report", "menu Why", "forget (the bot's answer)")
        if is_about_answer or menu or name.startswith("forget"):
            reply_to = answer.reply_id if is_about_answer else spoken.id
    for line in BEFORE.get(name, ()):
        await said(talk, author, scope, f"!{line}")
    for line in BEFORE_BY_KEEPER.get(name, ()):
        await said(talk, KEEPERS[place], scope, f"!{line}")
    line = f"!{name}" if menu else f"!{LINES.get(what, what)}"
    # In the thread commands are typed, elsewhere they are slash commands.
    return await said(talk, author, scope, line, reach="public" if place == "thread" else "form", to=reply_to)


async def draft_with(talk: Talk, place: str, action: str) -> Card:
    """Return the card of a draft; somebody was first where the action is to publish anyway."""
    keeper, scope, name = KEEPERS[place], PLACES[place], f"tale{next(_numbers)}"
    card = await said(talk, keeper, scope, f"!prompt import {name} {TALE}")
    if action == "publish-anyway":
        other = ACTORS["operator"] if keeper.id != "olga" else Author("oskar", "Oskar")
        tale = TALE.replace("A story.", "A tale.")
        await said(talk, other, scope, f"!prompt import {name} {tale}")
        await said(talk, other, scope, f"!prompt publish {name}")
        card = await clicked(talk, keeper, scope, card, "publish")
    return card


async def browser_with(talk: Talk, place: str, action: str) -> Card:
    """Return the template browser, at a draft or a published template where the action needs one."""
    keeper, scope, name = KEEPERS[place], PLACES[place], f"tale{next(_numbers)}"
    if action in ("choose", "settings"):
        return await said(talk, keeper, scope, "!prompt list")
    await said(talk, keeper, scope, f"!prompt import {name} {TALE}")
    card = await said(talk, keeper, scope, "!prompt list")
    chosen = name if action in ("test", "draft", "publish") else "story"
    return await clicked(talk, keeper, scope, card, "choose", chosen)


async def form_with(talk: Talk, place: str, kind: str) -> Card:
    """Return a form: the asker's for an example, else a moderator's."""
    keeper, scope, name = KEEPERS[place], PLACES[place], f"tale{next(_numbers)}"
    if kind == "example_form":
        return await said(talk, ASKER, scope, "!prompt example a cat")
    if kind == "template_try":
        return await clicked(talk, keeper, scope, await card_with(talk, place, kind, "try"), "try")
    if kind == "completion":
        return await clicked(talk, ASKER, scope, await card_with(talk, place, kind, "name"), "name")
    if kind == "template_form":
        return await said(talk, keeper, scope, f"!prompt new {name}")
    rows = "".join(f'[[tests]]\ninput = "case {i}"\noutput = "answer {i}"\n' for i in range(9))
    text = PROMPTS["story"].replace("+++\nA story", f"{rows}+++\nA story")
    await said(talk, keeper, scope, f"!prompt import {name} {text}")
    await said(talk, keeper, scope, f"!prompt publish {name}")
    worse = text.replace("Once", "Zzzz")
    for one, nats in ((text, 3.0), (worse, 9.0)):
        await seem_measured(talk, parse_template(one, name=name, source=name), nats)
    card = await said(talk, keeper, scope, f"!prompt import {name} {worse}")
    return await clicked(talk, keeper, scope, card, "publish")


async def card_with(talk: Talk, place: str, kind: str, action: str) -> Card:
    """Return a card, as far along as the action needs; the asker's, or for OF_A_MODERATOR a moderator's."""
    keeper, scope = KEEPERS[place], PLACES[place]
    if kind == "chat":
        return await said(talk, ASKER, scope, "Hello")
    if kind == "why":
        answer = await said(talk, ASKER, scope, "Hello")
        return await said(talk, ASKER, scope, "!why", to=answer.reply_id)
    if kind == "story":
        await said(talk, keeper, scope, "!story off")
        card = await said(talk, keeper, scope, "!story on --seed 3 --max_new_tokens 6 Once")
        return await clicked(talk, ASKER, scope, card, "1") if action in ("undo", "branches") else card
    if kind in ("settings", "models"):
        return await said(talk, keeper, scope, "!settings" if kind == "settings" else "!model")
    if kind == "browser":
        return await browser_with(talk, place, action)
    if kind == "template_draft":
        return await draft_with(talk, place, action)
    if kind == "template_delete":
        for line in _PUBLISHED:
            await said(talk, keeper, scope, f"!{line}")
        return await said(talk, keeper, scope, "!prompt delete story")
    if kind in SEARCHED:
        text, command = SEARCHED[kind]
        name = f"tale{next(_numbers)}"
        await seem_read(talk, parse_template(MANY, name=name, source=name))
        await said(talk, keeper, scope, f"!prompt import {name} {text}")
        return await said(talk, keeper, scope, f"!prompt {command} {name}")
    if kind == "command":
        return await said(talk, ASKER, scope, "!privacy", reach="public")
    await talk.store.opt_out("discord", ASKER.id, action == "read-on")
    lines = {"completion": LINES["complete"], "template": LINES["prompt run"], "privacy_forget": "privacy --do forget"}
    card = await said(talk, ASKER, scope, f"!{lines.get(kind, kind)}")
    if action in (*OF_THE_TREE, *OF_A_BRANCH):
        card = await clicked(talk, ASKER, scope, card, "branches")
        return await clicked(talk, ASKER, scope, card, "pick", "2") if action in OF_A_BRANCH else card
    return await clicked(talk, ASKER, scope, card, "1") if action in ("undo", "branches") else card


async def run_click(talk: Talk, author: Author, place: str, kind: str, action: str, card: Card) -> Card:
    on_card = {button.action for button in card.buttons} | {select.action for select in card.selects}
    assert action in on_card, f"{kind} has no {action}"
    for other in on_card:
        assert f"click {kind} {'1' if other.isdigit() else other}" in ROWS, f"no row for {other} of {kind}"
    values = {
        "pick": "2",
        "chat_template": "pirate",
        "model": "tiny",
        "preset": "wild",
        "answer_when": "every",
        "kind": "chat",
        "choose": "story",
    }
    return await clicked(talk, author, PLACES[place], card, action, values.get(action, ""))


async def run_submit(talk: Talk, author: Author, place: str, kind: str, card: Card) -> Card:
    assert card.form is not None, card.error
    values = {
        "example_form": {"template": "story", "input": "a cat", "output": "yes"},
        "template_form": {"description": "A tale.", "query": "$input"},
        "reason_form": {"reason": "It reads better."},
        "template_try": {"text": "a cat"},
        "completion": {"name": "the first one"},
    }
    submitted = FormSubmitted(f"a{next(_numbers)}", PLACES[place], author, card.form.id, values[kind])
    return [shown async for shown in talk.bot.submit(submitted)][-1]


async def run_stop(talk: Talk, author: Author, place: str) -> Card:
    """Let the author stop an answer to the asker."""
    answering = Answering(talk.bot, Delivery(talk.store, TRAITS), BoardPlatform(Board()))
    message = Message(f"a{next(_numbers)}", PLACES[place], ASKER, "Hello")
    answering.begin(message, BoardOutlet(Board(), message.id), is_kept=False)
    sentence = await answering.stop(message.id, await talk.bot.with_rights(message.scope, author))
    await answering.withdrawn(message.id)
    return error_card(sentence) if sentence else Card()


class Trial:
    """One row tried in one place. A card is used until somebody was allowed to: then it is another."""

    def __init__(self, talk: Talk, place: str, what: str) -> None:
        self.talk, self.place, self.what = talk, place, what
        self.card: Card | None = None

    @property
    def owner(self) -> Author:
        verb, kind, *_ = [*self.what.split(), ""]
        kinds = FORMS_OF_A_MODERATOR if verb == "submit" else OF_A_MODERATOR
        is_of_card = verb in ("submit", "click", "words")
        return KEEPERS[self.place] if is_of_card and kind in kinds else ASKER

    async def do(self, author: Author) -> Card:
        verb, *rest = self.what.split()
        if verb not in ("click", "words", "submit"):
            return await run_command(self.talk, author, self.place, self.what)
        if self.what == "click answer stop":
            return await run_stop(self.talk, author, self.place)
        if verb == "submit":
            self.card = self.card or await form_with(self.talk, self.place, rest[0])
            done = await run_submit(self.talk, author, self.place, rest[0], self.card)
        else:
            self.card = self.card or await card_with(self.talk, self.place, *rest)
            if verb == "words":
                done = await said(self.talk, author, PLACES[self.place], rest[1], reach="public", to=self.card)
            else:
                done = await run_click(self.talk, author, self.place, *rest, self.card)
        if done.error is None:
            self.card = None
        return done


async def prepare(talk: Talk) -> None:
    """Let the role 8 make moderators, as far as a role can, and give the server a channel for reports."""
    for scope in PLACES.values():
        for name, value in {"moderator_roles": "8", "report_channel": "5"}.items():
            await talk.store.set_setting(scope, "server", name, value)


@pytest.mark.parametrize("what", ROWS)
async def test_each_may_do_what_the_table_says(
    open_tiny: OpenTiny, roomy_model: Callable[[str], Path], what: str
) -> None:
    others = {"other": roomy_model("gpt2")}
    async with open_tiny(owner_ids=("olga", "oskar"), quota_per_minute=600, others=others) as talk:
        await prepare(talk)
        for place, scope in PLACES.items():
            cell = ROWS[what][place]
            if cell == "-":
                continue
            trial = Trial(talk, place, what)
            expected = who_may(place, cell)
            people = ACTORS
            if "owner" in cell:
                # One of the others may be the owner.
                others = {actor: author for actor, author in ACTORS.items() if author != trial.owner}
                people = {"owner": trial.owner, **others}
            for actor in sorted(people, key=lambda actor: expected[actor]):
                done = await trial.do(people[actor])
                assert (done.error is None) is expected[actor], f"{actor} in {place}: {done.error}"
                if done.error:
                    assert done.answers == "private"
                    assert not done.blocks
            refused = await said(talk, ROBOT, scope, "!help")
            assert refused.error == "This bot does not answer other bots."


@pytest.mark.parametrize("place", PLACES)
async def test_who_is_a_moderator_follows_from_the_kind_of_place_alone(open_tiny: OpenTiny, place: str) -> None:
    async with open_tiny(owner_ids=("olga",)) as talk:
        await prepare(talk)
        scope = PLACES[place]
        # An id that is written like another place's changes nothing.
        for one in (scope, replace(scope, server="@me"), replace(scope, server="5"), replace(scope, thread="9")):
            await talk.store.set_setting(one, "server", "moderator_roles", "8")
            found = {name for name, author in ACTORS.items() if (await talk.bot.with_rights(one, author)).is_moderator}
            assert found == MODERATORS[place]
            assert not (await talk.bot.with_rights(one, ROBOT)).is_moderator


async def test_who_is_no_moderator_any_more_can_t_use_their_own_cards(open_tiny: OpenTiny) -> None:
    async with open_tiny(owner_ids=("olga",)) as talk:
        for what in ("click template_draft publish", "click template_delete delete", "submit template_form"):
            trial = Trial(talk, "server", what)
            former = replace(trial.owner, is_moderator=False)
            kind = what.split()[1]
            trial.card = await (
                form_with(talk, "server", kind) if "submit" in what else card_with(talk, "server", kind, "")
            )
            assert "Only moderators can use" in str((await trial.do(former)).error)


def test_everything_that_can_be_done_has_a_row_and_every_row_says_it_for_all_places() -> None:
    commands = {what.split(" (")[0] for what in ROWS if what.split()[0] not in ("click", "words", "submit", "menu")}
    assert set(COMMANDS) <= commands
    assert {f"menu {command.menu}" for command in COMMANDS.values() if command.menu} <= set(ROWS)
    kinds = {what.split()[1] for what in ROWS if what.startswith("click ")}
    assert kinds == {COMPLETION_CARD, COMMAND_CARD, "chat", "template", "answer", BROWSER_CARD, STORY, "why", *_ACTS}
    assert {what.split()[1] for what in ROWS if what.startswith("submit ")} == {*_SUBMITS, TRY_CARD, COMPLETION_CARD}
    for row in ROWS.values():
        for place in PLACES:
            assert row[place] == "-" or who_may(place, row[place])


def test_the_documentation_names_every_command_once_beside_who_may_use_it() -> None:
    text = (Path(__file__).parents[2] / "docs" / "discord.md").read_text(encoding="utf-8")
    table = text.partition("## Who may do what")[2].partition("\n## ")[0]
    found: dict[str, str] = {}
    for line in table.splitlines():
        cells = line.strip("| ").split(" | ")
        names = [name for name in re.findall(r"`([^`]+)`", cells[0]) if name in COMMANDS]
        if len(cells) == 2 and "the selects" not in cells[0] and "the buttons" not in cells[0]:
            assert not set(names) & set(found)
            found |= dict.fromkeys(names, cells[1])
    assert set(found) == set(COMMANDS)
    for name, who in found.items():
        # Who may erase a message depends on whose it is.
        row = ROWS.get(name) or ROWS["forget (an own message)"]
        assert who.startswith(row["server"]), name
        reach = {"fresh", "context", "why", "purge", "story on", "story off", "story export"}
        assert ("where the bot reads messages" in who) is (name in reach)
        assert (row["group"] == "nobody") is (name in {*reach, "report", "wordlist"})


def test_every_kind_of_place_of_a_chat_platform_is_tried() -> None:
    assert {scope.kind for scope in PLACES.values()} | {"terminal"} == set(PlaceKind.__args__)  # type: ignore[attr-defined]

"""Who may do what: every command, button, select and form of access_matrix.csv, tried by everyone."""

import csv
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from itertools import count
from pathlib import Path

import pytest

from bot.commands.bot import COMMANDS
from bot.commands.clicks import _ACTS, _SUBMITS
from bot.core.cards import Card
from bot.core.messages import Author, Click, FormSubmitted, Message, Scope
from bot.core.stopping import Stopper
from bot.core.templates.parsing import parse_template
from bot.services.open_cards import COMMAND_CARD, COMPLETION_CARD
from tests.bots import HERE, PROMPTS, Talk
from tests.commands.templates.drafts import seem_measured

OpenTiny = Callable[..., AbstractAsyncContextManager[Talk]]

with (Path(__file__).parent / "access_matrix.csv").open(encoding="utf-8", newline="") as _file:
    MATRIX = list(csv.DictReader(_file))
ROWS = {row["what"]: row for row in MATRIX}
DIRECT = Scope("terminal", "@me", "17")
OTHER_GUILD = Scope("terminal", "work", "general")
ASKER = Author("ann", "Ann")

# Each actor, and where they act. The role 8 makes moderators of the first server, and means nothing elsewhere.
ACTORS = {
    "asker": (ASKER, HERE),
    "owner": (Author("olga", "Olga"), HERE),
    "admin": (Author("adam", "Adam", is_moderator=True), HERE),
    "moderator": (Author("mia", "Mia", roles=("7", "8")), HERE),
    "member": (Author("bob", "Bob", roles=("7",)), HERE),
    "direct": (Author("dora", "Dora"), DIRECT),
    "other_guild": (Author("otto", "Otto", roles=("8",)), OTHER_GUILD),
    "bot": (Author("robo", "Robo", is_bot=True, is_moderator=True), HERE),
}
LINES = {
    "complete": "complete --max_new_tokens 3 The cat",
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
    "prompt publish": "prompt publish story",
    "prompt rollback": "prompt rollback story shipped",
    "prompt delete": "prompt delete story",
    "prompt export": "prompt export story",
    "prompt history": "prompt history story",
    "prompt diff": "prompt diff story shipped",
    "purge": "purge 1",
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
}
TALE = PROMPTS["story"].replace("+++\nA story", '[[tests]]\ninput = "a"\noutput = "b"\n+++\nA story')
BEHIND_A_REPLY = ("why", "report", "forget", "forget (the bot's answer)")
_numbers = count()


async def answered(talk: Talk, author: Author, scope: Scope, text: str, reply_to: str | None = None) -> Card:
    message = Message(f"a{next(_numbers)}", scope, author, text, reply_to=reply_to, reach="form")
    return [card async for card in talk.bot.answer(message, Stopper())][-1]


async def clicked(talk: Talk, author: Author, scope: Scope, card: Card, action: str, value: str) -> Card:
    assert card.open_card_id
    click = Click(f"a{next(_numbers)}", scope, author, card.open_card_id, card.revision, action, value)
    return [shown async for shown in talk.bot.click(click, Stopper())][-1]


async def run_command(talk: Talk, actor: str, what: str) -> Card:
    """Let the actor say the command where they are, in reply to what somebody said, or was answered, there."""
    author, scope = ACTORS[actor]
    somebody = Author("sue", "Sue")
    said = Message(f"a{next(_numbers)}", scope, somebody, "Hello")
    answer = [card async for card in talk.bot.answer(said, Stopper())][-1]
    reply_to = None
    if what in BEHIND_A_REPLY:
        reply_to = said.id if what == "forget" else answer.reply_id
    for line in BEFORE.get(what, ()):
        await answered(talk, author, scope, f"!{line}")
    return await answered(talk, author, scope, f"!{LINES.get(what, what)}", reply_to)


async def draft_with(talk: Talk, action: str) -> Card:
    """Return the card of an admin's draft; somebody was first where the action is to publish anyway."""
    admin, name = ACTORS["admin"][0], f"tale{next(_numbers)}"
    card = await answered(talk, admin, HERE, f"!prompt import {name} {TALE}")
    if action == "publish-anyway":
        moderator = ACTORS["moderator"][0]
        await answered(talk, moderator, HERE, f"!prompt import {name} {TALE.replace('A story.', 'A tale.')}")
        await answered(talk, moderator, HERE, f"!prompt publish {name}")
        card = await clicked(talk, admin, HERE, card, "publish", "")
    return card


async def form_with(talk: Talk, kind: str) -> Card:
    """Return a form: the asker's for an example, else an admin's."""
    admin, name = ACTORS["admin"][0], f"tale{next(_numbers)}"
    if kind == "example_form":
        return await answered(talk, ASKER, HERE, "!prompt example a cat")
    if kind == "template_form":
        return await answered(talk, admin, HERE, f"!prompt new {name}")
    rows = "".join(f'[[tests]]\ninput = "case {i}"\noutput = "answer {i}"\n' for i in range(9))
    text = PROMPTS["story"].replace("+++\nA story", f"{rows}+++\nA story")
    await answered(talk, admin, HERE, f"!prompt import {name} {text}")
    await answered(talk, admin, HERE, f"!prompt publish {name}")
    worse = text.replace("Once", "Zzzz")
    for one, nats in ((text, 3.0), (worse, 9.0)):
        await seem_measured(talk, parse_template(one, name=name, source=name), nats)
    card = await answered(talk, admin, HERE, f"!prompt import {name} {worse}")
    return await clicked(talk, admin, HERE, card, "publish", "")


async def card_with(talk: Talk, kind: str, action: str) -> Card:
    """Return a card that the asker made, as far along as the action needs."""
    lines = {"completion": LINES["complete"], "template": LINES["prompt run"], "privacy": "privacy"}
    if kind == "chat":
        return await answered(talk, ASKER, HERE, "Hello")
    if kind == "settings":
        return await answered(talk, ACTORS["admin"][0], HERE, "!settings")
    if kind == "template_draft":
        return await draft_with(talk, action)
    if kind == "template_delete":
        admin = ACTORS["admin"][0]
        for line in _PUBLISHED:
            await answered(talk, admin, HERE, f"!{line}")
        return await answered(talk, admin, HERE, "!prompt delete story")
    if kind == "command":
        message = Message(f"a{next(_numbers)}", HERE, ASKER, "!privacy", reach="public")
        return [card async for card in talk.bot.answer(message, Stopper())][-1]
    await talk.store.opt_out("terminal", ASKER.id, action == "read-on")
    card = await answered(talk, ASKER, HERE, f"!{lines[kind]}")
    if action == "undo":
        card = await clicked(talk, ASKER, HERE, card, "1", "")
    if action == "forget-now":
        card = await clicked(talk, ASKER, HERE, card, "forget", "")
    return card


async def run_click(talk: Talk, actor: str, kind: str, action: str) -> Card:
    author, scope = ACTORS[actor]
    card = await card_with(talk, kind, action)
    assert card.error is None, card.error
    on_card = {button.action for button in card.buttons} | {select.action for select in card.selects}
    assert action in on_card, f"{kind} has no {action}"
    for other in on_card:
        assert f"click {kind} {'1' if other.isdigit() else other}" in ROWS, f"no row for {other} of {kind}"
    values = {"chat_template": "pirate", "preset": "wild", "answer_when": "every", "kind": "chat"}
    return await clicked(talk, author, scope, card, action, values.get(action, ""))


async def run_submit(talk: Talk, actor: str, kind: str) -> Card:
    author, scope = ACTORS[actor]
    card = await form_with(talk, kind)
    assert card.form is not None
    values = {
        "example_form": {"template": "story", "input": "a cat", "output": "yes"},
        "template_form": {"description": "A tale.", "query": "$input"},
        "reason_form": {"reason": "It reads better."},
    }
    submitted = FormSubmitted(f"a{next(_numbers)}", scope, author, card.form.id, values[kind])
    return [shown async for shown in talk.bot.submit(submitted)][-1]


@pytest.mark.parametrize("what", ROWS)
async def test_each_may_do_what_the_matrix_says(open_tiny: OpenTiny, what: str) -> None:
    admin = ACTORS["admin"][0]
    async with open_tiny(owner_ids=("olga",)) as talk:
        for scope in (HERE, OTHER_GUILD):
            await answered(talk, admin, scope, "!settings report_channel 5")
        await answered(talk, admin, HERE, "!settings moderator_roles 8")
        for actor in ACTORS:
            expected = ROWS[what][actor]
            if not expected:
                continue
            verb, *rest = what.split()
            if verb == "click":
                card = await run_click(talk, actor, *rest)
            elif verb == "submit":
                card = await run_submit(talk, actor, *rest)
            else:
                card = await run_command(talk, actor, what)
            assert expected == ("yes" if card.error is None else "no"), f"{actor}: {card.error}"
            if card.error:
                assert card.answers == "private"
                assert not card.blocks


def test_every_command_card_and_form_has_a_row_and_every_row_an_answer_for_all() -> None:
    commands = {what for what in ROWS if not what.startswith(("click ", "submit "))}
    assert set(COMMANDS) <= commands
    kinds = {what.split()[1] for what in ROWS if what.startswith("click ")}
    assert kinds == {COMPLETION_CARD, COMMAND_CARD, "chat", "template", *_ACTS}
    assert {what.split()[1] for what in ROWS if what.startswith("submit ")} == set(_SUBMITS)
    for what, row in ROWS.items():
        for actor in ACTORS:
            is_needed = actor != "asker" or what not in commands
            assert row[actor] in (("yes", "no") if is_needed else ("",)), (what, actor)

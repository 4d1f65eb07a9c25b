"""A moderator changes a template on Discord: forms, drafts, tests, publishing, and what members see of it."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

import pytest

from tests.bots import Talk
from tests.platforms.discord.evenings import Evening, an_evening
from tests.platforms.discord.test_evening import shown_of, slash
from tests.servers.discord.options import NotOffered
from tests.servers.discord.permissions import Permission
from tests.servers.discord.texts import labels, visible_text

OpenTiny = Callable[..., AbstractAsyncContextManager[Talk]]

TESTS = "I love the cat => Positive\nI hate the dog => Negative\nThis is awful => Negative"


@pytest.fixture
async def evening(open_tiny: OpenTiny) -> AsyncIterator[Evening]:
    async with an_evening(lambda: open_tiny("gpt2")) as opened:
        yield opened


async def test_a_moderator_edits_measures_and_publishes_a_template(evening: Evening):
    mod, ada = evening.mod, evening.ada
    async with evening.run():
        opened = await slash(evening, mod, "prompt edit", name="sentiment")
        assert opened.modal is not None
        # A mistake loses nothing: the form opens again as it was typed.
        typed = {"Instruction": "How does it feel?", "Query": "no slot here"}
        wrong = await (await mod.submits(opened.modal, typed)).finished()
        assert wrong.is_ephemeral
        assert "$input" in shown_of(wrong)
        assert wrong.message is not None
        again = await mod.clicks(wrong.message, "Edit again")
        assert again.modal is not None
        values = {part["label"]: part["component"].get("value") for part in again.modal.payload["components"]}
        assert values["Instruction"] == "How does it feel?"
        assert values["Query"] == "no slot here"
        mended = await (await mod.submits(again.modal, {"Query": "$input ->"})).finished()
        card = mended.message or wrong.message
        assert "How does it feel?" in shown_of(mended)

        rows = await mod.clicks(card, "Examples and tests")
        assert rows.modal is not None
        named = [part["label"] for part in rows.modal.payload["components"]]
        tests = next(name for name in named if "ests" in name)
        sent = await (await mod.submits(rows.modal, {tests: TESTS})).finished()
        card = sent.message or card
        measured = await (await mod.clicks(card, "Test")).finished(60)
        text = shown_of(measured)
        assert "accuracy" in text
        assert any(word in text for word in ("better", "No clear difference", "worse", "tell little"))

    # What is not published yet is still there after a restart.
    async with evening.run():
        shown = await slash(evening, mod, "prompt edit", name="sentiment")
        assert shown.modal is not None
        published = await slash(evening, mod, "prompt publish", name="sentiment", reason="shorter")
        if published.modal is not None:
            reason = published.modal.payload["components"][0]["label"]
            published = await (await mod.submits(published.modal, {reason: "shorter"})).finished()
        assert "version 1" in shown_of(published)
        used = await slash(evening, ada, "prompt run", name="sentiment", text="I love it")
        assert "Positive" in shown_of(used)
        assert used.message is not None
        why = await (await ada.clicks(used.message, "Why")).finished()
        assert "How does it feel?" in shown_of(why)
        history = shown_of(await slash(evening, ada, "prompt history", name="sentiment"))
        assert "shorter" in history
        assert "Mod" in history
        assert "How does it feel?" in shown_of(await slash(evening, ada, "prompt diff", name="sentiment"))


async def test_a_template_travels_to_another_server_and_goes(evening: Evening):
    mod = evening.mod
    other = evening.discord.world.add_guild("Other", channels=["general"])
    evening.discord.join(other, mod, permissions=int(Permission.MANAGE_GUILD))
    async with evening.run():
        opened = await slash(evening, mod, "prompt new", name="moods")
        values = {"Description": "Which mood?", "Labels": "good, bad", "Query": "$input ="}
        made = await (await mod.submits(opened.modal, values)).finished()
        assert "moods" in shown_of(made)
        published = await slash(evening, mod, "prompt publish", name="moods")
        assert "version 1" in shown_of(published), shown_of(published)
        exported = await slash(evening, mod, "prompt export", name="moods")
        messages = [exported.message, *exported.followups]
        (file,) = [file for message in messages if message for file in message.attachments]
        assert file.filename == "moods.prompt"
        content = next(c for path, c in evening.discord.world.files.items() if str(file.id) in path)
        lobby = other.channel("general")
        imported = await (
            await mod.slash(lobby, "prompt-edit import", name="moods", file=(file.filename, content))
        ).finished()
        assert "moods" in shown_of(imported)
        await (await mod.slash(lobby, "prompt-edit publish", name="moods")).finished()
        there = await (await evening.mod.slash(lobby, "prompt run", name="moods", text="fine")).finished()
        assert "good" in shown_of(there)
        # Another server has only what it imported itself.
        gone = await slash(evening, mod, "prompt delete", name="moods")
        button = [label for label in labels(gone.message) if label != "Open"] if gone.message else []
        assert button, shown_of(gone)
        await (await mod.clicks(gone.message, button[0])).finished()
        refused = await slash(evening, evening.ada, "prompt run", name="moods", text="fine")
        assert "no template" in shown_of(refused)
        still = await (await evening.mod.slash(lobby, "prompt run", name="moods", text="fine")).finished()
        assert "good" in shown_of(still)


async def test_two_moderators_who_edit_at_once_lose_nothing(evening: Evening):
    first, second = (
        evening.mod,
        evening.discord.add_member(evening.guild, "Second", permissions=int(Permission.MANAGE_GUILD)),
    )
    async with evening.run():
        cards = {}
        for who, words in ((first, "First words."), (second, "Second words.")):
            opened = await slash(evening, who, "prompt edit", name="sentiment")
            sent = await (await who.submits(opened.modal, {"Instruction": words})).finished()
            assert words in shown_of(sent)
            cards[who] = sent.message
        published = await (await first.clicks(cards[first], "Publish")).finished()
        assert "version 1" in shown_of(published)
        late = await (await second.clicks(cards[second], "Publish")).finished()
        text = shown_of(late)
        assert "Mod" in text
        assert "First words." in text
        assert "version 2" not in text
        shown = late.message if late.message and "Publish anyway" in labels(late.message) else late.followups[-1]
        anyway = await (await second.clicks(shown, "Publish anyway")).finished()
        assert "version 2" in shown_of(anyway)


async def test_members_are_not_offered_and_not_given_what_moderators_do(evening: Evening):
    async with evening.run():
        for name in ("new", "edit", "publish", "discard", "rollback", "delete", "import", "tests", "test", "tune"):
            with pytest.raises(NotOffered):
                await evening.ada.slash(evening.general, f"prompt-edit {name}", name="sentiment")
        asked = evening.ada.says(evening.general, "!prompt publish sentiment")
        answer = await evening.discord.wait_for_reply(asked)
        assert "moderators" in str(answer.content)


async def test_a_form_opened_from_a_message_that_all_see_is_answered_in_private(evening: Evening):
    async with evening.run():
        offered = await evening.discord.reply(evening.mod.says(evening.general, "!prompt edit sentiment"))
        before = visible_text(offered)
        opened = await evening.mod.clicks(offered, "Open")
        sent = await (await evening.mod.submits(opened.modal, {"Instruction": "A secret draft."})).finished()
        assert sent.is_ephemeral
        assert "A secret draft." in shown_of(sent)
        assert visible_text(offered) == before


async def test_a_form_that_is_refused_leaves_its_card_as_it_is(evening: Evening):
    mod = evening.mod
    async with evening.run():
        opened = await slash(evening, mod, "prompt edit", name="sentiment")
        sent = await (await mod.submits(opened.modal, {"Instruction": "How is it?"})).finished()
        card = sent.message
        assert card is not None
        before = visible_text(card)
        form = await mod.clicks(card, "Edit again")
        role_ids = evening.guild.members[mod.id].role_ids
        role_ids.clear()
        refused = await (await mod.submits(form.modal, {"Instruction": "And now?"})).finished()
        assert "moderators" in shown_of(refused)
        assert visible_text(card) == before


async def test_the_list_is_a_browser_with_a_select_and_buttons_also_after_a_restart(evening: Evening):
    mod, ada = evening.mod, evening.ada
    choose = "Choose a template"
    async with evening.run():
        listed = await slash(evening, ada, "prompt list")
        card = listed.message
        assert card is not None
        assert labels(card) == []
        await (await ada.selects(card, choose, "sentiment")).finished()
        assert "sentiment: Friendly or not?" in visible_text(card)
        assert labels(card) == ["Show", "Try", "History", "All templates"]
    async with evening.run():
        await (await ada.clicks(card, "Show")).finished()
        assert "I love this" in visible_text(card)
        form = await ada.clicks(card, "Try")
        assert form.modal is not None
        tried = await (await ada.submits(form.modal, {"Text": "I love it"})).finished()
        assert tried.is_ephemeral
        assert "Positive" in shown_of(tried)
        # The list and its buttons stay.
        assert "Show" in labels(card)
        refused = await (await mod.clicks(card, "Show")).finished()
        assert refused.is_ephemeral

        mine = (await slash(evening, mod, "prompt list")).message
        assert mine is not None
        assert labels(mine) == ["Settings"]
        await (await mod.selects(mine, choose, "sentiment")).finished()
        opened = await mod.clicks(mine, "Edit")
        assert opened.modal is not None
        sent = await (await mod.submits(opened.modal, {"Instruction": "How does it feel?"})).finished()
        assert sent.is_ephemeral
        await (await mod.clicks(mine, "All templates")).finished()
        assert "Your drafts: sentiment" in visible_text(mine)
        await (await mod.selects(mine, choose, "sentiment")).finished()
        assert labels(mine) == ["Show", "Try", "Edit", "Test", "History", "Draft", "Publish", "All templates"]
        published = await (await mod.clicks(mine, "Publish")).finished()
        assert published.is_ephemeral
        assert "version 1" in shown_of(published)

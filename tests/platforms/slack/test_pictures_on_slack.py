"""Pictures in messages on Slack, on an engine that takes them."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from bot.core.picture import Picture
from tests.pictures.samples import BLUE, RED, picture_file
from tests.platforms.slack.evenings import Evening, an_evening
from tests.servers.slack.reading import visible_text


def let_see(evening: Evening) -> None:
    """Let the engine take pictures, as a server's model does."""
    info = evening.engine.info
    evening.engine.info = replace(info, reads_pictures=True, has_chat_template=True, context_length=100_000)


@pytest.fixture
async def evening(tmp_path: Path) -> AsyncIterator[Evening]:
    async with an_evening(tmp_path) as opened:
        let_see(opened)
        async with opened.run():
            yield opened


def shown_to(evening: Evening) -> list[Picture]:
    return [picture for turn in evening.engine.read[-1].turns for picture in turn.pictures]


async def test_a_picture_goes_along_and_with_it_the_bots_own_token_to_slacks_server(evening: Evening):
    asked = evening.ann.asks(evening.general, "What is this?", files=[("a.png", picture_file(RED))])
    assert visible_text(await evening.slack.reply(asked)) == "Hello there."
    (picture,) = shown_to(evening)
    assert picture.id == asked.files[0].id
    assert picture.media_type == "image/png"
    assert "What is this? [picture]" in evening.read


async def test_a_picture_that_is_taken_away_is_not_shown_any_more(evening: Evening):
    files = [("a.png", picture_file(RED)), ("b.png", picture_file(BLUE))]
    asked = evening.ann.asks(evening.general, "Look", files=files)
    await evening.slack.reply(asked)
    assert len(shown_to(evening)) == 2
    evening.ann.deletes_file(asked)
    await evening.is_quiet()
    await evening.slack.reply(evening.ann.says(evening.general, "And now?", thread=asked))
    assert shown_to(evening) == []
    assert "Look\n" in evening.read


async def test_a_deleted_message_takes_its_picture_with_it(evening: Evening):
    asked = evening.ann.asks(evening.general, "Look", files=[("a.png", picture_file(RED))])
    await evening.slack.reply(asked)
    evening.ann.deletes(asked)
    await evening.is_quiet()
    assert await evening.running.store._database.read("SELECT 1 FROM message_pictures") == []


async def test_a_picture_above_the_thread_in_which_the_bot_is_asked_goes_along(evening: Evening):
    root = evening.bob.says(evening.general, "", files=[("a.png", picture_file(RED))])
    await evening.slack.reply(evening.ann.asks(evening.general, "What is this?", thread=root))
    assert len(shown_to(evening)) == 1
    assert "Bob: [picture]\nAnn: What is this?" in evening.read


async def test_what_is_no_picture_is_one_sentence(evening: Evening):
    evening.ann.asks(evening.general, "Look", files=[("a.png", b"Hello")])
    told = visible_text(await evening.slack.wait_for_whisper(evening.ann))
    assert "is not a PNG, JPEG, WebP or GIF file" in told


async def test_a_model_that_reads_text_only_says_so(tmp_path: Path):
    async with an_evening(tmp_path) as evening, evening.run():
        asked = evening.ann.asks(evening.general, "What is this?", files=[("a.png", picture_file(RED))])
        told = visible_text(await evening.slack.reply(asked))
        assert "Hello there." in told
        assert "scripted reads text only and has not seen the picture." in told

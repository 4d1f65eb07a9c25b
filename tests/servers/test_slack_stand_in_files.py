"""Files on the stand-in, by the real client: up in three steps, down with the token."""

from collections.abc import AsyncIterator

import aiohttp
import pytest
from slack_sdk.errors import SlackApiError

from tests.servers.plain_slack_bot import Office, at_office

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
async def office() -> AsyncIterator[Office]:
    async with at_office() as opened:
        yield opened


async def test_a_file_is_uploaded_and_shown_as_an_image(office: Office):
    uploaded = await office.client.files_upload_v2(
        content=PNG, filename="heat.png", title="Heat map", alt_txt="How surprised the model was"
    )
    file_id = uploaded["file"]["id"]
    image = {"type": "image", "slack_file": {"id": file_id}, "alt_text": "How surprised the model was"}
    await office.post(blocks=[image])
    assert office.ada.reads(office.general) == ["[image: How surprised the model was]"]
    for source, reason in (({"id": "F0"}, "there is none"), ({"url": "https://example.com/a.png"}, "there is none")):
        with pytest.raises(SlackApiError, match=reason):
            await office.post(blocks=[image | {"slack_file": source}])
    info = (await office.client.files_info(file=file_id))["file"]
    assert (info["mimetype"], info["title"], info["alt_txt"]) == ("image/png", "Heat map", image["alt_text"])
    await office.client.files_delete(file=file_id)
    with pytest.raises(SlackApiError, match="file_not_found"):
        await office.client.files_info(file=file_id)
    text = await office.client.files_upload_v2(content="words", filename="words.txt")
    with pytest.raises(SlackApiError, match="no image"):
        await office.post(blocks=[image | {"slack_file": {"id": text["file"]["id"]}}])


async def test_a_file_is_shared_in_a_channel(office: Office):
    asked = office.ada.says(office.general, "files?")
    await office.client.files_upload_v2(
        file_uploads=[{"content": "one", "filename": "one.txt"}, {"content": "two", "filename": "two.txt"}],
        channel=office.general.id,
        thread_ts=asked.ts,
        initial_comment="Here",
    )
    (message,) = office.slack.answers_to(asked)
    assert message.subtype == "file_share"
    assert [file.content for file in message.files] == [b"one", b"two"]


async def test_a_download_needs_the_token(office: Office):
    message = office.ada.says(office.general, "read this", files=[("notes.txt", b"words")])
    url = message.files[0].url_private
    async with aiohttp.ClientSession() as session:
        headers = {"Authorization": f"Bearer {office.slack.bot_token}"}
        async with session.get(url, headers=headers) as answer:
            assert (await answer.read(), answer.content_type) == (b"words", "text/plain")
        # Slack shows its page for signing in, with 200.
        async with session.get(url) as answer:
            assert (answer.status, answer.content_type) == (200, "text/html")
        async with session.get(f"{office.slack.world.base_url}/files-pri/T-F0/a.txt", headers=headers) as answer:
            assert answer.status == 404


async def test_an_upload_may_fail_and_must_be_whole(office: Office):
    office.slack.faults.once("upload", "error")
    with pytest.raises(Exception, match=r"502|non-JSON|Failed to upload"):
        await office.client.files_upload_v2(content="words", filename="words.txt")
    started = await office.client.files_getUploadURLExternal(filename="words.txt", length=5)
    with pytest.raises(SlackApiError, match="file_not_found"):
        await office.client.files_completeUploadExternal(files=[{"id": started["file_id"], "title": "Words"}])
    async with aiohttp.ClientSession() as session:
        async with session.post(started["upload_url"], data=b"word") as answer:
            assert answer.status == 400
        async with session.put(started["upload_url"], data=b"words") as answer:
            assert await answer.text() == "OK - 5"
    assert office.slack.broken == [
        "files.completeUploadExternal: an upload was completed before its bytes came",
        "upload: 4 bytes where 5 were announced",
    ]

"""What one person can have stored is bounded."""

from bot.commands.framework.request import MAX_BYTES_PER_HOUR
from tests.bots import HERE, Talk


async def test_a_file_that_the_command_does_not_read_is_not_stored(talk: Talk) -> None:
    await talk.ask("!fresh", attachment="abracadabra")
    await talk.ask("!next", attachment="simsalabim", has_buttons=True)
    first, second = await talk.store.load_messages(HERE, talk.message_ids)
    assert first.attachment is None
    assert second.attachment == "simsalabim"


async def test_above_the_hourly_limit_nothing_more_is_stored_of_a_person(talk: Talk) -> None:
    text = "a " * 130_000
    for _ in range(MAX_BYTES_PER_HOUR // len(text)):
        await talk.ask("!fresh", attachment=text, has_buttons=True)
    said = await talk.refusal("!fresh", attachment=text, has_buttons=True)
    assert said == "You sent 8 MiB within an hour, which is the limit. Try again in 60 min."
    assert "fresh" in (await talk.ask("!fresh", has_buttons=True, who="Bob"))["command"]

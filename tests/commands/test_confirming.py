"""Questions that a typed yes answers where there are no buttons."""

from tests.bots import Talk

DELETED = "sentiment is deleted; the built-in version is back."


async def publish_copy(talk: Talk) -> None:
    await talk.ask("!prompt tests sentiment add Fine => Positive")
    await talk.ask("!prompt publish sentiment")


async def test_yes_deletes_and_no_keeps(talk: Talk) -> None:
    await publish_copy(talk)
    asked = await talk.ask("!prompt delete sentiment")
    assert asked["text"].startswith("Delete version 1 of sentiment?")
    assert (await talk.ask("no"))["text"] == "Nothing was changed."
    assert (await talk.ask("yes"))["command"] == "chat"
    await talk.ask("!prompt delete sentiment nobody uses it")
    done = await talk.ask(" YES ")
    assert (done["command"], done["text"]) == ("prompt delete", DELETED)
    assert (await talk.ask("!prompt history sentiment"))["versions"][0]["reason"] == "nobody uses it"
    assert (await talk.ask("yes"))["command"] == "chat"


async def test_any_other_message_or_command_withdraws_the_question(talk: Talk) -> None:
    await publish_copy(talk)
    for between in ("Hello", "!fresh"):
        await talk.ask("!prompt delete sentiment")
        await talk.ask(between)
        assert (await talk.ask("yes"))["command"] == "chat"
    assert (await talk.ask("!prompt history sentiment"))["versions"][0]["action"] != "delete"


async def test_the_yes_of_somebody_else_is_a_message(talk: Talk) -> None:
    await publish_copy(talk)
    await talk.ask("!prompt delete sentiment")
    assert (await talk.ask("yes", who="Bob"))["command"] == "chat"
    assert (await talk.ask("yes"))["text"] == DELETED


async def test_yes_is_a_message_where_there_are_buttons(talk: Talk) -> None:
    await publish_copy(talk)
    await talk.card("!prompt delete sentiment", has_buttons=True)
    assert (await talk.card("yes", has_buttons=True)).data["command"] == "chat"


async def test_yes_erases_everything_stored_about_a_person(talk: Talk) -> None:
    await talk.ask("My cat is called Zorp.")
    asked = await talk.ask("!privacy --do forget")
    assert asked["text"].endswith("To confirm, type yes, or use !privacy --do forget-now.")
    done = await talk.ask("yes")
    assert done["command"] == "privacy"
    assert done["text"].startswith("Permanently erased: ")
    assert "Zorp" not in str((await talk.ask("!privacy --do export"))["records"])


async def test_somebody_who_is_not_read_is_asked_to_confirm_too(talk: Talk) -> None:
    await talk.ask("My cat is called Zorp.")
    await talk.ask("!privacy --read off")
    await talk.ask("!privacy --do forget")
    assert (await talk.ask("yes"))["text"].startswith("Permanently erased: ")

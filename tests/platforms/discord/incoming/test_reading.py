from datetime import UTC
from typing import Any

import discord
import pytest

from bot.core.messages import Message, Scope
from bot.errors import RequestError
from bot.platforms.discord.incoming.reading import read_edit, read_interaction, read_message, read_replied, read_target
from tests.platforms.discord.samples import (
    ADMINISTRATOR,
    ANA,
    BO,
    CHANNEL,
    DIRECT,
    MANAGE_GUILD,
    MANAGERS,
    ME,
    MESSAGE,
    READERS,
    ROBOT,
    SERVER,
    THREAD,
    Connection,
    direct,
    interaction,
    me,
    member,
    message,
    thread,
    user,
)

MENTIONS_ME = {"mentions": [{**me(), "member": member()}]}
IN_SERVER = Scope("discord", str(SERVER), str(CHANNEL))


def read(data: dict[str, Any], *, owner_id: int = 1, owner_ids: tuple[str, ...] = ()) -> Message | None:
    connection = Connection(owner_id=owner_id)
    return read_message(connection.message(data), connection.me, owner_ids=owner_ids)


def reply_to(author_id: int, *, kind: int = 0, **more: Any) -> dict[str, Any]:
    """Return what makes a message a reply (or a forwarded message, kind 1) to one of `author_id`."""
    replied = {**message("what I said"), "id": "77", "author": user(author_id, "somebody", **more)}
    # Discord leaves these out of the message replied to.
    replied = {name: value for name, value in replied.items() if name not in ("guild_id", "member")}
    reference = {"type": kind, "message_id": "77", "channel_id": str(CHANNEL), "guild_id": str(SERVER)}
    return {"type": 19 if kind == 0 else 0, "message_reference": reference, "referenced_message": replied}


async def test_a_member_message_is_read_with_all_that_the_payload_says() -> None:
    data = message("hello there", member=member(READERS, MANAGERS, nick="Ana B."))
    found = read(data)
    assert found is not None
    assert (found.id, found.scope, found.text) == (str(MESSAGE), IN_SERVER, "hello there")
    assert (found.author.id, found.author.name) == (str(ANA), "Ana B.")
    assert set(found.author.roles) == {str(READERS), str(MANAGERS)}
    assert not found.author.is_bot
    assert not found.is_addressed
    assert found.reply_to is None
    assert found.reach == "public"
    assert found.created_at_utc == discord.utils.snowflake_time(MESSAGE)
    assert found.created_at_utc.tzinfo is UTC


@pytest.mark.parametrize(
    "more",
    [
        {"author": user(ROBOT, "robot", bot=True)},
        {"author": user(ROBOT, "hook"), "webhook_id": str(ROBOT)},
        {"author": me()},
        {"type": 7},
        {"type": 18},
        {"type": 20, "author": user(ROBOT, "robot", bot=True)},
    ],
    ids=["bot", "webhook", "itself", "somebody joined", "thread created", "a command's answer"],
)
async def test_only_people_write_messages(more: dict[str, Any]) -> None:
    assert read(message("hello", **more)) is None


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (f"<@{ME}> hello", "hello"),
        (f"<@!{ME}>, hello", "hello"),
        (f"  <@{ME}>\n hello <@{ME}> ", "hello"),
        (f"hello, <@{ME}>!", "hello, @fewshot!"),
        (f"<@{ME}>", ""),
        (f"<@{ME}> <@{BO}> and <@999> met", "@Bo B and @member met"),
        (f"see <#{CHANNEL}> and <#{THREAD}> and <#9>", "see #general and #a thread and #channel"),
        (f"ask <@&{READERS}>, not <@&9>", "ask @readers, not @role"),
        ("a <:wave:123> and <a:dance:456>", "a :wave: and :dance:"),
        ("use </prompt run:123>", "use /prompt run"),
        ("1 < 2 <- @everyone <t:1700000000:R>", "1 < 2 <- @everyone <t:1700000000:R>"),
    ],
)
async def test_chat_reads_as_people_see_it(content: str, text: str) -> None:
    mentions = [*MENTIONS_ME["mentions"], {**user(BO, "bo"), "member": member(nick="Bo:\nB")}]
    found = read(message(content, mentions=mentions))
    assert found is not None
    assert found.text == text


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (f"!perplexity  <@{BO}> <:wave:1>\n ", f"!perplexity  <@{BO}> <:wave:1>\n "),
        (f"<@{ME}> !next who is <@{ME}>", f"!next who is <@{ME}>"),
        (f"<@{ME}>!help", "!help"),
        (f"!!! <@{BO}>", "!!! @Bo"),
    ],
)
async def test_a_command_keeps_its_text(content: str, text: str) -> None:
    found = read(message(content, mentions=[{**user(BO, "bo"), "member": member(nick="Bo")}]))
    assert found is not None
    assert found.text == text


@pytest.mark.parametrize(
    ("more", "is_addressed"),
    [
        (MENTIONS_ME, True),
        (reply_to(ME, bot=True), True),
        (reply_to(BO), False),
        (reply_to(ME, kind=1, bot=True), False),
        ({"mention_everyone": True}, False),
        ({"mention_roles": [str(READERS)]}, False),
        (
            {
                "type": 19,
                "message_reference": {"message_id": "77", "channel_id": str(CHANNEL)},
                "referenced_message": None,
            },
            False,
        ),
    ],
    ids=["mention", "reply", "reply to another", "forwarded", "everyone", "role", "reply to a deleted message"],
)
async def test_the_bot_is_addressed_by_a_mention_or_a_reply(more: dict[str, Any], is_addressed: bool) -> None:
    found = read(message("hello", **more))
    assert found is not None
    assert found.is_addressed is is_addressed


async def test_a_reply_names_the_message_and_a_forwarded_one_none() -> None:
    replied, forwarded = read(message(**reply_to(BO))), read(message(**reply_to(BO, kind=1)))
    assert replied is not None
    assert replied.reply_to == "77"
    assert forwarded is not None
    assert forwarded.reply_to is None


@pytest.mark.parametrize(
    ("more", "owner_id", "is_moderator"),
    [
        ({"member": member(READERS)}, 1, False),
        ({"member": member(MANAGERS)}, 1, True),
        ({"member": member()}, ANA, True),
        # Read over REST there is no membership.
        ({"member": None}, 1, False),
        ({"member": None}, ANA, True),
    ],
)
async def test_who_manages_the_server_is_a_moderator(more: dict[str, Any], owner_id: int, is_moderator: bool) -> None:
    data = {name: value for name, value in message("hello", **more).items() if value is not None}
    found = read(data, owner_id=owner_id)
    assert found is not None
    assert found.author.is_moderator is is_moderator


async def test_operators_are_moderators_everywhere() -> None:
    found = read(message("hello"), owner_ids=(str(ANA),))
    assert found is not None
    assert found.author.is_moderator


async def test_in_a_direct_message_the_bot_is_always_addressed() -> None:
    found = read(message("hello", channel=DIRECT, in_server=False))
    assert found is not None
    assert found.scope == Scope("discord", "@me", str(DIRECT))
    assert found.scope.kind == "direct"
    assert found.is_addressed
    assert found.reach == "private"


async def test_discord_s_own_account_is_not_a_person() -> None:
    assert read(message("hello", channel=DIRECT, in_server=False, author=user(ROBOT, "discord", system=True))) is None


async def test_a_thread_is_a_thread_of_its_channel() -> None:
    found = read(message("hello", channel=THREAD))
    assert found is not None
    assert found.scope == Scope("discord", str(SERVER), str(CHANNEL), str(THREAD))


async def test_a_server_that_is_not_known_yet_is_no_direct_message() -> None:
    found = read({**message("hello", channel=7), "guild_id": "8"})
    assert found is not None
    assert found.scope == Scope("discord", "8", "7")
    assert not found.is_addressed
    assert not found.author.is_moderator
    assert found.reach == "public"


async def test_the_message_replied_to_is_read_too() -> None:
    connection = Connection()
    found = read_replied(connection.message(message(**reply_to(BO))), connection.me)
    assert found is not None
    assert (found.id, found.scope, found.text) == ("77", IN_SERVER, "what I said")
    assert (found.author.id, found.author.is_bot) == (str(BO), False)
    robot = read_replied(connection.message(message(**reply_to(ROBOT, bot=True))), connection.me)
    assert robot is not None
    assert robot.author.is_bot


async def test_no_replied_message_is_read_if_it_is_the_bot_s_own_or_forwarded_or_missing() -> None:
    connection = Connection()
    for more in (reply_to(ME, bot=True), reply_to(BO, kind=1), {}):
        assert read_replied(connection.message(message(**more)), connection.me) is None


@pytest.mark.parametrize(
    ("more", "text", "is_bot"),
    [
        ({}, "hello <@900>", False),
        ({"author": user(ROBOT, "hook"), "webhook_id": str(ROBOT)}, "hello <@900>", True),
        ({"content": "", "message_snapshots": [{"message": message("<@1> said")}]}, "<@1> said", False),
    ],
    ids=["a member's", "a webhook's", "forwarded"],
)
async def test_the_message_of_a_menu_is_read_word_for_word(more: dict[str, Any], text: str, is_bot: bool) -> None:
    connection = Connection()
    scope = Scope("discord", "1", "2", "3")
    found = read_target(connection.message(message(**{"content": "hello <@900>", **more})), connection.me, scope)
    assert found is not None
    assert (found.id, found.scope, found.attachment or found.text) == (str(MESSAGE), scope, text)
    assert found.author.is_bot is is_bot


async def test_the_bot_s_own_message_is_no_target() -> None:
    connection = Connection()
    own = connection.message(message("hello", author=me()))
    assert read_target(own, connection.me, Scope("discord", "1", "2")) is None


async def test_forwarded_words_are_read_but_never_as_a_command() -> None:
    snapshots = [{"message": message("!fresh <:wave:12>")}, {"message": message("")}, {"message": message("and more")}]
    found = read(message("", message_snapshots=snapshots, **reply_to(BO, kind=1)))
    assert found is not None
    assert found.text == ""
    assert found.attachment == "!fresh :wave:\nand more"


async def test_an_edit_is_the_message_as_it_is_now_and_a_preview_is_no_edit() -> None:
    connection = Connection()
    for edited_at, text in (("2026-01-02T04:00:00.000000+00:00", "changed"), (None, None)):
        data = message("changed", edited_timestamp=edited_at)
        event = discord.RawMessageUpdateEvent(data=data, message=connection.message(data))  # type: ignore[arg-type]
        found = read_edit(event, connection.me)
        assert (found.text if found else None) == text


def read_click(**more: Any) -> tuple[Scope, Any]:
    connection = Connection()
    data = {name: value for name, value in interaction(2, {}, **more).items() if value is not None}
    return read_interaction(connection.interaction(data), owner_ids={str(BO)})


@pytest.mark.parametrize(
    ("permissions", "is_moderator"), [("0", False), (str(MANAGE_GUILD), True), (str(ADMINISTRATOR), True)]
)
async def test_an_interaction_in_a_server_says_what_its_member_may(permissions: str, is_moderator: bool) -> None:
    who = {**member(READERS, nick="Ana B."), "user": user(), "permissions": permissions}
    scope, author = read_click(member=who)
    assert scope == IN_SERVER
    assert scope.kind == "server"
    assert (author.id, author.name, author.roles) == (str(ANA), "Ana B.", (str(READERS),))
    assert author.is_moderator is is_moderator


async def test_an_operator_is_a_moderator_of_interactions_too() -> None:
    _, author = read_click(member={**member(), "user": user(BO, "bo"), "permissions": "0"})
    assert author.is_moderator


async def test_an_interaction_in_a_thread_of_a_server_that_the_bot_is_not_in_is_placed_too() -> None:
    scope, author = read_click(
        guild_id="8",
        guild={"id": "8", "locale": "en-US", "features": []},
        channel=thread(id="10", parent_id="9", guild_id="8"),
        authorizing_integration_owners={"1": str(ANA)},
        member={**member(MANAGERS), "user": user(), "permissions": str(MANAGE_GUILD)},
    )
    assert scope == Scope("discord", "8", "9", "10")
    assert scope.kind == "foreign"
    assert author.is_moderator


async def test_a_server_of_the_bot_is_no_foreign_one_for_somebody_who_brought_the_app_along() -> None:
    scope, _ = read_click(
        authorizing_integration_owners={"1": str(ANA)}, member={**member(), "user": user(), "permissions": "0"}
    )
    assert scope.kind == "server"


@pytest.mark.parametrize(
    ("place", "kind"),
    [(direct(), "direct"), (direct(context=2), "group"), (direct(kind=3, context=2), "group")],
    ids=["with the bot", "with another person", "in a group"],
)
async def test_outside_servers_discord_says_whether_it_is_a_direct_message_with_the_bot(
    place: dict[str, Any], kind: str
) -> None:
    scope, author = read_click(**place)
    assert scope == Scope("discord", "@me", str(DIRECT))
    assert scope.kind == kind
    assert not author.is_moderator


async def test_a_channel_of_an_unknown_kind_is_refused_with_a_sentence() -> None:
    with pytest.raises(RequestError, match="kind of channel"):
        read_click(channel={"id": "55", "type": 99})

"""Evenings with `python -m bot discord` as a program: each is played once, and the tests look at what came of it."""

import asyncio
import signal
import sqlite3
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial

from tests.platforms.discord.connecting import TOKEN
from tests.platforms.discord.operating import Ended, Operator
from tests.servers.discord import Discord, labels, serve_discord, visible_text
from tests.servers.discord.faults import Fault
from tests.servers.discord.interactions import InteractionResult
from tests.servers.discord.permissions import Permission
from tests.servers.discord.world import EPOCH_MS, Channel, Message, User

# Until the program is killed; what is left of them is cleared then.
_MANY = 1000


@dataclass
class Evening:
    """What was seen in three runs of one bot: ended in order, killed, and ended by two signals."""

    discord: Discord
    errs: list[str] = field(default_factory=list)
    ended: list[Ended] = field(default_factory=list)
    num_syncs: list[int] = field(default_factory=list)
    asked: dict[str, Message] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    num_kept: dict[str, int] = field(default_factory=dict)
    refusal: str = ""
    deferred: InteractionResult | None = None
    why: str = ""
    second: tuple[int, str] = (0, "")
    notices: list[str] = field(default_factory=list)

    def answers(self, name: str) -> list[Message]:
        return self.discord.answers_to(self.asked[name])

    def is_being_written(self, name: str) -> bool:
        return any("Stop" in labels(answer) for answer in self.answers(name))


async def play_evening(operator: Operator) -> Evening:
    """Let members talk while the bot is ended, started, killed and started again."""
    async with serve_discord(token=TOKEN) as discord:
        world = discord.world
        guild = world.add_guild("Home", channels=["long", "short", "lost", "late", "away"])
        world.add_guild("Silent", bot_permissions=0, everyone=int(Permission.VIEW_CHANNEL))
        people = {name: discord.add_member(guild, name) for name in ("Ada", "Bob", "Cal", "Dan", "Eve")}
        seen = Evening(discord)

        def ask(name: str, who: str, channel: str) -> None:
            seen.asked[name] = people[who].says(guild.channel(channel), f"Tell me, {name}", mention_bot=True)

        async def begun(name: str) -> None:
            await world.wait_until(lambda: seen.is_being_written(name), 30, lambda: f"{name} to be written")

        async with operator.online(discord, LOG_LEVEL="INFO") as run:
            seen.num_syncs.append(discord.num_command_syncs)
            owner = discord.owner_of(guild)
            await discord.reply(owner.says(guild.channel("long"), "!settings chat_template saga"))
            ask("while it ends", "Ada", "long")
            await begun("while it ends")
            ending = asyncio.create_task(run.end(signal.SIGTERM))
            await run.says("Finishing")
            ask("too late for this run", "Bob", "short")
            refused = await people["Bob"].slash(guild.channel("short"), "help")
            seen.refusal = visible_text(refused.message) if refused.message else ""
            seen.ended.append(await ending)
            seen.texts["while it ends"] = visible_text(seen.answers("while it ends")[0])
            seen.texts["left"] = str(len(seen.answers("too late for this run")))
        seen.errs.append(run.err)

        async with operator.online(discord) as run:
            await discord.reply(seen.asked["too late for this run"])
            seen.num_syncs.append(discord.num_command_syncs)
            await _leave_undone(seen, ask, begun, partial(people["Eve"].slash, guild.channel("away")))
            seen.ended.append(await run.end(signal.SIGKILL))
        seen.errs.append(run.err)
        discord.faults.clear()
        ask("while it was away", "Eve", "away")
        _add_old_messages(discord, guild.channel("late"), people["Bob"].user, 2)
        _set_watermark_back(operator)

        async with operator.online(discord, "--sync") as run:
            seen.num_syncs.append(discord.num_command_syncs)
            for message in seen.asked.values():
                await discord.reply(message, 30)
            await seen.deferred.finished(20)
            late = await discord.wait_for_message(guild.channel("late"))
            seen.notices = [visible_text(late)]
            why = await (await people["Dan"].slash(guild.channel("lost"), "why")).finished()
            seen.why = visible_text(why.message) if why.message else ""
            async with operator.run(discord.environment) as second:
                seen.second = (await second.ended(), second.err)
            seen.errs.append(second.err)
            ask("at the very end", "Ada", "long")
            await begun("at the very end")
            run.process.send_signal(signal.SIGINT)
            await run.says("Finishing")
            seen.ended.append(await run.end(signal.SIGINT))
        seen.errs.append(run.err)
        seen.num_kept = {name: _num_kept(operator, message) for name, message in seen.asked.items()}
        return seen


async def _leave_undone(
    seen: Evening,
    ask: Callable[[str, str, str], None],
    begun: Callable[[str], Awaitable[None]],
    slash: Callable[..., Awaitable[InteractionResult]],
) -> None:
    """Bring requests to every moment at which a program that is killed leaves something undone."""
    discord = seen.discord
    faults = discord.faults
    ask("half written", "Ada", "long")
    await begun("half written")
    faults.once("webhook", "error", _MANY)
    seen.deferred = await slash("complete", text="Once upon a time", max_new_tokens=5)
    # The answer arrives, and the program does not hear of it.
    faults.once("send", "accepted_then_error")
    faults.once("send", "error", _MANY)
    ask("shown but not noted", "Cal", "short")
    await discord.wait_for_reply(seen.asked["shown but not noted"])
    seen.texts["shown but not noted"] = visible_text(seen.answers("shown but not noted")[0])
    ask("nothing shown", "Dan", "lost")
    path = f"/channels/{seen.asked['nothing shown'].channel.id}/messages"
    tried = {"webhook": "@original", "send": path}
    await discord.world.wait_until(
        lambda: all(any(r.fault and r.path.endswith(end) for r in discord.requests) for end in tried.values()),
        10,
        "the program to try in vain",
    )
    assert seen.is_being_written("half written")


def _add_old_messages(discord: Discord, channel: Channel, author: User, num: int) -> None:
    """Let messages stand in `channel` that were written 20 minutes ago."""
    for number in range(num):
        then = time.time() - 1200 + number
        message_id = (int(then * 1000) - EPOCH_MS) << 22
        text = f"<@{discord.world.bot.id}> Are you there?"
        message = Message(message_id, channel, author, text, mention_ids=[discord.world.bot.id], created_at=then)
        discord.world.messages[message_id] = message
        channel.messages.append(message)


def _set_watermark_back(operator: Operator) -> None:
    """Let the bot have been away for half an hour, as far as it knows."""
    then = (int((time.time() - 1800) * 1000) - EPOCH_MS) << 22
    with sqlite3.connect(operator.program({}).database) as database:
        database.execute("UPDATE watermarks SET message_id = ?", (str(then),))
    database.close()


def _num_kept(operator: Operator, message: Message) -> int:
    database = sqlite3.connect(operator.program({}).database)
    try:
        (num,) = database.execute(
            "SELECT count(*) FROM messages WHERE reply_to = ? AND is_me = 1", (str(message.id),)
        ).fetchone()
    finally:
        database.close()
    return int(num)


@dataclass
class WithoutIntent:
    """What was seen of a bot without the message-content intent, on a network that hangs at last."""

    discord: Discord
    errs: list[str] = field(default_factory=list)
    ended: list[Ended] = field(default_factory=list)
    answers: dict[str, str] = field(default_factory=dict)
    num_to_others: int = 0


async def play_without_intent(operator: Operator) -> WithoutIntent:
    """Refuse the intent at the gateway, later say so beforehand; let the network hang in between."""
    async with serve_discord(token=TOKEN) as discord:
        world = discord.world
        guild = world.add_guild("Home", channels=["general"])
        general = guild.channel("general")
        ada = discord.add_member(guild, "Ada")
        seen = WithoutIntent(discord)
        async with operator.run(discord.environment) as run:
            await run.says("Model: ")
            world.is_message_content_granted = False
            await run.says("is on Discord")
            other = ada.says(general, "!help")
            mention = await discord.reply(ada.says(general, "Hello", mention_bot=True))
            reply = await discord.reply(ada.says(general, "And then?", reply_to=mention))
            direct = await discord.reply(ada.dm("Hello"))
            slash = await (await ada.slash(general, "stats")).finished()
            assert slash.message is not None
            shown = {"mention": mention, "reply": reply, "direct": direct, "slash": slash.message}
            seen.answers = {way: visible_text(message) for way, message in shown.items()}
            seen.num_to_others = len(discord.answers_to(other))
            asked = ada.says(general, "Before it hangs", mention_bot=True)
            discord.faults.sometimes("any", Fault("slow", delay_s=60), 1.0)
            await world.wait_until(lambda: _has_heard(operator, asked), 10, "the message to be accepted")
            for connection in discord.gateway.connections:
                connection.request.transport.pause_reading()
            seen.ended.append(await run.end(signal.SIGTERM))
        seen.errs.append(run.err)
        discord.faults.clear()
        async with operator.online(discord) as run:
            await discord.reply(asked)
            seen.ended.append(await run.end(signal.SIGINT))
        seen.errs.append(run.err)
        discord.assert_clean()
        return seen


def _has_heard(operator: Operator, message: Message) -> bool:
    database = sqlite3.connect(operator.program({}).database)
    try:
        return bool(database.execute("SELECT 1 FROM inbox WHERE message_id = ?", (str(message.id),)).fetchall())
    finally:
        database.close()


@dataclass(frozen=True, slots=True)
class Attempt:
    """A start that came to nothing, or only had something to print."""

    status: int
    out: str
    err: str


async def play_newcomers(operator: Operator) -> dict[str, Attempt]:
    """Start the program in every way in which it can't run, and for the link alone; all at once."""

    async def tries(name: str, environment: dict[str, str], *arguments: str) -> tuple[str, Attempt]:
        async with operator.run({"LOG_LEVEL": "INFO", **environment}, *arguments) as run:
            status = await run.ended()
        return name, Attempt(status, run.out, run.err)

    async with AsyncExitStack() as stack:
        # Each its own: what goes wrong is planned for the next request, whoever makes it.
        fine, failing, banned = [await stack.enter_async_context(serve_discord(token=TOKEN)) for _ in range(3)]
        failing.faults.sometimes("any", Fault("error", status=500), 1.0)
        banned.faults.sometimes("any", "banned", 1.0)
        closed = {"DISCORD_API_BASE": "http://127.0.0.1:9/api/v10", "DISCORD_TOKEN": TOKEN}
        unknown = {"DISCORD_API_BASE": "http://discord.invalid/api/v10", "DISCORD_TOKEN": TOKEN}
        other_token = TOKEN.replace("0123", "9999")
        attempts = await asyncio.gather(
            tries("no token", {**fine.environment, "DISCORD_TOKEN": ""}),
            tries("malformed token", {**fine.environment, "DISCORD_TOKEN": "my-own-secret"}),
            tries("refused token", {**fine.environment, "DISCORD_TOKEN": other_token}),
            tries("no network", closed),
            tries("no such name", unknown),
            tries("error 500", failing.environment),
            tries("banned", banned.environment),
            tries("invite", fine.environment, "--invite"),
        )
        fine.assert_clean()
        return dict(attempts)

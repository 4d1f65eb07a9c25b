"""Evenings with `python -m bot discord` as a program: each is played once, and the tests check its results."""

import asyncio
import signal
import sqlite3
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from tests.platforms.discord.connecting import TOKEN
from tests.platforms.discord.operating import Ended, Operator
from tests.servers.discord import Discord, labels, serve_discord, visible_text
from tests.servers.discord.faults import Fault
from tests.servers.discord.interactions import InteractionResult
from tests.servers.discord.members import Member
from tests.servers.discord.permissions import Permission
from tests.servers.discord.world import EPOCH_MS, Channel, Guild, Message, User

# Until the program is killed; what is left of them is cleared then.
_MANY = 1000


@dataclass
class Evening:
    """The results of three runs of one bot: ended in order, killed, and ended by two signals."""

    discord: Discord
    operator: Operator
    guild: Guild
    people: dict[str, Member]
    errs: list[str] = field(default_factory=list)
    ended: list[Ended] = field(default_factory=list)
    num_syncs: list[int] = field(default_factory=list)
    asked: dict[str, Message] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    num_kept: dict[str, int] = field(default_factory=dict)
    deferred: InteractionResult | None = None
    second: tuple[int, str] = (0, "")

    def ask(self, name: str, who: str, channel: str) -> Message:
        """Let somebody mention the bot; the message is known as `name` from then on."""
        place = self.guild.channel(channel)
        self.asked[name] = self.people[who].says(place, f"Tell me, {name}", mention_bot=True)
        return self.asked[name]

    async def command(self, who: str, channel: str, name: str, **values: Any) -> InteractionResult:
        """Let somebody use a slash command."""
        return await self.people[who].slash(self.guild.channel(channel), name, **values)

    def answers(self, name: str) -> list[Message]:
        """Return the bot's visible messages that answer `name`."""
        return self.discord.answers_to(self.asked[name])

    def is_being_written(self, name: str) -> bool:
        """Say whether what is visible of the answer to `name` has a Stop button."""
        return any("Stop" in labels(answer) for answer in self.answers(name))

    async def is_begun(self, name: str) -> None:
        """Wait until a part of the answer to `name` is visible."""
        await self.discord.world.wait_until(
            lambda: self.is_being_written(name), 30, lambda: f"an answer to {name!r} that is being written"
        )


async def play_evening(operator: Operator) -> Evening:
    """Let members talk while the bot is ended, started, killed and started again."""
    async with serve_discord(token=TOKEN) as discord:
        guild = discord.world.add_guild("Home", channels=["long", "short", "lost", "late", "away"])
        discord.world.add_guild("Silent", bot_permissions=0, everyone=int(Permission.VIEW_CHANNEL))
        people = {name: discord.add_member(guild, name) for name in ("Ada", "Bob", "Cal", "Dan", "Eve")}
        seen = Evening(discord, operator, guild, people)
        await _end_in_order(seen)
        await _kill(seen)
        await _come_back(seen)
        seen.num_kept = {name: _num_kept(operator, message) for name, message in seen.asked.items()}
        return seen


async def _end_in_order(seen: Evening) -> None:
    """Run the bot, and end it while it writes and others talk to it."""
    discord = seen.discord
    async with seen.operator.online(discord, LOG_LEVEL="INFO") as run:
        seen.num_syncs.append(discord.num_command_syncs)
        owner = discord.owner_of(seen.guild)
        await discord.reply(owner.says(seen.guild.channel("long"), "!settings chat_template saga"))
        seen.ask("while it ends", "Ada", "long")
        await seen.is_begun("while it ends")
        ending = asyncio.create_task(run.end(signal.SIGTERM))
        await run.says("Finishing")
        seen.ask("too late for this run", "Bob", "short")
        refused = await seen.command("Bob", "short", "help")
        seen.texts["refusal"] = visible_text(refused.message) if refused.message else ""
        seen.ended.append(await ending)
        seen.texts["while it ends"] = visible_text(seen.answers("while it ends")[0])
        seen.texts["left"] = str(len(seen.answers("too late for this run")))
    seen.errs.append(run.err)


async def _kill(seen: Evening) -> None:
    """Run the bot, and kill it at every moment that leaves something unfinished."""
    discord, faults = seen.discord, seen.discord.faults
    async with seen.operator.online(discord) as run:
        await discord.reply(seen.asked["too late for this run"])
        seen.num_syncs.append(discord.num_command_syncs)
        seen.ask("half written", "Ada", "long")
        await seen.is_begun("half written")
        # Refused at once, the answer is deferred, and then it can't be shown.
        faults.once("callback", Fault("error", status=400))
        faults.once("webhook", "error", _MANY)
        seen.deferred = await seen.command("Eve", "away", "complete", text="Once upon a time", max_new_tokens=5)
        # The answer arrives, and the program does not hear of it.
        faults.once("send", "accepted_then_error")
        faults.once("send", "error", _MANY)
        shown = await discord.wait_for_reply(seen.ask("shown but not noted", "Cal", "short"))
        seen.texts["shown but not noted"] = visible_text(shown)
        lost = seen.ask("nothing shown", "Dan", "lost").channel
        paths = ("@original", f"/channels/{lost.id}/messages")
        await discord.world.wait_until(
            lambda: all(any(one.fault and one.path.endswith(path) for one in discord.requests) for path in paths),
            10,
            "the program to try in vain",
        )
        if not seen.is_being_written("half written"):
            raise AssertionError("the long answer was written too soon")
        seen.ended.append(await run.end(signal.SIGKILL))
    seen.errs.append(run.err)
    faults.clear()


async def _come_back(seen: Evening) -> None:
    """Run the bot after a long absence, try to start a second one, and end it by two signals."""
    discord, late = seen.discord, seen.guild.channel("late")
    seen.ask("while it was away", "Eve", "away")
    _add_old_messages(discord, late, seen.people["Bob"].user, 2)
    _set_watermark_back(seen.operator)
    async with seen.operator.online(discord, "--sync") as run:
        seen.num_syncs.append(discord.num_command_syncs)
        for message in seen.asked.values():
            await discord.reply(message, 30)
        if seen.deferred is not None:
            await seen.deferred.finished(20)
        seen.texts["notice"] = visible_text(await discord.wait_for_message(late))
        why = await (await seen.command("Dan", "lost", "why")).finished()
        seen.texts["why"] = visible_text(why.message) if why.message else ""
        async with seen.operator.run(discord.environment) as second:
            seen.second = (await second.ended(), second.err)
        seen.errs.append(second.err)
        seen.ask("at the very end", "Ada", "long")
        await seen.is_begun("at the very end")
        run.process.send_signal(signal.SIGINT)
        await run.says("Finishing")
        seen.ended.append(await run.end(signal.SIGINT))
    seen.errs.append(run.err)


def _add_old_messages(discord: Discord, channel: Channel, author: User, num: int) -> None:
    """Add messages to `channel` that were written 20 minutes ago."""
    for number in range(num):
        then = time.time() - 1200 + number
        message_id = (int(then * 1000) - EPOCH_MS) << 22
        text = f"<@{discord.world.bot.id}> Are you there?"
        message = Message(message_id, channel, author, text, mention_ids=[discord.world.bot.id], created_at=then)
        discord.world.messages[message_id] = message
        channel.messages.append(message)


def _set_watermark_back(operator: Operator) -> None:
    """Make the bot believe that it was away for half an hour."""
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
    """The results of a bot without the message-content intent, on a network that hangs at the end."""

    discord: Discord
    errs: list[str] = field(default_factory=list)
    ended: list[Ended] = field(default_factory=list)
    answers: dict[str, str] = field(default_factory=dict)
    num_to_others: int = 0


async def play_without_intent(operator: Operator) -> WithoutIntent:
    """Refuse the intent at the gateway, later announce that before; let the network hang in between."""
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
                if isinstance(connection.request.transport, asyncio.Transport):
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
    """A start that failed, or only printed something."""

    status: int
    out: str
    err: str


async def play_newcomers(operator: Operator) -> dict[str, Attempt]:
    """Start the program in every way that fails, and once for the link only; all at once."""

    async def tries_to_be_ended(environment: dict[str, str]) -> tuple[str, Attempt]:
        async with operator.run(environment) as run:
            await hanging.world.wait_until(lambda: hanging.faults.num_injected, 60, "the program to log in")
            ended = await run.end(signal.SIGTERM)
        return "ended at once", Attempt(ended.status, run.out, run.err)

    async def tries(name: str, environment: dict[str, str], *arguments: str) -> tuple[str, Attempt]:
        async with operator.run({"LOG_LEVEL": "INFO", **environment}, *arguments) as run:
            status = await run.ended()
        return name, Attempt(status, run.out, run.err)

    async with AsyncExitStack() as stack:
        # One stand-in each: a fault is planned for the next request, no matter which program makes it.
        fine, failing, banned, hanging = [await stack.enter_async_context(serve_discord(token=TOKEN)) for _ in range(4)]
        failing.faults.sometimes("any", Fault("error", status=500), 1.0)
        banned.faults.sometimes("any", "banned", 1.0)
        hanging.faults.sometimes("any", Fault("slow", delay_s=60), 1.0)
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
            tries_to_be_ended(hanging.environment),
        )
        fine.assert_clean()
        return dict(attempts)

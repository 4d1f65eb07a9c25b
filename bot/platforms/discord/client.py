"""The connection to Discord: passes each event to the object that handles it."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import aiohttp
import discord
from discord.ext import commands
from yarl import URL

from bot.background import cancel, keep_running
from bot.commands.bot import COMMANDS, Bot
from bot.core.shards import Shards
from bot.errors import Unavailable
from bot.platforms.discord.heartbeat import count_shards, find_gateway_problem
from bot.platforms.discord.incoming.attachments import CDN_ORIGINS
from bot.platforms.discord.incoming.intake import Intake
from bot.platforms.discord.incoming.payloads import UNREADABLE, guard_parsers
from bot.platforms.discord.incoming.servers import Servers
from bot.platforms.discord.interactions.command_tree import CommandTree, add_commands, sync_if_changed
from bot.platforms.discord.interactions.interactions import Interactions
from bot.platforms.discord.interactions.items import CardButton, CardSelect, StopButton
from bot.platforms.discord.outgoing.permissions import TO_SEND, listed, missing_in, refused_in
from bot.platforms.discord.outgoing.request_limit import RequestLimit
from bot.platforms.discord.outgoing.retries import DEADLINE_S
from bot.platforms.discord.outgoing.sender import Sender
from bot.platforms.discord.outgoing.welcome import find_place
from bot.platforms.discord.platform import DiscordPlatform
from bot.platforms.discord.starting import NO_CONTENT_NOTICE, Application, limit_backoff, use_gateway_of_api
from bot.platforms.shared.answering import Answering
from bot.platforms.shared.unfinished import PAUSE_S, Unfinished
from bot.services.ledger import Delivery

logger = logging.getLogger(__name__)

_TREE_HASH: Final = "discord_command_tree"
# Discord allows one IDENTIFY in five seconds, for each bucket of shards.
IDENTIFY_PAUSE_S: Final = 5.0
# So late after a program has claimed its turn, on the database's clock, its IDENTIFY may arrive.
_ARRIVING_S: Final = 0.25
# A program that ends while it sends the slash commands keeps others from that for so long.
_SENDING_S: Final = 60.0
_LOOK_S: Final = 0.5
# For so long a shard keeps its turn while its connection is opened.
_CONNECTING_S: Final = 20.0


def _intents(application: Application) -> discord.Intents:
    intents = discord.Intents.none()
    intents.guilds = True
    intents.guild_messages = True
    intents.dm_messages = True
    intents.message_content = application.has_message_content
    return intents


class FewshotClient(commands.AutoShardedBot):
    """The bot's connection to Discord. It caches almost nothing, so it needs little memory on large servers.

    `requests` limits the requests of this process; `tell` prints a sentence for the operator. `forces_sync` sends the
    slash commands even if they are unchanged. `shards` are those of this program; other programs have the others (None:
    it has all). `deadline_s` limits the retries of one request to Discord;
    `retry_pause_s` is the pause before an answer that could not be shown is tried again.
    """

    def __init__(
        self,
        bot: Bot,
        delivery: Delivery,
        application: Application,
        *,
        requests: RequestLimit | None = None,
        owner_ids: frozenset[str] = frozenset(),
        api_base: str = "",
        forces_sync: bool = False,
        tell: Callable[[str], None] = lambda _: None,
        shards: Shards | None = None,
        identify_pause_s: float = IDENTIFY_PAUSE_S,
        deadline_s: float = DEADLINE_S,
        retry_pause_s: float = PAUSE_S,
    ) -> None:
        requests = requests or RequestLimit()
        super().__init__(
            command_prefix=commands.when_mentioned,  # required but unused: on_message is our own
            tree_cls=CommandTree,
            help_command=None,
            intents=_intents(application),
            allowed_mentions=discord.AllowedMentions.none(),
            max_messages=None,
            member_cache_flags=discord.MemberCacheFlags.none(),
            chunk_guilds_at_startup=False,
            activity=discord.CustomActivity(bot.model_line),
            http_trace=requests.trace(),
            # None is what discord.py itself takes for all of them.
            shard_ids=shards.ids if shards else None,  # type: ignore[arg-type]
            shard_count=shards.total if shards else None,
        )
        guard_parsers(self._connection)
        self._bot = bot
        self._delivery = delivery
        self._api_base = api_base
        self._has_content = application.has_message_content
        self._bot_owner_ids = owner_ids
        self._forces_sync = forces_sync
        self._identify_pause_s = identify_pause_s
        self._shards = shards
        self._num_buckets = 1
        # When each shard got its turn to begin a session, by the monotonic clock.
        self._turns: dict[int, float] = {}
        self._tell = tell
        # A test server hosts its own files.
        self._file_origins = (*CDN_ORIGINS, *([str(URL(api_base).origin())] if api_base else []))
        self._is_started = False
        self.sender = Sender(on_missing_permission=self._missing_permission, requests=requests, deadline_s=deadline_s)
        bot.show_figure(
            "num_refused_requests", "requests refused by Discord in 10 minutes", lambda: requests.invalid.num_recent
        )
        bot.watch_connection(lambda: count_shards(self), lambda: find_gateway_problem(self))
        platform = DiscordPlatform(self, self.sender, command_prefix=bot.command_prefix)
        self.answering = Answering(bot, delivery, platform)
        bot.name_places_by(platform.name_of)
        self._session: aiohttp.ClientSession | None = None
        self._unfinished = Unfinished(delivery, self.answering, platform, pause_s=retry_pause_s)
        self._servers = Servers(bot, delivery, self.answering, self.sender, application, shards)
        self._resuming: asyncio.Task[None] | None = None
        self._reading: dict[int, asyncio.Task[None]] = {}
        self._intake: Intake | None = None
        self._interactions: Interactions | None = None

    async def setup_hook(self) -> None:
        """Register the buttons of earlier runs, and send the slash commands to Discord if they changed."""
        if self._api_base:
            await use_gateway_of_api(self)
        if self._delivery.is_shared:
            _, _, limit = await self.http.get_bot_gateway()
            self._num_buckets = max(1, int(limit.get("max_concurrency", 1)))
        self.add_dynamic_items(CardButton, CardSelect, StopButton)
        self._session = aiohttp.ClientSession()
        self._start_taking(self._session)
        add_commands(self.tree, COMMANDS, self.interactions, command_prefix=self._bot.command_prefix)
        await self._unfinished.load()
        await self._send_commands()
        if not self._has_content:
            self._tell(NO_CONTENT_NOTICE)

    def _start_taking(self, session: aiohttp.ClientSession) -> None:
        me = self.user
        if me is None:
            raise RuntimeError("the client has not logged in")
        self._intake = Intake(
            self._bot,
            self._delivery,
            self.answering,
            self.sender,
            me=me,
            session=session,
            owner_ids=self._bot_owner_ids,
            file_origins=self._file_origins,
        )
        self._interactions = Interactions(
            self._bot,
            self._delivery,
            self.answering,
            self.sender,
            self._intake.arrivals,
            me=me,
            session=session,
            owner_ids=self._bot_owner_ids,
            file_origins=self._file_origins,
        )

    @property
    def intake(self) -> Intake:
        """Return the handler of messages. Raises RuntimeError before the login."""
        if self._intake is None:
            raise RuntimeError("the client has not logged in")
        return self._intake

    @property
    def interactions(self) -> Interactions:
        """Return the handler of interactions. Raises RuntimeError before the login."""
        if self._interactions is None:
            raise RuntimeError("the client has not logged in")
        return self._interactions

    async def _send_commands(self) -> None:
        async def read_hash() -> str | None:
            return await self._delivery.recall(_TREE_HASH)

        async def write_hash(value: str) -> None:
            await self._delivery.remember(_TREE_HASH, value)

        try:
            if await sync_if_changed(
                self.tree, read_hash, write_hash, force=self._forces_sync, alone=self._sends_alone
            ):
                logger.info("the slash commands were sent to Discord")
        except (discord.HTTPException, OSError, TimeoutError, Unavailable, *UNREADABLE) as e:
            self._tell(
                f"The slash commands could not be sent to Discord ({type(e).__name__}). The next start tries again."
            )

    @asynccontextmanager
    async def _sends_alone(self) -> AsyncIterator[None]:
        """Let no other program send the slash commands while the block runs. Raises Unavailable."""
        await self._claim("commands", _SENDING_S)
        try:
            yield
        finally:
            if self._delivery.is_shared:
                with suppress(Unavailable):
                    await self._delivery.release("commands")

    async def _claim(self, name: str, for_s: float) -> None:
        """Wait until none of the programs that share the platform has `name`, and have it. Raises Unavailable."""
        while self._delivery.is_shared and (left_s := await self._delivery.claim(name, for_s)):  # noqa: ASYNC110
            await asyncio.sleep(min(left_s, _LOOK_S))

    # ---- the connection

    async def launch_shard(self, gateway: URL, shard_id: int, *, initial: bool = False) -> None:
        """Open the connection of a shard when it is its turn: nobody reads one that waits, so it would break."""
        await self._wait_for_turn(shard_id)
        await super().launch_shard(gateway, shard_id, initial=initial)

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        """Prepare for a new session before its first event, and keep Discord's pause between two of them."""
        shard_id = shard_id or 0
        await self.intake.expect(shard_id, self.shard_count or 1)
        if self._delivery.is_shared and await self._has_turn(shard_id):
            return
        if not initial:
            await asyncio.sleep(self._identify_pause_s)

    async def _has_turn(self, shard_id: int) -> bool:
        """Begin the pause after the turn of a shard, which is waited for if it had none; return False if none is known.

        It has one from `launch_shard`; a connection that was broken is opened again without that.
        """
        if time.monotonic() - self._turns.pop(shard_id, -_CONNECTING_S) > _CONNECTING_S / 2:
            await self._wait_for_turn(shard_id)
            if self._turns.pop(shard_id, None) is None:
                return False
        bucket = f"identify {shard_id % self._num_buckets}"
        with suppress(Unavailable):  # then the others wait longer
            await self._delivery.prolong(bucket, self._identify_pause_s + _ARRIVING_S)
        return True

    async def _wait_for_turn(self, shard_id: int) -> None:
        """Wait until no other program is about to begin a session in the bucket of a shard."""
        try:
            await self._claim(f"identify {shard_id % self._num_buckets}", _CONNECTING_S)
            self._turns[shard_id] = time.monotonic()
        except Unavailable as e:
            logger.info("other programs can't be asked when a session may begin: %s", e)

    def dispatch(self, event: str, /, *args: Any, **kwargs: Any) -> None:
        """Update the watermarks at once, then let discord.py dispatch the event."""
        if self._intake is None:
            pass
        elif event == "message":
            self._intake.saw(args[0])
        elif event == "shard_disconnect":
            self._intake.lost(args[0])
        elif event in ("shard_connect", "shard_resumed"):
            self._intake.connected(args[0])
        super().dispatch(event, *args, **kwargs)

    async def on_shard_ready(self, shard_id: int) -> None:
        """Answer the unfinished requests of the last run, then the messages sent since."""
        if (shard := self.get_shard(shard_id)) is not None:
            limit_backoff(shard)
        if not self._is_started:
            self._is_started = True
            part = "" if self._shards is None else f" ({self._shards.phrase})"
            self._tell(f"{self.user} is on Discord, in {_counted(len(self.guilds), 'server')}{part}.")
            for guild in self.guilds:
                if not guild.unavailable and find_place(guild) is None:
                    # Without any channel to look at, it is the likeliest.
                    missing = next(filter(None, (missing_in(one, TO_SEND) for one in guild.text_channels)), None)
                    names = " and ".join(missing or ("Send Messages",))
                    self._tell(f"The bot may not write in the server {guild.name!r}. Give its role {names}.")
            await self._unfinished.answer_all()
            self._resuming = keep_running(self._unfinished.answer_undelivered, "resuming undelivered answers")
        guilds = [guild for guild in self.guilds if guild.shard_id == shard_id]
        find_direct = self._direct_channels if shard_id == 0 else None
        if (earlier := self._reading.get(shard_id)) is not None:
            await cancel(earlier)
        # Until it is done, the watermark stands still.
        self._reading[shard_id] = keep_running(
            lambda: self.intake.read_back(shard_id, guilds, find_direct), "reading back what was missed"
        )

    async def _direct_channels(self) -> list[discord.PartialMessageable]:
        """Return the channels of direct messages that were used last. Raises Unavailable."""
        ids = await self._delivery.direct_channels()
        return [self.get_partial_messageable(int(one), type=discord.ChannelType.private) for one in ids]

    async def on_ready(self) -> None:
        """Erase the servers that removed the bot while it was away; all shards are ready."""
        await self._servers.forget_left([guild.id for guild in self.guilds])

    async def drain(self, timeout_s: float) -> None:
        """Accept nothing new, and let running answers finish for at most `timeout_s`."""
        for taking in (self._intake, self._interactions):
            if taking is not None:  # None before the login
                taking.stop_taking()
        await self.answering.drain(timeout_s)

    async def close(self) -> None:
        """Close the connection and save the watermarks."""
        if self._intake is not None and not self.is_closed():
            await self.drain(0)
            await self._intake.close()
        for task in (self._resuming, *self._reading.values()):
            if task is not None:
                task.cancel()
        if self._session is not None:
            await self._session.close()
        await super().close()

    # ---- events

    async def on_message(self, message: discord.Message, /) -> None:
        """Handle a message."""
        await self.intake.take(message)

    async def on_raw_message_edit(self, event: discord.RawMessageUpdateEvent) -> None:
        """Handle an edit."""
        await self.intake.edited(event)

    async def on_raw_message_delete(self, event: discord.RawMessageDeleteEvent) -> None:
        """Erase a deleted message."""
        await self.intake.deleted([event.message_id])

    async def on_raw_bulk_message_delete(self, event: discord.RawBulkMessageDeleteEvent) -> None:
        """Erase many deleted messages."""
        await self.intake.deleted(sorted(event.message_ids))

    async def on_guild_join(self, guild: discord.Guild) -> None:
        """Post the welcome card."""
        await self._servers.joined(guild)

    async def on_guild_available(self, guild: discord.Guild) -> None:
        """Read back a server that became available after its shard."""
        await self.intake.read_back_late(guild)

    async def on_guild_remove(self, guild: discord.Guild) -> None:
        """Erase a server that removed the bot."""
        await self._servers.left(guild)

    async def on_guild_channel_delete(self, channel: discord.abc.GuildChannel) -> None:
        """Erase a deleted channel."""
        await self._servers.channel_gone(channel.guild.id, channel.id)

    async def on_raw_thread_delete(self, event: discord.RawThreadDeleteEvent) -> None:
        """Erase a deleted thread."""
        await self._servers.channel_gone(event.guild_id, event.parent_id, event.thread_id)

    async def on_interaction(self, interaction: discord.Interaction[Any]) -> None:
        """Handle a submitted modal; discord.py itself dispatches commands and buttons."""
        await self.interactions.take(interaction)

    async def _missing_permission(self, channel_id: int, needs: tuple[str, ...]) -> None:
        channel = self.get_channel(channel_id)
        # The operator can do nothing about a direct message or a channel that is gone.
        if isinstance(channel, discord.abc.GuildChannel | discord.Thread):
            name = f"#{channel.name} of {channel.guild.name!r}"
            missing = listed(refused_in(channel, needs))
            self._tell(f"The bot is missing the {missing} in {name} ({channel_id}). Allow it there for the bot's role.")


def _counted(num: int, noun: str) -> str:
    return f"{num:,} {noun}" if num == 1 else f"{num:,} {noun}s"

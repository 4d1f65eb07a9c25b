"""The bot on Slack: passes each event to the object that handles it, acknowledged first."""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from typing import Any, Final

import aiohttp
from slack_bolt.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult
from slack_sdk.web.async_client import AsyncWebClient
from yarl import URL

from bot.background import cancel, keep_running, run_in_background
from bot.commands.bot import Bot
from bot.platforms.shared.answering import Answering
from bot.platforms.shared.unfinished import PAUSE_S, Unfinished
from bot.platforms.slack.ids import Address
from bot.platforms.slack.incoming.intake import Intake
from bot.platforms.slack.incoming.marks import OVERLAP_S
from bot.platforms.slack.incoming.people import People
from bot.platforms.slack.interactions.interactions import Interactions
from bot.platforms.slack.outgoing.calls import DEADLINE_S
from bot.platforms.slack.outgoing.pace import Pace
from bot.platforms.slack.outgoing.sender import Sender
from bot.platforms.slack.outgoing.welcome import post_welcome
from bot.platforms.slack.platform import SlackPlatform
from bot.platforms.slack.sockets import Sockets, SocketTimings
from bot.platforms.slack.workspaces import Workspace, Workspaces
from bot.services.ledger import Delivery

logger = logging.getLogger(__name__)

FILE_ORIGINS: Final = ("https://files.slack.com",)
_ANY: Final = re.compile(".*", re.DOTALL)


def _is_of_use(record: logging.LogRecord) -> bool:
    """Leave out the warning that SLACK_BOT_TOKEN is ignored: the SDK does not use it, the bot does."""
    return "SLACK_BOT_TOKEN" not in record.getMessage()


class SlackClient:
    """The bot's connection to Slack, in all its workspaces.

    `tell` prints a sentence for the operator. `deadline_s` limits the retries of one request to Slack.
    """

    def __init__(
        self,
        bot: Bot,
        delivery: Delivery,
        workspaces: Workspaces,
        session: aiohttp.ClientSession,
        *,
        app_token: str,
        socket_client: AsyncWebClient,
        api_url: str = "",
        name_prefix: str = "",
        tell: Callable[[str], None] = lambda _: None,
        deadline_s: float = DEADLINE_S,
        retry_pause_s: float = PAUSE_S,
        timings: SocketTimings | None = None,
        pace: Pace | None = None,
        overlap_s: float = OVERLAP_S,
    ) -> None:
        self._bot = bot
        self._workspaces = workspaces
        self._tell = tell
        self.sender = Sender(workspaces, session, deadline_s=deadline_s, pace=pace)
        self._people = People(self.sender, workspaces)
        self.sender.streams.know_teams_by(self._people.team_of)
        bot.name_places_by(self._people.name_of, fetch=self._people.learn_names)
        platform = SlackPlatform(self.sender, workspaces, delivery)
        self.answering = Answering(bot, delivery, platform)
        self._unfinished = Unfinished(delivery, self.answering, platform, pause_s=retry_pause_s)
        # A test server hosts its own files.
        origins = (*FILE_ORIGINS, *([str(URL(api_url).origin())] if api_url else []))
        parts = (bot, delivery, self.answering, self.sender, self._people, workspaces)
        self.intake = Intake(*parts, session=session, file_origins=origins, overlap_s=overlap_s)
        self.interactions = Interactions(*parts, session=session, file_origins=origins, name_prefix=name_prefix)
        self._app = self._build_app()
        self.sockets = Sockets(
            self._app,
            app_token,
            socket_client,
            lost=self.intake.lost,
            opened=self._opened,
            is_deaf=self.intake.is_anything_missed,
            timings=timings,
        )
        bot.watch_connection(lambda: self.sockets.num_healthy, self.sockets.find_problem)
        self._has_news = asyncio.Event()
        self._left: set[str] = set()
        self._welcoming: set[Address] = set()
        self._is_started = False
        self._is_caught_up = False
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Load what is unfinished, and open the sockets. Raises Unavailable."""
        await self.intake.open()
        await self._unfinished.load()
        self._tasks = [keep_running(self._catch_up, "reading back what was missed on Slack")]
        self.sockets.start()

    @property
    def is_caught_up(self) -> bool:
        """Say whether everything that was said before the sockets were open has been read back."""
        return self._is_started and self._is_caught_up

    async def drain(self, timeout_s: float) -> None:
        """Accept nothing new, and let running answers finish for at most `timeout_s`."""
        self.intake.stop_taking()
        self.interactions.stop_taking()
        await self.answering.drain(timeout_s)

    async def close(self) -> None:
        """Close the sockets and save the marks."""
        await self.drain(0)
        await self.sockets.close()
        for task in self._tasks:
            await cancel(task)
        await self.intake.close()

    async def _opened(self) -> None:
        self._has_news.set()

    async def _catch_up(self) -> None:
        """After a socket was opened: answer what is unfinished, then what was said meanwhile. Runs until cancelled."""
        while True:
            await self._has_news.wait()
            self._has_news.clear()
            self._is_caught_up = False
            try:
                await self._catch_up_once()
            except Exception:
                self._has_news.set()  # what was not read is still to be read
                raise
            self._is_caught_up = True

    async def _catch_up_once(self) -> None:
        if not self._is_started:
            self._is_started = True
            names = ", ".join(workspace.name for workspace in self._workspaces)
            self._tell(f"{self._bot.name} is on Slack, in {names}.")
            self._tasks.append(keep_running(self._unfinished.answer_undelivered, "resuming undelivered answers"))
            await self._unfinished.answer_all()
        await self.intake.read_back()

    # ---- events

    def _build_app(self) -> AsyncApp:
        logging.getLogger("slack_bolt.AsyncApp").addFilter(_is_of_use)
        app = AsyncApp(
            name=self._bot.name,
            authorize=_authorizer(self._workspaces),
            signing_secret="",
            request_verification_enabled=False,
            ssl_check_enabled=False,
            url_verification_enabled=False,
            # Own messages and those of other bots are told apart when they are read.
            ignoring_self_events_enabled=False,
            ignoring_self_assistant_message_events_enabled=False,
            attaching_function_token_enabled=False,
            attaching_conversation_kwargs_enabled=False,
        )
        app.event("message")(self._on_message)
        app.event("app_mention")(self._on_message)
        app.event("app_home_opened")(self._on_home_opened)
        app.event(re.compile("(?:channel|group)_deleted"))(self._on_channel_deleted)
        app.event("app_uninstalled")(self._on_uninstalled)
        app.event("tokens_revoked")(self._on_revoked)
        app.event("member_joined_channel")(self._on_joined)
        app.event("user_change")(self._on_user_change)
        app.event(re.compile("subteam_.*"))(self._on_groups_change)
        app.event("agent_session_stopped")(self._on_stopped)
        app.event(_ANY)(_ignore)  # the others say what is known already
        app.command(_ANY)(self._on_command)
        app.action(_ANY)(self._on_action)
        app.view(_ANY)(self._on_view)
        app.shortcut(_ANY)(self._on_shortcut)
        return app

    def _workspace_of(self, body: dict[str, Any]) -> Workspace | None:
        """Return the workspace that an event is for; in a shared channel its author may be of another one."""
        for one in body.get("authorizations") or ():
            if (workspace := self._workspaces.get(str(one.get("team_id")))) is not None:
                return workspace
        return self._workspaces.get(str(body.get("team_id")))

    async def _on_message(self, body: dict[str, Any], event: dict[str, Any]) -> None:
        if (workspace := self._workspace_of(body)) is not None:
            # bolt has acknowledged the event by now.
            await self.intake.take(event, workspace)

    async def _on_home_opened(self, body: dict[str, Any], event: dict[str, Any]) -> None:
        if (workspace := self._workspace_of(body)) is not None and event.get("tab", "home") == "home":
            await self.interactions.home_opened(workspace, str(event["user"]))

    async def _on_channel_deleted(self, body: dict[str, Any], event: dict[str, Any]) -> None:
        if (workspace := self._workspace_of(body)) is not None:
            await self.intake.places.channel_gone(workspace.team, str(event["channel"]))

    async def _on_uninstalled(self, body: dict[str, Any]) -> None:
        workspace = self._workspace_of(body)
        if workspace is not None and workspace.team not in self._left:
            self._left.add(workspace.team)
            self._tell(f"The app was removed from {workspace.name}; everything stored of it is erased.")
            await self.intake.places.workspace_gone(workspace.team)

    async def _on_revoked(self, body: dict[str, Any], event: dict[str, Any]) -> None:
        # It comes with the app's removal, and alone where somebody gets another token: then nothing is to be erased.
        workspace = self._workspace_of(body)
        if workspace is not None and (event.get("tokens") or {}).get("bot"):
            logger.warning("Slack has revoked the bot's token in workspace %s", workspace.team)

    async def _on_joined(self, body: dict[str, Any], event: dict[str, Any]) -> None:
        workspace = self._workspace_of(body)
        if workspace is None or event.get("user") != workspace.user_id:
            return
        place = Address(workspace.team, str(event["channel"]))
        if place not in self._welcoming:  # Slack may say it twice
            self._welcoming.add(place)
            try:
                await post_welcome(self.sender, workspace, place.channel, self._bot)
            finally:
                self._welcoming.discard(place)

    async def _on_stopped(self, body: dict[str, Any], event: dict[str, Any]) -> None:
        """Handle Slack's own Stop at an answer that is being streamed."""
        if (workspace := self._workspace_of(body)) is not None:
            await self.interactions.stopped(
                workspace, str(event.get("channel")), str(event.get("user")), event.get("streaming_message_ts") or ()
            )

    async def _on_user_change(self, body: dict[str, Any], event: dict[str, Any]) -> None:
        if (workspace := self._workspace_of(body)) is not None:
            self._people.forget(workspace.team, str((event.get("user") or {}).get("id")))

    async def _on_groups_change(self, body: dict[str, Any]) -> None:
        if (workspace := self._workspace_of(body)) is not None:
            self._people.forget_groups(workspace.team)

    async def _on_command(self, ack: Any, body: dict[str, Any]) -> None:
        await ack()
        if await self.interactions.is_ours(body):
            await self.interactions.slash(body)

    async def _on_action(self, ack: Any, body: dict[str, Any], action: dict[str, Any]) -> None:
        await ack()
        if await self.interactions.is_ours(body):
            await self.interactions.clicked(body, action)

    async def _on_shortcut(self, ack: Any, body: dict[str, Any]) -> None:
        await ack()
        if not await self.interactions.is_ours(body):
            return
        if body.get("type") == "message_action":
            await self.interactions.message_action(body)
        else:
            await self.interactions.shortcut(body)

    async def _on_view(self, ack: Any, body: dict[str, Any]) -> None:
        # In the background: a slow answer must not hold up the acknowledgement of others.
        run_in_background(self.interactions.submitted(ack, body), "answering a submitted form")


async def _ignore() -> None:
    pass


def _authorizer(workspaces: Workspaces) -> Callable[..., Awaitable[AuthorizeResult]]:
    """Return what tells bolt the bot's token in a workspace. bolt finds the argument by its name."""

    async def authorize(team_id: str | None) -> AuthorizeResult:
        workspace = workspaces.get(team_id or "")
        return AuthorizeResult(
            enterprise_id=None,
            team_id=team_id,
            bot_user_id=workspace.user_id if workspace else None,
            bot_id=workspace.bot_id if workspace else None,
            bot_token=workspace.client.token if workspace else None,
        )

    return authorize

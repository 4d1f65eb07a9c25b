"""A small bot on the real slack_bolt and slack_sdk, to try the stand-in with."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.app.async_app import AsyncApp
from slack_sdk.web.async_client import AsyncWebClient

from tests.servers.slack import Person, Slack, serve_slack
from tests.servers.slack.objects import Channel, Team

Json = dict[str, Any]
NO_PREVIEWS = {"unfurl_links": False, "unfurl_media": False}


def button(label: str, action_id: str) -> Json:
    return {"type": "button", "text": {"type": "plain_text", "text": label}, "action_id": action_id, "value": label}


def section(text: str) -> Json:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


def answered(text: str) -> list[Json]:
    """Return blocks with a text, buttons and a select."""
    options = [{"text": {"type": "plain_text", "text": word}, "value": word[0]} for word in ("One", "Two")]
    select = {"type": "static_select", "action_id": "how_many", "options": options}
    select["placeholder"] = {"type": "plain_text", "text": "How many"}
    names = (("Again", "again"), ("Fill in", "fill_in"), ("Slow", "slow"))
    buttons = [button(label, action_id) for label, action_id in names]
    return [section(text), {"type": "actions", "block_id": "row", "elements": [*buttons, select]}]


def form(title: str = "A form", note: str = "") -> Json:
    label = {"type": "plain_text", "text": "Name"}
    name = {"type": "plain_text_input", "action_id": "name", "max_length": 10}
    blocks: list[Json] = [{"type": "input", "block_id": "name", "label": label, "element": name}]
    if note:
        blocks.insert(0, section(note))
    parts = {"title": title, "submit": "Send", "close": "Cancel"}
    texts = {key: {"type": "plain_text", "text": text} for key, text in parts.items()}
    return {"type": "modal", "callback_id": "form", "notify_on_close": True, "blocks": blocks} | texts


@dataclass
class PlainBot:
    """The bot's clients, and what it heard."""

    app: AsyncApp
    handler: AsyncSocketModeHandler
    heard: list[str] = field(default_factory=list)
    events: list[Json] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)

    @property
    def client(self) -> AsyncWebClient:
        return self.app.client

    def names(self) -> list[str]:
        """Return the names of the events, with their subtypes."""
        events = [body["event"] for body in self.events]
        return [event["type"] + (f".{event['subtype']}" if event.get("subtype") else "") for event in events]


def make_bot(stand_in: Slack, *, ping_interval: float = 0.2, token: str | None = None) -> PlainBot:
    """Return the bot, not yet connected."""
    logger = logging.getLogger("plain_slack_bot")
    logger.setLevel(logging.CRITICAL)
    client = AsyncWebClient(token=token or stand_in.bot_token, base_url=stand_in.api_url, logger=logger)
    # One's own events come through, so that a test sees what Slack sends.
    app = AsyncApp(client=client, logger=logger, ignoring_self_events_enabled=False)
    handler = AsyncSocketModeHandler(app, stand_in.app.app_token, logger=logger, ping_interval=ping_interval)
    bot = PlainBot(app, handler)
    _listen(bot)
    return bot


def _listen(bot: PlainBot) -> None:
    app = bot.app

    @app.event({"type": "message"})
    async def on_message(event: Json, body: Json, say: Any, client: AsyncWebClient) -> None:
        bot.events.append(body)
        if event.get("bot_id") or event.get("subtype") not in (None, "file_share", "thread_broadcast"):
            return
        bot.heard.append(event["text"])
        if event["text"].endswith("quiet"):
            return
        text = f"You said {event['text'].split('> ')[-1]}"
        thread_ts = event.get("thread_ts") or event["ts"]
        await client.chat_postMessage(
            channel=event["channel"], text=text, blocks=answered(text), thread_ts=thread_ts, **NO_PREVIEWS
        )

    for name in (
        "app_mention",
        "app_uninstalled",
        "agent_session_stopped",
        "channel_deleted",
        "file_shared",
        "member_joined_channel",
        "reaction_added",
        "tokens_revoked",
    ):

        @app.event(name)
        async def on_event(body: Json) -> None:
            bot.events.append(body)

    @app.event("app_home_opened")
    async def on_home(event: Json, body: Json, client: AsyncWebClient) -> None:
        bot.events.append(body)
        if event["tab"] == "messages":
            prompts = [{"title": "Hello", "message": "Say hello"}]
            await client.assistant_threads_setSuggestedPrompts(channel_id=event["channel"], prompts=prompts)
            return
        row = {"type": "actions", "elements": [button("Fill in", "fill_in")]}
        await client.views_publish(user_id=event["user"], view={"type": "home", "blocks": [section("Home"), row]})

    _listen_to_clicks(bot)
    _listen_to_commands(bot)


def _listen_to_clicks(bot: PlainBot) -> None:
    app = bot.app

    @app.action("again")
    @app.action("how_many")
    async def on_again(ack: Any, action: Json, respond: Any) -> None:
        await ack()
        chosen = action.get("selected_option") or {}
        text = f"{action['action_id']} {chosen.get('value')}"
        await respond(text=text, blocks=answered(text), replace_original=True)

    @app.action("fill_in")
    async def on_fill_in(ack: Any, body: Json, client: AsyncWebClient) -> None:
        await ack()
        await client.views_open(trigger_id=body["trigger_id"], view=form())

    @app.action("slow")
    async def on_slow(ack: Any) -> None:
        await asyncio.sleep(0.3)
        await ack()

    @app.view("form")
    async def on_form(ack: Any, view: Json, body: Json, client: AsyncWebClient) -> None:
        name = view["state"]["values"]["name"]["name"]["value"]
        if name == "bad":
            await ack(response_action="errors", errors={"name": "No such name"})
        elif name == "more":
            await ack(response_action="update", view=form("Another form", "Go on"))
        elif name == "clear":
            await ack(response_action="clear")
        else:
            await ack()
            channel = (await client.conversations_open(users=body["user"]["id"]))["channel"]["id"]
            await client.chat_postMessage(channel=channel, text=f"Hello {name}", **NO_PREVIEWS)

    @app.view_closed("form")
    async def on_closed(ack: Any, body: Json) -> None:
        await ack()
        bot.closed.append(body["view"]["id"])

    @app.options("pick")
    async def on_options(ack: Any, payload: Json) -> None:
        await ack(options=[{"text": {"type": "plain_text", "text": payload["value"]}, "value": payload["value"]}])


def _listen_to_commands(bot: PlainBot) -> None:
    app = bot.app

    @app.command("/say")
    async def on_say(ack: Any, command: Json) -> None:
        await ack(text=command["text"], response_type="in_channel", blocks=answered(command["text"]))

    @app.command("/whisper")
    async def on_whisper(ack: Any, command: Json, respond: Any) -> None:
        await ack()
        await respond(text=command["text"])

    @app.command("/fill")
    async def on_fill(ack: Any, body: Json, client: AsyncWebClient) -> None:
        await ack()
        await client.views_open(trigger_id=body["trigger_id"], view=form())

    @app.command("/deaf")
    async def on_deaf() -> None:
        """Never acknowledge."""

    @app.shortcut("length")
    async def on_length(ack: Any, shortcut: Json, respond: Any) -> None:
        await ack()
        await respond(text=f"{len(shortcut['message']['text'])} characters")

    @app.shortcut("new")
    async def on_new(ack: Any, shortcut: Json, client: AsyncWebClient) -> None:
        await ack()
        await client.views_open(trigger_id=shortcut["trigger_id"], view=form())


@asynccontextmanager
async def running(stand_in: Slack, bot: PlainBot) -> AsyncIterator[PlainBot]:
    """Run the bot until the block ends."""
    await bot.handler.connect_async()
    try:
        await stand_in.sockets.is_connected()
        yield bot
    finally:
        # It waits for a close frame that a broken socket never sends.
        await asyncio.wait([asyncio.ensure_future(bot.handler.close_async())], timeout=3)


@dataclass(frozen=True)
class Home:
    """A stand-in with a workspace, and the small bot in it."""

    stand_in: Slack
    bot: PlainBot
    team: Team
    general: Channel
    ada: Person


@asynccontextmanager
async def at_home() -> AsyncIterator[Home]:
    """Run a stand-in with one workspace, one person in it, and the small bot, connected."""
    async with serve_slack() as stand_in:
        team = stand_in.add_team("Home")
        ada = stand_in.add_person(team, "ada")
        async with running(stand_in, make_bot(stand_in)) as bot:
            yield Home(stand_in, bot, team, stand_in.channel(team, "general"), ada)


@dataclass(frozen=True)
class Office:
    """A workspace without a connected bot, and the bot's client."""

    slack: Slack
    client: AsyncWebClient
    team: Team
    general: Channel
    ada: Person

    async def post(self, text: str = "hello", **more: Any) -> str:
        answer = await self.client.chat_postMessage(channel=self.general.id, text=text, **NO_PREVIEWS, **more)
        return str(answer["ts"])


@asynccontextmanager
async def at_office() -> AsyncIterator[Office]:
    """Run a stand-in with one workspace and one person in it, and a client that no bot listens for."""
    async with serve_slack() as slack:
        team = slack.add_team("Home")
        ada = slack.add_person(team, "ada")
        client = AsyncWebClient(token=slack.bot_token, base_url=slack.api_url)
        # Without an open socket every event would wait to come again.
        slack.sockets.retry_delays_s = ()
        yield Office(slack, client, team, slack.channel(team, "general"), ada)

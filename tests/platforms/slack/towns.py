"""A workspace on the stand-in for Slack with the bot in it, people of every kind, and the bot again after a restart."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from bot.commands.bot import COMMANDS
from bot.platforms.slack.client import SlackClient
from bot.platforms.slack.interactions.names import callback_id
from bot.platforms.slack.manifest import manifest_of
from tests.bots import Talk
from tests.platforms.slack.connecting import on_slack
from tests.servers.slack.objects import Channel, Message, Team, View
from tests.servers.slack.people import Person
from tests.servers.slack.reading import elements_of, visible_text
from tests.servers.slack.server import Slack, serve_slack

OpenTalk = Callable[[], AbstractAsyncContextManager[Talk]]
OPENING = "One moment …"


@dataclass(slots=True)
class Town:
    """Who is there. `talk` and `client` are those of the bot's present run; `told` is what the operator was told."""

    slack: Slack
    team: Team
    ann: Person
    bo: Person
    mo: Person
    open_talk: OpenTalk
    name_prefix: str = ""
    told: list[str] = field(default_factory=list)
    talk: Talk | None = None
    client: SlackClient | None = None

    @property
    def general(self) -> Channel:
        return self.slack.channel(self.team, "general")

    def channel(self, number: int) -> Channel:
        """Return one of eight more channels: Slack, and so the bot, waits a second between two posts in one."""
        return self.slack.channel(self.team, str(number % 8))

    @property
    def running(self) -> Talk:
        if self.talk is None:
            raise RuntimeError("the bot is not running")
        return self.talk

    @asynccontextmanager
    async def run(self, **how: Any) -> AsyncIterator[None]:
        """Let the bot run while the block runs; once more is a restart."""
        how = {"tell": self.told.append, "name_prefix": self.name_prefix, **how}
        async with self.open_talk() as talk, on_slack(talk, self.slack, **how) as client:
            self.talk, self.client = talk, client
            try:
                yield
            finally:
                self.talk = self.client = None

    async def outcome(self, doing: Awaitable[Any] | None = None) -> Message | View:
        """Do something, wait for what the bot shows next or changes, and until that is finished; return it."""
        before = self._shown()
        if doing is not None:
            await doing
        changed = await self.slack.wait_for(
            lambda: [one for key, one in self._shown().items() if key not in before], 20, "an answer of the bot"
        )
        newest = changed[-1]
        if isinstance(newest, Message):
            return await self.slack.settled(newest)
        # A modal that opens at once holds the place of what is still being looked up.
        await self.slack.wait_for(lambda: OPENING not in visible_text(newest), 20, "what the modal was opened for")
        return newest

    async def said(self, message: Message) -> Message:
        """Return the answer to a message, whoever sees it."""
        before = {id(one) for one in self.slack.world.ephemerals}
        answers = await self.slack.wait_for(
            lambda: (
                self.slack.answers_to(message) + [one for one in self.slack.world.ephemerals if id(one) not in before]
            ),
            20,
            f"an answer to {message.text!r}",
        )
        return await self.slack.settled(answers[0])

    def _shown(self) -> dict[Any, Message | View]:
        world = self.slack.world
        messages = [one for channel in world.channels.values() for one in channel.messages if one.user.is_bot]
        found: dict[Any, Message | View] = {(id(one), one.changed_at): one for one in [*messages, *world.ephemerals]}
        for view in [*world.views.values(), *world.homes.values()]:
            found[id(view), str(view.payload)] = view
        return found

    def whispers(self, person: Person) -> list[Message]:
        """Return what only this person sees, oldest first."""
        return [one for one in self.slack.world.ephemerals if one.ephemeral_for is person.user and not one.is_deleted]

    async def whisper(self, person: Person, after: Sequence[Message] = ()) -> Message:
        """Return the next message that only this person sees."""
        return await self.slack.settled(await self.slack.wait_for_whisper(person, after))

    def newest(self, channel: Channel | None = None) -> Message:
        """Return the bot's newest message in a channel."""
        return [one for one in (channel or self.general).messages if one.user.is_bot and not one.is_deleted][-1]

    def modal(self, person: Person) -> View:
        """Return the modal that is open for a person."""
        return self.slack.open_views(person.user)[-1]


@asynccontextmanager
async def a_town(open_talk: OpenTalk, *, name_prefix: str = "", is_clean: bool = True) -> AsyncIterator[Town]:
    """Open the stand-in with a workspace that has installed the app; nothing may be broken at the end."""
    async with serve_slack() as slack:
        slack.take_manifest(manifest_of(COMMANDS, bot_name="Fewshot", name_prefix=name_prefix))
        team = slack.add_team("Acme", channels=["general", "other", *map(str, range(8))])
        people = [slack.add_person(team, name, rank) for name, rank in (("Ann", "member"), ("Bo", "member"))]
        town = Town(slack, team, *people, slack.add_person(team, "Mo", "admin"), open_talk, name_prefix)
        yield town
        if is_clean:
            slack.assert_clean()
            assert slack.doubled() == []


def shortcut(menu: str) -> str:
    """Return the id of the shortcut with that name in a message's menu."""
    return next(callback_id(command) for command in COMMANDS.values() if command.menu == menu)


def buttons(shown: Message | View) -> list[str]:
    """Return the labels of buttons and selects, in order."""
    return [(one.get("text") or one.get("placeholder") or {}).get("text", "") for _, one in elements_of(shown)]


__all__ = ["OpenTalk", "Town", "a_town", "buttons", "shortcut", "visible_text"]

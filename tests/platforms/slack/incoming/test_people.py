"""Who somebody is: rights that have changed count at once, and what can't be read now is asked for again soon."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from bot.platforms.slack.incoming.people import People
from bot.platforms.slack.workspaces import Workspace
from tests.platforms.slack.sending import Sending, open_sending
from tests.servers.slack.faults import Fault
from tests.servers.slack.server import serve_slack


@dataclass(slots=True)
class Asking:
    """The people of a workspace, at a clock that only a test moves."""

    sending: Sending
    now: float = 0.0
    people: People = field(init=False)

    def __post_init__(self) -> None:
        self.people = People(self.sending.sender, self.sending.sender._workspaces, clock=lambda: self.now)

    @property
    def workspace(self) -> Workspace:
        return self.sending.sender._workspaces[self.sending.team.id]

    async def roles(self, user_id: str) -> tuple[str, ...]:
        return (await self.people.author(self.workspace, user_id)).roles


@pytest.fixture
async def asking() -> AsyncIterator[Asking]:
    async with serve_slack() as slack, open_sending(slack) as sending:
        yield Asking(sending)


async def test_user_groups_that_can_not_be_read_now_are_asked_for_again_soon(asking: Asking):
    slack, team = asking.sending.slack, asking.sending.team
    ann = slack.add_person(team, "Ann").user
    group = slack.world.add_group(team, "editors", [ann])
    slack.faults.always("usergroups.list", Fault("refused", reason="no_permission"))
    assert group.id not in await asking.roles(ann.id)
    assert group.id not in await asking.roles(ann.id)
    assert len(slack.calls("usergroups.list")) == 1, "not at every word"
    slack.faults.clear()
    asking.now += 30
    assert group.id in await asking.roles(ann.id)


@pytest.mark.parametrize("method", ["users.info", "usergroups.list"])
async def test_what_slack_said_before_a_change_is_not_kept(asking: Asking, method: str):
    slack, team = asking.sending.slack, asking.sending.team
    mod = slack.add_person(team, "Mod", "admin").user
    group = slack.world.add_group(team, "editors", [mod])
    slack.faults.once(method, Fault("slow", delay_s=1.0))
    answer = asyncio.create_task(asking.people.author(asking.workspace, mod.id))
    async with asyncio.timeout(10):
        while not slack.faults.num_injected["slow"]:
            await asyncio.sleep(0.005)
    # The event of the change comes before the answer, in which it is not.
    asking.people.forget(team.id, mod.id)
    asking.people.forget_groups(team.id)
    await answer
    mod.rank, group.user_ids = "member", []
    author = await asking.people.author(asking.workspace, mod.id)
    if method == "users.info":
        assert not author.is_moderator
    else:
        assert author.roles == (mod.id,)

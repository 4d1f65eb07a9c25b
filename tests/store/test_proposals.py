import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from bot.core.messages import Scope
from bot.errors import RequestError
from bot.store.cards import OpenCard
from bot.store.messages import PROPOSAL_CARD
from bot.store.schema import migrate, read_migrations
from bot.store.store import Store
from tests.store.samples import HERE, at, said

FAR = 10_000 * 86_400


def proposed(name: str, *, scope: Scope = HERE, template: str = "greet") -> OpenCard:
    state = {"template": template, "input": name, "output": "yes", "by": "Ann"}
    return OpenCard(name, scope, "u1", PROPOSAL_CARD, 1, state, at(0), at(FAR))


async def test_proposals_of_all_channels_of_a_server_share_their_numbers(store: Store) -> None:
    await store.add_proposal(proposed("a"))
    await store.add_proposal(proposed("b", scope=replace(HERE, channel="random")))
    await store.add_proposal(proposed("c", scope=replace(HERE, server="other")))
    await store.add_proposal(proposed("d", template="other"))
    listed = [(card.id, card.state["number"]) for card in await store.list_proposals(HERE, "greet")]
    assert listed == [("b", 2), ("a", 1)]
    assert not await store.dismiss_proposals(["a", "gone"]), "all or none"
    assert await store.dismiss_proposals(["a", "b"])
    assert (await store.add_proposal(proposed("e"))).state["number"] == 3


async def test_numbers_go_with_their_server(store: Store) -> None:
    await store.add_proposal(proposed("a"))
    await store.forget_server(HERE.platform, HERE.server)
    assert (await store.add_proposal(proposed("b"))).state["number"] == 1


def test_proposals_from_before_get_the_number_that_their_place_was(tmp_path: Path) -> None:
    migrations = read_migrations()
    before = next(i for i, one in enumerate(migrations) if "proposal_numbers" in one.sql)
    with closing(sqlite3.connect(tmp_path / "x.db", isolation_level=None)) as connection:
        migrate(connection, migrations[:before], path=tmp_path / "x.db")
        connection.execute(
            "INSERT INTO conversations (id, platform, server, channel, thread) VALUES (1, 'p', 's', 'c', '')"
        )
        for i, template in enumerate(["greet", "other", "greet"]):
            connection.execute(
                "INSERT INTO open_cards VALUES (?, 1, 'u', ?, 1, json_object('template', ?), NULL, ?, 0, 9)",
                (f"card{i}", PROPOSAL_CARD, template, i),
            )
        migrate(connection, migrations, path=tmp_path / "x.db")
        numbers = connection.execute(
            "SELECT id, json_extract(state, '$.number') FROM open_cards ORDER BY id"
        ).fetchall()
        assert numbers == [("card0", 1), ("card1", 1), ("card2", 2)]
        assert connection.execute("SELECT name, latest FROM proposal_numbers").fetchall() == [
            ("greet", 2),
            ("other", 1),
        ]


async def test_an_example_from_a_message_that_was_deleted_meanwhile_is_not_kept(store: Store) -> None:
    await store.add_message(said(1, "once upon a time"), kind="chat")
    await store.delete_message(HERE.platform, "1")
    with pytest.raises(RequestError, match="was deleted"):
        await store.add_proposal(replace(proposed("a"), source_message_id="1"))
    assert await store.list_proposals(HERE, "greet") == []
    assert (await store.add_proposal(proposed("b"))).state["number"] == 1, "no number is used up"

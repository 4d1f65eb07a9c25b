import asyncio
import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bot.core.messages import Author, Scope
from bot.core.templates.parsing import MAX_TEMPLATE_BYTES, parse_template
from bot.core.templates.template import PromptTemplate
from bot.errors import RequestError
from bot.store.drafts import Draft
from bot.store.schema import migrate, read_migrations
from bot.store.store import Store
from bot.store.templates import MAX_NAMES, MAX_VERSIONS
from tests.store.places import Place
from tests.store.samples import HERE, provenance, said

ANN = Author("u1", "Annabelle")
BOB = Author("u2", "Bobolink")
ELSEWHERE = replace(HERE, server="away")
MINE, YOURS = Scope("discord", "@me", "dm-1"), Scope("discord", "@me", "dm-2")


def template(name: str = "greet", *examples: tuple[str, str], text: str = "Say hello.") -> PromptTemplate:
    """Return a checked template with the given rows."""
    rows = "".join(f'[[examples]]\ninput = "{one}"\noutput = "{other}"\n' for one, other in examples)
    return parse_template(
        f'+++\ndescription = "Greets."\n{rows}+++\n{text}\n$examples\n> $input', name=name, source=name
    )


async def publish(store: Store, made: PromptTemplate, *, scope: Scope = HERE, **fields: Any) -> int | None:
    """Publish `made` as Ann's edit, but for what `fields` say."""
    values: dict[str, Any] = {"action": "edit", "author": ANN, **fields}
    return await store.add_template_version(
        scope, made.name, source_text=made.source_text, version=made.version, **values
    )


async def published(store: Store, scope: Scope = HERE) -> dict[str, int]:
    """Return the published number of each template."""
    return {one.name: one.number for one in await store.published_templates(scope)}


def copy(place: Place, num_copies: int, columns: str) -> None:
    """Write `num_copies` of each version, each with a name, number and is_newest from `columns` with its number `i`."""
    if columns.startswith("name,"):
        place.rows("UPDATE server_templates SET is_newest = 0")
    place.rows(
        "WITH RECURSIVE numbers (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM numbers WHERE i < ?)"
        " INSERT INTO server_templates (name, number, is_newest, platform, server, channel, action, author_id,"
        " author_name, reason, parent_number, created_at_utc, source_text, version, change)"
        f" SELECT {columns}, platform, server, channel, action, author_id, author_name, reason, parent_number,"
        " created_at_utc, source_text, version, change FROM server_templates, numbers",
        num_copies,
    )


async def test_every_version_is_kept_with_who_when_why_and_from_what(store: Store, place: Place) -> None:
    first, second = template(text="Hi."), template(text="Hello.")
    assert await publish(store, first, action="new", reason="first") == 1
    assert await publish(store, second, author=BOB, reason="friendlier", parent_number=1) == 2
    async with Store.open(place.address) as again:
        newest, oldest = await again.template_history(HERE, "greet")
    assert (newest.number, newest.action, newest.author_id, newest.author_name) == (2, "edit", "u2", "Bobolink")
    assert (newest.reason, newest.parent_number, newest.version) == ("friendlier", 1, second.version)
    assert (oldest.number, oldest.action, oldest.source_text) == (1, "new", first.source_text)
    assert oldest.created_at_utc <= newest.created_at_utc
    assert await store.get_template_version(HERE, "greet", 1) == oldest
    assert await store.get_template_version(HERE, "greet", 3) is None
    assert await store.published_templates(HERE) == [newest]


async def test_a_deleted_template_is_not_published_and_keeps_its_history(store: Store) -> None:
    assert await store.delete_template(HERE, "greet", author=ANN) is None
    await publish(store, template())
    assert await store.delete_template(HERE, "greet", author=BOB, expected_published=7) is None
    assert await store.delete_template(HERE, "greet", author=BOB, reason="unused", expected_published=1) == 2
    assert await store.delete_template(HERE, "greet", author=BOB) is None
    assert await published(store) == {}
    deleted, _ = await store.template_history(HERE, "greet")
    assert (deleted.action, deleted.source_text, deleted.version, deleted.parent_number) == ("delete", None, None, 1)
    assert await publish(store, template(), expected_published=2) is None
    assert await publish(store, template(), action="rollback", expected_published=0) == 3
    assert await published(store) == {"greet": 3}


async def test_of_two_who_publish_at_once_the_second_is_told(store: Store, place: Place) -> None:
    await publish(store, template())
    async with Store.open(place.address) as other:
        numbers = await asyncio.gather(
            *(
                publish(
                    (store, other)[i % 2], template(text=f"Hi {i}."), author=(ANN, BOB)[i % 2], expected_published=1
                )
                for i in range(10)
            )
        )
    assert sorted(numbers, key=str) == [2, *[None] * 9]
    assert [one.number for one in await store.template_history(HERE, "greet")] == [2, 1]


async def test_publishing_a_draft_takes_it_away_in_the_same_step(store: Store) -> None:
    made = template()
    assert await publish(store, made, draft_author_id="u1") is None, "there is no draft"
    for author_id in ("u1", "u2"):
        await store.save_draft(HERE, Draft("greet", author_id, source_text=made.source_text))
    assert await publish(store, template(text="Other."), draft_author_id="u1") is None, "the draft says something else"
    assert await publish(store, made, draft_author_id="u1", expected_published=4) is None
    assert len(await store.list_drafts(HERE)) == 2
    assert await publish(store, made, draft_author_id="u1", expected_published=0) == 1
    assert [one.author_id for one in await store.list_drafts(HERE)] == ["u2"]


async def test_templates_stay_on_their_server_and_in_their_direct_messages(store: Store) -> None:
    for scope in (HERE, MINE):
        await publish(store, template(), scope=scope)
    for mine in (replace(HERE, channel="other"), replace(HERE, thread="t"), replace(MINE, thread="t")):
        assert await published(store, mine) == {"greet": 1}
    for foreign in (ELSEWHERE, replace(HERE, platform="discord"), YOURS, replace(MINE, platform="terminal")):
        assert await published(store, foreign) == {}
        assert await store.template_history(foreign, "greet") == []
        assert await store.get_template_version(foreign, "greet", 1) is None
        assert await store.delete_template(foreign, "greet", author=BOB) is None
        assert await store.latest_template_change(foreign) == 0


async def test_a_score_belongs_to_one_text_and_one_model(store: Store) -> None:
    made = template()
    await publish(store, made)
    score = {"accuracy": 0.75, "num_rows": 8, "interval": [0.5, 1.0]}
    assert not await store.set_score(HERE, "greet", 1, version="another", score=score, model="m1")
    assert not await store.set_score(HERE, "greet", 2, version=made.version, score=score, model="m1")
    assert await store.set_score(HERE, "greet", 1, version=made.version, score=score, model="m1")
    (stored,) = await store.published_templates(HERE)
    assert (stored.score, stored.score_model) == (score, "m1")


async def test_every_change_of_what_is_published_can_be_seen_by_its_number(store: Store) -> None:
    made = template()
    seen = [await store.latest_template_change(HERE)]

    async def look() -> None:
        seen.append(await store.latest_template_change(HERE))

    await publish(store, made)
    await look()
    await store.set_score(HERE, "greet", 1, version=made.version, score={"bits": 1.5}, model="m1")
    await look()
    await store.set_score(HERE, "greet", 1, version=made.version, score={"bits": 2.5}, model="m1")
    await look()
    await publish(store, made, scope=ELSEWHERE, author=BOB)
    assert await store.latest_template_change(HERE) == seen[-1]
    await store.forget_person("terminal", "u1")
    await look()
    await store.delete_template(HERE, "greet", author=BOB)
    await look()
    await store.forget_server("terminal", "home")
    assert await store.latest_template_change(HERE) == seen[0] == 0
    await publish(store, made)
    await look()
    assert len(set(seen)) == len(seen)


async def test_the_oldest_versions_go_and_their_numbers_are_not_used_again(store: Store, place: Place) -> None:
    await publish(store, template())
    copy(place, MAX_VERSIONS - 1, f"name, i + 1, CASE WHEN i = {MAX_VERSIONS - 1} THEN 1 ELSE 0 END")
    for i in (1, 2):
        assert await publish(store, template(text=f"Hi {i}.")) == MAX_VERSIONS + i
    numbers = [one.number for one in await store.template_history(HERE, "greet")]
    assert numbers == list(range(MAX_VERSIONS + 2, 2, -1))


async def test_the_oldest_go_earlier_where_versions_are_long(store: Store) -> None:
    for i in range(70):
        number = await store.add_template_version(
            HERE, "greet", action="edit", author=ANN, source_text="x" * MAX_TEMPLATE_BYTES, version=f"v{i}"
        )
        assert number == i + 1
    assert await store.delete_template(HERE, "greet", author=ANN) == 71
    assert [one.number for one in await store.template_history(HERE, "greet")] == list(range(71, 6, -1))


async def test_there_are_so_many_names_and_deleted_ones_make_room(store: Store, place: Place) -> None:
    made = template()
    await publish(store, replace(made, name="t"))
    copy(place, MAX_NAMES - 1, "name || i, 1, 1")
    with pytest.raises(RequestError, match="1,000 templates here already"):
        await publish(store, replace(made, name="one-more"))
    assert await publish(store, replace(made, name="t5")) == 2
    assert await publish(store, replace(made, name="one-more"), scope=ELSEWHERE) == 1
    for name in ("t7", "t6"):
        await store.delete_template(HERE, name, author=ANN)
    await publish(store, replace(made, name="one-more"))
    assert await store.template_history(HERE, "t7") == []
    assert len(await store.template_history(HERE, "t6")) == 2


async def test_a_text_that_is_too_long_is_refused_with_its_size(store: Store) -> None:
    with pytest.raises(RequestError, match="at most 65,536 bytes; this one has 70,000"):
        await store.add_template_version(HERE, "greet", action="new", author=ANN, source_text="é" * 35_000, version="v")
    with pytest.raises(RequestError, match="65,536"):
        await store.save_draft(HERE, Draft("greet", "u1", source_text="x" * 70_000))


async def test_five_hundred_templates_are_read_at_once(store: Store, place: Place) -> None:
    made = template("x", *[(f"in {i}", f"out {i}") for i in range(20)])
    await publish(store, replace(made, name="t"))
    copy(place, 499, "name || i, 1, 0")
    copy(place, 20, "name, i + 1, CASE WHEN i = 20 THEN 1 ELSE 0 END")
    durations_s = []
    for _ in range(10):
        start_s = time.process_time()
        assert len(await store.published_templates(HERE)) == 500
        durations_s.append(time.process_time() - start_s)
    assert min(durations_s) < 0.02


async def test_a_database_from_before_templates_keeps_its_data_and_gets_them(path: Path) -> None:
    path.parent.mkdir(parents=True)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        assert migrate(connection, read_migrations()[:2], path=path) == 2
        connection.executescript(
            "INSERT INTO conversations (platform, server, channel, thread) VALUES ('terminal', 'home', 'general', '');"
            "INSERT INTO messages (conversation_id, platform, message_id, author_id, author_name, is_bot, is_me, text,"
            " reply_to, kind, created_at_utc) VALUES (1, 'terminal', 'q', 'u1', 'Ann', 0, 0, 'asked', NULL, 'chat', 1),"
            " (1, 'terminal', 'a', 'me', 'Fewshot', 1, 1, 'answered', 'q', 'chat', 2);"
            "INSERT INTO template_versions (name, version, source_text, source_sha256) VALUES ('chat', 'v', 't', 's');"
            "INSERT INTO replies (id, command, template_id, model_name, precision, num_prompt_tokens, num_new_tokens,"
            " prompt_inputs) VALUES (2, 'chat', 1, 'gpt2', 'float32', 1, 1, '{}');"
            "INSERT INTO settings VALUES ('terminal', 'home', '', 'preset', 'wild');"
        )
    async with Store.open(path) as store:
        assert [m.text for m in await store.load_history(HERE, limit=9)] == ["asked", "answered"]
        reply = await store.get_reply(HERE, "a")
        assert reply is not None
        assert reply.provenance.template is not None
        assert reply.provenance.template.source_text == "t"
        assert await store.get_settings(HERE) == {"preset": "wild"}
        assert await publish(store, template()) == 1


async def test_who_is_forgotten_leaves_published_texts_without_name_and_reason(store: Store, place: Place) -> None:
    await publish(store, template(), reason="abracadabra")
    await publish(store, template(), author=BOB, reason="simsalabim")
    await publish(store, template("mine"), scope=replace(MINE, platform="terminal"))
    await store.save_draft(HERE, Draft("greet", "u1", source_text=template(text="hocuspocus").source_text))
    kinds = [(one["kind"], one.get("reason")) for one in await store.export_person("terminal", "u1")]
    assert kinds == [("template", "abracadabra"), ("template", ""), ("draft", None)]
    await store.forget_person("terminal", "u1")
    assert await store.export_person("terminal", "u1") == []
    for word in (b"abracadabra", b"Annabelle", b"hocuspocus"):
        assert word not in place.content()
    second, first = await store.template_history(HERE, "greet")
    assert (first.author_id, first.author_name, first.reason, first.action) == ("", "", "", "edit")
    assert (second.author_name, second.reason) == ("Bobolink", "simsalabim")
    assert await published(store, replace(MINE, platform="terminal")) == {}


async def test_a_server_that_was_left_has_no_template_any_more(store: Store, place: Place) -> None:
    secret = template("greet", ("abracadabra", "hocuspocus"))
    for scope in (HERE, ELSEWHERE):
        made = secret if scope is HERE else template()
        await publish(store, made, scope=scope)
        await store.save_draft(scope, Draft("greet", "u1", source_text=made.source_text))
        await store.add_template_origin(scope, "greet", "abracadabra", message_id="1", author_id="u3")
    await store.add_message(said(1), kind="chat")
    used = replace(provenance().template, source_text=secret.source_text)  # type: ignore[type-var]
    await store.add_reply(said(2, author=Author("me", "F", is_me=True)), provenance(template=used), kind="chat")
    await store.put_row_outcomes("p", "m", {"r": {"bits": 1.0}})
    await store.forget_server("terminal", "home")
    for word in (b"abracadabra", b"hocuspocus", b"home"):
        assert word not in place.content()
    assert (await published(store), await published(store, ELSEWHERE)) == ({}, {"greet": 1})
    assert len(await store.list_drafts(ELSEWHERE)) == 1
    assert [one["kind"] for one in await store.export_person("terminal", "u3")] == ["example"]

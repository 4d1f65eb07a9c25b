from dataclasses import replace

import pytest

from bot.core.messages import Scope
from bot.core.templates.parsing import parse_template
from bot.core.templates.template import PromptTemplate
from bot.store.drafts import Draft
from bot.store.replies import TemplateVersion
from bot.store.store import Store
from tests.store.places import Place
from tests.store.samples import HERE, ME, provenance, said
from tests.store.test_templates import ANN, BOB, ELSEWHERE, MINE, publish, template

WORDS = "abracadabra says the wizard"
OTHER = ("good day", "hello")


def used(made: PromptTemplate) -> TemplateVersion:
    return TemplateVersion(made.name, made.version, made.source_text)


async def take(store: Store, name: str = "greet", *, scope: Scope = HERE, message_id: str = "1") -> None:
    """Record that WORDS came from message 1 of Ann."""
    await store.add_template_origin(scope, name, WORDS, message_id=message_id, author_id="u1")


@pytest.mark.parametrize("quick_characters", [0, 64 * 1024], ids=["long texts", "short texts"])
@pytest.mark.parametrize("how", ["person", "message", "unknown message", "withdrawn"])
async def test_forgetting_takes_an_example_out_of_every_text_and_file(
    store: Store, place: Place, how: str, quick_characters: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.store.template_forgetting._QUICK_CHARACTERS", quick_characters)
    if how != "unknown message":
        await store.add_message(said(1, WORDS, author=ANN), kind="chat")
        await store.accept_request(said(1, WORDS, author=ANN))
    with_words = template("greet", (WORDS, "hocuspocus"), OTHER)
    await publish(store, with_words, author=BOB)
    await store.set_score(HERE, "greet", 1, version=with_words.version, score={"bits": 1.0}, model="m")
    clean = template("greet", OTHER)
    await publish(store, clean, author=BOB)
    await store.set_score(HERE, "greet", 2, version=clean.version, score={"bits": 2.0}, model="m")
    await publish(store, template("copy", OTHER, (WORDS, "simsalabim")), author=BOB, action="import")
    await publish(store, template("free", OTHER), author=BOB)
    await store.save_draft(HERE, Draft("greet", "u2", 1, source_text=with_words.source_text))
    await store.save_draft(HERE, Draft("copy", "u2", 1, source_text=template("copy", OTHER).source_text))
    await take(store)
    assert b"wizard" in place.content()
    match how:
        case "person":
            await store.forget_person("terminal", "u1")
        case "withdrawn":
            await store.withdraw_request("terminal", "1")
        case _:
            assert await store.delete_message("terminal", "1")
            assert not await store.delete_message("terminal", "1")
    for word in (b"abracadabra", b"wizard", b"hocuspocus", b"simsalabim"):
        assert word not in place.content()
    forgot, second, first = await store.template_history(HERE, "greet")
    left = parse_template(first.source_text or "", name="greet", source="x")
    assert left == template("greet", OTHER)
    assert (first.version, first.score, first.author_name) == (left.version, None, "Bobolink")
    assert second.source_text == forgot.source_text == template("greet", OTHER).source_text
    assert (forgot.action, forgot.author_id, forgot.author_name, forgot.reason) == ("forget", "", "", "")
    assert (forgot.number, forgot.parent_number, forgot.score) == (3, 2, {"bits": 2.0})
    published = {one.name: one.number for one in await store.published_templates(HERE)}
    assert published == {"copy": 2, "free": 1, "greet": 3}
    drafts = {one.name: one for one in await store.list_drafts(HERE)}
    assert parse_template(drafts["greet"].source_text or "", name="greet", source="x") == template("greet", OTHER)
    assert (drafts["greet"].based_on, drafts["copy"].based_on) == (1, 2)


async def test_a_changed_template_is_seen_as_a_change(store: Store) -> None:
    await publish(store, template("greet", (WORDS, "x"), OTHER), author=BOB)
    await take(store)
    before = await store.latest_template_change(HERE)
    await store.delete_message("terminal", "1")
    assert await store.latest_template_change(HERE) > before
    made = template("greet", (WORDS, "x"), text="Hi.")
    assert await publish(store, made, author=BOB, expected_published=1) is None, "it was read before"


async def test_a_deleted_template_stays_deleted(store: Store, place: Place) -> None:
    await publish(store, template("greet", (WORDS, "x"), OTHER), author=BOB)
    await store.delete_template(HERE, "greet", author=BOB)
    await take(store)
    await store.delete_message("terminal", "1")
    assert b"wizard" not in place.content()
    assert await store.published_templates(HERE) == []
    actions = [(one.action, one.source_text is None) for one in await store.template_history(HERE, "greet")]
    assert actions == [("forget", True), ("delete", True), ("edit", False)]
    assert await publish(store, template("greet", OTHER), author=BOB, expected_published=0) == 4


async def test_what_answers_were_made_with_is_rewritten_for_this_server_only(store: Store, place: Place) -> None:
    made = template("greet", (WORDS, "x"), OTHER)
    for number, scope in ((10, HERE), (20, ELSEWHERE)):
        await publish(store, made, scope=scope, author=BOB)
        await store.add_message(said(number, scope=scope, author=BOB), kind="chat")
        answer = said(number + 1, author=ME, scope=scope, reply_to=str(number))
        await store.add_reply(answer, provenance((str(number), 1), template=used(made)), kind="chat")
    await take(store)
    await store.delete_message("terminal", "1")
    here, there = await store.get_reply(HERE, "11"), await store.get_reply(ELSEWHERE, "21")
    assert here is not None
    assert there is not None
    assert here.provenance.template is not None
    assert parse_template(here.provenance.template.source_text, name="greet", source="x") == template("greet", OTHER)
    assert here.provenance.template.version != made.version
    assert here.provenance.prompt_sha256 is None
    assert there.provenance.template == used(made)
    assert there.provenance.prompt_sha256 is not None
    await take(store, scope=ELSEWHERE, message_id="2")
    await store.forget_person("terminal", "u1")
    assert b"wizard" not in place.content()
    assert place.rows("SELECT count(*) FROM template_versions") == [(1,)]
    assert place.rows("SELECT count(*) FROM template_origins") == [(0,)]


async def test_an_answer_that_was_begun_before_does_not_bring_the_words_back(store: Store, place: Place) -> None:
    made, after = template("greet", (WORDS, "x"), OTHER), template("greet", OTHER)
    await publish(store, made, author=BOB)
    await take(store)
    await store.add_message(said(2, author=BOB), kind="chat")
    await store.add_reply(said(3, author=ME, reply_to="2"), provenance(template=used(after)), kind="chat")
    await store.delete_message("terminal", "1")
    await store.add_reply(said(4, author=ME, reply_to="2"), provenance(template=used(made)), kind="chat")
    await store.rewrite_reply(HERE, "3", "anew", provenance(template=used(made)))
    await store.add_reply(said(5, author=ME, reply_to="2"), provenance(template=used(template("other"))), kind="chat")
    assert b"wizard" not in place.content()
    for number in ("3", "4"):
        reply = await store.get_reply(HERE, number)
        assert reply is not None
        assert (reply.provenance.template, reply.provenance.prompt_sha256) == (None, None)
    (newest,) = await store.published_templates(HERE)
    current = TemplateVersion("greet", newest.version or "", newest.source_text or "")
    await store.add_reply(said(6, author=ME, reply_to="2"), provenance(template=current), kind="chat")
    for number, expected in (("5", used(template("other"))), ("6", current)):
        reply = await store.get_reply(HERE, number)
        assert reply is not None
        assert reply.provenance.template == expected


async def test_what_was_typed_and_not_valid_goes_whole(store: Store, place: Place) -> None:
    await publish(store, template("greet", (WORDS, "x")), author=BOB)
    typed = {"examples": f"{WORDS.replace(' ', chr(10))} => y"}
    await store.save_draft(HERE, Draft("greet", "u2", form_values={"query": "anything"}, problem="p"))
    await store.save_draft(HERE, Draft("other", "u2", form_values=typed, problem="It says abracadabra."))
    await store.save_draft(HERE, Draft("free", "u2", form_values={"query": "free"}, problem="p"))
    await take(store)
    await store.delete_message("terminal", "1")
    assert b"wizard" not in place.content()
    drafts = {one.name: (one.form_values, one.problem) for one in await store.list_drafts(HERE)}
    assert drafts == {"greet": (None, ""), "other": (None, ""), "free": ({"query": "free"}, "p")}


async def test_a_text_that_no_program_reads_any_more_goes_whole(store: Store, place: Place) -> None:
    await publish(store, template("greet", (WORDS, "x"), OTHER), author=BOB)
    broken = template("greet", (WORDS, "x")).source_text.replace("description", "beschreibung")
    await store.add_template_version(HERE, "greet", action="edit", author=BOB, source_text=broken, version="v")
    await store.save_draft(HERE, Draft("greet", "u2", 2, source_text=broken))
    await take(store)
    await store.delete_message("terminal", "1")
    assert b"wizard" not in place.content()
    texts = [one.source_text is None for one in await store.template_history(HERE, "greet")]
    assert texts == [True, True, False]
    assert await store.published_templates(HERE) == []
    draft = await store.get_draft(HERE, "greet", "u2")
    assert draft is not None
    assert draft.source_text is None


async def test_measurements_are_forgotten_with_an_example(store: Store) -> None:
    await publish(store, template("greet", (WORDS, "x"), OTHER), author=BOB)
    await store.put_row_outcomes("p", "m", {"r": {"bits": 1.0}})
    await store.delete_message("terminal", "1")
    assert len(await store.get_row_outcomes("p", "m", ["r"])) == 1
    await take(store)
    await store.delete_message("terminal", "1")
    assert await store.get_row_outcomes("p", "m", ["r"]) == {}


async def test_an_origin_reaches_no_other_server_platform_or_direct_message(store: Store) -> None:
    made = template("greet", (WORDS, "x"), OTHER)
    scopes = [ELSEWHERE, replace(HERE, platform="discord"), MINE, replace(MINE, channel="dm-2")]
    for scope in scopes:
        await publish(store, made, scope=scope, author=BOB)
    await take(store)
    await take(store, scope=MINE, message_id="1")
    await store.delete_message("discord", "1")
    await store.delete_message("terminal", "1")
    numbers = [[one.number for one in await store.published_templates(scope)] for scope in scopes]
    assert numbers == [[1], [1], [2], [1]]


async def test_an_origin_outlives_its_message_while_there_are_templates(store: Store, place: Place) -> None:
    await publish(store, template("greet", (WORDS, "x"), OTHER), author=BOB)
    await take(store)
    await take(store, scope=ELSEWHERE)
    place.rows("UPDATE template_origins SET created_at_utc = 0")
    await store.delete_expired()
    servers = [one["server"] for one in await store.export_person("terminal", "u1")]
    assert servers == ["home"]
    await store.forget_person("terminal", "u1")
    assert b"wizard" not in place.content()

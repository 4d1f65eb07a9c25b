import pytest

from bot.store.replies import Provenance
from bot.store.store import Store
from tests.store.places import Place
from tests.store.samples import HERE, ME, at, provenance, said


async def test_an_answer_comes_back_with_all_that_made_it(store: Store, place: Place) -> None:
    await store.add_message(said(1), kind="chat")
    given = provenance(("1", 1))
    answer = said(2, "an answer", author=ME, reply_to="1")
    assert await store.add_reply(answer, given, kind="chat")
    assert not await store.add_reply(answer, given, kind="chat")
    async with Store.open(place.address) as again:
        reply = await again.get_reply(HERE, "2")
        assert reply is not None
        assert (reply.message, reply.kind, reply.provenance) == (answer, "chat", given)
        assert reply == await again.last_reply(HERE)
        assert [(back.message_id, back.revision, back.change) for back in reply.read] == [
            ("1", 1, "same"),
        ]
        assert [m.id for m in await again.load_history(HERE, limit=9)] == ["1", "2"]


async def test_an_answer_without_sampling_template_or_timings_comes_back(store: Store) -> None:
    given = Provenance("perplexity", "gpt2", "float32")
    await store.add_reply(said(1, author=ME), given, kind="command")
    reply = await store.last_reply(HERE)
    assert reply is not None
    assert reply.provenance == given
    assert await store.load_history(HERE, limit=9) == []


async def test_why_says_what_was_edited_or_deleted_since(store: Store) -> None:
    for number in range(1, 4):
        await store.add_message(said(number), kind="chat")
    await store.add_reply(said(4, author=ME), provenance(("3", 1), ("1", 1), ("2", 1), ("1", 1)), kind="chat")
    await store.edit_message("terminal", "1", "edited")
    await store.delete_message("terminal", "2")
    reply = await store.get_reply(HERE, "4")
    assert reply is not None
    assert [(back.message_id, back.change) for back in reply.read] == [
        ("3", "same"),
        ("1", "edited"),
        ("2", "deleted"),
        ("1", "edited"),
    ]
    assert reply.read[1].message is not None
    assert reply.read[1].message.text == "edited"
    assert reply.provenance.prompt_sha256 is None, "a check sum would tell whether a guess at deleted words is right"


@pytest.mark.parametrize("change", ["edited", "deleted", "expired", "unknown", "changed before"])
async def test_the_check_sum_of_a_prompt_goes_with_the_words_in_it(store: Store, change: str) -> None:
    if change != "unknown":
        await store.add_message(said(1), kind="chat")
    await store.add_message(said(2), kind="chat")
    if change == "changed before":
        await store.edit_message("terminal", "1", "edited while the model was writing")
    late = at(31 * 86_400)
    for answer, read in [("3", "1"), ("4", "2")]:
        message = said(int(answer), author=ME, created_at_utc=late)
        await store.add_reply(message, provenance((read, 1)), kind="chat")
    if change == "edited":
        await store.edit_message("terminal", "1", "something else")
    if change == "deleted":
        await store.delete_message("terminal", "1")
    if change == "expired":
        await store.delete_expired(now=at(30 * 86_400 + 1.5))
    replies = [await store.get_reply(HERE, answer) for answer in ("3", "4")]
    assert [reply.provenance.prompt_sha256 for reply in replies if reply] == [None, "ab" * 32]


async def test_a_template_text_is_kept_once_and_a_changed_one_beside_it(store: Store, place: Place) -> None:
    template = provenance().template
    assert template is not None
    changed = type(template)(template.name, template.version, "a changed file\ud800")
    for number, used in enumerate([template, template, changed, template], start=1):
        await store.add_reply(said(number, author=ME), provenance(template=used), kind="chat")
    assert place.content().count(b"$bot_name:") <= 2, "in the database and at most once more in its log"
    for number, text in [(1, template.source_text), (3, "a changed file�"), (4, template.source_text)]:
        reply = await store.get_reply(HERE, str(number))
        assert reply is not None
        assert reply.provenance.template is not None
        assert reply.provenance.template.source_text == text


async def test_an_answer_never_stands_before_its_question(store: Store) -> None:
    await store.add_message(said(5), kind="chat")
    await store.add_reply(said(6, author=ME, reply_to="5", created_at_utc=at(1)), provenance(), kind="chat")
    assert [m.id for m in await store.load_history(HERE, limit=9)] == ["5", "6"]


async def test_an_answer_is_written_wholly_or_not_at_all(store: Store) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        await store.add_reply(said(1, author=ME), provenance(prompt_inputs={"x": float("nan")}), kind="chat")
    with pytest.raises(OverflowError):
        await store.add_reply(said(1, author=ME), provenance(("1", 2**64)), kind="chat")
    assert (await store.count_stored()).num_messages == 0
    assert await store.add_reply(said(1, author=ME), provenance(), kind="chat")


async def test_a_deleted_answer_is_no_longer_an_answer(store: Store) -> None:
    await store.add_reply(said(1, "first", author=ME), provenance(), kind="chat")
    await store.add_reply(said(2, "second", author=ME), provenance(), kind="chat")
    await store.delete_message("terminal", "2")
    assert await store.get_reply(HERE, "2") is None
    reply = await store.last_reply(HERE)
    assert reply is not None
    assert reply.message.id == "1"
    assert reply.provenance.read == ()

"""Several models at once: which one answers, and what goes on with the one that began it."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bot.core.cards import Card, Table, Text
from bot.core.messages import Author, Click, FormSubmitted
from bot.core.stopping import Stopper
from bot.errors import RequestError
from bot.platforms.shared.kept_clicks import as_request, click_of
from bot.store.messages import Conversation
from tests.bots import HERE, MOOD, PROMPTS, Talk, open_tiny_bot
from tests.remote.remotes import LIKE_OPENAI, known_choice
from tests.servers.openai.behaviour import OPENAI
from tests.servers.openai.server import serve_openai

Open = Callable[..., AbstractAsyncContextManager[Talk]]

NAMED = PROMPTS | {
    "mood": MOOD,
    "far": PROMPTS["exact"].replace("[sampling]", 'model = "other"\n[sampling]'),
    "gone": PROMPTS["exact"].replace("[sampling]", 'model = "lost"\n[sampling]'),
    "sailor": PROMPTS["pirate"].replace("[sampling]", 'model = "other"\n[sampling]'),
    "ghost": PROMPTS["pirate"].replace("[sampling]", 'model = "lost"\n[sampling]'),
}


@pytest.fixture
async def two(open_tiny: Open, roomy_model: Callable[[str], Path]) -> AsyncIterator[Talk]:
    """Return the real bot on a tiny GPT-2, which also offers a tiny Llama by the name `other`."""
    async with open_tiny("gpt2", others={"other": roomy_model("llama")}, prompts=NAMED) as talk:
        yield talk


async def test_the_channel_chooses_and_the_model_is_loaded_when_it_is_first_asked_for(two: Talk) -> None:
    assert (await two.ask("hello"))["model"] == "tiny"
    assert not two.services.models.is_ready("other")
    changed = await two.ask("!settings model OTHER")
    assert changed["text"] == "model: tiny → other, for this channel."
    cards = [card async for card in two.snapshots("hello again")]
    assert cards[0].blocks == (Text("Loading other …", is_quiet=True),)
    assert not cards[0].is_final
    assert cards[-1].data["model"] == "other"
    assert (await two.why())["model"] == "other"
    assert Text("Loading other …", is_quiet=True) not in [
        block async for card in two.snapshots("and again") for block in card.blocks
    ]
    for line in ("!next The cat", "!perplexity The cat", "!prompt story a cat", "!complete --n 1 The cat"):
        assert (await two.ask(line))["model"] == "other", line
    assert (await two.ask("!next --model tiny The cat"))["model"] == "tiny"


async def test_what_is_typed_is_continued_by_the_model_that_would_answer_it(two: Talk) -> None:
    models, told = two.services.models, []

    async def by(line: str, text: str) -> str:
        before = {one.name: one.num_done for one in models.states()}
        await two.suggest(text, line=line, num=1, max_new_tokens=2, seed=1, tell=told.append)
        (name,) = [one.name for one in models.states() if one.num_done > before[one.name]]
        return name

    assert await by("The cat", "The cat") == "tiny"
    assert not told
    assert await by("!next --model other The cat", "The cat") == "other"
    assert told == ["Loading other …"]
    assert await by("!prompt far The cat", "The cat") == "other"
    assert await by("!prompt exact The cat", "The cat") == "tiny"
    await two.ask("!settings model other")
    for line in ("The cat", "!complete The cat", "!prompt exact The cat"):
        assert await by(line, "The cat") == "other", line
    await two.ask("!settings chat_template sailor")
    await two.ask("!settings model tiny")
    assert await by("The cat", "The cat") == "other"
    assert await by("!complete The cat", "The cat") == "tiny"
    assert len(told) == 1
    with pytest.raises(RequestError, match="There is no model 'gpt9' here"):
        await by("!next --model gpt9 The cat", "The cat")


async def test_values_are_suggested_by_the_model_of_the_place_once_it_is_loaded(two: Talk) -> None:
    await two.ask("!settings model other")
    asking = partial(two.bot.suggest_values, HERE, "complete", "TEXT", "The cat", who=Author("ann", "Ann"))
    assert await asking() == ()
    assert not two.services.models.is_ready("other")
    told: list[str] = []
    assert await asking(tell=told.append)
    assert told == ["Loading other …"]
    assert two.services.models.is_ready("other")
    assert await asking()


@pytest.mark.parametrize("change", ["model", "template"])
async def test_a_message_that_waited_is_read_by_the_model_that_answers_it(
    two: Talk, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """The settings change while the message waits: prompt and answer are those of the new model."""
    store, load = two.store, two.store.load_conversation
    is_changed = False

    async def load_after_change(*given: Any, **how: Any) -> Conversation:
        nonlocal is_changed
        if not is_changed:
            is_changed = True
            name, value = ("model", "other") if change == "model" else ("chat_template", "sailor")
            await store.set_setting(HERE, "channel", name, value)
        return await load(*given, **how)

    monkeypatch.setattr(store, "load_conversation", load_after_change)
    cards = [card async for card in two.snapshots("hello")]
    assert cards[0].blocks == (Text("Loading other …", is_quiet=True),)
    assert cards[-1].data["model"] == "other"
    assert cards[-1].data["template"] == ("chat" if change == "model" else "sailor")
    assert (await two.why())["is_exact"]


async def test_loading_is_said_wherever_a_model_is_loaded_first(
    open_tiny: Open, roomy_model: Callable[[str], Path]
) -> None:
    async with open_tiny("gpt2", others={"other": roomy_model("llama")}, prompts=NAMED) as talk:
        models = talk.services.models
        await talk.ask("!settings model other")
        options = {"has_buttons": True, "reach": "form"}
        grown = await talk.card("!complete --n 1 --max_new_tokens 4 The cat", **options)
        answer = await talk.card("hello", **options)
        await talk.ask("!prompt import far " + NAMED["far"].replace("so", "as"))
        draft = await talk.card("!prompt draft far", **options)

        async def first(cards: AsyncIterator[Card]) -> Card:
            await models.close()
            models._is_closing = False
            shown = [card async for card in cards]
            assert shown[-1].error is None, shown[-1].error
            assert not shown[0].is_final
            assert shown[0].blocks == (Text("Loading other …", is_quiet=True),)
            assert len(shown) > 1
            return shown[0]

        assert (await first(talk.snapshots("!why", **options))).answers == "private"
        assert (await first(talk.snapshots("!prompt draft far", **options))).answers == "private"
        assert (await first(talk.snapshots("!next The cat", **options))).answers == "public"
        assert (await first(talk.clicks(grown, "more"))).answers == "public"
        assert (await first(talk.clicks(answer, "again"))).answers == "public"
        assert (await first(talk.clicks(answer, "why"))).answers == "private"
        assert draft.open_card_id


async def test_a_card_whose_model_can_not_be_loaded_is_shown_again_with_the_reason(two: Talk) -> None:
    options = {"has_buttons": True}
    await two.ask("!settings model other")
    grown = await two.card("!complete --n 1 --max_new_tokens 4 The cat", **options)
    answer = await two.card("hello", **options)
    await two.services.models.close()
    for card, action in ((grown, "more"), (answer, "again")):
        shown = await two.click(card, action)
        assert "The bot is shutting down" in str(shown.blocks[-1])
        assert shown.blocks[0] == card.blocks[0]
        assert shown.buttons == card.buttons


async def test_the_first_line_names_all_models_with_their_state(two: Talk) -> None:
    first = two.bot.model_line
    assert first.startswith("tiny · ")
    assert two.bot.models_line == f"{first}; also other (not loaded)"
    await two.ask("!next --model other The cat")
    assert two.bot.models_line == f"{first}; also other (loaded)"


async def test_an_unknown_model_is_refused_with_the_names_that_there_are(two: Talk) -> None:
    refusal = "There is no model 'gpt9' here; the models are tiny and other."
    for line in ("!next --model gpt9 a", "!perplexity --model tiny,gpt9 a", "!complete --model gpt9 a"):
        assert await two.refusal(line) == refusal, line
    assert await two.refusal("!settings model gpt9") == "model can't be 'gpt9'; it takes one of tiny, other."
    assert "two different ones" in await two.refusal("!compare --model tiny,TINY a | b")


async def test_two_models_or_an_empty_name_are_refused_where_one_model_answers(two: Talk) -> None:
    for command, text in (
        ("complete", "a"),
        ("strategies", "a"),
        ("next", "a"),
        ("prompt story", "a"),
        ("prompt test mood", ""),
    ):
        for named, shown in (("tiny,other", "'tiny,other'"), ('""', "''")):
            line = f"!{command} --model {named} {text}"
            refusal = f"There is no model {shown} here; the models are tiny and other."
            assert await two.refusal(line) == refusal, line
    assert await two.refusal('!perplexity --model "" The cat') == (
        "There is no model '' here; the models are tiny and other."
    )


async def test_a_template_names_its_model_and_nothing_else_answers_where_that_is_gone(two: Talk) -> None:
    assert (await two.ask("!prompt far good"))["model"] == "other"
    assert (await two.ask("!prompt exact good"))["model"] == "tiny"
    assert (await two.ask("!prompt far --model tiny good"))["model"] == "tiny"
    refusal = await two.refusal("!prompt gone good")
    assert refusal == (
        "The template gone names the model lost, which is not here; the models are tiny and other. A moderator can"
        " change that line of the file with !prompt import gone."
    )
    await two.ask("!settings chat_template sailor")
    assert (await two.ask("hello"))["model"] == "other"
    await two.ask("!settings chat_template ghost")
    assert "names the model lost" in await two.refusal("hello")
    assert "chat is refused" in "".join(
        block.text for block in (await two.card("!model")).blocks if isinstance(block, Text)
    )


async def test_cards_go_on_with_the_model_that_made_them(two: Talk) -> None:
    options = {"has_buttons": True}
    await two.ask("!settings model other")
    answer = await two.card("hello", **options)
    grown = await two.card("!complete --n 1 --max_new_tokens 4 The cat", **options)
    await two.ask("!settings model tiny")
    assert (await two.click(grown, "more")).data["model"] == "other"
    assert (await two.click(answer, "again")).data["model"] == "other"
    assert (await two.card("hello", **options)).data["model"] == "tiny"


async def test_where_the_model_is_gone_a_card_says_so_and_why_still_explains(
    open_tiny: Open, roomy_model: Callable[[str], Path]
) -> None:
    async with open_tiny("gpt2", others={"other": roomy_model("gpt2")}) as talk:
        await talk.ask("!settings model other")
        answer = await talk.card("hello", has_buttons=True)
    async with open_tiny("gpt2") as talk:
        said = await talk.click_refusal(answer, "again", who="Ann")
        assert said == (
            "other wrote this, and it is no longer here; the only one is tiny. Ask again for an answer by another"
            " model."
        )
        assert (await talk.why())["model"] == "other"
        shown = await talk.card("!model")
        assert [block.text for block in shown.blocks if isinstance(block, Text)][:2] == [
            "tiny answers here: it is the only one.",
            "The settings ask for 'other', which is no longer here.",
        ]


async def test_model_lists_them_and_a_moderator_chooses_on_its_card(two: Talk) -> None:
    card = await two.card("!model", has_buttons=True)
    (table,) = [block for block in card.blocks if isinstance(block, Table)]
    assert [row[0] for row in table.rows] == ["tiny (default)", "other"]
    assert [row[-1] for row in table.rows] == ["loaded", "not loaded"]
    (select,) = card.selects
    assert [option.value for option in select.options] == ["tiny", "other"]
    assert await two.click_refusal(card, "model", value="other", who="Bob") == "Only moderators can use /settings."
    chosen = await two.click(card, "model", value="other", is_moderator=True)
    assert chosen.data["text"] == "other answers here: this channel's setting."
    assert not (await two.card("!model", has_buttons=True, is_moderator=False)).selects


async def test_two_models_are_compared_by_bits_per_byte_only(two: Talk) -> None:
    one = [await two.ask(f"!perplexity --model {name} The cat sat.") for name in ("tiny", "other")]
    both = await two.card("!perplexity --model tiny,other The cat sat.")
    assert [found["bits_per_byte"][0] for found in both.data["models"]] == [found["bits_per_byte"] for found in one]
    (table,) = [block for block in both.blocks if isinstance(block, Table)]
    assert "perplexity" not in table.columns
    better, worse = sorted(one, key=lambda found: float(found["bits_per_byte"]))
    assert both.data["verdict"] == (
        f"{better['model']} predicts the text better: it takes {better['bits_per_byte']:.3f} bits per byte,"
        f" {worse['model']} takes {worse['bits_per_byte']:.3f}."
    )
    compared = await two.card("!compare --model tiny,other The cat | The dog ran")
    (table,) = [block for block in compared.blocks if isinstance(block, Table)]
    assert table.columns == ("", "text", "tiny, bits per byte", "other, bits per byte")
    assert len(table.rows) == 2


async def test_scores_of_templates_are_kept_apart_and_statistics_count_for_all(two: Talk) -> None:
    scores = [await two.ask(f"!prompt test mood{option}") for option in ("", " --model other", "")]
    assert scores[0] == scores[2] != scores[1]
    stats = await two.ask("!stats")
    assert [one["model"] for one in stats["models"]] == ["tiny", "other"]
    assert all(one["num_done"] > 0 for one in stats["models"])


async def test_a_form_chooses_the_model_where_there_are_several(two: Talk) -> None:
    how = {"has_buttons": True, "reach": "form"}
    ann = Author("ann", "Ann", is_moderator=True)
    browser = await two.click(await two.card("!prompt list", **how), "choose", value="far")
    form = (await two.click(browser, "try")).form
    assert form is not None
    _, model = form.fields
    assert (model.name, model.kind) == ("model", "choice")
    assert [(one.value, one.is_chosen) for one in model.options] == [("tiny", False), ("other", True)]
    for number, (chosen, wrote) in enumerate({"tiny": "tiny", "other": "other", "": "other"}.items()):
        values = {"text": "--model good", "model": chosen}
        submitted = FormSubmitted(f"f{number}", HERE, ann, form.id, values)
        assert [card async for card in two.bot.submit(submitted)][-1].data["model"] == wrote
    submitted = FormSubmitted("f9", HERE, ann, form.id, {"text": "good", "model": "tiny --n 5"})
    assert "There is no model" in ([card async for card in two.bot.submit(submitted)][-1].error or "")


async def test_a_form_does_not_ask_for_the_only_model(open_tiny: Open) -> None:
    how = {"has_buttons": True, "reach": "form"}
    async with open_tiny("gpt2") as talk:
        browser = await talk.click(await talk.card("!prompt list", **how), "choose", value="exact")
        form = (await talk.click(browser, "try")).form
        assert form is not None
        assert [field.name for field in form.fields] == ["text"]


async def test_a_test_that_is_resumed_after_a_restart_is_by_the_draft_s_model_and_names_it(
    open_tiny: Open, roomy_model: Callable[[str], Path]
) -> None:
    others, how = {"other": roomy_model("llama")}, {"has_buttons": True, "reach": "form"}
    far = MOOD.replace('kind = "classify"', 'kind = "classify"\nmodel = "other"')
    async with open_tiny("gpt2", others=others, prompts=NAMED) as talk:
        await talk.ask(f"!prompt import mood {far}")
        draft = await talk.card("!prompt draft mood", **how)
        browser = await talk.card("!prompt list", **how)
        browser = await talk.click(browser, "choose", value="mood")

    def measured_by(card: Card) -> set[str]:
        tables = [block for block in card.blocks if isinstance(block, Table)]
        return {row[1] for table in tables for row in table.rows if row[0] == "model"}

    async with open_tiny("gpt2", others=others, prompts=NAMED) as talk:
        for card in (draft, browser):
            moderator = Author("ann", "Ann", is_moderator=True)
            click = Click(card.open_card_id or "", HERE, moderator, card.open_card_id or "", card.revision, "test")
            kept = click_of(as_request(click))
            assert kept is not None
            shown = [one async for one in talk.bot.click(kept, Stopper())]
            assert measured_by(shown[-1]) == {"other"}
        assert measured_by(await talk.card("!prompt test mood", **how)) == {"other"}
        tiny = {one.name: one for one in talk.services.models.states()}["tiny"]
        assert tiny.num_done == 0
    async with open_tiny("gpt2", prompts=NAMED) as talk:
        assert measured_by(await talk.card("!prompt test mood", who="Bob", is_moderator=True)) == set()


async def test_a_draft_that_names_an_unknown_model_is_kept_but_not_published(two: Talk) -> None:
    for name in ("gone", "tale"):
        kept = await two.ask(f"!prompt import {name} {NAMED['gone']}")
        assert "names the model lost, which is not here" in kept["problem"], name
        assert "is not valid" in await two.refusal(f"!prompt publish {name}")
        await two.ask(f"!prompt import {name} {NAMED['far'].replace('so', 'as')}")
    await two.ask("!prompt publish tale")
    assert (await two.ask("!prompt tale good"))["model"] == "other"


async def test_a_model_of_a_server_beside_one_of_this_machine(tmp_path: Path, tiny_gpt2: Path) -> None:
    async with serve_openai(behaviour=OPENAI) as server:
        far = known_choice(server, tmp_path, LIKE_OPENAI)
        async with open_tiny_bot(tiny_gpt2, tmp_path, others={far.name: far}) as talk:
            server.scripts = [" Hello there."]
            await talk.ask(f"!settings model {far.name}")
            assert (await talk.ask("hello"))["model"] == far.name
            assert (await talk.ask("!next --model tiny The cat"))["model"] == "tiny"
            assert await talk.refusal(f"!perplexity --model tiny,{far.name} The cat sat.") == (
                f"{far.name}: This model's server does not tell how likely a given text is; vLLM and Fewshot's own"
                " engine do."
            )
            said = " ".join(block.text for block in (await talk.card("!privacy")).blocks if isinstance(block, Text))
            assert f"The model reads them: {far.name} on the server {far.host}" in said
            assert "tiny on the operator's own machine" in said
            assert talk.bot.models_line.endswith(f"; also {far.name} (at {far.host})")
            shown = await talk.card("!model")
            assert any(f"{far.name} can't do: " in block.text for block in shown.blocks if isinstance(block, Text))

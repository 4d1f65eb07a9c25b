"""Cards: every kind of block, buttons, selects, files, private cards and forms."""

from pathlib import Path

from tests.platforms.web.browser.browsing import Context, eventually
from tests.platforms.web.browser.test_talking import focused
from tests.servers.page import Page, cards
from tests.servers.page.cards import card, text


async def test_every_kind_of_block_is_shown(page: Page, windows: Context) -> None:
    for shown in (cards.PERPLEXITY, cards.COMPARE, cards.NEXT, cards.COMPLETE, cards.WHY):
        page.add("bot", "", card=shown)
    progress = {"type": "progress", "what": "rows measured", "num_done": 30, "num_total": 120}
    page.add("bot", "", card=card(progress, {"type": "later", "x": 1}))
    tab = await windows.open(page.channel_address)
    await tab.sees("rows measured")
    assert "bits per byte" in await tab.texts(".facts dt")
    assert "19.8" in await tab.texts(".message .table td")
    shares = [" ".join(one.split()) for one in await tab.texts(".bars tr")]
    assert shares == ["Paris 41%", "the 13%", "a 7.0%", '"\\n" 0.41%', "all other words 38%"]
    assert (await tab.texts(".choices mark"))[0].strip() == "there was a fox who was afraid of the dark."
    assert await tab.get_by_role("progressbar", name="rows measured").get_attribute("value") == "30"
    assert "30 of 120" in " ".join(await tab.texts(".progress p"))
    await tab.sees("This page is too old to show a part of this answer.")
    assert "Ada: What is the capital of France?" in (await tab.texts("pre.verbatim"))[0]


async def test_each_continuation_has_the_name_of_its_strategy_before_it(page: Page, windows: Context) -> None:
    page.add("bot", "", card=cards.STRATEGIES)
    page.add("bot", "", card=cards.COMPLETE)
    tab = await windows.open(page.channel_address)
    await tab.sees("counted the stars")
    assert await tab.texts(".option-label") == ["greedy", "beam"]
    first, second, *others = [" ".join(one.split()) for one in await tab.texts(".choices li")]
    assert first.split()[0] == "greedy"
    assert first.endswith("there was a fox.")
    assert second.endswith("…"), "nothing is written yet"
    assert others[0] == "there was a fox who was afraid of the dark."


async def test_the_words_of_a_heat_map_can_be_reached_by_keys_and_say_their_bits(page: Page, windows: Context) -> None:
    page.add("bot", "", card=cards.PERPLEXITY)
    tab = await windows.open(page.channel_address)
    await tab.locator(".word").first().focus()
    for _ in range(2):
        await tab.keyboard.press("ArrowRight")
    assert await focused(tab) == "does: 13.2 bits"
    assert await tab.texts(".note") == ["13.2 bits"]
    await tab.keyboard.press("End")
    assert await focused(tab) == ".: 1.0 bits"
    await tab.get_by_role("option", name="bicycle: 19.8 bits").hover()
    assert await tab.texts(".note") == ["19.8 bits"]


async def test_a_comparison_has_the_same_words_below_each_other(page: Page, windows: Context) -> None:
    page.add("bot", "", card=cards.COMPARE)
    tab = await windows.open(page.channel_address)
    await tab.get_by_role("option", name="B, does: +11.2 bits").wait_for()
    await tab.get_by_role("option", name="B, what: −2.6 bits").wait_for()
    await tab.sees("43.6 bits, 12.4 more than A")
    columns = await tab.locator(".column").evaluate_all(
        "all => all.map(one => [...one.children].map(w => w.innerText))"
    )
    assert columns == [["Can", "Can"], ["it", "it"], ["do", "does"], ["that", "what"], ["–", "?"]]


async def test_texts_are_aligned_by_the_words_that_they_share(page: Page, windows: Context) -> None:
    tab = await windows.open(page.channel_address)
    align = """async () => {
        const { alignTexts } = await import('/static/cards/alignment.js');
        const texts = [['the big cat sat', 'a cat sat down', 'sat', ''], ['a b c', 'x a y b c']];
        const split = (text) => text.split(' ').filter(Boolean).map((word) => [word, 1]);
        const shown = (column) => column.map((one) => one?.[0] ?? '-').join(' ');
        return texts.map((all) => alignTexts(all.map(split)).map(shown));
    }"""
    assert await tab.evaluate(align) == [
        ["the a - -", "big - - -", "cat cat - -", "sat sat sat -", "- down - -"],
        ["- x", "a a", "- y", "b b", "c c"],
    ]


async def test_tab_reaches_each_heat_map_of_a_message(page: Page, windows: Context) -> None:
    page.add("bot", "", card=card(*cards.PERPLEXITY["blocks"], *cards.PERPLEXITY["blocks"]))
    tab = await windows.open(page.channel_address)
    await tab.locator(".message").focus()
    for _ in range(2):
        await tab.keyboard.press("Tab")
        assert await focused(tab) == "Can: 9.4 bits"
        await tab.keyboard.press("End")
        assert await focused(tab) == ".: 1.0 bits"


async def test_a_button_carries_the_card_and_its_revision(page: Page, windows: Context) -> None:
    message = page.add("bot", "", card={**cards.COMPLETE, "card_id": "k7", "card_revision": 3})
    tab = await windows.open(page.channel_address)
    await tab.get_by_role("button", name="More").click()
    await tab.sees("You chose more.")
    click = next(one for one in page.asked if one["op"] == "click")
    del click["n"]
    place = {"channel": "c1", "thread": "", "message": message["id"]}
    assert click == {"op": "click", **place, "card": "k7", "revision": 3, "action": "more", "value": ""}


async def test_a_refused_click_says_why_below_its_card(page: Page, windows: Context) -> None:
    page.add("bot", "", card=cards.COMPLETE)
    tab = await windows.open(page.channel_address)
    await tab.get_by_role("button", name="Undo").click()
    await tab.sees("There is nothing to undo.", within=".card")
    await eventually(lambda: tab.texts("#assertive"), lambda texts: texts == ["There is nothing to undo."])


async def test_a_select_is_a_menu_for_the_keyboard(page: Page, windows: Context) -> None:
    page.add("bot", "", card=cards.COMPLETE)
    tab = await windows.open(page.channel_address)
    await tab.get_by_role("button", name="Preset: normal").focus()
    await tab.keyboard.press("Enter")
    assert await tab.get_by_role("menuitemradio", checked=True).inner_text() == "normal\nthe default"
    await tab.keyboard.press("Escape")
    assert await focused(tab) == "Preset: normal"
    await tab.keyboard.press("Enter")
    await tab.keyboard.press("w")
    await tab.keyboard.press("Enter")
    await tab.sees("You chose preset wild.")


async def test_a_file_is_downloaded_with_its_name_and_text(page: Page, windows: Context) -> None:
    page.add("bot", "", card=cards.EXPORT)
    tab = await windows.open(page.channel_address)
    await tab.locator(".file").wait_for()
    read = """async () => {
        const saved = {};
        const create = URL.createObjectURL;
        URL.createObjectURL = (blob) => { saved.blob = blob; return create.call(URL, blob); };
        const click = HTMLAnchorElement.prototype.click;
        HTMLAnchorElement.prototype.click = function () { saved.name = this.download; };
        document.querySelector('.file').click();
        URL.createObjectURL = create;
        HTMLAnchorElement.prototype.click = click;
        return [saved.name, await saved.blob.text()];
    }"""
    assert await tab.evaluate(read) == ["export.json", '{"messages": []}']


async def test_a_private_card_is_below_what_was_clicked_and_can_be_dismissed(page: Page, windows: Context) -> None:
    buttons = [cards.button("why", "Why")]
    page.add("bot", "", card=card(text("first answer"), buttons=buttons, card_id="a"))
    page.add("bot", "", card=card(text("second answer")))
    tab = await windows.open(page.channel_address)
    other = await windows.open(page.channel_address)
    await tab.get_by_role("button", name="Why").click()
    await tab.sees("Only you can see this")
    kinds = await tab.locator(".main .message").evaluate_all("all => all.map(one => one.className)")
    assert ["is-private" in one for one in kinds] == [False, True, False]
    assert await other.locator(".is-private").count() == 0
    await tab.get_by_role("button", name="Dismiss").click()
    await eventually(tab.locator(".is-private").count, lambda count: count == 0)


async def test_a_form_keeps_what_was_typed_until_it_is_accepted(page: Page, windows: Context, tmp_path: Path) -> None:
    tab = await windows.open(page.channel_address)
    await tab.says("/prompt new")
    await tab.get_by_label("Name").wait_for()
    assert await tab.get_by_label("Name").evaluate("e => e === document.activeElement")
    await tab.keyboard.press("Enter")
    await tab.sees("Fill in “Name”.", within="dialog")
    await tab.get_by_label("Name").fill("x" * 41)
    await tab.get_by_role("button", name="Submit").click()
    await tab.sees("“Name” takes at most 40 characters, and this is 41.", within="dialog")
    await tab.get_by_label("Name").fill("Mood")
    await tab.get_by_label("Kind").select_option("classify")
    await tab.get_by_role("textbox", name="Text").fill("How is this?\n$input ->")
    rows = tmp_path / "rows.csv"
    rows.write_text("hi,Positive\n", encoding="utf-8")
    await tab.get_by_label("Examples").set_input_files(str(rows))
    await tab.sees("12 characters", within="dialog")
    await tab.get_by_role("button", name="Submit").click()
    await tab.sees("A name has only small letters.", within="dialog")
    await tab.get_by_label("Name").fill("mood")
    await tab.get_by_role("button", name="Submit").click()
    await eventually(tab.locator("dialog").count, lambda count: count == 0)
    submitted = [one for one in page.asked if one["op"] == "submit"][-1]
    values = {"name": "mood", "kind": "classify", "body": "How is this?\n$input ->", "rows": "hi,Positive\n"}
    assert (submitted["form"], submitted["cause"], submitted["values"]) == ("form-1", "x", values)


async def test_a_form_can_be_submitted_after_the_connection_was_lost(page: Page, windows: Context) -> None:
    tab = await windows.open(page.channel_address)
    await tab.says("/prompt new")
    await tab.get_by_label("Name").fill("mood")
    page.refuses_connections = True
    await page.drop()
    await tab.get_by_role("button", name="Submit").click()
    await tab.sees("There is no connection to the bot.", within="dialog")
    assert await tab.get_by_label("Name").input_value() == "mood"
    page.refuses_connections = False
    await eventually(lambda: tab.evaluate("() => document.body.dataset.connection"), lambda state: state == "open")
    await tab.get_by_role("button", name="Submit").click()
    await eventually(tab.locator("dialog").count, lambda count: count == 0)


async def test_a_form_that_was_typed_into_is_left_only_when_that_is_said_twice(page: Page, windows: Context) -> None:
    tab = await windows.open(page.channel_address)
    await tab.says("/prompt new")
    await tab.get_by_label("Name").press_sequentially("mood")
    for _ in range(2):
        await tab.keyboard.press("Escape")
        if await tab.locator("dialog").count() == 0:
            break
        await tab.sees("What you typed is not saved.", within="dialog")
        assert await tab.get_by_label("Name").input_value() == "mood"
    await eventually(tab.locator("dialog").count, lambda count: count == 0)

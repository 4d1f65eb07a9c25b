"""Texts with branches: words that are tinted and replaced, the tree, sampling, five ways side by side."""

from tests.platforms.web.browser.browsing import Browser, Context, Tab, eventually
from tests.platforms.web.browser.test_talking import focused
from tests.servers.page import Page
from tests.servers.page.cards import Json

FOX = "The quick brown fox jumps"
DOG = "The quick brown fox jumps over the dog."
CAT = "The quick brown cat sleeps"


async def test_a_text_is_stored_while_it_is_typed_and_is_open_after_a_reload(page: Page, windows: Context) -> None:
    tab = await opened(page, windows)
    await tab.locator(".write-text").press_sequentially("Once upon a time")
    await eventually(lambda: stored(page), lambda texts: texts == ["Once upon a time"])
    await tab.locator(".write-text").press_sequentially(" there was")
    await eventually(lambda: stored(page), lambda texts: texts == ["Once upon a time there was"])
    other = await opened(page, windows)
    await eventually(other.locator(".write-text").input_value, lambda value: value == "Once upon a time there was")


async def test_what_the_model_wrote_is_stored_as_its_own_with_its_seed(page: Page, windows: Context) -> None:
    tab = await opened(page, windows)
    page.writings.continuations = lambda _: [" there was a fox."]
    await tab.locator(".write-text").press_sequentially("Once upon a time")
    await tab.keyboard.press("Tab")
    await tab.locator(".write-offer").wait_for()
    await tab.keyboard.press("1")
    taken = (await eventually(lambda: asked(page, "take_writing"), bool))[0]
    (seed,) = [one["seed"] for one in await asked(page, "continue")]
    assert (taken["text"], taken["added"], taken["seed"]) == ("Once upon a time", " there was a fox.", seed)
    assert await tab.locator("#sampling-seed").input_value() == str(seed)
    await tab.get_by_role("treeitem", name="there was a fox. by the model · here").wait_for()


async def test_a_text_grows_in_grey_while_it_is_written_and_esc_stops_it(page: Page, windows: Context) -> None:
    page.hold("written")
    page.writings.partial = [" there was", " a girl", " it"]
    tab = await opened(page, windows)
    await tab.locator(".write-text").press_sequentially("Once")
    await tab.keyboard.press("Tab")
    await tab.locator(".write-offer").nth(2).wait_for()
    assert await tab.locator(".ghost").inner_text() == " there was"
    assert await tab.locator(".write-hint").inner_text() == "Writing …"
    await tab.keyboard.press("Escape")
    (stop,) = await eventually(lambda: asked(page, "stop_continuing"), bool)
    assert stop["asked"] == (await asked(page, "continue"))[0]["n"]
    assert await tab.locator(".write-offer").count() == 0


async def test_words_are_tinted_and_pointing_says_what_was_expected(page: Page, windows: Context) -> None:
    page.writings.add("p1", "Smile 😀 over the dog")
    tab = await opened(page, windows, "Smile 😀 over the dog")
    await tab.get_by_role("button", name="Tint").click()
    await tab.locator(".tinted").nth(3).wait_for()
    assert await tab.locator(".tinted").all_text_contents() == [" 😀", " over", " the", " dog"]
    box = await tab.locator(".tinted").nth(3).bounding_box()
    await tab.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    await tab.sees("Expected instead", within=".note")
    # The words before the one that is typed keep their tints; nothing moves.
    await tab.locator(".write-text").press_sequentially("s")
    assert (await tab.locator(".tinted").all_text_contents())[:3] == [" 😀", " over", " the"]
    assert await tab.locator(".write-text").input_value() == "Smile 😀 over the dogs"
    await tab.get_by_role("button", name="Tint").click()
    await eventually(tab.locator(".tinted").count, lambda count: count == 0)


async def test_another_word_begins_a_branch_and_the_model_goes_on_from_it(page: Page, windows: Context) -> None:
    page.writings.add("p1", DOG)
    tab = await opened(page, windows, DOG)
    await tab.get_by_role("button", name="Tint").click()
    await at_word(tab, "fox")
    await tab.get_by_role("heading", name="Instead of “fox”").wait_for()
    await tab.sees("The model gave it 0.31%.")
    page.writings.continuations = lambda _: [" sleeps all day."]
    await tab.locator(".write-text").focus()
    await tab.keyboard.press("Alt+Enter")
    assert "dog" in await tab.evaluate("() => document.activeElement.textContent")
    await tab.keyboard.press("ArrowDown")
    await tab.keyboard.press("Enter")
    await eventually(
        tab.locator(".write-text").input_value, lambda value: value == "The quick brown cat sleeps all day."
    )
    (put,) = await asked(page, "put_word")
    assert (put["whole"], put["probability"], put["text"]) == ("The quick brown cat", 0.22, DOG)
    await tab.get_by_role("treeitem", name="sleeps all day. by the model · here").wait_for()
    assert "instead of “fox”" in " ".join(await tab.texts(".branch"))
    assert await focused(tab) == "Your text"
    assert DOG in await stored(page)


async def test_what_is_offered_in_grey_stays_when_the_words_are_tinted(page: Page, windows: Context) -> None:
    page.hold("look")
    tab = await opened(page, windows)
    await tab.get_by_role("button", name="Tint").click()
    await tab.locator(".write-text").press_sequentially(DOG)
    await tab.keyboard.press("Tab")
    await tab.locator(".ghost").wait_for()
    page.release("look")
    await tab.locator(".tinted").first().wait_for()
    assert await tab.locator(".ghost").count() == 1


async def test_a_word_that_was_not_expected_is_said_to_be_one(page: Page, windows: Context) -> None:
    page.writings.add("p1", DOG)
    page.writings.probability = None
    tab = await opened(page, windows, DOG)
    await at_word(tab, "fox")
    # A click on the button leaves the caret in the word.
    await tab.get_by_role("button", name="Tint").click()
    assert await focused(tab) == "Your text"
    await tab.get_by_role("heading", name="Instead of “fox”").wait_for()
    await tab.sees("It is not among the words that the model expected most:")
    await tab.sees("Darker words surprised the model more", within=".write-hint")


async def test_a_phone_reads_what_can_be_tapped_instead_of_keys(page: Page, browser: Browser) -> None:
    phone = {"viewport": {"width": 360, "height": 700}, "hasTouch": True, "isMobile": True}
    async with browser.context(**phone) as windows:
        tab = await opened(page, windows)
        await tab.sees("Continue shows how the text may go on.", within=".write-hint")
        await tab.locator(".write-text").press_sequentially("Once upon a time")
        await tab.get_by_text("Continue", exact=True).click()
        await tab.sees("Tap the one that you like.", within=".write-hint")
        await tab.locator(".write-offer").first().click()
        assert (await tab.locator(".write-text").input_value()).startswith("Once upon a time and so on")
        assert await tab.evaluate("() => document.documentElement.scrollWidth <= innerWidth")


async def test_what_is_written_behind_a_word_is_taken_by_enter_or_stopped(page: Page, windows: Context) -> None:
    page.writings.add("p1", DOG)
    page.hold("written")
    page.writings.partial = [" sleeps"]
    tab = await opened(page, windows, DOG)
    await tab.get_by_role("button", name="Tint").click()
    await at_word(tab, "fox")
    await tab.get_by_role("button", name="cat 22%").click()
    await tab.sees("Going on from the word", within=".write-hint")
    await eventually(tab.locator(".ghost").count, bool)
    await tab.keyboard.press("Enter")
    assert await tab.locator(".write-text").input_value() == CAT
    await at_word(tab, "quick")
    await tab.get_by_role("heading", name="Instead of “quick”").wait_for()
    await tab.get_by_role("button", name="girl 2.0%").click()
    await tab.sees("Going on from the word", within=".write-hint")
    await tab.keyboard.press("Escape")
    assert await tab.locator(".write-text").input_value() == "The girl"
    assert await tab.locator(".ghost").count() == 0


async def test_the_tree_is_walked_named_and_pruned_by_keyboard(page: Page, windows: Context) -> None:
    add_tree(page)
    tab = await opened(page, windows, CAT)
    levels = "() => [...document.querySelectorAll('.branch')].map((one) => one.getAttribute('aria-level'))"
    # The dog alone goes on from the fox, so that it is at its level.
    assert await tab.evaluate(levels) == ["1", "2", "2", "2"]
    here = tab.locator('.branch[aria-current="true"]')
    await here.focus()
    await tab.keyboard.press("ArrowUp")
    await tab.keyboard.press("ArrowLeft")
    await tab.keyboard.press("ArrowRight")
    await tab.keyboard.press("Enter")
    await eventually(tab.locator(".write-text").input_value, lambda value: value == DOG)
    await tab.keyboard.press("F2")
    await tab.get_by_label("Name", exact=True).fill("the dog")
    await tab.keyboard.press("Enter")
    await tab.get_by_role("treeitem", name="the dog").wait_for()
    await tab.get_by_role("treeitem", name="the dog").focus()
    await tab.keyboard.press("Delete")
    await eventually(tab.locator(".branch").count, lambda count: count == 3)
    assert await tab.locator(".write-text").input_value() == FOX
    assert await tab.evaluate("() => document.activeElement.dataset.id") == "2"
    await tab.get_by_role("button", name="Undo").click()
    await eventually(tab.locator(".branch").count, lambda count: count == 4)
    await eventually(tab.locator(".write-text").input_value, lambda value: value == DOG)


async def test_typing_goes_on_while_a_branch_is_opened_and_nothing_is_lost(page: Page, windows: Context) -> None:
    add_tree(page)
    page.hold("go_branch")
    tab = await opened(page, windows, CAT)
    await tab.get_by_role("treeitem", name="over the dog.").click()
    await eventually(lambda: asked(page, "go_branch"), bool)
    await tab.locator(".write-text").press_sequentially(" well")
    page.release("go_branch")
    await eventually(lambda: stored(page), lambda texts: f"{CAT} well" in texts)
    assert await tab.locator(".write-text").input_value() == f"{CAT} well"
    assert DOG in await stored(page)


async def test_two_windows_on_one_text_see_each_other_and_lose_nothing(page: Page, windows: Context) -> None:
    page.writings.add("p1", FOX)
    tab = await opened(page, windows, FOX)
    other = await opened(page, windows, FOX)
    await tab.locator(".write-text").press_sequentially(" high")
    await eventually(other.locator(".write-text").input_value, lambda value: value == f"{FOX} high")
    page.hold("save_writing")
    await tab.locator(".write-text").press_sequentially("er")
    await other.locator(".write-text").press_sequentially(" up")
    await eventually(lambda: asked(page, "save_writing"), lambda asks: len(asks) >= 3)
    page.release("save_writing")
    await eventually(lambda: stored(page), lambda texts: {f"{FOX} higher", f"{FOX} up high"} <= set(texts))
    notices = [await one.locator(".write-state").inner_text() for one in (tab, other)]
    assert any("a branch of its own" in one for one in notices)


async def test_what_was_typed_without_a_connection_is_stored_with_the_next_one(page: Page, windows: Context) -> None:
    page.writings.add("p1", FOX)
    tab = await opened(page, windows, FOX)
    page.refuses_connections = True
    await page.drop()
    state = "() => document.body.dataset.connection"
    await eventually(lambda: tab.evaluate(state), lambda found: found != "open")
    await tab.locator(".write-text").press_sequentially(" far")
    page.refuses_connections = False
    await eventually(lambda: stored(page), lambda texts: f"{FOX} far" in texts)


async def test_texts_are_opened_renamed_and_removed_from_the_menu(page: Page, windows: Context) -> None:
    page.writings.add("p1", DOG, name="A dog")
    page.writings.add("p1", CAT, name="A cat")
    page.writings.add("p2", "Not mine", name="Not mine")
    tab = await opened(page, windows, CAT)
    await tab.get_by_role("button", name="Your texts: A cat").click()
    names = await tab.locator(".menu-item").all_inner_texts()
    assert [one.split("\n")[0] for one in names] == ["A cat", "A dog", "New text", "Rename …", "Remove …"]
    await tab.get_by_role("menuitemradio", name="A dog").click()
    await eventually(tab.locator(".write-text").input_value, lambda value: value == DOG)
    await eventually(lambda: focused(tab), lambda name: name == "Your text")
    await tab.get_by_role("button", name="Your texts: A dog").click()
    await tab.get_by_role("menuitem", name="Rename …").click()
    await tab.get_by_label("Name", exact=True).fill("The dog")
    await tab.keyboard.press("Enter")
    await tab.get_by_role("button", name="Your texts: The dog").click()
    await tab.get_by_role("menuitem", name="Remove …").click()
    await tab.get_by_role("button", name="Remove", exact=True).click()
    await eventually(tab.locator(".write-text").input_value, lambda value: value == CAT)
    assert await stored(page, "p1") == [CAT]
    await eventually(lambda: focused(tab), lambda name: name == "Your text")
    await tab.get_by_role("button", name="Your texts: A cat").click()
    await tab.get_by_role("menuitem", name="New text").click()
    await eventually(tab.locator(".write-text").input_value, lambda value: value == "")
    await eventually(lambda: focused(tab), lambda name: name == "Your text")


async def test_without_a_store_the_text_stays_in_the_window_and_the_page_says_so(page: Page, windows: Context) -> None:
    page.refusals["writings"] = "You asked not to be read, so nothing of yours is stored."
    tab = await opened(page, windows)
    await tab.locator(".write-text").press_sequentially("Only here")
    await tab.sees("You asked not to be read", within=".write-state")
    assert await tab.get_by_role("tree").count() == 0
    await tab.reload()
    await eventually(tab.locator(".write-text").input_value, lambda value: value == "Only here")
    assert await stored(page) == []


async def test_presets_and_sliders_are_sent_and_a_fixed_seed_stays(page: Page, windows: Context) -> None:
    tab = await opened(page, windows)
    await tab.locator('input[value="beams"]').check()
    assert await tab.locator("#sampling-top_k").is_disabled()
    await ask_once(tab, "One")
    options = (await asked(page, "continue"))[-1]["options"]
    assert options == {"num_beams": 4, "repetition_penalty": 1, "no_repeat_ngram_size": 2}
    await tab.locator('input[value="wild"]').check()
    await tab.get_by_label("Temperature, as a number").fill("9")
    await tab.keyboard.press("Tab")
    assert await tab.locator("#sampling-temperature").input_value() == "2"
    assert await tab.locator(".segments input:checked").count() == 0
    await tab.locator("#sampling-seed").fill("7")
    await tab.get_by_label("Fix").check()
    await ask_once(tab, " two")
    sent = (await asked(page, "continue"))[-1]
    assert (sent["seed"], sent["options"]["temperature"], sent["options"]["top_k"]) == (7, 2, 0)
    await tab.reload()
    assert await tab.locator("#sampling-temperature").input_value() == "2"
    assert await tab.locator("#sampling-seed").input_value() == "7"


async def test_five_ways_are_shown_side_by_side_and_one_is_taken(page: Page, windows: Context) -> None:
    page.hold("written")
    tab = await opened(page, windows)
    await tab.locator(".write-text").press_sequentially("Once")
    await tab.get_by_role("button", name="Show me all").click()
    await tab.sees("by careful means.")
    assert await tab.get_by_role("button", name="Take careful").get_attribute("aria-disabled") == "true"
    page.release("written")
    await tab.sees("It writes in the careful way")
    assert await tab.locator(".strategy").count() == 5
    await tab.get_by_role("button", name="Take careful").click()
    assert await tab.locator(".write-text").input_value() == "Once by careful means."
    (taken,) = await eventually(lambda: asked(page, "take_writing"), bool)
    assert (taken["text"], taken["added"], taken["seed"]) == ("Once", " by careful means.", 7)


async def test_the_text_and_all_branches_are_saved_as_files(page: Page, windows: Context) -> None:
    add_tree(page)
    tab = await opened(page, windows, CAT)
    await tab.get_by_role("button", name="Save as a file").click()
    await tab.get_by_role("menuitem", name="This text (.txt)").click()
    await tab.get_by_role("button", name="Save all branches as a .json file").click()
    exports = await eventually(lambda: asked(page, "export_writing"), lambda found: len(found) == 2)
    assert [one["format"] for one in exports] == ["txt", "json"]


async def test_on_a_narrow_window_another_word_is_chosen_in_the_drawer(page: Page, browser: Browser) -> None:
    page.writings.add("p1", DOG)
    async with browser.context(viewport={"width": 360, "height": 700}) as windows:
        tab = await opened(page, windows, DOG)
        await tab.get_by_role("button", name="Tint").click()
        await at_word(tab, "fox")
        page.writings.continuations = lambda _: [" sleeps"]
        await tab.get_by_role("button", name="Other words here").click()
        await tab.get_by_role("button", name="cat 22%").click()
        await eventually(tab.locator(".write-text").input_value, lambda value: value == CAT)
        assert await focused(tab) == "Your text"
        assert not await tab.locator("#side").is_visible()


async def opened(page: Page, windows: Context, text: str = "") -> Tab:
    """Open the view, and wait until the texts are known and the newest is shown."""
    tab = await windows.open(f"{page.address}/#/write")
    await eventually(lambda: tab.evaluate("() => document.body.dataset.connection"), lambda state: state == "open")
    await eventually(lambda: asked(page, "writings"), bool)
    await eventually(tab.locator(".write-text").input_value, lambda value: value == text or not text)
    return tab


def add_tree(page: Page) -> None:
    """Add a text that forks after its first words."""
    text = page.writings.add("p1", "The quick brown", FOX, DOG, CAT)
    text["branches"][3]["instead_of"] = "fox"


async def at_word(tab: Tab, word: str) -> None:
    """Put the caret into a word."""
    await tab.locator(".write-text").focus()
    await tab.evaluate(
        f"""() => {{
            const area = document.querySelector('.write-text');
            const at = area.value.indexOf('{word}') + 1;
            area.setSelectionRange(at, at);
        }}"""
    )


async def ask_once(tab: Tab, words: str) -> None:
    """Type, and let the model go on once."""
    await tab.locator(".write-text").press_sequentially(words)
    await tab.keyboard.press("Tab")
    await tab.locator(".write-offer").first().wait_for()


async def asked(page: Page, op: str) -> list[Json]:
    """Return the requests of one kind."""
    return [one for one in page.asked if one["op"] == op]


async def stored(page: Page, person: str | None = None) -> list[str]:
    """Return the whole texts at the ends of all stored branches."""
    texts = [one for one in page.writings.texts.values() if person in (None, one["owner"])]
    return [str(branch["whole"]) for one in texts for branch in one["branches"]]

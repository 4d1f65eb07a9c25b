"""Write with the real bot on a tiny model: texts, branches, words in place of others, a restart."""

from tests.platforms.web.browser.browsing import Context, Tab, eventually
from tests.platforms.web.browser.test_branches import at_word
from tests.platforms.web.conftest import Served, ServePage

TEXT = "The cat sat on the mat and it"


async def test_a_text_with_branches_outlives_a_restart(open_page: ServePage, windows: Context) -> None:
    async with open_page() as served:
        tab = await _opened(served, windows)
        await tab.locator(".write-text").press_sequentially(TEXT)
        await tab.locator(".branch").wait_for()
        await tab.get_by_role("button", name="Tint").click()
        await tab.locator(".tinted").nth(3).wait_for()
        assert "".join(await tab.locator(".tinted").all_text_contents()) in TEXT
        await at_word(tab, "mat")
        await tab.get_by_role("heading", name="Instead of “mat”").wait_for()
        word = await tab.locator(".instead-word bdi").first().inner_text()
        await tab.locator(".instead-word").first().click()
        await eventually(
            tab.locator(".write-text").input_value, lambda text: text.startswith(f"The cat sat on the {word}")
        )
        await eventually(tab.locator(".write-hint").inner_text, lambda hint: hint.startswith("Tab shows"))
        assert "instead of “mat”" in " ".join(await tab.texts(".branch"))
        await tab.get_by_role("treeitem", name=TEXT).click()
        await eventually(tab.locator(".write-text").input_value, lambda text: text == TEXT)
        num_branches = await tab.locator(".branch").count()
    async with open_page() as served:
        tab = await _opened(served, windows)
        await eventually(tab.locator(".write-text").input_value, lambda text: text == TEXT)
        await eventually(tab.locator(".branch").count, lambda count: count == num_branches)


async def test_every_preset_continues_and_all_of_them_side_by_side(open_page: ServePage, windows: Context) -> None:
    async with open_page() as served:
        tab = await _opened(served, windows)
        await tab.locator(".write-text").press_sequentially(TEXT)
        for preset in ("careful", "wild", "greedy", "beams", "normal"):
            await tab.locator(f'input[value="{preset}"]').check()
            await tab.locator(".write-text").focus()
            await tab.keyboard.press("Tab")
            await eventually(
                tab.locator(".write-hint").inner_text, lambda hint: hint.startswith(("Tab: more", "Tab sh"))
            )
            await tab.keyboard.press("Escape")
        await tab.get_by_role("button", name="Show me all").click()
        await eventually(
            lambda: tab.locator(".strategies").get_attribute("aria-busy"), lambda is_busy: is_busy == "false"
        )
        names = ["greedy", "beam", "careful", "normal", "wild"]
        assert [one.lower() for one in await tab.texts(".strategy h3")] == names
        assert await tab.accessibility_violations() == []
        take = tab.locator('.strategy button[aria-disabled="false"]').first()
        await take.click()
        await eventually(tab.locator(".write-text").input_value, lambda text: text.startswith(TEXT) and text != TEXT)
        await eventually(lambda: tab.texts(".branch"), lambda branches: "by the model" in " ".join(branches))


async def test_a_person_who_is_not_read_keeps_the_text_in_the_window(open_page: ServePage, windows: Context) -> None:
    async with open_page() as served:
        async with served.window() as window:
            await served.talk.store.opt_out("web", window.welcome["me"]["id"], is_out=True)
        tab = await _opened(served, windows)
        await tab.locator(".write-text").press_sequentially(TEXT)
        await tab.sees("lives in this window only", within=".write-state")
        await tab.keyboard.press("Tab")
        await eventually(tab.locator(".write-hint").inner_text, lambda hint: hint.startswith("Tab: more"))
        await tab.reload()
        await eventually(tab.locator(".write-text").input_value, lambda text: text.startswith(TEXT))
        assert await tab.get_by_role("tree").count() == 0


async def _opened(served: Served, windows: Context) -> Tab:
    """Open the view, and wait until it has found the stored texts."""
    tab = await windows.open(served.address)
    await tab.goto(f"{served.origin}/#/write")
    state = "() => document.body.dataset.connection"
    await eventually(lambda: tab.evaluate(state), lambda found: found == "open")
    return tab

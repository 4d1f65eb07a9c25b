"""What a person sees of the model in the view Look, of the real bot on a tiny model."""

import pytest

from tests.platforms.web.browser.browsing import Browser, eventually
from tests.platforms.web.conftest import ServePage


@pytest.mark.parametrize("width", [360, 1280])
async def test_a_text_two_texts_and_next_words_are_measured_while_typing(
    open_page: ServePage, browser: Browser, width: int
) -> None:
    async with (
        open_page() as served,
        browser.context(viewport={"width": width, "height": 800}, bypassCSP=True) as windows,
    ):
        tab = await windows.open(served.address)
        await tab.goto(f"{served.origin}/#/look")
        await tab.locator("#look-one").fill("The cat sat on the <b>mat</b>")
        await tab.sees("perplexity", within="#look-result")
        await tab.locator(".look-tokens .word").nth(2).focus()
        await tab.sees("expected instead", within=".look-detail")
        await tab.get_by_label("rank", exact=True).check()
        assert await tab.locator(".look-tokens .word[data-rank]").count() > 3
        assert "".join(await tab.texts(".look-tokens")).replace("\n", "") == "The cat sat on the <b>mat</b>"
        assert await tab.accessibility_violations() == []

        await tab.get_by_role("tab", name="Two texts").click()
        await tab.locator("#look-a").fill("The cat | sat")
        await tab.locator("#look-b").fill("The dog | sat on")
        await tab.sees("likelier than", within="#look-result")
        assert await tab.accessibility_violations() == []

        await tab.get_by_role("tab", name="Next words").click()
        await tab.locator("#look-next").fill("The cat")
        await tab.locator("#look-result .bars").wait_for()
        await tab.locator("#look-top_k").fill("3")
        await tab.sees("leave 3 of", within="#look-result")
        assert await eventually(lambda: tab.locator(".is-cut").count(), lambda count: count == 7)
        assert await tab.accessibility_violations() == []

        await tab.get_by_role("button", name="Post in the channel").click()
        await tab.sees("leave 3 of", within=".message")
        assert await tab.evaluate("document.documentElement.scrollWidth <= innerWidth")

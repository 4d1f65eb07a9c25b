"""Texts that want to be more than text stay text, in every place where a text is shown."""

from typing import Final

import pytest

from tests.platforms.web.browser.browsing import Browser, Context, eventually
from tests.servers.page import Page, cards
from tests.servers.page.cards import Json, card, text

TEXTS: Final = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "' onmouseover='alert(1)",
    "javascript:alert(1)",
    "</textarea><script>alert(1)</script>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<style>*{display:none}</style>",
    "<a href=javascript:alert(1)>x</a>",
    "{{constructor.constructor('alert(1)')()}}",
    "${alert(1)}",
    "&lt;b&gt; &amp; &#60;script&#62;",
    "<!-- comment --><b>bold</b>",
    "[x](javascript:alert(1))",
    "```\nfence\n```\n~~~",
    "`unclosed <b>code</b>",
    "\u202eright to left override\u202c",
    "\u2066\u2067isolates never closed",
    "\u200b\u200c\u200d\ufeff",
    "\u0000\u0001\u0007\u001b[31mred\u007f",
    "\u2028line\u2029paragraph",
    "Z\u0351\u036b\u0343\u036a\u0302\u036b\u033d\u034f\u0334\u0319\u0324" * 20,
    "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466\U0001f3f3\ufe0f\u200d\U0001f308",
    "\ufdfd" * 30,
    "W" * 5000,
    "word " * 3000,
    "\n" * 300 + "end",
    "\t" * 200 + "end",
    "שלום <b>עולם</b> abc",
    "مرحبا 123 <script>",
    "漢字" * 500,
    "ก็็็็็็็็็็็็็็็็็็็็",
    "a" + "\u0300" * 500,
    "file:///etc/passwd",
    "data:text/html,<script>alert(1)</script>",
    "__proto__",
    "constructor",
    "toString",
    "null",
    "../../etc/passwd%00",
    "%3Cscript%3Ealert(1)%3C/script%3E",
    "\\u003cscript\\u003e",
    "';alert(1)//",
    "--num_beams 99 <x>",
    "@Fewshot @everyone",
    "/perplexity <img src=x onerror=alert(1)>",
    "0",
    "-1e309",
    " ",
    "\U000e0041\U000e0042",
)


def _add_everywhere(page: Page, words: str) -> None:
    """Put a text wherever the bot can show one."""
    name = words[:200]
    person = f"p{len(page.people)}"
    page.people.append({"id": person, "name": name, "is_moderator": True})
    channels = [{"id": page.new_id(), "name": name}]
    page.servers.append({"id": page.new_id(), "name": name, "is_direct": False, "channels": channels})
    quoted = page.add(person, words, file_name=name)
    page.add(person, words, reply_to=quoted["id"])
    blocks: list[Json] = [
        text(words),
        text(words, is_model_text=True),
        text(words, is_quiet=True),
        {"type": "facts", "items": [[name, words]]},
        {"type": "table", "columns": [name, name], "rows": [[words, words]]},
        {"type": "bars", "items": [[name, 0.5]], "rest": 0.5, "rest_name": name, "what": name},
        {"type": "tinted", "pieces": [[words, 3.0], [words, None]]},
        {
            "type": "contrast",
            "texts": [{"name": name, "total_bits": 1.0, "pieces": [[words, 1.0]]} for _ in range(2)],
            "tables": [{"columns": [name], "rows": [[words]]}],
        },
        {"type": "choices", "prompt": words, "options": [words], "first_number": 1},
        {"type": "verbatim", "text": words},
        {"type": "progress", "what": name, "num_done": 1, "num_total": 2},
    ]
    chosen = cards.option(name, name, name, is_chosen=True)
    page.add(
        "bot",
        "",
        card=card(
            *blocks,
            buttons=[cards.button(name, name)],
            selects=[{"action": name, "label": name, "options": [chosen]}],
            file={"name": name, "text": words},
            card_id=name,
        ),
    )
    page.add("bot", "", card=card(error=words))


_FOUND: Final = """() => ({
    made: document.querySelectorAll('body script, iframe, img, object, embed, a[href^="j"]').length,
    isWide: document.documentElement.scrollWidth > innerWidth,
    cut: [...document.querySelectorAll('.list, .places-list, .body, .menu')]
        .filter((one) => one.clientWidth > 0 && one.scrollWidth > one.clientWidth + 1)
        .map((one) => `${one.className}: ${one.textContent.slice(0, 60)}`),
})"""


@pytest.mark.parametrize("part", range(3))
async def test_hostile_texts_run_nothing_and_stay_inside_the_window(page: Page, browser: Browser, part: int) -> None:
    for words in TEXTS[part::3]:
        _add_everywhere(page, words)
    # A page that runs something fails when its context closes: a dialog, an error, a refusal of the policy.
    async with browser.context(viewport={"width": 360, "height": 700}) as windows:
        tab = await windows.open(page.channel_address)
        await tab.locator(".message").nth(40).wait_for()
        await tab.evaluate("() => new Promise((resolve) => requestAnimationFrame(() => resolve(0)))")
        assert await tab.evaluate(_FOUND) == {"made": 0, "isWide": False, "cut": []}
        await tab.get_by_role("button", name="Servers and channels").click()
        await tab.locator(".me").click()
        assert await tab.evaluate(_FOUND) == {"made": 0, "isWide": False, "cut": []}


async def test_hostile_forms_are_only_text(page: Page, windows: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    words = TEXTS[1]
    fields = [
        cards.form_field("a", words, help=words, value=words),
        cards.form_field("b", words, "paragraph", help=words, value="</textarea>" + words),
        cards.form_field("c", words, "choice", options=[cards.option(words, words, words)]),
    ]
    monkeypatch.setattr(cards, "FORM", {"id": words, "title": words, "fields": fields})
    tab = await windows.open(page.channel_address)
    await tab.says("/prompt new")
    await tab.locator("dialog").wait_for()
    assert await tab.locator("dialog img").count() == 0
    assert await tab.locator("dialog textarea").input_value() == "</textarea>" + words


async def test_a_line_of_a_megabyte_is_shown_in_part_until_all_of_it_is_wanted(page: Page, windows: Context) -> None:
    page.add("Ben", "x" * 1_000_000)
    tab = await windows.open(page.channel_address)
    await tab.get_by_text("Show the other 994,000 characters").click()
    await eventually(
        lambda: tab.locator(".message .rest .text").evaluate("e => e.textContent.length"), lambda n: n == 994_000
    )
    assert await tab.evaluate("() => document.documentElement.scrollWidth <= innerWidth")

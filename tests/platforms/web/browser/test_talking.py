"""What a person does in a channel, with real keys in a real browser."""

import asyncio

from tests.platforms.web.browser.browsing import Context, Tab, eventually
from tests.servers.page import Page
from tests.servers.page.cards import card, text

COMPOSER = ".main .composer-text"


async def test_an_answer_grows_word_by_word_and_ends_with_its_buttons(page: Page, windows: Context) -> None:
    page.step_s = 0.02
    tab = await windows.open(page.channel_address)
    await tab.says("@Fewshot what is the capital of France?")
    await tab.get_by_role("button", name="Stop").wait_for()
    await tab.get_by_role("button", name="Again").wait_for()
    assert (await tab.texts(".message .model-text"))[-1].endswith("bread in the morning.")
    assert await tab.get_by_role("button", name="Stop").count() == 0


async def test_stop_ends_an_answer_and_keeps_its_words(page: Page, windows: Context) -> None:
    page.step_s = 0.1
    tab = await windows.open(page.channel_address)
    await tab.says("@Fewshot hello")
    await tab.sees("Paris is", within=".message")
    await tab.get_by_role("button", name="Stop").click()
    await tab.get_by_role("button", name="Again").wait_for()
    assert "morning" not in (await tab.texts(".message .model-text"))[-1]


async def test_a_listener_hears_an_answer_once_and_whole(page: Page, windows: Context) -> None:
    page.step_s = 0.01
    tab = await windows.open(page.channel_address)
    await tab.says("@Fewshot hello")
    await tab.get_by_role("button", name="Again").wait_for()
    spoken = [text for text in await tab.texts("#polite p") if "Paris" in text]
    assert len(spoken) == 1
    assert spoken[0].startswith("Fewshot: Paris is the capital")
    assert await tab.get_by_role("log", name="Messages in #general").get_attribute("aria-live") == "off"


async def test_the_focus_stays_on_stop_while_words_come(page: Page, windows: Context) -> None:
    answer = page.add("bot", "", card=card(text("Paris"), is_final=False, stop_id="1"))
    tab = await windows.open(page.channel_address)
    await tab.get_by_role("button", name="Stop").focus()
    await page.change(answer, card=card(text("Paris is"), is_final=False, stop_id="1"))
    await tab.sees("Paris is", within=".message")
    assert await focused(tab) == "Stop"
    await page.change(answer, card=card(text("Paris is it.")))
    await tab.sees("Paris is it.", within=".message")
    assert (await focused(tab)).startswith("Fewshot")


async def test_shift_enter_begins_a_line_and_enter_sends(page: Page, windows: Context) -> None:
    tab = await windows.open(page.channel_address)
    await tab.locator(COMPOSER).press_sequentially("one")
    await tab.keyboard.press("Shift+Enter")
    await tab.keyboard.type("two")
    await tab.keyboard.press("Enter")
    # For a moment what is being sent may stand beside what came back.
    await eventually(lambda: tab.texts(".message .text"), lambda texts: texts == ["one\ntwo"])
    assert await tab.locator(COMPOSER).input_value() == ""


async def test_a_reply_names_what_it_replies_to_and_goes_there(page: Page, windows: Context) -> None:
    first = page.add("Ben", "What is a prefix cache?")
    tab = await windows.open(page.channel_address)
    await tab.locator(".message").hover()
    await tab.get_by_role("button", name="Reply").click()
    await tab.sees("Reply to Ben", within=".composer")
    await tab.says("It keeps what was read.")
    await tab.locator(".quote").wait_for()
    assert page.say_requests()[-1]["reply_to"] == first["id"]
    await tab.locator(".quote").click()
    assert await tab.evaluate("() => document.activeElement.dataset.id") == first["id"]


async def test_the_up_arrow_edits_the_last_own_message(page: Page, windows: Context) -> None:
    page.add("Ada", "helo")
    page.add("Ben", "hi")
    tab = await windows.open(page.channel_address)
    await tab.locator(".message").nth(1).wait_for()
    await tab.locator(COMPOSER).focus()
    await tab.keyboard.press("ArrowUp")
    assert await tab.locator(".edit-field").input_value() == "helo"
    await tab.locator(".edit-field").fill("hello")
    await tab.keyboard.press("Enter")
    await tab.get_by_text("edited", exact=True).wait_for()
    assert "hello" in await tab.texts(".message .text")
    await eventually(lambda: focused(tab), lambda name: name == "Message #general")


async def test_esc_leaves_an_edit_and_changes_nothing(page: Page, windows: Context) -> None:
    page.add("Ada", "hello")
    tab = await windows.open(page.channel_address)
    await tab.locator(".message").wait_for()
    await tab.locator(COMPOSER).press("ArrowUp")
    await tab.locator(".edit-field").fill("other")
    await tab.keyboard.press("Escape")
    assert await tab.locator(".edit-field").count() == 0
    assert await tab.texts(".message .text") == ["hello"]


async def test_an_edit_that_is_refused_stays_with_its_sentence(page: Page, windows: Context) -> None:
    message = page.add("Ada", "hello")
    tab = await windows.open(page.channel_address)
    await tab.locator(".message").wait_for()
    await tab.locator(COMPOSER).press("ArrowUp")
    page.refusals["edit"] = "That message is not there any more."
    await tab.locator(".edit-field").fill("other")
    # What others do meanwhile does not touch what is being typed.
    await page.change(message, num_replies=1)
    await tab.keyboard.press("Enter")
    await tab.sees("That message is not there any more.", within=".editor")
    assert await tab.locator(".edit-field").input_value() == "other"


async def test_a_message_is_deleted_only_after_a_question(page: Page, windows: Context) -> None:
    page.add("Ada", "a secret")
    tab = await windows.open(page.channel_address)
    await tab.locator(".message").hover()
    await tab.get_by_role("button", name="Delete").click()
    await tab.get_by_role("button", name="Cancel").click()
    assert len(page.messages) == 1
    await tab.locator(".message").hover()
    await tab.get_by_role("button", name="Delete").click()
    await tab.locator("dialog").get_by_role("button", name="Delete").click()
    await eventually(tab.locator(".message").count, lambda count: count == 0)
    assert page.messages == {}


async def test_a_thread_opens_beside_the_channel_and_says_how_many_replies_it_has(page: Page, windows: Context) -> None:
    page.add("Ben", "Shall we measure this?")
    tab = await windows.open(page.channel_address)
    await tab.locator(".message").hover()
    await tab.get_by_role("button", name="Open a thread").click()
    await eventually(lambda: focused(tab), lambda name: name == "Reply in the thread")
    await tab.keyboard.type("Yes")
    await tab.keyboard.press("Enter")
    await tab.get_by_role("button", name="Again").wait_for()
    assert (await tab.texts(".side .message .text"))[:2] == ["Shall we measure this?", "Yes"]
    await tab.get_by_role("button", name="1 reply").wait_for()
    assert await tab.locator(".main .message").count() == 1
    await tab.keyboard.press("Escape")  # to the messages of the thread
    await tab.keyboard.press("Escape")
    await tab.keyboard.press("Escape")


async def test_a_draft_stays_with_its_channel_over_a_reload(page: Page, windows: Context) -> None:
    tab = await windows.open(page.channel_address)
    await tab.locator(COMPOSER).fill("not yet")
    await tab.get_by_role("link", name="experiments").click()
    await tab.get_by_label("Message #experiments").wait_for()
    assert await tab.locator(COMPOSER).input_value() == ""
    await tab.get_by_role("link", name="general").click()
    await tab.get_by_label("Message #general").wait_for()
    assert await tab.locator(COMPOSER).input_value() == "not yet"
    await tab.reload()
    await tab.get_by_label("Message #general").wait_for()
    assert await tab.locator(COMPOSER).input_value() == "not yet"


async def test_what_is_typed_before_the_bot_answers_stays(page: Page, windows: Context) -> None:
    page.hold("hello")
    tab = await windows.open(page.channel_address)
    await tab.locator(COMPOSER).press_sequentially("early")
    await tab.keyboard.press("Enter")
    await tab.sees("There is no connection to the bot yet.", within=".composer")
    page.release("hello")
    await tab.get_by_label("Message #general").wait_for()
    assert await tab.locator(COMPOSER).input_value() == "early"
    await tab.keyboard.press("Enter")
    await tab.sees("early", within=".message")


async def test_a_slash_lists_commands_and_enter_takes_one(page: Page, windows: Context) -> None:
    tab = await windows.open(page.channel_address)
    await tab.locator(COMPOSER).press_sequentially("/per")
    await tab.get_by_role("option", name="/perplexity TEXT").wait_for()
    await tab.keyboard.press("Enter")
    assert await tab.locator(COMPOSER).input_value() == "/perplexity "
    await tab.keyboard.type("--te")
    await tab.get_by_role("option", name="--temperature").wait_for()
    await tab.keyboard.press("Tab")
    assert await tab.locator(COMPOSER).input_value() == "/perplexity --temperature "
    assert page.say_requests() == []


async def test_enter_sends_a_command_that_is_complete(page: Page, windows: Context) -> None:
    tab = await windows.open(page.channel_address)
    await tab.locator(COMPOSER).press_sequentially("/help")
    await tab.get_by_role("option", name="/help").wait_for()
    await tab.keyboard.press("Enter")
    await tab.sees("Continue a text", within=".message")
    assert page.say_requests()[-1]["text"] == "/help"


async def test_tab_continues_the_text_of_a_command(page: Page, windows: Context) -> None:
    tab = await windows.open(page.channel_address)
    await tab.locator(COMPOSER).press_sequentially("/complete Once upon")
    await tab.keyboard.press("Tab")
    await tab.get_by_role("option", name="Once upon and then").wait_for()
    await tab.keyboard.press("ArrowDown")
    await tab.keyboard.press("Enter")
    assert await tab.locator(COMPOSER).input_value() == "/complete Once upon or not"


async def test_an_at_sign_lists_people_and_the_bot(page: Page, windows: Context) -> None:
    tab = await windows.open(page.channel_address)
    await tab.locator(COMPOSER).press_sequentially("hello @f")
    await tab.get_by_role("option", name="@Fewshot").wait_for()
    await tab.keyboard.press("Tab")
    assert await tab.locator(COMPOSER).input_value() == "hello @Fewshot "


async def test_a_dropped_text_file_goes_with_the_message(page: Page, windows: Context) -> None:
    tab = await windows.open(page.channel_address)
    await tab.locator(COMPOSER).wait_for()
    await drop(tab, "rows.csv", "input,output\nhi,Positive\n")
    await tab.sees("rows.csv", within=".composer-about")
    await tab.says("/prompt run sentiment")
    await tab.sees("rows.csv", within=".message .attached")
    assert page.say_requests()[-1]["file"] == {"name": "rows.csv", "text": "input,output\nhi,Positive\n"}
    await drop(tab, "picture.png", "\\xff\\xfe")
    await tab.sees("I can only read text files in UTF-8.", within=".composer")


async def test_what_is_refused_can_be_edited_and_sent_again(page: Page, windows: Context) -> None:
    page.refusals["say"] = "The text is too long. Shorten it."
    tab = await windows.open(page.channel_address)
    await tab.says("a long text")
    await tab.sees("The text is too long. Shorten it.")
    await tab.locator(".refused").get_by_role("button", name="Edit").click()
    assert await tab.locator(COMPOSER).input_value() == "a long text"
    await eventually(tab.locator(".is-pending").count, lambda count: count == 0)
    page.refusals.clear()
    await tab.keyboard.press("Enter")
    await tab.locator(".message:not(.is-pending) .text").wait_for()
    assert [one["text"] for one in page.messages.values()] == ["a long text"]


async def test_days_are_separated_and_messages_of_one_person_joined(page: Page, windows: Context) -> None:
    page.add("Ada", "yesterday", minutes_ago=60 * 30)
    page.add("Ben", "now")
    page.add("Ben", "and now")
    tab = await windows.open(page.channel_address)
    await tab.locator(".message").nth(2).wait_for()
    assert (await tab.texts(".day"))[-1] == "Today"
    assert await tab.locator(".day").count() == 2
    assert await tab.locator(".is-compact").count() == 1


async def focused(tab: Tab) -> str:
    """Return the name of what has the focus."""
    name: str = await tab.evaluate(
        "() => document.activeElement.getAttribute('aria-label') ?? document.activeElement.innerText.trim()"
    )
    return name


async def drop(tab: Tab, name: str, text: str) -> None:
    """Drop a file on the messages; `text` is a JavaScript string."""
    bytes_ = f"Uint8Array.from('{text}', c => c.charCodeAt(0))".replace("\n", "\\n")
    await tab.evaluate(
        f"""() => {{
            const data = new DataTransfer();
            data.items.add(new File([{bytes_}], '{name}'));
            for (const type of ['dragover', 'drop']) {{
                const event = new DragEvent(type, {{ bubbles: true, cancelable: true, dataTransfer: data }});
                document.querySelector('.main .messages').dispatchEvent(event);
            }}
        }}"""
    )


async def test_what_is_being_sent_makes_place_for_what_came_back(page: Page, windows: Context) -> None:
    page.hold("say")
    tab = await windows.open(page.channel_address)
    await tab.says("hello")
    await tab.locator(".is-pending").wait_for()
    while not page.say_requests():
        await asyncio.sleep(0.02)
    asked = page.say_requests()[-1]
    me = page.people[0]["id"]
    # Before the answer to the request, as the bot tells it.
    message = page.add(me, "hello")
    await page.tell("c1", {"op": "message", "message": message, "nonce": f"{me}.{asked['nonce']}"})
    await eventually(tab.locator(".is-pending").count, lambda number: number == 0)
    assert await tab.texts(".message .text") == ["hello"]

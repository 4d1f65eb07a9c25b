"""Servers, channels and people at the left."""

from tests.platforms.web.browser.browsing import Context, eventually
from tests.platforms.web.browser.test_talking import focused
from tests.servers.page import Page


async def test_a_channel_is_made_renamed_and_deleted(page: Page, windows: Context) -> None:
    tab = await windows.open(page.channel_address)
    await tab.get_by_role("button", name="Server Home").click()
    await tab.get_by_role("menuitem", name="New channel").click()
    await tab.get_by_role("textbox", name="Name").fill("ideas")
    await tab.keyboard.press("Enter")
    await tab.get_by_label("Message #ideas").wait_for()
    await tab.get_by_role("link", name="ideas").focus()
    await tab.keyboard.press("F2")
    await tab.get_by_role("textbox", name="Name").fill("plans")
    await tab.keyboard.press("Enter")
    await tab.get_by_role("link", name="plans").wait_for()
    assert await tab.title() == "#plans – Fewshot"
    await tab.get_by_role("link", name="plans").focus()
    await tab.keyboard.press("Delete")
    await tab.sees("All its messages are deleted. This can't be undone.")
    await tab.get_by_role("button", name="Delete").click()
    # Who was in it goes on in another.
    await tab.get_by_label("Message #general").wait_for()
    assert [one["name"] for one in page.servers[0]["channels"]] == ["general", "experiments"]


async def test_a_name_that_is_refused_can_be_corrected(page: Page, windows: Context) -> None:
    tab = await windows.open(page.channel_address)
    await tab.get_by_role("button", name="New server").click()
    await tab.keyboard.press("Enter")
    await tab.sees("Type a name.", within="dialog")
    await tab.get_by_role("textbox", name="Name").fill("x" * 81)
    await tab.keyboard.press("Enter")
    await tab.sees("A name has at most 80 characters.", within="dialog")
    await tab.get_by_role("textbox", name="Name").fill("Lesson")
    await tab.keyboard.press("Enter")
    await tab.get_by_role("heading", name="Lesson").wait_for()


async def test_the_arrow_keys_move_among_channels_and_tab_leaves_them(page: Page, windows: Context) -> None:
    tab = await windows.open(page.channel_address)
    await tab.get_by_role("link", name="general").focus()
    await tab.keyboard.press("ArrowDown")
    assert (await focused(tab)).endswith("experiments")
    await tab.keyboard.press("Enter")
    await tab.get_by_label("Message #experiments").wait_for()
    await tab.keyboard.press("Tab")
    assert await focused(tab) == "Channel experiments"
    await tab.keyboard.press("Tab")
    assert await focused(tab) == "New server"
    await tab.keyboard.press("Tab")
    assert "Ada" in await focused(tab)


async def test_who_speaks_is_chosen_for_this_window_and_stays_after_a_lost_connection(
    page: Page, windows: Context
) -> None:
    tab = await windows.open(page.channel_address)
    other = await windows.open(page.channel_address)
    await tab.get_by_role("button", name="You are Ada").click()
    await tab.get_by_role("menuitemradio", name="Ben").click()
    await tab.get_by_role("button", name="You are Ben").wait_for()
    # A member can't change places.
    assert await tab.get_by_role("button", name="Server Home").count() == 0
    await page.drop()
    await eventually(lambda: _names(page), lambda names: sorted(names) == ["Ada", "Ben"])
    await tab.says("from Ben")
    await other.sees("from Ben")
    assert next(iter(page.messages.values()))["author"]["name"] == "Ben"
    assert await other.get_by_role("button", name="You are Ada").count() == 1


async def test_a_new_person_speaks_at_once(page: Page, windows: Context) -> None:
    tab = await windows.open(page.channel_address)
    await tab.get_by_role("button", name="You are Ada").click()
    await tab.get_by_role("menuitem", name="Add a person").click()
    await tab.get_by_role("textbox", name="Name").fill("Cleo")
    await tab.get_by_label("This person is a moderator").check()
    await tab.get_by_role("button", name="Add").click()
    await tab.get_by_role("button", name="You are Cleo").wait_for()
    assert page.people[-1]["is_moderator"] is True


async def test_an_address_leads_to_its_thread_and_back_goes_back(page: Page, windows: Context) -> None:
    root = page.add("Ben", "a question")
    page.add("Ada", "a reply", thread=root["id"])
    tab = await windows.open(f"{page.address}/#/c/c1/{root['id']}")
    await tab.sees("a reply", within=".side")
    await tab.get_by_role("link", name="experiments").click()
    await tab.get_by_label("Message #experiments").wait_for()
    await tab.go_back()
    await tab.sees("a reply", within=".side")


async def _names(page: Page) -> list[str]:
    return [window.me["name"] for window in page.windows if window.channel]

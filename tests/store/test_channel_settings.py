from dataclasses import replace

from bot.core.messages import Scope
from bot.store.store import Store
from tests.store.samples import HERE


async def test_a_channels_settings_beat_the_servers(store: Store) -> None:
    other_channel = replace(HERE, channel="random")
    await store.set_setting(HERE, "server", "preset", "wild")
    await store.set_setting(HERE, "server", "history_length", "20")
    await store.set_setting(HERE, "channel", "preset", "careful")
    await store.set_setting(HERE, "channel", "preset", "greedy")
    assert await store.get_settings(HERE) == {"preset": "greedy", "history_length": "20"}
    assert await store.get_settings(replace(HERE, thread="t")) == {"preset": "greedy", "history_length": "20"}
    assert await store.get_settings(other_channel) == {"preset": "wild", "history_length": "20"}
    await store.set_setting(HERE, "channel", "preset", None)
    await store.set_setting(HERE, "channel", "never set", None)
    assert await store.get_settings(HERE) == {"preset": "wild", "history_length": "20"}


async def test_settings_stay_on_their_server_and_platform(store: Store) -> None:
    await store.set_setting(HERE, "server", "preset", "wild")
    for elsewhere in (replace(HERE, server="other"), replace(HERE, platform="discord")):
        assert await store.get_settings(elsewhere) == {}


async def test_direct_messages_share_no_settings(store: Store) -> None:
    mine, yours = Scope("discord", "@me", "dm-1"), Scope("discord", "@me", "dm-2")
    await store.set_setting(mine, "server", "preset", "wild")
    assert await store.get_settings(mine) == {"preset": "wild"}
    assert await store.get_settings(yours) == {}
    await store.set_setting(mine, "server", "preset", None)
    assert await store.get_settings(mine) == {}


async def test_what_holds_in_a_place_is_what_its_parts_say(store: Store) -> None:
    direct = replace(HERE, server="@me")
    await store.set_setting(HERE, "server", "preset", "wild")
    await store.set_setting(HERE, "channel", "preset", "greedy \u2028 'and' \"more\"")
    await store.set_setting(HERE, "server", "history_length", "20")
    await store.set_setting(direct, "channel", "preset", "careful")
    await store.opt_out(HERE.platform, "u1", True)
    for scope in (HERE, replace(HERE, thread="t"), replace(HERE, channel="other"), direct, replace(HERE, server="x")):
        for author_id in ("u1", "u2", None):
            place = await store.load_place(scope, author_id)
            assert place.settings == await store.get_settings(scope)
            assert place.template_change == await store.latest_template_change(scope)
            assert place.is_opted_out == (author_id == "u1")

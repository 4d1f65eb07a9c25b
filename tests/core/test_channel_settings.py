"""What moderators may set."""

import pytest

from bot.core.channel_settings import declare_settings
from bot.errors import RequestError

SETTINGS = declare_settings(["calm", "chat", "pirate"], retention_days=30)


def test_every_default_is_a_value_that_is_taken() -> None:
    for setting in SETTINGS.values():
        assert setting.read(setting.name, setting.default) == setting.default
        assert setting.help
        assert setting.takes


def test_without_a_template_called_chat_the_first_one_is_the_default() -> None:
    assert SETTINGS["chat_template"].default == "chat"
    assert declare_settings(["calm", "pirate"], retention_days=30)["chat_template"].default == "calm"


def test_numbers_are_stored_in_one_form() -> None:
    assert SETTINGS["history_length"].read("history_length", "007") == "7"


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("history_length", "0", "history_length takes a whole number from 1 to 200, not '0'."),
        ("history_length", "201", "history_length takes a whole number from 1 to 200, not '201'."),
        ("history_length", "-1", "history_length takes a whole number from 1 to 200, not '-1'."),
        ("history_length", "4.0", "history_length takes a whole number from 1 to 200, not '4.0'."),
        ("history_length", "٣", "history_length takes a whole number from 1 to 200, not '٣'."),
        ("history_length", "9" * 9999, f"history_length takes a whole number from 1 to 200, not '{'9' * 40}…'."),
        ("retention_days", "31", "retention_days takes a whole number from 1 to 30, not '31'."),
        ("chat_template", "pirat", "chat_template can't be 'pirat'; did you mean pirate?"),
        ("chat_template", "zzz", "chat_template can't be 'zzz'; it takes one of calm, chat, pirate."),
        ("preset", "", "preset can't be ''; it takes one of careful, normal, wild, greedy, beam."),
    ],
)
def test_a_wrong_value_gets_one_sentence(name: str, value: str, sentence: str) -> None:
    with pytest.raises(RequestError) as caught:
        SETTINGS[name].read(name, value)
    assert str(caught.value) == sentence


def test_ids_are_typed_bare_or_as_the_platform_writes_a_mention() -> None:
    pattern = r"<!subteam\^(\w+)>"
    settings = declare_settings(["chat"], retention_days=30, mention_pattern=pattern)
    assert settings["moderator_roles"].read("moderator_roles", "<!subteam^S1>, S2 S1") == "S1 S2"
    assert SETTINGS["moderator_roles"].read("moderator_roles", "S1, S2") == "S1 S2"
    with pytest.raises(RequestError, match=r"takes 1 to 25 roles, as ids, not '<!subteam\^S1>'"):
        SETTINGS["moderator_roles"].read("moderator_roles", "<!subteam^S1>")
    with pytest.raises(RequestError, match=r"takes one channel, as a mention \(#channel\) or id, not"):
        settings["report_channel"].read("report_channel", "<#C1>")


def test_a_single_choice_is_named_as_the_only_one() -> None:
    with pytest.raises(RequestError, match=r"chat_template can't be 'nothere'; it takes only chat\."):
        declare_settings(["chat"], retention_days=30)["chat_template"].read("chat_template", "nothere")

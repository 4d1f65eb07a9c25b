import pytest

from bot.core.shards import Shards


@pytest.mark.parametrize(
    ("text", "shards", "names"),
    [
        ("0-3/16", Shards(0, 3, 16), ["0/16", "1/16", "2/16", "3/16"]),
        ("5/16", Shards(5, 5, 16), ["5/16"]),
        (" 0 - 1 / 2 ", Shards(0, 1, 2), ["0/2", "1/2"]),
    ],
)
def test_some_shards_of_all_are_read(text: str, shards: Shards, names: list[str]) -> None:
    assert Shards.read(text) == shards
    assert shards.names == names
    assert Shards.read(str(shards)) == shards


@pytest.mark.parametrize(
    "text", ["", "3", "0-3", "4-3/16", "0-16/16", "16/16", "0/0", "-1/4", "0-1/16385", "a/b", "0/4/4"]
)
def test_what_names_no_shards_is_refused(text: str) -> None:
    assert Shards.read(text) is None


def test_every_server_is_in_one_shard() -> None:
    parts = [Shards(0, 2, 8), Shards(3, 3, 8), Shards(4, 7, 8)]
    for server_id in (number << 22 | 4_194_303 for number in range(100)):
        assert sum(part.has_server(server_id) for part in parts) == 1


def test_shards_are_said_in_words() -> None:
    assert Shards(0, 3, 16).phrase == "shards 0 to 3 of 16"
    assert Shards(5, 5, 16).phrase == "shard 5 of 16"

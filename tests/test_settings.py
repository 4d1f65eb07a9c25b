"""Settings: what is read from where, what is refused, and that .env.example tells the truth."""

import itertools
import re
from dataclasses import fields
from pathlib import Path

import pytest

from bot.errors import SetupError
from bot.settings import Settings

EXAMPLE = Path(__file__).parent.parent / ".env.example"
NOWHERE = Path("no-such-file.env")


def test_the_example_names_every_setting_once_with_a_comment_before_it() -> None:
    lines = EXAMPLE.read_text().splitlines()
    names = [line.partition("=")[0] for line in lines if re.match("[A-Z]", line)]
    assert names == [f.name.upper() for f in fields(Settings)]
    for before, line in itertools.pairwise(lines):
        if re.match("[A-Z]", line):
            assert before.startswith("# "), line


def test_the_example_holds_the_defaults() -> None:
    assert Settings.from_env({}, EXAMPLE) == Settings()


def test_the_environment_beats_the_file_and_an_empty_value_is_the_default(tmp_path: Path) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text("MODEL=gpt2\nCOMMAND_PREFIX=?\nDEVICE=\n")
    settings = Settings.from_env({"MODEL": "gpt2-xl"}, env_file)
    assert (settings.model, settings.command_prefix, settings.device) == ("gpt2-xl", "?", "auto")


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("RETENTION_DAYS", "0", "RETENTION_DAYS takes a whole number from 1 to 3,650, not '0'."),
        ("KV_CACHE_MB", "63", "KV_CACHE_MB takes a whole number from 64 to 1,000,000, not '63'."),
        ("MAX_RUNNING_PER_PERSON", "33", "MAX_RUNNING_PER_PERSON takes a whole number from 1 to 32, not '33'."),
        ("PRECISION", "int3", "PRECISION takes one of auto, float32, bfloat16, float16, int8, not 'int3'."),
        ("COMPILE_FOR", "avx", "COMPILE_FOR takes one of native, avx2, not 'avx'."),
        ("REQUEST_TIMEOUT_S", "nan", "REQUEST_TIMEOUT_S takes a number of seconds from 1 to 600, not 'nan'."),
        (
            "COMMAND_PREFIX",
            "a",
            "COMMAND_PREFIX takes 1 to 3 punctuation marks such as ! or ?, not 'a'.",
        ),
        (
            "DATABASE",
            "~nobody-here/x.db",
            "DATABASE names the home folder of an unknown user: '~nobody-here/x.db'.",
        ),
        ("OWNER_IDS", "1, <@2>", "OWNER_IDS takes ids separated by commas, not '1, <@2>'."),
        ("BOT_NAME", "a:b", "BOT_NAME takes a name of at most 32 characters without a colon, not 'a:b'."),
    ],
)
def test_a_wrong_value_is_one_sentence(name: str, value: str, sentence: str) -> None:
    with pytest.raises(SetupError) as caught:
        Settings.from_env({name: value}, NOWHERE)
    assert str(caught.value) == sentence


def test_a_misspelt_setting_in_the_file_is_named_and_foreign_names_are_left_alone(tmp_path: Path) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text("HF_HOME=/somewhere\n")
    assert Settings.from_env({}, env_file) == Settings()
    env_file.write_text("COMAND_PREFIX=?\n")
    with pytest.raises(SetupError, match="did you mean COMMAND_PREFIX"):
        Settings.from_env({}, env_file)


def test_the_token_is_not_shown() -> None:
    assert "secret" not in repr(Settings.from_env({"DISCORD_TOKEN": "secret"}, NOWHERE))

"""Settings: what is read from where, what is refused, and that .env.example tells the truth."""

import itertools
import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from bot.__main__ import main
from bot.core.database_url import DatabaseUrl
from bot.core.shards import Shards
from bot.engine.processors import count_processors
from bot.errors import SetupError
from bot.program.opening import limit_threads
from bot.settings import Settings

EXAMPLE = Path(__file__).parent.parent / ".env.example"
NOWHERE = Path("no-such-file.env")
BREAK = "contains a control character, such as a line break; remove it."
NO_TOKEN = "takes an access token, which has no spaces and no special letters; copy it again."
NO_KEY = "takes a URL without a key or other parameters in it; the key is MODEL_API_KEY."
PG = "postgresql://ann:secret@db.example/fewshot?sslmode=require"
NO_FILE = "takes the path of a file or an address like postgresql://USER@HOST/NAME"
NO_HOME = "names the home folder of an unknown user"
MEMORY_ONLY = (":memory:", "file::memory:?cache=shared", "file:x?mode=memory&cache=shared")
IN_MEMORY = (
    "the bot needs one to finish its answers after a restart. To keep nothing on a disk, choose a file in memory, such "
    "as /dev/shm/fewshot.db."
)
TWO_OWNERS = ("123456789012345678", "123456789012345679")


def whole(low: int, high: str, *values: str) -> dict[str, str]:
    return {value: f"takes a whole number from {low} to {high}, not '{value}'." for value in values}


def seconds(bounds: str, *values: str) -> dict[str, str]:
    return {value: f"takes a number of seconds from {bounds}, not '{value}'." for value in values}


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


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    env_file = tmp_path / ".env"
    env_file.write_bytes(b"\xef\xbb\xbfMODEL=gpt2\n")
    assert Settings.from_env({}, env_file).model == "gpt2"


SECRET_FILE: tuple[dict[str, Any], dict[str, str]] = (
    {"/run/secrets/k": Path("/run/secrets/k")},
    {"~nobody-here/k": f"{NO_HOME}: '~nobody-here/k'."},
)

# For each setting: texts that are read, with their values; texts that are refused, with the end of the sentence.
# Rows of MODEL are few as the model's name is checked where models are found; an editor is anybody's command line.
TABLE: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "MODEL": ({"gpt2": "gpt2", " ./a folder ": "./a folder"}, {"gpt2\nx": BREAK, "\0": BREAK}),
    "MODELS": ({"gpt2, openai:a-1,gpt2,": ("gpt2", "openai:a-1")}, {"gpt2\nx": BREAK}),
    "MODELS_MEMORY_MB": ({"0": 0, "4096": 4096}, whole(0, "10,000,000", "-1", "much")),
    "MODEL_API_BASE": (
        {"https://x.openai.azure.com/openai/v1/": "https://x.openai.azure.com/openai/v1"},
        {
            "example.org": "takes a URL that starts with https:// or http://, not 'example.org'.",
            "http://[::::]/v1": "takes a URL that starts with https:// or http://, not 'http://[::::]/v1'.",
            "http://localhost:0/v1": "takes a URL that starts with https:// or http://, not 'http://localhost:0/v1'.",
            "http://a/v1#x": "takes a URL without a key or other parameters in it; the key is MODEL_API_KEY.",
            f"http://a/{'b' * 2000}": "takes a URL of at most 2,000 characters, not 2,009.",
            "https://x.org/v1?key=s3cret": NO_KEY,
            "https://s3cret@x.org/v1": NO_KEY,
        },
    ),
    "MODEL_API_KEY": ({"sk-abc": "sk-abc"}, {"s3cret x": NO_TOKEN}),
    "MODEL_API_KEY_FILE": SECRET_FILE,
    "MODEL_CONTEXT_LENGTH": ({"128": 128}, whole(128, "10,000,000", "127", "10000001")),
    "MODEL_MAX_RUNNING": ({"4096": 4096}, whole(1, "4,096", "0", "4097")),
    "MODELS_DIR": ({"/m": Path("/m"), "~": Path.home()}, {"~nobody-here/m": f"{NO_HOME}: '~nobody-here/m'."}),
    "DEVICE": (
        {"CPU": "cpu", "cuda:3": "cuda:3", "mps": "mps"},
        {value: f"takes auto, cpu, cuda, cuda:N or mps, not '{value}'." for value in ("tpu", "cuda:", "cuda:-1", "0")},
    ),
    "PRECISION": (
        {"INT8": "int8", "auto": "auto"},
        {"int3": "takes one of auto, float32, bfloat16, float16, int8, not 'int3'."},
    ),
    "NUM_THREADS": ({"0": 0, "1024": 1024}, whole(0, "1,024", "-1", "1025", "two", "1.5")),
    "COMPILE_FOR": ({"AVX2": "avx2"}, {"avx": "takes one of native, avx2, not 'avx'."}),
    "KV_CACHE_MB": ({"64": 64, "1000000": 1_000_000}, whole(64, "1,000,000", "63", "1000001", "-64", "64 MB", "1e3")),
    "DATABASE": (
        {
            "~/x.db": Path.home() / "x.db",
            "profile:x.db": Path("profile:x.db"),
            "memory": Path("memory"),
            PG: DatabaseUrl(PG),
        },
        {
            "~nobody-here/x.db": f"{NO_HOME}: '~nobody-here/x.db'.",
            **{value: f"takes the path of a file, not '{value}': {IN_MEMORY}" for value in MEMORY_ONLY},
            **{
                value: f"{NO_FILE}, not the URI '{shown}'."
                for value, shown in (
                    ("file:x.db", "file:x.db"),
                    ("sqlite:///x.db", "sqlite:///x.db"),
                    ("postgre://ann:secret@db/x", "postgre://ann@db/x"),
                )
            },
        },
    ),
    "BACKUP_EVERY_H": ({"0": 0, "8760": 8760}, whole(0, "8,760", "-1", "8761", "1.5")),
    "BACKUPS_KEPT": ({"1": 1}, whole(1, "1,000", "0", "1001")),
    "BACKUP_DIR": ({"/b": Path("/b")}, {"~nobody-here": f"{NO_HOME}: '~nobody-here'."}),
    "PROMPTS_DIR": ({"/p": Path("/p")}, {"~nobody-here": f"{NO_HOME}: '~nobody-here'."}),
    "COMMAND_PREFIX": (
        {"?": "?", "!!": "!!"},
        {
            value: f"takes 1 to 3 punctuation marks such as ! or ?, not '{value}'."
            for value in ("a", "!!!!", "! !", "1", "!a", "<", "🦊a")
        }
        | {
            value: f"takes 1 to 3 punctuation marks such as ! or ?, not {value!r}."
            for value in ("\u200b", "!\u0301", "\udcff")
        },
    ),
    "BOT_NAME": (
        {"Ada": "Ada", "x" * 32: "x" * 32, "Zoe\u0308": "Zo\xeb", "日本": "日本"},
        {
            value: f"takes a name of at most 32 characters without a colon and without invisible signs, not {value!r}."
            for value in ("a:b", "x" * 33, "a：b", "\u200b", "\u202eadA", "a\u2028b", "\udcff")
        }
        | {"a\nb": BREAK},
    ),
    "MAX_WAITING": ({"1": 1, "10000": 10_000}, whole(1, "10,000", "0", "10001", "many", "-1")),
    "MAX_RUNNING_PER_PERSON": ({"1": 1, "32": 32}, whole(1, "32", "0", "33", "x")),
    "REQUEST_TIMEOUT_S": (
        {"1": 1.0, "600": 600.0, "2.5": 2.5},
        seconds("1 to 600", "0", "601", "nan", "inf", "-1", "1 minute"),
    ),
    "PULL_TIMEOUT_S": ({"10": 10.0, "86400": 86_400.0}, seconds("10 to 86400", "9.9", "86401", "nan", "soon")),
    "RETENTION_DAYS": ({"1": 1, "3650": 3650}, whole(1, "3,650", "0", "3651", "-1", "1.5", "a month")),
    "QUOTA_PER_MINUTE": ({"1": 1, "600": 600}, whole(1, "600", "0", "601", "many")),
    "SERVER_QUOTA_PER_MINUTE": ({"0": 0, "6000": 6000}, whole(0, "6,000", "-1", "6001", "many")),
    "LOG_LEVEL": (
        {"info": "INFO"},
        {value: f"takes one of INFO, WARNING, ERROR, not '{value}'." for value in ("DEBUG", "loud", "10")},
    ),
    "LOG_FORMAT": ({"JSON": "json", "text": "text"}, {"xml": "takes one of text, json, not 'xml'."}),
    "DISCORD_TOKEN": (
        {"abc.def-g_h": "abc.def-g_h"},
        dict.fromkeys(("two words", "…"), NO_TOKEN),
    ),
    "DISCORD_TOKEN_FILE": SECRET_FILE,
    "DISCORD_API_BASE": (
        {"http://127.0.0.1:9/api/": "http://127.0.0.1:9/api"},
        {
            value: f"takes a URL that starts with https:// or http://, not '{value}'."
            for value in (
                "ftp://x",
                "discord.com",
                "https://",
                "http://[",
                "http://x:port",
                "http://x:65536",
                "http://x y",
            )
        },
    ),
    "SHARDS": (
        {"0-3/16": Shards(0, 3, 16), "5/16": Shards(5, 5, 16)},
        {
            value: f"takes some shards of all, such as 0-3/16 for the first four of 16 (at most 16,384), not '{value}'."
            for value in ("4", "3-0/4", "0-4/4", "0/20000", "all")
        },
    ),
    "SLACK_BOT_TOKEN": (
        {"xoxb-1-a": ("xoxb-1-a",), "xoxb-1-a, xoxb-2-b,xoxb-1-a": ("xoxb-1-a", "xoxb-2-b")},
        dict.fromkeys(("…", "xoxb-1,…"), NO_TOKEN),
    ),
    "SLACK_BOT_TOKEN_FILE": SECRET_FILE,
    "SLACK_APP_TOKEN": ({"xapp-1-a": "xapp-1-a"}, dict.fromkeys(("two words", "…"), NO_TOKEN)),
    "SLACK_APP_TOKEN_FILE": SECRET_FILE,
    "SLACK_API_URL": (
        {"http://127.0.0.1:9/api/": "http://127.0.0.1:9/api"},
        {"slack.com": "takes a URL that starts with https:// or http://, not 'slack.com'."},
    ),
    "SLACK_COMMAND_PREFIX": (
        {"fs-": "fs-"},
        {
            value: f"takes 1 to 10 of a-z, 0-9, _ and -, such as fs-, not '{value}'."
            for value in ("FS", "a b", "x" * 11, "/fs")
        },
    ),
    "WEB_PORT": ({"0": 0, "65535": 65535}, whole(0, "65,535", "-1", "65536", "http")),
    "WEB_HOST": (
        {"127.0.0.1": "127.0.0.1", "localhost": "127.0.0.1", "[::1]": "127.0.0.1"},
        {
            value: f"takes 127.0.0.1, not '{value}': the page asks for no password, so only this machine may open it."
            " From another machine use an SSH tunnel (ssh -L 8123:127.0.0.1:8123 HOST), or a reverse proxy with a"
            " login."
            for value in ("0.0.0.0", "::", "192.168.1.2", "example.org")
        },
    ),
    "SERVE_HOST": (
        {"0.0.0.0": "0.0.0.0", "::1": "::1", "localhost": "localhost"},
        {
            value: f"takes an address of this machine such as 127.0.0.1 or 0.0.0.0, not '{value}'."
            for value in ("http://0.0.0.0", "a b")
        },
    ),
    "SERVE_PORT": ({"0": 0, "65535": 65535}, whole(0, "65,535", "-1", "65536", "http")),
    "METRICS_HOST": (
        {"0.0.0.0": "0.0.0.0", "::1": "::1"},
        {"a b": "takes an address of this machine such as 127.0.0.1 or 0.0.0.0, not 'a b'."},
    ),
    "METRICS_PORT": ({"0": 0, "9464": 9464}, whole(0, "65,535", "-1", "65536", "http")),
    "API_KEY": ({"s3cret": "s3cret"}, dict.fromkeys(("two words", "…"), NO_TOKEN)),
    "API_KEY_FILE": (
        {},
        {
            "~nobody-here/k": f"{NO_HOME}: '~nobody-here/k'.",
        },
    ),
    "OWNER_IDS": (
        {
            "U012AB3CD": ("U012AB3CD",),
            "123456789012345678": ("123456789012345678",),
            "123456789012345678, 123456789012345679,": TWO_OWNERS,
        },
        {
            value: "takes ids of users, separated by commas: 15 to 20 digits each on Discord, such as U012AB3CD on"
            f" Slack, not '{shown}'."
            for value, shown in {
                "abc": "abc",
                "123456789012345678, <@2>": "<@2>",
                "42": "42",
                "-123456789012345678": "-123456789012345678",
                "1" * 21: "1" * 21,
                ",": ",",
                "123456789012345678;123456789012345679": "123456789012345678;123456789012345679",
                "x" * 200: "x" * 80 + "…",
            }.items()
        },
    ),
    "VISUAL": ({"code --wait": "code --wait"}, {"vi\tx": BREAK}),
    "EDITOR": ({"vi": "vi"}, {"vi\rx": BREAK}),
}


def test_the_table_has_a_row_for_every_setting() -> None:
    assert list(TABLE) == [f.name.upper() for f in fields(Settings)]
    assert all((good or name.endswith("_FILE")) and bad for name, (good, bad) in TABLE.items())


@pytest.mark.parametrize("name", TABLE)
def test_right_values_are_read_and_an_empty_or_white_one_is_the_default(name: str) -> None:
    good, _ = TABLE[name]
    for text, value in good.items():
        for spaced in (text, f"  {text} \t"):
            assert getattr(Settings.from_env({name: spaced}, NOWHERE), name.lower()) == value
    for nothing in ("", "  ", "\t\n", "\u00a0"):
        assert Settings.from_env({name: nothing}, NOWHERE) == Settings()


@pytest.mark.parametrize(
    ("name", "value", "end"), [(name, value, end) for name, (_, bad) in TABLE.items() for value, end in bad.items()]
)
def test_a_wrong_value_is_one_sentence_that_names_it(name: str, value: str, end: str) -> None:
    with pytest.raises(SetupError) as caught:
        Settings.from_env({name: value}, NOWHERE)
    assert str(caught.value) == f"{name} {end}"
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "arguments", [["terminal", "-p", "hello"], ["discord"], ["model", "list"]], ids=lambda arguments: arguments[0]
)
def test_a_wrong_setting_stops_every_start_with_status_2(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OWNER_IDS", "abc")
    assert main(arguments) == 2
    told = capsys.readouterr()
    assert told.out == ""
    sentence = (
        "OWNER_IDS takes ids of users, separated by commas: 15 to 20 digits each on Discord, such as U012AB3CD on"
    )
    assert told.err == f"{sentence} Slack, not 'abc'.\n"


@pytest.mark.parametrize(("wanted", "is_told"), [(1, False), (0, False), (1000, True)])
def test_more_threads_than_processors_are_said_once_and_not_used(
    wanted: int, is_told: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    num_processors = count_processors()
    limited = limit_threads(Settings(num_threads=wanted))
    assert limited.num_threads == (num_processors if is_told else wanted)
    assert limit_threads(limited) == limited
    sentence = (
        f"NUM_THREADS=1000 is more than this program may use, so it uses {num_processors} "
        "(the number of its processors).\n"
    )
    assert capsys.readouterr().err == (sentence if is_told else "")


def test_a_misspelt_setting_in_the_file_is_named_and_foreign_names_are_left_alone(tmp_path: Path) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text("HF_HOME=/somewhere\n")
    assert Settings.from_env({}, env_file) == Settings()
    env_file.write_text("COMAND_PREFIX=?\n")
    with pytest.raises(SetupError, match="did you mean COMMAND_PREFIX"):
        Settings.from_env({}, env_file)


def test_the_token_is_not_shown() -> None:
    assert "secret" not in repr(Settings.from_env({"DISCORD_TOKEN": "secret"}, NOWHERE))


@pytest.mark.parametrize("line", ['MODEL="gpt2', "MODEL", "hello world", "MODEL gpt2", "'x"])
def test_a_line_of_the_file_that_is_no_setting_is_named(tmp_path: Path, line: str) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text(f"# mine\nBOT_NAME=Bo\n{line}\nDEVICE=cpu\n")
    with pytest.raises(SetupError) as caught:
        Settings.from_env({}, env_file)
    assert str(caught.value) == f"Line 3 of {env_file} is not a setting. Write NAME=value, or # before it."


def test_the_key_of_a_server_may_be_in_a_file_and_is_never_shown(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("s3cret\n")
    settings = Settings.from_env({"MODEL_API_KEY_FILE": str(path)}, NOWHERE)
    assert settings.read_model_api_key() == "s3cret"
    given = Settings.from_env({"MODEL_API_KEY": "s3cret"}, NOWHERE)
    assert (given.read_model_api_key(), "s3cret" in repr(given)) == ("s3cret", False)
    # The one that clients of the served engine send is read in the same way.
    served = Settings.from_env({"API_KEY_FILE": str(path)}, NOWHERE)
    assert (served.read_api_key(), served.read_model_api_key()) == ("s3cret", "")
    given = Settings.from_env({"API_KEY": "s3cret"}, NOWHERE)
    assert (given.read_api_key(), "s3cret" in repr(given)) == ("s3cret", False)


@pytest.mark.parametrize(
    ("content", "key", "sentence"),
    [
        (None, "", "MODEL_API_KEY_FILE names PATH, which can't be read: no such file or directory."),
        ("\n", "", "MODEL_API_KEY_FILE names PATH, which is empty."),
        ("two words", "", f"The file PATH {NO_TOKEN}"),
        ("one", "two", "MODEL_API_KEY and MODEL_API_KEY_FILE are both set; remove one of them."),
    ],
)
def test_a_key_that_can_not_be_read_is_one_sentence(
    tmp_path: Path, content: str | None, key: str, sentence: str
) -> None:
    path = tmp_path / "key"
    if content is not None:
        path.write_text(content)
    settings = Settings(model_api_key=key, model_api_key_file=path)
    with pytest.raises(SetupError) as caught:
        settings.read_model_api_key()
    assert str(caught.value) == sentence.replace("PATH", str(path))


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("MODEL_API_KEY", Settings.read_model_api_key),
        ("API_KEY", Settings.read_api_key),
        ("DISCORD_TOKEN", Settings.read_discord_token),
        ("SLACK_BOT_TOKEN", Settings.read_slack_bot_tokens),
        ("SLACK_APP_TOKEN", Settings.read_slack_app_token),
    ],
)
def test_every_secret_can_be_in_a_file(tmp_path: Path, name: str, read: Callable[[Settings], object]) -> None:
    def settings(**values: str) -> Settings:
        return Settings.from_env(values, tmp_path / "none.env")

    file = tmp_path / "secret"
    file.write_text("s3cret\n")
    expected = ("s3cret",) if name == "SLACK_BOT_TOKEN" else "s3cret"
    assert read(settings(**{f"{name}_FILE": str(file)})) == expected
    assert read(settings(**{name: "s3cret"})) == expected
    assert "s3cret" not in repr(settings(**{name: "s3cret"}))
    with pytest.raises(SetupError, match=f"{name} and {name}_FILE are both set; remove one of them."):
        read(settings(**{name: "s3cret", f"{name}_FILE": str(file)}))
    file.write_text("two words\nin s3cret lines" if name != "SLACK_BOT_TOKEN" else "wörd")
    with pytest.raises(SetupError, match=r"The file .*secret takes an access token") as error:
        read(settings(**{f"{name}_FILE": str(file)}))
    assert "s3cret l" not in str(error.value)
    file.write_text("\n")
    with pytest.raises(SetupError, match=f"{name}_FILE names .*secret, which is empty"):
        read(settings(**{f"{name}_FILE": str(file)}))
    with pytest.raises(SetupError, match=f"{name}_FILE names .*missing, which can't be read: no such file"):
        read(settings(**{f"{name}_FILE": str(tmp_path / "missing")}))


def test_every_secret_setting_has_one_for_a_file() -> None:
    names = {f.name for f in fields(Settings)}
    secrets = {f.name for f in fields(Settings) if not f.repr}
    assert secrets
    assert {f"{name}_file" for name in secrets} <= names

"""`make dev` as a newcomer uses it: lines typed into a pipe, and what is printed for them."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bot.commands.bot import COMMANDS
from tests.dev.client import TextClient
from tests.dev.typed import SlashLine, parse_slash
from tests.platforms.discord.interactions.test_command_tree import payload_of, tree_of
from tests.platforms.discord.test_chat_on_discord import scripted
from tests.platforms.programs import PROJECT, share_compiled_step
from tests.servers.discord.options import CHAT_INPUT, NotOffered


async def offered() -> list[dict[str, Any]]:
    """Return the commands as the bot sends them to Discord."""
    return [command for command in payload_of(tree_of(COMMANDS)) if command["type"] == CHAT_INPUT]


def test_a_message_a_slash_command_a_button_and_a_form_work_from_a_pipe(
    tmp_path: Path, roomy_model: Callable[[str], Path]
) -> None:
    typed = (
        "hello to nobody\n@bot Hello\n/next Once upon a\n!complete --seed 3 --max_new_tokens 12 The cat\n:1\n"
        ":as moderator\n/prompt-edit new mood\nGood or bad?\n\n$input ->\ngood, bad\n\n/nonsense\n"
    )
    share_compiled_step(tmp_path)
    finished = subprocess.run(
        [sys.executable, "-m", "tests.dev", "--trace", "--model", str(roomy_model("gpt2"))],
        input=typed,
        capture_output=True,
        text=True,
        timeout=200,
        cwd=PROJECT,
        env=os.environ | {"HOME": str(tmp_path), "NUM_THREADS": "1", "PRECISION": "float32"},
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    parts = finished.stdout.split("> ")
    answer_to = {part.splitlines()[0]: "\n".join(part.splitlines()[1:]) for part in parts[1:]}
    assert "Fewshot:" not in answer_to["hello to nobody"]
    assert "[:1 Again] [:2 Continue] [:3 Why]" in answer_to["@bot Hello"]
    assert "After “Once upon a”" in answer_to["/next Once upon a"]
    assert "[:1 1]" in answer_to["!complete --seed 3 --max_new_tokens 12 The cat"]
    assert "Undo]" in answer_to[":1"]
    assert "Form: Template mood" in answer_to["/prompt-edit new mood"]
    assert "Good or bad?" in answer_to["/prompt-edit new mood"]
    assert "only you see this" in answer_to["/prompt-edit new mood"]
    assert "There is no command /nonsense" in answer_to["/nonsense"]
    lines = re.findall(r"^bot: trace (\d+) .+ ms  ([a-z ]+?)(?:  .*)?$", finished.stdout, re.MULTILINE)
    answered = next(request for request, step in lines if step == "prompt built")
    steps = [step for request, step in lines if request == answered]
    assert steps[:3] == ["received", "accepted", "prompt built"]
    assert steps[-2:] == ["sent", "finished"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("complete Once upon a", SlashLine("complete", {"text": "Once upon a"})),
        ("complete text:Once upon a n:3", SlashLine("complete", {"text": "Once upon a", "n": 3})),
        (
            "complete Once upon a stop:. stop_2:, n:2",
            SlashLine("complete", {"text": "Once upon a", "stop": ".", "stop_2": ",", "n": 2}),
        ),
        ("complete n:3", SlashLine("complete", {"n": 3})),
        ("fresh", SlashLine("fresh", {})),
        ("help", SlashLine("help", {})),
        ("help prompt run", SlashLine("help", {"command": "prompt run"})),
        ("settings", SlashLine("settings", {})),
        ("settings history_length 10", SlashLine("settings", {"name": "history_length", "value": "10"})),
        (
            "settings moderator_roles 1 2 level:server",
            SlashLine("settings", {"name": "moderator_roles", "value": "1 2", "level": "server"}),
        ),
        ("prompt run sentiment I love it", SlashLine("prompt run", {"name": "sentiment", "text": "I love it"})),
        ("prompt run name:story text:a: b", SlashLine("prompt run", {"name": "story", "text": "a: b"})),
        ("prompt diff story 2 5", SlashLine("prompt diff", {"name": "story", "a": "2", "b": "5"})),
        (
            "prompt-edit publish story it is better",
            SlashLine("prompt-edit publish", {"name": "story", "reason": "it is better"}),
        ),
        (
            "prompt-edit tests mood add x => good",
            SlashLine("prompt-edit tests", {"name": "mood", "action": "add", "rows": "x => good"}),
        ),
        ("compare a:The cat b:The dog", SlashLine("compare", {"a": "The cat", "b": "The dog"})),
        ("compare The cat | The dog | A cow", SlashLine("compare", {"a": "The cat", "b": "The dog", "c": "A cow"})),
    ],
)
async def test_words_and_named_options_of_a_slash_command_are_read(line: str, expected: SlashLine) -> None:
    assert parse_slash(line, await offered()) == expected


@pytest.mark.parametrize("line", ["nonsense", "prompt", "prompt walk", "complete n:many", "fresh me"])
async def test_a_slash_command_that_is_wrong_gets_one_sentence(line: str) -> None:
    with pytest.raises(NotOffered, match=r".+\.$"):
        parse_slash(line, await offered())


async def test_a_form_can_be_closed_and_stays_open_where_it_can_not_be_sent(tmp_path: Path) -> None:
    said: list[str] = []
    async with scripted(tmp_path) as evening:
        client = TextClient(evening.discord, evening.guild, said.append)
        await client.type(":as moderator")
        await client.type("/prompt-edit new mood")
        assert ":cancel closes the form" in said[-1]
        assert client.prompt == "Description: "
        await client.type(":cancel")
        assert said[-1] == "The form is closed; nothing was sent."
        assert client.prompt == "Moe in #general> "
        said.clear()
        await client.type("/prompt-edit new mood")
        for line in ["x" * 5000] * 4 + [""]:
            await client.type(line)
        assert "The form is open again" in said[-1]
        assert client.prompt == "Description: "
        await client.type(":cancel")
        assert client.prompt == "Moe in #general> "


async def test_who_becomes_a_moderator_is_one_for_typed_commands_too(tmp_path: Path) -> None:
    said: list[str] = []
    async with scripted(tmp_path) as evening:
        client = TextClient(evening.discord, evening.guild, said.append)
        await client.type(":as moderator")
        await client.type("!settings preset wild")
        await client.settled()
        assert any("wild, for this channel." in line for line in said), said

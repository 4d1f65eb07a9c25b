"""The whole bot on a model of a server, through the terminal: commands, sentences, and each failure of the server."""

import asyncio
import logging
import re
from dataclasses import replace
from pathlib import Path

import pytest

from bot.core.stopping import Stopper
from bot.platforms.terminal.conversation import Conversation
from bot.platforms.terminal.piped import run_once
from bot.platforms.terminal.traits import TERMINAL
from bot.remote.abilities import NO_LABELS, NO_SCORES
from bot.remote.writing import CUT
from tests.bots import HERE, MANY, PROMPTS, Talk, open_tiny_bot
from tests.remote.remotes import LIKE_OPENAI, LIKE_REASONING, known_choice
from tests.remote.test_generation import FAULTS
from tests.servers.openai.behaviour import OPENAI, REASONING, VLLM, Fault
from tests.servers.openai.server import KEY, OpenAIServer, serve_openai


class Terminal:
    """The terminal's channel for scripts, and what it printed."""

    def __init__(self, talk: Talk, capsys: pytest.CaptureFixture[str]) -> None:
        self._conversation = Conversation.of(talk.bot, server="s", channel="c", name="ada", is_moderator=True)
        self._capsys = capsys
        self.everything = ""

    async def say(self, text: str) -> str:
        """Return all that was printed as the answer to `text`."""
        await run_once(self._conversation, text, Stopper(), is_json=False)
        out, err = self._capsys.readouterr()
        self.everything += out + err
        return (out + err).rstrip("\n")


async def test_an_evening_on_a_server_that_can_do_most(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with (
        serve_openai() as server,
        open_tiny_bot(
            known_choice(server, tmp_path), tmp_path, prompts={**PROMPTS, "many": MANY}, traits=TERMINAL
        ) as talk,
    ):
        ada = Terminal(talk, capsys)
        server.scripts = [" Hello, Ada. How are you?", " Fine."]
        assert await ada.say("Good evening") == "Hello, Ada. How are you?"
        assert await ada.say("And you?") == "Fine."
        messages = server.bodies("/chat/completions")[-1]["messages"]
        assert [(one["role"], one["content"]) for one in messages] == [
            ("system", "You are Fewshot."),
            ("user", "Good evening"),
            ("assistant", "Hello, Ada. How are you?"),
            ("user", "And you?"),
        ]
        assert (await ada.say("!complete --n 2 --seed 1 The cat sat")).count("The cat sat") == 2
        assert "Positive" in await ada.say("!prompt sentiment I love it")
        server.scripts = [" chien\ndog = chien"]
        assert "chien" in await ada.say("!prompt translate-en-fr dog")
        assert "perplexity" in await ada.say("!perplexity The cat sat on the mat.")
        assert "times likelier" in await ada.say("!compare The cat sat. | The dog sat.")
        assert "all other words" in await ada.say("!next The cat")
        assert "server 127.0.0.1" in await ada.say("!stats")
        assert "Only Fewshot's own engine has the figures" not in await ada.say("!context")
        assert await ada.say("!next --top_k 3 The cat") == (
            "Only Fewshot's own engine can show what sampling options leave of the next tokens; this model runs on a"
            " server."
        )
        assert "kept examples" in await ada.say("!prompt many fine")
        assert len(await talk.suggest("The cat", num=2, max_new_tokens=4, seed=0)) == 2
        assert talk.bot.model_line == f"openai:toy · {server.url.split('/')[2]}"
        host = server.url.split("/")[2]
        assert f"The model that reads them runs on the server {host}, so" in await ada.say("!privacy")
        assert KEY not in ada.everything


async def test_each_failure_of_the_server_is_told_once_and_the_next_message_is_answered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with (
        serve_openai() as server,
        open_tiny_bot(known_choice(server, tmp_path), tmp_path, traits=TERMINAL) as talk,
    ):
        ada = Terminal(talk, capsys)
        for name, (faults, sentence) in FAULTS.items():
            for line in ("Good evening", "!complete The cat", "!perplexity The cat"):
                server.faults = list(faults)
                assert await ada.say(line) == sentence, f"{name}: {line}"
        server.scripts = [" Hello there, Ada."]
        assert await ada.say("Good evening") == "Hello there, Ada."
    assert KEY not in ada.everything + caplog.text + (tmp_path / "fewshot.db").read_bytes().decode("latin-1")


async def test_an_answer_that_was_cut_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    able = replace(LIKE_OPENAI, keeps_seed=False)
    async with (
        serve_openai(replace(OPENAI, keeps_seed=False)) as server,
        open_tiny_bot(known_choice(server, tmp_path, able), tmp_path, traits=TERMINAL) as talk,
    ):
        ada = Terminal(talk, capsys)
        server.scripts = [" It is one. It is two. It is three."]
        server.faults = [Fault(cut_after=9)]
        assert await ada.say("Count") == f"It is one. It is two.\n{CUT}"
        assert len(server.requests) == 1
        assert "so these are estimates." in await ada.say("!context")


async def test_a_server_with_less_refuses_in_one_sentence_what_it_lacks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with (
        serve_openai(REASONING) as server,
        open_tiny_bot(known_choice(server, tmp_path, LIKE_REASONING), tmp_path, traits=TERMINAL) as talk,
    ):
        ada = Terminal(talk, capsys)
        refusals = {
            "!perplexity The cat": NO_SCORES,
            "!prompt sentiment I love it": NO_LABELS,
            "!complete --top_k 5 The cat": (
                "This model's server has no top_k; leave it out. (vLLM and Fewshot's own server have it.)"
            ),
            "!complete --seed 5 The cat": (
                "This model's server has no seed; leave it out. (vLLM and Fewshot's own server have it.)"
            ),
            "!complete --preset beam The cat": (
                "This model's server has no beam search. Fewshot's own engine has it: a model on this machine."
            ),
        }
        for line, sentence in refusals.items():
            assert await ada.say(line) == sentence
        assert server.requests == []
        assert "The cat" in await ada.say("!complete --top_k 0 --n 1 The cat")
        assert set(server.bodies()[0]) == {
            "model", "messages", "max_completion_tokens", "seed", "stream", "stream_options",
        }  # fmt: skip
        why = await ada.say("!why")
        assert "temperature 1 · top_k 0 · top_p 1 · min_p 0 · repetition_penalty 1 · no_repeat_ngram_size 0\n" in why
        assert "why rerun" not in why
        assert "seed" not in why
        again = await ada.say("!why rerun")
        assert again == (
            "This can't be written again as it was. This model's server keeps no seed: it would draw another text."
        )
        assert await ada.say("!strategies The cat") == (
            "There is nothing to compare: greedy, beam, careful, normal and wild are missing: this model's server has"
            " no temperature and no beam search."
        )


async def test_strategies_are_shown_without_those_that_the_server_lacks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with (
        serve_openai() as server,
        open_tiny_bot(known_choice(server, tmp_path), tmp_path, traits=TERMINAL) as talk,
    ):
        ada = Terminal(talk, capsys)
        shown = await ada.say("!strategies --seed 3 --max_new_tokens 6 The cat")
        assert "\nbeam is missing: this model's server has no beam search.\n" in shown
        assert not re.search(r"^\d beam", shown, re.MULTILINE)
        assert "no_repeat_ngram_size" not in shown
        begun = await talk.ask("!strategies --seed 3 --max_new_tokens 6 The cat")
        names = ["greedy", "careful", "normal", "wild"]
        assert [one["name"] for one in begun["strategies"]] == names
        for action in ("longer", "again"):
            assert [one["strategy"] for one in (await talk.ask(action))["choices"]] == names, action


async def test_where_no_seed_is_kept_none_is_shown_or_promised(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    able = replace(LIKE_OPENAI, keeps_seed=False)
    lines = ("Good evening", "!complete The cat", "!strategies The cat", "!prompt story a cat", "!story on The cat")
    for is_kept in (True, False):
        folder = tmp_path / str(is_kept)
        folder.mkdir()
        async with (
            serve_openai(replace(OPENAI, keeps_seed=is_kept)) as server,
            open_tiny_bot(
                known_choice(server, folder, replace(able, keeps_seed=is_kept)), folder, traits=TERMINAL
            ) as talk,
        ):
            ada = Terminal(talk, capsys)
            for line in lines:
                said = await ada.say(line)
                assert ("seed " in said) == (is_kept and line.startswith(("!complete", "!strat", "!story"))), line
                why = await ada.say("!why")
                assert ("why rerun" in why) == is_kept, line
                assert "why words" not in why
            found = await talk.ask("!complete The cat")
            assert (found["seed"] is not None) == is_kept
            assert all((one["seed"] is not None) == is_kept for one in found["choices"])
            assert ((await talk.ask("again"))["seed"] is not None) == is_kept
            continued = [
                one
                async for one in talk.bot.desk.continue_text(
                    HERE, "The cat", {}, num=1, max_new_tokens=3, seed=5, person=""
                )
            ]
            assert continued[-1].seed == (5 if is_kept else None)


async def test_nothing_is_asked_of_a_server_that_nobody_asked_for(tmp_path: Path) -> None:
    async with (
        serve_openai(VLLM) as server,
        open_tiny_bot(known_choice(server, tmp_path), tmp_path, traits=TERMINAL) as talk,
    ):
        assert await talk.num_stored() == 0
        assert "openai:toy" in (await talk.ask("!stats", scope=HERE))["model"]
        assert asked_of(server) == []
        assert "measuring the built-in templates" not in {task.get_name() for task in asyncio.all_tasks()}


def asked_of(server: OpenAIServer) -> list[str]:
    return [path for path, _ in server.requests]

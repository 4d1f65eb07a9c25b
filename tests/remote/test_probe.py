"""The probe: what it finds of servers that differ, what it keeps, and how a server that can't be used is told."""

from dataclasses import replace
from pathlib import Path

import pytest

from bot.errors import SetupError
from bot.remote.abilities import Abilities
from bot.remote.choice import RemoteChoice
from bot.remote.engine import RemoteEngine
from bot.remote.kept import path_of
from tests.remote.remotes import (
    LIKE_AZURE,
    LIKE_GPT_4O,
    LIKE_LLAMA_CPP,
    LIKE_OPENAI,
    LIKE_REASONING,
    LIKE_VLLM,
    choice_of,
)
from tests.servers.openai.behaviour import AZURE, GPT_4O, LLAMA_CPP, OPENAI, REASONING, VLLM, Behaviour, Fault
from tests.servers.openai.server import serve_openai


async def found_by(choice: RemoteChoice, told: list[str] | None = None) -> Abilities:
    async with RemoteEngine.open(choice, tell=[].append if told is None else told.append) as engine:
        return replace(engine._abilities, probed_at_utc="")


def unscored(problem: str) -> Abilities:
    return replace(LIKE_VLLM, scores_texts=False, score_problem=problem)


@pytest.mark.parametrize(
    ("behaviour", "abilities"),
    {
        "vllm": (VLLM, LIKE_VLLM),
        "openai": (OPENAI, LIKE_OPENAI),
        "azure": (AZURE, LIKE_AZURE),
        "pictures": (GPT_4O, LIKE_GPT_4O),
        "pictures, and thinking": (replace(REASONING, pictures="seen"), replace(LIKE_REASONING, reads_pictures=True)),
        "guesses what is in pictures": (replace(OPENAI, pictures="guessed"), LIKE_OPENAI),
        "can't process pictures": (replace(OPENAI, pictures=422), LIKE_OPENAI),
        "fails at pictures": (replace(OPENAI, pictures=500), LIKE_OPENAI),
        "reasoning": (REASONING, LIKE_REASONING),
        "chance": (LLAMA_CPP, LIKE_LLAMA_CPP),
        "no echo": (replace(VLLM, echo="none"), unscored("the server does not tell them")),
        "shifted": (replace(VLLM, echo="shifted"), unscored("the values of a text depend on what comes after it")),
        "unsteady": (
            replace(VLLM, echo="unsteady"),
            unscored("the same text gets values up to 0.2 nats apart"),
        ),
        "one new token": (
            replace(VLLM, echoes_without_new=False),
            replace(LIKE_VLLM, min_new_tokens_when_scoring=1),
        ),
        "no log-probabilities": (
            replace(VLLM, num_top=None, num_chat_top=None),
            replace(unscored("there are no log-probabilities"), num_top=0, num_chat_top=0),
        ),
        "ignores what it does not know": (
            replace(VLLM, extensions=()),
            replace(LIKE_VLLM, options=("temperature", "top_p")),
        ),
        "no chat, one answer, no usage": (
            replace(VLLM, has_chat=False, takes_n=False, usage="none"),
            replace(
                LIKE_VLLM, has_chat=False, num_chat_top=0, takes_n=False, tells_usage=False, continues_answers=False
            ),
        ),
        "wrong usage": (replace(VLLM, usage="wrong"), replace(LIKE_VLLM, tells_usage=False, continues_answers=False)),
    }.values(),
)
async def test_what_a_server_does_is_found_by_asking(
    behaviour: Behaviour, abilities: Abilities, tmp_path: Path
) -> None:
    async with serve_openai(behaviour) as server:
        assert await found_by(choice_of(server, tmp_path)) == abilities
        assert len(server.requests) < 45


async def test_what_was_found_holds_for_the_servers_version(tmp_path: Path) -> None:
    async with serve_openai() as server:
        choice = choice_of(server, tmp_path)
        told: list[str] = []
        first = await found_by(choice, told)
        num_asked = len(server.requests)
        assert await found_by(choice, told) == first
        assert len(server.requests) == num_asked
        assert told == [f"Finding out what openai:toy at {choice.host} can do, by about 40 short requests …"]
        server.behaviour = replace(VLLM, version="0.33.0", extensions=())
        again = await found_by(choice)
        assert (again.server, again.options) == ("vllm 0.33.0", ("temperature", "top_p"))
        num_asked = len(server.requests)
        path_of(choice).write_text("{")
        assert await found_by(choice) == again
        assert len(server.requests) > num_asked
        assert server.key not in path_of(choice).read_text()


async def test_a_server_that_is_away_is_used_as_it_was_found(tmp_path: Path) -> None:
    async with serve_openai() as server:
        choice = choice_of(server, tmp_path)
        found = await found_by(choice)
    told: list[str] = []
    assert await found_by(choice, told) == found
    assert told == [f"{choice.host} does not answer now; what it could do before holds until the next start."]
    path_of(choice).unlink()
    with pytest.raises(SetupError) as caught:
        await found_by(choice)
    assert str(caught.value) == (
        f"openai:toy at {choice.host} can't be used now. The model's server can't be reached. Try again in a minute."
    )


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"api_key": "sk-wrong-key"},
            "openai:toy at HOST can't be used now. The model's server refuses the bot's key. The operator can correct"
            " MODEL_API_KEY.",
        ),
        (
            {"name": "openai:toy-2"},
            "HOST answers nothing with openai:toy-2; check MODEL and MODEL_API_BASE. It says: The model `toy-2` does"
            " not exist.",
        ),
    ],
)
async def test_a_wrong_key_or_model_is_one_sentence_without_the_key(
    change: dict[str, str], sentence: str, tmp_path: Path
) -> None:
    async with serve_openai() as server:
        choice = replace(choice_of(server, tmp_path), **change)  # type: ignore[arg-type]
        with pytest.raises(SetupError) as caught:
            await found_by(choice)
    assert str(caught.value) == sentence.replace("HOST", choice.host)
    assert not path_of(choice).exists()


@pytest.mark.parametrize("kind", [VLLM, OPENAI, replace(VLLM, has_chat=False)], ids=["both", "chat", "completions"])
async def test_a_wrong_model_is_told_as_the_server_tells_it_and_not_that_it_lacks_an_endpoint(
    kind: Behaviour, tmp_path: Path
) -> None:
    async with serve_openai(kind) as server:
        choice = replace(choice_of(server, tmp_path), name="openai:toy-2")
        with pytest.raises(SetupError, match="It says: The model `toy-2` does not exist"):
            await found_by(choice)


async def test_a_server_in_trouble_is_asked_again(tmp_path: Path) -> None:
    async with serve_openai() as server:
        server.faults = [Fault(status=429, headers={"Retry-After": "0"}), Fault(status=503), Fault(status=500)]
        assert await found_by(choice_of(server, tmp_path)) == LIKE_VLLM


async def test_what_was_found_is_shown_as_a_table() -> None:
    rows = {one.name: (one.is_there, one.remark) for one in LIKE_LLAMA_CPP.rows}
    assert rows["scores of given texts"] == (False, "they are not those that the model writes with")
    assert rows["likeliest next tokens"] == (True, "up to 20")
    assert set(LIKE_OPENAI.lacking) == {"top_k", "min_p", "repetition_penalty", "num_beams", "no_repeat_ngram_size"}
    assert LIKE_OPENAI.lacking["min_p"] == (
        "This model's server has no min_p; leave it out. (vLLM and Fewshot's own server have it.)"
    )
    assert "seed" in LIKE_REASONING.lacking

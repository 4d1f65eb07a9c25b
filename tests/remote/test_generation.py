"""Generations by a server: streams, ends, turns and cancelling, and every way in which a server fails."""

import asyncio
import gc
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from bot.core.ending import AfterSentence
from bot.core.engine import Asker
from bot.core.picture import Picture
from bot.core.prompt_parts import ChatTurn, Prompt
from bot.core.sampling_params import SamplingParams
from bot.errors import FewshotError, GenerationError, RequestError, Unavailable
from bot.remote.bodies import put
from bot.remote.writing import CUT
from tests.remote.remotes import LIKE_GPT_4O, LIKE_OPENAI, LIKE_REASONING, LIKE_VLLM, engine_on, written
from tests.servers.openai.behaviour import OPENAI, REASONING, VLLM, Fault
from tests.servers.openai.server import OpenAIServer, serve_openai

PROMPT = Prompt.plain("The cat sat")
PARAMS = SamplingParams(seed=7, max_new_tokens=8)
CHAT = Prompt((), turns=(ChatTurn("system", "Be kind."), ChatTurn("user", "Hello")))


@pytest.fixture
async def server() -> AsyncIterator[OpenAIServer]:
    async with serve_openai() as server:
        yield server


async def test_a_text_is_continued_with_its_tokens_probabilities_and_counts(server: OpenAIServer) -> None:
    async with engine_on(server) as engine:
        generation = engine.generate(PROMPT, PARAMS)
        (one,) = await written(generation)
        assert (one.finish_reason, len(one.token_logprobs), one.token_ends[-1]) == ("length", 8, len(one.text))
        assert one.logprob == pytest.approx(sum(one.token_logprobs))
        assert generation.timings
        assert (generation.timings.num_prompt_tokens, generation.timings.num_new_tokens) == (3, 8)
        assert await written(engine.generate(PROMPT, PARAMS)) == (one,)
        assert engine.stats().num_done == 2
    (body, _) = server.bodies("/completions")
    assert body["prompt"] == "The cat sat"
    assert {name: body[name] for name in ("max_tokens", "temperature", "top_k", "seed")} == {
        "max_tokens": 8,
        "temperature": 0.8,
        "top_k": 50,
        "seed": 7,
    }


async def test_probabilities_that_come_at_the_end_are_those_of_the_text(server: OpenAIServer) -> None:
    async with engine_on(server) as engine:
        (one,) = await written(engine.generate(PROMPT, PARAMS))
        server.behaviour = replace(VLLM, tells_logprobs_last=True)
        assert await written(engine.generate(PROMPT, PARAMS)) == (one,)


@pytest.mark.parametrize("takes_n", [True, False])
async def test_several_continuations_are_one_request_where_the_server_can(server: OpenAIServer, takes_n: bool) -> None:
    async with engine_on(server, replace(LIKE_VLLM, takes_n=takes_n)) as engine:
        completions = await written(engine.generate(PROMPT, replace(PARAMS, n=3)))
    assert [one.index for one in completions] == [0, 1, 2]
    assert len({one.text for one in completions}) == 3
    assert len(server.requests) == (1 if takes_n else 3)


async def test_a_batch_is_one_request_for_each_prompt(server: OpenAIServer) -> None:
    prompts = [Prompt.plain("The dog"), PROMPT]
    async with engine_on(server) as engine:
        generation = engine.generate_batch(prompts, [PARAMS, PARAMS])
        batch = await written(generation)
        alone = [(await written(engine.generate(prompt, PARAMS)))[0] for prompt in prompts]
        assert [one.text for one in batch] == [one.text for one in alone]
        assert len(generation.part_timings) == 2
        with pytest.raises(ValueError, match="needs at least one prompt"):
            engine.generate_batch([], [])


async def test_a_chat_goes_as_messages_and_an_answer_is_gone_on_with(server: OpenAIServer) -> None:
    said = replace(CHAT, turns=(*CHAT.turns, ChatTurn("assistant", "Good day")))
    async with engine_on(server) as engine:
        await written(engine.generate(CHAT, PARAMS))
        await written(engine.generate(said, PARAMS))
    first, second = server.bodies("/chat/completions")
    assert first["messages"] == [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello"}]
    assert (second["messages"][-1]["content"], second["continue_final_message"]) == ("Good day", True)
    async with serve_openai(OPENAI) as other, engine_on(other, LIKE_OPENAI) as engine:
        await written(engine.generate(said, PARAMS))
        assert other.bodies()[0]["messages"][-1] == {
            "role": "user",
            "content": "Go on exactly where your last message breaks off. Repeat nothing of it.",
        }


async def test_pictures_go_along_only_to_a_model_that_sees_them() -> None:
    picture = Picture("p1", "image/jpeg", b"\xff\xd8\xff")
    shown = replace(CHAT, turns=(ChatTurn("user", "What is this? [picture]", (picture,)),))
    text = {"type": "text", "text": "What is this? [picture]"}
    part = {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,/9j/"}}
    assert put(shown, "toy", LIKE_GPT_4O).body["messages"] == [{"role": "user", "content": [text, part]}]
    assert put(shown, "toy", LIKE_OPENAI).body["messages"] == [{"role": "user", "content": text["text"]}]
    assert put(CHAT, "toy", LIKE_GPT_4O).body["messages"][-1] == {"role": "user", "content": "Hello"}


async def test_a_server_that_counts_tokens_is_asked_without_the_pictures(server: OpenAIServer) -> None:
    turns = (ChatTurn("user", "What is this?", (Picture("p1", "image/png", b"x"),)),)
    async with engine_on(server, replace(LIKE_VLLM, reads_pictures=True)) as engine:
        prompt = await engine.render_chat(turns)
        assert prompt.num_pictures == 1
        assert await engine.count_tokens([prompt]) == await engine.count_tokens(
            [replace(prompt, turns=(ChatTurn("user", "What is this?"),))]
        )


@pytest.mark.parametrize(
    ("text", "answer", "continuation"),
    [
        ("Once upon a", "a time there was", " time there was"),
        ("Once upon a", "time there was", " time there was"),
        ("Hel", "Hello there", "lo there"),
        ("It is so. ", "so. It goes on", "It goes on"),
        ("It is so", ", or is it", ", or is it"),
        ("It is so", "so", ""),
    ],
)
async def test_a_server_with_chat_only_continues_a_text_without_a_seam(
    text: str, answer: str, continuation: str
) -> None:
    async with serve_openai(OPENAI) as server, engine_on(server, LIKE_OPENAI) as engine:
        server.scripts = [answer]
        (one,) = await written(engine.generate(Prompt.document(text), PARAMS))
        assert one.text == continuation
        assert server.bodies()[0]["messages"][1] == {"role": "user", "content": text}


async def test_a_text_ends_before_a_stop_text_even_where_the_server_knows_none(server: OpenAIServer) -> None:
    able = replace(LIKE_VLLM, max_stops=0)
    async with engine_on(server, able) as engine:
        server.scripts = ["One. Two\nAda: three\nBob: four" + " more" * 200]
        (one,) = await written(engine.generate(PROMPT, replace(PARAMS, stop=("\nBob:", "\nEve:"), max_new_tokens=300)))
    assert (one.text, one.finish_reason) == ("One. Two\nAda: three", "stop")


async def test_a_text_ends_where_a_rule_says(server: OpenAIServer) -> None:
    async with engine_on(server) as engine:
        server.scripts = ["It is one. It is two. It is three.", "It is one. It is two. It is three."]
        (one,) = await written(engine.generate(PROMPT, PARAMS, end_at=AfterSentence()))
        assert (one.text, one.finish_reason) == ("It is one.", "stop")
        (late,) = await written(engine.generate(PROMPT, PARAMS, end_at=AfterSentence(), end_from=6))
        assert late.finish_reason == "length"


async def test_options_that_the_server_lacks_are_left_out_and_beams_refused() -> None:
    async with serve_openai(REASONING) as server, engine_on(server, LIKE_REASONING) as engine:
        await written(engine.generate(CHAT, PARAMS))
        assert set(server.bodies()[0]) == {
            "model", "messages", "max_completion_tokens", "seed", "stream", "stream_options",
        }  # fmt: skip
        with pytest.raises(RequestError, match=r"^This model's server has no beam search\."):
            await written(engine.generate(CHAT, replace(PARAMS, num_beams=4)))


async def test_a_model_that_thinks_has_room_for_it_and_its_answer_still_has_a_limit() -> None:
    async with serve_openai(REASONING) as server, engine_on(server, LIKE_REASONING) as engine:
        server.scripts = ["one two three four five six", ""]
        (one,) = await written(engine.generate(CHAT, replace(PARAMS, max_new_tokens=4)))
        assert (one.text, one.finish_reason) == ("one two three four", "length")
        assert server.bodies()[0]["max_completion_tokens"] == 4 + 4096
        server.reason = "length"
        with pytest.raises(GenerationError, match="thought until its limit of tokens and wrote nothing"):
            await written(engine.generate(CHAT, PARAMS))


async def test_a_server_that_does_not_keep_the_limit_is_cut_off(server: OpenAIServer) -> None:
    async with engine_on(server) as engine:
        server.scripts = [" word" * 100]
        (one,) = await written(engine.generate(PROMPT, replace(PARAMS, max_new_tokens=2)))
    assert (len(one.text.split()), one.finish_reason) == (32, "length")


async def test_options_that_are_off_are_said_too_as_servers_have_defaults_of_their_own(server: OpenAIServer) -> None:
    off = replace(PARAMS, temperature=1.0, top_k=0, top_p=1.0, repetition_penalty=1.0)
    async with engine_on(server) as engine:
        await written(engine.generate(PROMPT, off))
    (body,) = server.bodies()
    assert {name: body[name] for name in LIKE_VLLM.options} == {
        "temperature": 1.0,
        "top_p": 1.0,
        "top_k": -1,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
    }


async def test_a_cancelled_generation_closes_its_stream_and_keeps_its_text(server: OpenAIServer) -> None:
    held = asyncio.Event()
    server.faults = [Fault(held_by=held, held_after=3)]
    async with engine_on(server) as engine:
        generation = engine.generate(PROMPT, PARAMS)
        shown = ""
        async with generation:
            async for delta in generation:
                shown += delta.text
                if len(shown.split()) == 3:
                    generation.cancel()
        (one,) = generation.completions
        assert (one.text, one.finish_reason) == (shown, "cancelled")
        held.set()
        await until(lambda: server.num_left == 1)
        before = engine.generate(PROMPT, PARAMS)
        before.cancel()
        assert (await written(before))[0].finish_reason == "cancelled"


async def test_a_generation_that_nobody_holds_ends(server: OpenAIServer) -> None:
    held = asyncio.Event()
    server.faults = [Fault(held_by=held)]
    async with engine_on(server) as engine:
        generation = engine.generate(PROMPT, PARAMS)
        await generation.__aenter__()
        await until(lambda: len(server.requests) == 1)
        del generation
        gc.collect()
        await until(lambda: engine.stats().num_running == 0)
        held.set()


async def test_people_take_turns_and_a_full_queue_is_told(server: OpenAIServer) -> None:
    held = asyncio.Event()
    server.faults = [Fault(held_by=held)]
    async with engine_on(server, max_running=1, max_waiting=2) as engine:
        first = asyncio.create_task(written(engine.generate(PROMPT, PARAMS, asker=Asker("a", "ada"))))
        await until(lambda: len(server.requests) == 1)
        order: list[str] = []

        async def ask(conversation: str) -> None:
            await written(engine.generate(PROMPT, PARAMS, asker=Asker(conversation, conversation)))
            order.append(conversation)

        second = engine.generate(PROMPT, PARAMS, asker=Asker("a", "ada"))
        async with second:
            assert second.num_ahead == 1
            other = asyncio.create_task(ask("b"))
            await until(lambda: engine.stats().num_waiting == 2)
            with pytest.raises(Unavailable, match="2 requests are already waiting"):
                await written(engine.generate(PROMPT, PARAMS))
            held.set()
            await asyncio.gather(first, other)


async def test_closing_the_engine_ends_what_runs_and_refuses_what_waits(server: OpenAIServer) -> None:
    held = asyncio.Event()
    server.faults = [Fault(held_by=held)]
    async with engine_on(server, max_running=1) as engine:
        running = asyncio.create_task(written(engine.generate(PROMPT, PARAMS)))
        await until(lambda: len(server.requests) == 1)
        waiting = asyncio.create_task(written(engine.generate(PROMPT, PARAMS)))
        await until(lambda: engine.stats().num_waiting == 1)
    assert (await running)[0].finish_reason == "cancelled"
    with pytest.raises(Unavailable, match="shutting down"):
        await waiting
    held.set()


REFUSED = "The model's server refuses this request (status 422): logprobs is not allowed here."
FAULTS: dict[str, tuple[list[Fault], str]] = {
    "a wrong key": (
        [Fault(status=401, body={"error": {"message": "Incorrect API key provided: sk-stand-in-0123456789."}})],
        "The model's server refuses the bot's key. The operator can correct MODEL_API_KEY.",
    ),
    "no such model": (
        [Fault(status=404)],
        "The model's server has no model named toy, or not this use of it. The operator can change MODEL.",
    ),
    "too many requests, for long": (
        [Fault(status=429, headers={"Retry-After": "3600"})],
        "The model's server has too many requests now. Try again in 3,600 s.",
    ),
    "no credit": (
        [Fault(status=429, body={"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}})],
        "The account at the model's server has no credit left. The operator can add some.",
    ),
    "too long": (
        [Fault(status=400, body={"error": {"message": "This model's maximum context length is 9 tokens."}})],
        "The text and its answer are too long for the model's server. Shorten the text.",
    ),
    "a field that it does not know": (
        [Fault(status=422, body={"error": {"message": "logprobs is not allowed here."}})],
        REFUSED,
    ),
    "a refusal with the key in it": (
        [Fault(status=400, body={"error": {"message": "Bad: sk-stand-in-0123456789"}})],
        "The model's server refuses this request (status 400): Bad: ‹key›",
    ),
    "a wrong answer that is no JSON": (
        [Fault(status=418, body={"detail": ["x"]})],
        'The model\'s server refuses this request (status 418): ["x"]',
    ),
}


@pytest.mark.parametrize(("faults", "sentence"), FAULTS.values(), ids=list(FAULTS))
async def test_a_failure_is_one_sentence_without_the_key(
    server: OpenAIServer, faults: list[Fault], sentence: str
) -> None:
    server.faults = list(faults)
    async with engine_on(server) as engine:
        with pytest.raises(FewshotError) as caught:
            await written(engine.generate(PROMPT, PARAMS))
        assert str(caught.value) == sentence
        chain = f"{caught.value!r} {caught.value.__cause__!r}"
        assert server.key not in chain
        assert len(await written(engine.generate(PROMPT, PARAMS))) == 1
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    "faults",
    [
        [Fault(status=429, headers={"Retry-After": "0"}), Fault(status=429, headers={"retry-after-ms": "1"})],
        [Fault(status=500)],
        [Fault(status=502)],
        [Fault(status=503, headers={"Retry-After": "0"})],
        [Fault(cut_after=0)],
        [Fault(error_after=0)],
    ],
    ids=["429", "500", "502", "503", "cut before the first word", "an error before the first word"],
)
async def test_a_failure_that_passes_is_not_noticed(server: OpenAIServer, faults: list[Fault]) -> None:
    async with engine_on(server) as engine:
        whole = await written(engine.generate(PROMPT, PARAMS))
        server.faults = list(faults)
        generation = engine.generate(PROMPT, PARAMS)
        assert await written(generation) == whole
        assert generation.notice == ""
    assert len(server.requests) == 2 + len(faults)


async def test_a_server_that_stays_in_trouble_is_told_when_the_time_is_up(server: OpenAIServer) -> None:
    server.faults = [Fault(status=502), Fault(status=500, headers={"Retry-After": "3600"})]
    async with engine_on(server) as engine:
        with pytest.raises(Unavailable) as caught:
            await written(engine.generate(PROMPT, PARAMS))
    assert str(caught.value) == "The model's server has a problem (status 500). Try again in a minute."


async def test_a_server_that_does_not_begin_is_told(server: OpenAIServer) -> None:
    held = asyncio.Event()
    server.faults = [Fault(held_by=held)]
    async with engine_on(server) as engine:
        with pytest.raises(Unavailable) as caught:
            await written(engine.generate(PROMPT, PARAMS, timeout_s=0.1))
        assert str(caught.value) == "The model's server did not answer within 0 s. Try again in a minute."
        assert engine.stats().num_running == 0
    held.set()


@pytest.mark.parametrize("fault", [Fault(cut_after=4), Fault(error_after=4)], ids=["cut", "error"])
@pytest.mark.parametrize("n", [1, 2])
async def test_an_answer_that_breaks_off_goes_on_where_the_server_writes_the_same_again(
    server: OpenAIServer, fault: Fault, n: int
) -> None:
    async with engine_on(server) as engine:
        whole = await written(engine.generate(PROMPT, replace(PARAMS, n=n)))
        server.faults = [fault]
        generation = engine.generate(PROMPT, replace(PARAMS, n=n))
        again = await written(generation)
    assert [one.text for one in again] == [one.text for one in whole]
    assert generation.notice == ""


@pytest.mark.parametrize("cut_after", [1, 2, 5])
async def test_a_text_that_is_continued_by_chat_has_no_seam_when_it_breaks_off(cut_after: int) -> None:
    async with serve_openai(OPENAI) as server, engine_on(server, LIKE_OPENAI) as engine:
        server.scripts = ["sat on the mat", "sat on the mat"]
        server.faults = [Fault(cut_after=cut_after)]
        generation = engine.generate(Prompt.document("The cat sat"), PARAMS)
        assert [one.text for one in await written(generation)] == [" on the mat"]
        assert generation.notice == ""


@pytest.mark.parametrize("keeps_seed", [True, False])
async def test_an_answer_that_breaks_off_and_does_not_come_again_is_cut_and_said_so(keeps_seed: bool) -> None:
    # The first server says that it keeps seeds, and does not.
    able = replace(LIKE_VLLM, keeps_seed=keeps_seed)
    async with serve_openai(replace(VLLM, keeps_seed=False)) as server, engine_on(server, able) as engine:
        server.scripts = ["one two three four five six", "one two other words"]
        server.faults = [Fault(cut_after=4)]
        generation = engine.generate(PROMPT, PARAMS)
        (one,) = await written(generation)
    assert (one.text, one.finish_reason, generation.notice) == ("one two three four", "length", CUT)


async def test_usage_that_can_not_be_true_is_counted_here() -> None:
    async with serve_openai(replace(VLLM, usage="wrong")) as server, engine_on(server) as engine:
        generation = engine.generate(PROMPT, PARAMS)
        await written(generation)
        assert generation.timings
        assert (generation.timings.num_prompt_tokens, generation.timings.num_new_tokens) == (3, 8)


async def until(holds: object) -> None:
    """Wait until `holds()` is true."""
    assert callable(holds)
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0.005)

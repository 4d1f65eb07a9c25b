"""What a front may send to the engine's own routes: the key, the bounds, and one sentence for what is wrong."""

from typing import Any

import httpx2
import pytest

from bot.core.engine_calls import Call, CountTokens, Generate, Sender, key_of
from bot.core.prompt_parts import Prompt
from bot.core.sampling_params import SamplingParams
from bot.core.wire import to_wire
from tests.serving.served import Served

GENERATE = Generate(Prompt.plain("The cat"), SamplingParams(seed=1), False, False, None, 0, 5.0, "chat", False)


def body_of(served: Served, call: Any = GENERATE, **changes: Any) -> dict[str, Any]:
    sender = Sender("front", "call", key_of(served.engine.info), None, None, "")
    wire = to_wire(Call, call)
    return {"sender": to_wire(Sender, sender), "call": {**wire, **changes}}


def ask(served: Served, body: Any, **headers: str) -> httpx2.Response:
    return httpx2.post(f"{served.root}/fewshot/v1/calls", json=body, headers=headers, timeout=60)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"timeout_s": 1e9}, "timeout_s takes 0 to 3600 seconds."),
        ({"is": "Shell"}, "The call can't be read: it takes one of Generate, GenerateBatch"),
        ({"end_at": {"is": "Python", "code": "1"}}, "it takes one of AfterSentence, AfterWhole, UnlessExactly"),
        ({"prompt": None}, "The call can't be read: Generate.prompt: Prompt takes an object, not nothing."),
        ({"params": {**SamplingParams().to_dict(), "top_p": 9}}, "top_p takes a number above 0 and up to 1, not 9.0"),
    ],
)
def test_a_wrong_call_is_one_sentence(served_gpt2: Served, changes: dict[str, Any], sentence: str) -> None:
    answer = ask(served_gpt2, body_of(served_gpt2, **changes))
    assert answer.status_code == 400
    assert sentence in answer.json()["error"]["message"]


@pytest.mark.parametrize("body", [[], {}, {"sender": 1, "call": 2}, {"sender": {}, "call": {}}])
def test_what_is_no_call_is_refused(served_gpt2: Served, body: Any) -> None:
    answer = ask(served_gpt2, body)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].count("\n") == 0


def test_a_call_meant_for_another_model_is_refused_with_the_name_of_this_one(served_gpt2: Served) -> None:
    body = body_of(served_gpt2, CountTokens((Prompt.plain("a"),)))
    body["sender"]["model"] = "another"
    answer = ask(served_gpt2, body)
    assert answer.status_code == 409
    assert answer.json()["error"]["message"] == f"The server has the model {served_gpt2.engine.info.name} now."


def test_an_id_that_is_too_long_is_refused(served_gpt2: Served) -> None:
    body = body_of(served_gpt2)
    body["sender"]["front"] = "f" * 10_000
    assert ask(served_gpt2, body).status_code == 400


def test_the_last_line_of_an_answer_is_its_result_or_its_error(served_gpt2: Served) -> None:
    lines = ask(served_gpt2, body_of(served_gpt2)).text.splitlines()
    assert '"is":"Accepted"' in lines[0]
    assert '"is":"Ended"' in lines[-1]
    too_long = Generate(Prompt.plain("cat " * 3000), SamplingParams(), False, False, None, 0, 5.0, "chat", False)
    lines = ask(served_gpt2, body_of(served_gpt2, too_long)).text.splitlines()
    assert '"kind":"PromptTooLong"' in lines[-1]


def test_a_call_that_nobody_knows_may_be_cancelled(served_gpt2: Served) -> None:
    for _ in range(3):
        answer = httpx2.delete(f"{served_gpt2.root}/fewshot/v1/calls/front/never-seen", timeout=60)
        assert answer.status_code == 204

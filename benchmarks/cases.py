"""What is measured: each case asks the engines of a model the same and returns rows of figures."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from statistics import mean, median
from typing import Any, Final

from benchmarks.bandwidth import BYTES_PER_WEIGHT
from benchmarks.bench import (
    FEWSHOT,
    FEWSHOT_FLOAT32,
    TRANSFORMERS,
    TRANSFORMERS_BFLOAT16,
    Bench,
)
from benchmarks.engines import Answer, FirstTokens, Lag, measure_memory
from benchmarks.longer import longer
from benchmarks.models import GPT2
from benchmarks.peers import CTRANSLATE2, LLAMA_CPP
from benchmarks.rows import Row, percentile
from benchmarks.start import measure_start
from benchmarks.workers import WorkerError, run_apart
from benchmarks.workloads import LABELS, LONG_TOKENS, SCORED_TOKENS, Question

_ONE_STREAM: Final = (TRANSFORMERS, TRANSFORMERS_BFLOAT16, FEWSHOT, FEWSHOT_FLOAT32, CTRANSLATE2, LLAMA_CPP)
_REMEMBERING: Final = (FEWSHOT, FEWSHOT_FLOAT32, LLAMA_CPP)  # they keep what they read of a prompt's beginning
_NUM_WRITING: Final = 16  # answers that are written while the event loop is watched
_CLASSIFIED_TOKENS: Final = 256
_SPREAD_S: Final = {8: 4.0, 32: 8.0}  # within which so many conversations arrive


def limit(bench: Bench) -> Iterator[Row]:
    """How many tokens a second one stream can reach where each token reads all weights once, by precision."""
    facts = bench.facts.get(FEWSHOT)
    if bench.bandwidth is not None and facts is not None:
        for precision, num_bytes in BYTES_PER_WEIGHT.items():
            if precision != "float16":
                value = bench.bandwidth * 1e9 / (facts["num_parameters"] * num_bytes)
                yield Row(bench.model, "limit-1", precision, "tok/s", (value,), None, {"precision": precision})


def decode(bench: Bench) -> Iterator[Row]:
    """One stream, greedy: 64 tokens of prompt and 64 more, from question to end."""
    answers = bench.take_turns(
        "decode-1",
        bench.among(*_ONE_STREAM),
        bench.sizes.rounds,
        lambda _: bench.workload.stream(),
        lambda engine, question: bench.call(engine, "answer", question),
    )
    more = {
        engine: {"of_limit": round(median(_rates(found)) / reachable, 3)}
        for engine, found in answers.items()
        if found and (reachable := _limit_of(bench, engine))
    }
    yield from bench.rows("decode-1", "tok/s", {engine: _rates(found) for engine, found in answers.items()}, more=more)


def decode_few_shot(bench: Bench) -> Iterator[Row]:
    """One stream, greedy: filled few-shot templates and 64 tokens more, which go on with the pattern.

    The template was read before, as it is in a bot that uses it; engines without a memory of it read it again. Not for
    random weights, which know no pattern.
    """
    if bench.model == GPT2:
        return

    def measure(engine: str, pairs: Sequence[tuple[Question, Question]]) -> float:
        answers: list[Answer] = []
        for before, question in pairs:
            if engine in _REMEMBERING:
                bench.call(engine, "answer", before)
            answers.append(bench.call(engine, "answer", question))
        return sum(answer.num_tokens for answer in answers) / sum(answer.duration_s for answer in answers)

    figures = bench.take_turns(
        "decode-1-fewshot", bench.among(*_ONE_STREAM), bench.sizes.few_shot_rounds, bench.workload.few_shot, measure
    )
    yield from bench.rows("decode-1-fewshot", "tok/s", figures)


def serve(bench: Bench) -> Iterator[Row]:
    """Eight and 32 conversations of mixed lengths, sampled, all at once and arriving at random times.

    `transformers` answers one question after another; its questions are measured one by one and put into a queue by
    calculation, for 32 with the times of the first eight, which have the same lengths. Only this engine is measured in
    all four ways. To save time a padded batch of transformers is measured in the first round only.
    """
    batched = f"{TRANSFORMERS}-batched"
    is_batch_measured = False

    def make(_: int) -> dict[str, list[Question]]:
        found = {}
        for num, spread_s in _SPREAD_S.items():
            found[f"serve-{num}"] = bench.workload.conversations(num)
            found[f"serve-{num}-arriving"] = bench.workload.conversations(num, spread_s=spread_s / bench.sizes.scale)
        return found

    def measure(engine: str, given: Mapping[str, list[Question]]) -> dict[str, list[Answer]]:
        nonlocal is_batch_measured
        if engine == batched and is_batch_measured:
            return {}
        is_batch_measured = is_batch_measured or engine == batched
        if engine == TRANSFORMERS:
            durations = [bench.call(engine, "answer", question).duration_s for question in given["serve-8"]]
            return {case: answer_in_turn(questions, durations) for case, questions in given.items()}
        if engine == FEWSHOT:
            return {case: bench.call(engine, "serve", questions) for case, questions in given.items()}
        at_once: dict[str, list[Question]] = {
            case: questions for case, questions in given.items() if not case.endswith("arriving")
        }
        if engine == FEWSHOT_FLOAT32:
            at_once = {"serve-8": given["serve-8"]}
        method = "serve" if engine in (FEWSHOT_FLOAT32, LLAMA_CPP) else "serve_batch"
        worker = engine.removesuffix("-batched")
        return {case: bench.call(worker, method, questions) for case, questions in at_once.items()}

    engines = bench.among(TRANSFORMERS, FEWSHOT, FEWSHOT_FLOAT32, CTRANSLATE2, LLAMA_CPP)
    if TRANSFORMERS in engines:
        engines.insert(1, batched)
    served = bench.take_turns("serve", engines, bench.sizes.serve_rounds, make, measure)
    for num in _SPREAD_S:
        yield from _serve_rows(bench, f"serve-{num}", served)
        arriving = _by_case(served, f"serve-{num}-arriving")
        means = {engine: [_mean_answer_s(answers) for answers in found] for engine, found in arriving.items()}
        yield from bench.rows(f"serve-{num}-arriving", "s", means)


def first_token(bench: Bench) -> Iterator[Row]:
    """The time to the first token after a template's 512 tokens and 16 of a question: never seen, then seen before."""
    engines = bench.among(*_ONE_STREAM)

    def make(_: int) -> tuple[Question, Question]:
        prefix = bench.workload.prefix()
        cold, warm = (bench.workload.question(16, 1, after=prefix) for _ in range(2))
        return cold, warm

    def measure(engine: str, given: tuple[Question, Question]) -> tuple[float, float]:
        cold, warm = given
        reuses = engine in _REMEMBERING
        return (
            bench.call(engine, "answer", cold).first_s * 1000,
            bench.call(engine, "answer", warm).first_s * 1000 if reuses else 0.0,
        )

    found = bench.take_turns("ttft", engines, bench.sizes.rounds, make, measure)
    cold = {engine: [figures[0] for figures in rounds] for engine, rounds in found.items()}
    warm = {engine: [figures[1] for figures in rounds if figures[1]] for engine, rounds in found.items()}
    of_cold = {
        engine: {"of_cold": round(median(values) / median(cold[engine]), 4)}
        for engine, values in warm.items()
        if values
    }
    yield from bench.rows("ttft-cold-512", "ms", cold)
    yield from bench.rows("ttft-warm-512", "ms", warm, baseline=cold.get(TRANSFORMERS), more=of_cold)


def score(bench: Bench) -> Iterator[Row]:
    """Log-probabilities of a text of 1,024 tokens, in float32."""
    found = bench.take_turns(
        "score-1024",
        bench.among(TRANSFORMERS, FEWSHOT),
        bench.sizes.rounds,
        lambda _: bench.workload.question(SCORED_TOKENS, 1),
        lambda engine, question: SCORED_TOKENS / bench.call(engine, "score", question),
    )
    yield from bench.rows("score-1024", "tok/s", found, more=_in_float32(found))


def classify(bench: Bench) -> Iterator[Row]:
    """Four labels after a prompt of 256 tokens, in float32; `prefills` is how many readings of the prompt it costs."""

    def measure(engine: str, given: tuple[Question, Question]) -> tuple[float, float]:
        question, other = given
        prefill_s = bench.call(engine, "prefill", other) if engine == FEWSHOT else 0.0
        return bench.call(engine, "classify", question, LABELS) * 1000, prefill_s * 1000

    found = bench.take_turns(
        "classify-4",
        bench.among(TRANSFORMERS, FEWSHOT),
        bench.sizes.rounds,
        lambda _: (
            bench.workload.question(_CLASSIFIED_TOKENS, 1),
            bench.workload.question(_CLASSIFIED_TOKENS, 1),
        ),
        measure,
    )
    figures = {engine: [ms for ms, _ in rounds] for engine, rounds in found.items()}
    more: dict[str, dict[str, Any]] = _in_float32(found)
    if found.get(FEWSHOT):
        prefill_ms = median(prefill for _, prefill in found[FEWSHOT])
        more[FEWSHOT] |= {
            "prefills": round(median(figures[FEWSHOT]) / prefill_ms, 3),
            "prefill_ms": round(prefill_ms, 1),
        }
    yield from bench.rows("classify-4", "ms", figures, more=more)


def loop_lag(bench: Bench) -> Iterator[Row]:
    """How late the event loop is while 16 answers are written, and how long a new question waits to be accepted.

    Both as the 99th percentile; `transformers` writes one answer after another in a thread, as a naive bot does.
    """
    duration_s = bench.sizes.lag_s

    def make(_: int) -> tuple[list[Question], list[Question]]:
        writing = [bench.workload.question(32, 256, is_sampled=True) for _ in range(_NUM_WRITING)]
        arriving = [bench.workload.question(16, 2, is_sampled=True) for _ in range(int(10 * duration_s))]
        return writing, arriving

    found: dict[str, list[Lag]] = bench.take_turns(
        "loop-lag-p99",
        bench.among(TRANSFORMERS, FEWSHOT),
        1,
        make,
        lambda engine, given: bench.call(engine, "lag", *given, duration_s),
    )
    lags = {engine: lag[0] for engine, lag in found.items() if lag}
    more = {engine: {"idle_ms": round(lag.idle_ms, 3), "num_tokens": lag.num_tokens} for engine, lag in lags.items()}
    yield from bench.rows("loop-lag-p99", "ms", {engine: [lag.busy_ms] for engine, lag in lags.items()}, more=more)
    accepted = {engine: [lag.accept_ms] for engine, lag in lags.items() if lag.accept_ms is not None}
    yield from bench.rows("accept-p99", "ms", accepted)


def first_token_while_scoring(bench: Bench) -> Iterator[Row]:
    """The time to the first token after 64 tokens: with nothing else to do, and while 10,000 tokens are scored.

    `extra_ms` is by how much the second median exceeds the first; `max_ms` is the longest that anyone waited.
    """
    sizes = bench.sizes

    def make(_: int) -> tuple[Question, list[Question], list[Question]]:
        text = bench.workload.question(LONG_TOKENS, 1)
        idle, during = (bench.workload.arrivals(sizes.num_arrivals, most) for most in (0.1, sizes.pause_s))
        return text, idle, during

    found: dict[str, list[FirstTokens]] = bench.take_turns(
        "ttft-while-scoring",
        bench.among(FEWSHOT),
        sizes.long_rounds,
        make,
        lambda engine, given: bench.call(engine, "first_tokens", *given),
    )
    for engine, rounds in found.items():
        idle = [1000 * first_s for one in rounds for first_s in one.idle_s]
        during = [1000 * first_s for one in rounds for first_s in one.scoring_s]
        facts = {
            "idle_ms": round(median(idle), 1),
            "extra_ms": round(median(during) - median(idle), 1),
            "p95_ms": round(percentile(during, 95), 1),
            "max_ms": round(max(during), 1),
            "num_arrivals": len(during),
        }
        yield from bench.rows("ttft-idle-64", "ms", {engine: [1000 * median(one.idle_s) for one in rounds]})
        medians = [1000 * median(one.scoring_s) for one in rounds]
        yield from bench.rows("ttft-while-scoring", "ms", {engine: medians}, more={engine: facts})
        p95s = [1000 * percentile(one.scoring_s, 95) for one in rounds]
        yield from bench.rows("ttft-while-scoring-p95", "ms", {engine: p95s})


def start(bench: Bench) -> Iterator[Row]:
    """From a warm start to the first answer that needs the model's thread, beyond `import torch, transformers`."""
    bench.progress.show(f"{bench.model} · start")
    settings = {"DEVICE": bench.machine.device, "PRECISION": bench.precision}
    times = measure_start(
        bench.sizes.starts,
        model=str(bench.folder),
        settings=settings,
        is_cold_counted=bench.sizes.starts == 1,
        progress=lambda number: bench.progress.show(f"{bench.model} · start · run {number} of {bench.sizes.starts}"),
    )
    more = {
        FEWSHOT: {"import_s": round(median(times.import_s), 3), "ready_s": round(median(times.start_s), 3)},
        TRANSFORMERS: {"import_s": round(median(times.import_s), 3), "ready_s": round(median(times.load_s), 3)},
    }
    figures = {TRANSFORMERS: times.load_beyond_s, FEWSHOT: times.start_beyond_s}
    yield from bench.rows("start", "s", figures, more=more)


def memory(bench: Bench) -> Iterator[Row]:
    """The most memory that a fresh process held which opened the model and answered eight conversations.

    `weights_mb` are all weights held, those that score in float32, too; `allowed_mb` is 1.2 times that and 400 MB.
    """
    questions = [replace(question, arrival_s=0.0) for question in bench.workload.conversations(8)]
    text = bench.workload.question(256, 1)
    figures: dict[str, list[float]] = {}
    more: dict[str, dict[str, Any]] = {}
    for engine, precision in ((TRANSFORMERS, "float32"), (FEWSHOT, bench.precision)):
        if engine not in bench.facts:
            continue
        bench.progress.show(f"{bench.model} · peak-memory · {engine}")
        machine = bench.machine
        try:
            found = run_apart(
                measure_memory, engine, bench.folder, machine.device, precision, machine.num_threads, questions, text
            )
        except WorkerError as e:
            bench.fail("peak-memory", engine, e)
            continue
        figures[engine] = [found.pop("peak_mb")]
        more[engine] = {key: round(value, 1) for key, value in found.items() if key.endswith("_mb")}
        if engine == FEWSHOT:
            more[engine] |= _allowed_memory(found["num_parameters"], found["precision"])
    yield from bench.rows("peak-memory", "MB", figures, more=more)


CASES: Final[Mapping[str, tuple[tuple[str, ...], Callable[[Bench], Iterator[Row]]]]] = {
    "limit": (("limit-1",), limit),
    "decode": (("decode-1",), decode),
    "few-shot": (("decode-1-fewshot",), decode_few_shot),
    "serve": (
        ("serve-8", "serve-8-answer", "serve-8-arriving", "serve-32", "serve-32-answer", "serve-32-arriving"),
        serve,
    ),
    "longer": (("longer-5",), longer),
    "ttft": (("ttft-cold-512", "ttft-warm-512"), first_token),
    "score": (("score-1024",), score),
    "classify": (("classify-4",), classify),
    "while-scoring": (
        ("ttft-idle-64", "ttft-while-scoring", "ttft-while-scoring-p95"),
        first_token_while_scoring,
    ),
    "lag": (("loop-lag-p99", "accept-p99"), loop_lag),
    "start": (("start",), start),
    "memory": (("peak-memory",), memory),
}


def answer_in_turn(questions: Sequence[Question], durations: Sequence[float]) -> list[Answer]:
    """Return the answers of a bot that takes the next question when it is done with the last one.

    The durations, in seconds, repeat where there are fewer than questions.
    """
    now = 0.0
    answers = []
    for index, question in enumerate(questions):
        now = max(now, question.arrival_s) + durations[index % len(durations)]
        waited = now - question.arrival_s
        answers.append(Answer(waited, waited, now, question.max_new_tokens))
    return answers


def _serve_rows(bench: Bench, case: str, served: Mapping[str, list[dict[str, list[Answer]]]]) -> Iterator[Row]:
    found = _by_case(served, case)
    rates = {
        engine: [sum(a.num_tokens for a in answers) / max(a.ended_s for a in answers) for answers in rounds]
        for engine, rounds in found.items()
    }
    more = {
        engine: {
            "first_token_s": round(median(mean(a.first_s for a in answers) for answers in rounds), 3),
            "last_answer_s": round(median(max(a.ended_s for a in answers) for answers in rounds), 3),
        }
        for engine, rounds in found.items()
    }
    yield from bench.rows(case, "tok/s", rates, more=more)
    means = {engine: [_mean_answer_s(answers) for answers in rounds] for engine, rounds in found.items()}
    yield from bench.rows(f"{case}-answer", "s", means)


def _by_case(served: Mapping[str, list[dict[str, list[Answer]]]], case: str) -> dict[str, list[list[Answer]]]:
    found = {engine: [cases[case] for cases in rounds if case in cases] for engine, rounds in served.items()}
    return {engine: rounds for engine, rounds in found.items() if rounds}


def _mean_answer_s(answers: Sequence[Answer]) -> float:
    return mean(answer.duration_s for answer in answers)


def _rates(answers: Sequence[Answer]) -> list[float]:
    return [answer.num_tokens / answer.duration_s for answer in answers]


def _limit_of(bench: Bench, engine: str) -> float | None:
    facts = bench.facts.get(FEWSHOT)
    num_bytes = BYTES_PER_WEIGHT.get(str(bench.facts[engine].get("precision")))
    if bench.bandwidth is None or facts is None or num_bytes is None:
        return None
    return bench.bandwidth * 1e9 / (float(facts["num_parameters"]) * num_bytes)


def _in_float32(engines: Mapping[str, object]) -> dict[str, dict[str, Any]]:
    return {engine: {"precision": "float32", "perplexity_ratio": None} for engine in engines}


def _allowed_memory(num_parameters: int, precision: str) -> dict[str, float]:
    weights_mb = num_parameters * BYTES_PER_WEIGHT.get(precision, 4) / 1e6
    scoring_mb = 0.0 if precision == "float32" else num_parameters * 4 / 1e6
    held_mb = weights_mb + scoring_mb
    return {"weights_mb": round(held_mb, 1), "allowed_mb": round(1.2 * held_mb + 400, 1)}

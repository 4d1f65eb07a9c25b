"""This engine and plain transformers, each as an object that answers the questions of the cases."""

import asyncio
import os
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.rows import percentile
from benchmarks.workloads import Question
from bot.core.prompt_parts import Prompt
from bot.core.sampling_params import SamplingParams
from bot.engine.engine import LocalEngine
from bot.engine.stream import LocalGeneration

_MAX_WAIT_S = 1200.0


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer: seconds from its question's arrival to its first token and to its end, and how many tokens it has.

    `ended_s` counts from the arrival of the first question.
    """

    first_s: float
    duration_s: float
    ended_s: float
    num_tokens: int


@dataclass(frozen=True, slots=True)
class Lag:
    """How late the event loop was (99th percentile, ms): with nothing to do, while answers are written, and to accept

    a question that arrives then.
    """

    idle_ms: float
    busy_ms: float
    accept_ms: float | None
    num_tokens: int


@dataclass(frozen=True, slots=True)
class FirstTokens:
    """Seconds to the first token of each question: while the engine did nothing else, and while it scored a text."""

    idle_s: Sequence[float]
    scoring_s: Sequence[float]


@dataclass(frozen=True, slots=True)
class Longer:
    """Seconds to draw continuations of a prompt at once, and to extend others of it by as much; the tokens of both."""

    draw_s: float
    num_drawn: int
    extend_s: float
    num_added: int

    @property
    def of_draw(self) -> float:
        """Return how many times as long a token takes that is added as one that is drawn: some end before the rest."""
        return (self.extend_s / self.num_added) / (self.draw_s / self.num_drawn)


def sampling_of(question: Question) -> SamplingParams:
    """Return the options of a question: greedy, or the bot's own."""
    if question.is_sampled:
        return SamplingParams(max_new_tokens=question.max_new_tokens, seed=question.seed)
    return SamplingParams(max_new_tokens=question.max_new_tokens, temperature=0, repetition_penalty=1.0, seed=0)


class FewshotRunner:
    """This engine through its public face."""

    def __init__(self, folder: Path, device: str, precision: str, num_threads: int) -> None:
        self._loop = asyncio.new_event_loop()
        self._stack = AsyncExitStack()
        opening = LocalEngine.open(
            folder, name=folder.name, device=device, precision=precision, num_threads=num_threads, max_waiting=128
        )
        self._engine = self._loop.run_until_complete(self._stack.enter_async_context(opening))

    def facts(self) -> dict[str, Any]:
        """Return the precision, its perplexity's ratio to that of float32 where measured, and the size."""
        info = self._engine.info
        found: dict[str, Any] = {"precision": info.precision, "num_parameters": info.num_parameters}
        for figures in info.precision_figures:
            if figures.precision == info.precision and figures.perplexity_ratio is not None:
                found["perplexity_ratio"] = round(figures.perplexity_ratio, 5)
        return found

    def answer(self, question: Question) -> Answer:
        """Answer one question."""
        return self.serve([question])[0]

    def serve(self, questions: Sequence[Question]) -> list[Answer]:
        """Answer all questions, each when it arrives."""

        async def serve_all() -> list[Answer]:
            started = time.perf_counter()
            return list(await asyncio.gather(*(self._answer(question, started) for question in questions)))

        return self._loop.run_until_complete(serve_all())

    def lengthen(self, prompt: Question, options: Sequence[Question], is_drawn_first: bool) -> Longer:
        """Extend `options`, continuations of `prompt`, and draw as many new ones; they have been read before."""
        return self._loop.run_until_complete(self._lengthen(prompt, options, is_drawn_first))

    def score(self, question: Question) -> float:
        """Score the text; return the seconds."""
        started = time.perf_counter()
        scores = self._loop.run_until_complete(self._engine.score(question.text))
        duration_s = time.perf_counter() - started
        if len(scores) != len(question.ids):
            raise RuntimeError(f"{len(scores)} of {len(question.ids)} tokens were scored")
        return duration_s

    def prefill(self, question: Question) -> float:
        """Read the prompt once, in the precision of scoring; return the seconds."""
        started = time.perf_counter()
        self._loop.run_until_complete(self._engine.next_tokens(Prompt.plain(question.text), num=1))
        return time.perf_counter() - started

    def classify(self, question: Question, labels: Sequence[str]) -> float:
        """Score each label after the prompt; return the seconds."""
        started = time.perf_counter()
        self._loop.run_until_complete(self._engine.score_continuations(Prompt.plain(question.text), labels))
        return time.perf_counter() - started

    def lag(self, questions: Sequence[Question], arrivals: Sequence[Question], duration_s: float) -> Lag:
        """Measure the event loop while all `questions` are answered again and again, and `arrivals` come in between.

        The arrivals come evenly over the time, at an instant that is fixed beforehand.
        """
        return self._loop.run_until_complete(self._lag(questions, arrivals, duration_s))

    def first_tokens(self, text: Question, idle: Sequence[Question], during: Sequence[Question]) -> FirstTokens:
        """Answer the questions `idle` in turn, then those of `during` while `text` is scored over and over."""
        return self._loop.run_until_complete(self._first_tokens(text, idle, during))

    def close(self) -> None:
        """Close the engine."""
        self._loop.run_until_complete(self._stack.aclose())
        self._loop.close()

    async def _answer(self, question: Question, started: float) -> Answer:
        arrived = started + question.arrival_s
        await asyncio.sleep(max(0.0, arrived - time.perf_counter()))
        first = None
        async with self._engine.generate(
            Prompt.plain(question.text), sampling_of(question), timeout_s=_MAX_WAIT_S
        ) as generation:
            async for _ in generation:
                first = first or time.perf_counter()
        ended = time.perf_counter()
        num_tokens = len(generation.completions[0].token_ids)
        return Answer((first or ended) - arrived, ended - arrived, ended - started, num_tokens)

    async def _lengthen(self, prompt: Question, options: Sequence[Question], is_drawn_first: bool) -> Longer:
        texts, params = [Prompt.plain(option.text) for option in options], sampling_of(prompt)
        await _write(self._engine.generate_batch(texts, [replace(params, max_new_tokens=1)] * len(texts)))
        drawn = self._engine.generate(Prompt.plain(prompt.text), replace(params, n=len(options)))
        longer = self._engine.generate_batch(texts, [params] * len(texts))
        took_s = {}
        for generation in (drawn, longer) if is_drawn_first else (longer, drawn):
            started = time.perf_counter()
            await _write(generation)
            took_s[generation] = time.perf_counter() - started
        return Longer(took_s[drawn], _count_tokens(drawn), took_s[longer], _count_tokens(longer))

    async def _first_tokens(self, text: Question, idle: Sequence[Question], during: Sequence[Question]) -> FirstTokens:
        idle_s = [(await self._answer(question, time.perf_counter())).first_s for question in idle]
        scoring = asyncio.create_task(self._keep_scoring(text.text))
        scoring_s = [(await self._answer(question, time.perf_counter())).first_s for question in during]
        scoring.cancel()
        (result,) = await asyncio.gather(scoring, return_exceptions=True)
        if isinstance(result, Exception):
            raise result
        return FirstTokens(idle_s, scoring_s)

    async def _keep_scoring(self, text: str) -> None:
        while True:
            await self._engine.score(text)

    async def _lag(self, questions: Sequence[Question], arrivals: Sequence[Question], duration_s: float) -> Lag:
        idle = await measure_lateness(time.perf_counter() + min(1.0, duration_s / 4))
        started = time.perf_counter()
        end = started + duration_s
        num_tokens = 0
        accepted_s: list[float] = []

        async def keep_writing(question: Question) -> None:
            nonlocal num_tokens
            while time.perf_counter() < end:
                async with self._engine.generate(
                    Prompt.plain(question.text), sampling_of(question), timeout_s=_MAX_WAIT_S
                ) as generation:
                    async for _ in generation:
                        num_tokens += 1
                        if time.perf_counter() > end:
                            return

        async def arrive(question: Question, arrived: float) -> None:
            await asyncio.sleep(max(0.0, arrived - time.perf_counter()))
            async with self._engine.generate(
                Prompt.plain(question.text), sampling_of(question), timeout_s=_MAX_WAIT_S
            ) as generation:
                accepted_s.append(time.perf_counter() - arrived)
                async for _ in generation:
                    if time.perf_counter() > end:
                        return

        watching = asyncio.create_task(measure_lateness(end))
        await asyncio.gather(
            *(keep_writing(question) for question in questions),
            *(
                arrive(question, started + duration_s * (index + 0.5) / len(arrivals))
                for index, question in enumerate(arrivals)
            ),
        )
        busy = await watching
        return Lag(percentile(idle, 99), percentile(busy, 99), percentile(accepted_s, 99) * 1000, num_tokens)


async def _write(generation: LocalGeneration) -> None:
    async with generation:
        async for _ in generation:
            pass


def _count_tokens(generation: LocalGeneration) -> int:
    return sum(len(completion.token_ids) for completion in generation.completions)


class TransformersRunner:
    """transformers: `generate` as its documentation shows it, one question after another or padded to one batch."""

    def __init__(self, folder: Path, device: str, precision: str, num_threads: int) -> None:
        # Before transformers is imported: with a dead network its hub look-ups can hang for ever.
        os.environ["HF_HUB_OFFLINE"] = "1"
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer
        from transformers.utils import logging

        logging.set_verbosity_error()
        logging.disable_progress_bar()
        torch.set_num_threads(num_threads)
        self._torch = torch
        self._precision = precision
        self._device = torch.device(
            "cuda" if device == "auto" and torch.cuda.is_available() else device.replace("auto", "cpu")
        )
        self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, padding_side="left")
        if self._tokenizer.pad_token_id is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token
        self._model = AutoModelForCausalLM.from_pretrained(
            folder, local_files_only=True, dtype=getattr(torch, precision)
        )
        self._model = self._model.eval().to(self._device)

    def facts(self) -> dict[str, Any]:
        """Return the precision."""
        return {"precision": self._precision}

    def answer(self, question: Question) -> Answer:
        """Answer one question."""
        return self.serve_batch([question])[0]

    def serve_batch(self, questions: Sequence[Question]) -> list[Answer]:
        """Answer all questions as one padded batch, which ends when the longest answer does."""
        torch = self._torch
        started = time.perf_counter()
        max_new_tokens = max(question.max_new_tokens for question in questions)
        given = self._tokenizer([question.text for question in questions], return_tensors="pt", padding=True)
        given = given.to(self._device)
        options: dict[str, Any] = {"do_sample": False}
        if questions[0].is_sampled:
            params = sampling_of(questions[0])
            options = {
                "do_sample": True,
                "temperature": params.temperature,
                "top_k": params.top_k,
                "top_p": params.top_p,
                "repetition_penalty": params.repetition_penalty,
            }
            torch.manual_seed(questions[0].seed)
        with torch.inference_mode():
            output = self._model.generate(
                input_ids=given["input_ids"],
                attention_mask=given["attention_mask"],
                max_new_tokens=max_new_tokens,
                pad_token_id=self._tokenizer.pad_token_id,
                **options,
            )
        num_new = output.shape[1] - given["input_ids"].shape[1]
        self._tokenizer.batch_decode(output[:, -num_new:])
        duration_s = time.perf_counter() - started
        return [
            Answer(duration_s, duration_s, duration_s, min(num_new, question.max_new_tokens)) for question in questions
        ]

    def score(self, question: Question) -> float:
        """Score each token of the text; return the seconds."""
        torch = self._torch
        started = time.perf_counter()
        start = self._tokenizer.bos_token_id
        ids = torch.tensor([[start, *self._ids(question.text)]], device=self._device)
        with torch.inference_mode():
            logits = self._model(ids[:, :-1]).logits.float()
            logprobs = logits.log_softmax(dim=-1).gather(-1, ids[:, 1:, None])
            logprobs.flatten().tolist()
        return time.perf_counter() - started

    def classify(self, question: Question, labels: Sequence[str]) -> float:
        """Score each label after the prompt, each with the prompt read again; return the seconds."""
        torch = self._torch
        started = time.perf_counter()
        num_prompt = len(question.ids)
        for label in labels:
            ids = torch.tensor([[*question.ids, *self._ids(label)]], device=self._device)
            with torch.inference_mode():
                logits = self._model(ids[:, :-1]).logits[:, num_prompt - 1 :].float()
                float(logits.log_softmax(dim=-1).gather(-1, ids[:, num_prompt:, None]).sum())
        return time.perf_counter() - started

    def lag(self, questions: Sequence[Question], arrivals: Sequence[Question], duration_s: float) -> Lag:
        """Measure the event loop of a naive bot, which answers one question after another in a thread."""
        return asyncio.run(self._lag(questions, duration_s))

    async def _lag(self, questions: Sequence[Question], duration_s: float) -> Lag:
        idle = await measure_lateness(time.perf_counter() + min(1.0, duration_s / 4))
        end = time.perf_counter() + duration_s
        num_tokens = 0

        def keep_writing() -> None:
            nonlocal num_tokens
            while time.perf_counter() < end:
                for question in questions:
                    num_tokens += self.answer(question).num_tokens
                    if time.perf_counter() > end:
                        return

        busy, _ = await asyncio.gather(measure_lateness(end), asyncio.to_thread(keep_writing))
        return Lag(percentile(idle, 99), percentile(busy, 99), None, num_tokens)

    def _ids(self, text: str) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])


async def measure_lateness(end: float) -> list[float]:
    """Sleep for 1 ms again and again until the instant `end`; return how many ms each one took too long."""
    lateness = []
    while (before := time.perf_counter()) < end:
        await asyncio.sleep(0.001)
        lateness.append((time.perf_counter() - before) * 1000 - 1)
    return lateness


def measure_memory(
    runner: str,
    folder: Path,
    device: str,
    precision: str,
    num_threads: int,
    questions: Sequence[Question],
    text: Question,
) -> dict[str, Any]:
    """Open an engine in this fresh process and answer `questions`; return the most memory held so far, in MB.

    `peak_mb` is that, `peak_after_scoring_mb` the same after `text` was scored too; on a GPU `device_mb` is the most
    that tensors took there.
    """
    made: Any = {"fewshot": FewshotRunner, "transformers": TransformersRunner}[runner](
        folder, device, precision, num_threads
    )
    if runner == "fewshot":
        made.serve(questions)
    else:
        for question in questions:
            made.answer(question)
    found = {"peak_mb": peak_memory_mb(), **made.facts()}
    made.score(text)
    found["peak_after_scoring_mb"] = peak_memory_mb()
    torch = sys.modules["torch"]
    if torch.cuda.is_available():
        found["device_mb"] = torch.cuda.max_memory_allocated() / 1e6
    if runner == "fewshot":
        made.close()
    return found


def peak_memory_mb() -> float:
    """Return the most memory that this process ever held, in MB of 10^6 bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would count what the parent held at the fork
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6

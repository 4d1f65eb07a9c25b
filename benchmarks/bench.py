"""The engines of one model, each in its process, measured in turn so that all see the same machine."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from benchmarks.engines import FewshotRunner, TransformersRunner
from benchmarks.peers import CTRANSLATE2, LLAMA_CPP, CTranslate2Runner, LlamaCppRunner, missing_package
from benchmarks.rows import Row
from benchmarks.workers import Progress, Worker, WorkerError
from benchmarks.workloads import Question, Sizes, Workload

FEWSHOT: Final = "fewshot"
FEWSHOT_FLOAT32: Final = "fewshot-float32"
TRANSFORMERS: Final = "transformers"
TRANSFORMERS_BFLOAT16: Final = "transformers-bfloat16"
ENGINES: Final = (TRANSFORMERS, TRANSFORMERS_BFLOAT16, FEWSHOT, FEWSHOT_FLOAT32, CTRANSLATE2, LLAMA_CPP)

GivenT = TypeVar("GivenT")
ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True)
class Machine:
    """Where and how all engines run: device as the engine names it, threads of each engine on the processor."""

    device: str
    num_threads: int

    @property
    def is_gpu(self) -> bool:
        """Say whether a graphics card is asked for by name."""
        return self.device.startswith(("cuda", "mps"))


@dataclass(slots=True)
class Bench:
    """One model with the engines that run it; open and close it with `with`."""

    model: str
    folder: Path
    cache: Path
    machine: Machine
    precision: str
    wanted: Sequence[str]
    sizes: Sizes
    progress: Progress
    failures: list[str]
    bandwidth: float | None = None
    facts: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    workload: Workload = field(init=False)
    _workers: dict[str, Worker] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.workload = Workload(self.folder, scale=self.sizes.scale)

    def __enter__(self) -> "Bench":
        self.progress.show(f"{self.model} · opening the engines")
        try:
            # This engine first and alone: it may measure its modes when it opens a model for the first time.
            for names in ((FEWSHOT,), (name for name in ENGINES if name != FEWSHOT)):
                starting = {name: worker for name in names if (worker := self._start(name)) is not None}
                for name, worker in starting.items():
                    self._open(name, worker)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers.values():
            worker.close()

    @property
    def chosen_precision(self) -> str:
        """Return the precision that this engine runs in."""
        return str(self.facts[FEWSHOT]["precision"]) if FEWSHOT in self.facts else self.precision

    def among(self, *names: str) -> list[str]:
        """Return those of the engines `names` that run here."""
        return [name for name in names if name in self._workers]

    def call(self, engine: str, method: str, *arguments: Any) -> Any:
        """Run a method of an engine. Raises WorkerError."""
        return self._workers[engine].call(method, *arguments)

    def take_turns(
        self,
        case: str,
        engines: Iterable[str],
        rounds: int,
        make: Callable[[int], GivenT],
        measure: Callable[[str, GivenT], ResultT],
    ) -> dict[str, list[ResultT]]:
        """Let each engine answer what `make` makes for a round, `rounds` times; return all results by engine.

        An engine that fails is left out from then on.
        """
        results: dict[str, list[ResultT]] = {name: [] for name in engines}
        for number in range(rounds):
            given = make(number)
            for name in self._rotated(list(results), number):
                self.progress.show(f"{self.model} · {case} · round {number + 1} of {rounds} · {name}")
                try:
                    results[name].append(measure(name, given))
                except WorkerError as e:
                    self.fail(case, name, e)
                    del results[name]
        return results

    def rows(
        self,
        case: str,
        unit: str,
        figures: Mapping[str, Sequence[float]],
        *,
        baseline: Sequence[float] | None = None,
        more: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> list[Row]:
        """Return a row for each engine of `figures`; the ratios are to transformers in them, or to `baseline`."""
        from statistics import median

        found = baseline or figures.get(TRANSFORMERS)
        rows = []
        for engine, values in figures.items():
            if values:
                facts = {**self.facts.get(engine.removesuffix("-batched"), {}), **(more or {}).get(engine, {})}
                facts = {key: value for key, value in facts.items() if value is not None and key != "num_parameters"}
                rows.append(Row(self.model, case, engine, unit, tuple(values), median(found) if found else None, facts))
        return rows

    def fail(self, case: str, engine: str, error: Exception) -> None:
        """Note that an engine failed in a case; the run goes on without it."""
        text = f"{self.model} · {case} · {engine} failed: {error}"
        self.progress.note(text)
        if engine not in (CTRANSLATE2, LLAMA_CPP):
            self.failures.append(text)

    def _start(self, name: str) -> Worker | None:
        """Start the process of an engine; None where it has no place in this run."""
        if name not in self.wanted:
            return None
        if name == FEWSHOT_FLOAT32 and self.chosen_precision == "float32":
            return None
        if name == TRANSFORMERS_BFLOAT16 and not self.machine.is_gpu:
            return None
        if name in (CTRANSLATE2, LLAMA_CPP):
            package = missing_package(name)
            if package is not None or self.machine.is_gpu:
                reason = "only runs on the processor here" if package is None else f"is left out: no {package} here"
                self.progress.note(f"{name} {reason}")
                return None
        device, num_threads = self.machine.device, self.machine.num_threads
        makers: dict[str, tuple[Any, ...]] = {
            TRANSFORMERS: (TransformersRunner, self.folder, device, "float32", num_threads),
            TRANSFORMERS_BFLOAT16: (TransformersRunner, self.folder, device, "bfloat16", num_threads),
            FEWSHOT: (FewshotRunner, self.folder, device, self.precision, num_threads),
            FEWSHOT_FLOAT32: (FewshotRunner, self.folder, device, "float32", num_threads),
            CTRANSLATE2: (CTranslate2Runner, self.folder, self.cache, num_threads),
            LLAMA_CPP: (LlamaCppRunner, self.folder, self.cache, num_threads),
        }
        return Worker(*makers[name])

    def _open(self, name: str, worker: Worker) -> None:
        try:
            worker.wait_until_ready()
            self.facts[name] = worker.call("facts")
            worker.call("answer", self._warm_up())
        except WorkerError as e:
            worker.close()
            self.fail("opening", name, e)
            return
        self._workers[name] = worker

    def _warm_up(self) -> Question:
        return self.workload.question(16, 4)

    @staticmethod
    def _rotated(names: list[str], number: int) -> list[str]:
        at = number % len(names) if names else 0
        return [*names[at:], *names[:at]]

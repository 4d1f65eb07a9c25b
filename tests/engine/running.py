"""Run requests without a thread, and the same ones through transformers alone: what both write must be equal."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from bot.core.prompt_parts import Prompt
from bot.core.sampling_params import OPTIONS, SamplingParams
from bot.engine.loaded_model import LoadedModel
from bot.engine.loading import load_model
from bot.engine.requests.generation import plan_generation, plan_job
from bot.engine.requests.work import Job, Work
from bot.engine.step_loop import StepLoop


@dataclass(frozen=True)
class Pair:
    """A model as the bot runs it, and as transformers does."""

    ours: LoadedModel
    theirs: Any


def load_pair(folder: Path, *, device: str = "cpu", precision: str = "float32") -> Pair:
    """Load the model in `folder` twice."""
    ours = load_model(folder, name=folder.name, device=device, precision=precision, num_threads=1, kv_cache_mb=16)
    theirs = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
    return Pair(ours, theirs.eval().to(ours.device))


class Ends:
    """How the requests of a step loop ended."""

    def __init__(self) -> None:
        self.results: dict[Any, object] = {}
        self.errors: dict[Any, BaseException] = {}

    def __call__(self, work: Any, result: object, error: BaseException | None) -> None:
        if error is None:
            self.results[work] = result
        else:
            self.errors[work] = error


class PlainWork(Work[Any, Any]):
    """A request that no event loop waits for."""

    def __init__(self, priority: Any = "chat") -> None:
        self.priority = priority
        self.deadline = None
        self.is_cancelled = False
        self.is_alone = False


def run_job(job: Job[Any]) -> Any:
    """Run one job alone to its end and return its result. Raises what it raises."""
    ends = Ends()
    loop = StepLoop(ends)
    work = PlainWork()
    with torch.inference_mode():
        if not loop.start(work, job):
            raise RuntimeError("There is no room for the job.")
        while loop.num_running:
            loop.step()
    if work in ends.errors:
        raise ends.errors[work]
    return ends.results[work]


def run_engine(model: LoadedModel, text: str, params: SamplingParams) -> list[list[int]]:
    """Return the tokens of each continuation as the step loop writes them."""
    plan = plan_generation(model, Prompt.plain(text), params, heal=False)
    result = run_job(plan_job(model, plan, params, lambda delta: None))
    return [list(completion.token_ids) for completion in result.completions]


def run_transformers(pair: Pair, text: str, params: SamplingParams) -> list[list[int]]:
    """Return the tokens of each continuation as `transformers.generate` writes them, alone; it writes them once."""
    return [list(ids) for ids in _written_by_transformers(pair, text, params)]


@cache
def _written_by_transformers(pair: Pair, text: str, params: SamplingParams) -> list[list[int]]:
    ids = torch.tensor([pair.ours.chat_tokenizer(text).input_ids], device=pair.theirs.device)
    if params.is_sampled:
        torch.manual_seed(params.seed or 0)
    eos_ids = pair.ours.eos_ids
    pad = {"pad_token_id": eos_ids[0]} if eos_ids else {}
    rows = pair.theirs.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=params.max_new_tokens,
        num_return_sequences=params.n,
        num_beams=params.num_beams,
        **choosing_options(params),
        **pad,
    )
    return [cut_after_eos(row[ids.shape[1] :].tolist(), eos_ids) for row in rows]


def choosing_options(params: SamplingParams) -> dict[str, Any]:
    """Return what GenerationConfig takes for the choice of tokens: every option of the table that is about it."""
    roles = ("processor", "warper") if params.is_sampled else ("processor",)
    options = {option.name: getattr(params, option.name) for option in OPTIONS.values() if option.role in roles}
    return {"do_sample": params.is_sampled, **options}


def cut_after_eos(ids: list[int], eos_ids: tuple[int, ...]) -> list[int]:
    """Return `ids` up to the first end token."""
    ends = [at for at, token_id in enumerate(ids) if token_id in eos_ids]
    return ids[: ends[0] + 1] if ends else ids

"""CTranslate2 and llama.cpp, where they are installed (the extra `bench`); converted models are kept in the cache."""

import importlib.util
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.engines import Answer, sampling_of
from benchmarks.workloads import Question

CTRANSLATE2: Final = "ctranslate2-int8"
LLAMA_CPP: Final = "llama.cpp-q8_0"
# Of llama.cpp with many sequences: how many, the tokens of each, and those read in one step.
MAX_SEQUENCES: Final = 32
_MAX_SEQUENCE_TOKENS: Final = 256
_MAX_BATCH_TOKENS: Final = 2048


def missing_package(engine: str) -> str | None:
    """Return the package that `engine` needs and that is not installed; None where it can run."""
    package, requirement = {CTRANSLATE2: ("ctranslate2", "ctranslate2"), LLAMA_CPP: ("llama_cpp", "llama-cpp-python")}[
        engine
    ]
    return None if importlib.util.find_spec(package) else requirement


class CTranslate2Runner:
    """CTranslate2 with int8 weights."""

    def __init__(self, folder: Path, cache: Path, num_threads: int) -> None:
        import ctranslate2  # type: ignore[import-untyped, unused-ignore]
        from tokenizers import Tokenizer

        converted = cache / "ctranslate2-int8" / folder.name
        if _is_older(converted / "model.bin", folder):
            _convert_for_ctranslate2(folder, converted)
        self._generator = ctranslate2.Generator(
            str(converted), device="cpu", compute_type="int8", inter_threads=1, intra_threads=num_threads
        )
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._version = ctranslate2.__version__

    def facts(self) -> dict[str, Any]:
        """Return the precision and the version."""
        return {"precision": "int8", "version": self._version}

    def answer(self, question: Question) -> Answer:
        """Answer one question."""
        return self.serve_batch([question])[0]

    def serve_batch(self, questions: Sequence[Question]) -> list[Answer]:
        """Answer all questions as one batch, which ends when the longest answer does."""
        started = time.perf_counter()
        max_new_tokens = max(question.max_new_tokens for question in questions)
        options: dict[str, Any] = {"sampling_topk": 1}
        if questions[0].is_sampled:
            params = sampling_of(questions[0])
            options = {
                "sampling_topk": params.top_k,
                "sampling_topp": params.top_p,
                "sampling_temperature": params.temperature,
                "repetition_penalty": params.repetition_penalty,
            }
        results = self._generator.generate_batch(
            [[self._tokenizer.id_to_token(token_id) for token_id in question.ids] for question in questions],
            max_length=max_new_tokens,
            min_length=max_new_tokens,
            include_prompt_in_result=False,
            **options,
        )
        self._tokenizer.decode_batch([result.sequences_ids[0] for result in results])
        duration_s = time.perf_counter() - started
        return [
            Answer(duration_s, duration_s, duration_s, min(len(result.sequences_ids[0]), question.max_new_tokens))
            for question, result in zip(questions, results, strict=True)
        ]


class LlamaCppRunner:
    """llama.cpp with q8_0 weights, through llama-cpp-python."""

    def __init__(self, folder: Path, cache: Path, num_threads: int) -> None:
        import llama_cpp

        quantized = cache / "llama.cpp" / f"{folder.name}.q8_0.gguf"
        if _is_older(quantized, folder):
            _quantize_for_llama_cpp(folder, quantized)
        self._llama = llama_cpp.Llama(
            str(quantized), n_ctx=1024, n_batch=512, n_threads=num_threads, n_threads_batch=num_threads, verbose=False
        )
        self._library = llama_cpp
        self._num_threads = num_threads
        self._batched: _LlamaBatch | None = None

    def facts(self) -> dict[str, Any]:
        """Return the precision and the version."""
        return {"precision": "q8_0", "version": self._library.__version__}

    def answer(self, question: Question) -> Answer:
        """Answer one question."""
        params = sampling_of(question)
        started = time.perf_counter()
        first = None
        written: list[int] = []
        for token_id in self._llama.generate(
            list(question.ids),
            temp=params.temperature,
            top_k=params.top_k,
            top_p=params.top_p,
            min_p=0.0,
            repeat_penalty=params.repetition_penalty,
        ):
            first = first or time.perf_counter()
            written.append(token_id)
            if len(written) >= question.max_new_tokens:
                break
        self._llama.detokenize(written)
        ended = time.perf_counter()
        return Answer((first or ended) - started, ended - started, ended - started, len(written))

    def serve(self, questions: Sequence[Question]) -> list[Answer]:
        """Answer all questions at once; each ends when it has its tokens."""
        if self._batched is None:
            self._batched = _LlamaBatch(self._library, self._llama.model, self._num_threads)
        started = time.perf_counter()
        firsts, ends, written = self._batched.write(questions)
        return [
            Answer(first - started, end - started, end - started, len(tokens))
            for first, end, tokens in zip(firsts, ends, written, strict=True)
        ]


class _LlamaBatch:
    """Many sequences in one llama.cpp context, a token each in a step, as its server does it."""

    def __init__(self, library: Any, model: Any, num_threads: int) -> None:
        self._library = library
        self._num_tokens = library.llama_vocab_n_tokens(library.llama_model_get_vocab(model))
        params = library.llama_context_default_params()
        params.n_ctx = MAX_SEQUENCES * _MAX_SEQUENCE_TOKENS
        params.n_batch = _MAX_BATCH_TOKENS
        params.n_seq_max = MAX_SEQUENCES
        params.n_threads = params.n_threads_batch = num_threads
        self._context = library.llama_init_from_model(model, params)
        if not self._context:
            raise RuntimeError("llama.cpp made no context for many sequences")
        self._batch = library.llama_batch_init(_MAX_BATCH_TOKENS, 0, 1)

    def write(self, questions: Sequence[Question]) -> tuple[list[float], list[float], list[list[int]]]:
        """Return when each answer had its first token and ended (perf_counter), and its tokens."""
        library = self._library
        library.llama_memory_clear(library.llama_get_memory(self._context), True)
        samplers = [self._make_sampler(question) for question in questions]
        written: list[list[int]] = [[] for _ in questions]
        firsts, ends = [0.0] * len(questions), [0.0] * len(questions)
        waiting = list(range(len(questions)))
        running: list[int] = []
        while waiting or running:
            reads = {at: (len(questions[at].ids) + len(written[at]) - 1, written[at][-1:]) for at in running}
            room = _MAX_BATCH_TOKENS - len(running)
            while waiting and len(questions[waiting[0]].ids) <= room:
                at = waiting.pop(0)
                reads[at] = (0, list(questions[at].ids))
                room -= len(questions[at].ids)
            places = self._decode(reads)
            now = time.perf_counter()
            for at, place in places.items():
                written[at].append(library.llama_sampler_sample(samplers[at], self._context, place))
                firsts[at] = firsts[at] or now
                if len(written[at]) >= questions[at].max_new_tokens:
                    ends[at] = now
            running = [at for at in reads if not ends[at]]
        for sampler in samplers:
            library.llama_sampler_free(sampler)
        return firsts, ends, written

    def _decode(self, reads: dict[int, tuple[int, list[int]]]) -> dict[int, int]:
        """Read each sequence's new tokens from a position on; return where in the batch its last one stands."""
        batch = self._batch
        batch.n_tokens = 0
        places = {}
        for sequence, (start, tokens) in reads.items():
            for offset, token in enumerate(tokens):
                at = batch.n_tokens
                batch.token[at] = token
                batch.pos[at] = start + offset
                batch.n_seq_id[at] = 1
                batch.seq_id[at][0] = sequence
                batch.logits[at] = offset == len(tokens) - 1
                batch.n_tokens += 1
            places[sequence] = batch.n_tokens - 1
        status = self._library.llama_decode(self._context, batch)
        if status != 0:
            raise RuntimeError(f"llama.cpp could not decode: {status}")
        return places

    def _make_sampler(self, question: Question) -> Any:
        library = self._library
        params = sampling_of(question)
        chain = library.llama_sampler_chain_init(library.llama_sampler_chain_default_params())
        if not question.is_sampled:
            library.llama_sampler_chain_add(chain, library.llama_sampler_init_greedy())
            return chain
        for sampler in (
            library.llama_sampler_init_penalties(self._num_tokens, 64, params.repetition_penalty, 0.0, 0.0),
            library.llama_sampler_init_top_k(params.top_k),
            library.llama_sampler_init_top_p(params.top_p, 1),
            library.llama_sampler_init_temp(params.temperature),
            library.llama_sampler_init_dist(question.seed),
        ):
            library.llama_sampler_chain_add(chain, sampler)
        return chain


def _is_older(converted: Path, folder: Path) -> bool:
    """Say whether a converted model is missing or older than the folder that it was made from."""
    return not converted.exists() or converted.stat().st_mtime < (folder / "config.json").stat().st_mtime


def _convert_for_ctranslate2(folder: Path, target: Path) -> None:
    import ctranslate2

    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    ctranslate2.converters.TransformersConverter(str(folder), low_cpu_mem_usage=True).convert(
        str(partial), quantization="int8", force=True
    )
    _drop(target)
    partial.replace(target)


def _quantize_for_llama_cpp(folder: Path, target: Path) -> None:
    import llama_cpp

    from benchmarks.gguf_files import write_gguf

    target.parent.mkdir(parents=True, exist_ok=True)
    whole = target.with_suffix(".f32")
    partial = target.with_suffix(".partial")
    write_gguf(folder, whole)
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0
    with llama_cpp._utils.suppress_stdout_stderr(disable=False):
        status = llama_cpp.llama_model_quantize(str(whole).encode(), str(partial).encode(), params)
    whole.unlink()
    if status != 0:
        raise RuntimeError(f"llama.cpp could not quantise {folder.name}: {status}")
    partial.replace(target)


def _drop(folder: Path) -> None:
    import shutil

    shutil.rmtree(folder, ignore_errors=True)

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
        self._version = llama_cpp.__version__

    def facts(self) -> dict[str, Any]:
        """Return the precision and the version."""
        return {"precision": "q8_0", "version": self._version}

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

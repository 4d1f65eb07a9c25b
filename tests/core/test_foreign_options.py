import re

import pytest
from transformers import GenerationConfig

from bot.core.foreign_options import _ADVICE, advise_option
from bot.core.sampling_params import OPTIONS

NOT_OPTIONS = {"transformers_version", "_from_model_config"}


def test_every_generation_option_of_transformers_is_ours_or_has_advice() -> None:
    # Those that transformers adds to the object itself, and those that only its methods know.
    names = {name for name in vars(GenerationConfig()) if name not in NOT_OPTIONS}
    unknown = sorted(name for name in names if name not in OPTIONS and advise_option(name) is None)
    assert len(unknown) <= 3, f"a newer transformers may have new ones, but not so many: {unknown}"


def test_advice_names_only_options_that_exist_and_none_of_ours_needs_it() -> None:
    for name, advice in _ADVICE.items():
        assert name not in OPTIONS
        assert set(re.findall(r"<(\w+)>", advice)) <= {*OPTIONS, "stop"}, name
        assert advice.endswith(".")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("max_length", "Use --max_new_tokens, which counts the answer without the prompt."),
        ("num-return-sequences", "Use --n, the number of answers."),
        ("do_sample", "Use --temperature: above 0 samples, and 0 always takes the likeliest token."),
    ],
)
def test_advice_is_spelled_for_its_reader(name: str, sentence: str) -> None:
    assert advise_option(name, lambda own: f"--{own}") == sentence
    assert advise_option("nonsense") is None

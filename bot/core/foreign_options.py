"""Generation options of other programs, by their names there, and what to use for them here."""

import re
from collections.abc import Callable, Mapping
from typing import Final

_NO_LENGTH: Final = "A shortest length can't be set. <stop> ends an answer, and <max_new_tokens> is its longest length."
_PENALTY: Final = "Use <repetition_penalty> or <no_repeat_ngram_size>, which make the model repeat itself less."
_CUT: Final = "Use <min_p>, <top_p> or <top_k>, which also drop unlikely tokens."
_NO_WORDS: Final = "Words can't be forbidden or forced here. Say in the text or in the template what you want."
_DIVERSE: Final = "Use <n> with a higher <temperature> to get several different answers."
_ENDS: Final = "The model's own end tokens always end an answer. Use <stop> to end it earlier."
_BEAMS: Final = (
    "Beam search here compares continuations by their mean log-probability and stops when none can get better."
    " Only <num_beams> can be set."
)
_SPEED: Final = "It changes only how fast the model computes, and the bot chooses that itself. Leave it out."
_RAW: Final = "Leave it out. In a terminal started with --json, answers come with their log-probabilities."

# What <name> stands for is an option of this program. The names are those of GenerationConfig of transformers, of the
# OpenAI API, and of vLLM and llama.cpp.
_ADVICE: Final[Mapping[str, str]] = {
    "max_length": "Use <max_new_tokens>, which counts the answer without the prompt.",
    **dict.fromkeys(("max_tokens", "n_predict", "num_predict"), "Use <max_new_tokens>."),
    **dict.fromkeys(("min_length", "min_new_tokens", "min_tokens"), _NO_LENGTH),
    "max_time": "The operator sets the time limit of an answer. Use <max_new_tokens> for a shorter one.",
    **dict.fromkeys(("num_return_sequences", "best_of", "num_samples"), "Use <n>, the number of answers."),
    "do_sample": "Use <temperature>: above 0 samples, and 0 always takes the likeliest token.",
    **dict.fromkeys(("length_penalty", "early_stopping", "low_memory", "renormalize_logits"), _BEAMS),
    **dict.fromkeys(("use_beam_search", "beam_width"), "Use <num_beams>."),
    **dict.fromkeys(("num_beam_groups", "diversity_penalty"), _DIVERSE),
    **dict.fromkeys(("typical_p", "epsilon_cutoff", "eta_cutoff", "top_a", "tfs_z", "top_h"), _CUT),
    "encoder_repetition_penalty": _PENALTY,
    **dict.fromkeys(("frequency_penalty", "presence_penalty", "repeat_penalty", "penalty_alpha"), _PENALTY),
    **dict.fromkeys(("encoder_no_repeat_ngram_size", "no_repeat_ngram"), "Use <no_repeat_ngram_size>."),
    **dict.fromkeys(
        (
            "bad_words_ids",
            "force_words_ids",
            "constraints",
            "sequence_bias",
            "suppress_tokens",
            "begin_suppress_tokens",
            "logit_bias",
        ),
        _NO_WORDS,
    ),
    **dict.fromkeys(("stop_strings", "stop_sequences", "stop_words"), "Use <stop>, once for each text."),
    **dict.fromkeys(
        ("eos_token_id", "forced_eos_token_id", "exponential_decay_length_penalty", "ignore_eos"),
        _ENDS,
    ),
    **dict.fromkeys(
        ("pad_token_id", "bos_token_id", "decoder_start_token_id", "forced_bos_token_id"),
        "Tokens that only mark where a text starts or ends are set by the model. Leave it out.",
    ),
    **dict.fromkeys(("random_seed", "manual_seed"), "Use <seed>."),
    "temp": "Use <temperature>.",
    "mirostat": _CUT,
    "token_healing": "A half-typed last word is always finished where it helps. Leave it out.",
    **dict.fromkeys(("guidance_scale", "dola_layers"), "Use <temperature> or <min_p> to make the model surer."),
    "watermarking_config": "Answers are not watermarked here. Leave it out.",
    "remove_invalid_values": "An answer with invalid numbers is always an error here. Leave it out.",
    **dict.fromkeys(
        (
            "output_attentions",
            "output_hidden_states",
            "output_scores",
            "output_logits",
            "return_dict_in_generate",
            "logprobs",
        ),
        _RAW,
    ),
    **dict.fromkeys(
        (
            "use_cache",
            "cache_implementation",
            "cache_config",
            "max_cache_len",
            "use_mtp",
            "is_assistant",
            "num_assistant_tokens",
            "num_assistant_tokens_schedule",
            "assistant_confidence_threshold",
            "assistant_early_exit",
            "assistant_lookbehind",
            "assistant_ensemble_weight",
            "target_lookbehind",
            "prompt_lookup_num_tokens",
            "max_matching_ngram_size",
            "speculation_type",
            "compile_config",
            "disable_compile",
            "continuous_batching_config",
            "prefill_chunk_size",
        ),
        _SPEED,
    ),
}
_OWN_OPTION: Final = re.compile(r"<(\w+)>")


def advise_option(name: str, shown: Callable[[str], str] = str) -> str | None:
    """Return a sentence that says what to use for another program's option; None if no program's is known by `name`.

    Each own option in it is written as `shown`.
    """
    advice = _ADVICE.get(name.replace("-", "_").casefold())
    return None if advice is None else _OWN_OPTION.sub(lambda found: shown(found[1]), advice)

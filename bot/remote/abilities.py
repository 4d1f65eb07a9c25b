"""What a server's model was found to do, and the sentences for what it can't."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

from bot.core.results import Ability
from bot.errors import RequestError

# Sampling options by the names that servers give them; all but these two are extensions of OpenAI's API.
OPTION_NAMES: Final[Mapping[str, str]] = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "repetition_penalty": "repetition_penalty",
}
# Models that think before they write do it within the limit of new tokens, so that limit gets so many more.
THINKING_TOKENS: Final = 4096
_VLLM: Final = "vLLM and Fewshot's own server have it"
_OWN: Final = "Fewshot's own engine has it: a model on this machine"
_WHO_HAS: Final[Mapping[str, str]] = {
    "temperature": _VLLM,
    "top_p": _VLLM,
    "top_k": _VLLM,
    "min_p": _VLLM,
    "repetition_penalty": _VLLM,
    "seed": _VLLM,
    "num_beams": _OWN,
    "no_repeat_ngram_size": _OWN,
}
NO_SCORES: Final = "This model's server does not tell how likely a given text is; vLLM and Fewshot's own engine do."
NO_TOP_TOKENS: Final = (
    "This model's server does not tell which tokens it expects next; vLLM and Fewshot's own engine do."
)
NO_LABELS: Final = (
    "This model's server does not tell how likely each label is: it has no scores of given texts, and its likeliest"
    " next tokens don't hold all labels apart. vLLM and Fewshot's own engine score labels."
)
NO_BEAMS: Final = f"This model's server has no beam search. {_OWN}."
NO_DRAWN: Final = (
    "Only Fewshot's own engine can tell with what probability the sampling options drew each word; this model runs on a"
    " server."
)
NO_SKETCH: Final = (
    "This template compares each message with its kept examples, for which only Fewshot's own engine has the figures;"
    " this model runs on a server."
)
NO_IDS: Final = "Token ids are known only to a model on this machine; this one runs on a server."
NO_DRAWABLE: Final = (
    "Only Fewshot's own engine can show what sampling options leave of the next tokens; this model runs on a server."
)


@dataclass(frozen=True, slots=True)
class Abilities:
    """What one model of one server does, as it was measured; `server` and `probed_at_utc` say of what and when.

    `options` are the sampling options that act (OPTION_NAMES). `max_stops` stop texts are accepted (0: none act).
    `num_top` are the likeliest tokens that it tells for a generated one in completions, `num_chat_top` in chat.
    `scores_texts` says that scores of given texts hold together, `score_spread` (nats) how far those of one text were
    apart; where not, `score_problem` says why. `max_tokens_name` is the server's name for the most new tokens.
    `counts` is how it counts tokens. `context_length` is None where the server does not say it.
    """

    server: str = ""
    probed_at_utc: str = ""
    has_completions: bool = False
    has_chat: bool = False
    options: tuple[str, ...] = ()
    takes_seed: bool = False
    keeps_seed: bool = False
    takes_n: bool = False
    max_stops: int = 0
    num_top: int = 0
    num_chat_top: int = 0
    scores_texts: bool = False
    score_spread: float = 0.0
    score_problem: str = ""
    min_new_tokens_when_scoring: int = 0
    tells_usage: bool = False
    continues_answers: bool = False
    counts_tokens: bool = False
    reads_pictures: bool = False
    max_tokens_name: str = "max_tokens"
    context_length: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-able values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Abilities":
        """Return the abilities from `to_dict()` values; raises TypeError for other ones."""
        if set(values) != {f.name for f in fields(cls)}:
            raise TypeError("these are not the abilities of this version")
        return cls(**{**values, "options": tuple(values["options"])})

    @property
    def thinks(self) -> bool:
        """Say whether the model may think before it writes: servers of such models want another name for the limit."""
        return self.max_tokens_name != "max_tokens"

    @property
    def lacking(self) -> dict[str, str]:
        """Return for each sampling option that it can't do the sentence that says so."""
        missing = [name for name in OPTION_NAMES if name not in self.options]
        missing += ["num_beams", "no_repeat_ngram_size", *([] if self.keeps_seed else ["seed"])]
        return {name: f"This model's server has no {name}; leave it out. ({_WHO_HAS[name]}.)" for name in missing}

    @property
    def rows(self) -> tuple[Ability, ...]:
        """Return all of it as rows for people."""
        only_chat = "texts to continue are sent as one chat message, with an instruction to continue them"
        spread = f"the same values in any order, within {self.score_spread:.2g} nats"
        return (
            Ability("continue a text", self.has_completions, "" if self.has_completions else only_chat),
            Ability("chat", self.has_chat, "" if self.has_chat else "conversations are sent as a transcript"),
            Ability("pictures", self.reads_pictures, "" if self.reads_pictures else "it reads text only"),
            Ability("scores of given texts", self.scores_texts, spread if self.scores_texts else self.score_problem),
            Ability("likeliest next tokens", self.num_top > 0, f"up to {self.num_top}" if self.num_top else ""),
            Ability(
                "the same in chat", self.num_chat_top > 0, f"up to {self.num_chat_top}" if self.num_chat_top else ""
            ),
            Ability("seed", self.keeps_seed, _seed_remark(self)),
            Ability("stop texts", self.max_stops > 0, "further ones are cut off here"),
            Ability("several answers at once", self.takes_n, "" if self.takes_n else "asked for one by one"),
            *(Ability(name, name in self.options, _option_remark(self, name)) for name in OPTION_NAMES),
            Ability("beam search", False),
            Ability("no_repeat_ngram_size", False, "left out where a template sets it"),
            Ability("token counts", self.counts_tokens, "" if self.counts_tokens else "estimated from the text"),
            Ability("usage", self.tells_usage, "" if self.tells_usage else "tokens are counted here"),
            *(
                [Ability("thinking", True, f"at most {THINKING_TOKENS:,} tokens before an answer")]
                if self.thinks
                else []
            ),
            Ability("finish a half-typed word", False, "it is continued as it is"),
            Ability("go on with an answer", self.continues_answers, _going_on_remark(self)),
        )

    def check_beams(self, num_beams: int) -> None:
        """Raise RequestError for beam search, which no server has."""
        if num_beams > 1:
            raise RequestError(NO_BEAMS)


def _seed_remark(abilities: Abilities) -> str:
    if abilities.keeps_seed:
        return "the same seed gives the same answer"
    return "accepted, but the answers differ" if abilities.takes_seed else ""


def _option_remark(abilities: Abilities, name: str) -> str:
    return "" if name in abilities.options else "left out where a template or preset sets it"


def _going_on_remark(abilities: Abilities) -> str:
    return "" if abilities.continues_answers or not abilities.has_chat else "by asking to go on"

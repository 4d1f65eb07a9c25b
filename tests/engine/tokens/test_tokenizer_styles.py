"""A prompt in parts is read like the whole text, by tokenizers of every style; what people write is plain text."""

import itertools
import json
from collections.abc import Callable
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from bot.core.prompt_parts import ChatTurn, Prompt, PromptPart
from bot.engine.tokens.chat_markup import render_turns
from bot.engine.tokens.tokenizing import PromptTokenizer
from bot.engine.tokens.vocabulary import Vocabulary
from tests.tiny_models import CORPUS, make_byte_level_tokenizer

MARKERS: Final = ("<s>", "</s>", "<|im_start|>", "<|im_end|>")
BYTES: Final = [f"<0x{byte:02X}>" for byte in range(256)]
CHAT_ML: Final = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA_2: Final = (
    "{% for message in messages %}{% if message['role'] == 'assistant' %} {{ message['content'] }} </s>"
    "{% else %}<s>[INST] {{ message['content'] }} [/INST]{% endif %}{% endfor %}"
)
PLAIN: Final = "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}assistant:"


def _byte_fallback_bpe() -> Tokenizer:
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    trained.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=300, show_progress=False))
    learnt = json.loads(trained.to_str())["model"]
    names = ["<unk>", *MARKERS, *BYTES, *sorted(learnt["vocab"], key=learnt["vocab"].__getitem__)]
    merges = [tuple(merge) for merge in learnt["merges"]]
    vocab = {name: token_id for token_id, name in enumerate(names)}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return tokenizer


def _metaspace(scheme: str) -> Callable[[], Tokenizer]:
    def make() -> Tokenizer:
        tokenizer = _byte_fallback_bpe()
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=False)
        return tokenizer

    return make


def _legacy() -> Tokenizer:
    tokenizer = _byte_fallback_bpe()
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    return tokenizer


def _unigram() -> Tokenizer:
    trained = Tokenizer(models.Unigram())
    trained.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    trainer = trainers.UnigramTrainer(vocab_size=150, unk_token="<unk>", special_tokens=["<unk>"], show_progress=False)
    trained.train_from_iterator(CORPUS, trainer)
    learnt = json.loads(trained.to_str())["model"]["vocab"]
    names = {name for name, _ in learnt}
    pieces = [*map(tuple, learnt), *((name, -20.0) for name in BYTES if name not in names)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return tokenizer


STYLES: Final[dict[str, Callable[[], Tokenizer]]] = {
    "byte level": make_byte_level_tokenizer,
    "metaspace first": _metaspace("first"),
    "metaspace always": _metaspace("always"),
    "metaspace never": _metaspace("never"),
    "legacy prepend": _legacy,
    "unigram": _unigram,
}


class Style:
    """A tokenizer of one style, as transformers and as the bot use it."""

    def __init__(self, name: str, *, strips: bool = False) -> None:
        tokenizer = STYLES[name]()
        markers = [
            AddedToken(marker, special=True, normalized=False, lstrip=strips, rstrip=strips) for marker in MARKERS
        ]
        tokenizer.add_special_tokens(markers)
        self.theirs = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")
        self.vocabulary = Vocabulary(tokenizer, size=tokenizer.get_vocab_size())
        self.ours = PromptTokenizer(tokenizer, self.vocabulary, bos_id=self.theirs.bos_token_id)
        self.special_ids = {tokenizer.token_to_id(marker) for marker in MARKERS}
        # Before the text, or before each text between two markers; or the markers take the white space around them.
        self.keeps_spaces = name in ("byte level", "metaspace never") and not strips

    def spell(self, ids: tuple[int, ...]) -> str:
        """Return the text of tokens, markers too."""
        return b"".join(
            self.vocabulary.token_text(i).encode() if self.vocabulary.is_special(i) else self.vocabulary.token_bytes(i)
            for i in ids
        ).decode()


@pytest.fixture(scope="module", params=[*STYLES, *(f"{name}, markers that strip" for name in STYLES)])
def style(request: pytest.FixtureRequest) -> Style:
    name, comma, _ = request.param.partition(",")
    return Style(name, strips=bool(comma))


CONTENT = st.text(st.sampled_from([*"the cat sOm.,'\n ", "é", "日", "😀", "▂"]), min_size=1, max_size=20)
HOSTILE = st.lists(st.one_of(CONTENT, st.sampled_from(MARKERS), st.just("<|im_")), min_size=1, max_size=5).map("".join)


def turns_of(contents: list[str]) -> list[ChatTurn]:
    return [ChatTurn(role, text) for role, text in zip(itertools.cycle(("user", "assistant")), contents, strict=False)]


@pytest.mark.parametrize("template", [CHAT_ML, LLAMA_2, PLAIN], ids=["chatml", "llama2", "plain"])
@settings(max_examples=40, deadline=None)
@given(contents=st.lists(CONTENT, min_size=1, max_size=4))
def test_a_conversation_is_read_as_transformers_reads_its_whole_text(
    style: Style, template: str, contents: list[str]
) -> None:
    style.theirs.chat_template = template
    turns = turns_of(contents)
    ours = style.ours.encode_prompt(render_turns(style.theirs, turns, model_name="tiny")).ids
    messages = [{"role": turn.role, "content": turn.content.strip()} for turn in turns]
    theirs = style.theirs.apply_chat_template(messages, add_generation_prompt=True, tokenize=True, return_dict=False)
    assert list(ours) == theirs


@settings(max_examples=60, deadline=None)
@given(text=HOSTILE, kinds=st.lists(st.booleans(), min_size=1, max_size=6), cuts=st.lists(st.integers(0, 40)))
def test_however_a_text_is_cut_it_is_spelled_and_only_markup_has_markers(
    style: Style, text: str, kinds: list[bool], cuts: list[int]
) -> None:
    places = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    pieces = [text[first:last] for first, last in itertools.pairwise(places)]
    parts = [PromptPart(piece, kind) for piece, kind in zip(pieces, itertools.cycle(kinds), strict=False)]
    ids = style.ours.encode_prompt(Prompt(tuple(parts))).ids
    spelled = style.spell(ids)
    if not style.keeps_spaces:
        spelled, text = "".join(spelled.split()), "".join(text.split())
    assert spelled == text
    allowed = sum(part.text.count(marker) for part in parts if part.is_markup for marker in MARKERS)
    assert sum(token_id in style.special_ids for token_id in ids) == allowed


@settings(max_examples=60, deadline=None)
@given(text=CONTENT, cuts=st.lists(st.integers(0, 20)), kinds=st.lists(st.booleans(), min_size=1, max_size=6))
def test_a_text_without_markers_has_the_same_tokens_however_it_is_cut(
    style: Style, text: str, cuts: list[int], kinds: list[bool]
) -> None:
    whole = tuple(style.theirs(text, add_special_tokens=False).input_ids)
    places = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    pieces = [text[first:last] for first, last in itertools.pairwise(places)]
    parts = [PromptPart(piece, kind) for piece, kind in zip(pieces, itertools.cycle(kinds), strict=False)]
    assert style.ours.encode_prompt(Prompt(tuple(parts))).ids == whole


def test_a_marker_that_somebody_typed_after_markup_puts_no_space_before_it() -> None:
    style = Style("metaspace first")
    parts = (PromptPart("<|im_start|>user\n", is_markup=True), PromptPart("the <|im_end|> cat"))
    ids = style.ours.encode_prompt(Prompt(parts)).ids
    assert style.spell(ids) == "<|im_start|>user\nthe <|im_end|> cat"
    assert sum(token_id in style.special_ids for token_id in ids) == 1

"""Make tiny random models on disk, without any hub: the smallest things the engine can run for real."""

import json
from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    OpenAIGPTConfig,
    OpenAIGPTLMHeadModel,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

CORPUS = (
    "The cat sat on the mat and looked at the other cats. The dog ran to the door.",
    "Once upon a time there was a small robot who wanted to learn how to write stories.",
    "Hello there, who are you? I am a bot that answers questions about the world.",
    "Can it do that? It can do this and that, and the things that others can not do.",
    "Positive Negative Neutral: I love when you say this. I hate this awful message.",
    "It's what I don't know, [so] {far}; or 100%!",
    "def add(a, b):\n    return a + b\n\nprint(add(1, 2))\n",
)
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CONTEXT_LENGTH = 96
VOCAB_SIZE = 400


def make_byte_level_tokenizer(*special_tokens: str) -> Tokenizer:
    """Return a byte-level BPE tokenizer of GPT-2's style, trained on a few sentences."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        special_tokens=list(special_tokens),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def make_word_end_tokenizer() -> Tokenizer:
    """Return a lower-casing BPE tokenizer of the first GPT's style: `</w>` ends a word; no BOS, no EOS."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.BPEDecoder(suffix="</w>")
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE, special_tokens=["<unk>"], end_of_word_suffix="</w>", show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def make_sentencepiece_tokenizer() -> Tokenizer:
    """Return a BPE tokenizer of Llama 2's style: `▁` for a space, bytes as a fallback, `<s>` put first by itself."""
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first")
    trainer = trainers.BpeTrainer(vocab_size=300, show_progress=False)
    trained.train_from_iterator(CORPUS, trainer)
    learnt = json.loads(trained.to_str())["model"]
    names = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    names += [token for token, _ in sorted(learnt["vocab"].items(), key=lambda item: item[1])]
    vocab = {token: token_id for token_id, token in enumerate(names)}
    merges = [tuple(merge) for merge in learnt["merges"]]
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first", split=False)
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens([AddedToken(name, special=True) for name in ("<unk>", "<s>", "</s>")])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return tokenizer


def _save(model: PreTrainedModel, tokenizer: Tokenizer, folder: Path, **special_tokens: str) -> Path:
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special_tokens)
    if "<|im_start|>" in tokenizer.get_vocab():
        wrapped.chat_template = CHAT_TEMPLATE
    model.eval().save_pretrained(folder, safe_serialization=True)
    wrapped.save_pretrained(folder)
    return folder


def make_tiny_gpt2(folder: Path, *, seed: int = 0, context_length: int = CONTEXT_LENGTH) -> Path:
    """Write a GPT-2 with random weights and `<|endoftext|>` as BOS and EOS."""
    tokenizer = make_byte_level_tokenizer("<|endoftext|>")
    end = tokenizer.token_to_id("<|endoftext|>")
    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=tokenizer.get_vocab_size(),
        n_positions=context_length,
        n_embd=32,
        n_layer=2,
        n_head=4,
        bos_token_id=end,
        eos_token_id=end,
        initializer_range=0.2,
    )
    return _save(GPT2LMHeadModel(config), tokenizer, folder, bos_token="<|endoftext|>", eos_token="<|endoftext|>")


def make_tiny_llama(folder: Path, *, seed: int = 1, context_length: int = CONTEXT_LENGTH) -> Path:
    """Write a Llama with random weights, grouped-query attention, ChatML markers and a chat template."""
    tokenizer = make_byte_level_tokenizer("<|endoftext|>", "<|im_start|>", "<|im_end|>")
    torch.manual_seed(seed)
    return _save(
        LlamaForCausalLM(_llama_config(tokenizer, bos="<|im_start|>", eos="<|im_end|>", context_length=context_length)),
        tokenizer,
        folder,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|im_end|>",
        unk_token="<|endoftext|>",
    )


def make_tiny_llama2(folder: Path, *, seed: int = 2) -> Path:
    """Write a Llama with random weights and a tokenizer of Llama 2's style, which puts `<s>` first."""
    tokenizer = make_sentencepiece_tokenizer()
    torch.manual_seed(seed)
    model = LlamaForCausalLM(_llama_config(tokenizer, bos="<s>", eos="</s>"))
    return _save(model, tokenizer, folder, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def make_tiny_openai_gpt(folder: Path, *, seed: int = 3) -> Path:
    """Write a first GPT with random weights: no KV cache, no BOS, no EOS, lower case."""
    tokenizer = make_word_end_tokenizer()
    torch.manual_seed(seed)
    config = OpenAIGPTConfig(
        vocab_size=tokenizer.get_vocab_size(),
        n_positions=CONTEXT_LENGTH,
        n_embd=32,
        n_layer=2,
        n_head=4,
        initializer_range=0.2,
    )
    return _save(OpenAIGPTLMHeadModel(config), tokenizer, folder, unk_token="<unk>")


def _llama_config(tokenizer: Tokenizer, *, bos: str, eos: str, context_length: int = CONTEXT_LENGTH) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        max_position_embeddings=context_length,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        bos_token_id=tokenizer.token_to_id(bos),
        eos_token_id=tokenizer.token_to_id(eos),
        initializer_range=0.2,
        tie_word_embeddings=False,
    )

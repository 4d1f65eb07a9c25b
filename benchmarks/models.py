"""The models that are measured: folders in a cache whose models never end a text by themselves."""

import json
import shutil
from pathlib import Path
from typing import Any, Final

from bot.engine.models.model_folder import WEIGHTS_NAME
from bot.settings import Settings

SMOLLM2: Final = "smollm2-135m"
GPT2: Final = "gpt2-124m"
TINY: Final = "tiny"


def prepare_model(name: str, cache: Path) -> Path:
    """Return the folder of the model called `name`, made in `cache` where it is not there yet.

    smollm2-135m is the pulled model, gpt2-124m and tiny have random weights, everything else is a folder. In each
    copy the end-of-text token is taken out of the configuration, so that every engine writes answers of the length
    asked for. Imports torch when it makes random weights. Raises SystemExit where a model is missing.
    """
    if name in (GPT2, TINY):
        folder = cache / "models" / f"{name}-random"
        if not (folder / "config.json").exists():
            _make_random_gpt2(folder, is_tiny=name == TINY)
        return folder
    source = Settings.from_env().models_dir / name if name == SMOLLM2 else Path(name)
    if not (source / "config.json").exists():
        raise SystemExit(f"The model {name} is not here; fetch it: python -m bot model pull {name}")
    return _copy_without_end(source, cache / "models" / source.name)


def _copy_without_end(source: Path, target: Path) -> Path:
    """Copy a model's small files, link its weights, and forget its end-of-text token."""
    weights = (source / WEIGHTS_NAME).resolve()
    link = target / WEIGHTS_NAME
    is_current = link.is_symlink() and link.resolve() == weights
    if not is_current or (target / "config.json").stat().st_mtime < weights.stat().st_mtime:
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        for path in source.iterdir():
            if path.is_file() and path.name != WEIGHTS_NAME:
                shutil.copyfile(path, target / path.name)
        for name in ("config.json", "generation_config.json"):
            _forget_end(target / name)
        link.symlink_to(weights)
    return target


def _forget_end(path: Path) -> None:
    config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    path.write_text(json.dumps({**config, "eos_token_id": None}, indent=2) + "\n", encoding="utf-8")


def _make_random_gpt2(folder: Path, *, is_tiny: bool) -> None:
    """Write a GPT-2 of random weights with the 50,257 tokens of GPT-2, of which 256 are bytes and no two ever merge.

    The position embeddings are ten times as large as a new model's. With tied embeddings a new model's likeliest next
    token is nearly always the last one again, and a text of one token would be an unfair gift to prompt look-up.
    """
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    from bot.engine.tokens.vocabulary import byte_of_character

    vocab_size = 2000 if is_tiny else 50257
    tokens = list(byte_of_character())
    letters = "abcdefghijklmnopqrstuvwxyz"
    index = 0
    while len(tokens) < vocab_size - 1:  # a space and four letters: a word that only the model itself can write
        word = "".join(letters[index // 26**place % 26] for place in range(4))
        tokens.append(f"Ġ{word}")
        index += 1
    tokens.append("<|endoftext|>")
    tokenizer = Tokenizer(models.BPE(vocab={token: at for at, token in enumerate(tokens)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<|endoftext|>", eos_token="<|endoftext|>", unk_token="<|endoftext|>"
    )
    torch.manual_seed(0)
    size: dict[str, Any] = {"n_embd": 64, "n_layer": 2, "n_head": 4} if is_tiny else {}
    model = GPT2LMHeadModel(GPT2Config(vocab_size=vocab_size, bos_token_id=None, eos_token_id=None, **size))
    with torch.no_grad():
        model.transformer.wpe.weight.mul_(10)
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    model.eval().save_pretrained(partial, safe_serialization=True)
    wrapped.save_pretrained(partial)
    _forget_end(partial / "generation_config.json")
    shutil.rmtree(folder, ignore_errors=True)
    partial.replace(folder)

"""The likeliest next tokens and whole words after a prompt, at temperature 1."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Final

import torch

from bot.core.prompt_parts import Prompt
from bot.core.results import NextToken, NextTokens, WordProbability
from bot.core.sampling_params import SamplingParams
from bot.engine.loaded_model import LoadedModel
from bot.engine.paged_cache import Rows, count_blocks, count_blocks_of_branches
from bot.engine.requests.generation import Plan, plan_generation
from bot.engine.requests.work import Feed, Job, Steps
from bot.engine.sampler.exact import draw_probabilities
from bot.engine.sampler.rows import NO_TOKEN
from bot.engine.tokens.detokenizing import Detokenizer
from bot.engine.tokens.vocabulary import BROKEN_CHARACTER
from bot.errors import GenerationError

_MAX_PATHS: Final = 16  # unfinished words in one forward pass
_MAX_LEVELS: Final = 4  # tokens searched after the first one of a word


@dataclass(frozen=True, slots=True)
class _Path:
    """The first tokens of a word, and their joint probability."""

    token_ids: tuple[int, ...]
    probability: float


def plan_expect_tokens(model: LoadedModel, prompt: Prompt, *, num: int) -> Job[tuple[WordProbability, ...]]:
    """Return the job that finds the `num` likeliest next tokens, best first. Raises RequestError, PromptTooLong."""
    plan = plan_generation(model, prompt, SamplingParams(), heal=False)
    return Job(_expect_tokens(model, plan, num), model.scoring, 1, count_blocks(len(plan.ids)))


def _expect_tokens(model: LoadedModel, plan: Plan, num: int) -> Steps[tuple[WordProbability, ...]]:
    with model.scoring.cache.rows() as rows:
        logits = (yield [Feed(rows.open(plan.ids))])[0]
        best, ids = logits.softmax(dim=-1).topk(min(num, logits.shape[0]))
    return tuple(
        WordProbability(_text_of(model, (token_id,), is_space_due=plan.is_space_due), probability)
        for probability, token_id in zip(best.tolist(), ids.tolist(), strict=True)
    )


def plan_expect_drawn(model: LoadedModel, prompt: Prompt, params: SamplingParams, *, num: int) -> Job[NextTokens]:
    """Return the job that finds the `num` likeliest next tokens and how likely `params` draw each.

    Those that are drawn most are among them. Raises RequestError, PromptTooLong, and GenerationError if the options
    exclude every token.
    """
    plan = plan_generation(model, prompt, params, heal=False)
    return Job(_expect_drawn(model, plan, params, num), model.scoring, 1, count_blocks(len(plan.ids)))


def _expect_drawn(model: LoadedModel, plan: Plan, params: SamplingParams, num: int) -> Steps[NextTokens]:
    with model.scoring.cache.rows() as rows:
        logits = (yield [Feed(rows.open(plan.ids))])[0]
        likely = logits.softmax(dim=-1)
        drawn = draw_probabilities(logits, plan.ids, params)
        if not bool(drawn.isfinite().all()):
            raise GenerationError(NO_TOKEN)
        num = min(num, logits.shape[0])
        # The order of the model; what only a penalty brought up comes last.
        ids = dict.fromkeys([*likely.topk(num).indices.tolist(), *drawn.topk(num).indices.tolist()])
        found = [(one, float(likely[one]), float(drawn[one])) for one in ids]
    kept = [one for place, one in enumerate(found) if place < num or one[2] > 0]
    tokens = (
        NextToken(_text_of(model, (token_id,), is_space_due=plan.is_space_due), probability, chance)
        for token_id, probability, chance in kept
    )
    return NextTokens(tuple(tokens), int((drawn > 0).sum()), logits.shape[0])


def plan_expect_words(model: LoadedModel, prompt: Prompt, *, num: int) -> Job[tuple[WordProbability, ...]]:
    """Return the job that finds the `num` likeliest next words, likeliest first; their probabilities sum to at most 1.

    A word ends before a token that can't continue it: P(word) = P(its tokens) · P(such a token after them), summed over
    its tokenizations. The search is best first, so a word of many unlikely tokens may get less than its probability,
    never more. Words with parts of a character are left out. Punctuation marks and line ends are words of one token.
    Raises RequestError, PromptTooLong.
    """
    plan = plan_generation(model, prompt, SamplingParams(), heal=False)
    num_blocks = count_blocks_of_branches(len(plan.ids), _MAX_PATHS, _MAX_LEVELS)
    return Job(_expect_words(model, plan, num), model.scoring, _MAX_PATHS, num_blocks)


def _expect_words(model: LoadedModel, plan: Plan, num: int) -> Steps[tuple[WordProbability, ...]]:
    with model.scoring.cache.rows() as rows:
        return (yield from _search_words(model, plan, num, rows))


def _search_words(model: LoadedModel, plan: Plan, num: int, rows: Rows) -> Steps[tuple[WordProbability, ...]]:
    prompt = rows.open(plan.ids)
    logits = (yield [Feed(prompt)])[0][None]
    found: defaultdict[str, float] = defaultdict(float)
    boundary_ids = torch.tensor(model.vocabulary.boundary_ids, dtype=torch.long, device=logits.device)
    paths = [_Path((), 1.0)]
    for level in range(_MAX_LEVELS + 1):
        probabilities = logits.softmax(dim=-1)  # (len(paths), vocab)
        if level:
            ends = probabilities[:, boundary_ids].sum(dim=-1).tolist()
            for path, end in zip(paths, ends, strict=True):
                found[_text_of(model, path.token_ids, is_space_due=plan.is_space_due)] += path.probability * end
            probabilities[:, boundary_ids] = 0.0
        grown = _grow(paths, probabilities, num)
        open_paths = []
        for path in grown:
            if model.vocabulary.is_special(path.token_ids[-1]):
                continue  # the end of the text is not a word
            if model.vocabulary.is_open_word(path.token_ids[-1]):
                open_paths.append(path)
            else:
                found[_text_of(model, path.token_ids, is_space_due=plan.is_space_due)] += path.probability
        least = sorted(found.values(), reverse=True)[num - 1] if len(found) >= num else 0.0
        paths = [path for path in open_paths if path.probability > least][:_MAX_PATHS]
        if not paths or len(plan.ids) + level + 1 > model.info.context_length:
            break
        branches = [rows.fork(prompt, path.token_ids) for path in paths]
        logits = torch.stack((yield [Feed(branch) for branch in branches]))
        for branch in branches:
            rows.close(branch)
    words = sorted(found.items(), key=lambda item: -item[1])
    readable = [(text, probability) for text, probability in words if text and BROKEN_CHARACTER not in text]
    return tuple(WordProbability(text, probability) for text, probability in readable[:num] if probability > 0)


def _grow(paths: list[_Path], probabilities: torch.Tensor, num: int) -> list[_Path]:
    """Return the likeliest ways to add one token to `paths`, likeliest first."""
    weights = torch.tensor([path.probability for path in paths], device=probabilities.device)
    joint = (weights[:, None] * probabilities).reshape(-1)
    best, places = joint.topk(min(_MAX_PATHS + num, joint.shape[0]))
    vocab_size = probabilities.shape[1]
    return [
        _Path((*paths[place // vocab_size].token_ids, place % vocab_size), probability)
        for probability, place in zip(best.tolist(), places.tolist(), strict=True)
        if probability > 0
    ]


def _text_of(model: LoadedModel, token_ids: tuple[int, ...], *, is_space_due: bool) -> str:
    detokenizer = Detokenizer(model.vocabulary, is_space_due=is_space_due)
    text = "".join(detokenizer.push(token_id) for token_id in token_ids)
    return text or "".join(model.vocabulary.token_text(token_id) for token_id in token_ids)

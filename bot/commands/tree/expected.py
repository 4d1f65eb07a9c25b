"""What the model expects in the place of a word: words, or tokens in a script without spaces."""

from bot.commands.tree.words import NUM_INSTEAD, instead_of, stem_before
from bot.core.engine import Asker, Engine
from bot.core.prompt_parts import Prompt
from bot.core.results import WordProbability
from bot.core.sampling_params import COMPLETION_DEFAULTS
from bot.core.text_tree import BEGINNING
from bot.core.word_spans import is_unspaced
from bot.core.written_words import WrittenWord
from bot.services.completions import CompletionState

_NUM_TOKENS = 30  # more than are shown, since parts of characters are left out


async def expected_behind(engine: Engine, asker: Asker, stem: str, word: str) -> tuple[WordProbability, ...]:
    """Return what the model expects behind `stem`, where `word` stands. Raises PromptTooLong, Unavailable."""
    prompt = Prompt.document(stem)
    if not is_unspaced(word[:1]):
        return await engine.next_words(prompt, num=NUM_INSTEAD + 1, asker=asker)
    # There a word has no end that could be weighed, and is cut where a token starts.
    return await engine.next_tokens(prompt, num=_NUM_TOKENS, asker=asker)


async def expected_instead(
    engine: Engine, asker: Asker, before: str, word: str
) -> tuple[float | None, tuple[tuple[str, float], ...]]:
    """Return what the model expects behind `before`, in place of `word`: its probability, and the others with theirs.

    The probability is None for a word that is not among the likeliest. Raises PromptTooLong, Unavailable.
    """
    expected = await expected_behind(engine, asker, stem_before(before, "", 0), word)
    own = next((one.probability for one in expected if one.text.strip() == word), None)
    state = CompletionState("", is_command_line=False, params=COMPLETION_DEFAULTS)
    view = instead_of(state, before, WrittenWord(word, own or 0.0, BEGINNING, 0), expected)
    return own, view.instead

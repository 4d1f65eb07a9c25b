"""The nearest valid name to one that somebody got wrong."""

import difflib
from collections.abc import Iterable
from typing import Final

# Longer names are no slips of the finger, and difflib's time grows with the product of the lengths.
_MAX_CHARACTERS: Final = 64


def nearest(name: str, names: Iterable[str]) -> str | None:
    """Return the one of `names` that `name` most probably meant, whatever its case, or None where none is near."""
    by_folded = {candidate.casefold(): candidate for candidate in names}
    found = difflib.get_close_matches(name[:_MAX_CHARACTERS].casefold(), by_folded, n=1, cutoff=0.6)
    return by_folded[found[0]] if found else None


def suggest(name: str, names: Iterable[str], otherwise: str, *, mark: str = "") -> str:
    """Return how a sentence about an unknown name ends: with the nearest one after `mark`, else with `otherwise`."""
    found = nearest(name, names)
    return f"did you mean {mark}{found}?" if found else otherwise

"""The valid name nearest to a wrong one."""

import difflib
from collections.abc import Callable, Iterable
from typing import Final

# Longer names are not typing errors, and difflib's time grows with the product of the lengths.
_MAX_CHARACTERS: Final = 64


def nearest(name: str, names: Iterable[str]) -> str | None:
    """Return the one of `names` that `name` most probably meant, whatever its case, or None where none is near."""
    by_folded = {candidate.casefold(): candidate for candidate in names}
    found = difflib.get_close_matches(name[:_MAX_CHARACTERS].casefold(), by_folded, n=1, cutoff=0.6)
    return by_folded[found[0]] if found else None


def suggest(name: str, names: Iterable[str], otherwise: str, *, shown: Callable[[str], str] = str) -> str:
    """Return the end of a sentence about an unknown name: the nearest one as `shown`, or `otherwise`."""
    found = nearest(name, names)
    return f"did you mean {shown(found)}?" if found else otherwise

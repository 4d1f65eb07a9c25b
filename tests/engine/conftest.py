"""The two ways in which tokens are chosen, for tests that have to hold in both."""

from collections.abc import Iterator

import pytest

from bot.engine.networks.native import native_network
from bot.engine.networks.native.building import NativeUnavailable
from bot.engine.networks.native.library import open_library
from bot.engine.networks.native.row_chooser import use_library


@pytest.fixture(scope="module", params=["compiled", "numpy"])
def way_to_choose(request: pytest.FixtureRequest) -> Iterator[None]:
    """Choose tokens in C++, then without."""
    use_library(None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native_network, "use_library", lambda *_: None)
        if request.param == "compiled":
            try:
                use_library(open_library(), 2)
            except NativeUnavailable as e:
                if "No C++ compiler" not in str(e):
                    raise
                pytest.skip(str(e))
        yield
    use_library(None)

"""Sketches: few numbers that keep how far apart the model's expectations are."""

import pytest
import torch

from bot.engine.requests.sketching import SKETCH_SIZE, sketch_logits


@pytest.mark.parametrize("vocab_size", [1, 60, 128, 1000, 50257])
def test_a_sketch_has_one_size_and_nothing_is_lost_of_any_token(vocab_size: int) -> None:
    draw = torch.Generator().manual_seed(1)
    logits = torch.randn(vocab_size, generator=draw)
    sketch = sketch_logits(logits)
    assert len(sketch) == SKETCH_SIZE
    assert sketch == sketch_logits(logits.clone())
    assert sketch_logits(logits + 3) == pytest.approx(sketch, abs=2e-4), "only differences between logits mean anything"
    if vocab_size > 1:
        for at in (0, vocab_size // 2, vocab_size - 1):
            other = logits.clone()
            other[at] += 10 * vocab_size**0.5
            assert sketch_logits(other) != sketch


def test_distances_between_sketches_are_nearly_those_between_logits() -> None:
    draw = torch.Generator().manual_seed(2)
    rows = torch.randn(40, 5000, generator=draw)
    rows[20:] = rows[:20] + 0.3 * torch.randn(20, 5000, generator=draw)
    sketches = torch.tensor([sketch_logits(row) for row in rows])
    centred = (rows - rows.mean(dim=1, keepdim=True)) / 5000**0.5
    ratios = torch.cdist(sketches, sketches)[:20, 20:] / torch.cdist(centred, centred)[:20, 20:]
    assert ratios.mean() == pytest.approx(1, abs=0.1)
    assert ratios.min() > 0.6
    assert ratios.max() < 1.4
    nearest = torch.cdist(sketches[:20], sketches[20:]).argmin(dim=1)
    assert nearest.tolist() == list(range(20))

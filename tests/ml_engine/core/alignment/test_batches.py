"""Films in batches of one size."""

from __future__ import annotations

import pytest
import torch

from ml_engine.core.alignment.batches import padded, spans


@pytest.mark.parametrize(("count", "size", "lengths"), [(7, 3, [3, 3, 1]), (6, 3, [3, 3]), (2, 5, [2]), (0, 4, [])])
def test_spans_cover_each_film_once(count: int, size: int, lengths: list[int]) -> None:
    films = list(range(count))
    assert [len(films[span]) for span in spans(count, size)] == lengths
    assert [film for span in spans(count, size) for film in films[span]] == films


def test_a_short_batch_is_filled_with_its_first_film() -> None:
    assert padded(torch.tensor([[5.0], [6.0]]), 4).tolist() == [[5.0], [6.0], [5.0], [5.0]]
    assert padded(torch.tensor([5.0, 6.0]), 2).tolist() == [5.0, 6.0]

"""Films in batches of one size."""

from __future__ import annotations

import pytest
import torch

from ml_engine.core.alignment.batches import each_on_one_thread, padded, spans


@pytest.mark.parametrize(("count", "size", "lengths"), [(7, 3, [3, 3, 1]), (6, 3, [3, 3]), (2, 5, [2]), (0, 4, [])])
def test_spans_cover_each_film_once(count: int, size: int, lengths: list[int]) -> None:
    films = list(range(count))
    assert [len(films[span]) for span in spans(count, size)] == lengths
    assert [film for span in spans(count, size) for film in films[span]] == films


def test_a_short_batch_is_filled_with_its_first_film() -> None:
    assert padded(torch.tensor([[5.0], [6.0]]), 4).tolist() == [[5.0], [6.0], [5.0], [5.0]]
    assert padded(torch.tensor([5.0, 6.0]), 2).tolist() == [5.0, 6.0]


@pytest.mark.parametrize("threads", [1, 3])
def test_each_part_has_one_thread_and_no_gradients(threads: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        seen = each_on_one_thread(
            lambda part: (part.start, torch.get_num_threads(), torch.is_grad_enabled()),
            spans(7, 2),
            device=torch.device("cpu"),
        )
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert seen == [(start, 1, False) for start in (0, 2, 4, 6)]

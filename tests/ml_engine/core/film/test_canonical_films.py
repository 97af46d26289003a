"""Films resampled to the canonical frame."""

from __future__ import annotations

import numpy as np
import torch

from ml_engine.core.film import canonical_films


def affines(count: int) -> np.ndarray:
    return np.broadcast_to(np.eye(2, 3), (count, 2, 3)).copy()


def test_unaligned_films_do_not_change() -> None:
    inputs = np.random.default_rng(0).random((5, 16, 16)).astype(np.float32)

    batches = list(canonical_films.canonical_batches(inputs, affines(5), rows=np.array([4, 0, 2]), batch=2))

    assert [at.tolist() for at, _ in batches] == [[4, 0], [2]]
    np.testing.assert_array_equal(torch.cat([f for _, f in batches])[:, 0].numpy(), inputs[[4, 0, 2]])


def test_aligned_films_are_sampled_by_their_affine() -> None:
    inputs = np.random.default_rng(0).random((2, 16, 16)).astype(np.float32)
    moved = affines(2)
    moved[1, :, 2] = [3, -2]  # canonical (x, y) lies at (x + 3, y - 2) of the input

    (_, aligned), *_ = canonical_films.canonical_batches(inputs, moved, rows=np.array([0, 1]), batch=2)

    np.testing.assert_allclose(aligned[0, 0].numpy(), inputs[0], atol=1e-6)
    np.testing.assert_allclose(aligned[1, 0, 2:, :13].numpy(), inputs[1, :14, 3:], atol=1e-6)
    assert (aligned[1, 0, :2] == 0).all()


def test_mean_film_is_the_mean_of_the_aligned_ones() -> None:
    inputs = np.random.default_rng(0).random((11, 16, 16)).astype(np.float32)

    mean = canonical_films.mean_film(inputs, affines(11), rows=np.arange(1, 11))

    np.testing.assert_allclose(mean, inputs[1:].mean(0), atol=1e-6)


def test_a_film_does_not_depend_on_the_others() -> None:
    films, moved = np.random.default_rng(0).random((3, 32, 32)).astype(np.float32), affines(3)
    moved[1] = [[1.1, 0, -2], [0, 0.9, 3]]

    (_, together), *_ = canonical_films.canonical_batches(films, moved, rows=np.arange(3), batch=8)
    alone = [next(canonical_films.canonical_batches(films, moved, rows=np.array([k]), batch=8))[1][0] for k in range(3)]

    assert torch.equal(together, torch.stack(alone))
    assert torch.equal(together[0, 0], torch.from_numpy(films[0]))

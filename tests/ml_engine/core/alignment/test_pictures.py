"""Pictures of an alignment compared with numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ml_engine.core.alignment.canonical import Canonical
from ml_engine.core.alignment.pictures import Pair, canonical_picture, pictures, shown_films
from ml_engine.core.alignment.sampling import unaligned

SHIFT = torch.tensor([[[1.0, 0, 0.5], [0, 1, 0]]])  # 4 pixels of 16: to the left in the canonical frame


@pytest.fixture(scope="module")
def shown() -> tuple[torch.Tensor, dict[str, Pair]]:
    images = torch.rand(5, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    canonical = Canonical(images[:1].clone(), torch.ones(1, 1, 16, 16))
    thetas = torch.cat([unaligned(4), SHIFT])
    pairs = pictures(images, torch.ones_like(images), thetas, canonical=canonical)
    return images, {pair.name: pair for pair in pairs}


def test_the_mean_film_before_and_after(shown: tuple[torch.Tensor, dict[str, Pair]]) -> None:
    images, pairs = shown
    stack = images.numpy()[:, 0].astype(np.float64)
    np.testing.assert_allclose(pairs["mean"].before.numpy(), stack.mean(0) * 255, atol=0.6)
    moved = stack[:4].sum(0)[:, :12] + stack[4][:, 4:]
    np.testing.assert_allclose(pairs["mean"].after.numpy()[:, :12], moved / 5 * 255, atol=0.6)
    np.testing.assert_allclose(pairs["mean"].after.numpy()[:, 12:], stack[:4].mean(0)[:, 12:] * 255, atol=0.6)


def test_both_variances_have_the_same_scale(shown: tuple[torch.Tensor, dict[str, Pair]]) -> None:
    images, pairs = shown
    stack = images.numpy()[:, 0].astype(np.float64)
    before = stack.var(0)
    stack[4, :, :12], stack[4, :, 12:] = stack[4, :, 4:].copy(), np.nan
    after = np.nanvar(stack, axis=0)
    largest = max(before.max(), after.max())
    np.testing.assert_allclose(pairs["variance"].before.numpy(), before / largest * 255, atol=0.6)
    np.testing.assert_allclose(pairs["variance"].after.numpy(), after / largest * 255, atol=0.6)


def test_a_film_is_red_over_a_cyan_canonical_image(shown: tuple[torch.Tensor, dict[str, Pair]]) -> None:
    images, pairs = shown
    moved = next(pair for pair in pairs.values() if pair.film == 4)
    film, canonical = images[4, 0].numpy() * 255, images[0, 0].numpy() * 255
    np.testing.assert_allclose(moved.before[..., 0], film, atol=0.6)
    np.testing.assert_allclose(moved.after[:, :12, 0], film[:, 4:], atol=0.6)
    assert not moved.after[:, 12:, 0].any()
    np.testing.assert_allclose(moved.after[..., 1], canonical, atol=0.6)
    np.testing.assert_array_equal(moved.after[..., 1], moved.after[..., 2])


def test_films_have_their_correlations(shown: tuple[torch.Tensor, dict[str, Pair]]) -> None:
    images, pairs = shown
    for pair in pairs.values():
        if pair.ncc is not None and pair.film is not None and pair.film < 4:
            expected = np.corrcoef(images[pair.film].numpy().ravel(), images[0].numpy().ravel())[0, 1]
            assert pair.ncc == pytest.approx((expected, expected), abs=1e-5)


def test_the_worst_and_the_middle_films_are_shown() -> None:
    ncc = torch.tensor([0.9, 0.1, 0.8, 0.3, 0.5, 0.2, 0.7, 0.6, 0.4])
    named = shown_films(ncc)
    assert [film for name, film in named if name.startswith("worst")] == [1, 5, 3]
    assert [film for name, film in named if name.startswith("middle")] == [8, 4, 7]  # 0.4, 0.5, 0.6


@pytest.mark.parametrize("count", [1, 2, 4, 5])
def test_each_of_few_films_is_shown_once(count: int) -> None:
    places = [film for _, film in shown_films(torch.arange(count) / 10)]
    assert sorted(places) == list(range(count))


def test_the_canonical_picture_is_the_canonical_image() -> None:
    image = torch.tensor([[0.0, 1.0], [0.5, 2.0]]).view(1, 1, 2, 2)
    assert canonical_picture(Canonical(image, torch.ones_like(image))).tolist() == [[0, 255], [128, 255]]

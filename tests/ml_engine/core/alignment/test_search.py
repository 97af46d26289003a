"""The search without a network: blank films, and film sides that are not a multiple of the search side."""

from __future__ import annotations

import pytest
import torch

from ml_engine.core.alignment.canonical import Canonical
from ml_engine.core.alignment.checks import correlation
from ml_engine.core.alignment.fit import fit_alignment
from ml_engine.core.alignment.sampling import sample, sample_valid, unaligned
from ml_engine.core.alignment.search import SIDE, _Level, search, shrunk
from tests.ml_engine.core.alignment.blobs import films, quiet, small_config, thorax


def test_a_blank_film_keeps_its_start_and_does_not_change_the_others() -> None:
    shown, _, _ = films(3)
    valid, canonical = torch.ones_like(shown), Canonical(thorax(64), torch.ones(1, 1, 64, 64))
    with_blank = shown.clone()
    with_blank[1] = 0

    with_others = search(with_blank, valid, canonical=canonical, starts=[unaligned(3)], steps=12)
    others = search(shown, valid, canonical=canonical, starts=[unaligned(3)], steps=12)

    assert torch.equal(with_others[1], unaligned(1)[0])
    assert torch.equal(with_others[[0, 2]], others[[0, 2]])


@pytest.mark.parametrize("threads", [1, 2])
def test_a_film_alone_is_placed_as_among_others(threads: int) -> None:
    """To the last bit, so that a film scored by itself has the scores that it has in a run of many."""
    shown, _, _ = films(33)
    valid, canonical = torch.ones_like(shown), Canonical(thorax(64), torch.ones(1, 1, 64, 64))
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        together = search(shown, valid, canonical=canonical, starts=[unaligned(33)], steps=6)
        for film in (0, 7, 32):  # the last is alone in its batch, too
            alone = search(shown[[film]], valid[[film]], canonical=canonical, starts=[unaligned(1)], steps=6)
            assert torch.equal(alone[0], together[film])
    finally:
        torch.set_num_threads(before)


def test_the_number_of_threads_changes_no_bit() -> None:
    shown, _, _ = films(70)
    valid, canonical = torch.ones_like(shown), Canonical(thorax(64), torch.ones(1, 1, 64, 64))
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(search(shown, valid, canonical=canonical, starts=[unaligned(70)], steps=6))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


@pytest.mark.parametrize("method", ["search", "network+search"])
def test_a_blank_film_does_not_end_a_fit(method: str) -> None:
    shown, valid, _ = films(8)
    shown[3] = 0

    model = fit_alignment(
        shown, valid=valid, config=small_config(method=method), seed=0, checkpoint=None, progress=quiet
    )

    assert torch.isfinite(model.canonical).all()
    assert torch.isfinite(model.affines(shown, valid)[0]).all()


@pytest.mark.parametrize("side", [65, 96, 128, 224, 416])
def test_films_are_shrunk_with_their_whole_frame(side: int) -> None:
    """A ramp from edge to edge stays one; if an edge were cut off, it would end lower."""
    ramp = ((torch.arange(side) + 0.5) / side).expand(1, 1, side, side)

    small = shrunk(ramp)

    assert small.shape == (1, 1, SIDE, SIDE)
    inside = slice(2, -2)  # the last pixels average over fewer neighbours
    assert torch.allclose(small[0, 0, 5, inside], ((torch.arange(SIDE) + 0.5) / SIDE)[inside], atol=1e-3)


def test_misfit_and_slope_are_those_of_autograd() -> None:
    """The search writes the slope of its misfit out; here it comes from the correlation by autograd, in float64."""
    generator = torch.Generator().manual_seed(3)
    shown = torch.randn(5, 1, SIDE, SIDE, generator=generator)
    shown[4] = 0.5  # constant: no slope
    mask = torch.ones_like(shown)
    mask[1, :, :, :12] = 0
    image, support = torch.randn(1, 1, SIDE, SIDE, generator=generator), torch.ones(1, 1, SIDE, SIDE)
    support[..., 50:, :] = 0
    thetas = unaligned(5) + 0.05 * torch.randn(5, 2, 3, generator=generator)
    level = _Level(shown, mask, image, support)

    misfit, slope = level.misfit(thetas), level.slope(thetas)

    exact = thetas.double().requires_grad_()
    weight = sample_valid(mask, thetas).double() * support
    aligned = sample(shown.double(), exact)
    expected = 1 - correlation(aligned, image.double().expand_as(aligned), weight)
    expected[:4].sum().backward()
    assert exact.grad is not None
    torch.testing.assert_close(misfit.double(), expected.detach(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(slope[:4].double(), exact.grad[:4], rtol=1e-3, atol=1e-4)
    assert slope[4].abs().max() < 1e-3

"""Search for a film's affine by gradient descent on its correlation with the canonical image (paper, Fig. 5, left)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ml_engine.core.alignment.adam import Adam
from ml_engine.core.alignment.batches import each_on_one_thread, padded, spans
from ml_engine.core.alignment.canonical import Canonical
from ml_engine.core.alignment.losses import box_mean, gaussian_blur
from ml_engine.core.alignment.network import residual_theta
from ml_engine.core.alignment.sampling import join

SIDE = 64  # larger films are shrunk to this side: sufficient for an affine, and fast
BATCH = 32  # fixed and padded, so that the result for a film does not depend on the others
SIGMAS = (3.0, 1.5, 0.75)  # blur in pixels of the shrunk film, for each third of the steps
WINDOW = 1 / 2  # side of the window for local contrast, as a share of the film's side
LEARNING_RATE = 0.05
LEAST_SPREAD = 1e-6  # of a product of variances: below it a film is constant, and rounding would decide
FLOOR = 1e-3  # added to local variances: contrast below 3 % of the gray scale counts little
BILINEAR, ZEROS = 0, 0  # what `F.grid_sample` calls "bilinear" and "zeros"


def search(films: Tensor, valid: Tensor, *, canonical: Canonical, starts: list[Tensor], steps: int) -> Tensor:
    """The thetas float32 (N, 2, 3) after ``steps`` steps of Adam, for each film independently.

    The correlation is that of local contrasts (`local_contrast`), so that exposure has no influence. ``films`` and
    ``valid`` are float (N, 1, S, S); ``starts`` are one or more thetas (N, 2, 3), of which each film starts from the
    best. A film whose result is worse than its start keeps the start.
    """
    film, mask = shrunk(films), _shrunk_mask(valid)
    image, support = shrunk(canonical.image), _shrunk_mask(canonical.support)
    images = [local_contrast(gaussian_blur(image, sigma=sigma), support) for sigma in SIGMAS]

    def search_batch(at: slice) -> Tensor:
        start = [start[at] for start in starts]
        return _search_batch(film[at], mask[at], start, images=images, support=support, steps=steps)

    return torch.cat(each_on_one_thread(search_batch, spans(len(films), BATCH), device=film.device))


def local_contrast(images: Tensor, mask: Tensor) -> Tensor:
    """Images (B, 1, S, S) minus their mean and divided by their deviation in a window around each pixel; 0 outside the
    mask."""
    window = int(images.shape[-1] * WINDOW) // 2 * 2 + 1
    area = box_mean(mask, window).clamp_min(1e-3)
    mean = box_mean(images * mask, window) / area
    variance = (box_mean(images * images * mask, window) / area - mean**2).clamp_min(0)
    return (images - mean) / (variance + FLOOR).sqrt() * mask


def shrunk(images: Tensor) -> Tensor:
    """Images (N, 1, S, S) shrunk to `SIDE`, or unchanged if smaller. The whole frame is kept, so thetas stay valid."""
    if images.shape[-1] <= SIDE:
        return images
    return F.interpolate(images, (SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False)


def _shrunk_mask(mask: Tensor) -> Tensor:
    return (shrunk(mask) > 0.999).to(mask.dtype)


def _search_batch(
    film: Tensor, mask: Tensor, starts: list[Tensor], *, images: list[Tensor], support: Tensor, steps: int
) -> Tensor:
    count = len(film)
    film, mask = padded(film, BATCH), padded(mask, BATCH)
    starts = [padded(start, BATCH).detach().to(film) for start in starts]
    levels = [
        _Level(local_contrast(gaussian_blur(film, sigma=sigma), mask), mask, image, support)
        for sigma, image in zip(SIGMAS, images, strict=True)
    ]
    with torch.no_grad():
        start = _best(starts, [levels[0].misfit(s) for s in starts])
    unit = torch.zeros(BATCH, 6, dtype=film.dtype, device=film.device, requires_grad=True)
    adam = Adam([unit], learning_rate=LEARNING_RATE)
    for step in range(steps):
        with torch.enable_grad():
            theta = join(start, residual_theta(torch.tanh(unit)))
            slope = levels[len(SIGMAS) * step // steps].slope(theta.detach())
            misfit = (theta * slope).sum()  # with this slope
        (unit.grad,) = torch.autograd.grad(misfit, unit)
        adam.step(learning_rate=LEARNING_RATE * (1 - 0.9 * step / steps))
    with torch.no_grad():
        result = join(start, residual_theta(torch.tanh(unit)))
        return _best([start, result], [levels[1].misfit(start), levels[1].misfit(result)])[:count]


def _slope_by_place(films: Tensor, grid: Tensor, by_pixel: Tensor) -> Tensor:
    """The derivative by x and y of each place of ``grid``, (B, S, S, 2), from that by the pixels sampled there.

    `torch.autograd.grad` calls the same function, but with such an argument loads SymPy first, for 0.25 seconds.
    """
    backward = torch.ops.aten.grid_sampler_2d_backward
    outcome: tuple[Tensor | None, Tensor] = backward(
        by_pixel.view(films.shape), films, grid, BILINEAR, ZEROS, align_corners=False, output_mask=[False, True]
    )
    return outcome[1]


class _Level:
    """The misfit of films to the canonical image at one blur, and its slope.

    ``films`` are contrasts and ``mask`` 1 inside the films, float32 (B, 1, S, S); ``image`` and ``support`` (1, 1, S,
    S). The slope is written out: autograd would pass over all pixels several times as often.
    """

    def __init__(self, films: Tensor, mask: Tensor, image: Tensor, support: Tensor) -> None:
        self.films, self.both, self.support = films, torch.cat([films, mask], 1), support.flatten(1)
        self.image = image.flatten(1)  # (1, S * S)
        self.powers = torch.stack([torch.ones_like(self.image), self.image, self.image**2], -1)[0]  # (S * S, 3)
        side = films.shape[-1]
        self.centres = ((torch.arange(side, dtype=torch.float64) * 2 + 1) / side - 1).to(films)  # in [-1, 1]

    def misfit(self, theta: Tensor) -> Tensor:
        """1 - `correlation` of each film sampled at ``theta`` (B, 2, 3), over the pixels that both cover; (B,)."""
        return 1 - self._moments(*self._pull(self._grid(theta))).correlation

    def slope(self, theta: Tensor) -> Tensor:
        """The derivative of the misfit by ``theta``, (B, 2, 3)."""
        grid = self._grid(theta)
        sampled, weight = self._pull(grid)
        by_pixel = self._moments(sampled, weight).slope(self.image, sampled).mul_(weight)
        by_place = _slope_by_place(self.films, grid, by_pixel)
        columns, rows = by_place.sum(1), by_place.sum(2)  # (B, S, 2)
        parts = [self.centres @ columns, self.centres @ rows, columns.sum(1)]
        return torch.stack(parts, -1)

    def _grid(self, theta: Tensor) -> Tensor:
        """The places in the films, (B, S, S, 2) as x and y in [-1, 1], of the pixels of the canonical frame."""
        side = len(self.centres)
        grid = theta.new_empty(len(theta), side, side, 2)
        for axis in range(2):
            across = theta[:, axis, 0, None] * self.centres + theta[:, axis, 2, None]
            down = theta[:, axis, 1, None] * self.centres
            torch.add(across[:, None, :], down[:, :, None], out=grid[..., axis])
        return grid

    def _pull(self, grid: Tensor) -> tuple[Tensor, Tensor]:
        """The films sampled at the places of ``grid``, (B, S * S), 0 outside them, and their weight: 1.0 where both
        the film and the canonical image have pixels."""
        both = F.grid_sample(self.both, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        sampled, covered = both.flatten(2).unbind(1)
        return sampled, (covered > 0.999).to(self.support) * self.support

    def _moments(self, sampled: Tensor, weight: Tensor) -> _Moments:
        weighted = sampled * weight
        count, image, image_squared = (weight @ self.powers).T
        film, both = (weighted @ self.powers[:, :2]).T
        count = count.clamp_min(1)
        mean_film, mean_image = film / count, image / count
        return _Moments(
            mean_film=mean_film,
            mean_image=mean_image,
            var_film=(weighted.square().sum(1) - film * mean_film).clamp_min(0) / count,
            var_image=(image_squared - image * mean_image).clamp_min(0) / count,
            covariance=(both - film * mean_image) / count,
            count=count,
        )


@dataclass(frozen=True)
class _Moments:
    """Of sampled films and the canonical image over the pixels with weight, (B,) each."""

    mean_film: Tensor
    mean_image: Tensor
    var_film: Tensor
    var_image: Tensor
    covariance: Tensor
    count: Tensor

    @property
    def correlation(self) -> Tensor:
        """In [-1, 1]; 0 for a constant film."""
        return self.covariance / self._spread

    @property
    def _spread(self) -> Tensor:
        return (self.var_film * self.var_image).clamp_min(LEAST_SPREAD).sqrt()

    def slope(self, image: Tensor, film: Tensor) -> Tensor:
        """The derivative of 1 - correlation by each pixel of the sampled ``film`` (B, S * S), where it has weight."""
        by_image = -1 / (self._spread * self.count)
        by_film = self.correlation / (self.var_film * self.count).clamp_min(LEAST_SPREAD)
        constant = -by_image * self.mean_image - by_film * self.mean_film
        slope = image * by_image[:, None] + constant[:, None]
        return slope.addcmul_(film, by_film[:, None])


def _best(thetas: list[Tensor], misfits: list[Tensor]) -> Tensor:
    """The theta with the smallest misfit for each film; the first among equals, and never one whose misfit is NaN."""
    choice = torch.stack(misfits).nan_to_num(nan=torch.inf).argmin(0)
    return torch.stack(thetas)[choice, torch.arange(len(choice), device=choice.device)]

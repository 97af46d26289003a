"""The fit of an alignment: canonical image, network Φ_A and groupwise rounds (paper, section 3.1, Fig. 7)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn as nn
from torch import Tensor

from ml_engine.core.alignment.adam import Adam
from ml_engine.core.alignment.batches import spans
from ml_engine.core.alignment.canonical import Canonical, mean_of_aligned, recentred, with_gauge
from ml_engine.core.alignment.checkpoint import State, fingerprint, restore_state, save_state
from ml_engine.core.alignment.checks import check, measured
from ml_engine.core.alignment.known import known_affines
from ml_engine.core.alignment.losses import (
    Perceptual,
    constancy,
    gaussian_blur,
    odd_window,
    reversed_local_ncc,
    reversed_ssim,
)
from ml_engine.core.alignment.model import FittedAlignment, estimate, prepared
from ml_engine.core.alignment.network import AlignmentNetwork
from ml_engine.core.alignment.sampling import join, point_distance, sample, sample_valid, unaligned
from ml_engine.core.alignment_config import AlignmentConfig
from ml_engine.core.errors import AlignmentCollapsed, InvalidConfig

Progress = Callable[[str, int, int, str | None], None]  # stage, done, total, message
STAGE = "align"
SETTLED_FILMS = 128  # of which the loss of a plateau is computed
LEAST_FALL = 0.005  # of a loss that has not settled
LEAST_INITIAL = 1e-6  # a loss with a smaller initial value is not divided by it


def fit_alignment(
    images: Tensor,
    *,
    valid: Tensor,
    config: AlignmentConfig,
    seed: int,
    checkpoint: Path | None,
    progress: Progress,
    device: str = "cpu",
    vgg_weights: Path | None = None,
    canonical: Tensor | None = None,
) -> FittedAlignment:
    """An alignment fitted on films float32 (N, 1, S, S) in [0, 1], with ``valid`` bool of the same shape.

    ``checkpoint`` is a folder in which each finished epoch is saved: the same call resumes from there, and its result
    has the same bytes as that of an uninterrupted fit. ``canonical`` float32 (S, S) in [0, 1], if there is one, is the
    canonical image (uploaded, or the mean of films aligned by landmarks; the paper's is of hand-aligned films);
    otherwise it is the mean of the films. ``vgg_weights`` is the file of the perceptual loss.

    Raises InvalidConfig for a perceptual loss without VGG19 weights and for fewer than two films, AlignmentCollapsed
    where the aligned films leave the frame or the loss is not finite.
    """
    if len(images) < 2:
        raise InvalidConfig(f"An alignment needs at least 2 films, not {len(images)}: add films to the part.")
    fit = _Fit(images, valid, config=config, seed=seed, device=device, vgg_weights=vgg_weights, own_canonical=canonical)
    if config.uses_network:
        fit.train(folder=checkpoint, progress=progress)
    else:
        fit.search_alone(progress=progress)
    return fit.finished(images, valid)


class _Fit:
    """A fit: the films at the network's side, and the state between epochs."""

    def __init__(
        self,
        images: Tensor,
        valid: Tensor,
        *,
        config: AlignmentConfig,
        seed: int,
        device: str,
        vgg_weights: Path | None,
        own_canonical: Tensor | None,
    ) -> None:
        self.config, self.seed, self.own_canonical = config, seed, own_canonical
        self.groupwise = config.rounds > 1 and own_canonical is None
        films, mask = prepared(images, valid, size=config.size)
        self.films, self.valid = films.to(device), mask.to(device)
        self.perceptual = self._perceptual(vgg_weights, device)
        generator = torch.Generator().manual_seed(seed)
        network = AlignmentNetwork(config, generator=generator).to(device)
        adam = Adam(network.parameters(), learning_rate=config.learning_rate)
        self.chosen = torch.randperm(len(films), generator=generator)[: config.canonical_images]
        blank = Canonical(torch.zeros_like(self.films[:1]), torch.zeros_like(self.films[:1]))
        thetas = unaligned(len(films)).to(device)
        self.state = State(
            network=network,
            adam=adam,
            generator=generator,
            canonical=blank,
            gauge=thetas[0].clone(),
            targets=thetas,
            scales={},
            history=[],
        )

    def _perceptual(self, weights: Path | None, device: str) -> Perceptual | None:
        if self.config.perceptual == 0 or not self.config.uses_network:
            return None
        if weights is None or not weights.is_file():
            raise InvalidConfig(
                "The perceptual loss needs the VGG19 weights, and they are not installed: import the weights "
                "vgg19, or set alignment.perceptual=0 to fit without this loss."
            )
        is_rounded = self.config.perceptual_precision == "bfloat16"
        return Perceptual(weights, dtype=torch.bfloat16 if is_rounded else torch.float32).to(device)

    # the rounds

    def train(self, *, folder: Path | None, progress: Progress) -> None:
        """Run all epochs that are not in the checkpoint yet."""
        state, epochs = self.state, self.config.epochs
        state.canonical = self._first_canonical()
        identity = fingerprint([self.films, self.valid, self.state.canonical.image], self.config, self.seed)
        if folder is None or not restore_state(folder, state, identity=identity):
            self._start()
        while (epoch := self._next_epoch()) < epochs:
            progress(STAGE, epoch, epochs, None)
            if epoch in self._round_starts():
                self._next_round()
            state.history.append(self._epoch(epoch))
            self._guard(state.history[-1])
            if folder is not None:
                save_state(folder, state, identity=identity)
        progress(STAGE, epochs, epochs, None)

    def _next_epoch(self) -> int:
        """The epoch after the last one; after a plateau the first one of the next round, or ``config.epochs``, the end.

        It follows from the history alone, so that an interrupted fit goes on as an uninterrupted one.
        """
        done, patience = self.state.epochs_done, self.config.patience
        starts = sorted({*self._round_starts(), self.config.epochs})
        if not patience or done in starts:
            return done
        begin = max(start for start in starts if start < done)
        losses = [numbers["settled"] for numbers in self.state.history if numbers["epoch"] > begin]
        lowest = min(losses[:-patience], default=math.inf)
        has_fallen = min(losses[-patience:]) < lowest * (1 - LEAST_FALL)
        return done if has_fallen else min(start for start in starts if start > done)

    def search_alone(self, *, progress: Progress) -> None:
        """Run the groupwise rounds without a network."""
        self.state.canonical = self._first_canonical()
        for number in range(self.config.rounds):
            progress(STAGE, number, self.config.rounds, None)
            self._next_round()
        progress(STAGE, self.config.rounds, self.config.rounds, None)

    def _start(self) -> None:
        """Paper, Eq. 3: a pass over all films without the optimiser, which fixes the range of the outputs."""
        state = self.state
        settle_batch_norm(state.network, self.films, batch=self.config.batch)
        with torch.no_grad():
            state.network.eval()
            outputs = torch.cat(
                [state.network.outputs(self.films[at]) for at in spans(len(self.films), self.config.batch)]
            )
            state.network.freeze_range(outputs)
        if self.config.normalise_losses:
            state.scales = self._initial_losses()

    def _first_canonical(self) -> Canonical:
        if self.own_canonical is None:
            return self._mean(self.state.targets)
        everywhere = torch.ones(1, 1, *self.own_canonical.shape)
        image, mask = prepared(self.own_canonical[None, None], everywhere, size=self.config.size)
        return Canonical(image.to(self.films), mask.to(self.films))

    def _mean(self, thetas: Tensor) -> Canonical:
        at = self.chosen
        return mean_of_aligned(self.films[at], self.valid[at], thetas[at])

    def _round_starts(self) -> set[int]:
        rounds = self.config.rounds
        return {number * self.config.epochs // rounds for number in range(rounds)}

    def _next_round(self) -> None:
        """Align all films by the current state; if groupwise, also recentre them and compute the mean again."""
        state = self.state
        if not (self.config.uses_search or state.epochs_done):
            return  # nothing to align with yet
        state.targets = estimate(
            self.films,
            self.valid,
            network=state.network,
            config=self.config,
            gauge=state.gauge,
            canonical=state.canonical,
        )
        if self.groupwise:
            self._recentre()
            state.canonical = self._mean(state.targets)

    def _recentre(self) -> None:
        state = self.state
        checks = check(state.targets, self.valid, least_valid_area=self.config.least_valid_area)
        passed = ~checks.failed.to(state.targets.device)
        correction = recentred(state.targets[passed]) if int(passed.sum()) >= 2 else None
        if correction is not None:
            state.targets = with_gauge(state.targets, correction)
            state.gauge = join(state.gauge, correction)

    # one epoch

    def _epoch(self, epoch: int) -> dict[str, float]:
        """Train for an epoch; its mean losses and valid area over all films."""
        state = self.state
        state.network.train()
        order = torch.randperm(len(self.films), generator=state.generator)
        sums: dict[str, float] = {}
        for at in order.tensor_split(math.ceil(len(order) / self.config.batch)):
            losses, area = self._losses(at, known=self._known_affines(len(at)), epoch=epoch)
            total = self._total(losses)
            state.adam.zero_grad()
            total.backward()
            state.adam.step()
            values = {name: float(value.detach()) for name, value in losses.items()}
            for name, value in ({"loss": float(total.detach()), "valid_area": area} | values).items():
                sums[name] = sums.get(name, 0.0) + value * len(at)
        means = {"epoch": epoch + 1.0} | {name: value / len(order) for name, value in sums.items()}
        return means | ({"settled": self._settled_loss()} if self.config.patience else {})

    @torch.no_grad()
    def _settled_loss(self) -> float:
        """The total loss of the first films, unblurred and not transformed, comparable between epochs of a round."""
        self.state.network.eval()
        at = torch.arange(min(len(self.films), SETTLED_FILMS))
        total = 0.0
        for span in spans(len(at), self.config.batch):
            part = at[span]
            still = unaligned(len(part)).to(self.films)
            losses, _ = self._losses(part, known=still, epoch=self.config.epochs - 1)
            total += float(self._total(losses)) * len(part)
        return total / len(at)

    def _known_affines(self, count: int) -> Tensor:
        affines = known_affines(count, generator=self.state.generator, strength=self.config.augmentation)
        return affines.to(self.films)

    def _losses(self, at: Tensor, *, known: Tensor, epoch: int) -> tuple[dict[str, Tensor], float]:
        """The mean of each loss, and the valid area, of the films ``at`` transformed by the affines ``known``."""
        state, config = self.state, self.config
        films, mask = self.films[at], self.valid[at]
        transformed = sample(films, known) if config.augmentation > 0 else films
        theta = with_gauge(join(known, state.network(transformed)), state.gauge)
        sigma = self._blur(epoch)
        aligned = sample(gaussian_blur(films, sigma=sigma), theta)
        inside = sample_valid(mask, theta)
        weight = inside * state.canonical.support if config.valid_only else torch.ones_like(inside)
        image = gaussian_blur(state.canonical.image, sigma=sigma).expand_as(aligned)
        if config.valid_only:
            aligned = aligned * weight + image * (1 - weight)
        losses = self._similarity(aligned, image, weight)
        if config.consistency > 0:
            losses["consistency"] = point_distance(theta, self._anchor(at))
        area = float((inside.mean((1, 2, 3)) / mask.mean((1, 2, 3)).clamp_min(1e-9)).mean())
        return {name: value.mean() for name, value in losses.items()}, area

    @torch.no_grad()
    def _anchor(self, at: Tensor) -> Tensor:
        """The thetas (B, 2, 3) for the consistency loss: those of the round's search, or f(x) without a search."""
        if self.config.uses_search:
            return self.state.targets[at]
        return with_gauge(self.state.network(self.films[at]), self.state.gauge)

    def _similarity(self, aligned: Tensor, image: Tensor, weight: Tensor) -> dict[str, Tensor]:
        config = self.config
        losses = {}
        if config.constancy > 0:
            losses["constancy"] = constancy(aligned, image, weight)
        if config.ssim > 0:
            losses["ssim"] = reversed_ssim(aligned, image, weight)
        if self.perceptual is not None:
            losses["perceptual"] = self.perceptual(aligned, image[:1])  # the same for all films
        if config.local_ncc > 0:
            window = odd_window(config.size)
            losses["local_ncc"] = reversed_local_ncc(aligned, image, weight, window=window)
        return losses

    def _total(self, losses: dict[str, Tensor]) -> Tensor:
        terms = [
            value * (getattr(self.config, name) / self.state.scales.get(name, 1.0)) for name, value in losses.items()
        ]
        return torch.stack(terms).sum()

    def _blur(self, epoch: int) -> float:
        """The sigma of the blur in pixels: a 32nd of the side in the first epoch, 0 in the last."""
        if not self.config.coarse_to_fine or self.config.epochs == 1:
            return 0.0
        return self.config.size / 32 * (1 - epoch / (self.config.epochs - 1))

    @torch.no_grad()
    def _initial_losses(self) -> dict[str, float]:
        """The mean of each loss over the first films before the first step; 1 for a loss that starts at 0."""
        at = torch.arange(min(len(self.films), 4 * self.config.batch))
        self.state.network.eval()
        parts = []
        for span in spans(len(at), self.config.batch):
            part = at[span]
            losses, _ = self._losses(part, known=self._known_affines(len(part)), epoch=0)
            parts.append({name: float(value) * len(part) for name, value in losses.items()})
        means = {name: sum(part[name] for part in parts) / len(at) for name in parts[0]}
        # without augmentation the consistency loss starts at 0: dividing by it would make it dominate
        return {name: value if value > LEAST_INITIAL else 1.0 for name, value in means.items()}

    def _guard(self, numbers: dict[str, float]) -> None:
        """Raises AlignmentCollapsed where aligned films have left the frame (the paper's "black image") or the loss is
        not finite."""
        advice = (
            "Choose alignment.initialisation=residual-bounded, raise alignment.alpha or lower alignment.learning_rate."
        )
        epoch = round(numbers["epoch"])
        if not math.isfinite(numbers["loss"]):
            raise AlignmentCollapsed(f"The alignment's loss is not a finite number after epoch {epoch}. {advice}")
        area, least = numbers["valid_area"], self.config.guard_valid_area
        if area < least:
            raise AlignmentCollapsed(
                f"The aligned films cover {area:.0%} of the frame after epoch {epoch}, and at least "
                f"{least:.0%} is expected (alignment.guard_valid_area): they are leaving the frame. {advice}"
            )

    # the end

    def finished(self, images: Tensor, valid: Tensor) -> FittedAlignment:
        """The fitted alignment: gauge and canonical image from the final estimates, and the report on these films."""
        state, config = self.state, self.config
        if config.uses_network:
            settle_batch_norm(state.network, self.films, batch=config.batch)
        state.network.eval()
        self._next_round()
        draft = FittedAlignment(
            config=config,
            network=state.network,
            gauge=state.gauge,
            template=state.canonical,
            canonical=state.canonical.image,
            report={},
        )
        thetas, checks = draft.thetas(self.films, self.valid)
        report = replace(
            measured(self.films, self.valid, thetas, canonical=state.canonical, unchecked=checks),
            history=state.history,
            initial_losses=state.scales,
            canonical_source=self._source(),
        )
        return replace(draft, canonical=self._full_canonical(images, valid, thetas), report=report.to_json())

    def _source(self) -> str:
        """The source of the canonical image, for the report."""
        if self.own_canonical is not None:
            return "given"
        return "mean of films aligned groupwise" if self.groupwise else "mean of unaligned films"

    def _full_canonical(self, images: Tensor, valid: Tensor, thetas: Tensor) -> Tensor:
        """The canonical image at the side S of the input films, float32 (S, S)."""
        if self.own_canonical is not None:
            return self.own_canonical.float()
        at = self.chosen
        aligned = thetas[at].cpu() if self.groupwise else unaligned(len(at))
        return mean_of_aligned(images[at].float(), valid[at].float(), aligned).image[0, 0]


def settle_batch_norm(network: AlignmentNetwork, films: Tensor, *, batch: int) -> None:
    """Set the running statistics of batch normalisation to their mean over the films; no weight changes."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average
    network.train()
    with torch.no_grad():
        for part in films.tensor_split(math.ceil(len(films) / batch)):
            network.outputs(part)
    for norm in norms:
        norm.momentum = 0.1

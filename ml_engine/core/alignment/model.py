"""A fitted alignment, the affines it gives for films, and its file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ml_engine.core.alignment.batches import each_on_one_thread, padded, spans
from ml_engine.core.alignment.canonical import Canonical, with_gauge
from ml_engine.core.alignment.checks import Checks, check
from ml_engine.core.alignment.landmarks import InvalidLandmarks, LandmarkPlacement, Points, place, scaled
from ml_engine.core.alignment.network import AlignmentNetwork
from ml_engine.core.alignment.sampling import unaligned
from ml_engine.core.alignment.search import search
from ml_engine.core.alignment_config import AlignmentConfig
from ml_engine.core.errors import IncompatibleModel
from ml_engine.core.files import read_tensors, write_tensors
from ml_engine.core.geometry import identity, normalised_theta, pixel_affine

FORMAT = 1
BATCH = 32  # fixed and padded, whatever the batch size of the fit


@dataclass(frozen=True)
class FittedAlignment:
    """Everything needed to align films.

    ``canonical`` is the canonical image float32 (S, S) in [0, 1], 0 where too few films have pixels; ``template`` the
    same at the network's side, with its support. ``gauge`` is a theta (2, 3) applied after that of the network.
    ``report`` is an `AlignmentMeasures` as JSON, ``header`` JSON too. ``landmarks`` are the canonical ones in pixels
    of a frame of the side ``config.size``, empty unless the method is landmarks.
    """

    config: AlignmentConfig
    network: AlignmentNetwork
    gauge: Tensor
    template: Canonical
    canonical: Tensor
    report: dict[str, Any]
    header: dict[str, Any] = field(default_factory=dict)
    landmarks: Points = field(default_factory=dict)

    def affines(
        self, images: Tensor, valid: Tensor, *, points: Sequence[Points] | None = None
    ) -> tuple[Tensor, Tensor]:
        """The films' input_from_canonical, float64 (N, 2, 3), in pixels of the S x S input; and flags, bool (N,).

        ``images`` is float32 (N, 1, S, S) in [0, 1], ``valid`` bool (N, 1, S, S). S may differ from the network's
        side, to which films are resized; the canonical frame is S x S as well. The result for a film does not depend on
        the others. A film is flagged if its affine failed a check; with ``config.fallback`` it has the identity then.

        ``points`` are the films' landmarks in pixels of the input, for the method landmarks only. A film whose
        landmarks do not suffice has the identity and is flagged. Raises InvalidLandmarks where ``points`` are missing.
        """
        if len(images) == 0:
            return torch.zeros(0, 2, 3, dtype=torch.float64), torch.zeros(0, dtype=torch.bool)
        if self.config.method == "landmarks":
            return self._affines_by_landmarks(valid, points)
        size = (int(images.shape[-2]), int(images.shape[-1]))
        device = self.gauge.device

        def align(at: slice) -> tuple[Tensor, Checks]:
            return self.thetas(*prepared(images[at].to(device), valid[at].to(device), size=self.config.size))

        parts = spans(len(images), BATCH)
        if self.config.uses_network:  # whose operations are large
            aligned = [align(at) for at in parts]
        else:
            aligned = each_on_one_thread(align, parts, device=device)
        thetas = torch.cat([theta for theta, _ in aligned]).cpu()
        flagged = torch.cat([checks.failed for _, checks in aligned])
        return pixel_affine(thetas, size, size), flagged

    def placed(self, points: Points, *, size: int) -> LandmarkPlacement:
        """The placement of a film by its landmarks, in pixels of its size x size input; the residual is in pixels of a
        frame of the side ``config.size``."""
        step = self.config.size / size
        placement = place(scaled(points, step), self.landmarks)
        affine = placement.input_from_canonical.clone()
        affine[:, 2] /= step
        return replace(placement, input_from_canonical=affine)

    def _affines_by_landmarks(self, valid: Tensor, points: Sequence[Points] | None) -> tuple[Tensor, Tensor]:
        if points is None or len(points) != len(valid):
            raise InvalidLandmarks("This alignment uses landmarks: provide those of all films.")
        size = int(valid.shape[-1])
        placed = [self.placed(film, size=size) for film in points]
        affines = torch.stack([film.input_from_canonical for film in placed])
        thetas = normalised_theta(affines, (size, size), (size, size)).float()
        checks = check(thetas, valid.float(), least_valid_area=self.config.least_valid_area)
        if self.config.fallback:
            affines = torch.where(checks.failed[:, None, None], identity(len(valid)), affines)
        return affines, checks.failed | torch.tensor([bool(film.reason) for film in placed])

    @torch.no_grad()
    def thetas(self, films: Tensor, mask: Tensor) -> tuple[Tensor, Checks]:
        """The thetas (N, 2, 3) of prepared films, with the fallback applied, and the result of the checks."""
        thetas = estimate(
            films, mask, network=self.network, config=self.config, gauge=self.gauge, canonical=self.template
        )
        checks = check(thetas, mask, least_valid_area=self.config.least_valid_area)
        if self.config.fallback:
            failed = checks.failed.to(thetas.device)[:, None, None]
            thetas = torch.where(failed, unaligned(len(films)).to(thetas.device), thetas)
        return thetas, checks


def prepared(images: Tensor, valid: Tensor, *, size: int) -> tuple[Tensor, Tensor]:
    """Films and masks for the network, float32 (N, 1, size, size) each; films are 0 outside the mask.

    ``images`` is float (N, 1, S, S) in [0, 1], ``valid`` bool or float (N, 1, S, S).
    """
    films, masks = (torch.empty(len(images), 1, size, size, device=images.device) for _ in range(2))
    for at in spans(len(images), BATCH):
        films[at], masks[at] = _prepared(images[at], valid[at], size)
    return films, masks


def _prepared(images: Tensor, valid: Tensor, size: int) -> tuple[Tensor, Tensor]:
    films, mask = images.float(), valid.float()
    if images.shape[-2:] != (size, size):
        films = F.interpolate(films, (size, size), mode="bilinear", antialias=True, align_corners=False)
        mask = F.interpolate(mask, (size, size), mode="bilinear", antialias=True, align_corners=False)
    mask = (mask > 0.999).float()
    return films.clamp(0, 1) * mask, mask


@torch.no_grad()
def estimate(
    films: Tensor,
    mask: Tensor,
    *,
    network: AlignmentNetwork,
    config: AlignmentConfig,
    gauge: Tensor,
    canonical: Canonical,
) -> Tensor:
    """The thetas (N, 2, 3) of prepared films by the configured method: network, search, or both in sequence."""
    starts = [unaligned(len(films)).to(films.device)]
    if config.uses_network:
        starts.append(with_gauge(predict(network, films), gauge))
    if not config.uses_search:
        return starts[-1]
    return search(films, mask, canonical=canonical, starts=starts, steps=config.search_steps)


@torch.no_grad()
def predict(network: AlignmentNetwork, films: Tensor) -> Tensor:
    """The network's thetas (N, 2, 3) in evaluation mode, in padded batches of one fixed size."""
    training = network.training
    network.eval()
    thetas = []
    for at in spans(len(films), BATCH):
        part = films[at]
        thetas.append(network(padded(part, BATCH))[: len(part)])
    network.train(training)
    return torch.cat(thetas)


def save_alignment(model: FittedAlignment, path: Path, *, header: dict[str, Any]) -> None:
    """Write the alignment as a safetensors file, with ``header`` as additional JSON."""
    tensors = {f"network.{name}": value for name, value in model.network.state_dict().items()}
    tensors |= {"gauge": model.gauge, "canonical": model.canonical}
    tensors |= {"template.image": model.template.image, "template.support": model.template.support}
    facts = {"format": FORMAT, "config": model.config.to_json(), "report": model.report, "header": header}
    if model.landmarks:
        facts["landmarks"] = dict(model.landmarks)
    write_tensors(path, tensors, facts)


def load_alignment(path: Path, *, device: str = "cpu") -> FittedAlignment:
    """The alignment written by `save_alignment`. Raises IncompatibleModel for any other file or format."""
    tensors, facts = read_tensors(path)
    tensors = {name: value.to(device) for name, value in tensors.items()}
    if facts.get("format") != FORMAT or "gauge" not in tensors:
        raise IncompatibleModel(
            f"The alignment file has format {facts.get('format')}, and this version needs {FORMAT}: fit it again."
        )
    config = AlignmentConfig.from_json(facts["config"])
    network = AlignmentNetwork(config, generator=torch.Generator()).to(device)
    weights = {name.removeprefix("network."): v for name, v in tensors.items() if name.startswith("network.")}
    wanted = network.state_dict()  # files of 0.2.0 and before hold a ResNet for methods that do not use it, too
    network.load_state_dict({name: value for name, value in weights.items() if config.uses_network or name in wanted})
    template = Canonical(tensors["template.image"], tensors["template.support"])
    return FittedAlignment(
        config=config,
        network=network.eval(),
        gauge=tensors["gauge"],
        template=template,
        canonical=tensors["canonical"],
        report=facts["report"],
        header=facts["header"],
        landmarks={name: (x, y) for name, (x, y) in facts.get("landmarks", {}).items()},
    )

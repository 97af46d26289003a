"""Fits on synthetic films: recovery of poses, resuming, determinism, refusals."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from ml_engine.core import files
from ml_engine.core.alignment.checkpoint import NAME
from ml_engine.core.alignment.fit import fit_alignment
from ml_engine.core.alignment.model import FittedAlignment, load_alignment, save_alignment
from ml_engine.core.alignment.sampling import unaligned
from ml_engine.core.alignment_config import AlignmentConfig
from ml_engine.core.errors import AlignmentCollapsed, IncompatibleModel, InvalidConfig
from ml_engine.core.geometry import apply, compose, identity, normalised_theta, pixel_affine
from tests.ml_engine.core.alignment.blobs import films, quiet, small_config

SIDE = 64


def fit(config: AlignmentConfig, *, count: int = 8, seed: int = 0, **more: Any) -> FittedAlignment:
    shown, valid, _ = films(count)
    options = {"checkpoint": None, "progress": quiet} | more
    return fit_alignment(shown, valid=valid, config=config, seed=seed, **options)


@pytest.fixture(scope="module")
def fitted() -> FittedAlignment:
    return fit(small_config())


def file_hash(model: FittedAlignment, folder: Path) -> str:
    path = folder / "model.safetensors"
    save_alignment(model, path, header={"seed": 0})
    return hashlib.sha256(path.read_bytes()).hexdigest()


def spread_px(thetas: torch.Tensor, atlas_from_film: torch.Tensor) -> float:
    """The median distance in pixels between the films' positions of five points of the atlas."""
    points = torch.tensor([[-0.5, -0.5], [0.5, -0.5], [-0.5, 0.5], [0.5, 0.5], [0, 0]])
    places = apply(compose(atlas_from_film, thetas), points)
    return float((places - places.median(0).values).norm(dim=-1).median()) * SIDE / 2


def test_known_poses_are_recovered() -> None:
    shown, valid, atlas_from_film = films(16)
    config = small_config(epochs=3, rounds=3, batch=8, search_steps=40, learning_rate=1e-3)
    model = fit_alignment(shown, valid=valid, config=config, seed=0, checkpoint=None, progress=quiet)
    affines, flagged = model.affines(shown, valid)
    thetas = normalised_theta(affines, (SIDE, SIDE), (SIDE, SIDE))
    before = spread_px(unaligned(16), atlas_from_film)
    after = spread_px(thetas[~flagged], atlas_from_film[~flagged])
    assert before > 2
    assert after < 0.25 * before
    assert flagged.float().mean() < 0.3
    report = model.report
    assert report["ncc_after"] > report["ncc_before"]
    assert report["ssim_after"] > report["ssim_before"]
    assert report["stack_variance_after"] < report["stack_variance_before"]


def test_search_alone_recovers_poses_of_films_it_never_saw() -> None:
    model = fit(small_config(method="search", rounds=3, epochs=3, search_steps=40), count=16)
    shown, valid, atlas_from_film = films(10, seed=7)
    affines, flagged = model.affines(shown, valid)
    thetas = normalised_theta(affines, (SIDE, SIDE), (SIDE, SIDE))
    assert spread_px(thetas[~flagged], atlas_from_film[~flagged]) < 1.2
    assert model.report["history"] == []


class Interrupted(Exception):
    pass


def stop_before(epoch: int) -> Any:
    def progress(stage: str, done: int, total: int, message: str | None) -> None:
        if done == epoch:
            raise Interrupted

    return progress


def test_an_interrupted_fit_ends_with_the_same_bytes(tmp_path: Path) -> None:
    config = small_config(epochs=3)
    unbroken = fit(config, checkpoint=tmp_path / "unbroken")
    for epoch in (1, 2):
        with pytest.raises(Interrupted):
            fit(config, checkpoint=tmp_path / "broken", progress=stop_before(epoch))
    seen: list[int] = []
    resumed = fit(config, checkpoint=tmp_path / "broken", progress=lambda s, done, t, m: seen.append(done))
    assert seen == [2, 3]
    assert file_hash(resumed, tmp_path) == file_hash(unbroken, tmp_path)


def test_a_plateau_ends_a_round_and_an_interrupted_fit_ends_with_the_same_bytes(tmp_path: Path) -> None:
    config = small_config(method="network", epochs=12, rounds=2, patience=1, learning_rate=1e-7)
    unbroken = fit(config, checkpoint=tmp_path / "unbroken")
    for epoch in (1, 7):
        with pytest.raises(Interrupted):
            fit(config, checkpoint=tmp_path / "broken", progress=stop_before(epoch))
    seen: list[int] = []

    resumed = fit(config, checkpoint=tmp_path / "broken", progress=lambda s, done, t, m: seen.append(done))

    epochs = [round(numbers["epoch"]) for numbers in unbroken.report["history"]]
    assert epochs == [1, 2, 7, 8]  # the loss does not fall at this learning rate
    assert seen == [7, 12]
    assert file_hash(resumed, tmp_path) == file_hash(unbroken, tmp_path)


def test_a_falling_loss_is_trained_to_the_end() -> None:
    config = small_config(method="network", epochs=6, rounds=1, patience=2)

    history = fit(config).report["history"]

    settled = [numbers["settled"] for numbers in history]
    lowest = [min(settled[: k + 1]) for k in range(len(settled))]
    for k in range(2, len(history) - 1):  # every epoch but the last one was worth going on
        assert lowest[k] < lowest[k - 2] * 0.995
    assert len(history) >= 3
    assert "settled" not in fit(small_config(method="network")).report["history"][0]


def test_a_checkpoint_of_another_fit_is_not_resumed(tmp_path: Path) -> None:
    fit(small_config(), checkpoint=tmp_path)
    seen: list[int] = []
    fit(small_config(), seed=1, checkpoint=tmp_path, progress=lambda s, done, t, m: seen.append(done))
    assert seen == [0, 1, 2]


def test_a_damaged_checkpoint_restarts_the_fit(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"half a file")
    seen: list[int] = []
    fit(small_config(), checkpoint=tmp_path, progress=lambda s, done, t, m: seen.append(done))
    assert seen == [0, 1, 2]


def test_same_seed_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    config = small_config(initialisation="centred", epochs=2)
    first, second, other = (file_hash(fit(config, seed=seed), tmp_path) for seed in (3, 3, 4))
    assert first == second != other


def test_save_and_load_give_the_same_affines(fitted: FittedAlignment, tmp_path: Path) -> None:
    path = tmp_path / "alignment.safetensors"
    save_alignment(fitted, path, header={"part": "align"})
    loaded = load_alignment(path)
    shown, valid, _ = films(3, seed=2)
    for affine, expected in zip(loaded.affines(shown, valid), fitted.affines(shown, valid), strict=True):
        assert torch.equal(affine, expected)
    assert (loaded.header, loaded.config, loaded.report) == ({"part": "align"}, fitted.config, fitted.report)
    assert torch.equal(loaded.canonical, fitted.canonical)


def test_loading_another_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "alignment.safetensors"
    path.write_bytes(b"nothing")
    with pytest.raises(IncompatibleModel, match="safetensors"):
        load_alignment(path)
    files.write_tensors(path, {"gauge": torch.zeros(2, 3)}, {"format": 9})
    with pytest.raises(IncompatibleModel, match="has format 9, and this version needs 1: fit it again"):
        load_alignment(path)


def test_a_films_affine_does_not_depend_on_the_others(fitted: FittedAlignment) -> None:
    shown, valid, _ = films(35, seed=5)
    together, _ = fitted.affines(shown, valid)
    alone = torch.cat([fitted.affines(shown[k : k + 1], valid[k : k + 1])[0] for k in (0, 31, 32, 34)])
    assert torch.equal(alone, together[[0, 31, 32, 34]])


def test_affines_are_in_pixels_of_the_input_films(fitted: FittedAlignment) -> None:
    shown, valid, _ = films(2, size=128)
    affines, flagged = fitted.affines(shown, valid)
    small = torch.nn.functional.interpolate(shown, (SIDE, SIDE), mode="bilinear", antialias=True)
    expected, _ = fitted.affines(small, torch.ones_like(small).bool())
    doubled = pixel_affine(normalised_theta(expected, (SIDE, SIDE), (SIDE, SIDE)), (128, 128), (128, 128))
    assert affines.dtype == torch.float64 and flagged.dtype == torch.bool
    assert torch.allclose(affines, doubled, atol=1e-4)


def test_no_films_give_no_affines(fitted: FittedAlignment) -> None:
    affines, flagged = fitted.affines(torch.zeros(0, 1, 64, 64), torch.zeros(0, 1, 64, 64).bool())
    assert affines.shape == (0, 2, 3) and flagged.shape == (0,)


def test_affines_that_fail_their_checks_become_the_identity(fitted: FittedAlignment) -> None:
    wild = replace(fitted, config=small_config(method="network"), gauge=torch.tensor([[-1.0, 0, 0], [0, 1, 0]]))
    shown, valid, _ = films(3)
    affines, flagged = wild.affines(shown, valid)
    assert flagged.all()
    assert torch.equal(affines, identity(3))


def test_without_fallback_films_are_only_flagged(fitted: FittedAlignment) -> None:
    wild = replace(
        fitted, config=small_config(method="network", fallback=False), gauge=torch.tensor([[-1.0, 0, 0], [0, 1, 0]])
    )
    shown, valid, _ = films(3)
    affines, flagged = wild.affines(shown, valid)
    assert flagged.all()
    assert (affines[:, 0, 0] < 0).all()


def test_the_guard_stops_a_fit_whose_films_leave_the_frame() -> None:
    config = small_config(method="network", initialisation="paper", learning_rate=1.0, epochs=4, guard_valid_area=0.9)
    with pytest.raises(AlignmentCollapsed, match=r"alignment\.guard_valid_area.*alignment\.initialisation"):
        fit(config)


def test_a_loss_that_is_not_finite_stops_the_fit() -> None:
    shown, valid, _ = films(8)
    shown[3] = float("nan")

    with pytest.raises(AlignmentCollapsed, match="The alignment's loss is not a finite number after epoch 1"):
        fit_alignment(
            shown, valid=valid, config=small_config(method="network"), seed=0, checkpoint=None, progress=quiet
        )


def test_the_perceptual_loss_without_weights_is_refused(tmp_path: Path) -> None:
    for missing in (None, tmp_path / "vgg19.safetensors"):
        with pytest.raises(InvalidConfig, match=r"needs the VGG19 weights.*alignment\.perceptual=0"):
            fit(small_config(perceptual=1.0), vgg_weights=missing)


def test_one_film_cannot_be_aligned() -> None:
    with pytest.raises(InvalidConfig, match="at least 2 films"):
        fit(small_config(), count=1)


def test_the_paper_preset_runs_and_keeps_its_first_canonical() -> None:
    paper = AlignmentConfig.preset("paper")
    config = replace(paper, size=64, epochs=1, batch=4, perceptual=0.0)
    shown, valid, _ = films(6)
    model = fit_alignment(shown, valid=valid, config=config, seed=0, checkpoint=None, progress=quiet)
    assert torch.allclose(model.canonical, shown.mean(0)[0], atol=1e-5)
    assert torch.equal(model.gauge, torch.eye(2, 3))
    assert set(model.report["history"][0]) == {"epoch", "loss", "valid_area", "constancy", "ssim"}


def test_a_provided_canonical_image_is_kept() -> None:
    target = films(1, seed=9)[0][0, 0]
    model = fit(small_config(), canonical=target)
    assert torch.equal(model.canonical, target)
    assert torch.equal(model.gauge, torch.eye(2, 3))


def test_the_report_holds_measurements_checks_and_history(fitted: FittedAlignment) -> None:
    report = fitted.report
    for name in ("ncc", "ssim", "stack_variance"):
        assert {f"{name}_before", f"{name}_after"} <= set(report)
    for name in ("share_determinant_not_positive", "share_scale_outside", "share_valid_area_below"):
        assert 0 <= report[name] <= 1
    assert [entry["epoch"] for entry in report["history"]] == [1, 2]
    assert report["initial_losses"]["local_ncc"] > 0


def test_progress_counts_epochs() -> None:
    seen: list[tuple[int, int]] = []
    fit(small_config(), progress=lambda stage, done, total, message: seen.append((done, total)))
    assert seen == [(0, 2), (1, 2), (2, 2)]


def test_padding_outside_the_valid_area_does_not_matter(fitted: FittedAlignment) -> None:
    shown, valid, _ = films(2, seed=4)
    valid = valid.clone()
    valid[..., :10] = False
    dirty = torch.where(valid, shown, torch.rand_like(shown))
    assert torch.equal(fitted.affines(shown, valid)[0], fitted.affines(dirty, valid)[0])


def test_a_loss_that_starts_at_zero_does_not_dominate_the_others() -> None:
    """Without augmentation f(Ax) A = f(x) holds before the first step."""
    report = fit(small_config(augmentation=0.0)).report
    assert report["initial_losses"]["consistency"] == 1
    assert all(epoch["loss"] < 10 for epoch in report["history"])


def test_the_report_names_the_source_of_the_canonical_image(fitted: FittedAlignment) -> None:
    assert fitted.report["canonical_source"] == "mean of films aligned groupwise"
    assert fit(small_config(rounds=1)).report["canonical_source"] == "mean of unaligned films"
    assert fit(small_config(), canonical=films(1)[0][0, 0]).report["canonical_source"] == "given"


def test_a_search_needs_no_network_and_its_file_of_an_earlier_release_is_read(tmp_path: Path) -> None:
    """Until 0.2.0 every file held a ResNet."""
    fitted = fit(small_config(method="search"))
    assert not list(fitted.network.parameters())
    save_alignment(fitted, tmp_path / "new.safetensors", header={})
    tensors, facts = files.read_tensors(tmp_path / "new.safetensors")
    unused = fit(small_config(epochs=2)).network.state_dict()
    files.write_tensors(
        tmp_path / "old.safetensors", tensors | {f"network.{name}": value for name, value in unused.items()}, facts
    )

    old, new = (load_alignment(tmp_path / f"{name}.safetensors") for name in ("old", "new"))

    shown, valid, _ = films(3, seed=2)
    assert torch.equal(old.affines(shown, valid)[0], new.affines(shown, valid)[0])

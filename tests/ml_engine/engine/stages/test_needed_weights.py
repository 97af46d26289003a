"""The weight files that each kind of run needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml_engine.core.config import PipelineConfig
from ml_engine.core.errors import WeightsMissing
from ml_engine.core.published_weights import KNOWN
from ml_engine.engine.run_kinds import RunKind
from ml_engine.engine.stages import ablation, needed_weights, sweep

NETWORK = {"backbone": "resnet18", "weights": "imagenet", "alignment.method": "network", "alignment.perceptual": "1"}
BASE = PipelineConfig.from_preset("default").replace_fields(NETWORK | {"align": "network"})


def needed(kind: RunKind, config: PipelineConfig, planned: object = None) -> set[tuple[str, str]]:
    return set(needed_weights._needed(kind, config, planned))  # type: ignore[arg-type]


def test_an_alignment_needs_the_weights_of_its_loss_only() -> None:
    assert needed(RunKind.FIT_ALIGNMENT, BASE) == {("imagenet", "vgg19")}
    for name, value in (("perceptual", "0"), ("method", "search")):
        assert needed(RunKind.FIT_ALIGNMENT, BASE.replace_fields({f"alignment.{name}": value})) == set()


@pytest.mark.parametrize("kind", [RunKind.FIT_DETECTOR, RunKind.SCORE, RunKind.BANK_STUDY, RunKind.BLIND_SPOTS])
def test_a_run_that_takes_an_alignment_needs_its_backbone_only(kind: RunKind) -> None:
    assert needed(kind, BASE) == {("imagenet", "resnet18")}


def test_studies_need_all_backbones_and_the_loss_of_their_alignments() -> None:
    axes = {"backbone": ["resnet18", "tf_efficientnet_lite0"]}
    first = sweep.config_of_first_experiment(BASE, axes)
    backbones = {("imagenet", "resnet18"), ("imagenet", "tf_efficientnet_lite0")}

    assert needed(RunKind.SWEEP, first, sweep.plan(first, axes)) == backbones | {("imagenet", "vgg19")}
    unaligned = first.replace(align="none")
    assert needed(RunKind.SWEEP, unaligned, sweep.plan(unaligned, axes)) == backbones
    planned = ablation.plan(BASE, ("12", "alignment"))
    assert needed(RunKind.ABLATION, BASE, planned) == {("imagenet", "resnet18"), ("imagenet", "vgg19")}


def test_only_the_presence_of_a_file_is_checked(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match="of resnet18 are not on this machine"):
        needed_weights.require(RunKind.SCORE, BASE, planned=None, folder=tmp_path)

    (tmp_path / KNOWN["resnet18"].stored_name).touch()
    needed_weights.require(RunKind.SCORE, BASE, planned=None, folder=tmp_path)
    packaged = BASE.replace(backbone="tf_efficientnet_lite2")
    needed_weights.require(RunKind.SCORE, packaged, planned=None, folder=tmp_path)
    assert len(list(tmp_path.iterdir())) == 1  # nothing was converted

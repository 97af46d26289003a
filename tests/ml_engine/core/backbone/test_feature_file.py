"""Features on disk that are read like a tensor."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ml_engine.core.backbone import feature_file
from ml_engine.core.backbone.feature_file import FeatureFile, TooLargeForHalf
from ml_engine.core.bank import detectors
from ml_engine.core.bank.memory_bank import Source
from ml_engine.core.config import PipelineConfig

CPU = torch.device("cpu")


def features_of(count: int, wide: int = 6) -> torch.Tensor:
    return torch.randn(count, wide, generator=torch.Generator().manual_seed(0))


def written(path: Path, features: torch.Tensor, *, is_half: bool = True) -> FeatureFile:
    feature_file.write(path, tuple(features.shape), features.split(5), is_half=is_half)  # type: ignore[arg-type]
    return FeatureFile(path)


def test_rows_are_those_written_rounded_to_half_precision(tmp_path: Path) -> None:
    features = features_of(23)
    kept, half = written(tmp_path / "a.npy", features), features.half().float()

    assert (len(kept), tuple(kept.shape), kept.device) == (23, (23, 6), CPU)
    assert torch.equal(torch.cat(list(kept.split(7))), half)
    assert torch.equal(feature_file.as_kept(features[None])[0], half)
    assert torch.equal(kept[3:9], half[3:9])
    picks = torch.tensor([22, 0, 5, 5])
    assert torch.equal(kept[picks], half[picks])
    assert kept.to(CPU) is kept
    assert kept.to(torch.device("meta"))[:2].device.type == "meta"
    assert torch.equal(written(tmp_path / "b.npy", features, is_half=False)[:], features)


@pytest.mark.parametrize("value", [7e4, -7e4, float("inf"), float("nan")])
def test_a_value_that_half_precision_cannot_hold_is_refused(tmp_path: Path, value: float) -> None:
    features = features_of(8)
    features[7, 2] = value

    with pytest.raises(TooLargeForHalf):
        written(tmp_path / "a.npy", features)
    both = torch.stack([features, features_of(8)])  # of two films, of which one is kept in single precision
    expected = torch.stack([features, features_of(8).half().float()])
    torch.testing.assert_close(feature_file.as_kept(both), expected, rtol=0, atol=0, equal_nan=True)
    assert not (tmp_path / "a.npy").exists()


@pytest.mark.parametrize("detector", ["patchcore", "padim", "spade", "dn2"])
def test_every_detector_is_fitted_from_a_file_as_from_memory(tmp_path: Path, detector: str) -> None:
    config = PipelineConfig.from_preset("default").replace(size=64, grid=2, rate=0.2, detector=detector)
    places = torch.cartesian_prod(torch.arange(8), torch.arange(8))
    source = Source(places, torch.arange(10))
    kept = written(tmp_path / "a.npy", features_of(10 * 64 + 64))  # and a film that is not of the fit
    films = torch.tensor([0, 3, 4, 8])

    for chosen in (None, films):
        from_file = detectors.fit_model(kept, source, config, films=chosen)
        from_memory = detectors.fit_model(kept[: 10 * 64], source, config, films=chosen)

        ours, theirs = detectors.to_tensors(from_file), detectors.to_tensors(from_memory)
        assert ours.keys() == theirs.keys()
        for name, tensor in theirs.items():
            torch.testing.assert_close(ours[name], tensor, rtol=0, atol=0, equal_nan=True, msg=name)

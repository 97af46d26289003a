from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from ml_engine.core.backbone import feature_file
from ml_engine.core.backbone.feature_file import FeatureFile
from ml_engine.core.bank import memory_bank
from ml_engine.core.bank.memory_bank import Source
from ml_engine.core.config import PipelineConfig
from ml_engine.core.detector import in_memory
from ml_engine.core.score.model_selection import Scorers

CONFIG = PipelineConfig.from_preset("default").replace(size=64, grid=2, rate=0.1, folds=3)
CPU = torch.device("cpu")


def test_each_fold_is_scored_by_banks_of_the_others_from_the_integers_of_all() -> None:
    keep = np.ones((8, 8), dtype=bool)
    places = memory_bank.places_of(keep)
    features = torch.randn(7 * len(places), 6, generator=torch.Generator().manual_seed(0))
    source, folds = Source(places, torch.arange(7)), np.array([0, 1, 2, 0, 1, 2, 0])

    maps = in_memory.fold_maps(features, source, folds, keep=keep, config=CONFIG, device=CPU)

    grid = memory_bank.shared_grid(features, source)
    for fold in range(3):
        others = torch.from_numpy(np.flatnonzero(folds != fold))
        banks = memory_bank.build(features, source, CONFIG, films=others, with_radius=False, grid=grid)
        scorers = Scorers(banks, keep, CONFIG, CPU, films=len(others))
        for film in np.flatnonzero(folds == fold):
            own = features[film * len(places) : (film + 1) * len(places)]
            np.testing.assert_array_equal(maps[:, film], scorers.film_maps(own[None])[:, 0])


class CountedFile(FeatureFile):
    """Features on disk; ``moves`` counts how often they were sent to a device."""

    moves = 0

    def to(self, device: torch.device) -> FeatureFile:
        self.moves += 1
        return super().to(device)


def test_features_are_sent_to_the_device_once_for_all_folds(tmp_path: Path) -> None:
    keep = np.ones((8, 8), dtype=bool)
    source = Source(memory_bank.places_of(keep), torch.arange(6))
    values = torch.randn(6 * len(source.places), 6, generator=torch.Generator().manual_seed(0))
    feature_file.write(tmp_path / "features.npy", (len(values), 6), [values])
    features, folds = CountedFile(tmp_path / "features.npy"), np.array([0, 1, 2, 0, 1, 2])

    in_memory.fold_maps(features, source, folds, keep=keep, config=CONFIG, device=CPU)

    assert features.moves == 1

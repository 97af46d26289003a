"""A film's maps are fused as its detector fuses them, whatever its standardisation."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from analysis.maps.fuse_maps import fused_map

MAPS = np.array([[[1.0, 2.0], [3.0, np.nan]], [[5.0, 6.0], [7.0, 8.0]]], dtype=np.float32)


def facts(mean: Any, std: Any) -> Any:
    """As score.json says it."""
    standard = None if mean is None else {"mean": mean, "std": std}
    return json.loads(json.dumps({"fusion_weight": 0.25, "standardisation": standard}))


def test_raw_maps_are_fused_at_the_runs_weight() -> None:
    fused = fused_map(MAPS, facts(None, None))
    assert fused[0].tolist() == [0.25 * 5 + 0.75 * 1, 0.25 * 6 + 0.75 * 2]
    assert np.isnan(fused[1, 1])


def test_a_number_a_patch_standardises_each() -> None:
    mean, std = [[[1, 1], [1, None]], [[4, 4], [4, 4]]], [[[2, 2], [2, None]], [[1, 1], [1, 2]]]
    assert fused_map(MAPS, facts(mean, std))[1, 0] == 0.25 * 3 + 0.75 * 1


@pytest.mark.parametrize("mean", [[1, 4], [[[1]], [[4]]]])
def test_a_number_a_map_holds_for_all_its_patches(mean: Any) -> None:
    fused = fused_map(MAPS, facts(mean, [2, 2] if mean == [1, 4] else [[[2]], [[2]]]), weight=1.0)
    assert fused[:, 0].tolist() == [0.5, 1.5]
    assert fused[0, 1] == 1.0
    assert np.isnan(fused[1, 1])  # masked in one map is masked
    assert fused_map(MAPS, facts([1, 4], [2, 2]), weight=0.0)[0].tolist() == [0.0, 0.5]

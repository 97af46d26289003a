from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ml_engine.core import files
from ml_engine.core.errors import IncompatibleModel


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    files.write_bytes(path, b"old")

    def write_half() -> None:
        with files.whole(path) as temporary:
            temporary.write_bytes(b"ne")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write_half()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_file_appears_only_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "a.txt"
    with files.whole(path) as temporary:
        temporary.write_bytes(b"new")
        assert not path.exists()
    assert path.read_bytes() == b"new"


def test_arrays_round_trip(tmp_path: Path) -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    files.write_npy(tmp_path / "a.npy", array)
    files.stream_npy(tmp_path / "b.npy", (2, 3), [array[:1], array[1:]])

    np.testing.assert_array_equal(files.read_npy(tmp_path / "a.npy"), array)
    np.testing.assert_array_equal(files.open_npy(tmp_path / "b.npy"), array)
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()


@pytest.mark.parametrize("parts", [[(1, 3)], [(1, 3), (2, 3)], [(2, 4)]])
def test_parts_that_do_not_add_up_to_the_array_leave_no_file(tmp_path: Path, parts: list[tuple[int, int]]) -> None:
    with pytest.raises(ValueError, match=r"rows were written|does not fit"):
        files.stream_npy(tmp_path / "a.npy", (2, 3), [np.zeros(shape, np.float32) for shape in parts])
    assert list(tmp_path.iterdir()) == []


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "evil.npy", np.array([{}], dtype=object), allow_pickle=True)

    for read in (files.read_npy, files.open_npy):
        with pytest.raises(ValueError, match=r"pickle|object"):
            read(tmp_path / "evil.npy")


def test_tensors_round_trip_with_their_header_and_equal_bytes(tmp_path: Path) -> None:
    tensors = {"b": torch.ones(2), "a": torch.arange(3).double()}
    header = {"z": 1, "a": [1, 2], "text": "é"}
    files.write_tensors(tmp_path / "1.safetensors", tensors, header)
    files.write_tensors(tmp_path / "2.safetensors", dict(reversed(tensors.items())), header)

    loaded, loaded_header = files.read_tensors(tmp_path / "1.safetensors")

    assert loaded_header == header
    assert torch.equal(loaded["a"], tensors["a"])
    assert (tmp_path / "1.safetensors").read_bytes() == (tmp_path / "2.safetensors").read_bytes()


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\xff" * 100])
def test_a_damaged_tensor_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.safetensors").write_bytes(content)

    with pytest.raises(IncompatibleModel, match=r"x\.safetensors is not a complete safetensors"):
        files.read_tensors(tmp_path / "x.safetensors")


def test_a_missing_tensor_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IncompatibleModel, match=r"no file x\.safetensors"):
        files.read_tensors(tmp_path / "x.safetensors")


def test_a_link_is_the_same_file_and_replaces_an_existing_one(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "b").write_bytes(b"b")

    files.link_or_copy(tmp_path / "a", tmp_path / "b")

    assert (tmp_path / "b").stat().st_ino == (tmp_path / "a").stat().st_ino


def test_a_read_only_file_is_linked_and_no_temporary_file_stays(tmp_path: Path) -> None:
    source, target = tmp_path / "a.bin", tmp_path / "model" / "b.bin"
    source.write_bytes(b"weights")
    source.chmod(0o444)

    for _ in range(2):  # the second time both names are already the same file
        files.link_or_copy(source, target)

    assert target.read_bytes() == b"weights"
    assert [path.name for path in target.parent.iterdir()] == ["b.bin"]

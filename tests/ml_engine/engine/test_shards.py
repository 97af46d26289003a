"""The ranges of a scoring run, and what run.json says of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ml_engine.core import files
from ml_engine.core.errors import EngineError
from ml_engine.engine import shards
from ml_engine.engine.manifest import ManifestRow
from ml_engine.engine.shards import Shard, parse_range, parse_shard, ranges, shard_of


@pytest.mark.parametrize(
    ("films", "most", "expected"),
    [
        (14, 14, [(0, 14)]),
        (14, 7, [(0, 7), (7, 14)]),
        (14, 5, [(0, 4), (4, 9), (9, 14)]),
        (14, 2, [(0, 2), (2, 4), (4, 6), (6, 8), (8, 10), (10, 12), (12, 14)]),
        (3, 100, [(0, 3)]),
    ],
)
def test_ranges_are_few_and_of_nearly_equal_size(films: int, most: int, expected: list[tuple[int, int]]) -> None:
    assert ranges(films, most) == expected


@pytest.mark.parametrize(
    ("text", "expected"), [("0:3", (0, 3)), ("3:99", (3, 10)), (":4", (0, 4)), ("7:", (7, 10)), (":", (0, 10))]
)
def test_a_range_of_the_command_line_is_a_slice(text: str, expected: tuple[int, int]) -> None:
    assert parse_range(text, 10) == expected


@pytest.mark.parametrize("text", ["3", "4:4", "5:2", "10:12", "-1:3", "a:b", "1:2:3", ""])
def test_another_range_is_refused_with_the_number_of_films(text: str) -> None:
    with pytest.raises(EngineError, match=r"write A:B with A below B, and A below 10, the number of films"):
        parse_range(text, 10)


def rows(*names: str) -> list[ManifestRow]:
    return [ManifestRow(name) for name in names]


def test_ranges_of_two_lists_differ_though_their_numbers_agree() -> None:
    one, other = shard_of(rows("a", "b", "c"), 0, 2), shard_of(rows("a", "b", "d"), 0, 2)
    assert (one.first, one.end, one.of) == (other.first, other.end, other.of)
    assert one != other


def test_a_range_is_read_again_as_it_was_written() -> None:
    shard = Shard(10, 20, 30, "f" * 64)
    assert parse_shard(shard.to_json()) == shard
    assert parse_shard(None) is None
    assert (shard.words("score"), shard.words("sweep")) == ("films 11 to 20", "detectors 11 to 20")


@pytest.mark.parametrize(
    "value",
    [[], {"first": 0}, {"first": 3, "end": 2, "of": 9, "films": ""}, {"first": "0", "end": 2, "of": 9, "films": ""}],
)
def test_nonsense_in_run_json_is_refused(value: Any) -> None:
    with pytest.raises(EngineError, match="json has shard"):
        parse_shard(value)


def test_folders_are_in_the_order_of_their_films(tmp_path: Path) -> None:
    for first in (900, 1000, 20000):
        folder = Shard(first, first + 1, 99999, "").folder_in(tmp_path)
        files.write_json(folder / "run.json", {"kind": "score", "shard": Shard(first, first + 1, 99999, "").to_json()})
    ranges_there = [shards.request_of(folder) for folder in shards.folders(tmp_path)]
    assert [shard.first for _, shard in ranges_there] == [900, 1000, 20000]
    assert ranges_there[0][0] == {"kind": "score"}


def test_a_folder_without_a_range_is_refused(tmp_path: Path) -> None:
    files.write_json(tmp_path / "run.json", {"kind": "score"})
    with pytest.raises(EngineError, match="is no range of a run that can be read"):
        shards.request_of(tmp_path)

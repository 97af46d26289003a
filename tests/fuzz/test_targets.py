"""The short form of `make fuzz`: some hundred random inputs for reader and tables, the same each time."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from portal.imaging.errors import UnusableFile
from tests.fuzz import targets
from tests.fuzz.targets import TARGETS, mutated, seeds

INPUTS = {"reader": 400, "tables": 600}


@pytest.mark.parametrize("name", TARGETS)
def test_random_changes_break_nothing(name: str, tmp_path: Path) -> None:
    random, starts = Random(17), seeds(name)
    for start in starts:
        TARGETS[name](start, tmp_path)
    for _ in range(INPUTS[name]):
        data = mutated(random.choice(starts), starts, random)
        try:
            TARGETS[name](data, tmp_path)
        except BaseException as error:
            error.add_note(f"the input: {data.hex()}")
            raise


def test_an_exception_of_the_reader_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(path: Path) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(targets, "read_film", broken)
    with pytest.raises(ZeroDivisionError):
        targets.read_any_film(b"DICM", tmp_path)


def test_a_refusal_without_a_sentence_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(path: Path) -> None:
        raise UnusableFile("unreadable", "")

    monkeypatch.setattr(targets, "read_film", silent)
    with pytest.raises(AssertionError):
        targets.read_any_film(b"DICM", tmp_path)


def test_changes_are_the_same_for_a_seed() -> None:
    inputs = [[mutated(b"filename,label\n", [b"abc"], Random(seed)) for seed in range(50)] for _ in range(2)]
    assert inputs[0] == inputs[1]
    assert len(set(inputs[0])) > 40

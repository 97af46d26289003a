"""The list of erasures grows, is copied without doubles, and outlives a crash."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings

from analysis.evaluation.erasing import CannotErase, confirmation_of, erase_patient
from portal.backups import erasure_list
from portal.backups.erasure_list import ErasedPatient
from portal.models import Erasure, Image
from tests.portal import factories

ONE = ErasedPatient("a", "site", "2026-11-30", ("1", "2"))
TWO = ErasedPatient("b", "site", "2026-11-30", ("3",))


def test_lists_are_merged_without_doubles(data_dir: Path) -> None:
    assert erasure_list.read(erasure_list.list_path()) == []
    erasure_list.merge_into_own([ONE, ONE])
    erasure_list.merge_into_own([ONE, TWO])
    assert erasure_list.read(erasure_list.list_path()) == [ONE, TWO]


def test_a_line_that_was_cut_off_costs_no_other(data_dir: Path) -> None:
    erasure_list.merge_into_own([ONE])
    path = erasure_list.list_path()
    path.write_text(path.read_text() + '{"erasure": "x", "si')
    erasure_list.merge_into_own([TWO])
    assert erasure_list.read(path) == [ONE, TWO]


@pytest.mark.django_db
def test_an_erasure_is_noted_before_anything_is_deleted(data_dir: Path, tmp_path: Path) -> None:
    film = factories.film(factories.dataset(), "normal", person="one")
    patient = film.patient
    (tmp_path / "a file").touch()
    asked: dict[str, Any] = {
        "patient": patient,
        "reason": "Withdrawn",
        "confirmation": confirmation_of(patient),
        "actor": None,
    }
    with (
        override_settings(ERASURE_LIST=str(tmp_path / "a file" / "list")),
        pytest.raises(CannotErase, match=r"The list of erasures \(HILUM_ERASURE_LIST\) cannot be written"),
    ):
        erase_patient(**asked)
    assert Image.objects.filter(pk=film.pk).exists()
    assert not Erasure.objects.exists()
    with override_settings(ERASURE_LIST=str(tmp_path / "share" / "list")):
        erase_patient(**asked)
        (line,) = erasure_list.read(tmp_path / "share" / "list")
    assert (line.erasure, line.keys) == (str(Erasure.objects.get().uuid), tuple(Erasure.objects.get().keys))


def test_bytes_that_are_no_text_cost_no_other_line(tmp_path: Path) -> None:
    path = tmp_path / "erasures.jsonl"
    path.write_bytes(b'\xff\xfe\n{"erasure": "a", "site": "b", "at": "c", "keys": ["d"]}\n')
    assert [one.erasure for one in erasure_list.read(path)] == ["a"]

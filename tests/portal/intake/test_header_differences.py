"""Films that come again with another header: what differs is found, counted, and kept until a person decides."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from portal.imaging.deidentify import pseudonym
from portal.intake.header_facts import Fact
from portal.intake.pseudonym_key import site_key
from portal.models import AuditEvent, Dataset, HeaderDifference, Image
from tests.portal import factories
from tests.portal.corrected import FIRST, export, run

pytestmark = [pytest.mark.django_db, pytest.mark.both]


@pytest.fixture
def of(data_dir: Any) -> Dataset:
    return factories.dataset()


def again(of: Dataset, folder: Path, **header: Any) -> dict[Fact, HeaderDifference]:
    """Import a film, and the same pixels with these elements changed: what waits then, by fact."""
    export(folder / "first" / "a.dcm")
    run(of, folder / "first")
    export(folder / "second" / "a.dcm", **header)
    report = run(of, folder / "second")
    waiting = {Fact(row.fact): row for row in HeaderDifference.objects.filter(state="pending")}
    assert report.counts["another header"] == bool(waiting)
    assert report.counts["there already"] == 1
    assert {fact: report.counts[f"differs: {fact}"] for fact in waiting} == dict.fromkeys(waiting, 1)
    return waiting


@pytest.mark.parametrize(("header", "fact", "old", "new"), [
    ({"ViewPosition": "AP"}, Fact.VIEW, "PA", "AP"),
    ({"ImageLaterality": "L"}, Fact.LATERALITY, "", "L"),
    ({"PatientSex": "M"}, Fact.SEX, "F", "M"),
    ({"PatientAge": "053Y"}, Fact.AGE, "51", "53"),
    ({"Manufacturer": "CANON INC."}, Fact.MANUFACTURER, "", "CANON"),
    ({"KVP": "110"}, Fact.VOLTAGE, "", "110"),
    ({"PatientOrientation": ["L", "F"]}, Fact.ORIENTATION, "", "L\\F"),
])  # fmt: skip
def test_a_value_that_differs_is_kept_beside_the_old_one(
    of: Dataset, tmp_path: Path, header: dict[str, Any], fact: Fact, old: str, new: str
) -> None:
    (row,) = again(of, tmp_path, **header).values()
    assert (row.fact, row.old, row.new) == (fact, old, new)
    assert Image.objects.get().header.get("view_position") == "PA"


def test_spacing_window_and_gray_scale(of: Dataset, tmp_path: Path) -> None:
    waiting = again(
        of, tmp_path, PixelSpacing=[0.2, 0.1], WindowCenter="1000", WindowWidth="3000",
        PhotometricInterpretation="MONOCHROME1",
    )  # fmt: skip
    assert set(waiting) == {Fact.SPACING, Fact.WINDOW, Fact.GRAY}
    spacing, window, gray = (waiting[fact] for fact in (Fact.SPACING, Fact.WINDOW, Fact.GRAY))
    assert (spacing.old["spacing_mm"], spacing.new["spacing_mm"]) == ([0.14, 0.14], [0.2, 0.1])
    assert window.new["windows"] == [{"center": 1000, "width": 3000, "name": ""}]
    assert (gray.old["photometric"], gray.new["photometric"]) == ("MONOCHROME2", "MONOCHROME1")


def test_a_patient_is_kept_by_pseudonym_with_study_and_shifted_day(of: Dataset, tmp_path: Path) -> None:
    waiting = again(
        of, tmp_path, PatientID="Quagga^Ulla", StudyInstanceUID="1.2.3.77", AcquisitionDate="20240108"
    )  # fmt: skip
    assert set(waiting) == {Fact.PATIENT, Fact.STUDY, Fact.ACQUIRED}
    image = Image.objects.get()
    assert waiting[Fact.PATIENT].new["pseudonym"] == pseudonym(site_key(of.site), "Quagga^Ulla")
    assert waiting[Fact.PATIENT].old == {"pseudonym": image.patient.pseudonym}
    moved = image.acquired_day + timedelta(days=7)
    assert waiting[Fact.ACQUIRED].new == {"day": moved.isoformat(), "patient": image.patient.pseudonym}
    everything = json.dumps(
        [list(HeaderDifference.objects.values("old", "new")), list(AuditEvent.objects.values("after"))]
    )
    assert "Quagga" not in everything
    assert "2024" not in everything
    assert "1.2.3.77" not in everything


def test_what_the_later_file_does_not_state_is_no_difference(of: Dataset, tmp_path: Path) -> None:
    absent = dict.fromkeys(
        ["PatientID", "ViewPosition", "PixelSpacing", "WindowCenter", "WindowWidth", "PatientSex", "PatientAge",
         "StudyInstanceUID", "AcquisitionDate"]
    )  # fmt: skip
    assert again(of, tmp_path, **absent, SOPInstanceUID="1.2.3.4.99") == {}


def test_another_spelling_of_the_same_number_is_the_same_patient(of: Dataset, tmp_path: Path) -> None:
    assert again(of, tmp_path, PatientID="00012") == {}


def test_a_png_with_the_same_pixels_corrects_nothing(of: Dataset, tmp_path: Path) -> None:
    export(tmp_path / "first" / "a.dcm")
    run(of, tmp_path / "first")
    (tmp_path / "second").mkdir()
    factories.png(tmp_path / "second" / "a.png", seed=1)
    assert run(of, tmp_path / "second").to_json() == {"there already": 1}


def test_a_warning_that_is_gone_is_a_difference(of: Dataset, tmp_path: Path) -> None:
    export(tmp_path / "first" / "a.dcm", WindowWidth="0")
    run(of, tmp_path / "first")
    export(tmp_path / "second" / "a.dcm")
    run(of, tmp_path / "second")
    waiting = {row.fact: row for row in HeaderDifference.objects.all()}
    assert set(waiting) == {Fact.WINDOW, Fact.WARNINGS}
    assert waiting[Fact.WARNINGS].new == ""


def test_the_report_names_facts_and_counts_and_no_value(of: Dataset, tmp_path: Path) -> None:
    for seed in (1, 2):
        export(tmp_path / "first" / f"{seed}.dcm", seed=seed)
    run(of, tmp_path / "first")
    for seed in (1, 2):
        export(tmp_path / "second" / f"{seed}.dcm", seed=seed, ViewPosition="AP", PatientID=f"Quagga {seed}")
    export(tmp_path / "second" / "once more.dcm", seed=1, PixelSpacing=[0.2, 0.2])  # twice in one import
    report = run(of, tmp_path / "second")
    (words, *_) = report.sentences()
    assert words == (
        "3 films came again with another header; their new facts wait until somebody takes or dismisses them "
        "(patient 2, view 2, spacing 1)"
    )
    assert report.to_json() == {
        "another header": 3, "there already": 2, "the same film again": 1, "differs: patient": 2, "differs: view": 2,
        "differs: spacing": 1,
    }  # fmt: skip
    assert "Quagga" not in json.dumps(list(AuditEvent.objects.values("after")))


def test_a_later_file_replaces_what_waits_and_a_dismissed_value_is_not_asked_about_again(
    of: Dataset, tmp_path: Path
) -> None:
    waiting = again(of, tmp_path, ViewPosition="AP")
    export(tmp_path / "third" / "a.dcm", ViewPosition="LATERAL")
    run(of, tmp_path / "third")
    assert [row.new for row in HeaderDifference.objects.all()] == ["LATERAL"]
    HeaderDifference.objects.filter(pk=waiting[Fact.VIEW].pk).update(state="dismissed", decided_at=of.created_at)
    report = run(of, tmp_path / "third")
    assert report.to_json() == {"another header, dismissed": 1, "there already": 1}
    assert run(of, tmp_path / "third", takes_new_facts=True).counts["another header"] == 1
    assert HeaderDifference.objects.filter(state="pending").count() == 1


def test_the_first_file_itself_is_recognised_by_its_hash(of: Dataset, tmp_path: Path) -> None:
    again(of, tmp_path, ViewPosition="AP")
    assert run(of, tmp_path / "first").to_json() == {"there already": 1}
    assert HeaderDifference.objects.count() == 1
    assert FIRST["ViewPosition"] == "PA"

"""Each file becomes a film once, in any format; unusable files are quarantined with a reason; no person is named."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from django.apps import apps
from django.conf import settings as django_settings
from django.db import IntegrityError, connection
from django.test.utils import CaptureQueriesContext

from portal.imaging.errors import UnusableFile
from portal.imaging.film import unpack
from portal.imaging.film_warnings import WARNINGS
from portal.intake import film_files
from portal.intake.csv_labels import read_boxes, read_labels
from portal.intake.entries import entries_of_folder
from portal.intake.film_storage import age_band
from portal.intake.films import import_entries
from portal.intake.import_report import NOTHING_MATCHED, ImportReport
from portal.intake.patient_identifiers import PatientSource
from portal.models import (
    AuditEvent,
    CurrentLabel,
    Dataset,
    Image,
    LabelEvent,
    Patient,
    QuarantinedFile,
    Site,
    Study,
    Upload,
)
from tests.portal import factories

pytestmark = [pytest.mark.django_db]


@pytest.fixture
def of() -> Dataset:
    return factories.dataset()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "films"
    folder.mkdir()
    return folder


def run(of: Dataset, folder: Path, *, labels: Path | None = None, boxes: Path | None = None) -> ImportReport:
    report = ImportReport()
    rows = read_labels(labels) if labels else None
    entries = entries_of_folder(folder, rows, read_boxes(boxes) if boxes else None, report)
    return import_entries(upload=Upload.objects.create(dataset=of), entries=entries, report=report, actor=None)


def counts_of(report: ImportReport) -> dict[str, int]:
    return {name: count for name, count in report.counts.items() if count}


def everything() -> dict[str, list[Any]]:
    """All rows except those of the imports themselves."""
    models = [Image, Patient, Study, LabelEvent, CurrentLabel, QuarantinedFile, Site, Dataset]
    return {model.__name__: list(model.objects.order_by("pk").values()) for model in models}


# formats ----------------------------------------------------------------------------------------------------


@pytest.mark.both
def test_png_jpeg_tiff_and_dicom_become_films(of: Dataset, folder: Path) -> None:
    factories.png(folder / "16bit.png", seed=1)
    factories.png_8bit(folder / "8bit.png", seed=2)
    factories.jpeg(folder / "film.jpg", seed=3)
    factories.tiff(folder / "deep" / "film.tiff", seed=4)
    factories.dicom(folder / "film.dcm", seed=5)
    assert counts_of(run(of, folder)) == {"imported": 5}
    assert {image.facts["source"] for image in of.images.all()} == {"png", "jpeg", "tiff", "dicom"}
    for image in of.images.all():
        assert film_files.preview_path(image).read_bytes().startswith(b"\xff\xd8\xff")


def test_the_pixels_are_kept_to_the_bit(of: Dataset, folder: Path) -> None:
    factories.png(folder / "a.png", seed=1)
    run(of, folder)
    image = of.images.get()
    kept = unpack(film_files.pixel_path(image.pixel_sha256).read_bytes(), image.rows, image.columns)
    np.testing.assert_array_equal(kept, factories.pixels(1))


def test_films_are_flushed_together_and_before_the_report(of: Dataset, folder: Path) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no such setting")
    factories.png(folder / "a.png", seed=1)
    with CaptureQueriesContext(connection) as queries:
        run(of, folder)
    sent = [query["sql"] for query in queries]
    reset = sent.index("RESET synchronous_commit")
    stored = next(number for number, sql in enumerate(sent) if 'INTO "portal_image"' in sql)
    reported = next(n for n, sql in enumerate(sent) if sql.startswith('UPDATE "portal_upload"') and "'done'" in sql)
    assert sent.index("SET synchronous_commit TO off") < stored < reset < reported


def test_files_of_scanners_without_an_ending_are_films(of: Dataset, folder: Path) -> None:
    factories.dicom(folder / "IM0001", seed=1)
    factories.dicom(folder / "1.2.840.113619.2.55", seed=2)
    assert counts_of(run(of, folder)) == {"imported": 2}


def test_files_of_other_types_are_skipped(of: Dataset, folder: Path) -> None:
    factories.png(folder / "a.png")
    for name in ("notes.txt", "report.pdf", ".DS_Store", "Thumbs.db", "DICOMDIR", "__MACOSX/._a.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("x")
    assert counts_of(run(of, folder)) == {"imported": 1, "no films": 2}
    assert not QuarantinedFile.objects.exists()


def test_a_repaired_film_carries_its_warnings_and_the_report_counts_them(of: Dataset, folder: Path) -> None:
    for seed, width in enumerate(("0", "-1", "400")):
        factories.dicom(folder / f"{seed}.dcm", seed=seed, WindowCenter="200", WindowWidth=width)
    report = run(of, folder)
    assert counts_of(report) == {"imported": 3, "warned: window": 2}
    assert "2 films with a window that cannot be used: they are shown by their next ones" in report.sentences()[1]
    assert sorted(of.images.values_list("warning", flat=True)) == ["", *[WARNINGS["window"].sentence] * 2]
    again = run(of, folder)
    assert counts_of(again) == {"there already": 3}


def test_films_that_show_nothing_are_imported_and_marked(of: Dataset, folder: Path) -> None:
    factories.png(folder / "good.png")
    PIL.Image.fromarray(np.full((20, 20), 7, np.uint8)).save(folder / "constant.png")
    factories.dicom(folder / "beside.dcm", seed=1, WindowCenter="-9000", WindowWidth="400")
    factories.dicom(folder / "within.dcm", seed=2, WindowCenter="2000", WindowWidth="4000")
    report = run(of, folder)
    assert counts_of(report) == {"imported": 4, "warned: no_contrast": 1, "warned: window_beside": 1}
    assert sorted(of.images.values_list("shows_nothing", flat=True)) == [False, False, True, True]
    beside = of.images.get(warning=WARNINGS["window_beside"].sentence)
    assert (beside.shows_nothing, beside.facts["windows"]) == (True, [])


def test_links_are_not_followed(of: Dataset, folder: Path, tmp_path: Path) -> None:
    (folder / "link.png").symlink_to(factories.png(tmp_path / "outside.png"))
    assert counts_of(run(of, folder)) == {}


def test_an_empty_folder_is_reported(of: Dataset, folder: Path) -> None:
    assert run(of, folder).sentences() == ["Nothing to import: there is no film"]


# the CSV ----------------------------------------------------------------------------------------------------


@pytest.mark.both
def test_a_csv_gives_label_patient_view_part_findings_and_more(of: Dataset, folder: Path) -> None:
    factories.png(folder / "a.png")
    row = {"label": "abnormal", "patient_id": "P1", "projection": "AP", "split": "test", "finding": "nodule|mass"}
    run(of, folder, labels=factories.table(folder / "l.csv", {"filename": "a.png", **row, "source": "ward"}))
    image = of.images.get()
    assert (image.view_position, image.csv_split, image.extra) == ("AP", "test", {})
    assert (image.current_label.value, image.current_label.source) == ("abnormal", "import")
    assert image.current_label.findings == ["nodule", "mass"]
    assert image.patient.identified


def test_views_in_the_words_of_published_tables(of: Dataset, folder: Path) -> None:
    words = {
        "PA": "PA",
        "AP": "AP",
        "LATERAL": "LATERAL",
        "LL": "LL",
        "AP AXIAL": "AP AXIAL",
        "XTABLE LATERAL": "LATERAL",
        "LAO": "LAO",
        "AP_horizontal": "AP",
        "L": "LATERAL",
        "Frontal": "FRONTAL",
        "LPO": "LPO",
        "": "",
        "UNK": "",
        "COSTAL": "",
        "Doe, Jane": "",
    }
    for seed in range(len(words)):
        factories.png(folder / f"{seed}.png", seed=seed)
    rows = [{"filename": f"{seed}.png", "projection": word} for seed, word in enumerate(words)]
    report = run(of, folder, labels=factories.table(folder / "l.csv", *rows))
    assert counts_of(report) == {"imported": len(words), "unknown views": 2}
    (sentence,) = [line for line in report.sentences() if "projection" in line]
    assert (
        sentence
        == "2 rows of the CSV with a projection that is not known, which is kept as unknown (COSTAL, AAA, AAAA; the "
        "first: line 15)"
    )
    names = {f"{seed}.png": view for seed, view in enumerate(words.values())}
    assert dict(of.images.values_list("original_name", "view_position")) == names
    placed = of.images.exclude(extra={}).values_list("extra", flat=True)
    assert {extra["projection as written"] for extra in placed} == {"AP HORIZONTAL", "XTABLE LATERAL"}


def test_boxes_beside_and_across_the_edge_of_their_films_are_counted(of: Dataset, folder: Path) -> None:
    for seed, name in enumerate("abc"):
        factories.png(folder / f"{name}.png", seed=seed)
    rows, columns = factories.pixels(0).shape
    labels = factories.table(folder / "l.csv", *({"filename": f"{name}.png", "label": "abnormal"} for name in "abc"))
    boxes = factories.box_table(
        folder / "b.csv",
        ["a.png", 2000, 1500, 300, 300, "mass"],
        ["b.png", -40, -30, 20, 20, "mass"],
        ["c.png", columns - 3, rows - 2, columns, rows, "mass"],
    )
    for _ in range(2):  # the second time, the films are there
        counts = counts_of(run(of, folder, labels=labels, boxes=boxes))
        assert (counts["boxes outside"], counts["boxes cut"]) == (2, 1)
    kept = [event.boxes for event in LabelEvent.objects.order_by("pk")]
    box = {"x": columns - 3, "y": rows - 2, "width": 3, "height": 2, "finding": "mass"}
    assert kept == [[], [], [box]]
    relabelled = counts_of(run(of, folder / "no films", labels=labels, boxes=boxes))
    assert (relabelled["boxes outside"], relabelled["boxes cut"], relabelled["labels unchanged"]) == (2, 1, 3)


def test_an_exif_turn_moves_the_boxes_with_the_film(of: Dataset, folder: Path) -> None:
    exif = PIL.Image.Exif()
    exif[274] = 6
    lying = np.zeros((48, 64), np.uint8)
    lying[40:48, 50:64] = 255
    PIL.Image.fromarray(lying).save(folder / "turned.png", exif=exif)
    labels = factories.table(folder / "l.csv", {"filename": "turned.png", "label": "abnormal"})
    boxes = factories.box_table(folder / "b.csv", ["turned.png", 50, 40, 14, 8, "disc"])
    counts = counts_of(run(of, folder, labels=labels, boxes=boxes))
    assert counts == {"imported": 1, "boxes turned": 1, "warned: turned": 1}
    image = of.images.get()
    assert (image.rows, image.columns) == (64, 48)
    (box,) = image.label_events.get().boxes
    assert box == {"x": 0, "y": 50, "width": 8, "height": 14, "finding": "disc"}
    kept = unpack(film_files.pixel_path(image.pixel_sha256).read_bytes(), image.rows, image.columns)
    assert kept[50:64, 0:8].min() == 255 and kept.sum() == 255 * 8 * 14
    assert counts_of(run(of, folder / "no films", labels=labels, boxes=boxes))["labels unchanged"] == 1


@pytest.mark.both
def test_the_same_import_twice_changes_nothing(of: Dataset, folder: Path) -> None:
    for seed, name in enumerate("abc"):
        factories.png(folder / f"{name}.png", seed=seed)
    factories.colour_png(folder / "colour.png")
    names = ("a.png", "b.png", "colour.png")
    labels = factories.table(folder / "l.csv", *({"filename": name, "label": "normal"} for name in names))
    boxes = factories.box_table(folder / "b.csv", ["a.png", 1, 2, 3, 4, "nodule"])
    run(of, folder, labels=labels, boxes=boxes)
    before = everything()
    again = run(of, folder, labels=labels, boxes=boxes)
    assert counts_of(again) == {"there already": 2, "quarantined already": 1, "not in the CSV": 1}
    assert everything() == before


def test_a_corrected_csv_appends_and_counts_its_changes(of: Dataset, folder: Path) -> None:
    for seed, name in enumerate("abc"):
        factories.png(folder / f"{name}.png", seed=seed)

    def labels(a: str, b: str, finding: str) -> Path:
        return factories.table(
            folder / "l.csv",
            {"filename": "a.png", "label": a},
            {"filename": "b.png", "label": b},
            {"filename": "c.png", "label": "abnormal", "finding": finding},
        )

    run(of, folder, labels=labels("normal", "normal", "nodule"))
    report = run(of, folder, labels=labels("normal", "exclude", "mass"))
    assert counts_of(report) == {"there already": 3, "label events": 2}
    assert "2 label events appended for changes in the CSV" in report.sentences()
    assert {i.original_name: i.current_label.value for i in of.images.all()} == {
        "a.png": "normal",
        "b.png": "exclude",
        "c.png": "abnormal",
    }
    assert LabelEvent.objects.count() == 5


def test_a_csv_without_findings_and_boxes_removes_none(of: Dataset, folder: Path) -> None:
    factories.png(folder / "a.png")
    boxes = factories.box_table(folder / "b.csv", ["a.png", 1, 2, 3, 4, "nodule"])
    row = {"filename": "a.png", "label": "abnormal", "finding": "nodule", "split": "test"}
    run(of, folder, labels=factories.table(folder / "l.csv", row), boxes=boxes)
    (folder / "l.csv").write_text("filename,label\na.png,abnormal\n")
    assert counts_of(run(of, folder, labels=folder / "l.csv")) == {"there already": 1}
    (folder / "l.csv").write_text("filename,label\na.png,unsure\n")
    assert counts_of(run(of, folder, labels=folder / "l.csv")) == {"there already": 1, "label events": 1}
    event = LabelEvent.objects.latest("pk")
    assert (event.value, event.findings, len(event.boxes)) == ("unsure", ["nodule"], 1)


def test_attributes_of_normals_come_from_the_csv_and_stay_without_its_column(of: Dataset, folder: Path) -> None:
    factories.png(folder / "a.png")
    factories.criteria("A device is normal.")
    (folder / "l.csv").write_text("filename,label,attributes\na.png,normal,device|variant\n")
    run(of, folder, labels=folder / "l.csv")
    label = of.images.get().current_label
    assert (label.attributes, label.criteria) == (["device", "variant"], None)
    for text, appended, attributes in (
        ("filename,label\na.png,normal\n", 0, ["device", "variant"]),
        ("filename,label,attributes\na.png,normal,variant\n", 1, ["variant"]),
        ("filename,label\na.png,unsure\n", 1, []),
    ):
        (folder / "l.csv").write_text(text)
        assert counts_of(run(of, folder, labels=folder / "l.csv")).get("label events", 0) == appended
        assert LabelEvent.objects.latest("pk").attributes == attributes


def test_films_that_were_imported_without_a_csv_are_labelled_by_a_later_one(of: Dataset, folder: Path) -> None:
    factories.dicom(folder / "a.dcm")
    run(of, folder)
    labels = factories.table(folder / "l.csv", {"filename": "a.dcm", "label": "normal"})
    assert counts_of(run(of, folder, labels=labels)) == {"there already": 1, "label events": 1}
    assert of.images.get().current_label.value == "normal"


@pytest.mark.parametrize("column", [{"projection": "AP"}, {"split": "test"}, {"patient_id": "other"}])
def test_write_once_values_are_kept_and_reported(of: Dataset, folder: Path, column: dict[str, str]) -> None:
    factories.png(folder / "a.png")
    first = {"filename": "a.png", "label": "normal", "projection": "PA", "split": "fit", "patient_id": "one"}
    run(of, folder, labels=factories.table(folder / "l.csv", first))
    before = everything()
    report = run(of, folder, labels=factories.table(folder / "l.csv", first | column))
    assert counts_of(report) == {"there already": 1, "kept as imported": 1}
    assert everything() == before


def test_missing_files_are_named(of: Dataset, folder: Path) -> None:
    factories.png(folder / "a.png")
    rows = [{"filename": name, "label": "normal"} for name in ("a.png", "gone.png", "gone too.png")]
    report = run(of, folder, labels=factories.table(folder / "l.csv", *rows))
    assert report.sentences()[-1] == (
        "2 files listed in the CSV are neither in this import nor in the dataset "
        "(the first: line 3, column filename, aaaa.png)"
    )
    assert report.to_json()["missing"] == 2


def test_a_possible_name_is_not_reported_as_a_missing_file(of: Dataset, folder: Path) -> None:
    """The columns are shifted."""
    rows = [{"filename": name} for name in ("Quirina A. Zzyzxson", "Zzyzxson", "1.2.3")]
    report = run(of, folder, labels=factories.table(folder / "l.csv", *rows))
    assert report.sentences() == [
        NOTHING_MATCHED,
        (
            "3 files listed in the CSV are neither in this import nor in the dataset"
            " (the first: line 2, column filename, aaaaaaa a. aaaaaaaa)"
        ),
    ]
    upload = Upload.objects.get()
    assert upload.state == "failed"
    assert "Zzyzxson" not in upload.message
    assert AuditEvent.objects.get(verb="fail to import films").after == {"missing": 3}


def test_files_that_the_csv_does_not_list_are_skipped(of: Dataset, folder: Path) -> None:
    for seed, name in enumerate(("a.png", "b.png", "readme.md")):
        factories.png(folder / name, seed=seed)
    report = run(of, folder, labels=factories.table(folder / "l.csv", {"filename": "a.png"}))
    assert counts_of(report) == {"imported": 1, "not in the CSV": 1}


def test_a_csv_names_a_file_by_its_path_or_its_last_part(of: Dataset, folder: Path) -> None:
    for seed, name in enumerate(("x/a.png", "y/a.png", "y/b.png")):
        factories.png(folder / name, seed=seed)
    rows = [{"filename": name} for name in ("x/a.png", "b.png", "a.png")]
    report = run(of, folder, labels=factories.table(folder / "l.csv", *rows))
    assert {image.original_name for image in of.images.all()} == {"x/a.png", "b.png"}
    assert [row.filename for row in report.ambiguous] == ["a.png"]  # there are two
    assert "1 row of the CSV left aside, because its name fits several files" in " ".join(report.sentences())
    assert "(the first: line 4, column filename, a.png)" in " ".join(report.sentences())


def test_boxes_and_rows_may_write_one_file_differently(of: Dataset, folder: Path) -> None:
    for seed, name in enumerate(("x/a.PNG", "y/b.png", "y/c.png")):
        factories.png(folder / name, seed=seed)
    labels = factories.table(
        folder / "l.csv", *({"filename": name, "label": "abnormal"} for name in ("a", "set/y/b.png", "c.png"))
    )
    boxes = factories.box_table(
        folder / "b.csv", ["A.png", 1, 2, 3, 4, "mass"], ["y/b.png", 1, 2, 3, 4, ""], ["y/d.png", 1, 2, 3, 4, ""]
    )
    report = run(of, folder, labels=labels, boxes=boxes)
    assert counts_of(report) == {
        "imported": 3, "matched without ending": 1, "matched by the end of the path": 1, "boxes left aside": 1,
    }  # fmt: skip
    assert {event.image.original_name: len(event.boxes) for event in LabelEvent.objects.all()} == {
        "a": 1, "set/y/b.png": 1, "c.png": 0,
    }  # fmt: skip


def test_two_files_of_one_film_are_one_film_and_its_first_row_counts(of: Dataset, folder: Path) -> None:
    """Otherwise every import would switch the label back and forth."""
    factories.png(folder / "a.png", seed=1)
    factories.png(folder / "b.png", seed=1)
    labels = factories.table(
        folder / "l.csv", {"filename": "a.png", "label": "normal"}, {"filename": "b.png", "label": "abnormal"}
    )
    assert counts_of(run(of, folder, labels=labels)) == {"imported": 1, "the same film again": 1}
    assert counts_of(run(of, folder, labels=labels)) == {"there already": 1, "the same film again": 1}
    assert [event.value for event in LabelEvent.objects.all()] == ["normal"]


def test_the_same_film_in_two_datasets_is_two_films_of_one_patient(of: Dataset, folder: Path) -> None:
    factories.dicom(folder / "a.dcm")
    run(of, folder)
    assert counts_of(run(factories.dataset("More"), folder)) == {"imported": 1}
    assert Patient.objects.count() == Study.objects.count() == 1
    assert len({image.pixel_sha256 for image in Image.objects.all()}) == 1


# boxes ------------------------------------------------------------------------------------------------------


def test_boxes_go_with_their_films_label(of: Dataset, folder: Path) -> None:
    factories.png(folder / "a.png")
    labels = factories.table(folder / "l.csv", {"filename": "a.png", "label": "abnormal"})
    boxes = factories.box_table(folder / "b.csv", ["a.png", 1, 2.5, 3, 4, "nodule"], ["gone.png", 0, 0, 1, 1, ""])
    assert counts_of(run(of, folder, labels=labels, boxes=boxes)) == {"imported": 1, "boxes left aside": 1}
    assert LabelEvent.objects.get().boxes == [{"x": 1, "y": 2.5, "width": 3, "height": 4, "finding": "nodule"}]


def test_boxes_without_a_label_are_counted_and_skipped(of: Dataset, folder: Path) -> None:
    factories.png(folder / "a.png")
    boxes = factories.box_table(folder / "b.csv", ["a.png", 1, 2, 3, 4, ""])
    labels = factories.table(folder / "l.csv", {"filename": "a.png"})
    assert counts_of(run(of, folder, labels=labels, boxes=boxes)) == {"imported": 1, "boxes left aside": 1}
    assert counts_of(run(of, folder, boxes=boxes))["boxes left aside"] == 1


def test_corrected_boxes_are_a_new_event(of: Dataset, folder: Path) -> None:
    factories.png(folder / "a.png")
    labels = factories.table(folder / "l.csv", {"filename": "a.png", "label": "abnormal"})
    run(of, folder, labels=labels)
    boxes = factories.box_table(folder / "b.csv", ["a.png", 1, 2, 3, 4, ""])
    assert counts_of(run(of, folder, labels=labels, boxes=boxes))["label events"] == 1


# quarantine -------------------------------------------------------------------------------------------------


def test_a_bad_file_is_quarantined_with_a_sentence_and_the_import_continues(of: Dataset, folder: Path) -> None:
    factories.png(folder / "a.png")
    factories.colour_png(folder / "b.png")
    (folder / "c.dcm").write_bytes(b"nothing that is a film" * 20)
    (folder / "d.png").write_bytes(factories.png(folder / "a.png").read_bytes()[:-200])
    assert counts_of(run(of, folder)) == {"imported": 1, "quarantined": 3}
    for file in QuarantinedFile.objects.all():
        assert file.sentence.endswith(".")
        assert file.name == ""  # there was no CSV
        assert str(folder) not in file.sentence
    assert {file.reason for file in QuarantinedFile.objects.all()} >= {"colour"}


class Busy:
    """A decoder that fails for a temporary reason."""

    def __init__(self, reason: str = "unreadable", sentence: str = "Decoding this file took too long.") -> None:
        self.unusable = UnusableFile(reason, sentence)

    def prepare(self, path: Path, packed: Path, **facts: Any) -> Any:
        raise self.unusable

    def patient_of_unusable(self, path: Path) -> str:
        return ""


@contextmanager
def decoding_with(decoder: Busy) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("portal.intake.films.Decoder", lambda: nullcontext(decoder))
        yield


@pytest.mark.both
def test_a_quarantined_file_is_tried_again_and_leaves_quarantine_when_it_can_be_decoded(
    of: Dataset, folder: Path
) -> None:
    factories.dicom(folder / "a.dcm")
    labels = factories.table(folder / "l.csv", {"filename": "a.dcm", "label": "normal"})
    with decoding_with(Busy()):
        assert counts_of(run(of, folder, labels=labels)) == {"quarantined": 1}
    report = run(of, folder, labels=labels)
    assert counts_of(report) == {"imported": 1, "left quarantine": 1}
    assert "1 file left quarantine, because it can be decoded now" in report.sentences()
    assert not QuarantinedFile.objects.exists()
    image = of.images.get()
    assert image.current_label.value == "normal"
    audited = AuditEvent.objects.get(verb="release from quarantine")
    assert (audited.target_uuid, audited.site) == (image.uuid, of.site)
    assert audited.before == {"reason": "unreadable", "sentence": "Decoding this file took too long."}


def test_an_import_killed_before_the_release_is_completed_by_the_next(of: Dataset, folder: Path) -> None:
    factories.dicom(folder / "a.dcm")
    with decoding_with(Busy()):
        run(of, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("portal.intake.films._release", lambda *_: 0)
        run(of, folder)
    assert (of.images.count(), QuarantinedFile.objects.count()) == (1, 1)
    assert counts_of(run(of, folder)) == {"there already": 1, "left quarantine": 1}
    assert not QuarantinedFile.objects.exists()


def test_a_quarantined_file_has_the_reason_of_the_latest_try(of: Dataset, folder: Path) -> None:
    factories.colour_png(folder / "a.png")
    with decoding_with(Busy()):
        run(of, folder)
    assert counts_of(run(of, folder)) == {"quarantined already": 1}
    assert QuarantinedFile.objects.get().reason == "colour"


def test_a_quarantined_file_has_its_name_where_a_csv_gave_it(of: Dataset, folder: Path) -> None:
    factories.colour_png(folder / "b.png")
    run(of, folder, labels=factories.table(folder / "l.csv", {"filename": "b.png", "label": "normal"}))
    assert QuarantinedFile.objects.get().name == "b.png"
    assert not Image.objects.exists()


def test_warnings_of_the_header_are_stored_with_the_film(of: Dataset, folder: Path) -> None:
    factories.dicom(folder / "a.dcm", BodyPartExamined="HIP", BurnedInAnnotation="YES")
    run(of, folder)
    image = of.images.get()
    assert image.warning.startswith("According to the header, text is burned into the picture")
    assert image.warning.endswith("The header's body part is HIP, not chest.")
    assert not [key for key in image.header if ":" in key]


def test_warnings_are_cut_between_sentences(of: Dataset, folder: Path) -> None:
    factories.dicom(
        folder / "a.dcm",
        BodyPartExamined="HIP",
        BurnedInAnnotation="YES",
        PresentationIntentType="FOR PROCESSING",
        Modality="OT",
    )
    run(of, folder)
    for image in of.images.all():
        assert image.warning.endswith(".")
        assert "burned" in image.warning


# patients ---------------------------------------------------------------------------------------------------


def test_pseudonyms_are_the_same_from_a_csv_and_from_dicom(of: Dataset, folder: Path) -> None:
    factories.dicom(folder / "a.dcm", seed=1, PatientID=" Pat-007 ")
    factories.png(folder / "b.png", seed=2)
    rows = [{"filename": "a.dcm"}, {"filename": "b.png", "patient_id": "PAT-007"}]
    run(of, folder, labels=factories.table(folder / "l.csv", *rows))
    assert Patient.objects.count() == 1
    assert Patient.objects.get().images.count() == 2


def test_dates_leave_only_the_days_between_the_films_of_a_patient(of: Dataset, folder: Path) -> None:
    factories.dicom(folder / "a.dcm", seed=1, PatientID="P", AcquisitionDate="20190227", StudyDate="20190101")
    factories.dicom(folder / "b.dcm", seed=2, PatientID="P", StudyDate="20200301")
    factories.dicom(folder / "c.dcm", seed=3, PatientID="P")
    factories.dicom(folder / "d.dcm", seed=4, PatientID=None, StudyDate="20200301")  # has no other film to compare with
    run(of, folder)
    patient = Patient.objects.get(identified=True)
    first, second, undated = patient.images.order_by("pk").values_list("acquired_day", flat=True)
    assert ((second - first).days, undated) == (368, None)
    assert Image.objects.exclude(patient=patient).get().acquired_day is None
    assert first.isoformat() != "2019-02-27"
    rows = str([[str(value) for value in row] for row in Image.objects.values_list()])
    for date in ("2019-02-27", "20190227", "2020-03-01", "20200301", "20190101"):
        assert date not in rows


def test_one_identifier_has_another_pseudonym_at_another_site(of: Dataset, folder: Path) -> None:
    factories.dicom(folder / "a.dcm", PatientID="P")
    run(of, folder)
    run(factories.dataset(at=factories.site("Busan")), folder)
    assert len(set(Patient.objects.values_list("pseudonym", flat=True))) == 2


def test_a_film_without_an_identifier_is_its_own_patient(of: Dataset, folder: Path) -> None:
    factories.png(folder / "a.png", seed=1)
    factories.dicom(folder / "b.dcm", seed=2, PatientID="")
    factories.dicom(folder / "c.dcm", seed=3, PatientID=None, PatientSex="M", PatientAge="095Y")
    run(of, folder)
    assert Patient.objects.filter(identified=False).count() == 3
    assert Patient.objects.filter(sex="M", age_band="90+").count() == 1


@pytest.mark.parametrize(
    ("years", "band"), [("0", "0-9"), ("47", "40-49"), ("89", "80-89"), ("90", "90+"), ("", ""), ("x", "")]
)
def test_age_bands(years: str, band: str) -> None:
    assert age_band(years) == band


SECRETS = {
    "PatientName": "Zzyzxson^Quirina",
    "PatientID": "MRN-99118822",
    "PatientBirthDate": "19471213",
    "PatientAddress": "17 Wombat Crescent",
    "InstitutionName": "Saint Elsewhere",
    "AccessionNumber": "ACC55667788",
    "ReferringPhysicianName": "Quackenbush^Ida",
    "StudyDate": "20230417",
    "StationName": "ZEBRASTATION",
    "StudyDescription": "chest of Zzyzxson",
}


def _traces(needles: list[str]) -> list[str]:
    """Occurrences of the needles, in any case, in every row of every table and every file of the data folder."""
    occurrences = []
    for model in apps.get_models(include_auto_created=True):
        for row in model.objects.values():
            text = json.dumps(row, default=str, ensure_ascii=False).casefold()
            occurrences += [f"{model.__name__}: {needle}" for needle in needles if needle in text]
    for path in Path(django_settings.DATA_DIR).rglob("*"):
        haystack = str(path).casefold().encode() + (path.read_bytes().lower() if path.is_file() else b"")
        occurrences += [f"{path.name}: {needle}" for needle in needles if needle.encode() in haystack]
    return occurrences


NEEDLES = [
    "zzyzxson", "quirina", "99118822", "19471213", "1947-12-13", "wombat", "elsewhere", "55667788", "quackenbush",
    "20230417", "2023-04-17", "zebrastation", "1.2.3.444555",
]  # fmt: skip


def test_nobody_is_named_in_the_database_or_on_disk(of: Dataset, folder: Path) -> None:
    elements = {**SECRETS, "StudyInstanceUID": "1.2.3.444555.1", "SeriesInstanceUID": "1.2.3.444555.2"}
    factories.dicom(folder / "Zzyzxson_MRN-99118822.dcm", seed=1, **elements)
    factories.dicom(folder / "Zzyzxson_2.dcm", seed=2, **elements, BurnedInAnnotation="YES")
    factories.dicom(folder / "Zzyzxson_bad.dcm", seed=3, **elements, SamplesPerPixel=3)
    factories.dicom(folder / "Zzyzxson_CT.dcm", seed=4, **(elements | {"Modality": "CT"}))
    assert counts_of(run(of, folder)) == {"imported": 2, "quarantined": 2, "warned: burned_in": 1}
    assert Patient.objects.count() == Study.objects.count() == 1
    assert _traces(NEEDLES) == []


def test_the_search_for_names_finds_them(of: Dataset, data_dir: Path) -> None:
    factories.film(of, "normal", header={"name": "Zzyzxson"})
    (data_dir / "left.dcm").write_bytes(b"\0\0MRN-99118822\0")
    assert _traces(NEEDLES) == ["Image: zzyzxson", "left.dcm: 99118822"]


def test_nobody_is_named_by_a_csv_with_more_columns(of: Dataset, folder: Path) -> None:
    factories.png(folder / "a.png")
    row = {"filename": "a.png", "Patient Name": "Zzyzxson", "Birth date": "1947-12-13", "ward": "3"}
    labels = factories.table(folder / "l.csv", row)
    labels.write_text(labels.read_text().replace("patient_id", "PatientID").replace("a.png,,,", "a.png,,MRN-99118822,"))
    report = run(of, folder, labels=labels)
    image = of.images.get()
    assert (image.extra, image.patient.identified) == ({}, True)
    assert _traces(NEEDLES) == []
    sentence = (
        "3 columns of the CSV left out: further columns stay only where a manager declares them numbers or categories "
        "(Patient Name, Birth date, ward)"
    )
    assert report.sentences() == ["1 film imported", sentence]
    assert sentence in Upload.objects.get().message


def test_an_original_name_is_kept_only_with_a_csv(of: Dataset, folder: Path) -> None:
    factories.dicom(folder / "with.dcm", seed=1)
    run(of, folder, labels=factories.table(folder / "l.csv", {"filename": "with.dcm"}))
    factories.dicom(folder / "without.dcm", seed=2)
    run(of, folder)
    assert set(of.images.values_list("original_name", flat=True)) == {"with.dcm", ""}


# records and errors -------------------------------------------------------------------------------------------


def test_an_import_ends_with_counts_sentences_and_audit(of: Dataset, folder: Path) -> None:
    factories.png(folder / "a.png")
    factories.colour_png(folder / "b.png")
    run(of, folder)
    upload = Upload.objects.get()
    assert (upload.state, upload.done, upload.total) == ("done", 2, 2)
    assert upload.counts == {"imported": 1, "quarantined": 1}
    assert upload.message == "1 film imported; 1 file in quarantine, with the reason."
    assert AuditEvent.objects.get(verb="import films").after["imported"] == 1


def test_a_film_that_another_import_stored_in_the_meantime_is_already_imported(
    of: Dataset, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other import commits after this one has looked for the film and before it stores it."""
    from portal.intake import film_storage

    factories.dicom(folder / "a.dcm")
    labels = factories.table(folder / "l.csv", {"filename": "a.dcm", "label": "normal"})

    def other_import_first(*args: Any, **words: Any) -> Image:
        monkeypatch.setattr(film_storage, "_store", really_store)
        run(of, folder, labels=labels)
        return really_store(*args, **words)

    really_store = film_storage._store
    monkeypatch.setattr(film_storage, "_store", other_import_first)
    assert counts_of(run(of, folder, labels=labels)) == {"there already": 1}
    assert (Image.objects.count(), LabelEvent.objects.count()) == (1, 1)


def test_a_film_is_stored_with_its_label_or_not_at_all(
    of: Dataset, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    factories.png(folder / "a.png")
    labels = factories.table(folder / "l.csv", {"filename": "a.png", "label": "normal"})

    def full(image: Image, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(film_files, "write_preview", full)
    with pytest.raises(OSError, match="No space"):
        run(of, folder, labels=labels)
    assert not Image.objects.exists()
    assert not Patient.objects.exists()
    monkeypatch.undo()
    assert counts_of(run(of, folder, labels=labels)) == {"imported": 1}


def test_the_database_refuses_equal_pixels_twice_in_a_dataset(of: Dataset) -> None:
    film = factories.film(of)
    film.pk, film.uuid = None, factories.somewhere()
    with pytest.raises(IntegrityError, match="image_pixels_once_a_dataset"):
        film.save(force_insert=True)


# who a patient is -------------------------------------------------------------------------------------------


def rows_of(patients: dict[str, str]) -> list[dict[str, str]]:
    return [{"filename": name, "label": "normal", "patient_id": patient} for name, patient in patients.items()]


@pytest.mark.both
def test_one_patient_in_the_spellings_of_spreadsheet_program_and_header(
    of: Dataset, folder: Path, tmp_path: Path
) -> None:
    for seed in range(3):
        factories.dicom(folder / f"z{seed}.dcm", seed=seed, PatientID="00012")
    labels = factories.table(tmp_path / "l.csv", *rows_of({"z0.dcm": "12", "z1.dcm": "12.0", "z2.dcm": ""}))
    report = run(of, folder, labels=labels)
    assert counts_of(report) == {"imported": 3, "patients spelled otherwise": 2}
    assert "spell the number of a patient differently (12, 00012), which is one patient" in report.sentences()[1]
    assert Patient.objects.count() == 1
    # the header is not kept; the same table again is no other patient
    assert counts_of(run(of, folder, labels=labels)) == {"there already": 3}


def test_a_patient_of_an_earlier_import_keeps_its_spelling(of: Dataset, folder: Path, tmp_path: Path) -> None:
    old = factories.patient("12", at=of.site)
    factories.dicom(folder / "a.dcm", seed=1, PatientID="00012")
    run(of, folder, labels=factories.table(tmp_path / "l.csv", *rows_of({"a.dcm": "12"})))
    assert of.images.get().patient == old


@pytest.mark.parametrize(
    ("chosen", "patients", "taken"),
    [(PatientSource.TABLE, 2, "those of the table were taken"), (PatientSource.HEADER, 1, "those of the headers were")],
)
def test_table_and_header_that_name_two_patients_are_counted_and_one_is_chosen(
    of: Dataset, folder: Path, tmp_path: Path, chosen: PatientSource, patients: int, taken: str
) -> None:
    for seed in range(3):
        factories.dicom(folder / f"{seed}.dcm", seed=seed, PatientID="Zzyzxson")
    labels = factories.table(tmp_path / "l.csv", *rows_of({"0.dcm": "A", "1.dcm": "B", "2.dcm": "A"}))
    report = ImportReport(patients_of=chosen)
    entries = entries_of_folder(folder, read_labels(labels), None, report)
    upload = Upload.objects.create(dataset=of)
    import_entries(upload=upload, entries=entries, report=report, actor=None)
    assert counts_of(report) == {"imported": 3, "patients differ": 3}
    upload.refresh_from_db()
    assert "3 films whose table names another patient than their headers (2 by the table, 1 by the" in upload.message
    assert taken in upload.message
    assert "Zzyzxson" not in upload.message
    assert Patient.objects.count() == patients


@pytest.mark.parametrize("empty", ["NA", "NaN", "None", "null", "#N/A", "-"])
def test_films_whose_patient_is_a_word_for_nothing_are_their_own_patients(
    of: Dataset, folder: Path, tmp_path: Path, empty: str
) -> None:
    for seed in range(2):
        factories.png(folder / f"{seed}.png", seed=seed)
    factories.dicom(folder / "2.dcm", seed=2, PatientID=empty)
    factories.dicom(folder / "3.dcm", seed=3, PatientID=empty)
    run(of, folder, labels=factories.table(tmp_path / "l.csv", *rows_of(dict.fromkeys(("0.png", "1.png"), empty))))
    run(of, folder)
    assert Patient.objects.filter(identified=False).count() == of.images.count() == 4


def test_invisible_characters_in_the_names_of_table_and_file_do_not_part_them(
    of: Dataset, folder: Path, tmp_path: Path
) -> None:
    factories.png(folder / "a\u202fb.png", seed=1)  # as a Mac names a screenshot
    factories.png(folder / "c.png", seed=2)
    labels = factories.table(tmp_path / "l.csv", *rows_of({"a\u202fb.png": "1", "\u202ac\u200b.png": "2"}))
    assert counts_of(run(of, folder, labels=labels)) == {"imported": 2}


def test_findings_without_a_label_are_kept_beside_the_film_and_counted(
    of: Dataset, folder: Path, tmp_path: Path
) -> None:
    factories.png(folder / "a.png", seed=1)
    labels = tmp_path / "l.csv"
    labels.write_text("Image Index,Finding Labels\na.png,Mass|Nodule\n")
    report = run(of, folder, labels=labels)
    assert counts_of(report) == {"imported": 1, "findings without a label": 1}
    assert "1 row with findings and no label" in report.sentences()[1]
    assert of.images.get().extra == {"finding without a label": "Mass|Nodule"}

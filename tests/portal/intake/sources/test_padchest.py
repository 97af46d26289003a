"""PadChest as it was published: normal means exactly that, a label's method is kept, other films are left out and
counted."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from portal.imaging.film import unpack
from portal.intake.film_files import pixel_path, preview_bytes
from portal.intake.sources.padchest import BROKEN, label_of
from portal.models import Dataset
from tests.portal import factories
from tests.portal.intake.sources import published
from tests.portal.intake.sources.published import counts_of, film_named, run

pytestmark = [pytest.mark.django_db]


def row(name: str, **fields: Any) -> dict[str, Any]:
    return {
        "ImageID": name,
        "ImageDir": 14,
        "StudyDate_DICOM": 20150622,
        "StudyID": "14968019924555248865694512726537711769",
        "PatientID": f"3258801631404295217250068102276483{name[0]}",
        "PatientBirth": "1960.0",
        "PatientSex_DICOM": "F",
        "Projection": "PA",
        "MethodProjection": "Manual review of DICOM fields",
        "Pediatric": "No",
        "PhotometricInterpretation_DICOM": "MONOCHROME2",
        "BitsStored_DICOM": 12,
        "Report": "sin hallazg signific .",
        "MethodLabel": "Physician",
        "Labels": "['normal']",
        **fields,
    }


ROWS = [
    row("a.png"),
    row("b.png", Labels="['pleural effusion', ' nodule', 'pleural effusion']", MethodLabel="RNN_model"),
    row("c.png", Labels="['normal', 'unchanged']"),
    row("d.png", Labels="['unchanged']"),
    row("e.png", Labels="['exclude']"),
    row("f.png", Labels="", MethodLabel=""),
    row("g.png", Labels="['normal']", MethodLabel="RNN_model"),
    row("h.png", Projection="L"),
    row("i.png", Projection="AP_horizontal"),
    row("j.png", PatientBirth="2000.0"),  # 15 years
    row("k.png", Pediatric="PED", PatientBirth=""),
    row("l.png", PatientBirth="2052.0"),
    row(min(BROKEN)),
    row("z.png"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    published.write(tmp_path / published.PADCHEST_FILE, published.PADCHEST, ROWS)
    for number, name in enumerate("abcdefghijkl"):
        factories.png(tmp_path / "14" / f"{name}.png", seed=number)
    return tmp_path


def test_labels_mean_what_they_say(of: Dataset, folder: Path) -> None:
    run(of, "padchest", folder)
    assert published.label_of(of, "a.png") == ("normal", [], "report")
    assert published.label_of(of, "b.png") == ("abnormal", ["pleural effusion", "nodule"], "software")
    assert published.label_of(of, "c.png") == ("unsure", [], "report")
    assert published.label_of(of, "d.png") == ("unsure", [], "report")
    assert published.label_of(of, "e.png") == ("exclude", [], "report")
    assert published.label_of(of, "g.png") == ("normal", [], "software")
    assert not hasattr(film_named(of, "f.png"), "current_label")
    assert film_named(of, "b.png").extra["methodlabel"] == "RNN_model"


def test_what_is_left_out_is_counted(of: Dataset, folder: Path) -> None:
    assert counts_of(run(of, "padchest", folder)) == {
        "imported": 8,
        "left out: another view": 2,
        "left out: under 18": 2,
        "left out: known to be broken": 1,
        "left out: no file": 1,
    }
    message = of.uploads.get().message
    assert "2 films left out, because their patients were under 18" in message
    assert "1 film left out, because its published file is known to be broken" in message


def test_children_and_other_views_on_request(of: Dataset, folder: Path) -> None:
    report = run(of, "padchest", folder, views="all", children=True)
    assert counts_of(report)["imported"] == 12
    film = film_named(of, "i.png")
    assert (film.view_position, film.extra["projection as written"]) == ("AP", "AP HORIZONTAL")


def test_a_film_whose_0_is_white_is_shown_so(of: Dataset, tmp_path: Path) -> None:
    """The file holds the values of the DICOM file as they were stored, and does not say it."""
    rows = [row("a.png", PhotometricInterpretation_DICOM="MONOCHROME1"), row("b.png")]
    published.write(tmp_path / published.PADCHEST_FILE, published.PADCHEST, rows)
    for number, name in enumerate("ab"):
        factories.png(tmp_path / f"{name}.png", seed=number)
    run(of, "padchest", tmp_path)
    inverted, usual = film_named(of, "a.png"), film_named(of, "b.png")
    assert (inverted.facts["photometric"], usual.facts["photometric"]) == ("MONOCHROME1", "MONOCHROME2")
    top_and_bottom = []
    for film in (inverted, usual):  # the pixels are a slope, dark at the top as they are stored
        with PIL.Image.open(io.BytesIO(preview_bytes(film))) as preview:
            shown = np.asarray(preview)
        top_and_bottom.append(shown[:20].mean() > shown[-20:].mean())
    assert top_and_bottom == [True, False]
    stored = unpack(pixel_path(inverted.pixel_sha256).read_bytes(), inverted.rows, inverted.columns)
    assert np.array_equal(stored, factories.pixels(0))


def test_sex_age_and_patient_are_facts_and_the_report_is_not_kept(of: Dataset, folder: Path) -> None:
    run(of, "padchest", folder)
    film = film_named(of, "a.png")
    assert (film.patient.sex, film.patient.age_band, film.patient.identified) == ("F", "50-59", True)
    assert film.header["age_years"] == "55"
    assert film_named(of, "l.png").patient.age_band == ""  # born after the study
    assert "hallazg" not in str([vars(image) for image in of.images.all()])


def test_the_picture_has_the_bits_that_are_used(of: Dataset, folder: Path) -> None:
    stored = factories.pixels(7)
    factories.png(folder / "14" / "b.png", (stored.astype(np.uint16) * 9).astype(np.uint16))
    run(of, "padchest", folder)
    assert film_named(of, "a.png").facts["bits_stored"] == 12
    assert film_named(of, "b.png").facts["bits_stored"] == 16  # its values need more


def test_the_known_broken_files() -> None:
    assert len(BROKEN) == 21
    assert all(len(name) == len("216840111366964012819207061112010307142602253_04-014-084.png") for name in BROKEN)


@pytest.mark.parametrize(
    ("text", "label"),
    [("[]", ("", ())), ("['suboptimal study']", ("unsure", ())), ("['Normal ']", ("normal", ()))],
)
def test_other_lists(text: str, label: tuple[str, tuple[str, ...]]) -> None:
    assert label_of(text) == label

"""Sex and age in the words of tables, and where they go: header before table, above 89 together, conflicts counted."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from analysis.sections.attributes import groups_of_images
from portal.intake.csv_labels import read_labels
from portal.intake.csv_people import age_of, are_unread, facts_of_person, sex_of
from portal.intake.entries import entries_of_folder
from portal.intake.films import import_entries
from portal.intake.import_report import ImportReport
from portal.models import Dataset, Image, Patient, Upload
from tests.portal import factories


@pytest.mark.parametrize(
    ("text", "sex"),
    [("F", "F"), (" female ", "F"), ("W", "F"), ("männlich", "M"), ("M", "M"), ("O", "O"), ("1", ""), ("Jane", "")],
)
def test_sex_in_words(text: str, sex: str) -> None:
    assert sex_of(text) == sex


@pytest.mark.parametrize(
    ("text", "age"),
    [
        *(("47", "47"), ("047Y", "47"), ("47.6", "47"), ("18M", "1"), ("011D", "0"), ("30 w", "0"), ("0", "0")),
        *(("89", "89"), ("90", "90"), ("97", "90"), ("130Y", "90"), ("131", ""), ("411Y", ""), ("old", ""), ("-3", "")),
    ],
)
def test_age_in_whole_years_above_89_together(text: str, age: str) -> None:
    assert age_of(text) == age


def test_columns_are_known_by_their_names_and_what_cannot_be_read_stays() -> None:
    further = {"patient gender": "F", "patient_age": "097Y", "ward": "3"}
    assert facts_of_person(further) == ("F", "90", {"ward": "3"})
    assert facts_of_person({"sex": "unknown", "age": "old"}) == ("", "", {"sex": "unknown", "age": "old"})
    assert facts_of_person({"sex": "F", "gender": "M", "age": "50", "alter": "50"}) == (
        "",
        "50",
        {"sex": "F", "gender": "M"},
    )


@pytest.mark.parametrize(
    ("further", "expected"),
    [
        ({"sex": "F", "age": "50"}, (False, False)),
        ({"sex": "unknown", "age": ""}, (False, False)),
        ({"sex": "X", "age": "N/A"}, (True, False)),
        ({"gender": "-", "patient_age": "300"}, (False, True)),
        ({"sex": "F", "gender": "M", "age": "34 ans"}, (True, True)),
        ({"ward": "X"}, (False, False)),
    ],
)
def test_what_is_stated_and_cannot_be_used_is_told_from_what_is_not_stated(
    further: dict[str, str], expected: tuple[bool, bool]
) -> None:
    assert are_unread(facts_of_person(further)[2]) == expected


def imported(folder: Path, of: Dataset, *rows: dict[str, str]) -> ImportReport:
    report = ImportReport()
    labels = read_labels(factories.table(folder / "l.csv", *rows))
    entries = entries_of_folder(folder, labels, None, report)
    return import_entries(upload=Upload.objects.create(dataset=of), entries=entries, report=report, actor=None)


@pytest.mark.django_db
def test_sexes_and_ages_that_cannot_be_used_are_counted(folder: Path) -> None:
    of = factories.dataset()
    facts = [("F", "50"), ("X", "300"), ("", "unknown"), ("M", "34 ans")]
    for seed in range(len(facts)):
        factories.png(folder / f"{seed}.png", seed=seed)
    rows = [{"filename": f"{seed}.png", "sex": sex, "age": age} for seed, (sex, age) in enumerate(facts)]
    sentences = imported(folder, of, *rows).sentences()
    assert (
        "1 row of the CSV with a sex that is not understood, or that two columns state differently, which stays "
        "unknown (the first: line 3)"
    ) in sentences
    assert (
        "2 rows of the CSV with an age that is no number of years up to 130, or that two columns state differently, "
        "which stays unknown (the first: line 3)"
    ) in sentences


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "films").mkdir()
    return tmp_path / "films"


@pytest.mark.django_db
def test_a_png_has_sex_and_age_of_its_table(data_dir: Path, folder: Path) -> None:
    of = factories.dataset("PNG")
    for seed, name in enumerate("abc"):
        factories.png(folder / f"{name}.png", seed=seed)
    report = imported(
        folder,
        of,
        {"filename": "a.png", "patient_id": "P1", "Patient Gender": "F", "Patient Age": "058Y"},
        {"filename": "b.png", "patient_id": "P2", "Patient Gender": "", "Patient Age": "95"},
        {"filename": "c.png", "patient_id": "P1", "Patient Gender": "M", "Patient Age": "60"},
    )
    a, b, c = of.images.order_by("original_name").select_related("patient")
    assert (a.patient.sex, a.patient.age_band, a.header["age_years"], a.extra) == ("F", "50-59", "58", {})
    assert (b.patient.sex, b.patient.age_band, b.header["age_years"]) == ("", "90+", "90")
    assert (c.patient, c.header["age_years"]) == (a.patient, "60")
    assert (report.counts["sex differs"], report.counts["age differs"]) == (1, 0)
    assert "1 film whose table states another sex than its header" in " ".join(report.sentences())
    groups = groups_of_images([str(film.uuid) for film in (a, b)])
    assert (groups["sex"], groups["age"]) == (["female", "unknown"], ["50-59", "90+"])


@pytest.mark.django_db
def test_the_header_wins_and_conflicts_are_counted(data_dir: Path, folder: Path) -> None:
    of = factories.dataset("DICOM")
    factories.dicom(folder / "a.dcm", PatientID="P1", PatientSex="M", PatientAge="040Y")
    report = imported(folder, of, {"filename": "a.dcm", "sex": "F", "age": "42"})
    film = of.images.get()
    assert (film.header["patient_sex"], film.header["age_years"], film.patient.sex) == ("M", "40", "M")
    assert (report.counts["sex differs"], report.counts["age differs"]) == (1, 1)


@pytest.mark.django_db
def test_a_later_film_of_a_patient_fills_what_the_first_did_not_state(data_dir: Path, folder: Path) -> None:
    of = factories.dataset("PNG")
    factories.png(folder / "a.png")
    imported(folder, of, {"filename": "a.png", "patient_id": "P1"})
    factories.png(folder / "b.png", seed=1)
    imported(folder, of, {"filename": "b.png", "patient_id": "P1", "sex": "F", "age": "33"})
    assert Patient.objects.values_list("sex", "age_band").get() == ("F", "30-39")


@pytest.mark.django_db(transaction=True)
@pytest.mark.slow
def test_what_stood_among_further_columns_is_filled_in(data_dir: Path) -> None:
    of = factories.dataset("Before")
    further = {"gender": "female", "age": "97", "ward": "3"}
    stated = factories.film(of, "normal", person="one", extra=further)
    known = factories.film(of, "normal", person="two", extra={"sex": "F", "age": "50"}, header={"age_years": "40"})
    Patient.objects.filter(pk=known.patient_id).update(sex="M", age_band="40-49")
    plain = factories.film(of, "normal", person="three", extra={"sex": "unclear"})
    latest = MigrationExecutor(connection).loader.graph.leaf_nodes()
    MigrationExecutor(connection).migrate([("portal", "0021_training_films")])
    MigrationExecutor(connection).migrate(latest)

    def facts(film: Image) -> tuple[object, ...]:
        film = Image.objects.select_related("patient").get(pk=film.pk)
        return (film.patient.sex, film.patient.age_band, film.header, film.extra)

    assert facts(stated) == ("F", "90+", {"patient_sex": "F", "age_years": "90"}, {"ward": "3"})
    assert facts(known) == ("M", "40-49", {"patient_sex": "F", "age_years": "40"}, {})
    assert facts(plain)[3] == {"sex": "unclear"}
    with pytest.raises(Exception, match="write-once"):
        Image.objects.update(rows=1)

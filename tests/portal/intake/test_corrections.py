"""Taking and dismissing the facts of a later header: what the film has then, what is kept, what is refused."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, transaction
from django.test import Client

from portal.imaging.acquisition import shifted_day
from portal.intake import corrections, film_files
from portal.intake.pseudonym_key import site_key
from portal.models import (
    AuditEvent,
    Dataset,
    HeaderDifference,
    Image,
    LabelEvent,
    Part,
    Patient,
    Role,
    Split,
    SplitImage,
    SplitMember,
    User,
)
from portal.people.blinding import open_for
from portal.sets.moved_films import MovedFilms, moved_films
from tests.portal import factories
from tests.portal.corrected import FIRST, come_again, export, run

pytestmark = [pytest.mark.django_db, pytest.mark.both]


@pytest.fixture
def of(data_dir: Any) -> Dataset:
    return factories.dataset()


@pytest.fixture
def ann(of: Dataset) -> User:
    return factories.curator("ann")


def split_of(of: Dataset, parts: dict[Image, Part]) -> Split:
    split = Split.objects.create(
        site=of.site, name="Old", origin="drawn", seed=0, label_cutoff=of.created_at, frozen_at=of.created_at
    )
    for image, part in parts.items():
        member = SplitMember.objects.create(split=split, patient=image.patient, part=part)
        SplitImage.under(member, image).save()
    return split


def test_taken_facts_are_those_of_the_film_and_the_old_ones_are_kept(of: Dataset, ann: User, tmp_path: Path) -> None:
    rows = come_again(
        of, tmp_path, ViewPosition="AP", ImageLaterality="L", PixelSpacing=[0.2, 0.1], WindowCenter="500",
        PhotometricInterpretation="MONOCHROME1", Manufacturer="FUJIFILM", PatientAge="060Y",
    )  # fmt: skip
    before = Image.objects.get()
    pixels = film_files.pixel_path(before.pixel_sha256).read_bytes()
    outcome = corrections.take(rows, actor=ann)
    assert (outcome.films, dict(outcome.left)) == (1, {})
    assert set(outcome.facts) == {"view", "laterality", "spacing", "window", "gray scale", "manufacturer", "age"}
    film = Image.objects.get()
    assert (film.view_position, film.laterality) == ("AP", "L")
    assert film.header == before.header | {
        "view_position": "AP", "laterality": "L", "manufacturer": "FUJI", "age_years": "60",
    }  # fmt: skip
    assert film.facts["spacing_mm"] == [0.2, 0.1]
    assert film.facts["windows"] == [{"center": 500, "width": 4000, "name": ""}]
    assert film.facts["photometric"] == "MONOCHROME1"
    kept = {row.fact: row for row in HeaderDifference.objects.filter(state="taken")}
    assert kept["view"].old == before.view_position
    assert kept["window"].old["windows"] == before.facts["windows"]
    assert {(row.decided_by, row.decided_at is not None) for row in kept.values()} == {(ann, True)}
    event = AuditEvent.objects.get(verb="take corrected facts")
    assert (event.actor, event.target_uuid, event.after["facts"]) == (ann, film.uuid, sorted(kept))
    assert (film.pixel_sha256, film.source_sha256) == (before.pixel_sha256, before.source_sha256)
    assert film_files.pixel_path(film.pixel_sha256).read_bytes() == pixels
    # the corrected file says nothing new any more, and the first one is still recognised
    assert run(of, tmp_path / "second").to_json() == {"there already": 1}
    assert run(of, tmp_path / "first").to_json() == {"there already": 1}


def test_some_facts_of_some_films_are_taken_and_some_dismissed(of: Dataset, ann: User, tmp_path: Path) -> None:
    rows = come_again(of, tmp_path, films=3, ViewPosition="AP", PixelSpacing=[0.2, 0.2])
    first, second, third = of.images.order_by("pk")
    assert corrections.take(rows.filter(image=first), actor=ann).facts == {"view": 1, "spacing": 1}
    assert corrections.take(rows.filter(image=second, fact="view"), actor=ann).facts == {"view": 1}
    outcome = corrections.dismiss(rows.filter(image=third), actor=ann)
    assert (outcome.films, outcome.facts) == (1, {"view": 1, "spacing": 1})
    assert list(of.images.order_by("pk").values_list("view_position", flat=True)) == ["AP", "AP", "PA"]
    assert [film.facts["spacing_mm"][0] for film in of.images.order_by("pk")] == [0.2, 0.14, 0.14]
    assert [(row.image, row.fact) for row in rows] == [(second, "spacing")]
    assert AuditEvent.objects.get(verb="dismiss corrected facts").after == {"view": 1, "spacing": 1}
    assert corrections.take(rows.filter(image=first), actor=ann).sentences("taken") == [
        "Nothing waits for a decision any more, so nothing was taken."
    ]


def test_a_window_is_taken_with_its_gray_scale(of: Dataset, ann: User, tmp_path: Path) -> None:
    rows = come_again(of, tmp_path, WindowCenter="500", RescaleSlope="2", RescaleIntercept="0")
    assert corrections.take(rows.filter(fact="window"), actor=ann).facts == {"gray scale": 1, "window": 1}


def test_a_new_window_is_that_of_preview_and_viewer(
    of: Dataset, ann: User, tmp_path: Path, django_capture_on_commit_callbacks: Any
) -> None:
    rows = come_again(of, tmp_path, WindowCenter="6000", WindowWidth="10000")
    film = of.images.get()
    client = Client()
    client.force_login(ann)

    def brightness() -> float:
        answer = client.get(f"/images/{film.uuid}/preview")
        path = tmp_path / "preview.jpg"
        path.write_bytes(answer.content)
        return float(np.asarray(PIL.Image.open(path)).mean())

    before = brightness()
    with django_capture_on_commit_callbacks(execute=True):
        corrections.take(rows, actor=ann)
    assert brightness() < before / 2
    assert client.get(f"/images/{film.uuid}/facts").json()["windows"][0]["width"] == 10000


def test_a_corrected_window_and_gray_scale_show_the_film_right(of: Dataset, ann: User, tmp_path: Path) -> None:
    """As it would have been shown had the corrected export come first."""
    export(tmp_path / "first" / "a.dcm", PhotometricInterpretation="MONOCHROME1", WindowCenter="300", WindowWidth="100")
    run(of, tmp_path / "first")
    export(tmp_path / "second" / "a.dcm", WindowCenter="2047.5", WindowWidth="4096")
    run(of, tmp_path / "second")
    corrections.take(HeaderDifference.objects.filter(state="pending"), actor=ann)
    shown = of.images.get()
    right = factories.dataset("Right")
    run(right, tmp_path / "second")
    assert (shown.facts, shown.warning) == (right.images.get().facts, right.images.get().warning)
    assert shown.header == right.images.get().header


def test_a_new_patient_takes_the_film_with_its_study_and_the_day_under_their_shift(
    of: Dataset, ann: User, tmp_path: Path
) -> None:
    rows = come_again(of, tmp_path, PatientID="Other", PatientSex="M")
    film = of.images.get()
    old, study = film.patient, film.study
    corrections.take(rows.filter(fact="patient"), actor=ann)
    film.refresh_from_db()
    assert film.patient != old
    assert (film.patient.sex, film.patient.age_band) == ("M", "50-59")
    assert film.study.patient == film.patient
    assert film.study.pseudonym == study.pseudonym
    assert film.acquired_day == shifted_day(site_key(of.site), film.patient.pseudonym, "2024-01-01")
    assert Patient.objects.count() == 2  # the old one stays, for the splits and exports that know them


@pytest.mark.parametrize("order", [("patient", "acquisition date"), ("acquisition date", "patient")])
def test_patient_and_day_may_be_taken_in_any_order(
    of: Dataset, ann: User, tmp_path: Path, order: tuple[str, str]
) -> None:
    rows = come_again(of, tmp_path, PatientID="Other", AcquisitionDate="20240111")
    film = of.images.get()
    day = film.acquired_day
    for fact in order:
        corrections.take(rows.filter(fact=fact), actor=ann)
        film.refresh_from_db()
        if film.patient.pseudonym == HeaderDifference.objects.get(fact="patient").old["pseudonym"]:
            assert film.acquired_day == day + timedelta(days=10)
    assert film.acquired_day == shifted_day(site_key(of.site), film.patient.pseudonym, "2024-01-11")


def test_a_film_without_an_identifier_gets_its_patient_and_only_then_its_day(
    of: Dataset, ann: User, tmp_path: Path
) -> None:
    export(tmp_path / "first" / "a.dcm", PatientID=None, AcquisitionDate=None, StudyInstanceUID=None)
    run(of, tmp_path / "first")
    export(tmp_path / "second" / "a.dcm", StudyInstanceUID=None)
    run(of, tmp_path / "second")
    rows = HeaderDifference.objects.filter(state="pending")
    assert {row.fact for row in rows} == {"patient", "acquisition date"}
    refused = corrections.take(rows.filter(fact="acquisition date"), actor=ann)
    assert refused.sentences("taken") == [f"1 new fact still waits: {corrections.NO_PATIENT}."]
    corrections.take(rows, actor=ann)
    film = of.images.get()
    assert film.patient.identified
    assert film.acquired_day == shifted_day(site_key(of.site), film.patient.pseudonym, "2024-01-01")


def test_a_frozen_split_keeps_its_rows_and_says_that_a_film_moved(of: Dataset, ann: User, tmp_path: Path) -> None:
    rows = come_again(of, tmp_path, PatientID="Other")
    film = of.images.get()
    split = split_of(of, {film: Part.FIT})
    members = list(SplitImage.objects.values_list("image", "member__patient", "member__part"))
    assert moved_films(split) == MovedFilms(moved=0, in_two_parts=0, waiting=1)
    corrections.take(rows, actor=ann)
    assert list(SplitImage.objects.values_list("image", "member__patient", "member__part")) == members
    assert moved_films(split) == MovedFilms(moved=1, in_two_parts=0, waiting=0)


def test_a_film_whose_patient_is_in_another_part_of_a_split_moves_only_if_that_is_asked_for(
    of: Dataset, ann: User, tmp_path: Path
) -> None:
    rows = come_again(of, tmp_path, PatientID="P-90", ViewPosition="AP")
    film = of.images.get()
    factories.dicom(tmp_path / "third" / "other.dcm", seed=90)
    run(of, tmp_path / "third")
    split = split_of(of, {film: Part.FIT, of.images.latest("pk"): Part.TEST})
    outcome = corrections.take(rows, actor=ann)
    assert outcome.facts == {"view": 1}
    assert outcome.sentences("taken")[1:] == [
        "1 new fact still waits: a frozen split would have one person in two parts."
    ]
    assert corrections.parts_in_two(film, rows.get().new["pseudonym"]) == ["Old"]
    assert corrections.take(rows, actor=ann, despite_splits=True).facts == {"patient": 1}
    assert moved_films(split) == MovedFilms(moved=1, in_two_parts=1, waiting=0)
    assert bool(moved_films(split))


def test_whoever_reads_films_of_the_patient_blinded_does_not_move_them(of: Dataset, ann: User, tmp_path: Path) -> None:
    """The film would not be withheld any longer."""
    rows = come_again(of, tmp_path, PatientID="Other", ViewPosition="AP")
    film = of.images.get()
    open_for(person=ann, images=[film], source=of.uuid, words="the queue Pairs", days=3)
    outcome = corrections.take(rows, actor=ann, despite_splits=True)
    assert outcome.facts == {"view": 1}
    assert outcome.left == {corrections.BLINDED: 1}
    assert corrections.take(rows, actor=factories.curator("ben")).facts == {"patient": 1}


def test_labels_stay(of: Dataset, ann: User, tmp_path: Path) -> None:
    rows = come_again(of, tmp_path, PatientID="Other", ViewPosition="AP")
    factories.event(of.images.get(), "normal", ann)
    corrections.take(rows, actor=ann)
    assert of.images.get().current_label.value == "normal"
    assert LabelEvent.objects.count() == 1


def test_only_those_who_may_import_decide(of: Dataset, tmp_path: Path) -> None:
    rows = come_again(of, tmp_path, ViewPosition="AP")
    for act in (corrections.take, corrections.dismiss):
        with pytest.raises(PermissionDenied):
            act(rows, actor=factories.user(act.__name__, Role.READER))
    assert rows.count() == 1


def test_the_database_refuses_other_changes(of: Dataset, ann: User, tmp_path: Path) -> None:
    """Facts without a row that is being taken, other columns even then, and a decided row."""
    rows = come_again(of, tmp_path, ViewPosition="AP", PixelSpacing=[0.2, 0.2])
    corrections.take(rows.filter(fact="view"), actor=ann)
    with pytest.raises(DatabaseError, match="write-once"), transaction.atomic():
        of.images.update(view_position="LATERAL")
    rows.update(state="taking", decided_at=of.created_at)
    with pytest.raises(DatabaseError, match="write-once"), transaction.atomic():
        of.images.update(pixel_sha256="0" * 64)
    with pytest.raises(DatabaseError, match="is kept"), transaction.atomic():
        HeaderDifference.objects.filter(state="taken").update(old="LATERAL")
    with pytest.raises(DatabaseError, match="is kept"), transaction.atomic():
        HeaderDifference.objects.filter(state="taking").delete()
    of.images.update(laterality="R")  # while a row is being taken
    assert of.images.get().view_position == "AP"
    assert FIRST["ViewPosition"] == "PA"

"""No text, exclude, black out: what each changes, what is kept of it, and what the database refuses."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, transaction

from portal.imaging.black_out import InvalidBlackOut, PixelBox
from portal.imaging.film import pixel_sha256
from portal.intake.entries import entries_of_folder
from portal.intake.erased_patients import keys_of
from portal.intake.film_files import pixel_path, preview_bytes, preview_path
from portal.intake.films import import_entries
from portal.intake.import_report import ImportReport
from portal.intake.text_decisions import (
    InvalidTextDecision,
    black_out_copies,
    decide_no_text,
    exclude,
    forget_left_pixels,
)
from portal.intake.text_looks import film_of, look_for_text, to_decide
from portal.models import AuditEvent, Dataset, FilmFingerprint, Image, Role, TextDecision, TextLook, Upload, User
from tests.portal import factories
from tests.portal.texted import film_with_text

pytestmark = [pytest.mark.django_db]
BOX = PixelBox(30, 55, 270, 40)


@pytest.fixture
def of(data_dir: Path) -> Dataset:
    return factories.dataset()


@pytest.fixture
def author() -> User:
    return factories.curator()


@pytest.fixture
def black_out(author: User, django_capture_on_commit_callbacks: Any) -> Any:
    def act(film: Image, *, boxes: list[PixelBox] | None = None, seen: str = "") -> list[TextDecision]:
        with django_capture_on_commit_callbacks(execute=True):
            return black_out_copies(
                image=film, boxes=boxes or [BOX], pixels_seen=seen or film.pixel_sha256, author=author
            )

    return act


@pytest.mark.both
def test_a_black_out_gives_new_pixels_and_keeps_none_of_the_old(of: Dataset, author: User, black_out: Any) -> None:
    film = film_with_text(of)
    look_for_text(of)
    FilmFingerprint.objects.create(image=film, bits=b"x")
    old_pixels, old_preview = pixel_path(film.pixel_sha256), preview_bytes(film)
    before = film_of(film)
    decision = black_out(film)[0]
    film.refresh_from_db()
    after = film_of(film)
    assert not after.stored[55:95, 30:300].any()
    inside = np.zeros(after.stored.shape, dtype=bool)
    inside[55:95, 30:300] = True
    assert np.array_equal(after.stored[~inside], before.stored[~inside])
    assert film.pixel_sha256 == pixel_sha256(after.stored) == decision.pixels_after
    assert not old_pixels.exists()
    assert not preview_path(film).exists()
    assert preview_bytes(film) != old_preview
    assert (decision.author, decision.boxes) == (author, [BOX.to_json()])
    assert decision.pixels_before == pixel_sha256(before.stored)
    assert decision.suspected
    assert not TextLook.objects.exists()
    assert not FilmFingerprint.objects.exists()
    event = AuditEvent.objects.get(verb="decide on burned-in text")
    assert event.after | {"boxes": [BOX.to_json()], "before": decision.pixels_before} == event.after
    look_for_text(of)
    assert not to_decide(of.images.all()).exists()


def test_header_and_warning_no_longer_say_that_there_is_text(of: Dataset, black_out: Any) -> None:
    sentence = "According to the header, text is burned into the picture: check it for names."
    film = film_with_text(of, header={"burned_in": "YES"}, warning=f"{sentence} Other.")
    black_out(film)
    film.refresh_from_db()
    assert (film.header["burned_in"], film.warning) == ("NO", "Other.")


def test_copies_at_the_site_are_blacked_out_too_and_those_of_others_stay(of: Dataset, black_out: Any) -> None:
    film = film_with_text(of)
    copy = factories.copy(film, factories.dataset("Others"))
    elsewhere = factories.copy(film, factories.dataset("Normals", at=factories.site("Busan")))
    assert {one.image for one in black_out(film)} == {film, copy}
    for one in (film, copy, elsewhere):
        one.refresh_from_db()
    assert film.pixel_sha256 == copy.pixel_sha256 != elsewhere.pixel_sha256
    assert pixel_path(elsewhere.pixel_sha256).exists()


def test_the_file_that_comes_again_brings_no_text_back(of: Dataset, black_out: Any, tmp_path: Path) -> None:
    film = film_with_text(of)
    stored = film_of(film).stored.astype(np.uint8)
    before = film.pixel_sha256
    black_out(film)
    folder = tmp_path / "again"
    folder.mkdir()
    PIL.Image.fromarray(stored).save(folder / "a.png")
    report = ImportReport()
    entries = entries_of_folder(folder, None, None, report)
    import_entries(upload=Upload.objects.create(dataset=of), entries=entries, report=report, actor=None, processes=1)
    assert of.images.count() == 1
    assert report.counts["there already"] == 1
    assert not pixel_path(before).exists()


def test_what_cannot_be_blacked_out(of: Dataset, black_out: Any, author: User) -> None:
    film = film_with_text(of)
    with pytest.raises(InvalidTextDecision, match="other pixels than you saw"):
        black_out(film, seen="0" * 64)
    with pytest.raises(InvalidBlackOut, match="whole film"):
        black_out(film, boxes=[PixelBox(0, 0, 320, 160)])
    with pytest.raises(InvalidTextDecision, match="nothing would change"):
        black_out(film, boxes=[PixelBox(0, 0, 320, 4)])
    reader = factories.user("reader", Role.READER)
    with pytest.raises(PermissionDenied):
        black_out_copies(image=film, boxes=[BOX], pixels_seen=film.pixel_sha256, author=reader)
    pixel_path(film.pixel_sha256).unlink()
    with pytest.raises(InvalidTextDecision, match="missing from the data folder"):
        black_out(film)
    assert not TextDecision.objects.exists()


@pytest.mark.both
def test_the_database_changes_pixels_only_as_a_decision_says(of: Dataset, author: User) -> None:
    film = film_with_text(of)
    decide_no_text(image=film, pixels_seen=film.pixel_sha256, author=author)
    for change in ({"pixel_sha256": "f" * 64}, {"rows": 3}, {"warning": "x"}):
        with pytest.raises(DatabaseError, match="write-once"), transaction.atomic():
            Image.objects.filter(pk=film.pk).update(**change)
    for act in (lambda: TextDecision.objects.update(boxes=[1]), lambda: TextDecision.objects.all().delete()):
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            act()
    fields = {"image": film, "author": author, "pixels_before": film.pixel_sha256, "pixels_after": "f" * 64}
    with pytest.raises(DatabaseError), transaction.atomic():
        TextDecision.objects.create(verdict="no text", **fields)
    TextDecision.objects.create(verdict="blacked out", boxes=[1], **fields)
    with pytest.raises(DatabaseError, match="write-once"), transaction.atomic():
        Image.objects.filter(pk=film.pk).update(pixel_sha256="f" * 64, rows=3)
    Image.objects.filter(pk=film.pk).update(pixel_sha256="f" * 64)


def test_an_erased_patient_is_known_by_the_pixels_before_too(of: Dataset, black_out: Any) -> None:
    film = film_with_text(of)
    patient = film.patient
    assert len(keys_of(patient, [film])) == 2
    black_out(film)
    film.refresh_from_db()
    assert len(keys_of(patient, [film])) == 3


def test_excluding_labels_the_film(of: Dataset, author: User) -> None:
    film = film_with_text(of)
    factories.event(film, "normal")
    with pytest.raises(InvalidTextDecision, match="other pixels"):
        exclude(image=film, pixels_seen="0" * 64, events_seen=1, author=author)
    decision = exclude(image=film, pixels_seen=film.pixel_sha256, events_seen=1, author=author)
    film.refresh_from_db()
    assert film.current_label.value == "exclude"
    assert (decision.verdict, decision.pixels_after) == ("excluded", film.pixel_sha256)
    assert film.label_events.latest("pk").reason == "text burned in"


def test_excluding_what_another_person_labelled_meanwhile_is_refused(of: Dataset, author: User) -> None:
    film = film_with_text(of)
    factories.event(film, "normal", author=factories.curator("other"))
    with pytest.raises(InvalidTextDecision, match="Another person labelled this film"):
        exclude(image=film, pixels_seen=film.pixel_sha256, events_seen=0, author=author)
    assert not TextDecision.objects.exists()


def test_pixels_that_a_killed_process_left_are_removed(of: Dataset, author: User) -> None:
    film = film_with_text(of)
    old = pixel_path(film.pixel_sha256)
    black_out_copies(image=film, boxes=[BOX], pixels_seen=film.pixel_sha256, author=author)
    assert old.exists()  # what runs on commit did not run
    forget_left_pixels()
    assert not old.exists()


def test_the_new_preview_shows_the_box(of: Dataset, black_out: Any) -> None:
    film = film_with_text(of)
    black_out(film)
    film.refresh_from_db()
    with PIL.Image.open(io.BytesIO(preview_bytes(film))) as preview:
        assert np.asarray(preview)[60:90, 40:290].max() < 40

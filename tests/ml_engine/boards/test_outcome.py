"""Decisions on the films of a fitted alignment, and what later runs take of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, transaction

from ml_engine.boards.outcome import aligned_films, decide
from ml_engine.core import files
from ml_engine.core.alignment.hand_placement import InvalidPlacement
from ml_engine.engine import hand_affines, manifest
from ml_engine.engine.run_folder import INPUTS
from ml_engine.models import AffineDecision, AlignmentModel, RunKind
from ml_engine.runs import paths
from ml_engine.runs.affine_decisions import excluded_films
from ml_engine.runs.lifecycle import RunRefused
from ml_engine.runs.write_folder import write_folder
from portal.models import AuditEvent, Image, Role, User
from portal.people.blinding import open_for
from tests.ml_engine import made, reports

pytestmark = [pytest.mark.django_db, pytest.mark.both]
PLACE = [1.25 / 3, 0.1 / 7, 2**0.5, -0.2 / 3, 1.2, -(3**0.5), 0, 0, 1]


@pytest.fixture
def alignment(data_dir: Path) -> AlignmentModel:
    """An alignment of the six fit films, of which the third is flagged; its file, list of films and affines."""
    split = made.small_split(made.site())
    alignment = made.alignment_model(split, reports.alignment_report(flagged=[2]))
    folder = paths.run_folder(alignment.run.uuid)
    folder.mkdir(parents=True)
    rows = [manifest.ManifestRow(filename=f"{k}", image=str(image.uuid)) for k, image in enumerate(fitted(alignment))]
    manifest.write(folder / "images.csv", rows, with_labels=False)
    affines = np.repeat(np.eye(2, 3)[None], len(rows), axis=0) * 80 / 64
    affines[5] = np.nan  # not readable
    files.write_npy(folder / "affines.npy", affines)
    path = paths.model_path(alignment.sha256)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"an alignment")
    return alignment


def fitted(alignment: AlignmentModel) -> list[Image]:
    members = alignment.split.members.filter(part="fit")
    return list(Image.objects.filter(split_images__member__in=members).order_by("pk"))


@pytest.fixture
def curator(alignment: AlignmentModel) -> User:
    return made.person("curator", at=alignment.site, role=Role.CURATOR)


def test_flagged_films_that_nobody_has_decided_come_first(alignment: AlignmentModel, curator: User) -> None:
    images = fitted(alignment)
    shown = aligned_films(alignment)
    assert [film.image for film in shown] == [images[2], images[0], images[1], images[3], images[4]]
    assert [film.state for film in shown] == ["flagged", "", "", "", ""]
    decide(alignment=alignment, image=images[2], verdict="accept", author=curator)
    again = aligned_films(alignment)
    assert [film.image for film in again] == images[:5]
    assert again[2].state == "accepted"


def test_a_decision_is_kept_and_the_last_one_counts(alignment: AlignmentModel, curator: User) -> None:
    image = fitted(alignment)[0]
    decide(alignment=alignment, image=image, verdict="exclude", author=curator)
    assert excluded_films(alignment) == {image.pk}
    decide(alignment=alignment, image=image, verdict="by hand", matrix=PLACE, author=curator)
    assert excluded_films(alignment) == set()
    assert AffineDecision.objects.count() == 2
    assert AuditEvent.objects.filter(verb="decide of alignment").count() == 2
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        AffineDecision.objects.all().delete()


def test_decisions_that_cannot_be_are_refused(alignment: AlignmentModel, curator: User) -> None:
    image = fitted(alignment)[0]
    with pytest.raises(RunRefused, match="The verdict is “maybe”"):
        decide(alignment=alignment, image=image, verdict="maybe", author=curator)
    with pytest.raises(InvalidPlacement, match="A place by hand needs the transform"):
        decide(alignment=alignment, image=image, verdict="by hand", author=curator)
    with pytest.raises(InvalidPlacement, match="placed by an affine only"):
        decide(alignment=alignment, image=image, verdict="by hand", matrix=[*PLACE[:6], 1e-4, 0, 1], author=curator)
    reader = made.person("reader", at=alignment.site, role=Role.READER)
    with pytest.raises(PermissionDenied):
        decide(alignment=alignment, image=image, verdict="accept", author=reader)
    open_for(person=curator, images=[image], source=alignment.uuid, words="a worklist", days=1)
    with pytest.raises(PermissionDenied, match="blinded"):
        decide(alignment=alignment, image=image, verdict="accept", author=curator)


def test_a_later_detector_takes_hand_made_affines_and_leaves_out_excluded_films(
    alignment: AlignmentModel, curator: User
) -> None:
    images = fitted(alignment)
    calibrate = Image.objects.filter(split_images__member__part="calibrate")[0]
    decide(alignment=alignment, image=images[1], verdict="by hand", matrix=PLACE, author=curator)
    for image in (images[2], calibrate):
        decide(alignment=alignment, image=image, verdict="exclude", author=curator)
    run = made.run(alignment.split, kind=RunKind.FIT_DETECTOR, alignment=alignment)

    folder = write_folder(run, tick=lambda: None)
    listed = {row.image for row in manifest.read(folder / "images.csv")}
    assert str(images[2].uuid) not in listed
    assert str(calibrate.uuid) in listed  # thresholds stay honest
    affines = hand_affines.read(folder / INPUTS["hand_affines"], size=64)
    assert set(affines) == {str(images[1].uuid)}
    assert affines[str(images[1].uuid)].tobytes() == np.reshape(PLACE, (3, 3))[:2].tobytes()
    named = json.loads((folder / "run.json").read_text())["inputs"]["hand_affines"]
    assert named["sha256"] == files.sha256_of(folder / INPUTS["hand_affines"])

    decide(alignment=alignment, image=images[0], verdict="by hand", matrix=PLACE, author=curator)
    write_folder(run, tick=lambda: None)  # a later attempt goes on with what the first one was given
    assert set(hand_affines.read(folder / INPUTS["hand_affines"], size=64)) == {str(images[1].uuid)}


def test_a_run_without_decisions_has_no_such_file(alignment: AlignmentModel) -> None:
    run = made.run(alignment.split, kind=RunKind.FIT_DETECTOR, alignment=alignment)
    folder = write_folder(run, tick=lambda: None)
    assert "hand_affines" not in json.loads((folder / "run.json").read_text())["inputs"]
    assert not (folder / INPUTS["hand_affines"]).exists()

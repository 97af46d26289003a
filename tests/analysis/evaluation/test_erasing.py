"""The drill: a patient is erased, and nothing of them is found in any row or file. What remains is a tombstone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.core.management import call_command
from django.db import DatabaseError, transaction
from django.test import Client
from django.urls import reverse

from analysis.evaluation.erasing import CannotErase, confirmation_of, erase_patient, plan_erasure
from ml_engine.engine import hand_affines
from ml_engine.engine.hand_affines import text_of
from ml_engine.engine.run_folder import INPUTS
from ml_engine.engine.scored_folder import ScoredFolder
from ml_engine.models import FilmPlacement, Run, RunState, Score, WithdrawnModel
from ml_engine.runs import erased_films, paths
from ml_engine.runs.lifecycle import RunRefused
from ml_engine.runs.requests import RunRequest, request_score
from portal.grid.tagging import add_tag
from portal.imaging.black_out import PixelBox
from portal.intake import erased_patients
from portal.intake.erased_patients import names_of, references
from portal.intake.quarantine import open_kept
from portal.intake.quarantine_files import kept_path
from portal.intake.quarantined_patients import quarantined_of
from portal.intake.text_decisions import black_out_copies
from portal.intake.text_looks import look_for_text
from portal.models import (
    AuditEvent,
    Erasure,
    Image,
    LabelEvent,
    PartialUpload,
    Patient,
    QuarantinedFile,
    Role,
    TaggedFilm,
    Upload,
    User,
)
from portal.people import audit
from portal.people.audit_chain import seal_all, verify
from tests.access import world as worlds
from tests.analysis.scored import scored_run
from tests.portal import factories
from tests.portal.intake.test_films import run as import_folder
from tests.portal.texted import film_with_text
from tests.portal.traces import traces

pytestmark = pytest.mark.django_db


@pytest.fixture
def world(data_dir: Path) -> worlds.World:
    made = worlds.build()
    for upload in Upload.objects.filter(state=Upload.State.MAPPING):
        Upload.objects.filter(pk=upload.pk).update(state=Upload.State.DISCARDED)
    for partial in PartialUpload.objects.all():
        (Path(settings.DATA_DIR) / "uploads" / f"{partial.uuid}.part").unlink(missing_ok=True)
    Run.objects.filter(state__in=[RunState.QUEUED, RunState.RUNNING]).update(
        state=RunState.CANCELLED, lease_owner="", lease_until=None
    )
    return made


def boss_of(world: worlds.World) -> User:
    return User.objects.get(username="boss")


def erase(patient: Patient, actor: User | None, **more: Any) -> Erasure:
    return erase_patient(
        patient=patient, reason="Consent withdrawn", confirmation=confirmation_of(patient), actor=actor, **more
    )


def words_of(patient: Patient) -> list[str]:
    films = list(patient.images.all())
    words = [*names_of(patient, films), *(word for film in films for word in worlds.words_of(film))]
    return [word for word in words if len(word) > 4]


def test_the_drill(world: worlds.World) -> None:
    """One world, since it takes long to make: three patients with everything that a site can hold are erased."""
    boss, run = boss_of(world), world.things["run"]
    film = world.things["film"]
    of_test = Score.objects.filter(run=run, image__csv_split="test").exclude(image__patient=film.patient)
    scored = of_test.order_by("row").first().image
    fitted = run.detector.split.members.filter(part="fit").first().patient
    with transaction.atomic():
        audit.record(verb="export heatmap", site=film.dataset.site, actor=boss, target=film, after={"x": 1})
    log = Path(settings.DATA_DIR) / "logs" / "web.log"
    log.parent.mkdir(exist_ok=True)
    log.write_text(f"GET /films/{film.uuid}/\n")
    bank = paths.model_path(run.detector.sha256)
    bank.parent.mkdir(parents=True, exist_ok=True)
    bank.write_bytes(b"a bank")
    row = Score.objects.get(run=run, image=scored).row
    others = Score.objects.filter(run=run).exclude(image__patient__in=[scored.patient, film.patient])
    other = others.order_by("row").first().row
    seal_all()
    before = ScoredFolder(paths.run_folder(run.uuid)).maps_of(other).copy()

    for patient in (film.patient, scored.patient, fitted):
        remaining = Image.objects.exclude(patient=patient).count()
        words = words_of(patient)
        places = {place.split(":")[0] for place in traces(words)}
        assert {"portal_image", "portal_patient"} <= places
        erasure = erase(patient, boss)
        assert traces(words) == []
        assert Image.objects.count() == remaining
        assert (erasure.state, erasure.patient) == ("done", None)
        assert erasure.report["rows"]["portal_labelevent"] >= 1
    by_film, by_score, by_fit = Erasure.objects.order_by("pk")

    # the first: what others may know
    assert log.read_text() == f"GET /films/{'x' * 36}/\n"
    event = AuditEvent.objects.get(verb="erase patient", target_uuid=by_film.uuid)
    assert (event.actor, event.reason, event.after) == (boss, "Consent withdrawn", {"films": by_film.report["films"]})
    blanked = AuditEvent.objects.get(verb="export heatmap", target_uuid=by_film.uuid)
    assert (blanked.actor, blanked.after) == (boss, None)
    assert by_film.report["handed_out"][0]["what"] == "export heatmap"
    verdict = verify(film.dataset.site)  # what was erased does not break the chain of the audit
    assert (verdict.fault, verdict.erased > 0) == ("", True)
    # the second: the results of others stay
    folder = ScoredFolder(paths.run_folder(run.uuid))
    folder.check()
    assert np.array_equal(folder.maps_of(other), before, equal_nan=True)
    assert not (folder.maps_of(row) == folder.maps_of(row)).any()
    assert (folder.films[row].image, folder.films[row].error) == ("", "erased")
    assert run.name in by_score.report["runs"]
    # the third: the detector is withdrawn, and fitted again
    assert not bank.exists()
    withdrawn = WithdrawnModel.objects.get(detector=run.detector)
    assert withdrawn.erasure == by_fit
    with pytest.raises(RunRefused, match="of a patient who was erased since, and starts no run any more: fit it again"):
        request_score(RunRequest(site=run.site, name="Again"), detector=run.detector, parts=["tune"])
    refused = " ".join(erased_films.fit_again(by_fit, boss))
    assert (
        "The ImageNet weights of vgg19 are not on this machine" in refused
    )  # of its alignment, which is withdrawn too


def test_the_file_of_a_small_installation_holds_no_deleted_row(tmp_path: Path) -> None:
    """SQLite leaves what was deleted in its file and in its log, unless secure_delete is on."""
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "portal.settings", "HILUM_DATA_DIR": str(tmp_path)}
    program = """
import sys, django; django.setup()
from django.db import connection
from portal.intake.erased_patients import empty_write_ahead_log
with connection.cursor() as cursor:
    cursor.execute("CREATE TABLE film (name TEXT)")
    cursor.executemany("INSERT INTO film VALUES (%s)", [[f"Quagga {n}"] for n in range(500)])
    cursor.execute("DELETE FROM film WHERE name <> 'Quagga 250'")
    cursor.execute("UPDATE film SET name = 'x'")
empty_write_ahead_log()
from pathlib import Path  # while the connection is open: when the last one is closed, SQLite removes its log
print([path.name for path in Path(sys.argv[1]).glob("hilum.sqlite3*") if b"Quagga" in path.read_bytes()])
"""
    for name in ("DATABASE_URL", "HILUM_TEST_DATABASE", "HILUM_TEST_DATABASE_URL"):
        environment.pop(name, None)
    asked = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], env=environment, capture_output=True, text=True
    )
    assert asked.stdout == "[]\n", asked.stdout + asked.stderr
    assert (tmp_path / "hilum.sqlite3").exists()


def test_a_withdrawn_detector_is_fitted_again(data_dir: Path) -> None:
    scored = scored_run(factories.site(), author=factories.user("boss", Role.MANAGER))
    detector = scored.run.detector
    erasure = erase(scored.split.members.filter(part="fit").first().patient, None)
    assert erased_films.fit_again(erasure, None) == []
    withdrawn = WithdrawnModel.objects.get(detector=detector, erasure=erasure)
    assert (withdrawn.fitted_again.clone_of, withdrawn.fitted_again.state) == (detector.run, "queued")
    assert scored.split.members.filter(part="fit").count() == 7


@pytest.mark.both
def test_text_and_tags_of_a_film_go_with_it(data_dir: Path, django_capture_on_commit_callbacks: Any) -> None:
    of, curator = factories.dataset(), factories.curator()
    film, other = (film_with_text(of, seed=seed) for seed in range(2))
    look_for_text(of)
    films = Image.objects.filter(pk__in=[film.pk, other.pk])
    add_tag(images=films, name="burned in", author=curator, site=of.site, among=films)
    before = film.pixel_sha256
    with django_capture_on_commit_callbacks(execute=True):
        black_out_copies(image=film, boxes=[PixelBox(30, 55, 270, 40)], pixels_seen=before, author=curator)
    look_for_text(of)
    film.refresh_from_db()
    words = [*words_of(film.patient), before]
    assert "portal_textdecision" in {place.split(":")[0] for place in traces(words)}
    report = erase(film.patient, None).report
    assert [report["rows"][f"portal_{name}"] for name in ("textdecision", "textlook", "taggedfilm")] == [1, 1, 1]
    assert traces(words) == []
    assert TaggedFilm.objects.get().image == other


@pytest.mark.both
@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"reason": " "}, "The reason is empty; write why the patient is erased, without names"),
        ({"reason": "x" * 501}, "The reason has 501 characters; use at most 500"),
        ({"confirmation": "yes"}, "The confirmation is 'yes'; type the first 8 characters of the patient's pseudonym"),
    ],
)
def test_what_is_refused(data_dir: Path, more: dict[str, Any], sentence: str) -> None:
    film = factories.film(factories.dataset(), "normal", person="one")
    asked = {"reason": "Withdrawn", "confirmation": confirmation_of(film.patient), "actor": None} | more
    with pytest.raises(CannotErase, match=sentence):
        erase_patient(patient=film.patient, **asked)
    assert not Erasure.objects.exists()


def test_who_took_lists_with_the_patients_films_is_named(data_dir: Path, client: Client) -> None:
    of = factories.dataset()
    film, other = factories.film(of, "normal"), factories.film(factories.dataset("Others"), "normal")
    boss = factories.user("boss", Role.MANAGER, at=of.site)
    client.force_login(boss)
    for dataset in (of, other.dataset):
        answer = client.get(reverse("analysis:dataset-labels", args=[dataset.uuid]), {"file": "labels.csv"})
        assert b"".join(answer.streaming_content) if answer.streaming else answer.content
    assert [(row["what"], row["run"], row["who"]) for row in plan_erasure(film.patient).handed_out] == [
        ("export labels", of.name, "boss")
    ]


def test_only_a_manager_erases(data_dir: Path) -> None:
    film = factories.film(factories.dataset(), "normal", person="one")
    with pytest.raises(PermissionDenied, match="To erase patients at Seoul you need one of these roles: manager"):
        erase(film.patient, factories.curator())


def test_what_may_hold_films_of_the_patient_is_an_obstacle(data_dir: Path) -> None:
    of = factories.dataset()
    film = factories.film(of, "normal", person="one")
    Upload.objects.create(dataset=of, state=Upload.State.MAPPING)
    with pytest.raises(CannotErase, match="1 upload waits at Seoul, for example in “Normals”, and may hold films"):
        erase(film.patient, None)
    assert plan_erasure(film.patient).obstacles


@pytest.mark.both
def test_the_door_is_open_for_this_patient_only_and_after_an_audit_event(data_dir: Path) -> None:
    of = factories.dataset()
    one, two = (factories.film(of, "normal", person=name) for name in ("one", "two"))
    erasure = Erasure.objects.create(site=of.site, patient=one.patient, reason="x")
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        LabelEvent.objects.filter(image=one)._raw_delete("default")
    with pytest.raises(DatabaseError, match="opens with its audit event only"), transaction.atomic():
        Erasure.objects.filter(pk=erasure.pk).update(state="open")
    with transaction.atomic():
        audit.record(verb="erase patient", site=of.site, actor=None, target=erasure)
    Erasure.objects.filter(pk=erasure.pk).update(state="open")
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        LabelEvent.objects.filter(image=two)._raw_delete("default")
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        AuditEvent.objects.update(verb="x")
    assert LabelEvent.objects.filter(image=one)._raw_delete("default") == 1
    Erasure.objects.filter(pk=erasure.pk).update(state="begun")
    erase(one.patient, None)
    with pytest.raises(DatabaseError, match="is kept"), transaction.atomic():
        Erasure.objects.update(reason="y")
    with pytest.raises(DatabaseError, match="is kept"), transaction.atomic():
        Erasure.objects.filter(pk=erasure.pk)._raw_delete("default")


def test_every_table_that_refers_to_films_is_known() -> None:
    """A new table that refers to a film has to be looked at: whether its rows go with the film, and whether the
    triggers let them."""
    reached = {Image, Patient}
    for _ in range(5):
        reached |= {model for model, _, of in references() if of in reached}
    assert sorted(model._meta.db_table for model in reached) == sorted(KNOWN)


KNOWN = [
    "analysis_adjudicationproposal",
    "analysis_escalation",
    "analysis_escalationanswer",
    "analysis_heatmapuse",
    "analysis_normalproposal_films",
    "analysis_reading",
    "analysis_worklistitem",
    "ml_engine_affinedecision",
    "ml_engine_boardfilm",
    "ml_engine_filmplacement",
    "ml_engine_headread",
    "ml_engine_run_grown_with",
    "ml_engine_score",
    "portal_adjudication",
    "portal_adjudicatorverdict",
    "portal_blindedfilm",
    "portal_cohortimage",
    "portal_consensus",
    "portal_consensus_readings",
    "portal_currentlabel",
    "portal_exposure",
    "portal_filmfingerprint",
    "portal_filmpair",
    "portal_headerdifference",
    "portal_image",
    "portal_labelevent",
    "portal_patient",
    "portal_queueimage",
    "portal_queuereading",
    "portal_splitimage",
    "portal_splitmember",
    "portal_study",
    "portal_taggedfilm",
    "portal_textdecision",
    "portal_textlook",
    "portal_trainingfilm",
]


@pytest.mark.django_db
def test_a_file_of_an_erased_patient_is_not_imported_again(data_dir: Path, tmp_path: Path) -> None:
    of = factories.dataset()
    folder = tmp_path / "films"
    folder.mkdir()
    factories.dicom(folder / "a.dcm", PatientID="P1", seed=1)
    factories.dicom(folder / "b.dcm", PatientID="P2", seed=2)
    call_command("import_images", folder, dataset=of.name, site="Seoul", stdout=StringIO())
    patient = of.images.order_by("pk").first().patient
    erase(patient, None)
    factories.dicom(folder / "c.dcm", PatientID="P1", seed=3)
    report = StringIO()
    call_command("import_images", folder, dataset=of.name, site="Seoul", stdout=report)
    assert "2 files are of patients who were erased here, and were not imported" in report.getvalue()
    assert Patient.objects.count() == 1


def test_the_mean_of_a_board_goes_with_a_patient_on_it(world: worlds.World) -> None:
    film, canonical = world.things["board film"], world.things["canonical"]
    run = world.things["alignment run"]
    Run.objects.filter(pk=run.pk).update(canonical=canonical)
    pictures = [paths.canonical_path(name) for name in (canonical.sha256, f"{canonical.sha256}-variance")]
    assert all(path.is_file() for path in pictures)

    erase(film.patient, boss_of(world))
    assert not any(path.exists() for path in pictures)
    assert not paths.board_folder(canonical.board.uuid).exists()
    assert FilmPlacement.objects.filter(film__board=canonical.board).count() == canonical.board.films.count() == 2
    assert WithdrawnModel.objects.filter(alignment=run.alignment_made).exists()


def test_a_hand_made_affine_of_the_patient_is_taken_out_of_scored_folders(world: worlds.World) -> None:
    film, run = world.things["test film"], world.things["run"]
    folder = paths.run_folder(run.uuid)
    path = folder / INPUTS["hand_affines"]
    path.parent.mkdir(exist_ok=True)
    other = "00000000-0000-4000-8000-000000000000"
    path.write_text(text_of({str(film.uuid): [[1, 0, 0], [0, 1, 0]], other: [[1, 0, 0], [0, 1, 0]]}, canonical_size=64))
    (folder / "run.json").write_text(json.dumps({"kind": "score", "inputs": {"hand_affines": {"sha256": "x"}}}))

    erase(film.patient, boss_of(world))
    assert set(hand_affines.read(path, size=64)) == {other}
    asked = json.loads((folder / "run.json").read_text())
    assert asked["inputs"]["hand_affines"]["sha256"] == paths.file_sha256(path)


def test_files_in_quarantine_are_erased_too_and_left_out_when_they_come_again(data_dir: Path, tmp_path: Path) -> None:
    of, folder = factories.dataset(), tmp_path / "films"
    factories.dicom(folder / "ct.dcm", seed=1, Modality="CT", PatientID="Quagga-7")
    factories.dicom(folder / "other.dcm", seed=2, Modality="CT", PatientID="Quagga-8")
    factories.colour_png(folder / "nobody.png")
    import_folder(of, folder)
    film, boss = factories.film(of, "normal", person="Quagga-7"), factories.user("boss", Role.MANAGER)
    of_patient = QuarantinedFile.objects.get(pk=quarantined_of(film.patient).files[0].pk)
    assert b"".join(open_kept(of_patient, boss))[128:132] == b"DICM"
    path, words = kept_path(of_patient), [str(of_patient.uuid), of_patient.source_sha256]
    assert plan_erasure(film.patient).quarantined == 3

    erasure = erase(film.patient, boss)
    assert not path.exists()
    assert traces(words) == []
    assert QuarantinedFile.objects.count() == 2
    assert (erasure.report["files"]["files in quarantine"], erasure.report["nameless"]) == (1, 1)

    report = import_folder(of, folder)
    assert (report.counts["of erased patients"], report.counts["quarantined"]) == (1, 0)
    assert traces(words) == []


def test_an_interrupted_erasure_still_knows_the_files_in_quarantine(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = factories.dataset()
    factories.dicom(tmp_path / "films" / "ct.dcm", seed=1, Modality="CT", PatientID="Quagga-7")
    import_folder(of, tmp_path / "films")
    patient = factories.film(of, "normal", person="Quagga-7").patient
    with monkeypatch.context() as broken:
        broken.setattr(erased_patients, "delete_rows", interrupt)
        with pytest.raises(KeyboardInterrupt):
            erase(patient, None)
    assert QuarantinedFile.objects.count() == 1
    erase(patient, None)
    assert QuarantinedFile.objects.count() == 0


def interrupt(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt

"""Runs in a bucket of a real S3 service, by machines whose data folders have nothing in common."""

from __future__ import annotations

import io
import os
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.files.storage import storages
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from analysis.evaluation.erasing import confirmation_of, erase_patient
from ml_engine.boards.canonicals import BoardRequest, make_canonical, place_film, start_board
from ml_engine.core import files
from ml_engine.engine.run_folder import RunSpec, write_run_folder
from ml_engine.engine.scored_folder import ScoredFolder
from ml_engine.models import DetectorModel, Run, RunFile, RunState, Score
from ml_engine.runs import lifecycle, paths, requests, run_bucket, sharding, supervisor, write_folder
from ml_engine.runs.blacked_out_films import black_out_film
from ml_engine.runs.ranges import children_of
from ml_engine.runs.requests import RunRequest
from ml_engine.runs.run_conditions import runs_in_bucket
from ml_engine.runs.study_requests import request_sweep
from ml_engine.runs.warm_engine import warm_engine
from portal.backups.making import make_backup
from portal.imaging.black_out import PixelBox
from portal.intake import bucket_objects
from portal.intake.bucket_objects import WrongBytes
from portal.intake.film_files import pixels_here
from portal.intake.text_decisions import InvalidTextDecision
from portal.models import Patient, Role
from portal.project.condition import Condition
from portal.retention.collector import collect
from portal.retention.copies import remove_copies, remove_outdated
from tests.ml_engine import films, made
from tests.ml_engine.runs.test_recovery import Workers, wait_for, workers
from tests.portal import s3_service
from tests.portal.backups.places import folder_at
from tests.portal.s3_service import CLOSED

pytestmark = [pytest.mark.django_db(transaction=True)]
__all__ = ["workers"]  # a fixture
Use = Callable[[str], None]
Host = Callable[[str], Path]
publish = lifecycle.publish


@pytest.fixture
def host(bucket: Use, data_dir: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """Called with a name: from now on this is the machine of that name, with a data folder of its own."""

    def on(name: str) -> Path:
        settings.DATA_DIR = data_dir.parent / name
        settings.DATA_DIR.mkdir(exist_ok=True)
        return Path(settings.DATA_DIR)

    settings.RUNS_IN_BUCKET = True
    monkeypatch.setattr(lifecycle, "publish", lambda run: True)
    monkeypatch.setattr(supervisor, "BUCKET_PAUSE_SECONDS", 0.1)
    on("A")
    yield on
    warm_engine.end()


@pytest.fixture
def detector(host: Host) -> DetectorModel:
    """Fitted on machine A."""
    split = made.small_split(made.site())
    fit = requests.request_detector(RunRequest(site=split.site, name="D"), split=split, config=made.small_config())
    supervisor.execute(fit.uuid)
    return DetectorModel.objects.get()


@pytest.fixture
def small(host: Host) -> Run:
    """A run with two files, which has ended on machine A."""
    run = made.run(made.split(made.site()), state=RunState.DONE)
    folder = run_bucket.here(run)
    spec = RunSpec(kind=run.kind, config=made.small_config(), name=run.name)
    write_run_folder(folder, spec.to_json(), rows=None)
    files.write_npy(folder / "maps.npy", np.zeros((1, 2, 4, 4), np.float32))
    run_bucket.record(run, run_bucket.keep(run, folder, beat=lambda: None))
    return run


def request(detector: DetectorModel) -> Run:
    """To score six films."""
    return requests.request_score(
        RunRequest(site=detector.split.site, name="S"), detector=detector, parts=["test", "tune"]
    )


def scored(detector: DetectorModel) -> Run:
    run = request(detector)
    supervisor.execute(run.uuid)
    run.refresh_from_db()
    assert run.state == RunState.DONE, run.message
    return run


def results(run: Run) -> dict[str, bytes]:
    """As this machine has them."""
    found = films.result_bytes(run_bucket.here(run))
    left_out = ("stderr.txt", run_bucket.STAMP)
    return {name: data for name, data in found.items() if name not in left_out and not name.startswith("files/")}


def same_results(run: Run, expected: dict[str, bytes]) -> None:
    merged = results(run)
    assert sorted(merged) == sorted(expected)
    assert [name for name in expected if merged[name] != expected[name]] == []


def objects() -> set[str]:
    return {name for name, _ in bucket_objects.listed(run_bucket.FOLDER)}


def content_of(name: str) -> bytes:
    with storages["films"].open(name) as stored:
        content: bytes = stored.read()
    return content


def named_objects() -> set[str]:
    files = RunFile.objects.select_related("kept_by")
    return {run_bucket.object_name(file.kept_by.uuid, file.sha256) for file in files}


def test_what_one_machine_made_another_reads(detector: DetectorModel, host: Host, client: Client) -> None:
    host("B")
    run = scored(detector)
    made_there = results(run)
    folder = host("C")
    client.force_login(made.person("ana", at=run.site, role=Role.ANALYST))
    assert b"Finished; 0 films" in client.get(reverse("ml_engine:run-log", args=[run.uuid])).content
    assert not paths.run_folder(run.uuid).exists()  # the log alone was read
    archive = client.get(reverse("analysis:run-archive", args=[run.uuid]))
    names = zipfile.ZipFile(io.BytesIO(b"".join(archive.streaming_content))).namelist()
    assert len([name for name in names if "/files/" in name and name.endswith(".u16.gz")]) == 6
    assert results(run) == made_there
    assert "maps.npy" in made_there
    assert run_bucket.model_here(detector).is_relative_to(folder)
    assert objects() == named_objects()
    of_detector = run.files.get(path="inputs/detector.safetensors")
    assert of_detector.kept_by == detector.run  # not sent again


def test_a_damaged_object_is_refused(small: Run, host: Host, client: Client) -> None:
    file = small.files.get(path="maps.npy")
    storages["films"].save(run_bucket.object_name(small.uuid, file.sha256), io.BytesIO(b"other bytes"))
    host("B")
    with pytest.raises(WrongBytes, match=r"other bytes under runs/.* than were put there: restore that object"):
        run_bucket.here(small)
    assert not paths.run_folder(small.uuid).exists()
    client.raise_request_exception = False
    client.force_login(made.person("ana", at=small.site, role=Role.ANALYST))
    assert client.get(reverse("analysis:run-archive", args=[small.uuid])).status_code == 503


def test_ranges_of_a_run_by_four_machines(detector: DetectorModel, host: Host, settings: Any) -> None:
    expected = results(scored(detector))
    settings.SHARD_FILMS = 2
    run = request(detector)
    host("B")
    supervisor.execute(run.uuid)
    children = list(children_of(run))
    assert len(children) == 3
    for name, child in zip("CAC", children, strict=True):
        host(name)
        supervisor.execute(child.uuid)
    host("D")
    supervisor.execute(run.uuid)
    run.refresh_from_db()
    assert (run.state, run.message) == (RunState.DONE, "")
    host("E")
    same_results(run, expected)
    assert Score.objects.filter(run=run).count() == 6
    assert objects() == named_objects()
    assert not RunFile.objects.filter(run__in=children).exists()


def test_a_run_waits_for_a_bucket_that_is_away_and_is_not_said_to_be_done(
    detector: DetectorModel, host: Host, bucket: Use, _s3_service: str, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = request(detector)
    seen: list[tuple[str, bool]] = []
    client.force_login(made.person("ana", at=run.site, role=Role.ANALYST))
    run_engine, note = supervisor._run_engine, lifecycle.note

    def then_the_bucket_goes(*arguments: Any) -> int:
        unreadable = run_engine(*arguments)
        bucket(CLOSED)
        return unreadable

    def then_it_comes_back(**values: Any) -> None:
        note(**values)
        run.refresh_from_db()
        page = client.get(reverse("ml_engine:run", args=[run.uuid])).content.decode()
        seen.append((run.state, "the run goes on by itself once the bucket answers" in page))
        bucket(_s3_service)

    monkeypatch.setattr(supervisor, "_run_engine", then_the_bucket_goes)
    monkeypatch.setattr(lifecycle, "note", then_it_comes_back)
    supervisor.execute(run.uuid)
    run.refresh_from_db()
    assert seen == [(RunState.RUNNING, True)]
    assert (run.state, run.message) == (RunState.DONE, "")
    assert objects() == named_objects()


def test_a_run_that_failed_shows_its_log_and_begins_again_elsewhere(host: Host, client: Client) -> None:
    split = made.small_split(made.site())
    run = requests.request_detector(
        RunRequest(site=split.site, name="D"), split=split, config=made.small_config(memory_gib="0.001")
    )
    supervisor.execute(run.uuid)
    host("B")
    run.refresh_from_db()
    assert run.state == RunState.FAILED
    listed = run_bucket.read_text(run, "images.csv")
    client.force_login(made.person("ana", at=run.site, role=Role.ANALYST))
    assert b"raise memory_gib" in client.get(reverse("ml_engine:run", args=[run.uuid])).content
    assert not run.files.filter(path__startswith="stages/").exists()
    Run.objects.filter(pk=run.pk).update(config=run.config | {"memory_gib": 0})
    lifecycle.retry(run=run, actor=None)
    supervisor.execute(run.uuid)
    run.refresh_from_db()
    assert (run.state, run.message) == (RunState.DONE, "")
    assert run_bucket.read_text(run, "images.csv") == listed


def erase(patient: Patient) -> None:
    erase_patient(patient=patient, reason="Consent", confirmation=confirmation_of(patient), actor=None)


def test_who_is_erased_is_in_no_object_and_in_no_copy(detector: DetectorModel, host: Host) -> None:
    host("B")
    run = scored(detector)
    in_test, in_fit = (
        detector.split.members.filter(part=part).select_related("patient").first().patient for part in ("test", "fit")
    )
    name = str(in_test.images.get().uuid)
    write_folder.place_films(run_bucket.here(run))
    host("C")
    erase(in_test)
    assert objects() == named_objects()
    assert [key for key in objects() if name.encode() in content_of(key)] == []
    host("B")
    run.refresh_from_db()
    assert [path for path, data in results(run).items() if name.encode() in data] == []
    assert [path for path in run_bucket.here(run).rglob("*") if name in path.name] == []
    assert ScoredFolder(run_bucket.here(run)).check() is None
    host("C")
    erase(in_fit)
    host("A")
    detector.run.refresh_from_db()
    assert not run_bucket.here(detector.run).exists()
    run.refresh_from_db()
    assert not any(one.startswith("inputs/") for one in results(run))
    assert ScoredFolder(run_bucket.here(run)).check() is None
    assert objects() == named_objects()
    assert not run_bucket.has_folder(detector.run)


def test_text_that_was_blacked_out_on_one_machine_is_in_no_folder_of_another(
    detector: DetectorModel, host: Host
) -> None:
    run = scored(detector)
    folder, image = paths.run_folder(run.uuid), run.scores.first().image
    write_folder.place_films(folder)
    host("B")
    author = made.person("cora", at=run.site, role=Role.CURATOR)
    black_out = partial(
        black_out_film, image=image, boxes=[PixelBox(2, 2, 8, 8)], pixels_seen=image.pixel_sha256, author=author
    )
    lease = {"lease_owner": "another machine", "lease_until": timezone.now(), "kept": ""}
    Run.objects.filter(pk=run.pk).update(state=RunState.RUNNING, **lease)
    with pytest.raises(InvalidTextDecision, match="1 run is reading this film"):
        black_out()
    Run.objects.filter(pk=run.pk).update(state=RunState.DONE, kept=run.kept)
    black_out()
    host("A")
    image.refresh_from_db()
    write_folder.place_films(folder)
    placed = folder / "files" / f"{image.uuid}.u16.gz"
    assert placed.read_bytes() == pixels_here(image.pixel_sha256).read_bytes()


def test_copies_go_and_come_back_and_those_of_erased_patients_go_for_good(detector: DetectorModel, host: Host) -> None:
    here, run = host("A"), scored(detector)
    expected = results(run)
    folders = [paths.run_folder(one.uuid) for one in (run, detector.run)]
    assert remove_copies(0).files == 0  # they are young
    for stamp in (*(folder / run_bucket.STAMP for folder in folders), paths.model_path(detector.sha256)):
        os.utime(stamp, (0, 0))
    assert remove_copies(0).files == 3
    assert not any(folder.exists() for folder in folders)
    assert results(run) == expected
    write_folder.place_films(folders[0])
    assert remove_outdated() == 0
    assert not (folders[0] / "files").exists()
    assert run_bucket.model_here(detector).exists()
    sums, figures = (here / name / "1" / "kept" for name in ("boards", "evaluations"))
    for path in (sums, figures):
        path.parent.mkdir(parents=True)
        path.touch()
    host("B")
    erase(detector.split.members.filter(part="fit").first().patient)
    host("A")
    run_bucket.here(detector.run)  # not as it was
    assert remove_outdated() == 4  # the scoring run, which had the model, the model, sums of boards and figures
    assert not (sums.exists() or figures.exists())
    assert not any(folder.exists() for folder in folders)
    assert not paths.model_path(detector.sha256).exists()


def test_the_collector_leaves_what_rows_name_and_what_a_run_is_about_to_name(
    small: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    going, ended = (made.run(small.split, state=state) for state in (RunState.RUNNING, RunState.DONE))
    for run in (going, ended, small):
        bucket_objects.put(run_bucket.object_name(run.uuid, "a" * 64), run_bucket.here(small) / "run.json")
    listed = bucket_objects.listed

    def of_last_year(folder: str) -> Iterator[tuple[str, Any]]:
        return ((name, bucket_objects.Stored(one.size, one.written.replace(year=2000))) for name, one in listed(folder))

    monkeypatch.setattr(bucket_objects, "listed", of_last_year)
    monkeypatch.setattr(bucket_objects, "written", lambda name: datetime(2000, 1, 1, tzinfo=UTC))
    [found] = [one for one in collect(hours=1, removes=True) if one.kind.name == "files of runs in the bucket"]
    assert found.removed == 2
    assert objects() == named_objects() | {run_bucket.object_name(going.uuid, "a" * 64)}


def test_runs_of_before_the_setting_and_lost_objects_are_put_into_the_bucket(
    detector: DetectorModel, host: Host, settings: Any
) -> None:
    settings.RUNS_IN_BUCKET = False
    before = scored(detector)
    assert before.kept == ""
    settings.RUNS_IN_BUCKET = True
    assert runs_in_bucket().fault == "Runs that the bucket does not have: 1, such as “S”."
    lost = detector.run.files.get(path="detector.safetensors")
    storages["films"].delete(run_bucket.object_name(detector.run.uuid, lost.sha256))
    assert runs_in_bucket().fault == "Runs of which the bucket lacks files: 1, such as “D”."
    output = io.StringIO()
    call_command("fill_bucket", stdout=output)
    assert "runs: 2 put into the bucket, 0 were there, 0 have files that are missing" in output.getvalue()
    assert runs_in_bucket() == Condition("runs in the bucket")
    here = results(before)
    host("B")
    before.refresh_from_db()
    assert results(before) == here
    storages["films"].delete(run_bucket.object_name(detector.run.uuid, lost.sha256))
    host("C")
    with pytest.raises(CommandError, match="Runs are missing: restore their folders from a backup"):
        call_command("fill_bucket")


def test_a_backup_has_the_runs_of_other_machines(small: Run, host: Host, tmp_path: Path) -> None:
    host("B")
    folder = folder_at(tmp_path / "backups", "four words of the keeper")
    manifest = make_backup(folder)
    assert manifest.faults == []
    top = f"runs/{small.uuid}/"
    stored = {one.name.removeprefix(top): b"".join(folder.read(one)) for one in manifest.files if top in one.name}
    host("A")
    assert stored == {name: (run_bucket.here(small) / name).read_bytes() for name in ("run.json", "maps.npy")}


def test_a_hand_made_canonical_image_lies_in_the_bucket_alone(host: Host, client: Client) -> None:
    split = made.small_split(made.site())
    author = made.person("ana", at=split.site, role=Role.ANALYST)
    board = start_board(BoardRequest(site=split.site, name="B", films=3, split=split, part="fit"), author=author)
    for film in board.films.all():
        place_film(film=film, author=author, matrix=[80 / 448, 0, 0, 0, 80 / 448, 0, 0, 0, 1.0])  # fills the frame
    canonical = make_canonical(board=board, name="Mean", author=author)
    assert not list(paths.canonical_path("x").parent.glob("*"))
    host("B")
    client.force_login(author)
    for what in ("mean", "variance"):
        assert client.get(reverse("ml_engine:canonical-picture", args=[canonical.uuid, what])).status_code == 200
    asked = RunRequest(site=split.site, name="A", requested_by=author)
    run = requests.request_alignment(asked, split=split, config=made.small_config(), canonical=canonical)
    inputs = write_folder.write_folder(run, tick=lambda: None) / "inputs"
    assert paths.file_sha256(inputs / "canonical.npy") == canonical.sha256
    lifecycle.cancel(run=run, actor=None)
    host("C")
    erase(board.films.first().image.patient)
    assert list(bucket_objects.listed("models")) == []
    assert client.get(reverse("ml_engine:canonical-picture", args=[canonical.uuid, "mean"])).status_code == 404


@pytest.mark.slow
def test_ranges_of_a_study_take_features_from_another_machine_also_in_a_retry(
    host: Host, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.SHARD_CELLS = 1
    split = made.small_split(made.site())

    def asked(workers: int) -> Run:
        monkeypatch.setattr(sharding, "queues_served", lambda: Counter(gpu=workers))
        run = request_sweep(
            RunRequest(site=split.site, name="W"),
            split=split,
            config=made.small_config(),
            axes={"rate": ["0.1", "0.2"]},
        )
        supervisor.execute(run.uuid)
        run.refresh_from_db()
        return run

    expected = results(asked(1))
    host("B")
    run = asked(2)
    leader, follower = children_of(run)
    assert follower.after == leader
    host("C")
    supervisor.execute(leader.uuid)
    lifecycle.cancel(run=run, actor=None)
    host("D")
    lifecycle.retry(run=run, actor=None)
    leader.refresh_from_db()
    assert leader.state == RunState.DONE  # what it made is in the bucket
    supervisor.execute(follower.uuid)
    assert (run_bucket.place_of(leader) / "stages" / "features").is_dir()
    for name in ("E", "E"):  # the second delivery finds nothing to do
        host(name)
        supervisor.execute(run.uuid)
    run.refresh_from_db()
    assert (run.state, run.message) == (RunState.DONE, "")
    host("F")
    same_results(run, expected)
    assert objects() == named_objects()


@pytest.mark.slow
def test_a_worker_process_and_a_web_server_share_the_bucket_alone(
    host: Host, workers: Workers, _s3_service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "publish", publish)
    split = made.small_split(made.site())
    workers.environment |= {
        "HILUM_DATA_DIR": str(host("worker")),
        "HILUM_FILM_BUCKET": f"{s3_service.BUCKET}/ward",
        "HILUM_FILM_BUCKET_URL": _s3_service,
        "HILUM_RUNS_IN_BUCKET": "1",
        "HILUM_RUN_LEASE_SECONDS": "30",
    }
    host("web")
    run = requests.request_detector(RunRequest(site=split.site, name="D"), split=split, config=made.small_config())
    workers.start()
    wait_for(lambda: Run.objects.get(pk=run.pk).has_ended, run=run)
    run.refresh_from_db()
    assert (run.state, run.message) == (RunState.DONE, "")
    assert not paths.run_folder(run.uuid).exists()
    assert (run_bucket.here(run) / "detector.safetensors").read_bytes()
    assert objects() == named_objects()

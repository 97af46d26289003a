"""The drill: back up while the portal is used, restore on an empty host, and compare everything."""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections import namedtuple
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.test import override_settings
from django.utils import timezone

from analysis.evaluation.erasing import confirmation_of, erase_patient
from ml_engine.models import Run, RunState
from ml_engine.runs import paths
from portal.backups import erasure_list
from portal.backups.backup_folder import ERASURES
from portal.backups.making import UNFINISHED, files_of
from portal.backups.restoring import refuse_unfinished
from portal.intake.erased_patients import names_of
from portal.intake.pseudonym_key import require_same_key
from portal.intake.zip_uploads import zip_path
from portal.models import Patient, Role, Upload
from portal.people.audit_chain import seal_all
from tests.analysis.scored import Scored, scored_run
from tests.portal import factories
from tests.portal.backups import places, second_host
from tests.portal.backups.places import Place, folder_at
from tests.portal.backups.second_host import SecondHost, make_host

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both]
Usage = namedtuple("Usage", "total used free")
IN_A_BUCKET, IN_A_FOLDER = (pytest.mark.parametrize("place", [kind], indirect=True) for kind in ("bucket", "folder"))
PASSPHRASE = "seven random words of a dice roll"


@pytest.fixture
def passphrase(tmp_path: Path) -> Path:
    file = tmp_path / "passphrase"
    file.write_text(f"{PASSPHRASE}\n")
    return file


@pytest.fixture
def host(tmp_path: Path, place: Place, process_environment: dict[str, str]) -> Iterator[SecondHost]:
    names = {name: os.environ[name] for name in places.environment("") if name in os.environ}
    yield make_host(tmp_path, {**process_environment, **names})
    second_host.drop()


@pytest.fixture
def scored(data_dir: Path) -> Scored:
    """A site with films, a split, models and a scored run, and the folder of a second run with hard links."""
    site = factories.site()
    require_same_key(site)
    made = scored_run(site, author=factories.user("boss", Role.MANAGER, at=site))
    for model in (made.run.detector, made.run.detector and made.run.detector.alignment):
        if model is not None:
            path = paths.model_path(model.sha256)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"a model " * 200_000)  # of two pieces
            paths.link(path, paths.run_folder(model.run.uuid) / "detector.safetensors")
    seal_all()
    return made


def back_up(address: str, passphrase: Path, **more: Any) -> str:
    output = StringIO()
    call_command("backup", address, passphrase_file=passphrase, stdout=output, **more)
    return output.getvalue()


def restore(host: SecondHost, address: str, passphrase: Path, *more: str) -> str:
    done = host.manage("restore", address, "--passphrase-file", str(passphrase), *more)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def hashes(top: Path) -> dict[str, str]:
    with override_settings(DATA_DIR=top):
        return {str(path.relative_to(top)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files_of(top)}


@pytest.mark.slow
def test_everything_is_equal_on_the_second_host(
    scored: Scored, host: SecondHost, place: Place, passphrase: Path
) -> None:
    (Path(settings.DATA_DIR) / "logs").mkdir()
    (Path(settings.DATA_DIR) / "logs" / "web.log").write_text("not needed\n")
    back_up(place.address, passphrase)
    before, files = second_host.rows_by_table(), hashes(Path(settings.DATA_DIR))
    assert len(files) > 30

    output = restore(host, place.address, passphrase)

    assert "Runs that go on once workers run: 0" in output
    assert hashes(host.data) == files
    after, broken = host.ask_each([("rows_by_table", ()), ("chains_that_break", ())])
    assert before.keys() <= after.keys()
    acts = ("portal_auditevent", "portal_auditseal")  # those of backup and restore are added
    assert {name: rows for name, rows in after.items() if name not in acts and rows != before.get(name)} == {}
    assert broken == []
    assert scored.run.detector is not None
    detector = paths.model_path(scored.run.detector.sha256).relative_to(settings.DATA_DIR)
    assert (host.data / detector).stat().st_nlink == 2  # a hard link is one again
    assert not (host.data / UNFINISHED).exists()
    stored = place.names()
    assert len(stored) > 20
    for name in stored:  # nothing of it can be read without the passphrase
        content = place.read(name)
        assert (b"a model " in content, b"Seoul" in content, b"pixels" in content) == (False, False, False), name

    again = host.manage("restore", place.address, "--passphrase-file", str(passphrase))
    assert again.returncode == 1
    assert "The data folder is not empty: it has" in again.stderr


@pytest.mark.slow
@IN_A_BUCKET
def test_erased_patients_stay_erased_and_runs_go_on(
    scored: Scored, host: SecondHost, place: Place, passphrase: Path
) -> None:
    film = scored.films[-1]
    patients = [film.patient, scored.films[-2].patient]
    assert patients[0] != patients[1]
    words = [word for patient in patients for word in names_of(patient, list(patient.images.all()))]
    waiting = Upload.objects.create(dataset=film.dataset, state=Upload.State.MAPPING)
    zip_path(waiting).parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(zip_path(waiting), "w") as archive:
        archive.writestr("t.csv", f"name\n{film.pixel_sha256}\n")
    running = Run.objects.create(
        site=scored.run.site,
        kind="fit_detector",
        split=scored.split,
        name="Half done",
        config={},
        state=RunState.RUNNING,
        attempt=3,
        lease_owner="a worker",
        lease_until=timezone.now(),
        published_at=timezone.now(),
    )
    stage = paths.run_folder(running.uuid) / "stages" / "embed.json"
    stage.parent.mkdir(parents=True)
    stage.write_text("{}")
    (stage.parent.parent / "images.csv").write_text("image\n")
    back_up(place.address, passphrase)

    Upload.objects.filter(pk=waiting.pk).update(state=Upload.State.DONE)
    Run.objects.filter(pk=running.pk).update(state=RunState.CANCELLED, lease_owner="", lease_until=None)
    for patient in patients:
        erase_patient(patient=patient, reason="Withdrawn", confirmation=confirmation_of(patient), actor=None)
    one, other = erasure_list.list_path().read_bytes().splitlines(keepends=True)
    place.write(ERASURES, one)
    lost = host.data.parent / "of another machine"  # the list survives the host
    lost.write_bytes(other)
    host.environment["HILUM_ERASURE_LIST"] = str(lost)  # type: ignore[index]

    stored = folder_at(place.address, PASSPHRASE).newest().database.stored
    last = f"objects/{stored[:2]}/{stored}"
    content = place.read(last)
    place.remove(last)
    done = host.manage("restore", place.address, "--passphrase-file", str(passphrase))
    assert (done.returncode, (host.data / UNFINISHED).exists()) == (1, True)
    assert "The backup's copy of database is missing; use another backup" in done.stderr
    came = {path: path.stat().st_ino for path in (host.data / "pixels").rglob("*") if path.is_file()}
    assert came
    place.write(last, content)  # and so it goes on

    output = restore(host, place.address, passphrase)

    assert {path for path, inode in came.items() if path.exists() and path.stat().st_ino != inode} == set()
    assert output.count("Erased again at Seoul: a patient with 1 films.") == 2
    assert "An upload of “Scored” was discarded" in output.replace(film.dataset.name, "Scored")
    assert "Runs that go on once workers run: 1, of which 1 were executing." in output
    left, runs, uploads, broken = host.ask_each(
        [("traces_of", [words]), ("states_of_runs", ()), ("uploads_by_state", ()), ("chains_that_break", ())]
    )
    assert (left, uploads, broken) == ([], ["discarded"], [])
    assert runs[str(running.uuid)] == ["queued", 3, True]
    assert (host.data / stage.relative_to(settings.DATA_DIR)).read_text() == "{}"


@IN_A_FOLDER
def test_a_folder_of_backups_that_is_not_mounted_is_not_begun(
    scored: Scored, place: Place, passphrase: Path, tmp_path: Path
) -> None:
    back_up(place.address, passphrase)
    with pytest.raises(CommandError, match=r"mounted has no backups, and the last one of this installation is of 20"):
        back_up(str(tmp_path / "mounted"), passphrase)
    assert not (tmp_path / "mounted").exists()
    assert "files" in back_up(str(tmp_path / "mounted"), passphrase, begin=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("portal.backups.making.name_at", lambda _: "2099-01-01T00-00-00Z")
        assert "files" in back_up(str(tmp_path / "mounted"), passphrase)  # begun: as usual


def test_the_list_of_erasures_is_copied_beside_the_backups(scored: Scored, place: Place, passphrase: Path) -> None:
    patient = scored.films[-1].patient
    back_up(place.address, passphrase)
    assert ERASURES not in place.names()
    erase_patient(patient=patient, reason="Withdrawn", confirmation=confirmation_of(patient), actor=None)
    erasure_list.list_path().unlink()  # the rows know it too
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("portal.backups.making.name_at", lambda _: "2099-01-01T00-00-00Z")
        back_up(place.address, passphrase)
    (line,) = erasure_list.parsed(place.read(ERASURES))
    assert line.keys[0] and patient.pseudonym.encode() not in place.read(ERASURES)
    assert Patient.objects.filter(pseudonym=patient.pseudonym).count() == 0


@pytest.mark.slow
@IN_A_FOLDER
def test_what_is_refused(scored: Scored, host: SecondHost, place: Place, passphrase: Path, tmp_path: Path) -> None:
    back_up(place.address, passphrase)
    wrong = tmp_path / "wrong"
    wrong.write_text("another passphrase of some words")
    with pytest.raises(CommandError, match=r"The passphrase is not the one that .* was begun with"):
        call_command("backup", place.address, passphrase_file=wrong, check="")
    with pytest.raises(CommandError, match="The data folder is not empty"):
        call_command("restore", place.address, passphrase_file=passphrase)
    with override_settings(DATA_DIR=tmp_path / "empty"):
        Path(settings.DATA_DIR).mkdir()
        with pytest.raises(CommandError, match=r"The database has rows. A restore replaces everything"):
            call_command("restore", place.address, passphrase_file=passphrase)
        with (
            override_settings(PSEUDONYM_SECRET="another secret of forty characters or more"),
            pytest.raises(CommandError, match="HILUM_PSEUDONYM_SECRET is not the secret of the installation that"),
        ):
            call_command("restore", place.address, passphrase_file=passphrase)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("portal.backups.restoring._require_empty_host", lambda: None)
            for room, list_at, sentence in (
                (2**20, "list", r"The backup needs 0\.0 GiB, and 0\.0 GiB are free"),
                (2**50, "passphrase/list", r"The list of erasures, .* cannot be read and written, and a restore witho"),
            ):
                patch.setattr("shutil.disk_usage", lambda _, room=room: Usage(2**50, 2**50 - room, room))
                with override_settings(ERASURE_LIST=tmp_path / list_at), pytest.raises(CommandError, match=sentence):
                    call_command("restore", place.address, passphrase_file=passphrase)
        assert not (Path(settings.DATA_DIR) / UNFINISHED).exists()
    damaged = max(place.names("objects/"), key=lambda name: len(place.read(name)))
    place.write(damaged, place.read(damaged)[:-1] + b"x")
    with pytest.raises(CommandError, match=r"The backup's copy of .* is damaged; use another backup"):
        call_command("backup", place.address, passphrase_file=passphrase, check="")
    done = host.manage("restore", place.address, "--passphrase-file", str(passphrase))
    assert done.returncode == 1
    assert "is damaged; use another backup" in done.stderr
    assert (host.data / UNFINISHED).exists()
    with override_settings(DATA_DIR=host.data), pytest.raises(SystemExit, match="has not finished"):
        refuse_unfinished()

"""A backup has what the rows name, says what is missing, and reads nothing twice."""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from portal.backups import making
from portal.backups.backup_folder import BackupFolder
from portal.backups.making import files_of, make_backup
from portal.backups.problems import CannotBackUp
from portal.intake import film_files
from portal.intake.film_files import pixel_path
from portal.models import AuditEvent, Image
from tests.portal import factories
from tests.portal.backups.places import folder_at
from tests.portal.s3_service import CLOSED

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both]
PASSPHRASE = "seven random words of a dice roll"


@pytest.fixture
def folder(tmp_path: Path, data_dir: Path) -> BackupFolder:
    return folder_at(tmp_path / "backups", PASSPHRASE)


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each backup is of another second."""
    names = iter(f"2099-01-01T00-00-{second:02}Z" for second in range(60))
    monkeypatch.setattr(making, "name_at", lambda _: next(names))


def test_what_belongs_to_running_processes_is_left_out(folder: BackupFolder) -> None:
    top = Path(settings.DATA_DIR)
    out = ("run/portal.json", "secrets/key", "logs/web.log", "runs/1/lock", "pixels/.part-1", "hilum.sqlite3-wal")
    kept = ("runs/1/run.json", "runs/1/stages/lock", "weights/a.safetensors", "uploads/1.zip", "erased")
    for name in (*out, *kept):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).touch()
    (top / "link").symlink_to(top / "erased")
    assert {path.relative_to(top).as_posix() for path in files_of(top)} == set(kept)


def test_a_missing_file_is_named_and_the_command_fails(folder: BackupFolder, tmp_path: Path) -> None:
    kept, lost = (factories.film(factories.dataset(name), "normal") for name in ("A", "B"))
    pixel_path(lost.pixel_sha256).unlink()
    (tmp_path / "passphrase").write_text(PASSPHRASE)
    output = StringIO()
    with pytest.raises(
        CommandError, match=r"1 files that the database names are missing. The backup has everything else"
    ):
        call_command("backup", str(folder.store), passphrase_file=tmp_path / "passphrase", stdout=output)
    name = pixel_path(lost.pixel_sha256).relative_to(settings.DATA_DIR)
    assert f"{name} is missing, the pixels of a film." in output.getvalue()
    manifest = folder.newest()
    assert pixel_path(kept.pixel_sha256).name in {Path(file.name).name for file in manifest.files}
    assert AuditEvent.objects.get(verb="back up").after == {"backup": manifest.name, "faults": 1}


def test_what_changes_while_it_is_made_is_no_fault(folder: BackupFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A film that comes and one that goes between the snapshot and the copy of the files."""
    dataset = factories.dataset()
    gone = factories.film(dataset)
    really = making.files_of

    def meanwhile(top: Path) -> Any:
        factories.film(dataset, "normal")
        pixel_path(gone.pixel_sha256).unlink()
        Image.objects.filter(pk=gone.pk)._raw_delete("default")
        return really(top)

    monkeypatch.setattr(making, "files_of", meanwhile)
    assert make_backup(folder).faults == []


def test_the_second_backup_reads_only_what_is_new(folder: BackupFolder, seconds: None) -> None:
    films = [factories.film(factories.dataset(name), "normal") for name in ("A", "B")]
    film_files.preview_bytes(films[0])
    first = make_backup(folder)
    read: list[str] = []
    add = folder.add

    def storing(source: Any, facts: Any) -> Any:
        read.append(facts.name)
        return add(source, facts)

    folder.add = storing  # type: ignore[method-assign]
    new = factories.film(factories.dataset("C"), "normal")
    second = make_backup(folder)
    assert read == ["database", pixel_path(new.pixel_sha256).relative_to(settings.DATA_DIR).as_posix()]
    assert {file.stored for file in first.files} < {file.stored for file in second.files}


def test_old_backups_are_removed_on_request(folder: BackupFolder, seconds: None) -> None:
    make_backup(folder)
    make_backup(folder, keep_days=1)
    assert len(folder.names()) == 2  # both are of the future


def test_a_folder_within_the_data_is_refused(data_dir: Path) -> None:
    inside = data_dir / "backups"
    with pytest.raises(CannotBackUp, match="is in the data folder, and would be lost with it"):
        make_backup(folder_at(inside, PASSPHRASE))
    assert not inside.exists()


def test_films_of_the_bucket_are_in_the_backup_and_fetched_once(
    bucket: Callable[[str], None], folder: BackupFolder, seconds: None
) -> None:
    image = factories.film(factories.dataset())
    path = pixel_path(image.pixel_sha256)
    content = path.read_bytes()
    name = path.relative_to(settings.DATA_DIR).as_posix()
    path.unlink()
    first = make_backup(folder)
    assert path.read_bytes() == content
    path.unlink()
    second = make_backup(folder)
    assert not path.exists()  # the earlier backup has it
    for manifest in (first, second):
        [file] = [file for file in manifest.files if file.name == name]
        assert (b"".join(folder.read(file)), manifest.faults) == (content, [])


def test_a_bucket_that_is_away_ends_the_backup_with_a_sentence(
    bucket: Callable[[str], None], folder: BackupFolder
) -> None:
    image = factories.film(factories.dataset())
    pixel_path(image.pixel_sha256).unlink()
    bucket(CLOSED)
    with pytest.raises(CannotBackUp, match="The bucket of films does not answer: EndpointConnectionError"):
        make_backup(folder)

"""Backups in a bucket: two at once, killed ones, large contents, and services that are away, refuse or break off."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.core.management import CommandError, call_command

from portal.backups.backup_folder import BackupFile, BackupFolder
from portal.backups.backup_key import PARAMETERS, open_key
from portal.backups.bucket_store import BucketStore, _Body
from portal.backups.making import make_backup
from portal.backups.problems import CannotBackUp
from portal.backups.restoring import check
from portal.intake.film_files import pixel_path
from portal.models import AuditEvent
from portal.project.condition import Condition
from portal.project.kept_conditions import backup as condition_of_backup
from tests.paths import ROOT
from tests.portal import factories, s3_service
from tests.portal.backups import places
from tests.portal.backups.places import BucketPlace, folder_at
from tests.portal.s3_service import CLOSED

pytestmark = [pytest.mark.django_db(transaction=True)]
PASSPHRASE = "seven random words of a dice roll"
NOTHING = BackupFile(name="x", size=0, mtime_ns=0, mode=0o600, sha256="", stored="")
PARTS = 8 * 2**20
KILLED = """
import sys, django
django.setup()
from portal.backups.stores import write_file
from tests.portal.backups.places import folder_at
folder = folder_at(sys.argv[1], sys.argv[2])
store = folder.store
with folder.locked():
    write_file(store, "objects/ab/abc", b"of a backup that is killed")
    store._client.create_multipart_upload(Bucket=store.bucket, Key=store.prefix + "objects/large")
    print("locked", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def folder(backup_bucket: BucketPlace) -> BackupFolder:
    return folder_at(backup_bucket.address, PASSPHRASE)


@pytest.fixture
def passphrase(tmp_path: Path) -> Path:
    (tmp_path / "passphrase").write_text(PASSPHRASE)
    return tmp_path / "passphrase"


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each backup is of another second."""
    names = iter(f"2099-01-01T00-00-{second:02}Z" for second in range(60))
    monkeypatch.setattr("portal.backups.making.name_at", lambda _: next(names))


def back_up(passphrase: Path, address: str = BucketPlace.address, **more: Any) -> str:
    output = StringIO()
    call_command("backup", address, passphrase_file=passphrase, stdout=output, **more)
    return output.getvalue()


def deny(place: BucketPlace, action: str, names: str = "*") -> None:
    statement = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": action,
        "Resource": f"arn:aws:s3:::{places.BUCKET}/{places.PREFIX}/{names}",
    }
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    place.client.put_bucket_policy(Bucket=places.BUCKET, Policy=json.dumps(policy))


class Between(ThreadingHTTPServer):
    """A service that passes everything on to moto's, and can be made to misbehave."""

    daemon_threads = True
    forgets_conditions = False
    refuses = ""  # every request, for this reason
    breaks_off = ""  # answers for names with this part end early

    def __init__(self, behind: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behind = str(urlsplit(behind).netloc)
        self.address = f"http://127.0.0.1:{self.server_port}"
        self.asked: list[tuple[str, str]] = []
        self.signers: set[str] = set()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # clients wait for "100 Continue"
    server: Between

    def _pass_on(self) -> None:
        between = self.server
        between.asked.append((self.command, self.path))
        between.signers.add(self.headers["Authorization"].partition("Credential=")[2].partition("/")[0])
        headers = dict(self.headers.items())
        if between.forgets_conditions:
            headers.pop("If-None-Match", None)
        headers.pop("Expect", None)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if between.refuses:
            content = f"<Error><Code>{between.refuses}</Code></Error>".encode()
            self.send_response(403)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
            return
        behind = HTTPConnection(between.behind)
        behind.request(self.command, self.path, body, headers)
        answer = behind.getresponse()
        content = answer.read()
        behind.close()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("connection", "content-length", "date", "server", "transfer-encoding"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.close_connection = bool(between.breaks_off) and between.breaks_off in self.path
        self.wfile.write(content[: len(content) // 2] if self.close_connection else content)

    do_GET = do_PUT = do_DELETE = do_POST = do_HEAD = _pass_on

    def log_message(self, *arguments: Any) -> None:
        pass


@contextmanager
def running(between: Between) -> Iterator[Between]:
    thread = Thread(target=between.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield between
    finally:
        between.shutdown()
        thread.join()
        between.server_close()


@pytest.fixture
def between(_s3_service: str, backup_bucket: BucketPlace, settings: Any) -> Iterator[Between]:
    with running(Between(_s3_service)) as service:
        settings.BACKUP_BUCKET = places.options(service.address)
        yield service


# two at once ----------------------------------------------------------------------------------------


def test_a_backup_of_another_machine_is_waited_for_or_unlocked(
    folder: BackupFolder, passphrase: Path, backup_bucket: BucketPlace, settings: Any, tmp_path: Path
) -> None:
    here = settings.DATA_DIR
    with folder.locked():
        settings.DATA_DIR = tmp_path / "other"
        with pytest.raises(CommandError, match=r"Another backup is being written to s3://hilum-backups/ward, by \S+ s"):
            back_up(passphrase)
        assert backup_bucket.names() == [PARAMETERS, "lock"]
        assert "files" in back_up(passphrase, unlock=True)
        settings.DATA_DIR = here
        with pytest.raises(CannotBackUp, match=r"The lock of this backup in s3://.* was removed by --unlock"):
            make_manifest(folder)
    assert len(folder.names()) == 1


def make_manifest(folder: BackupFolder) -> None:
    folder.write(folder.newest())


def test_another_lock_is_not_removed_at_the_end(folder: BackupFolder, backup_bucket: BucketPlace) -> None:
    with folder.locked():
        backup_bucket.write("lock", b'{"token": "of another one"}')
    assert backup_bucket.read("lock") == b'{"token": "of another one"}'


def test_a_killed_backup_does_not_stop_the_next_one_of_its_installation(
    backup_bucket: BucketPlace, passphrase: Path, process_environment: dict[str, str], settings: Any
) -> None:
    environment = {
        **process_environment,
        **{name: os.environ[name] for name in places.environment("")},
        "HILUM_DATA_DIR": str(settings.DATA_DIR),
        "DJANGO_SETTINGS_MODULE": "portal.settings",
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-c", KILLED, backup_bucket.address, PASSPHRASE]
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as killed:
        assert killed.stdout is not None
        assert killed.stdout.readline() == b"locked\n"
        with pytest.raises(CommandError, match=r"Another backup is being written to s3://.*/ward; wait for its end"):
            back_up(passphrase)
        killed.kill()
    assert "lock" in backup_bucket.names()
    assert "files" in back_up(passphrase, keep=7)
    assert not {"lock", "objects/ab/abc"} & {*backup_bucket.names()}
    assert "Uploads" not in backup_bucket.client.list_multipart_uploads(Bucket=places.BUCKET)


def test_a_service_that_knows_no_conditions_is_refused(between: Between, backup_bucket: BucketPlace) -> None:
    between.forgets_conditions = True
    with pytest.raises(CannotBackUp, match=r"The service of s3://.* puts an object in the place of another although"):
        folder_at(backup_bucket.address, PASSPHRASE)
    assert backup_bucket.names() == []


# contents -------------------------------------------------------------------------------------------


def test_a_large_content_is_sent_in_parts(folder: BackupFolder, backup_bucket: BucketPlace) -> None:
    content = os.urandom(2 * PARTS + 1)
    with folder.locked():
        file = folder.add(io.BytesIO(content), NOTHING)
        folder.store.settle()
    assert b"".join(folder.read(file)) == content
    (name,) = backup_bucket.names("objects/")
    assert backup_bucket.bucket.Object(f"{places.PREFIX}/{name}").e_tag.endswith('-3"')
    assert list(folder.store.scratch.iterdir()) == [folder.store.scratch / "run"]


def test_a_second_backup_asks_for_no_file_by_itself(
    between: Between, backup_bucket: BucketPlace, seconds: None
) -> None:
    dataset = factories.dataset()
    for _ in range(20):
        factories.film(dataset, "normal")
    folder = folder_at(backup_bucket.address, PASSPHRASE)
    first = make_backup(folder)
    between.asked.clear()
    second = make_backup(folder)
    assert {file.stored for file in first.files} == {file.stored for file in second.files}
    assert len([path for method, path in between.asked if method == "PUT" and "/objects/" in path]) == 1  # the database
    assert len(between.asked) < 20 < len(second.files) + 1
    assert between.signers == {places.ACCOUNT["access_key"]}


def test_an_answer_that_comes_in_small_pieces_is_read_to_its_end(folder: BackupFolder) -> None:
    class Slow(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(min(size or 0, 1000))

    assert isinstance(folder.store, BucketStore)
    assert [len(_Body(folder.store, Slow(b"x" * 2500)).read(size)) for size in (2100, 3000)] == [2100, 2500]


def test_an_answer_that_breaks_off_is_no_damage(between: Between, backup_bucket: BucketPlace) -> None:
    image = factories.film(factories.dataset())
    folder = folder_at(backup_bucket.address, PASSPHRASE)
    manifest = make_backup(folder)
    assert check(folder, manifest) == len(manifest.files)
    name = pixel_path(image.pixel_sha256).name
    (file,) = [file for file in manifest.files if file.name.endswith(name)]
    between.breaks_off = file.stored
    with pytest.raises(
        CannotBackUp, match=r"s3://hilum-backups/ward does not answer at http.* \(\w+\): see to the serv"
    ):
        check(folder, manifest)
    backup_bucket.write(f"objects/{file.stored[:2]}/{file.stored}", b"")
    between.breaks_off = ""
    with pytest.raises(CannotBackUp, match=rf"The backup's copy of \S*{name} is damaged"):
        check(folder, manifest)


# what goes wrong ------------------------------------------------------------------------------------


def test_an_account_that_may_not_remove_is_noticed_before_anything_is_written(
    backup_bucket: BucketPlace, passphrase: Path
) -> None:
    deny(backup_bucket, "s3:DeleteObject")
    with pytest.raises(
        CommandError, match=r"refuses DeleteObject in s3://hilum-backups/ward \(403\): give the account"
    ):
        back_up(passphrase)
    assert backup_bucket.names() == []


def test_a_backup_that_is_refused_on_the_way_leaves_no_list_and_no_lock(
    folder: BackupFolder, backup_bucket: BucketPlace, passphrase: Path, settings: Any
) -> None:
    factories.film(factories.dataset(), "normal")
    deny(backup_bucket, "s3:PutObject", "objects/*")
    with pytest.raises(
        CommandError, match=r"refuses PutObject in s3://hilum-backups/ward \(403\): give the account the"
    ):
        back_up(passphrase)
    assert backup_bucket.names() == [PARAMETERS]
    assert not AuditEvent.objects.filter(verb="back up").exists()
    backup_bucket.client.delete_bucket_policy(Bucket=places.BUCKET)
    settings.PRODUCTION = True
    assert condition_of_backup().fault == "No backup has been made."
    assert "1 files" in back_up(passphrase)
    assert condition_of_backup() == Condition("backup")
    assert "can be read, and are what was backed up" in back_up(passphrase, check="")


def test_an_account_that_the_service_does_not_know(between: Between, passphrase: Path) -> None:
    between.refuses = "InvalidAccessKeyId"
    with pytest.raises(
        CommandError,
        match=r"refuses ListObjectsV2 in s3://hilum-backups/ward \(InvalidAccessKeyId\): see to the account",
    ):
        back_up(passphrase)


def test_a_bucket_that_is_away_missing_or_without_an_account(
    backup_bucket: BucketPlace, passphrase: Path, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = settings.BACKUP_BUCKET
    with pytest.raises(
        CommandError, match=r"There is no bucket hilum-lost at http://127.*: make it, private, or correct"
    ):
        back_up(passphrase, "s3://hilum-lost/ward")
    settings.BACKUP_BUCKET = places.options(CLOSED)
    for command in ("backup", "restore"):
        with pytest.raises(
            CommandError, match=r"ward does not answer at http://127.0.0.1:1 \(EndpointConnectionError\)"
        ):
            call_command(command, backup_bucket.address, passphrase_file=passphrase)
    for name in s3_service.CREDENTIALS:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    settings.BACKUP_BUCKET = {**there, "OPTIONS": {**there["OPTIONS"], "account": {}}}
    with pytest.raises(
        CommandError, match=r"There is no account for s3://hilum-backups/ward at http.*: set HILUM_BACKUP"
    ):
        back_up(passphrase)
    monkeypatch.setattr("portal.backups.bucket_store.find_spec", lambda _: None)
    with pytest.raises(CommandError, match=r"Backups in a bucket need two packages more: pip install 'hilum\[s3\]'"):
        back_up(passphrase)
    assert backup_bucket.names() == []


def test_a_bucket_of_something_else_and_that_of_films_are_not_begun(
    backup_bucket: BucketPlace, passphrase: Path, settings: Any, _s3_service: str
) -> None:
    backup_bucket.write("thesis.pdf", b"")
    with pytest.raises(
        CommandError, match=r"s3://hilum-backups/ward has files and no hilum-backups.json: give an empty"
    ):
        back_up(passphrase)
    backup_bucket.remove("thesis.pdf")
    films = {**s3_service.options(_s3_service), "bucket_name": places.BUCKET}
    settings.STORAGES = {**settings.STORAGES, "films": {**settings.BACKUP_BUCKET, "OPTIONS": films}}
    with pytest.raises(
        CommandError, match=r"is in the bucket of films, and would be lost with it: choose another bucket"
    ):
        back_up(passphrase)
    assert backup_bucket.names() == []


def test_another_passphrase_is_refused(folder: BackupFolder) -> None:
    with pytest.raises(CannotBackUp, match="The passphrase is not the one that s3://hilum-backups/ward was begun with"):
        open_key(folder.store, PASSPHRASE + " ")

"""Backups in a bucket of an S3 service, which `manage.py backup` names as s3://bucket/prefix.

An object appears when it is whole, so that nothing half-written is ever there. Of two backups at once the second is
refused: the first has put the object `lock`, on the condition that there is none (If-None-Match). A killed backup
leaves its lock. A note in the data folder says whose that was, so that the next backup of the same installation takes
it over; that of another one needs `--unlock`. Before a list is written, and before anything is removed, the lock has to
be the backup's own still.
"""

import hashlib
import json
import os
import secrets
import socket
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO, Any

from django.conf import settings
from django.core.files.storage import storages
from django.utils import timezone

from portal.backups.folder_store import claimed
from portal.backups.problems import CannotBackUp
from portal.intake import bucket_objects
from portal.intake.film_files import PART

_LOCK = "lock"
_LARGE = 8 * 2**20  # bytes; a larger file goes to the disk on its way, and is sent in parts
_ACCOUNT = (
    "HILUM_BACKUP_ACCESS_KEY_ID and HILUM_BACKUP_SECRET_ACCESS_KEY, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
)
_RIGHTS = ("AccessDenied", "AllAccessDisabled", "Forbidden", "403")


class BucketStore:
    at_once = 8

    def __init__(self, bucket: str, prefix: str) -> None:
        if find_spec("storages") is None or find_spec("boto3") is None:
            raise CannotBackUp("Backups in a bucket need two packages more: pip install 'hilum[s3]'.")
        self.bucket, self.prefix = bucket, f"{prefix}/" if prefix else ""
        self.scratch = Path(settings.DATA_DIR)
        options = settings.BACKUP_BUCKET["OPTIONS"]
        self.service = options["endpoint_url"]
        storage = storages.create_storage(
            {**settings.BACKUP_BUCKET, "OPTIONS": {**options, "bucket_name": bucket, "location": prefix}}
        )
        with self._answering():
            self._client: Any = storage.connection.meta.client  # type: ignore[attr-defined]
        # while it is locked:
        self._token = ""
        self._pool: ThreadPoolExecutor | None = None
        self._uploads: dict[IO[bytes], Future[None]] = {}
        self._there: set[str] | None = None

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    def require_apart(self) -> None:
        films = settings.STORAGES[bucket_objects.ALIAS]["OPTIONS"] if bucket_objects.is_used() else {}
        if (films.get("bucket_name"), films.get("endpoint_url")) == (self.bucket, self.service):
            raise CannotBackUp(f"{self} is in the bucket of films, and would be lost with it: choose another bucket.")

    # files ------------------------------------------------------------------------------------------

    def is_empty(self) -> bool:
        return all(name == _LOCK for name in self._names_from(""))

    def has(self, name: str) -> bool:
        """While it is locked, the names are listed once, a thousand a request, and not asked for one by one."""
        if not self._token:
            return name in self._names_from(name)
        if self._there is None:
            self._there = set(self._names_from(""))
        return name in self._there

    def names(self, folder: str) -> Iterator[str]:
        for name in self._names_from(f"{folder}/"):
            yield name.rpartition("/")[2]

    def _names_from(self, beginning: str) -> Iterator[str]:
        pages = self._client.get_paginator("list_objects_v2")
        with self._answering():
            for page in pages.paginate(Bucket=self.bucket, Prefix=self.prefix + beginning):
                for one in page.get("Contents", ()):
                    yield one["Key"][len(self.prefix) :]

    @contextmanager
    def open(self, name: str) -> Iterator["_Body"]:
        body = self._get(name)
        if body is None:
            raise FileNotFoundError(name)
        try:
            yield _Body(self, body)
        finally:
            body.close()

    def _get(self, name: str) -> Any:
        """The open body of an object; None where there is none."""
        from botocore.exceptions import ClientError

        with self._answering():
            try:
                return self._client.get_object(Bucket=self.bucket, Key=self.prefix + name)["Body"]
            except ClientError as error:
                if _code(error) == "NoSuchKey":
                    return None
                raise

    @contextmanager
    def unfinished(self) -> Iterator[IO[bytes]]:
        file: Any = SpooledTemporaryFile(_LARGE, dir=str(self.scratch), prefix=PART)  # noqa: SIM115
        try:
            yield file
        finally:
            if file not in self._uploads:
                file.close()

    def finish(self, file: IO[bytes], name: str) -> None:
        """Small files are sent by several threads, since each takes longer to be answered than to be sent."""
        assert self._pool is not None, "the bucket is locked while anything is written"
        is_large = file.tell() > _LARGE
        file.seek(0)
        if is_large:
            self._send_in_parts(file, name)
        else:
            self._wait(until=self.at_once - 1)
            self._uploads[file] = self._pool.submit(self._send, file, name)
        if self._there is not None:
            self._there.add(name)

    def _send(self, file: IO[bytes], name: str) -> None:
        with self._answering():
            self._client.put_object(
                Bucket=self.bucket, Key=self.prefix + name, Body=file.read(), ContentType="application/octet-stream"
            )

    def _send_in_parts(self, file: IO[bytes], name: str) -> None:
        """What was sent is removed by boto3 where a part fails."""
        from boto3.s3.transfer import TransferConfig

        with self._answering():
            self._client.upload_fileobj(
                file,
                self.bucket,
                self.prefix + name,
                ExtraArgs={"ContentType": "application/octet-stream"},
                Config=TransferConfig(multipart_threshold=_LARGE, max_concurrency=self.at_once),
            )

    def _wait(self, *, until: int) -> None:
        """Until at most so many files are still being sent. Raises CannotBackUp for one that could not be."""
        while len(self._uploads) > until:
            wait(self._uploads.values(), return_when=FIRST_COMPLETED)
            for file in [file for file, upload in self._uploads.items() if upload.done()]:
                file.close()
                self._uploads.pop(file).result()

    def settle(self) -> None:
        self._wait(until=0)
        if self._holder().get("token") != self._token:
            raise CannotBackUp(
                f"The lock of this backup in {self} was removed by --unlock, so another one may have been begun. This "
                "one was given up, and the backups that are there are whole: start it again."
            )

    def remove(self, name: str) -> None:
        with self._answering():
            self._client.delete_object(Bucket=self.bucket, Key=self.prefix + name)
        if self._there is not None:
            self._there.discard(name)

    # the lock ---------------------------------------------------------------------------------------

    @contextmanager
    def locked(self) -> Iterator[None]:
        folder = Path(settings.DATA_DIR) / "run"
        folder.mkdir(parents=True, exist_ok=True)
        note = folder / f"backup-{hashlib.sha256(f'{self.service} {self}'.encode()).hexdigest()[:16]}"
        with claimed(note, f"Another backup is being written to {self}; wait for its end.") as ours:
            token = self._take_lock(ours)
            pool = ThreadPoolExecutor(self.at_once)
            self._token, self._pool, self._there = token, pool, None
            try:
                self._remove_parts()
                yield
            except BaseException:
                with suppress(CannotBackUp):  # the first problem is the one to report
                    self._give_up_lock()
                raise
            else:
                self._give_up_lock()
                ours.truncate(0)

    def _take_lock(self, note: IO[str]) -> str:
        """The token that is in the lock. `note` has the tokens of earlier backups of this installation, none of which
        executes any more, since this one holds the note."""
        note.seek(0)
        earlier = note.read().split()
        token = secrets.token_hex(16)
        note.write(f"{token}\n")  # before the lock is there: so the next backup knows it if this one is killed
        note.flush()
        os.fsync(note.fileno())
        self.remove("write-test")  # which is not there: whether this account may remove anything
        if not self._create_lock(token):
            holder = self._holder()
            if holder.get("token") in earlier:
                self.remove(_LOCK)
            elif holder.get("token") == token:  # a request that was answered on the second try
                return token
            if not self._create_lock(token):
                raise CannotBackUp(
                    f"Another backup is being written to {self}, by {holder.get('host', 'another machine')} since "
                    f"{holder.get('since', 'just now')}; wait for its end. If it was killed, or its machine is lost, "
                    "add --unlock."
                )
        if self._create_lock(token):
            self.remove(_LOCK)
            raise CannotBackUp(
                f"The service of {self} puts an object in the place of another although it was asked not to "
                "(If-None-Match), so that two backups at once could harm each other: use a newer release of it, or a "
                "folder."
            )
        return token

    def _create_lock(self, token: str) -> bool:
        """Returns whether there was no lock."""
        from botocore.exceptions import ClientError

        text = {"host": socket.gethostname(), "since": f"{timezone.now():%Y-%m-%d %H:%M} UTC", "token": token}
        with self._answering():
            try:
                self._client.put_object(
                    Bucket=self.bucket, Key=self.prefix + _LOCK, Body=json.dumps(text).encode(), IfNoneMatch="*"
                )
            except ClientError as error:
                if _code(error) in ("PreconditionFailed", "ConditionalRequestConflict", "412", "409"):
                    return False
                raise
        return True

    def _holder(self) -> dict[str, Any]:
        """What is in the lock; empty where there is none."""
        body = self._get(_LOCK)
        if body is None:
            return {}
        with suppress(ValueError):
            values = json.loads(_Body(self, body).read(4096))
            return values if isinstance(values, dict) else {}
        return {}

    def _give_up_lock(self) -> None:
        """After what is being sent was sent: nothing of this backup comes later."""
        assert self._pool is not None
        self._pool.shutdown(cancel_futures=True)
        token, self._token = self._token, ""
        for file in self._uploads:
            file.close()
        self._uploads.clear()
        self._there = None
        if self._holder().get("token") == token:
            self.remove(_LOCK)

    def _remove_parts(self) -> None:
        """Of large files whose upload was killed: they are no objects, and take room."""
        from botocore.exceptions import ClientError

        with self._answering(), suppress(ClientError):  # a right that nothing else needs
            for page in self._client.get_paginator("list_multipart_uploads").paginate(
                Bucket=self.bucket, Prefix=self.prefix
            ):
                for one in page.get("Uploads", ()):
                    self._client.abort_multipart_upload(Bucket=self.bucket, Key=one["Key"], UploadId=one["UploadId"])

    def unlock(self) -> None:
        self.remove(_LOCK)

    # what goes wrong --------------------------------------------------------------------------------

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """Raises CannotBackUp where the block's request is not answered, or refused."""
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

        service = self.service or "AWS"
        try:
            yield
        except (NoCredentialsError, PartialCredentialsError) as error:
            raise CannotBackUp(f"There is no account for {self} at {service}: set {_ACCOUNT}.") from error
        except (BotoCoreError, Boto3Error) as error:
            raise CannotBackUp(
                f"{self} does not answer at {service} ({type(error).__name__}): see to the service, to the network and "
                "to HILUM_BACKUP_BUCKET_URL, and start it again."
            ) from error
        except ClientError as error:
            raise CannotBackUp(self._refusal(_code(error), error.operation_name, service)) from error

    def _refusal(self, code: str, operation: str, service: str) -> str:
        if code == "NoSuchBucket":
            return f"There is no bucket {self.bucket} at {service}: make it, private, or correct the name."
        if code in _RIGHTS:
            return (
                f"{service} refuses {operation} in {self} ({code}): give the account the rights to list, read, write "
                "and delete there."
            )
        return (
            f"{service} refuses {operation} in {self} ({code}): see to the account ({_ACCOUNT}), to "
            "HILUM_BACKUP_REGION and to the service."
        )


class _Body:
    """An object that is being read."""

    def __init__(self, store: BucketStore, body: Any) -> None:
        self._store, self._body = store, body

    def read(self, size: int = -1, /) -> bytes:
        pieces, left = [], size
        with self._store._answering():
            if size < 0:
                return bytes(self._body.read())
            while left and (piece := self._body.read(left)):
                pieces.append(piece)
                left -= len(piece)
        return b"".join(pieces)


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", "unknown"))

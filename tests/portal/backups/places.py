"""Where the tests keep backups: a folder, or a bucket of moto's server, looked at and damaged from outside."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from portal.backups.backup_folder import BackupFolder
from portal.backups.backup_key import make_key
from portal.backups.stores import open_store
from portal.project.bucket_storage import BucketStorage

BUCKET, PREFIX = "hilum-backups", "ward"
ACCOUNT = {"access_key": "keeper", "secret_key": "of backups", "security_token": None}


class Place(Protocol):
    address: str

    def names(self, beginning: str = "") -> list[str]:
        """Of all files, sorted."""

    def read(self, name: str) -> bytes: ...

    def write(self, name: str, content: bytes) -> None: ...

    def remove(self, name: str) -> None: ...


class FolderPlace:
    def __init__(self, path: Path) -> None:
        self.path, self.address = path, str(path)

    def names(self, beginning: str = "") -> list[str]:
        every = [path.relative_to(self.path).as_posix() for path in self.path.rglob("*") if path.is_file()]
        return sorted(name for name in every if name.startswith(beginning) and name != "lock")

    def read(self, name: str) -> bytes:
        return (self.path / name).read_bytes()

    def write(self, name: str, content: bytes) -> None:
        (self.path / name).parent.mkdir(parents=True, exist_ok=True)
        (self.path / name).write_bytes(content)

    def remove(self, name: str) -> None:
        (self.path / name).unlink()


class BucketPlace:
    address = f"s3://{BUCKET}/{PREFIX}"

    def __init__(self, service: str) -> None:
        self.bucket: Any = BucketStorage(bucket_name=BUCKET, location="", endpoint_url=service, account=ACCOUNT).bucket
        self.client: Any = self.bucket.meta.client

    def empty(self) -> None:
        """Make the bucket, without a policy; what an earlier test left goes."""
        if any(bucket["Name"] == BUCKET for bucket in self.client.list_buckets()["Buckets"]):
            self.client.delete_bucket_policy(Bucket=BUCKET)
            self.bucket.objects.all().delete()
        else:
            self.bucket.create()

    def names(self, beginning: str = "") -> list[str]:
        every = self.bucket.objects.filter(Prefix=f"{PREFIX}/{beginning}")
        return sorted(one.key.removeprefix(f"{PREFIX}/") for one in every)

    def read(self, name: str) -> bytes:
        content: bytes = self.bucket.Object(f"{PREFIX}/{name}").get()["Body"].read()
        return content

    def write(self, name: str, content: bytes) -> None:
        self.bucket.Object(f"{PREFIX}/{name}").put(Body=content)

    def remove(self, name: str) -> None:
        self.bucket.Object(f"{PREFIX}/{name}").delete()


def options(service: str) -> dict[str, Any]:
    """settings.BACKUP_BUCKET of an account of its own."""
    return {
        "BACKEND": "portal.project.bucket_storage.BucketStorage",
        "OPTIONS": {"endpoint_url": service, "account": ACCOUNT},
    }


def environment(service: str) -> dict[str, str]:
    """The same as settings of a process."""
    return {
        "HILUM_BACKUP_BUCKET_URL": service,
        "HILUM_BACKUP_ACCESS_KEY_ID": str(ACCOUNT["access_key"]),
        "HILUM_BACKUP_SECRET_ACCESS_KEY": str(ACCOUNT["secret_key"]),
    }


def folder_at(address: str | Path, passphrase: str) -> BackupFolder:
    """A folder of backups, begun."""
    store = open_store(str(address))
    return BackupFolder(store, make_key(store, passphrase))

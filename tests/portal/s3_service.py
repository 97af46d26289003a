"""A real S3 service on this machine: moto's server, with a bucket for films."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from portal.project.bucket_storage import BucketStorage
from tests.servers import short_folder, start

BUCKET = "hilum-films"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "hilum", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
CLOSED = "http://127.0.0.1:1"  # where nothing answers


@contextmanager
def running_service() -> Iterator[str]:
    """The address of a new service."""
    folder = short_folder("hilum-s3-")
    try:
        server = start(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"],
            folder=folder,
            end_signal="TERM",
            account={},
            ready=b"Running on http://127.0.0.1:",
        )
        found = re.search(r"Running on (http://127\.0\.0\.1:\d+)", (folder / "server.log").read_text())
        assert found is not None
        try:
            yield found[1]
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def options(address: str, prefix: str = "ward") -> dict[str, Any]:
    return {"bucket_name": BUCKET, "location": prefix, "endpoint_url": address}


def new_bucket(address: str) -> None:
    """An empty bucket, in the place of one with films."""
    storage = BucketStorage(**options(address))
    if any(bucket.name == BUCKET for bucket in storage.connection.buckets.all()):
        storage.bucket.objects.all().delete()
    else:
        storage.bucket.create()

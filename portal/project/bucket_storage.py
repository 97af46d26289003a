"""A bucket of an S3 service, through django-storages: of films in settings.STORAGES, of backups by BACKUP_BUCKET."""

from collections.abc import Mapping
from typing import Any

from botocore.config import Config
from storages.backends.s3 import S3Storage

SECONDS_TO_CONNECT, SECONDS_TO_READ, TRIES = 5, 60, 3
CONNECTIONS = 20  # kept open; a backup sends and reads by several threads


class BucketStorage(S3Storage):
    """Objects are private, replaced where they are written again, and sent as they are: never unpacked on the way.
    Without `account` the credentials are those of every program for S3: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or
    the machine's."""

    def __init__(
        self,
        *,
        bucket_name: str,
        location: str,
        endpoint_url: str | None,
        account: Mapping[str, str | None] | None = None,
    ) -> None:
        fixed: dict[str, Any] = {
            "default_acl": None,
            "file_overwrite": True,
            "object_parameters": {"ContentType": "application/octet-stream"},
            "client_config": Config(
                connect_timeout=SECONDS_TO_CONNECT,
                read_timeout=SECONDS_TO_READ,
                retries={"total_max_attempts": TRIES},
                max_pool_connections=CONNECTIONS,
                # services beside AWS have one host name for all buckets
                s3={"addressing_style": "path"} if endpoint_url else None,
            ),
        }
        super().__init__(
            bucket_name=bucket_name, location=location, endpoint_url=endpoint_url, **fixed, **(account or {})
        )

"""Import a published dataset from a folder of the server, in the background."""

from __future__ import annotations

from django.db import transaction
from django.utils import timezone

from portal.intake.sources.choice import SourceChoice
from portal.intake.sources.server_folders import InvalidFolder, server_folder
from portal.intake.zip_uploads import publish
from portal.models import Dataset, Upload, User
from portal.people import audit
from portal.people.access import require
from portal.people.retired import refuse_retired


def import_server_folder(*, dataset: Dataset, folder: str, of_source: SourceChoice, author: User) -> Upload:
    """Queue the import. Raises InvalidFolder."""
    require(author, "import films", dataset.site)
    refuse_retired(dataset)
    server_folder(folder)
    if not of_source.key:
        raise InvalidFolder("It is not said of which published dataset the folder is; choose one.")
    with transaction.atomic():
        upload = Upload.objects.create(
            dataset=dataset,
            uploaded_by=author,
            heartbeat_at=timezone.now(),
            source=of_source.key,
            options=dict(of_source.options),
            folder=folder,
        )
        audit.record(
            verb="import folder",
            site=dataset.site,
            actor=author,
            target=dataset,
            after={"source": of_source.key, **of_source.options},
        )
        transaction.on_commit(lambda: publish(upload), robust=True)
    return upload

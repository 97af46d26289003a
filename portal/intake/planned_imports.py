"""Imports that a person asked for on a page, without sending a file: queued, run and resumed like those of a zip."""

from django.db import transaction
from django.utils import timezone

from portal.intake import zip_uploads
from portal.intake.import_plans import ImportPlan, plan_path, write_plan
from portal.models import Dataset, Upload, User
from portal.people import audit
from portal.people.access import require
from portal.people.retired import refuse_retired


def begin_planned(*, dataset: Dataset, plan: ImportPlan, verb: str, author: User) -> Upload:
    """Queue the import. `verb` is what the audit records."""
    require(author, "import films", dataset.site)
    refuse_retired(dataset)
    upload = Upload(dataset=dataset, uploaded_by=author, heartbeat_at=timezone.now())
    write_plan(upload, plan)
    try:
        with transaction.atomic():
            upload.save(force_insert=True)
            after = {"upload": str(upload.uuid), "items": len(plan.items)}
            audit.record(verb=verb, site=dataset.site, actor=author, target=dataset, after=after)
            transaction.on_commit(lambda: zip_uploads.publish(upload), robust=True)
    except BaseException:
        plan_path(upload).unlink()
        raise
    return upload

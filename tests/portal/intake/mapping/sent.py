"""A table that Hilum does not know, and the worker."""

from __future__ import annotations

from portal import tasks
from portal.models import Upload

TABLE = (
    "Pfad,Diagnose,Fallnummer,Alter\n"
    "x/a.png,o.B.,Zzyzxson,50\n"
    "x/b.png,Erguss|Knoten,Zzyzxson,51\n"
    "x/c.png,o.B.,Quirina,52\n"
    "x/gone.png,unklar,Quirina,53\n"
)


def worked_on(upload: Upload) -> Upload:
    tasks.import_upload(str(upload.uuid))
    upload.refresh_from_db()
    return upload

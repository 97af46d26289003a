"""A table that Hilum does not know, sent in a zip, and the worker."""

from __future__ import annotations

from pathlib import Path

from django.core.files.uploadedfile import SimpleUploadedFile

from portal import tasks
from portal.intake.zip_uploads import receive_zip
from portal.models import Dataset, Upload, User
from tests.portal import factories

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


FILMS = ("a.png", "b.png", "c.png")


def zip_of(folder: Path, tables: dict[str, str], films: tuple[str, ...] = FILMS) -> bytes:
    members: dict[str, bytes | str | Path] = dict(tables)
    for seed, name in enumerate(films):
        members[f"films/x/{name}"] = factories.png(folder / name, seed=seed)
    return factories.zipped(folder / "z.zip", members).read_bytes()


def send_zip(of: Dataset, author: User, content: bytes, **choices: object) -> Upload:
    """Send it as the page does, and let the worker look at it."""
    upload = receive_zip(dataset=of, file=SimpleUploadedFile("z.zip", content), author=author, **choices)  # type: ignore[arg-type]
    return worked_on(upload)

"""A zip whose table Hilum does not know, as it waits for its mapping."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from portal.intake.mapping.meaning import TableMapping, mapping_of_json
from portal.intake.zip_uploads import receive_zip
from portal.models import Dataset, Upload, User
from tests.portal import factories
from tests.portal.intake.mapping.sent import TABLE, worked_on


@pytest.fixture
def of() -> Dataset:
    return factories.dataset()


@pytest.fixture
def ann() -> User:
    return factories.curator("ann")


Send = Callable[..., Upload]


@pytest.fixture
def send(of: Dataset, ann: User, tmp_path: Path, published: list[str]) -> Send:
    """Send films and tables, and let the worker look at them."""

    def sent(tables: dict[str, str], films: tuple[str, ...] = ("a.png", "b.png", "c.png"), **choices: object) -> Upload:
        members: dict[str, bytes | str | Path] = dict(tables)
        for seed, name in enumerate(films):
            members[f"films/x/{name}"] = factories.png(tmp_path / name, seed=seed)
        content = factories.zipped(tmp_path / "z.zip", members).read_bytes()
        file = SimpleUploadedFile("z.zip", content)
        upload = receive_zip(dataset=of, file=file, author=ann, **choices)  # type: ignore[arg-type]
        return worked_on(upload)

    return sent


@pytest.fixture
def waiting(send: Send) -> Upload:
    return send({"t.csv": TABLE})


@pytest.fixture
def mapping() -> TableMapping:
    """What the table means."""
    columns = {"filename": "Pfad", "label": "Diagnose", "finding": "Diagnose", "patient_id": "Fallnummer"}
    labels = {"o.B.": "normal", "Erguss|Knoten": "abnormal", "unklar": "unsure"}
    return mapping_of_json({"columns": columns, "labels": labels, "keep": ["Alter"]}, "t.csv")

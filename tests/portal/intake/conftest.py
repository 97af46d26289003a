"""A zip whose table Hilum does not know, as it waits for its mapping."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from portal.intake.mapping.meaning import TableMapping, mapping_of_json
from portal.models import Dataset, Upload, User
from tests.portal import factories
from tests.portal.intake.sent import FILMS, TABLE, send_zip, zip_of


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

    def sent(tables: dict[str, str], films: tuple[str, ...] = FILMS, **choices: object) -> Upload:
        return send_zip(of, ann, zip_of(tmp_path, tables, films), **choices)

    return sent


@pytest.fixture
def waiting(send: Send) -> Upload:
    return send({"t.csv": TABLE})


@pytest.fixture
def mapping() -> TableMapping:
    """What the table means."""
    columns = {
        "filename": "Pfad",
        "label": "Diagnose",
        "finding": "Diagnose",
        "patient_id": "Fallnummer",
        "age": "Alter",
    }
    labels = {"o.B.": "normal", "Erguss|Knoten": "abnormal", "unklar": "unsure"}
    return mapping_of_json({"columns": columns | {"age": "Alter"}, "labels": labels}, "t.csv")

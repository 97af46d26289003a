"""Fixtures for every test. The servers themselves are started by tests/servers.py."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from tests.paths import REAL_DATA, ROOT
from tools.browser import NO_BROWSER, find_chromium

# files that take minutes begin first, so that the last process does not end with one of them alone
LONGEST = (
    "ml_engine/engine/test_run_folder.py",
    "browser/viewer/test_viewer.py",
    "ml_engine/runs/test_recovery.py",
    "ml_engine/test_phantoms.py",
    "ml_engine/runs/test_supervisor.py",
    "browser/test_grid.py",
    "analysis/report/test_document.py",
    "browser/test_whole_path.py",
    "browser/test_reading.py",
    "browser/viewer/test_tools.py",
    "ml_engine/core/alignment/test_fit.py",
    "browser/test_queue.py",
    "browser/viewer/test_real_films.py",
    "ml_engine/command/test_main.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """`browser` follows from the folder; `gpu` is skipped where there is none; the longest files come first."""
    order = {ROOT / "tests" / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path, len(LONGEST)))
    for item in items:
        if "browser" in item.path.relative_to(ROOT).parts[:-1]:
            item.add_marker(pytest.mark.browser)
    needs_gpu = [item for item in items if item.get_closest_marker("gpu")]
    if needs_gpu and not _has_gpu():
        for item in needs_gpu:
            item.add_marker(pytest.mark.skip(reason="no NVIDIA GPU on this machine"))


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


# --- the database -------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def django_db_modify_db_settings(tmp_path_factory: pytest.TempPathFactory) -> None:
    """SQLite in a file, as in real life: in memory neither its locking nor a second process is tested."""
    from django.conf import settings

    database = settings.DATABASES["default"]
    if database["ENGINE"].endswith("sqlite3"):
        database["TEST"]["NAME"] = str(tmp_path_factory.mktemp("sqlite") / "test.sqlite3")


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> Generator[None]:
    """A worker that a test killed may still be leaving: PostgreSQL would not drop a database that it is in."""
    from django.db import connection

    yield
    if connection.vendor == "postgresql":
        with django_db_blocker.unblock(), connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )


@pytest.fixture(scope="session", autouse=True)
def _quick_passwords() -> None:
    """A password is made to take half a second to check, and most tests make a person."""
    from django.conf import settings

    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture(scope="session", autouse=True)
def _empty_tables_past_their_guards() -> Generator[None]:
    """A transactional test ends by emptying the tables. SQLite does it by DELETE, which append-only tables refuse:
    their triggers are dropped before and made again after."""
    from django.db.backends.sqlite3.base import DatabaseOperations

    def sql_flush(self: Any, *args: Any, **named: Any) -> list[str]:
        with self.connection.cursor() as cursor:
            cursor.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
            guards = cursor.fetchall()
        return [f"DROP TRIGGER {name}" for name, _ in guards] + original(self, *args, **named) + [s for _, s in guards]

    original = DatabaseOperations.sql_flush
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DatabaseOperations, "sql_flush", sql_flush)
        yield


@pytest.fixture
def process_environment(transactional_db: None) -> dict[str, str]:
    """The environment for a child process (a worker, a command) that is to see the test's database."""
    from django.db import connection

    name = connection.settings_dict["NAME"]
    if connection.vendor == "sqlite":
        return {**os.environ, "DATABASE_URL": f"sqlite:///{name}"}
    address, _, query = os.environ["DATABASE_URL"].partition("?")
    return {**os.environ, "DATABASE_URL": f"{address.rpartition('/')[0]}/{name}?{query}"}


@pytest.fixture
def data_dir(tmp_path: Path, settings: Any) -> Path:
    """An empty data folder of this test's own."""
    settings.DATA_DIR = tmp_path / "data"
    settings.DATA_DIR.mkdir()
    return settings.DATA_DIR


# --- real films, where they lie beside the checkout -----------------------------------------------


def _real_data(name: str) -> Path:
    folder = REAL_DATA / name
    if not folder.is_dir():
        pytest.skip(f"the real films of {name} do not lie beside this checkout")
    return folder


@pytest.fixture(scope="session")
def cxr_a() -> Path:
    """A folder of real chest X-rays with labels.csv; read only."""
    return _real_data("cxr-a")


@pytest.fixture(scope="session")
def dicom_samples() -> Path:
    """A folder of DICOM files, good and bad, with expected.csv; read only."""
    return _real_data("dicom")


# --- the browser --------------------------------------------------------------------------------


@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Without a browser, say so before the first test instead of skipping quietly."""
    wanted = any(item.get_closest_marker("browser") for item in session.items)
    if wanted and not session.config.option.collectonly and find_chromium() is None:
        pytest.exit(NO_BROWSER, returncode=4)

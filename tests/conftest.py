"""Fixtures for every test. The servers themselves are started by tests/servers.py."""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from tests.migrated import copy_migrated, migrate
from tests.paths import REAL_DATA, ROOT
from tests.servers import MIGRATED
from tools.browser import NO_BROWSER, find_chromium

# files that take minutes start first, so that none of them runs alone at the end
LONGEST = (
    "shape/test_whole_shape.py",
    "access/test_walk.py",
    "browser/test_every_page.py",
    "ml_engine/runs/test_recovery.py",
    "ml_engine/engine/test_run_folder.py",
    "browser/viewer/test_viewer.py",
    "access/test_sealed_walk.py",
    "test_project.py",
    "ml_engine/runs/test_head_requests.py",
    "ml_engine/test_phantoms.py",
    "ml_engine/runs/test_supervisor.py",
    "browser/test_grid.py",
    "browser/test_reading.py",
    "browser/test_queue.py",
    "analysis/report/test_document.py",
    "browser/test_whole_path.py",
    "browser/viewer/test_tools.py",
    "ml_engine/core/alignment/test_fit.py",
    "upgrade/test_upgrade.py",
    "ml_engine/core/head/test_population.py",
    "ml_engine/test_confirmed_phantoms.py",
    "browser/viewer/test_real_films.py",
    "ml_engine/command/test_main.py",
    "browser/test_studies.py",
    "browser/test_teaching.py",
    "ml_engine/runs/test_grown_scores.py",
    "browser/test_first_names.py",
    "browser/test_reader_study.py",
    "shape/test_whole_shape.py",
)
MADE_BY_MIGRATE = ("django_content_type", "auth_permission")


class FailingNames:
    """Prints the name of each failing test at once: a whole run takes many minutes, and prints details at its end."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.config.get_terminal_writer().line(f"\nfailing: {report.nodeid} ({report.when})")


class SlowestFiles:
    """With --durations, prints the seconds of the slowest files too: many short tests are in no list of tests."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.seconds: defaultdict[str, float] = defaultdict(float)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid.split("::")[0]] += report.duration

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        terminalreporter.section(f"slowest {self.count} files, {sum(self.seconds.values()):.0f} s in all")
        for name, seconds in sorted(self.seconds.items(), key=lambda item: -item[1])[: self.count]:
            terminalreporter.line(f"{seconds:.1f}s {name}")


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # the process that prints, not those that xdist starts
        config.pluginmanager.register(FailingNames(config))
        if count := config.getoption("durations"):
            config.pluginmanager.register(SlowestFiles(count))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark browser tests by their folder, skip `gpu` tests without a GPU, and sort the longest files first."""
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
    """Begin with a copy of a migrated database (see tests/migrated.py). SQLite is used in a file, as in production: an
    in-memory database tests neither locking nor a second process."""
    from django.conf import settings

    database = settings.DATABASES["default"]
    if database["ENGINE"].endswith("sqlite3"):
        file = tmp_path_factory.mktemp("sqlite") / "test.sqlite3"
        copy_migrated("sqlite", file, lambda place: migrate(f"sqlite:///{place}"))
        database["TEST"]["NAME"] = str(file)
    elif "HILUM_TEST_DATABASE_URL" not in os.environ:
        database["TEST"]["TEMPLATE"] = MIGRATED


@pytest.fixture(scope="session")
def django_db_keepdb(django_db_keepdb: bool) -> bool:
    """Keep the copied SQLite file, which Django would delete and migrate again."""
    from django.conf import settings

    return django_db_keepdb or bool(settings.DATABASES["default"]["ENGINE"].endswith("sqlite3"))


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> Generator[None]:
    """A worker killed by a test may still be connected, and PostgreSQL does not drop a database that is in use."""
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
    """Use a fast hasher: checking a password takes half a second on purpose, and most tests create a person."""
    from django.conf import settings

    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture(scope="session", autouse=True)
def _static_files_are_listed_once() -> Generator[None]:
    """Each test client loads the middleware anew, and WhiteNoise then lists all static files. The list is the same."""
    from whitenoise.middleware import WhiteNoiseMiddleware

    listed: dict[str, Any] = {}

    def add_files(self: Any) -> None:
        if not listed:
            original(self)
            listed.update(self.files)
        self.files.update(listed)

    original = WhiteNoiseMiddleware.add_files_from_finders
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WhiteNoiseMiddleware, "add_files_from_finders", add_files)
        yield


@pytest.fixture(scope="session", autouse=True)
def _empty_tables_past_their_guards() -> Generator[None]:
    """A transactional test ends by emptying the tables. On SQLite this is a DELETE, which append-only tables refuse, so
    their triggers are dropped before and created again after it."""
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


@pytest.fixture(scope="session", autouse=True)
def _empty_only_tables_with_rows() -> Generator[None]:
    """On PostgreSQL Django truncates every table, which makes new files for each and its indexes. Few have rows.

    Those are emptied by DELETE, with triggers and foreign keys switched off, which only the tests' own server permits.
    Content types and permissions stay, as `migrate` left them: they would be made again at once."""
    from django.db.backends.postgresql.operations import DatabaseOperations

    def sql_flush(self: Any, style: Any, tables: list[str], **named: Any) -> list[str]:
        if named.get("reset_sequences") or "HILUM_TEST_DATABASE_URL" in os.environ:
            return list(original(self, style, tables, **named))
        quoted = [self.quote_name(table) for table in tables if table not in MADE_BY_MIGRATE]
        with self.connection.cursor() as cursor:
            cursor.execute(" UNION ALL ".join(f"(SELECT '{table}' FROM {table} LIMIT 1)" for table in quoted))
            filled = [table for (table,) in cursor.fetchall()]
        if not filled:
            return []
        emptying = [f"DELETE FROM {table}" for table in filled]
        return [
            "SET LOCAL session_replication_role = replica",
            *emptying,
            "SET LOCAL session_replication_role = DEFAULT",
        ]

    original = DatabaseOperations.sql_flush
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DatabaseOperations, "sql_flush", sql_flush)
        yield


@pytest.fixture(autouse=True)
def _same_films_in_any_order() -> None:
    """The films of `tests.portal.factories` have the same pixels whichever tests ran before."""
    if factories := sys.modules.get("tests.portal.factories"):
        factories.restart_seeds()


@pytest.fixture
def process_environment(transactional_db: None) -> dict[str, str]:
    """The environment of a child process (a worker, a command) that uses the test's database."""
    from django.db import connection

    name = connection.settings_dict["NAME"]
    if connection.vendor == "sqlite":
        return {**os.environ, "DATABASE_URL": f"sqlite:///{name}"}
    address, _, query = os.environ["DATABASE_URL"].partition("?")
    return {**os.environ, "DATABASE_URL": f"{address.rpartition('/')[0]}/{name}?{query}"}


@pytest.fixture
def data_dir(tmp_path: Path, settings: Any) -> Path:
    """An empty data folder for this test."""
    settings.DATA_DIR = tmp_path / "data"
    settings.DATA_DIR.mkdir()
    return settings.DATA_DIR


# --- a bucket of films --------------------------------------------------------------------------


@pytest.fixture(scope="session")
def _s3_service() -> Generator[str]:
    from tests.portal import s3_service

    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3_service.CREDENTIALS.items():
            patch.setenv(name, value)
        with s3_service.running_service() as address:
            yield address


@pytest.fixture
def bucket(_s3_service: str, settings: Any, data_dir: Path) -> Callable[[str], None]:
    """Films lie in an empty bucket. Called with an address, the setting names another service."""

    from tests.portal import s3_service

    def use(address: str) -> None:
        films = {"BACKEND": "portal.project.bucket_storage.BucketStorage", "OPTIONS": s3_service.options(address)}
        settings.STORAGES = {**settings.STORAGES, "films": films}

    s3_service.new_bucket(_s3_service)
    use(_s3_service)
    return use


# --- real films, if they are beside the checkout --------------------------------------------------


def _real_data(name: str) -> Path:
    folder = REAL_DATA / name
    if not folder.is_dir():
        pytest.skip(f"the real films of {name} are not beside this checkout")
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
    """Stop before the first test if browser tests are selected and there is no browser, instead of skipping them."""
    needs_browser = any(item.get_closest_marker("browser") for item in session.items)
    if needs_browser and not session.config.option.collectonly and find_chromium() is None:
        pytest.exit(NO_BROWSER, returncode=4)

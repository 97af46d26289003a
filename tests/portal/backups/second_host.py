"""A second, empty host for a restore: a data folder and a database of its own, used by other processes."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connection

from tests.paths import ROOT

_QUESTION = """
import json, sys, django
django.setup()
from tests.portal.backups import second_host
asked = json.loads(sys.argv[1])
print("ANSWER" + json.dumps([getattr(second_host, name)(*arguments) for name, arguments in asked]))
"""


@dataclass(frozen=True)
class SecondHost:
    environment: Mapping[str, str]
    data: Path

    def manage(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self._run("manage.py", *words)

    def ask(self, function: str, *arguments: Any) -> Any:
        """What a function of this module answers there."""
        return self.ask_each([(function, arguments)])[0]

    def ask_each(self, questions: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        """In one process, whose start takes longer than most answers."""
        done = self._run("-c", _QUESTION, json.dumps(questions))
        assert done.returncode == 0, done.stderr[-3000:]
        answers: list[Any] = json.loads(done.stdout.rpartition("ANSWER")[2])
        return answers

    def _run(self, *words: str) -> subprocess.CompletedProcess[str]:
        environment = {**self.environment, "DJANGO_SETTINGS_MODULE": "portal.settings", "PYTHONPATH": str(ROOT)}
        return subprocess.run([sys.executable, *words], cwd=ROOT, env=environment, capture_output=True, text=True)


def make_host(folder: Path, environment: Mapping[str, str]) -> SecondHost:
    """`environment` is that of a process with the test's database."""
    data = folder / "second"
    if connection.vendor == "sqlite":
        address = f"sqlite:///{folder / 'second.sqlite3'}"
    else:
        name = f"second_{os.getpid()}"
        drop(name)
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name}")
        address, _, query = environment["DATABASE_URL"].partition("?")
        address = f"{address.rpartition('/')[0]}/{name}?{query}"
    secrets = {"HILUM_PSEUDONYM_SECRET": settings.PSEUDONYM_SECRET, "HILUM_SECRET_KEY": settings.SECRET_KEY}
    return SecondHost({**environment, "DATABASE_URL": address, "HILUM_DATA_DIR": str(data), **secrets}, data)


def drop(name: str = f"second_{os.getpid()}") -> None:
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


# Asked there and here -------------------------------------------------------------------------------


def rows_by_table() -> dict[str, list[str]]:
    """Every row of every table as text, in order."""
    rows = {}
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names():
            cursor.execute(f'SELECT * FROM "{table}"')
            rows[table] = sorted(repr(row) for row in cursor.fetchall())
    return rows


def digest_by_table() -> dict[str, str]:
    """The SHA-256 of `rows_by_table`, for tables whose rows are too many to send."""
    return {table: hashlib.sha256("\n".join(rows).encode()).hexdigest() for table, rows in rows_by_table().items()}


def states_of_runs() -> dict[str, list[Any]]:
    from ml_engine.models import Run

    return {str(run.uuid): [run.state, run.attempt, run.published_at is None] for run in Run.objects.all()}


def traces_of(words: list[str]) -> list[str]:
    from tests.portal.traces import traces

    return traces(words)


def chains_that_break() -> list[str]:
    from portal.people.audit_chain import chains, seal_all, verify

    seal_all()
    return [verdict.fault for site in chains() if (verdict := verify(site)).fault]


def uploads_by_state() -> list[str]:
    from portal.models import Upload

    return sorted(Upload.objects.values_list("state", flat=True))

"""The database as a stream, and back: `pg_dump` in its custom format, or a copy that SQLite makes while it is used."""

import os
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from django.conf import settings
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

from portal.backups.problems import CannotBackUp

_HEAD_LINES = 200
# pg_restore 17 writes it, and servers before 17 do not know it
_UNKNOWN_TO_OLDER = b"SET transaction_timeout = 0;"


def applied_migrations() -> list[str]:
    return sorted(f"{app}.{name}" for app, name in MigrationRecorder(connection).applied_migrations())


def is_empty() -> bool:
    """Whether nobody has worked with this database yet."""
    tables = connection.introspection.table_names()
    for table in ("portal_user", "portal_site", "portal_auditevent"):
        if table in tables:
            with connection.cursor() as cursor:
                cursor.execute(f"SELECT 1 FROM {table} LIMIT 1")  # noqa: S608
                if cursor.fetchone():
                    return False
    return True


@contextmanager
def dumped() -> Iterator[IO[bytes]]:
    """A consistent snapshot as a stream. Raises CannotBackUp, at the end as well."""
    if connection.vendor == "sqlite":
        with tempfile.NamedTemporaryFile(dir=settings.DATA_DIR, prefix=".part-") as file:
            connection.ensure_connection()
            with sqlite3.connect(file.name) as copy:
                connection.connection.backup(copy)
            copy.close()
            with open(file.name, "rb") as stream:
                yield stream
        return
    command = [_program("pg_dump"), "--format=custom", "--no-owner", "--no-privileges", "--no-password"]
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [*command, f"--dbname={_address()}"], stdout=subprocess.PIPE, stderr=errors, env=_environment()
        )
        assert process.stdout is not None
        try:
            yield process.stdout
        finally:
            process.stdout.close()
            status = process.wait()
        if status:
            raise CannotBackUp(f"pg_dump failed: {_last_line(errors)} Its release must not be older than the server's.")


def require_restorable(vendor: str) -> None:
    """Raises CannotBackUp where a dump of this kind of database could not be restored into this one."""
    if vendor != connection.vendor:
        raise CannotBackUp(
            f"The backup is of {vendor}, and DATABASE_URL is of {connection.vendor}: use the same. Nothing was changed."
        )
    if vendor != "postgresql":
        return
    for name in ("pg_restore", "psql"):
        _program(name)
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user, has_schema_privilege('public', 'CREATE')")
        role, can_create = cursor.fetchone()
    if not can_create:
        raise CannotBackUp(
            f"The role {role} of DATABASE_URL may not create tables: restore as the owner of the tables. Nothing was "
            "changed."
        )


def restore(pieces: Iterable[bytes], *, vendor: str) -> None:
    """Replace the database, which is empty, by a dump. Raises CannotBackUp, and leaves an empty database then."""
    require_restorable(vendor)
    connection.close()
    if vendor == "sqlite":
        _restore_sqlite(pieces)
    else:
        _restore_postgresql(pieces)


def _restore_sqlite(pieces: Iterable[bytes]) -> None:
    with tempfile.NamedTemporaryFile(dir=settings.DATA_DIR, prefix=".part-") as file:
        for piece in pieces:
            file.write(piece)
        file.flush()
        connection.ensure_connection()
        with sqlite3.connect(file.name) as copy:
            copy.backup(connection.connection)
        copy.close()
    connection.close()


def _restore_postgresql(pieces: Iterable[bytes]) -> None:
    """pg_restore writes SQL, which psql executes as one transaction."""
    with (
        tempfile.TemporaryDirectory(dir=settings.DATA_DIR, prefix=".part-") as folder,
        tempfile.TemporaryFile() as errors,
    ):
        dump = Path(folder) / "dump"
        with dump.open("wb") as file:
            for piece in pieces:
                file.write(piece)
        reading = [_program("pg_restore"), "--no-owner", "--no-privileges", "--clean", "--if-exists", "--file=-"]
        writing = [_program("psql"), "--no-psqlrc", "--quiet", "--single-transaction", "--no-password"]
        sql = subprocess.Popen([*reading, str(dump)], stdout=subprocess.PIPE, stderr=errors, env=_environment())
        database = subprocess.Popen(
            [*writing, "--set=ON_ERROR_STOP=1", "--output=/dev/null", f"--dbname={_address()}"],
            stdin=subprocess.PIPE,
            stderr=errors,
            env=_environment(),
        )
        assert sql.stdout is not None
        assert database.stdin is not None
        try:
            for number, line in enumerate(sql.stdout):
                if number > _HEAD_LINES:
                    database.stdin.write(line)
                    shutil.copyfileobj(sql.stdout, database.stdin)
                    break
                if line.strip() != _UNKNOWN_TO_OLDER:
                    database.stdin.write(line)
            database.stdin.close()
        except BrokenPipeError:  # psql has ended, and says why
            pass
        sql.stdout.close()
        if sql.wait() + database.wait():
            raise CannotBackUp(f"The database was not restored, and is as before: {_last_line(errors)}")


def _program(name: str) -> str:
    program = shutil.which(name)
    if program is None:
        raise CannotBackUp(
            f"There is no {name}: install the PostgreSQL client (Debian: apt-get install postgresql-client)."
        )
    return program


def _address() -> str:
    """As libpq wants it, without the password."""
    facts = connection.get_connection_params()
    words = {name: facts.get(name) for name in ("host", "port", "user", "dbname", "sslmode", "sslrootcert")}
    return " ".join(f"{name}='{value}'" for name, value in words.items() if value)


def _environment() -> dict[str, str]:
    password = connection.get_connection_params().get("password")
    return {**os.environ, "PGCONNECT_TIMEOUT": "10"} | ({"PGPASSWORD": str(password)} if password else {})


def _last_line(file: IO[bytes]) -> str:
    file.seek(0)
    lines = [line for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.casefold()]
    return (errors or lines or ["it gave no reason."])[0][:300]

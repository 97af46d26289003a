"""Settings from the environment, each checked at start: a wrong value stops Hilum with a sentence."""

import hashlib
import os
import secrets
import tempfile
from pathlib import Path
from typing import Any

import dj_database_url
from django.core.exceptions import ImproperlyConfigured

LONGEST_SOCKET_PATH = 100  # bytes; the kernel's limit is about 107


def choice(name: str, allowed: tuple[str, ...], default: str) -> str:
    value = text(name, default)
    if value not in allowed:
        raise ImproperlyConfigured(f"{name} is {value!r}; expected one of {', '.join(allowed)}.")
    return value


def integer(name: str, default: int, *, low: int, high: int) -> int:
    given = text(name, str(default))
    try:
        value = int(given)
    except ValueError:
        value = low - 1
    if not low <= value <= high:
        raise ImproperlyConfigured(f"{name} is {given!r}; expected a whole number from {low} to {high}.")
    return value


def text(name: str, default: str) -> str:
    """An empty value counts as not given."""
    return os.environ.get(name) or default


def words(name: str, default: str = "") -> list[str]:
    return [word.strip() for word in text(name, default).split(",") if word.strip()]


def folder(path: Path, *, why: str) -> Path:
    """The folder, made where it is missing."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImproperlyConfigured(f"{why} is {path}, which cannot be made ({error.strerror}).") from error
    return path


def database(default: str) -> dict[str, Any]:
    try:
        return dict(dj_database_url.config(default=default, conn_max_age=60))
    except ValueError as error:  # its text repeats the address, and with it the password
        raise ImproperlyConfigured(
            "DATABASE_URL is not an address of a database; expected postgres://user:password@host:5432/name."
        ) from error


def required(name: str, *, why: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        raise ImproperlyConfigured(f"{name} is not set; {why}")
    return value


def kept_secret(name: str, *, folder: Path, production: bool) -> str:
    """The secret from the environment; on a local installation made at first start and kept in `folder`."""
    value = os.environ.get(name, "")
    if value:
        if len(value) < 40:
            raise ImproperlyConfigured(f"{name} has {len(value)} characters; give at least 40 random ones.")
        return value
    if production:
        raise ImproperlyConfigured(f"{name} is not set; give at least 40 random characters.")
    path = folder / (name.lower().replace("_", "-"))
    if not path.exists():
        _write_once(path, secrets.token_urlsafe(48))
    return path.read_text().strip()


def _write_once(path: Path, text: str) -> None:
    """Two processes may start at the same moment: the first to link its file wins, both read the same."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent)  # mkstemp gives mode 0600
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    try:
        os.link(temporary, path)
    except FileExistsError:
        pass
    finally:
        os.unlink(temporary)


def broker_socket(data_dir: Path) -> Path:
    """Where the embedded broker listens: in the data folder, or in a short folder when that path is too long."""
    path = data_dir / "run" / "broker.sock"
    if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
        return path
    digest = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"hilum-{os.getuid()}-{digest}" / "broker.sock"

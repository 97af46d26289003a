"""Settings from the environment, checked at start: a wrong value stops Hilum with an explanation."""

import hashlib
import os
import re
import secrets
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import dj_database_url
from django.core.exceptions import ImproperlyConfigured

# A name with or without a dot before it, an IPv4 address, or an IPv6 address in brackets
_HOST = re.compile(
    r"\.?[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*|\[[0-9a-fA-F:.]+\]"
)
SHORTEST_SECRET = 40  # characters
LONGEST_SOCKET_PATH = 100  # bytes; the kernel's limit is about 107


def choice(name: str, allowed: tuple[str, ...], default: str) -> str:
    value = text(name, default)
    if value not in allowed:
        raise ImproperlyConfigured(f"{name} is {value!r}; expected one of {', '.join(allowed)}.")
    return value


def integer(name: str, default: int, *, low: int, high: int) -> int:
    raw = text(name, str(default))
    try:
        value = int(raw)
    except ValueError:
        value = low - 1
    if not low <= value <= high:
        raise ImproperlyConfigured(f"{name} is {raw!r}; expected a whole number from {low} to {high}.")
    return value


def cores() -> int:
    """The number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def text(name: str, default: str) -> str:
    """The value, or the default if the variable is missing or empty."""
    return os.environ.get(name) or default


def words(name: str, default: str = "") -> list[str]:
    return [word.strip() for word in text(name, default).split(",") if word.strip()]


def folder(path: Path, *, why: str) -> Path:
    """Return the folder, and create it if it is missing."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImproperlyConfigured(f"{why} is {path}, which cannot be created ({error.strerror}).") from error
    return path


def hosts(name: str, default: str) -> list[str]:
    """Names of hosts as a request gives them: without scheme, port and path. A dot before a name means its subdomains
    too, * any host."""
    names = words(name, default)
    for host in names:
        if host != "*" and not _HOST.fullmatch(host):
            raise ImproperlyConfigured(
                f"{name} has {host!r}, which matches no request; expected names of hosts without scheme, port and "
                "path, such as hilum.example.org, or .example.org for all below it."
            )
    return names


def origins(name: str) -> list[str]:
    addresses = words(name)
    for origin in addresses:
        scheme, _, rest = origin.partition("://")
        host = re.sub(r":[0-9]{1,5}$", "", rest)
        is_host = _HOST.fullmatch(host.removeprefix("*")) and not host.startswith(".")
        if scheme not in ("http", "https") or not is_host or origin != origin.lower():
            raise ImproperlyConfigured(
                f"{name} has {origin!r}, which matches no request; expected scheme and host in small letters, with a "
                "port if the address has one and no path, such as https://hilum.example.org:8443."
            )
    return addresses


def url_prefix(name: str) -> str:
    """The path below which the portal is reached, with a slash before it and none after it; blank for a host of its
    own."""
    value = text(name, "").rstrip("/")
    if value and not re.fullmatch(r"(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+", value):
        raise ImproperlyConfigured(
            f"{name} is {value!r}; expected a path of letters, digits, dots and hyphens that begins with a slash, such "
            "as /hilum."
        )
    return value


def existing_folder(name: str) -> Path | None:
    """The folder, which has to be there; None where the variable is not set."""
    value = text(name, "")
    if not value:
        return None
    path = Path(value).resolve()
    if not path.is_dir():
        raise ImproperlyConfigured(f"{name} is {value}, which is no folder; make it, or leave the setting out.")
    return path


def database(default: str) -> dict[str, Any]:
    try:
        return dict(dj_database_url.config(default=default, conn_max_age=60))
    except ValueError as error:  # its message would repeat the URL with the password
        raise ImproperlyConfigured(
            "DATABASE_URL is not the URL of a database; expected postgres://user:password@host:5432/name."
        ) from error


def scanner(name: str) -> tuple[str, int] | str | None:
    """The address of clamd: host and port, or the path of its socket. None: nothing is scanned."""
    value = text(name, "")
    if not value:
        return None
    url = urlsplit(value)
    with suppress(ValueError):  # of a port that is no number
        if url.scheme == "tcp" and url.hostname and not url.path.strip("/"):
            return url.hostname, url.port or 3310
    if url.scheme == "unix" and url.path.startswith("/") and not url.netloc:
        return url.path
    raise ImproperlyConfigured(
        f"{name} is {value!r}; expected the address of clamd, tcp://host:3310 or unix:///run/clamav/clamd.ctl."
    )


_BUCKET = re.compile(r"(?P<name>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(?P<prefix>[A-Za-z0-9._/-]*))?")


def bucket(name: str, url_name: str) -> dict[str, Any]:
    """The options of portal.project.bucket_storage; empty: there is no bucket."""
    value, address = text(name, ""), text(url_name, "")
    if not value:
        if address:
            raise ImproperlyConfigured(f"{url_name} is set and {name} is not; name the bucket, or take both out.")
        return {}
    match = _BUCKET.fullmatch(value)
    if match is None:
        raise ImproperlyConfigured(
            f"{name} is {value!r}; expected the name of a bucket, such as hilum-films, or with a prefix "
            "hilum-films/production."
        )
    _require_service(url_name, address, account="AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
    if find_spec("storages") is None or find_spec("boto3") is None:
        raise ImproperlyConfigured(f"{name} needs two packages more: pip install 'hilum[s3]'.")
    return {
        "bucket_name": match["name"],
        "location": (match["prefix"] or "").strip("/"),
        "endpoint_url": address or None,
    }


def _require_service(name: str, address: str, *, account: str) -> None:
    url = urlsplit(address)
    if address and (url.scheme not in ("http", "https") or not url.hostname or url.username):
        raise ImproperlyConfigured(
            f"{name} is not the address of an S3 service; expected https://host:9000, with the credentials in "
            f"{account}."
        )


def backup_bucket(*, films: Mapping[str, Any]) -> dict[str, Any]:
    """As `bucket`, but for the name, which `manage.py backup` is given: the service and the account of films, unless
    these settings name others."""
    address = text("HILUM_BACKUP_BUCKET_URL", "")
    key, secret = text("HILUM_BACKUP_ACCESS_KEY_ID", ""), text("HILUM_BACKUP_SECRET_ACCESS_KEY", "")
    region = text("HILUM_BACKUP_REGION", "")
    _require_service(
        "HILUM_BACKUP_BUCKET_URL",
        address,
        account="HILUM_BACKUP_ACCESS_KEY_ID and HILUM_BACKUP_SECRET_ACCESS_KEY",
    )
    if bool(key) != bool(secret):
        raise ImproperlyConfigured(
            "Of HILUM_BACKUP_ACCESS_KEY_ID and HILUM_BACKUP_SECRET_ACCESS_KEY one is set and the other is not; set "
            "both, or neither for the account of AWS_ACCESS_KEY_ID."
        )
    account = {"access_key": key, "secret_key": secret, "security_token": None} if key else {}
    return {
        "endpoint_url": address or films.get("endpoint_url"),
        "account": {**account, **({"region_name": region} if region else {})},
    }


def runs_in_bucket(name: str, *, bucket: Mapping[str, Any]) -> bool:
    """Runs read films, so that machines without a common data folder need the bucket of films too."""
    is_set = choice(name, ("0", "1"), "0") == "1"
    if is_set and not bucket:
        raise ImproperlyConfigured(
            f"{name} is 1 and HILUM_FILM_BUCKET is not set; name the bucket, which films and runs then share."
        )
    return is_set


_MAIL_PORTS = {"smtp": 25, "smtp+starttls": 587, "smtps": 465}


def mail() -> dict[str, Any]:
    """Django's EMAIL_* settings, without the prefix. `HOST` is "" without HILUM_MAIL_URL: no mail is sent."""
    url = urlsplit(text("HILUM_MAIL_URL", ""))
    if not url.geturl():
        return {"HOST": "", "PORT": 0, "USER": "", "PASSWORD": "", "TLS": False, "SSL": False, "FROM": ""}
    try:
        port = url.port or _MAIL_PORTS[url.scheme]
    except (KeyError, ValueError):
        port = 0
    if not port or not url.hostname:  # the message must not repeat the password
        raise ImproperlyConfigured(
            "HILUM_MAIL_URL is not the URL of a mail server; expected smtp+starttls://user:password@host:587, with "
            "smtps:// for TLS from the start, or smtp:// for none."
        )
    sender = required("HILUM_MAIL_FROM", why="set it to the address that Hilum's mail comes from.")
    return {
        "HOST": url.hostname,
        "PORT": port,
        "USER": unquote(url.username or ""),
        "PASSWORD": unquote(url.password or ""),
        "TLS": url.scheme == "smtp+starttls",
        "SSL": url.scheme == "smtps",
        "FROM": sender,
    }


def single_sign_on(*, production: bool) -> dict[str, Any]:
    """SOCIALACCOUNT_PROVIDERS with the OpenID Connect provider of HILUM_OIDC_URL; empty without one."""
    address = text("HILUM_OIDC_URL", "").rstrip("/")
    if not address:
        return {}
    url = urlsplit(address)
    if url.scheme not in (("https",) if production else ("https", "http")) or not url.hostname:
        raise ImproperlyConfigured(
            f"HILUM_OIDC_URL is {address!r}; expected the issuer's address, such as https://login.example.org/realms/ward."
        )
    return {
        "openid_connect": {
            "OAUTH_PKCE_ENABLED": True,
            "APPS": [
                {
                    "provider_id": "sso",
                    "name": text("HILUM_OIDC_NAME", url.hostname),
                    "client_id": required(
                        "HILUM_OIDC_CLIENT_ID", why="set it to the name that the provider has given Hilum."
                    ),
                    "secret": required(
                        "HILUM_OIDC_CLIENT_SECRET", why="set it to the secret that the provider has given Hilum."
                    ),
                    "settings": {"server_url": address},
                }
            ],
        }
    }


def passwords(*, single_sign_on: bool) -> str:
    """Whose passwords let them in: of everybody, or of administrators alone."""
    whose = choice("HILUM_PASSWORDS", ("everybody", "administrators"), "everybody")
    if whose == "administrators" and not single_sign_on:
        raise ImproperlyConfigured(
            "HILUM_PASSWORDS=administrators lets nobody else in without HILUM_OIDC_URL or a SAML provider; set one up "
            "too."
        )
    return whose


def required(name: str, *, why: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        raise ImproperlyConfigured(f"{name} is not set; {why}")
    return value


def token(name: str) -> str:
    """A secret that others send; "" where it is not set."""
    value = os.environ.get(name, "")
    if value and len(value) < 20:
        raise ImproperlyConfigured(f"{name} has {len(value)} characters; use at least 20 random characters.")
    return value


def kept_secret(name: str, *, folder: Path, production: bool) -> str:
    """The secret from the environment; a local installation generates it at first start and keeps it in `folder`."""
    value = os.environ.get(name, "")
    if value:
        if len(value) < SHORTEST_SECRET:
            raise ImproperlyConfigured(
                f"{name} has {len(value)} characters; use at least {SHORTEST_SECRET} random characters."
            )
        return value
    if production:
        raise ImproperlyConfigured(f"{name} is not set; set it to at least {SHORTEST_SECRET} random characters.")
    path = kept_secret_path(name, folder=folder)
    if not path.exists():
        _write_once(path, secrets.token_urlsafe(48))
    return path.read_text().strip()


def kept_secret_path(name: str, *, folder: Path) -> Path:
    return folder / name.lower().replace("_", "-")


def replace_secret(path: Path, text: str) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent)  # mkstemp sets mode 0600
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def _write_once(path: Path, text: str) -> None:
    """Two processes may start at the same time: the first to link its file wins, and both read the same secret."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent)  # mkstemp sets mode 0600
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    try:
        os.link(temporary, path)
    except FileExistsError:
        pass
    finally:
        os.unlink(temporary)


def broker_socket(data_dir: Path) -> Path:
    """The socket of the embedded broker: in the data folder, or in a temporary folder if that path is too long."""
    path = data_dir / "run" / "broker.sock"
    if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
        return path
    digest = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"hilum-{os.getuid()}-{digest}" / "broker.sock"

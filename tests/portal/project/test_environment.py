"""Settings from the environment: a wrong value stops every Hilum process with an explanation."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from portal.project import environment
from tests.paths import ROOT


def start(data_dir: Path, **changes: str) -> subprocess.CompletedProcess[str]:
    """Read the settings in a fresh process."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("HILUM_")}
    variables.pop("DATABASE_URL", None)
    variables |= {"HILUM_DATA_DIR": str(data_dir), "DJANGO_SETTINGS_MODULE": "portal.settings", **changes}
    code = "from django.conf import settings as s; print(s.ALLOWED_HOSTS, s.DATABASES['default']['ENGINE'])"
    return subprocess.run([sys.executable, "-c", code], env=variables, cwd=ROOT, capture_output=True, text=True)


def test_without_settings_the_installation_is_local(tmp_path: Path) -> None:
    started = start(tmp_path / "new" / "folder", HILUM_ALLOWED_HOSTS="")
    assert started.returncode == 0, started.stderr
    assert started.stdout.strip() == "['localhost', '127.0.0.1', '[::1]'] django.db.backends.sqlite3"


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("HILUM_ENV", "prod", "HILUM_ENV is 'prod'; expected one of local, production."),
        ("HILUM_DEBUG", "yes", "HILUM_DEBUG is 'yes'; expected one of 0, 1."),
        ("HILUM_DEVICE", "gpu", "HILUM_DEVICE is 'gpu'; expected one of auto, cpu, cuda."),
        ("HILUM_RUN_LEASE_SECONDS", "1", "HILUM_RUN_LEASE_SECONDS is '1'; expected a whole number from 2 to 3600."),
        ("HILUM_UPLOAD_LIMIT_GIB", "lots", "HILUM_UPLOAD_LIMIT_GIB is 'lots'; expected a whole number from 1 to 1000."),
        ("HILUM_SECRET_KEY", "short", "HILUM_SECRET_KEY has 5 characters; use at least 40 random characters."),
        ("HILUM_PSEUDONYM_SECRET", "short", "HILUM_PSEUDONYM_SECRET has 5 characters"),
        (
            "HILUM_MAIL_URL",
            "mail.example.org",
            "HILUM_MAIL_URL is not the URL of a mail server; expected smtp+starttls",
        ),
        ("HILUM_MAIL_URL", "smtps://mail:secret@host:many", "HILUM_MAIL_URL is not the URL of a mail server"),
        ("HILUM_MAIL_URL", "smtp://mail", "HILUM_MAIL_FROM is not set"),
        (
            "HILUM_ALLOWED_HOSTS",
            "https://hilum.example.org",
            "HILUM_ALLOWED_HOSTS has 'https://hilum.example.org', whi",
        ),
        ("HILUM_TRUSTED_ORIGINS", "hilum.example.org", "HILUM_TRUSTED_ORIGINS has 'hilum.example.org', which matches"),
        ("DATABASE_URL", "nonsense", "DATABASE_URL"),
        ("DATABASE_URL", "oracle8://db/name", "DATABASE_URL"),
        ("HILUM_DATA_DIR", "/proc/hilum", "HILUM_DATA_DIR"),
    ],
)
def test_a_wrong_value_stops_the_start_with_an_explanation(
    tmp_path: Path, name: str, value: str, sentence: str
) -> None:
    started = start(tmp_path, **{name: value})
    assert started.returncode != 0
    last = started.stderr.strip().splitlines()[-1]
    assert last.startswith("django.core.exceptions.ImproperlyConfigured: ")
    assert sentence in last


def test_a_mail_server_is_read_from_its_url(monkeypatch: pytest.MonkeyPatch) -> None:
    assert environment.mail()["HOST"] == ""
    monkeypatch.setenv("HILUM_MAIL_FROM", "hilum@example.org")
    monkeypatch.setenv("HILUM_MAIL_URL", "smtp+starttls://me%40here:p%2Fw@mail.example.org")
    assert environment.mail() == {
        "HOST": "mail.example.org", "PORT": 587, "USER": "me@here", "PASSWORD": "p/w", "TLS": True, "SSL": False,
        "FROM": "hilum@example.org",
    }  # fmt: skip
    monkeypatch.setenv("HILUM_MAIL_URL", "smtps://mail:9465")
    assert [environment.mail()[name] for name in ("PORT", "TLS", "SSL")] == [9465, False, True]


def test_an_empty_value_counts_as_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HILUM_X", "")
    assert environment.text("HILUM_X", "default") == "default"
    assert environment.words("HILUM_X", "a, b") == ["a", "b"]
    assert environment.integer("HILUM_X", 3, low=0, high=9) == 3


def test_a_secret_is_generated_once_and_readable_only_by_its_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HILUM_SECRET_KEY", raising=False)
    secrets: list[str] = []
    start_together = threading.Barrier(4)

    def read() -> None:
        start_together.wait()
        secrets.append(environment.kept_secret("HILUM_SECRET_KEY", folder=tmp_path / "secrets", production=False))

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(secrets)) == 1
    assert len(secrets[0]) >= 40
    (file,) = (tmp_path / "secrets").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_production_generates_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HILUM_SECRET_KEY", raising=False)
    with pytest.raises(ImproperlyConfigured, match="HILUM_SECRET_KEY is not set"):
        environment.kept_secret("HILUM_SECRET_KEY", folder=tmp_path, production=True)
    assert list(tmp_path.iterdir()) == []


def test_a_long_data_folder_gets_a_short_socket() -> None:
    short, long = Path("/srv/hilum"), Path("/srv") / ("x" * 120)
    assert environment.broker_socket(short) == short / "run" / "broker.sock"
    assert len(os.fsencode(environment.broker_socket(long))) <= environment.LONGEST_SOCKET_PATH
    assert environment.broker_socket(long) != environment.broker_socket(long / "y")


# --- single sign-on -----------------------------------------------------------------------------

OIDC = {
    "HILUM_OIDC_URL": "https://login.example.org/realms/ward/",
    "HILUM_OIDC_CLIENT_ID": "a",
    "HILUM_OIDC_CLIENT_SECRET": "b",
}


def sign_on(monkeypatch: pytest.MonkeyPatch, *, production: bool = True, **changed: str) -> Any:
    for name, value in (OIDC | changed).items():
        monkeypatch.setenv(name, value)
    return environment.single_sign_on(production=production)


def test_a_provider_is_named_by_settings_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert environment.single_sign_on(production=True) == {}
    (app,) = sign_on(monkeypatch)["openid_connect"]["APPS"]
    assert (app["name"], app["settings"]) == (
        "login.example.org",
        {"server_url": "https://login.example.org/realms/ward"},
    )


@pytest.mark.parametrize(
    "address", ["login.example.org", "ftp://login.example.org", "http://login.example.org", "https://"]
)
def test_an_address_that_is_no_provider_is_refused(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="expected the issuer's address"):
        sign_on(monkeypatch, HILUM_OIDC_URL=address)


@pytest.mark.parametrize("name", ["HILUM_OIDC_CLIENT_ID", "HILUM_OIDC_CLIENT_SECRET"])
def test_a_provider_needs_a_client(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=f"{name} is not set"):
        sign_on(monkeypatch, **{name: ""})


def test_passwords_of_administrators_alone_need_a_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    assert environment.passwords(single_sign_on=False) == "everybody"
    monkeypatch.setenv("HILUM_PASSWORDS", "administrators")
    assert environment.passwords(single_sign_on=True) == "administrators"
    with pytest.raises(ImproperlyConfigured, match="lets nobody else in without HILUM_OIDC_URL"):
        environment.passwords(single_sign_on=False)


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("", None),
        ("tcp://clamd", ("clamd", 3310)),
        ("tcp://127.0.0.1:33100", ("127.0.0.1", 33100)),
        ("unix:///run/clamav/clamd.ctl", "/run/clamav/clamd.ctl"),
    ],
)
def test_a_scanner_is_reached_by_tcp_or_by_a_socket(monkeypatch: pytest.MonkeyPatch, value: str, address: Any) -> None:
    monkeypatch.setenv("HILUM_CLAMD", value)
    assert environment.scanner("HILUM_CLAMD") == address


@pytest.mark.parametrize("value", ["clamd:3310", "tcp://clamd:many", "http://clamd", "unix://run/clamd.ctl", "tcp://"])
def test_an_address_that_is_no_scanner_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("HILUM_CLAMD", value)
    with pytest.raises(ImproperlyConfigured, match="expected the address of clamd"):
        environment.scanner("HILUM_CLAMD")


@pytest.mark.parametrize(
    ("name", "address", "options"),
    [
        ("", "", {}),
        ("hilum-films", "", {"bucket_name": "hilum-films", "location": "", "endpoint_url": None}),
        (
            "films/ward/7/",
            "https://minio.example.org:9000",
            {"bucket_name": "films", "location": "ward/7", "endpoint_url": "https://minio.example.org:9000"},
        ),
    ],
)
def test_a_bucket_of_films(monkeypatch: pytest.MonkeyPatch, name: str, address: str, options: dict[str, Any]) -> None:
    monkeypatch.setenv("HILUM_FILM_BUCKET", name)
    monkeypatch.setenv("HILUM_FILM_BUCKET_URL", address)
    assert environment.bucket("HILUM_FILM_BUCKET", "HILUM_FILM_BUCKET_URL") == options


@pytest.mark.parametrize(
    ("name", "address", "words"),
    [
        ("My Films", "", "HILUM_FILM_BUCKET is 'My Films'; expected the name of a bucket"),
        (
            "films",
            "minio:9000",
            "HILUM_FILM_BUCKET_URL is not the address of an S3 service; expected https://host:9000",
        ),
        ("films", "https://hilum:secret@minio:9000", "with the credentials in AWS_ACCESS_KEY_ID"),
        ("", "https://minio:9000", "HILUM_FILM_BUCKET_URL is set and HILUM_FILM_BUCKET is not"),
    ],
)
def test_what_is_no_bucket_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, address: str, words: str) -> None:
    monkeypatch.setenv("HILUM_FILM_BUCKET", name)
    monkeypatch.setenv("HILUM_FILM_BUCKET_URL", address)
    with pytest.raises(ImproperlyConfigured) as refused:
        environment.bucket("HILUM_FILM_BUCKET", "HILUM_FILM_BUCKET_URL")
    assert words in str(refused.value)
    assert "secret@" not in str(refused.value)


def test_a_bucket_without_its_packages_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HILUM_FILM_BUCKET", "films")
    monkeypatch.setattr(environment, "find_spec", lambda name: None)
    with pytest.raises(ImproperlyConfigured, match="HILUM_FILM_BUCKET needs two packages more: pip install"):
        environment.bucket("HILUM_FILM_BUCKET", "HILUM_FILM_BUCKET_URL")


FILMS = {"bucket_name": "films", "location": "", "endpoint_url": "https://minio.example.org:9000"}


def test_backups_go_to_the_service_of_films_unless_another_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert environment.backup_bucket(films={}) == {"endpoint_url": None, "account": {}}
    assert environment.backup_bucket(films=FILMS) == {"endpoint_url": FILMS["endpoint_url"], "account": {}}
    monkeypatch.setenv("HILUM_BACKUP_BUCKET_URL", "https://elsewhere.example.org")
    monkeypatch.setenv("HILUM_BACKUP_ACCESS_KEY_ID", "keeper")
    monkeypatch.setenv("HILUM_BACKUP_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("HILUM_BACKUP_REGION", "eu-central-1")
    assert environment.backup_bucket(films=FILMS) == {
        "endpoint_url": "https://elsewhere.example.org",
        "account": {
            "access_key": "keeper",
            "secret_key": "secret",
            "security_token": None,
            "region_name": "eu-central-1",
        },
    }


def test_half_an_account_and_no_address_for_backups_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HILUM_BACKUP_ACCESS_KEY_ID", "keeper")
    with pytest.raises(ImproperlyConfigured, match="one is set and the other is not; set both, or neither"):
        environment.backup_bucket(films=FILMS)
    monkeypatch.setenv("HILUM_BACKUP_BUCKET_URL", "https://keeper:secret@minio:9000")
    with pytest.raises(ImproperlyConfigured, match="credentials in HILUM_BACKUP_ACCESS_KEY_ID") as refused:
        environment.backup_bucket(films=FILMS)
    assert "secret@" not in str(refused.value)


def test_runs_are_in_the_bucket_of_films_or_in_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not environment.runs_in_bucket("HILUM_RUNS_IN_BUCKET", bucket={})
    monkeypatch.setenv("HILUM_RUNS_IN_BUCKET", "1")
    assert environment.runs_in_bucket("HILUM_RUNS_IN_BUCKET", bucket={"bucket_name": "films"})
    with pytest.raises(ImproperlyConfigured, match="HILUM_RUNS_IN_BUCKET is 1 and HILUM_FILM_BUCKET is not set"):
        environment.runs_in_bucket("HILUM_RUNS_IN_BUCKET", bucket={})


def test_a_prefix_is_a_path(monkeypatch: pytest.MonkeyPatch) -> None:
    prefixes = []
    for value in ("", "/", "/hilum/", "/ward/hilum-2"):
        monkeypatch.setenv("HILUM_URL_PREFIX", value)
        prefixes.append(environment.url_prefix("HILUM_URL_PREFIX"))
    assert prefixes == ["", "", "/hilum", "/ward/hilum-2"]


@pytest.mark.parametrize("value", ["hilum", "https://host/hilum", "/../hilum", "/hi lum", "//hilum"])
def test_what_is_no_path_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("HILUM_URL_PREFIX", value)
    with pytest.raises(ImproperlyConfigured, match="expected a path"):
        environment.url_prefix("HILUM_URL_PREFIX")


@pytest.mark.parametrize(
    "value", ["hilum.example.org", ".example.org", "*", "localhost", "10.0.0.7", "[::1]", "[2001:db8::7]", "web_1"]
)
def test_a_host_that_a_request_can_have(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("HILUM_ALLOWED_HOSTS", f"one.example.org, {value}")
    assert environment.hosts("HILUM_ALLOWED_HOSTS", "") == ["one.example.org", value]


@pytest.mark.parametrize(
    "value", ["hilum.example.org:8443", "hilum.example.org/hilum", "*.example.org", "a host", "::1", "http://x", "-x"]
)
def test_a_host_that_no_request_has_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("HILUM_ALLOWED_HOSTS", f"one.example.org, {value}")
    with pytest.raises(ImproperlyConfigured, match="which matches no request; expected names of hosts without scheme"):
        environment.hosts("HILUM_ALLOWED_HOSTS", "")


@pytest.mark.parametrize(
    "value", ["https://hilum.example.org", "http://localhost:8000", "https://*.example.org", "https://[::1]:8443"]
)
def test_an_origin_that_a_browser_can_send(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("HILUM_TRUSTED_ORIGINS", value)
    assert environment.origins("HILUM_TRUSTED_ORIGINS") == [value]


@pytest.mark.parametrize(
    "value",
    [
        "hilum.example.org",
        "https://hilum.example.org/",
        "https://hilum.example.org/hilum",
        "https://",
        "https://Hilum.example.org",
        "https://.example.org",
        "ftp://hilum.example.org",
        "https://hilum.example.org:port",
    ],
)
def test_an_origin_that_no_browser_sends_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("HILUM_TRUSTED_ORIGINS", value)
    with pytest.raises(ImproperlyConfigured, match="which matches no request; expected scheme and host"):
        environment.origins("HILUM_TRUSTED_ORIGINS")

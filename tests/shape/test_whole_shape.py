"""All services of docker-compose.yml together, through the whole task of a person over https, and a restart."""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable, Generator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from portal.imaging.film import pixel_sha256
from tests.browser.test_whole_path import film_zip
from tests.ml_engine.made import SMALL
from tests.paths import ROOT
from tests.shape.composed import Composed, free_port, read_env
from tools.nginx import NO_NGINX, find_nginx, may_install

PASSWORD = "a long enough one"
FIRST_PERSON = ("--site", "Seoul", "--user", "maria", "--password-from-stdin")
MINUTES = 5
WORKERS = ("worker", "worker-runs", "beat")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def write_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate of localhost that signs itself, and its key."""
    folder.mkdir()
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "certificate.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder / "certificate.pem", folder / "key.pem"


@pytest.fixture
def composed(tmp_path: Path) -> Generator[Composed]:
    """The services, started with .env.example and what it says to fill in."""
    if find_nginx() is None:
        if may_install():  # `make test` installs it: without it something is wrong
            pytest.fail(NO_NGINX)
        pytest.skip(NO_NGINX)
    certificate, key = write_certificate(tmp_path / "tls")
    https = free_port()
    env = read_env((ROOT / ".env.example").read_text(encoding="utf-8")) | {
        "HILUM_SECRET_KEY": "of-this-test-only-" + "kZ3vQ9xTq1mWc7Yb5Hd8RfJs2LgNp4Ua6EoXiVyD",
        "HILUM_PSEUDONYM_SECRET": "of-this-test-too-" + "Xw2bT8nPzQ5kR1vMf7Jc3Gd9HsLa4Ye6UoNiBqKt",
        "POSTGRES_PASSWORD": "TheOwner",
        "POSTGRES_APPLICATION_PASSWORD": "TheApplication",
        "HILUM_ALLOWED_HOSTS": "localhost",
        "HILUM_TRUSTED_ORIGINS": f"https://localhost:{https}",
        "TLS_CERTIFICATE": str(certificate),
        "TLS_KEY": str(key),
        "HTTPS_PORT": str(https),
        "HTTP_PORT": str(free_port()),
        "WEB_PORT": str(free_port()),
        "HILUM_ENGINE_THREADS": "1",
    }
    services = Composed(tmp_path, env)
    try:
        services.start()
        yield services
    finally:
        services.remove()


class Person:
    """Somebody who works with the portal through its pages and its API, by https."""

    def __init__(self, port: int, certificate: Path) -> None:
        self.address = f"https://localhost:{port}"
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.verify = str(certificate)
        self.session.headers["Referer"] = self.address + "/"

    def log_in(self) -> None:
        page = self.get("/accounts/login/")
        assert page.status_code == 200
        form = {"login": "maria", "password": PASSWORD, "csrfmiddlewaretoken": self.session.cookies["csrftoken"]}
        answer = self.session.post(page.url, form, allow_redirects=False)
        assert (answer.status_code, answer.headers["Location"]) == (302, "/"), answer.text

    def get(self, path: str, **headers: str) -> requests.Response:
        return self.session.get(self.address + path, headers=headers, allow_redirects=False, timeout=120)

    def read(self, path: str) -> Any:
        answer = self.get("/api/v1/" + path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def send(self, method: str, path: str, **content: Any) -> requests.Response:
        headers = {"X-CSRFToken": self.session.cookies["csrftoken"]} | content.pop("headers", {})
        answer = self.session.request(method, self.address + "/api/v1/" + path, headers=headers, timeout=120, **content)
        assert answer.status_code < 300, f"{path}: {answer.text}"
        return answer

    def make(self, path: str, **values: Any) -> Any:
        return self.send("POST", path, json=values).json()


def eventually(ask: Callable[[], Any]) -> Any:
    """The first answer that is true."""
    give_up_at = time.monotonic() + MINUTES * 60
    while not (answer := ask()):
        assert time.monotonic() < give_up_at
        time.sleep(0.1)
    return answer


def ended_run(maria: Person, uuid: str) -> Any:
    def ask() -> Any:
        run = maria.read(f"runs/{uuid}/")
        assert run["state"] not in ("failed", "cancelled"), run["message"]
        return run if run["state"] == "done" else None

    return eventually(ask)


def test_the_whole_task_and_a_restart(composed: Composed, tmp_path: Path) -> None:
    composed.wait_until_healthy(*WORKERS, "proxy")
    composed.run("web", "python", "manage.py", "setup", *FIRST_PERSON, text=PASSWORD + "\n")
    maria = Person(composed.ports["proxy", 8443], tmp_path / "tls" / "certificate.pem")
    assert redirects_to_https(composed)
    maria.log_in()
    assert eventually(lambda: set(maria.get("/readyz").json().values()) == {"ok"})
    dataset = maria.make("datasets/", name="Phantoms")["uuid"]
    upload(maria, dataset, film_zip(tmp_path / "films.zip").read_bytes())
    films = maria.read(f"datasets/{dataset}/images/")["results"]
    assert len(films) == 20
    look_at_pixels(maria, composed, films[0])
    unlabelled = [film["uuid"] for film in films if film["label"] is None]
    assert maria.make("labels/", images=unlabelled, value="normal")["films"] == 4
    split = maria.make("splits/", name="By patient", datasets=[dataset])["uuid"]
    settings = {name: value for name, value in SMALL.items() if not name.startswith("alignment.")}
    fit = maria.make("runs/fit_detector/", name="Small", split=split, settings=settings)["uuid"]
    detector = ended_run(maria, fit)["detector_made"]
    assert detector
    scores = maria.make("runs/score/", name="Scores", detector=detector, parts=["tune"])["uuid"]

    composed.stop()  # whatever the run is doing
    composed.start()

    assert ended_run(maria, scores)["detector"] == detector  # in the session from before
    again = maria.read(f"datasets/{dataset}/images/")["results"]
    assert [film["label"] for film in again] == [film["label"] or "normal" for film in films]
    assert ended_run(maria, fit)["detector_made"] == detector
    look_at_pixels(maria, composed, films[-1])
    assert eventually(lambda: set(maria.get("/readyz").json().values()) == {"ok"})


def redirects_to_https(composed: Composed) -> bool:
    answer = requests.get(f"http://127.0.0.1:{composed.ports['proxy', 8080]}/runs/", allow_redirects=False, timeout=120)
    return (answer.status_code, answer.headers["Location"]) == (301, "https://127.0.0.1/runs/")


def upload(maria: Person, dataset: str, content: bytes) -> None:
    tus = {"Tus-Resumable": "1.0.0"}
    begun = maria.send("POST", f"datasets/{dataset}/uploads/", headers={**tus, "Upload-Length": str(len(content))})
    place = begun.headers["Location"].partition("/api/v1/")[2]
    assert begun.headers["Location"].startswith(maria.address)  # the proxy passes on by what name it was asked
    kind = {"Content-Type": "application/offset+octet-stream"}
    maria.send("PATCH", place, headers={**tus, **kind, "Upload-Offset": "0"}, data=content)

    def ask() -> bool:
        state = maria.send("GET", place).json()["upload"]
        assert state["state"] not in ("failed", "mapping"), state
        return bool(state["state"] == "done")

    eventually(ask)


def look_at_pixels(maria: Person, composed: Composed, film: Any) -> None:
    """The proxy sends the file, with the portal's headers; the portal, asked directly, names only its place."""
    path = f"/images/{film['uuid']}/pixels"
    with maria.session.get(maria.address + path, stream=True, timeout=120) as answer:
        assert answer.status_code == 200, answer.text
        stored = gzip.decompress(answer.raw.read())
    assert answer.headers["Server"] == "nginx"
    assert "X-Accel-Redirect" not in answer.headers
    rows_of_pixels = np.frombuffer(stored, "<u2").reshape(film["rows"], film["columns"])
    assert pixel_sha256(rows_of_pixels) == film["pixel_sha256"]
    etag = f'"{film["pixel_sha256"]}"'
    assert (answer.headers["ETag"], answer.headers["Cache-Control"]) == (etag, "private, no-cache")
    facts = maria.get(f"/images/{film['uuid']}/facts").headers
    of_security = [name for name in facts if name.startswith(("X-", "Strict", "Cross", "Content-S", "Ref", "Perm"))]
    assert {"Strict-Transport-Security", "Content-Security-Policy"} < set(of_security) <= set(answer.headers)
    of_security.remove("X-Request-ID")  # another one for each request
    assert [answer.headers[name] for name in of_security] == [facts[name] for name in of_security]
    assert maria.get(path, **{"If-None-Match": etag}).status_code == 304
    direct = requests.get(
        f"http://127.0.0.1:{composed.ports['web', 8000]}{path}",
        headers={"Host": "localhost", "X-Forwarded-Proto": "https"},
        cookies=dict(maria.session.cookies),
        timeout=120,
    )
    place = direct.headers["X-Accel-Redirect"]
    assert (direct.status_code, direct.content) == (200, b"")
    assert maria.get(place).status_code == 404  # for nginx alone
    stranger = requests.get(maria.address + path, verify=maria.session.verify, allow_redirects=False, timeout=120)
    assert (stranger.status_code, stranger.content) == (302, b"")

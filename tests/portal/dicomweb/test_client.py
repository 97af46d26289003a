"""The client of DICOMweb against Orthanc, and against servers that answer wrongly, redirect, or never end."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pydicom
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from portal.dicomweb import client
from portal.dicomweb.client import InstanceFound, PacsClient, PacsError, PacsUnreachable, StudyQuery
from portal.dicomweb.targets import PacsTarget
from tests.portal.dicomweb.conftest import STUDY, study_film
from tests.portal.dicomweb.pacs import Pacs

ONE = InstanceFound("1.2", "1.2.3", "1.2.3.4", "CR")


def uids(pacs: Pacs, limit: int = 100, **query: Any) -> list[str]:
    with PacsClient(pacs.target) as asked:
        return [study.uid.rpartition(".")[2] for study in asked.studies(StudyQuery(**query), limit=limit)]


def test_studies_are_searched_by_day_modality_and_patient(pacs: Pacs, tmp_path: Path) -> None:
    films = [study_film(tmp_path, number) for number in (1, 2, 3)]
    pacs.store(*films, study_film(tmp_path, 4, Modality="DX"))
    assert uids(pacs) == ["4", "3", "2", "1"]
    assert uids(pacs, first_day=date(2026, 11, 12)) == ["4", "3", "2"]
    assert uids(pacs, last_day=date(2026, 11, 12)) == ["2", "1"]
    assert uids(pacs, first_day=date(2026, 11, 12), last_day=date(2026, 11, 12)) == ["2"]
    assert uids(pacs, modality="DX") == ["4"]
    assert uids(pacs, patient_id="Quagga-3") == ["3"]
    assert uids(pacs, patient_id="Dodo") == []
    assert len(uids(pacs, limit=2)) == 2
    with PacsClient(pacs.target) as asked:
        (study,) = asked.studies(StudyQuery(patient_id="Quagga-3"), limit=9)
    assert (study.uid, study.day, study.patient_id, study.sex, study.modalities, study.instances) == (
        STUDY.format(3), "2026-11-13", "Quagga-3", "F", ("CR",), 1
    )  # fmt: skip


def test_an_instance_arrives_as_it_was_stored(pacs: Pacs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = study_film(tmp_path, 1)
    pacs.store(stored)
    with PacsClient(pacs.target) as asked:
        (one,) = asked.instances(STUDY.format(1))
        assert one.modality == "CR"
        for block in (client._BLOCK, 70):  # the delimiter is cut by a block
            monkeypatch.setattr(client, "_BLOCK", block)
            target = tmp_path / f"{block}.dcm"
            assert asked.fetch(one, target) == target.stat().st_size
            assert pydicom.dcmread(target).PixelData == pydicom.dcmread(stored).PixelData
    assert not list(tmp_path.glob("*.part"))


def test_instances_come_page_by_page(pacs: Pacs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    films = [study_film(tmp_path, 1, SOPInstanceUID=f"1.2.3.{number}") for number in range(5)]
    pacs.store(*films)
    monkeypatch.setattr(client, "INSTANCES_A_PAGE", 2)
    with PacsClient(pacs.target) as asked:
        assert [one.uid for one in asked.instances(STUDY.format(1))] == [f"1.2.3.{number}" for number in range(5)]


def test_a_wrong_password_is_a_sentence(pacs: Pacs) -> None:
    with (
        PacsClient(replace(pacs.target, password="wrong")) as asked,
        pytest.raises(PacsError, match=r"The PACS ward refused user, password or token \(401\)"),
    ):
        asked.studies(StudyQuery(), limit=1)


def test_what_is_not_there_is_a_sentence(pacs: Pacs, tmp_path: Path) -> None:
    with (
        PacsClient(pacs.target) as asked,
        pytest.raises(PacsError, match=r"The PACS ward answered with the status 404"),
    ):
        asked.fetch(ONE, tmp_path / "a.dcm")
    assert list(tmp_path.iterdir()) == []


# without Orthanc ----------------------------------------------------------------------------------------------


@contextmanager
def answering(answer: Callable[[BaseHTTPRequestHandler], None]) -> Generator[PacsTarget]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield PacsTarget("ward", f"http://127.0.0.1:{server.server_port}/root", token="a token")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def sends(body: bytes, kind: str, status: int = 200, **headers: str) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **more}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


MULTIPART = 'multipart/related; type="application/dicom"; boundary="b 1"'


@pytest.mark.parametrize(("body", "kind"), [
    (b"--b 1\r\nContent-Type: application/dicom\r\n\r\nfile\r\n--b 1--\r\n", MULTIPART),
    (b"before\r\n--b 1\r\nA: b\r\nC: d\r\n\r\nfile\r\n--b 1\r\n\r\nother\r\n--b 1--", MULTIPART),
    (b"file", "application/dicom"),
])  # fmt: skip
def test_the_file_of_an_answer_is_written(tmp_path: Path, body: bytes, kind: str) -> None:
    with answering(sends(body, kind)) as target, PacsClient(target) as asked:
        assert asked.fetch(ONE, tmp_path / "a.dcm") == 4
    assert (tmp_path / "a.dcm").read_bytes() == b"file"


@pytest.mark.parametrize(("body", "kind", "words"), [
    (b"--b 1\r\n\r\nfile", MULTIPART, "was cut off"),
    (b"nothing", MULTIPART, "without a file in it"),
    (b"--b 1\r\nno end of the head", MULTIPART, "without a file in it"),
    (b"<html>", "text/html", "answered with text/html, not with a DICOM file"),
    (b"file", "multipart/related", "not with a DICOM file"),
])  # fmt: skip
def test_a_wrong_answer_leaves_no_file(tmp_path: Path, body: bytes, kind: str, words: str) -> None:
    with answering(sends(body, kind)) as target, PacsClient(target) as asked, pytest.raises(PacsError, match=words):
        asked.fetch(ONE, tmp_path / "a.dcm")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_shorter_than_announced_is_not_kept(tmp_path: Path) -> None:
    answer = sends(b"fil", "application/dicom", Content_Length="4")
    with answering(answer) as target, PacsClient(target) as asked, pytest.raises(PacsError, match="was cut off"):
        asked.fetch(ONE, tmp_path / "a.dcm")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_file_beyond_the_limit_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "MAX_FILE_BYTES", 100)
    monkeypatch.setattr(client, "_BLOCK", 64)
    multipart = b"--b 1\r\n\r\n" + bytes(500) + b"\r\n--b 1--"
    for body, kind in ((bytes(500), "application/dicom"), (multipart, MULTIPART)):
        with (
            answering(sends(body, kind)) as target,
            PacsClient(target) as asked,
            pytest.raises(PacsError, match="was left out"),
        ):
            asked.fetch(ONE, tmp_path / "a.dcm")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "body", [b"{}", b"[1]", b"no json", b'[{"0020000D": 5}]', b'[{"0020000D": {"Value": ["../x"]}}]']
)
def test_an_answer_that_is_no_list_of_studies(body: bytes) -> None:
    with answering(sends(body, "application/dicom+json")) as target, PacsClient(target) as asked:
        if body.startswith(b"[{"):
            assert asked.studies(StudyQuery(), limit=9) == []
        else:
            with pytest.raises(PacsError, match="is not the JSON of DICOMweb"):
                asked.studies(StudyQuery(), limit=9)


def test_no_studies_may_be_said_without_a_body() -> None:
    with answering(sends(b"", "application/dicom+json", 204)) as target, PacsClient(target) as asked:
        assert asked.studies(StudyQuery(), limit=9) == []


def test_the_token_goes_to_the_target_and_a_redirect_nowhere() -> None:
    asked_for: list[tuple[str, str]] = []

    def redirect(handler: BaseHTTPRequestHandler) -> None:
        asked_for.append((handler.path.partition("?")[0], handler.headers["Authorization"]))
        sends(b"", "text/plain", 302, Location=f"http://127.0.0.1:{other.server_port}/secret")(handler)

    class Other(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked_for.append(("other", ""))

    other = HTTPServer(("127.0.0.1", 0), Other)
    with (
        answering(redirect) as target,
        PacsClient(target) as asked,
        pytest.raises(PacsError, match="answered with the status 302"),
    ):
        asked.studies(StudyQuery(), limit=9)
    other.server_close()
    assert asked_for == [("/root/studies", "Bearer a token")]


@pytest.mark.parametrize("uid", ["../../admin", "1.2/3", "", "1.2?x", "a", "1" * 65, "1.2\r\nX: y"])
def test_what_is_no_uid_is_never_asked_for(uid: str, tmp_path: Path) -> None:
    target = PacsTarget("ward", "http://127.0.0.1:9/root")
    with PacsClient(target) as asked:
        for ask in (lambda: asked.instances(uid), lambda: asked.fetch(replace(ONE, uid=uid), tmp_path / "a")):
            with pytest.raises(PacsError, match="is no UID"):
                ask()


def test_a_pacs_that_does_not_answer_is_a_sentence() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (
        PacsClient(PacsTarget("ward", f"http://127.0.0.1:{port}")) as asked,
        pytest.raises(PacsUnreachable, match=r"The PACS ward did not answer \(ConnectionRefusedError\)"),
    ):
        asked.studies(StudyQuery(), limit=1)


@contextmanager
def tls_server(folder: Path) -> Generator[tuple[int, Path]]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path, key_path = folder / "certificate.pem", folder / "key.pem"
    path.write_bytes(certificate.public_bytes(Encoding.PEM))
    key_path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, key_path)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            sends(b"[]", "application/dicom+json")(self)

        def log_message(self, *_: Any) -> None:
            pass

    class Server(HTTPServer):
        def get_request(self) -> tuple[Any, Any]:
            connection, address = super().get_request()
            return context.wrap_socket(connection, server_side=True), address  # an OSError ends the request only

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port, path
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_certificate_of_nobody_is_refused(tmp_path: Path) -> None:
    """A server with a certificate that it signed itself; the same is accepted where it is the ca_file."""
    with tls_server(tmp_path) as (port, certificate):
        target = PacsTarget("ward", f"https://localhost:{port}")
        with (
            PacsClient(target) as asked,
            pytest.raises(PacsUnreachable, match=r"The certificate of the PACS ward is not"),
        ):
            asked.studies(StudyQuery(), limit=1)
        with PacsClient(replace(target, ca_file=str(certificate))) as asked:
            assert asked.studies(StudyQuery(), limit=1) == []

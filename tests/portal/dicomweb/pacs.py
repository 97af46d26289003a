"""A real PACS for the tests: Orthanc with its DICOMweb plug-in on a free port of this machine, with a password."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from portal.dicomweb.targets import PacsTarget
from tests.servers import short_folder, start
from tools.orthanc import NO_ORTHANC, find_orthanc, may_install

USER, PASSWORD = "hilum", "a password of the tests"


@dataclass(frozen=True)
class Pacs:
    port: int
    plugin: Path

    @property
    def target(self) -> PacsTarget:
        return PacsTarget("ward", f"http://127.0.0.1:{self.port}/dicom-web", user=USER, password=PASSWORD)

    def request(self, method: str, path: str, body: bytes = b"") -> bytes:
        """Ask Orthanc's own interface."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        both = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        connection.request(method, path, body, {"Authorization": f"Basic {both}"})
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        assert answer.status < 300, text
        return text

    def store(self, *paths: Path) -> None:
        for path in paths:
            self.request("POST", "/instances", path.read_bytes())

    def empty(self) -> None:
        for patient in json.loads(self.request("GET", "/patients")):
            self.request("DELETE", f"/patients/{patient}")


@contextmanager
def running_pacs() -> Generator[Pacs]:
    programs = find_orthanc()
    if programs is None:
        if may_install():  # `make test` installs it: without it something is wrong
            pytest.fail(NO_ORTHANC)
        pytest.skip(NO_ORTHANC)
    program, plugin = programs
    folder = short_folder("hilum-pacs-")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {
        "Name": "tests",
        "StorageDirectory": str(folder / "stored"),
        "IndexDirectory": str(folder / "stored"),
        "HttpPort": port,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": True,
        "RegisteredUsers": {USER: PASSWORD},
        "DicomServerEnabled": False,
        "Plugins": [str(plugin)],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "EnableWado": False},
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    server = start(
        [program, str(folder / "orthanc.json")],
        folder=folder,
        end_signal="TERM",
        account={},
        ready=b"Orthanc has started",
    )
    pacs = Pacs(port, plugin)
    try:
        give_up_at = time.monotonic() + 30
        while True:
            try:
                pacs.request("GET", "/system")
                break
            except ConnectionError:
                assert time.monotonic() < give_up_at
        yield pacs
    finally:
        server.stop()

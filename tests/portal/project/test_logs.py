"""Logs in two forms, in a file that several processes rotate, over syslog, and without what could name a person."""

from __future__ import annotations

import io
import json
import logging
import logging.config
import os
import socket
import struct
import subprocess
import sys
import warnings
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import IntegrityError, transaction
from django.test import Client

from portal.models import Patient
from portal.project import logs
from tests.paths import ROOT
from tests.portal import factories
from tests.portal.traces import occurs

NAME, NUMBER = "Kim^Min-jun", "KR-1234567"


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """Everything that the root logger gets, as JSON lines."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs.JsonLine())
    handler.addFilter(logs.Discreet())
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    logs.requests.setLevel(logging.INFO)
    yield stream
    root.removeHandler(handler)
    root.setLevel(level)
    logs.requests.setLevel(logging.WARNING)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.mark.django_db
def test_a_request_is_one_line_with_the_identifier_of_its_answer(written: io.StringIO) -> None:
    client = Client()
    client.force_login(factories.curator("kim"))
    factories.dataset()
    answer = client.get("/datasets/?q=secret")
    (line,) = [line for line in lines(written) if line["logger"] == "hilum.requests"]
    assert line["request"] == answer.headers["X-Request-ID"]
    assert (line["view"], line["method"], line["status"]) == ("portal:datasets", "GET", 200)
    assert line["milliseconds"] > 0
    assert "secret" not in written.getvalue()


@pytest.mark.django_db
def test_nothing_that_names_a_person_is_logged(
    written: io.StringIO, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Films and tables with a name and a number are imported, typed and searched for, and things go wrong over them."""
    of = factories.dataset()
    folder = tmp_path / "films"
    folder.mkdir()
    factories.dicom(folder / "a.dcm", PatientID=NUMBER, PatientName=NAME)
    (folder / f"{NUMBER}.dcm").write_bytes(b"no film")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a value that pydicom warns of, and quotes, as it writes and reads it
        logging.disable()
        factories.dicom(folder / "b.dcm", PatientID=NUMBER, PatientName=NAME, seed=2, BodyPartExamined=f"{NUMBER}#?")
        logging.disable(logging.NOTSET)
    call_command("import_images", folder, dataset=of.name, site=of.site.name, stdout=StringIO())
    client = Client(raise_request_exception=False)
    client.force_login(factories.curator("lee"))
    client.get(f"/datasets/?q={NUMBER}")
    client.get(f"/{NUMBER}/{NAME}/")
    client.get(f"/api/v1/{NUMBER}/")
    Client().post("/accounts/login/", {"login": NUMBER, "password": NAME})

    pseudonym = Patient.objects.values_list("pseudonym", flat=True)[0]

    def quote(*_: Any) -> None:
        with transaction.atomic():
            Patient.objects.create(site=of.site, pseudonym=pseudonym)

    monkeypatch.setattr("portal.views.datasets._list", quote)
    assert client.get("/datasets/").status_code == 500
    assert len(lines(written)) > 5
    for word in (NAME, "min-jun", NUMBER, pseudonym):
        assert not occurs(word, written.getvalue().encode()), word
    (failure,) = [line for line in lines(written) if line["logger"] == "django.request" and "exception" in line]
    assert failure["message"] == "500: view portal:datasets"
    assert "django.db.utils.IntegrityError" in failure["exception"]
    assert any("test_logs.py" in place and "in quote" in place for place in failure["exception"])


def raised(error: Exception) -> Exception:
    try:
        raise error
    except Exception as caught:
        return caught


def test_an_exception_is_its_kind_and_place_in_both_forms() -> None:
    error = raised(IntegrityError(f"Key (pseudonym)=({NUMBER}) already exists."))
    error.__cause__ = raised(ValueError(NAME))
    record = logging.LogRecord("x", logging.ERROR, "", 0, "it failed", (), (type(error), error, error.__traceback__))
    for form in (logs.LogLine(), logs.JsonLine()):
        record.exc_text = None
        text = form.format(record)
        assert NAME not in text and NUMBER not in text
        assert "ValueError" in text and "IntegrityError" in text and "in raised" in text


def test_a_task_that_fails_is_logged_without_the_text_of_the_exception(written: io.StringIO) -> None:
    app = Celery("tests", set_as_current=False)

    @app.task(name="failing")
    def fail() -> None:
        raise ValueError(NAME)

    assert fail.apply().state == "FAILURE"
    (line,) = [line for line in lines(written) if line["logger"] == "celery.app.trace"]
    assert "failing" in line["message"] and "ValueError" in line["message"]
    assert NAME not in written.getvalue()


def test_a_line_names_its_request() -> None:
    record = logging.LogRecord("portal.tasks", logging.INFO, "", 0, "done", (), None)
    assert logs.LogLine().format(record).endswith("INFO portal.tasks: done")
    with logs.identified("abc"):
        assert logs.LogLine().format(record).endswith("INFO portal.tasks [abc]: done")
        assert json.loads(logs.JsonLine().format(record))["request"] == "abc"


WRITE = """
import logging, sys
from portal.project.logs import SharedRotatingFile
handler = SharedRotatingFile(sys.argv[1], 500)
for number in range(200):
    handler.emit(logging.LogRecord("x", 20, "", 0, f"{sys.argv[2]} {number} end", (), None))
"""


def test_several_processes_rotate_one_file_and_lose_no_line(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "hilum.log"
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITE, str(path), name], cwd=ROOT, env=os.environ) for name in "ab"
    ]
    assert [writer.wait() for writer in writers] == [0, 0]
    files = sorted(path.parent.glob("hilum.log*"))
    kept = [line for file in files if file.suffix != ".lock" for line in file.read_text().splitlines()]
    assert sorted(kept) == sorted(f"{name} {number} end" for name in "ab" for number in range(200))
    assert len(files) > 5
    assert max(file.stat().st_size for file in files) < 600


def test_old_files_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "FILES_KEPT", 3)
    handler = logs.SharedRotatingFile(str(tmp_path / "hilum.log"), 10)
    for number in range(9):
        handler.emit(logging.LogRecord("x", 20, "", 0, f"line number {number}", (), None))
    handler.close()
    assert (tmp_path / "hilum.log").read_text() == "line number 8\n"
    assert sorted(path.name for path in tmp_path.glob("hilum.log.[0-9]")) == [f"hilum.log.{n}" for n in (1, 2, 3)]


def test_a_syslog_server_gets_the_lines(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(20)
        address = f"udp://127.0.0.1:{server.getsockname()[1]}"
        given = logs.configuration(form="json", folder=tmp_path, file_mib=1, syslog=address, log_requests=True)
        assert list(given["handlers"]) == ["console", "file", "syslog"]
        configurator = logging.config.DictConfigurator(given)
        for kind in ("formatters", "filters"):
            for name, of in given[kind].items():
                configurator.config[kind][name] = getattr(configurator, f"configure_{kind[:-1]}")(of)
        handler = configurator.configure_handler(dict(given["handlers"]["syslog"]))
        handler.emit(logging.LogRecord("x", logging.INFO, "", 0, "hello", (), None))
        handler.close()
        received = server.recv(10_000).decode()
    assert json.loads(received[received.index("{") :].rstrip("\0"))["message"] == "hello"


def syslog_handler(port: int) -> logs.RetryingSyslogHandler:
    handler = logs.RetryingSyslogHandler(address=("127.0.0.1", port), socktype=socket.SOCK_STREAM)
    handler.setFormatter(logs.LogLine())
    return handler


def record(words: str, *arguments: object) -> logging.LogRecord:
    return logging.LogRecord("x", logging.INFO, "", 0, words, arguments, None)


def test_a_syslog_server_that_cannot_be_reached_stops_nothing_and_gets_the_number_of_lost_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:  # bound and not listening: refused at once
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        handler = syslog_handler(port)
        handler.emit(record("the film of %s", NAME))
        handler.emit(record("second"))
        monkeypatch.setattr(logs, "SYSLOG_RETRY", 0.0)
        handler._pause_ends = 0.0
        handler.emit(record("third"))  # tried again, and away still
        said = capsys.readouterr().err
        taken.listen()
        taken.settimeout(20)
        handler.emit(record("fourth"))
        server, _ = taken.accept()
        with server:
            handler.emit(record("fifth"))
            handler.close()
            received = b"".join(iter(lambda: server.recv(1000), b"")).decode().split("\0")
    assert said == (
        f"HILUM_SYSLOG: 127.0.0.1:{port} cannot be reached (ConnectionRefusedError). Lines go to the console and the "
        "log file; the server is tried again every 30 seconds.\n"
    )
    assert [line.rpartition(": ")[2] for line in received] == ["3", "fourth", "fifth", ""]
    assert "syslog server could not be reached: 3" in received[0]


def test_a_server_that_goes_away_is_connected_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "SYSLOG_RETRY", 0.0)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        listening.settimeout(20)
        handler = syslog_handler(listening.getsockname()[1])
        first, _ = listening.accept()
        first.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset, not an end
        first.close()
        handler.emit(record("to nobody"))
        handler.emit(record("again"))
        second, _ = listening.accept()
        handler.close()
        with second:
            received = b"".join(iter(lambda: second.recv(1000), b"")).decode()
    assert "again" in received and "syslog server could not be reached: 1" in received


def test_a_socket_that_is_not_there_stops_no_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    handler = logs.RetryingSyslogHandler(address=str(tmp_path / "log"))
    handler.setFormatter(logs.LogLine())
    handler.emit(record("hello"))
    assert f"HILUM_SYSLOG: {tmp_path / 'log'} cannot be reached (FileNotFoundError)" in capsys.readouterr().err
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "log"))
        server.settimeout(20)
        handler._pause_ends = 0.0
        handler.emit(record("there"))
        assert b"syslog server could not be reached: 1" in server.recv(1000) and b"there" in server.recv(1000)
        handler.close()


@pytest.mark.parametrize(
    "address", ["syslog.example.org", "udp://", "http://host:514", "udp://host:many", "udp://host"]
)
def test_an_address_that_is_none_is_refused(address: str, tmp_path: Path) -> None:
    with pytest.raises(ImproperlyConfigured, match="expected udp://host:514, tcp://host:601 or /dev/log"):
        logs.configuration(form="line", folder=tmp_path, file_mib=0, syslog=address, log_requests=False)

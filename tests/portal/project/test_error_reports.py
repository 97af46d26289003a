"""Nothing is sent without the setting, and with it nothing that could name a person."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.util import find_spec
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from portal.project import error_reports
from portal.project.error_reports import scrub
from tests.paths import ROOT

NAME = "Kim^Min-jun"
EVENT = {
    "event_id": "1",
    "level": "error",
    "release": "hilum@1",
    "server_name": NAME,
    "user": {"id": NAME},
    "request": {"url": f"https://hilum/?q={NAME}", "headers": {"Cookie": NAME}, "data": NAME},
    "breadcrumbs": {"values": [{"message": NAME}]},
    "extra": {"sys.argv": [NAME]},
    "contexts": {"trace": {"description": NAME}},
    "transaction": f"/patients/{NAME}/",
    "logentry": {"message": NAME, "params": [NAME]},
    "tags": {"patient": NAME},
    "modules": {NAME: "1"},
    "something new": NAME,
    "exception": {
        "values": [
            {
                "type": "ValueError",
                "module": "portal.x",
                "value": NAME,
                "mechanism": {"data": NAME},
                "stacktrace": {
                    "frames": [
                        {"filename": "x.py", "function": "f", "lineno": 1, "vars": {"name": NAME}, "context_line": NAME}
                    ]
                },
            }
        ]
    },
}


def test_only_kind_and_places_of_an_error_leave() -> None:
    left = scrub(EVENT)
    assert NAME not in json.dumps(left)
    assert left["exception"]["values"] == [
        {
            "type": "ValueError",
            "module": "portal.x",
            "stacktrace": {"frames": [{"filename": "x.py", "function": "f", "lineno": 1}]},
        }
    ]
    assert (left["level"], left["release"]) == ("error", "hilum@1")
    logged = scrub({"logger": "portal.tasks", "logentry": {"message": NAME}})
    assert logged["message"] == "An error was logged by portal.tasks."


@pytest.mark.skipif(find_spec("sentry_sdk") is not None, reason="sentry-sdk is installed")
def test_without_the_package_the_setting_is_refused() -> None:
    with pytest.raises(ImproperlyConfigured, match="HILUM_SENTRY_DSN is set, and sentry-sdk is not installed"):
        error_reports.start("http://key@localhost/1", environment="local")


FAIL = """
import logging, sys, django
django.setup()
import sentry_sdk
from portal.project.logs import identified
name = sys.argv[1]
with identified("abc"):
    try:
        raise ValueError(name)
    except ValueError:
        logging.getLogger("portal").exception("failed for %s", name)
sentry_sdk.flush(10)
"""


@pytest.mark.skipif(find_spec("sentry_sdk") is None, reason="sentry-sdk, an optional package, is not installed")
def test_what_a_server_really_gets(tmp_path: Path) -> None:
    received: list[bytes] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        environment = {
            **os.environ,
            "HILUM_SENTRY_DSN": f"http://key@127.0.0.1:{server.server_port}/1",
            "HILUM_DATA_DIR": str(tmp_path),
            "DJANGO_SETTINGS_MODULE": "portal.settings",
        }
        done = subprocess.run([sys.executable, "-c", FAIL, NAME], cwd=ROOT, env=environment, capture_output=True)
        server.shutdown()
        thread.join()
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    sent = b"".join(received)
    assert b"ValueError" in sent
    assert b'"request":"abc"' in sent.replace(b" ", b"")
    assert NAME.encode() not in sent
    assert b"Min-jun" not in sent

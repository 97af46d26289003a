"""The entry for servers that speak ASGI."""

from __future__ import annotations

import pytest
from asgiref.sync import async_to_sync
from asgiref.testing import ApplicationCommunicator

from portal.asgi import application


@pytest.mark.django_db
def test_it_answers() -> None:
    async def status() -> int:
        scope = {
            "type": "http", "method": "GET", "path": "/healthz", "raw_path": b"/healthz", "query_string": b"",
            "headers": [(b"host", b"localhost")],
        }  # fmt: skip
        server = ApplicationCommunicator(application, scope)
        await server.send_input({"type": "http.request", "body": b""})
        start = await server.receive_output(10)
        await server.receive_output(10)
        await server.wait()
        return int(start["status"])

    assert async_to_sync(status)() == 200

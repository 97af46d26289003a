"""A server that speaks as much of clamd's protocol as Hilum does, and finds what clamd finds in its test file."""

from __future__ import annotations

import socket
import socketserver
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
FOUND = "Win.Test.EICAR_HDB-1"


class _Handler(socketserver.StreamRequestHandler):
    server: Any

    def handle(self) -> None:
        command = self._until_zero()
        if command == b"zVERSION":
            self.wfile.write(self.server.version.encode() + b"\0")
            return
        assert command == b"zINSTREAM"
        if self.server.hangs_up:
            return
        content = b""
        while length := struct.unpack(">L", self.rfile.read(4))[0]:
            content += self.rfile.read(length)
            if len(content) > self.server.most_bytes:
                self.wfile.write(b"INSTREAM size limit exceeded. ERROR\0")
                return
        self.server.scanned.append(content)
        verdict = f"{FOUND} FOUND" if EICAR in content or content == self.server.finds else "OK"
        self.wfile.write(f"stream: {verdict}\0".encode())

    def _until_zero(self) -> bytes:
        command = b""
        while not command.endswith(b"\0"):
            command += self.rfile.read(1)
        return command[:-1]


@contextmanager
def running(at: Path | None = None) -> Iterator[Any]:
    """The server, on a Unix socket at the path, otherwise on TCP; `address` is what the settings would hold."""
    kind: Any = socketserver.ThreadingUnixStreamServer if at else socketserver.ThreadingTCPServer
    with kind(str(at) if at else ("127.0.0.1", 0), _Handler) as server:
        server.version = "ClamAV 1.4.6/27450/Sun Nov 29 08:45:11 2026"
        server.most_bytes, server.hangs_up, server.finds, server.scanned = 2**30, False, None, []
        server.address = str(at) if at else server.server_address
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def nowhere() -> tuple[str, int]:
    """An address at which nothing answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return ("127.0.0.1", int(probe.getsockname()[1]))

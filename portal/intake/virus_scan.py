"""Files are sent to a virus scanner, clamd, before anything reads them: those of a zip while they are unpacked.

clamd's protocol is that of its manual page: over TCP or a Unix socket, `zINSTREAM`, then pieces of a file, each with
its length before it, a length of 0, and an answer that ends with a zero byte.
"""

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

Address = tuple[str, int] | str  # host and port, or the path of a Unix socket

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 120.0  # a film takes a second; clamd gives up after its own limit of two minutes
MOST_ANSWER_BYTES = 4096
PIECE_BYTES = 2**20
TOO_LARGE = "size limit exceeded"

AWAY = (
    "The virus scanner does not answer, and nothing is imported unscanned. What was sent is kept; the import begins "
    "within minutes once it does. Your administrator sees the cause by manage.py doctor"
)
AWAY_AT_COMMAND = (
    "The virus scanner does not answer, and nothing is imported unscanned. Start clamd, or correct HILUM_CLAMD; "
    "manage.py doctor says whether it answers."
)


class ScannerAway(Exception):
    """The scanner gave no verdict, so the file may not be read. Its text is for the log."""


class NotScanned(Exception):
    """The scanner takes no file of this size."""


class FileScan:
    """One file on its way to the scanner."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._send(b"zINSTREAM\0")

    def send(self, data: bytes) -> None:
        """Raises ScannerAway and NotScanned."""
        if data:  # a length of 0 would end the file
            self._send(struct.pack(">L", len(data)) + data)

    def signature(self) -> str:
        """What was found in the file, blank if nothing. Raises ScannerAway and NotScanned."""
        self._send(struct.pack(">L", 0))
        answer = _answer(self._connection)
        if answer == "stream: OK":
            return ""
        if answer.startswith("stream: ") and answer.endswith(" FOUND"):
            return answer.removeprefix("stream: ").removesuffix(" FOUND")[:100]
        raise _refused(answer)

    def _send(self, data: bytes) -> None:
        try:
            self._connection.sendall(data)
        except OSError as error:
            try:  # of a file that is too large, clamd answers, and closes
                answer = _answer(self._connection)
            except ScannerAway:
                raise ScannerAway(str(error)) from error
            raise _refused(answer) from error


@contextmanager
def scan(address: Address) -> Iterator[FileScan]:
    """Raises ScannerAway where no connection is made."""
    with _connected(address, ANSWER_SECONDS) as connection:
        yield FileScan(connection)


def signature_in(path: Path, address: Address) -> str:
    """What the scanner finds in the file, blank if nothing. Raises ScannerAway, NotScanned and OSError."""
    with scan(address) as scanned, path.open("rb") as file:
        while data := file.read(PIECE_BYTES):
            scanned.send(data)
        return scanned.signature()


def version(address: Address, *, seconds: float = CONNECT_SECONDS) -> str:
    """What the scanner says of itself, such as `ClamAV 1.4.6/27450/Sun Nov 29 08:45:11 2026`. Raises ScannerAway."""
    with _connected(address, seconds) as connection:
        try:
            connection.sendall(b"zVERSION\0")
        except OSError as error:
            raise ScannerAway(str(error)) from error
        return _answer(connection)


def signatures_from(words: str) -> datetime | None:
    """The day of the signatures in `version`; None if there are none, or it cannot be read."""
    try:
        return datetime.strptime(words.split("/")[2], "%a %b %d %H:%M:%S %Y").replace(tzinfo=UTC)
    except (IndexError, ValueError):
        return None


@contextmanager
def _connected(address: Address, seconds: float) -> Iterator[socket.socket]:
    try:
        connection = (
            _to_socket(address) if isinstance(address, str) else socket.create_connection(address, CONNECT_SECONDS)
        )
    except OSError as error:
        raise ScannerAway(str(error)) from error
    with connection:
        connection.settimeout(seconds)
        yield connection


def _to_socket(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(CONNECT_SECONDS)
        connection.connect(path)
    except OSError:
        connection.close()
        raise
    return connection


def _answer(connection: socket.socket) -> str:
    answer = b""
    try:
        while not answer.endswith(b"\0") and len(answer) < MOST_ANSWER_BYTES:
            data = connection.recv(MOST_ANSWER_BYTES)
            if not data:
                raise ScannerAway("it closed the connection without an answer")
            answer += data
    except OSError as error:
        raise ScannerAway(str(error)) from error
    return answer.rstrip(b"\0\n").decode(errors="replace")


def _refused(answer: str) -> Exception:
    return NotScanned(answer) if TOO_LARGE in answer else ScannerAway(f"it answered {answer[:200]!r}")

"""Hash, decode and prepare the next files of an import in parallel, while the database work of one goes on.

Each file is decoded, packed to the disk and previewed by one of several limited child processes; a thread for each of
them hashes the file, waits for the answer and gives the packed pixels their name. The results are taken in the order
of the files, so that an import counts, reports and continues as with a single process.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any

from django.conf import settings

from portal.imaging.decoding import Decoder
from portal.imaging.errors import UnusableFile
from portal.imaging.prepared_film import PreparedFilm
from portal.imaging.unusable_preview import PREVIEWED
from portal.intake import film_files
from portal.intake.decoder_slots import DecoderSlots
from portal.intake.scanned_files import film_refusal

SECONDS_BETWEEN_BEATS = 5.0
FILMS_WAITING = 2  # finished before their turn, beside those that are being decoded


@dataclass(frozen=True)
class FileAhead:
    """A file by its hash. `film` is None for a file that the import knows and has not decoded again."""

    path: Path
    source_sha256: str
    film: tuple[PreparedFilm, dict[str, str]] | UnusableFile | None


class FilmsAhead:
    """The files of an import, prepared a few ahead of the one in hand.

    `is_known` tells by its hash a file that need not be decoded; it is called in several threads. `while_waiting` is
    called every few seconds while a film is waited for. `bits` are used of the 16 of a picture, if its values fit; of
    the `inverted` pictures 0 is white. Unless they `are_scanned`, files are sent to the virus scanner before they are
    decoded. Of the other methods one thread may call one at a time.
    """

    def __init__(
        self,
        decoders: list[Decoder],
        paths: Iterable[Path],
        is_known: Callable[[str], bool],
        while_waiting: Callable[[], None] = lambda: None,
        *,
        bits: int | None = None,
        inverted: Collection[Path | None] = frozenset(),
        are_scanned: bool = False,
    ) -> None:
        self._are_scanned = are_scanned
        self._inverted = inverted
        self._bits = bits
        self._while_waiting = while_waiting
        self._decoders = decoders
        self._slots = DecoderSlots(max(len(decoders), settings.IMPORT_PROCESSES))
        self._free: SimpleQueue[Decoder] = SimpleQueue()
        for decoder in decoders:
            self._free.put(decoder)
        self._paths: Iterator[Path] = iter(paths)
        self._is_known = is_known
        self._ahead: deque[tuple[Path, Future[FileAhead]]] = deque()
        self._threads = ThreadPoolExecutor(len(decoders), thread_name_prefix="films-ahead")
        self._current: FileAhead | None = None
        self._is_given_up = False

    def __enter__(self) -> FilmsAhead:
        self._fill()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        if kind is not None:
            self._is_given_up = True
            self._slots.give_up()
            for decoder in self._decoders:
                decoder.interrupt()
        self._threads.shutdown(wait=True)

    def source_sha256(self, path: Path) -> str:
        """The SHA-256 of the file."""
        return self._file(path).source_sha256

    def decode(self, path: Path) -> tuple[PreparedFilm, dict[str, str]]:
        """Return the film and its header, as `Decoder.decode` does. Raises UnusableFile, and ScannerAway."""
        file = self._file(path)
        film = file.film or self._decoded(path)
        if isinstance(film, UnusableFile):
            raise film
        return film

    def _file(self, path: Path) -> FileAhead:
        if self._current is None or self._current.path != path:
            self._current = None  # its pixels are no longer needed
            self._current = self._next(path)
            self._fill()
        return self._current

    def _next(self, path: Path) -> FileAhead:
        while self._ahead:
            ahead, future = self._ahead.popleft()
            if ahead == path:
                while not wait([future], timeout=SECONDS_BETWEEN_BEATS).done:
                    self._while_waiting()
                return future.result()
        return self._prepared(path)  # asked for out of turn

    def _fill(self) -> None:
        while len(self._ahead) < len(self._decoders) + FILMS_WAITING:
            path = next(self._paths, None)
            if path is None:
                return
            self._ahead.append((path, self._threads.submit(self._prepared, path)))

    def _prepared(self, path: Path) -> FileAhead:
        with path.open("rb") as file:
            source = hashlib.file_digest(file, "sha256").hexdigest()
        return FileAhead(path, source, None if self._is_known(source) else self._decoded(path))

    def _decoded(self, path: Path) -> tuple[PreparedFilm, dict[str, str]] | UnusableFile:
        if not self._are_scanned and (refusal := film_refusal(path)) is not None:
            return refusal
        decoder = self._free.get()
        try:
            # The row in the database comes later: pixels without one are those of a film that an import was about to
            # store, and that the next one stores.
            with self._slots.one(), film_files.new_pixels() as packed:
                facts: dict[str, Any] = {"bits": self._bits} if self._bits else {}
                facts |= {"is_inverted": True} if path in self._inverted else {}
                film, header = decoder.prepare(path, packed, **facts)
                film_files.keep_pixels(packed, film.pixel_sha256)
        except UnusableFile as unusable:
            self._ask_about(unusable, path, decoder)
            return unusable
        finally:
            self._free.put(decoder)
        return film, header

    def _ask_about(self, unusable: UnusableFile, path: Path, decoder: Decoder) -> None:
        """Whose file it is, and how it looks; nothing once the import has been given up, which interrupts decoders."""
        with suppress(UnusableFile):
            if not self._is_given_up:
                unusable.patient_id = decoder.patient_of_unusable(path)
        with suppress(UnusableFile):
            if unusable.reason in PREVIEWED and not self._is_given_up:
                unusable.preview = decoder.preview_unusable(path)

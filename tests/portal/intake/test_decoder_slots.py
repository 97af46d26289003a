"""Imports share the slots for decoding films: of threads, of processes, and after a process was killed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from portal.imaging.decoding import Decoder
from portal.intake.decoder_slots import DecoderSlots, GivenUp
from portal.intake.films_ahead import FilmsAhead
from tests.portal import factories

HOLDER = """
import os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "portal.settings"
from portal.intake.decoder_slots import DecoderSlots
with DecoderSlots(1).one() as number:
    print(number, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def _folder(data_dir: Path) -> None:
    """Slots of its own for each test."""


def test_each_slot_is_taken_once() -> None:
    slots, of_another_import = DecoderSlots(2), DecoderSlots(3)
    with ExitStack() as taken:
        assert {taken.enter_context(slots.one()), taken.enter_context(slots.one())} == {0, 1}
        assert taken.enter_context(of_another_import.one()) == 2


def test_who_waits_gets_the_slot_that_is_left() -> None:
    first, second = DecoderSlots(1), DecoderSlots(1)
    has_begun, order = threading.Event(), []

    def wait() -> None:
        has_begun.set()
        with second.one():
            order.append("second")

    with ThreadPoolExecutor() as threads:
        with first.one():
            waiting = threads.submit(wait)
            assert has_begun.wait(100)
            order.append("first")
        waiting.result(100)
    assert order == ["first", "second"]


def test_who_gives_up_waits_no_more() -> None:
    slots, of_another_import = DecoderSlots(1), DecoderSlots(1)
    with of_another_import.one(), ThreadPoolExecutor() as threads:
        waiting = threads.submit(lambda: slots.one().__enter__())
        slots.give_up()
        with pytest.raises(GivenUp):
            waiting.result(100)


def test_the_slot_of_a_killed_process_is_free(data_dir: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER],
        env={**os.environ, "HILUM_DATA_DIR": str(data_dir)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"0\n"
    slots = DecoderSlots(1)
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(lambda: slots.one().__enter__())
        holder.kill()
        holder.communicate()
        assert waiting.result(100) == 0


class Counting(Decoder):
    """Counts how many of them decode at once."""

    lock = threading.Lock()
    running: list[Decoder] = []
    most = 0

    def prepare(self, path: Path, packed: Path):  # type: ignore[no-untyped-def]
        with self.counted():
            return super().prepare(path, packed)

    @contextmanager
    def counted(self) -> Iterator[None]:
        with self.lock:
            self.running.append(self)
            Counting.most = max(Counting.most, len(self.running))
        try:
            yield
        finally:
            with self.lock:
                self.running.remove(self)


@pytest.mark.slow
def test_two_imports_together_decode_no_more_films_than_one_may(
    tmp_path: Path, settings: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.IMPORT_PROCESSES = 2  # type: ignore[attr-defined]
    monkeypatch.setattr(Counting, "most", 0)
    paths = [factories.png(tmp_path / f"{number}.png", seed=number) for number in range(8)]
    with ExitStack() as stack:
        decoders = [stack.enter_context(Counting()) for _ in range(4)]
        one = stack.enter_context(FilmsAhead(decoders[:2], paths[:4], lambda source: False))
        other = stack.enter_context(FilmsAhead(decoders[2:], paths[4:], lambda source: False))
        for first, second in zip(paths[:4], paths[4:], strict=True):
            assert one.decode(first)[0].pixel_sha256 != other.decode(second)[0].pixel_sha256
    assert 1 <= Counting.most <= 2

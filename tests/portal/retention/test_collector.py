"""The collector removes what no row names, and never what a row names or is about to name."""

from __future__ import annotations

import os
import threading
import uuid
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from portal.backups.making import UNFINISHED
from portal.imaging.film import pack, pixel_sha256
from portal.intake import film_files, film_storage, quarantine_files
from portal.intake.entries import entries_of_folder
from portal.intake.films import import_entries
from portal.intake.import_report import ImportReport
from portal.intake.stored_files import FileGone
from portal.models import AuditEvent, Dataset, Image, QuarantinedFile, Upload
from portal.retention import collector
from portal.retention.collector import CannotCollect, collect
from tests.portal import factories

DAY = 24.0
FILMS = 6


@pytest.fixture
def of(data_dir: Path) -> Dataset:
    return factories.dataset()


def grow_old(top: Path) -> None:
    for path in (top, *top.rglob("*")):
        os.utime(path, (0, 0))


def files_in(top: Path) -> set[str]:
    ours = (path.relative_to(top) for path in top.rglob("*") if path.is_file())
    return {path.as_posix() for path in ours if path.parts[0] != "run"}


def left_behind(top: Path) -> set[str]:
    """Files of each kind without a row."""
    digest, address = "0" * 64, str(uuid.UUID(int=1))
    names = {
        f"pixels/00/{digest}.u16.gz",
        "pixels/.part-abc",
        f"previews/00/{address}.jpg",
        f"quarantine/{address}/{digest}",
        f"quarantine/{address}/{digest}.row.json",
    }
    for name in names:
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(b"left")
    return names


@pytest.mark.django_db
@pytest.mark.both
def test_only_what_no_row_names_is_removed_and_only_if_it_is_asked_for(of: Dataset, data_dir: Path) -> None:
    film_files.preview_bytes(factories.film(of, "normal"))
    kept_file = factories.quarantined(of)
    expired = factories.quarantined(of, data=b"kept for long enough")
    QuarantinedFile.objects.filter(pk=expired.pk).update(kept_at=None)
    unnamed = {quarantine_files.kept_path(expired), quarantine_files.preview_path(expired)}
    for name in ("pixels/readme", "previews/00/mine.jpg", "weights/a.safetensors", "uploads/a.zip"):
        (data_dir / name).parent.mkdir(parents=True, exist_ok=True)
        (data_dir / name).touch()
    wanted = files_in(data_dir) - {path.relative_to(data_dir).as_posix() for path in unnamed}
    assert len(wanted) == 8 and quarantine_files.kept_path(kept_file).exists()
    left = left_behind(data_dir)
    grow_old(data_dir)

    output = StringIO()
    call_command("collect", "--list", stdout=output)
    assert files_in(data_dir) >= wanted | left, "a dry run removed something"
    assert "pixels of films: 2 without a row" in output.getvalue() and "1 named by rows" in output.getvalue()
    assert f"00/{'0' * 64}.u16.gz" in output.getvalue() and "--remove does that" in output.getvalue()
    assert "1 with names that are not ours were left" in output.getvalue()
    assert not AuditEvent.objects.filter(verb="collect files").exists()

    call_command("collect", "--remove", stdout=StringIO())
    assert files_in(data_dir) == wanted
    event = AuditEvent.objects.get(verb="collect files")
    assert event.after["pixels of films"] == {"files": 2, "bytes": 8} and event.site is None


@pytest.mark.django_db
def test_young_files_and_links_stay(of: Dataset, data_dir: Path) -> None:
    left = left_behind(data_dir)
    (data_dir / "pixels" / "00" / f"{'1' * 64}.u16.gz").symlink_to(data_dir / "elsewhere")
    collect(hours=DAY, removes=True)
    assert files_in(data_dir) == left
    grow_old_of = data_dir / "previews"
    grow_old(grow_old_of)
    collect(hours=DAY, removes=True)
    assert files_in(data_dir) == {name for name in left if not name.startswith("previews")}
    assert (data_dir / "pixels" / "00" / f"{'1' * 64}.u16.gz").is_symlink()


@pytest.mark.django_db
def test_it_refuses_where_the_rows_may_not_be_those_of_the_files(of: Dataset, data_dir: Path) -> None:
    with pytest.raises(CannotCollect, match=r"age limit is 0.5 hours; expected 1 or more"):
        collect(hours=0.5, removes=True)
    film = factories.film(of)
    folder = data_dir / "pixels" / "ab"
    folder.mkdir()
    for number in range(21):
        (folder / f"{number:064}.u16.gz").touch()
    grow_old(data_dir)
    with pytest.raises(CommandError, match=r"No row names 21 of 22 pixels of films, more than half"):
        call_command("collect", "--remove")
    assert len(list(folder.iterdir())) == 21
    (data_dir / UNFINISHED).touch()
    with pytest.raises(CannotCollect, match="restore has not finished"):
        collect(hours=DAY, removes=True)
    (data_dir / UNFINISHED).unlink()
    collect(hours=DAY, removes=True, even_most=True)
    assert not any(folder.iterdir()) and film_files.pixel_path(film.pixel_sha256).exists()


@pytest.mark.django_db
def test_it_refuses_an_empty_database(data_dir: Path) -> None:
    with pytest.raises(CannotCollect, match="The database has no site"):
        collect(hours=DAY, removes=True)


@pytest.mark.django_db
def test_a_row_that_comes_while_it_looks_keeps_its_file(
    of: Dataset, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two old files without a row: after the look, one is stored again, and the other gets its row."""
    films = [factories.film(of), factories.film(of)]
    paths = [film_files.pixel_path(film.pixel_sha256) for film in films]
    grow_old(data_dir)
    asked: list[set[str]] = []

    def pixels_named(names: Any) -> set[str]:
        asked.append(set(names))
        if len(asked) == 1:
            return set()
        return {films[1].pixel_sha256} & set(names)

    real = collector._remove_all

    def store_first(*args: Any) -> None:
        film_files.write_once(paths[0], b"another")
        real(*args)

    monkeypatch.setattr(collector, "_pixels_named", pixels_named)
    monkeypatch.setattr(collector, "_remove_all", store_first)
    found = collect(hours=DAY, removes=True)[0]
    assert (len(found.unnamed), found.removed) == (2, 0)
    assert all(path.exists() for path in paths)


def imported(of: Dataset, folder: Path) -> None:
    report = ImportReport()
    entries = entries_of_folder(folder, None, None, report)
    import_entries(upload=Upload.objects.create(dataset=of), entries=entries, report=report, actor=None, processes=2)


@pytest.mark.django_db
def test_a_film_whose_pixels_were_removed_before_its_row_is_not_stored(
    of: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "films").mkdir()
    factories.png(tmp_path / "films" / "a.png")
    store = film_storage._store

    def after_a_stop(*args: Any, film: Any, **words: Any) -> Image:
        film_files.pixel_path(film.pixel_sha256).unlink()  # a process that stood still for longer than the age limit
        return store(*args, film=film, **words)

    monkeypatch.setattr(film_storage, "_store", after_a_stop)
    with pytest.raises(FileGone, match="start the import again"):
        imported(of, tmp_path / "films")
    assert not Image.objects.exists()
    monkeypatch.setattr(film_storage, "_store", store)
    imported(of, tmp_path / "films")
    assert film_files.pixel_path(Image.objects.get().pixel_sha256).exists()


@pytest.mark.django_db
def test_old_pixels_that_an_import_is_about_to_store_are_young(
    of: Dataset, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "films").mkdir()
    stored = factories.pixels()
    factories.png(tmp_path / "films" / "a.png", stored)
    film_files.write_once(film_files.pixel_path(pixel_sha256(stored)), pack(stored))
    grow_old(data_dir)
    store, removed = film_storage._store, []

    def after_the_collector(*args: Any, **words: Any) -> Image:
        removed.append(collect(hours=DAY, removes=True)[0].removed)
        return store(*args, **words)

    monkeypatch.setattr(film_storage, "_store", after_the_collector)
    imported(of, tmp_path / "films")
    assert removed == [0] and Image.objects.get().pixel_sha256 == pixel_sha256(stored)


@pytest.mark.django_db(transaction=True)
def test_a_running_import_of_films_whose_old_pixels_are_there_loses_none(
    of: Dataset, data_dir: Path, tmp_path: Path
) -> None:
    """As after an import that was killed long ago: its pixels are old, and have no row yet."""
    (tmp_path / "films").mkdir()
    old = []
    for seed in range(FILMS):
        stored = factories.pixels(seed)
        factories.png(tmp_path / "films" / f"{seed:02}.png", stored)
        old.append(film_files.pixel_path(pixel_sha256(stored)))
        film_files.write_once(old[-1], pack(stored))
    grow_old(data_dir)

    raised: list[BaseException] = []

    def import_all() -> None:
        try:
            imported(of, tmp_path / "films")
        except BaseException as error:
            raised.append(error)
        finally:
            connection.close()

    thread = threading.Thread(target=import_all)
    thread.start()
    while thread.is_alive():
        collect(hours=DAY, removes=True)
    thread.join()
    assert raised == []
    films = Image.objects.values_list("pixel_sha256", flat=True)
    assert {film_files.pixel_path(digest) for digest in films} == set(old)
    assert all(path.exists() for path in old)

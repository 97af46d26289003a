"""The migrated database is made once, and again when a migration changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import migrated


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The places where a database was made; each holds its number."""
    monkeypatch.setattr(migrated, "KEPT", tmp_path / "kept")
    return []


def copy(made: list[Path], target: Path) -> str:
    def make(place: Path) -> None:
        made.append(place)
        place.write_text(str(len(made)), encoding="utf-8")

    migrated.copy_migrated("sqlite", target, make)
    return target.read_text(encoding="utf-8")


def test_it_is_made_once_and_copied_from_then_on(made: list[Path], tmp_path: Path) -> None:
    assert copy(made, tmp_path / "first") == "1"
    (tmp_path / "first").write_text("rows of a test", encoding="utf-8")
    assert copy(made, tmp_path / "second") == "1"
    assert len(made) == 1


@pytest.mark.parametrize("changed", ["portal/migrations/0001_initial.py", "portal/triggers.py"])
def test_it_is_made_again_when_a_migration_changes(
    made: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    for file in ("portal/migrations/0001_initial.py", "portal/triggers.py"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("operations = []", encoding="utf-8")
    monkeypatch.setattr(migrated, "ROOT", tmp_path)
    copy(made, tmp_path / "first")
    (tmp_path / changed).write_text("operations = [one]", encoding="utf-8")
    assert copy(made, tmp_path / "second") == "2"
    assert len([file for file in (tmp_path / "kept").iterdir() if file.suffix != ".lock"]) == 1


def test_one_that_could_not_be_made_is_not_kept(made: list[Path], tmp_path: Path) -> None:
    def fail(place: Path) -> None:
        place.write_text("half", encoding="utf-8")
        raise RuntimeError("no room")

    with pytest.raises(RuntimeError, match="no room"):
        migrated.copy_migrated("sqlite", tmp_path / "none", fail)
    assert copy(made, tmp_path / "first") == "1"


@pytest.mark.both
@pytest.mark.django_db
def test_the_tests_database_has_every_migration() -> None:
    from django.core.management import call_command

    call_command("migrate", check_unapplied=True, verbosity=0)

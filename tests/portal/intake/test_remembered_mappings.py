"""What a site remembers of a table: keyed hashes, by the set of column names, the newest first."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from django.db import DatabaseError, transaction

from portal.intake.mapping.facts import read_facts
from portal.intake.mapping.meaning import TableMapping
from portal.intake.remembered_mappings import Keys, SiteMappings, made_words, remember, remembered, restored
from portal.intake.tables import UnclearTable
from portal.models import ColumnMapping, Site, User
from tests.portal import factories
from tests.portal.intake.sent import TABLE

pytestmark = [pytest.mark.both, pytest.mark.django_db]
COLUMNS = ("Pfad", "Diagnose", "Fallnummer", "Alter")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "t.csv"
    path.write_text(TABLE)
    return path


@pytest.fixture
def site(ann: User) -> Site:
    return ann.memberships.get().site


def test_a_mapping_comes_back_in_the_tables_words(site: Site, ann: User, mapping: TableMapping, path: Path) -> None:
    stored = remember(site, mapping, COLUMNS, ann)
    assert remembered(site, COLUMNS[::-1]) == stored
    assert remembered(site, COLUMNS[1:]) is None
    back = restored(stored, read_facts(path))
    assert (back.kind, back.columns, back.keep, dict(back.labels)) == (
        mapping.kind,
        mapping.columns,
        mapping.keep,
        mapping.labels,
    )
    assert made_words(stored) == f"ann said on {stored.created_at:%Y-%m-%d}"


def test_no_word_is_stored_and_sites_have_keys_of_their_own(site: Site, ann: User, mapping: TableMapping) -> None:
    stored = json.dumps(remember(site, mapping, COLUMNS, ann).meaning)
    assert not any(word in stored for word in (*COLUMNS, "o.b.", "Erguss"))
    other = factories.site("Elsewhere")
    assert Keys(other).column("Pfad") != Keys(site).column("Pfad")
    assert remembered(other, COLUMNS) is None


def test_the_newest_counts_and_the_same_is_stored_once(
    site: Site, ann: User, mapping: TableMapping, path: Path
) -> None:
    first = remember(site, mapping, COLUMNS, ann)
    assert remember(site, mapping, COLUMNS, ann) == first
    changed = replace(mapping, labels={**mapping.labels, "unklar": "exclude"})
    second = remember(site, changed, COLUMNS, None)
    assert remembered(site, COLUMNS) == second
    assert made_words(second).startswith("somebody on the command line said on")
    assert restored(second, read_facts(path)).labels["unklar"] == "exclude"


def test_a_remembered_mapping_is_never_changed(site: Site, ann: User, mapping: TableMapping) -> None:
    remember(site, mapping, COLUMNS, ann)
    for act in (lambda: ColumnMapping.objects.update(shape="x"), lambda: ColumnMapping.objects.all().delete()):
        with pytest.raises(DatabaseError, match="portal_columnmapping is append-only"), transaction.atomic():
            act()


def test_what_a_value_means_is_known_beyond_the_values_that_are_counted(
    site: Site, ann: User, mapping: TableMapping, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portal.intake.mapping.facts.MOST_VALUES", 1)
    stored = remember(site, replace(mapping, other_values=""), COLUMNS, ann)
    back = restored(stored, read_facts(path))
    assert back.meaning_of("Unklar") == "unsure"
    assert back.meaning_of("something") == ""


def test_a_chosen_mapping_counts_before_the_newest(site: Site, ann: User, mapping: TableMapping, path: Path) -> None:
    chosen = remember(site, mapping, COLUMNS, ann)
    remember(site, replace(mapping, other_values="unsure"), COLUMNS, ann)
    mappings = SiteMappings(site, [chosen])
    applied = mappings.mapping_of(path)
    assert applied is not None
    assert applied.other_values is None
    assert mappings.sentences() == [f"columns of t.csv read as {made_words(chosen)}"]


def test_a_table_is_asked_for_first(site: Site, ann: User, mapping: TableMapping, path: Path) -> None:
    remember(site, mapping, COLUMNS, ann)
    with pytest.raises(UnclearTable, match=r"t\.csv waits, as its columns are to be checked first"):
        SiteMappings(site, asks_first=True).mapping_of(path)

"""Uploads that wait for a person to say what the columns of their tables mean: the question, the answer, the discard.

Everything shown comes from the kept zip and is stored nowhere else: rows and values may identify people.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.utils import timezone

from portal.intake import zip_uploads
from portal.intake.csv_labels import InvalidCsv
from portal.intake.import_preview import MappingPreview, preview_import
from portal.intake.mapping.facts import TableFacts, distinct_names, read_facts
from portal.intake.mapping.guesses import guess_mapping
from portal.intake.mapping.meaning import InvalidMapping, TableMapping, check_mapping
from portal.intake.remembered_mappings import remember, remembered, restored
from portal.intake.zip_uploads import InvalidUpload, UnpackedZip, open_zip, zip_path
from portal.models import ColumnMapping, Upload, User
from portal.people import audit, blinding
from portal.people.access import require

_GONE = "This upload does not wait any more: it was discarded, or its import has begun."


@dataclass(frozen=True)
class QuestionTable:
    """A table of the upload. `draft`: what its columns may mean, by `remembered`, or guessed from names and values."""

    key: str
    path: Path
    facts: TableFacts
    draft: TableMapping
    remembered: ColumnMapping | None

    def may_declare(self, mapping: TableMapping) -> bool:
        """Whether the mapping keeps only what a manager declared before for tables with these columns."""
        return mapping.keep.items() <= self.draft.keep.items()


@dataclass(frozen=True)
class Question:
    upload: Upload
    unpacked: UnpackedZip
    tables: Sequence[QuestionTable]

    def preview(self, mappings: Mapping[str, TableMapping]) -> MappingPreview:
        """What the import would do. `mappings`: by the key of each table. Raises InvalidMapping."""
        self._check(mappings)
        by_path = {table.path: mappings[table.key] for table in self.tables}
        try:
            contents = self.unpacked.contents(by_path.__getitem__)
        except InvalidCsv as error:
            raise InvalidMapping(str(error)) from error
        return preview_import(contents, self.upload.dataset, self.upload.uploaded_by)

    def _check(self, mappings: Mapping[str, TableMapping]) -> None:
        by_columns: dict[frozenset[str], TableMapping] = {}
        keys = [table.key for table in self.tables]
        if unknown := sorted(set(mappings) - set(keys)):
            raise InvalidMapping(f"The upload has no table {unknown[0]!r}; its tables are {', '.join(keys)}.")
        for table in self.tables:
            if table.key not in mappings:
                raise InvalidMapping(f"The mapping says nothing about {table.key}; map it, or leave it aside.")
            mapping = mappings[table.key]
            check_mapping(mapping, table.facts)
            if by_columns.setdefault(frozenset(table.facts.columns), mapping) != mapping:
                raise InvalidMapping(
                    f"{table.key} has the same columns as another table of this upload, and another mapping; give both "
                    "one mapping, or send them in two uploads."
                )


def require_answer(upload: Upload, person: User) -> None:
    """Raises PermissionDenied if the person may not see the tables of the upload. Those of another person may say the
    labels of films that the person reads blinded."""
    require(person, "import films", upload.dataset.site)
    films = blinding.withheld_images(person).filter(dataset__site=upload.dataset.site)
    if upload.uploaded_by_id != person.pk and films.exists():
        row = blinding.open_films(person).first()
        words = row.source_words if row else "a worklist"
        raise PermissionDenied(
            "Another person sent this table, and it may hold labels of films that you have yet to read blinded, for "
            f"example in {words}. Read them first, or leave the table to the person who sent it."
        )


@contextmanager
def open_question(upload: Upload) -> Iterator[Question]:
    """The tables of a waiting upload. Raises InvalidUpload and InvalidCsv."""
    path = zip_path(upload)
    if upload.state != Upload.State.MAPPING or not path.exists():
        raise InvalidUpload(_GONE)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f"unpacked-{upload.uuid}-") as folder:
        unpacked = open_zip(path, Path(folder), has_films=False)
        files = [file.name for file in unpacked.files([])]
        keys = distinct_names([table.name for table in unpacked.tables])
        tables = [_table(upload, key, table, files) for key, table in zip(keys, unpacked.tables, strict=True)]
        yield Question(upload, unpacked, tables)


def _table(upload: Upload, key: str, path: Path, files: Sequence[str]) -> QuestionTable:
    facts = read_facts(path)
    stored = remembered(upload.dataset.site, facts.columns)
    draft = restored(stored, facts) if stored else guess_mapping(facts, files)
    return QuestionTable(key, path, facts, draft, stored)


def answer(*, upload: Upload, mappings: Mapping[str, TableMapping], patients: str, author: User) -> MappingPreview:
    """Remember the mappings for the site and queue the import with them. Raises InvalidMapping and InvalidUpload,
    changing nothing."""
    require_answer(upload, author)
    if patients not in Upload.Patients.values:
        raise InvalidMapping(f"What counts for patients is {patients!r}; choose table or header.")
    with open_question(upload) as question:
        preview = question.preview(mappings)
        if preview.matches_nothing:
            raise InvalidMapping(
                "No row would name a file of this upload or a film of the dataset; choose another column for the file "
                "names, or compare its values with the names of the files."
            )
        site = upload.dataset.site
        for table in question.tables:
            if table.may_declare(mappings[table.key]):
                continue
            require(author, "keep further columns", site)
        with transaction.atomic():
            stored = [remember(site, mappings[each.key], each.facts.columns, author) for each in question.tables]
            _leave_waiting(upload, state=Upload.State.RECEIVED, message="", patients=patients)
            upload.mappings.set(stored)
            after = {
                "upload": str(upload.uuid),
                "patients": patients,
                "tables": [_for_audit(mappings[each.key]) for each in question.tables],
            }
            audit.record(verb="map columns", site=site, actor=author, target=upload.dataset, after=after)
            transaction.on_commit(lambda: zip_uploads.publish(upload), robust=True)
    return preview


def discard(*, upload: Upload, author: User) -> None:
    """Delete a waiting upload's zip. Raises InvalidUpload if it does not wait any more."""
    require(author, "import films", upload.dataset.site)
    with transaction.atomic():
        sentence = f"Discarded by {author.username}; nothing was imported."
        _leave_waiting(upload, state=Upload.State.DISCARDED, message=sentence, finished_at=timezone.now())
        after = {"upload": str(upload.uuid)}
        audit.record(verb="discard upload", site=upload.dataset.site, actor=author, target=upload.dataset, after=after)
        transaction.on_commit(lambda: zip_path(upload).unlink(missing_ok=True), robust=True)


def _leave_waiting(upload: Upload, **values: Any) -> None:
    """Of two answers at the same time, one counts."""
    waiting = Upload.objects.filter(pk=upload.pk, state=Upload.State.MAPPING)
    if not waiting.update(**values, heartbeat_at=timezone.now()):
        raise InvalidUpload(_GONE)
    upload.refresh_from_db()


def _for_audit(mapping: TableMapping) -> dict[str, Any]:
    """Without the table's own words."""
    return {
        "kind": str(mapping.kind),
        "fields": sorted(mapping.columns),
        "kept": dict(Counter(map(str, mapping.keep.values()))),
        "values": dict(Counter(mapping.labels.values())),
        "other_values": mapping.other_values,
    }

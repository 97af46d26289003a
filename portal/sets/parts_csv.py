"""The parts of a split as a CSV that the engine's command line takes, so that both use the same films in each part."""

import csv
import io
from collections.abc import Sequence

from django.db.models import QuerySet

from portal.labels.events import labels_at
from portal.labels.formula_cells import neutralised
from portal.models import Exposure, Image, Split, SplitImage, User
from portal.people import blinding
from portal.people.exposure import record_exposure

COLUMNS = ("filename", "image", "label", "patient_id", "split")


def parts_csv(split: Split) -> str:
    """One line for each film of the split, in the order of their import: file name, UUID, label at the cut-off,
    patient, part. Patients have the names that they have in the folders of runs.

    `filename` is the name in the imported CSV if every film has one and no two have the same. Otherwise all films have
    the names of their files in the archive of a run: files/UUID.u16.gz. A name that a spreadsheet would calculate is
    behind an apostrophe, which the engine takes off.
    """
    rows = list(_rows(split))
    labels = labels_at([row.image_id for row in rows], split.label_cutoff)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    has_own = has_own_names(split)
    for row in rows:
        film = row.image
        name = film.original_name if has_own else f"files/{film.uuid}.u16.gz"
        writer.writerow([neutralised(name), film.uuid, labels[film.pk].value, film.patient.uuid, row.member.part])
    return text.getvalue()


def has_own_names(split: Split) -> bool:
    """Whether the films of the split can be named as in the CSV that they were imported with."""
    names = list(_rows(split).values_list("image__original_name", flat=True))
    return all(names) and len(set(names)) == len(names)


def parts_csv_for(person: User, split: Split) -> str:
    """`parts_csv` for a person, to whom the labels count as shown. Raises PermissionDenied where the person has yet to
    read one of the films blinded."""
    films = Image.objects.filter(split_images__member__split=split)
    blinding.refuse_file(person, films, what="The CSV of the parts")
    record_exposure(person, Exposure.Kind.LABEL, _ids(films))
    return parts_csv(split)


def file_name(split: Split) -> str:
    """Without the split's name, which is a user's text."""
    return f"hilum-parts-{split.uuid}.csv"


def _ids(films: QuerySet[Image]) -> Sequence[int]:
    return list(films.values_list("pk", flat=True))


def _rows(split: Split) -> QuerySet[SplitImage]:
    rows = SplitImage.objects.filter(member__split=split)
    return rows.select_related("member", "image__patient").order_by("image_id")

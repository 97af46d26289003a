"""A decoded film becomes an Image with its patient, under pseudonyms, its pixels and its preview."""

import re
from collections.abc import Mapping
from datetime import date

from django.db import IntegrityError, transaction

from portal.imaging.acquisition import shifted_day
from portal.imaging.deidentify import pseudonym
from portal.imaging.film_warnings import keys_of
from portal.imaging.prepared_film import PreparedFilm
from portal.imaging.visibility import SHOWS_NOTHING
from portal.intake import film_files, stored_files
from portal.intake.csv_labels import CsvRow
from portal.intake.entries import Entry
from portal.intake.film_labels import append_label
from portal.intake.patient_identifiers import PatientIdentifier
from portal.intake.pseudonym_key import site_key
from portal.intake.text_looks import film_that_had
from portal.models import Dataset, Image, Patient, Site, Study

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def find_or_store(
    dataset: Dataset,
    entry: Entry,
    source: str,
    film: PreparedFilm,
    header: dict[str, str],
    *,
    of_patient: PatientIdentifier,
) -> tuple[Image, bool]:
    """Return the film with these pixels, and whether it is new."""
    image = dataset.images.filter(pixel_sha256=film.pixel_sha256).first()
    if image is not None:
        return image, False
    image = film_that_had(dataset, film.pixel_sha256)
    if image is not None:  # text was blacked out since
        film_files.remove_unused_pixels(film.pixel_sha256)
        return image, False
    try:
        return _store(dataset, entry, source=source, film=film, header=header, of_patient=of_patient), True
    except IntegrityError:  # another import of the dataset stored it in the meantime
        return dataset.images.get(pixel_sha256=film.pixel_sha256), False


def _store(
    dataset: Dataset,
    entry: Entry,
    *,
    source: str,
    film: PreparedFilm,
    header: dict[str, str],
    of_patient: PatientIdentifier,
) -> Image:
    row = entry.row or CsvRow(filename=entry.name)
    header = with_facts_of_row(header, row)
    with stored_files.storing(), transaction.atomic():  # in this order: until the commit nobody removes the pixels
        patient = _patient(dataset.site, of_patient, header, film.pixel_sha256)
        image = Image(
            dataset=dataset,
            patient=patient,
            study=_study(patient, header),
            acquired_day=_acquired_day(patient, header),
            source_sha256=source,
            pixel_sha256=film.pixel_sha256,
            rows=film.facts.rows,
            columns=film.facts.columns,
            facts=film.facts.to_json(),
            header={key: value for key, value in header.items() if ":" not in key},
            view_position=view_of(entry.row, header),
            laterality=header.get("laterality", "")[:2],
            warning=warning_of(header),
            shows_nothing=not SHOWS_NOTHING.isdisjoint(keys_of(header)),
            original_name=entry.name if entry.row else "",
            csv_split=row.split,
            extra=dict(row.extra),
        )
        image.save(force_insert=True)
        film_files.require_pixels(film.pixel_sha256)
        append_label(image, entry.row, boxes=entry.boxes or ())
        film_files.write_preview(image, film.preview)
    return image


def with_facts_of_row(header: dict[str, str], row: CsvRow) -> dict[str, str]:
    """The header, with the sex and age of the row where it states none."""
    of_row = {"patient_sex": row.sex, "age_years": row.age_years}
    return {name: value for name, value in of_row.items() if value} | header


def view_of(row: CsvRow | None, header: Mapping[str, str]) -> str:
    return (row.projection if row else "") or header.get("view_position", "")[:8]


def warning_of(header: Mapping[str, str]) -> str:
    """The header's warnings as whole sentences, burned-in text first, as many as fit in the column."""
    sentences = [value for key, value in header.items() if key.startswith("warning:")]
    sentences.sort(key=lambda sentence: sentence != header.get("warning:burned_in"))
    room = Image._meta.get_field("warning").max_length or 0
    while sum(map(len, sentences)) + len(sentences) > room:
        sentences.pop()
    return " ".join(sentences)


def _patient(site: Site, identifier: PatientIdentifier, header: Mapping[str, str], pixels: str) -> Patient:
    key = site_key(site)
    sex, band = header.get("patient_sex", "")[:1], age_band(header.get("age_years", ""))
    if known := _patient_exported(site, identifier):
        return _completed(known, sex, band)
    # A film without a patient identifier counts as its own patient.
    names = [pseudonym(key, spelling) for spelling in identifier.spellings] or [pseudonym(key, f"film {pixels}")]
    if len(names) > 1:
        there = {patient.pseudonym: patient for patient in Patient.objects.filter(site=site, pseudonym__in=names)}
        if known := next((there[name] for name in names if name in there), None):
            return _completed(known, sex, band)
    patient, is_new = Patient.objects.get_or_create(
        site=site,
        pseudonym=names[0],
        defaults={"sex": sex, "age_band": band, "identified": bool(identifier.spellings)},
    )
    return patient if is_new else _completed(patient, sex, band)


def _patient_exported(site: Site, identifier: PatientIdentifier) -> Patient | None:
    """The patient of the site whom an export of labels names by their UUID."""
    uuids = [spelling for spelling in identifier.spellings if _UUID.fullmatch(spelling)]
    return Patient.objects.filter(site=site, uuid__in=uuids).first() if uuids else None


def _completed(patient: Patient, sex: str, band: str) -> Patient:
    """The patient, whose sex and age are taken from this film where no earlier one stated them."""
    unknown = {"sex": sex} if sex and not patient.sex else {}
    unknown |= {"age_band": band} if band and not patient.age_band else {}
    if unknown:
        Patient.objects.filter(pk=patient.pk).update(**unknown)
        patient.refresh_from_db(fields=list(unknown))
    return patient


def _study(patient: Patient, header: Mapping[str, str]) -> Study | None:
    uid = header.get("identifier:study_uid", "")
    if not uid:
        return None
    study, _ = Study.objects.get_or_create(patient=patient, pseudonym=pseudonym(site_key(patient.site), uid))
    return study


def _acquired_day(patient: Patient, header: Mapping[str, str]) -> date | None:
    """A film that is its own patient has no other to be compared with, so nothing of its date is kept."""
    acquired_on = header.get("identifier:acquired_on", "")
    return shifted_day(site_key(patient.site), patient.pseudonym, acquired_on) if patient.identified else None


def age_band(age_years: str) -> str:
    """ "47" -> "40-49"; above 89 -> "90+"; blank stays blank."""
    if not age_years.isdigit():
        return ""
    decade = int(age_years) // 10 * 10
    return "90+" if decade >= 90 else f"{decade}-{decade + 9}"

"""Corrected exports: what the header of a later file states otherwise about a film with the same pixels.

A fact that the later file does not state is no difference: a file without a window corrects none. Differences wait in
`HeaderDifference` until a person takes or dismisses them (portal.intake.corrections).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from portal.imaging.acquisition import shifted_day
from portal.imaging.deidentify import pseudonym
from portal.imaging.film import PixelFacts
from portal.imaging.film_warnings import keys_of
from portal.imaging.visibility import SHOWS_NOTHING
from portal.intake.csv_labels import CsvRow
from portal.intake.film_storage import age_band, view_of, warning_of
from portal.intake.header_facts import HEADER_KEYS, PIXEL_KEYS, Fact, KeptDifferences
from portal.intake.patient_identifiers import PatientIdentifier, spellings_of_number
from portal.intake.pseudonym_key import site_key
from portal.models import HeaderDifference, Image, Patient, Upload


@dataclass(frozen=True)
class HeaderChange:
    """`old` and `new` are JSON values without raw identifiers: patients and studies by pseudonym, days shifted."""

    fact: Fact
    old: Any
    new: Any


def differences(
    image: Image, row: CsvRow | None, facts: PixelFacts, header: Mapping[str, str], of_patient: PatientIdentifier
) -> list[HeaderChange]:
    """What a file with the pixels of the film states otherwise. Only DICOM files have a header to correct with."""
    if facts.source != "dicom":
        return []
    return [
        *_identity(image, header, of_patient),
        *_pixel_facts(image, facts, shows_nothing=not SHOWS_NOTHING.isdisjoint(keys_of(header))),
        *_values(image, row, header),
    ]


def _identity(image: Image, header: Mapping[str, str], of_patient: PatientIdentifier) -> list[HeaderChange]:
    """Patient, study and day of acquisition."""
    key, patient = site_key(image.dataset.site), image.patient
    differing = []
    names = [pseudonym(key, spelling) for spelling in of_patient.spellings]
    as_numbers = {pseudonym(key, other) for name in of_patient.spellings for other in spellings_of_number(name)}
    shifted_by = patient.pseudonym if patient.identified else ""
    if names and patient.pseudonym not in {*names, *as_numbers}:
        known = set(
            Patient.objects.filter(site=patient.site_id, pseudonym__in=names).values_list("pseudonym", flat=True)
        )
        name = next((name for name in names if name in known), names[0])
        new = {
            "pseudonym": name,
            "sex": header.get("patient_sex", "")[:1],
            "age_band": age_band(header.get("age_years", "")),
        }
        differing.append(HeaderChange(Fact.PATIENT, {"pseudonym": patient.pseudonym}, new))
        shifted_by = shifted_by or name
    if uid := header.get("identifier:study_uid", ""):
        old_study = image.study.pseudonym if image.study else ""
        if (study := pseudonym(key, uid)) != old_study:
            differing.append(HeaderChange(Fact.STUDY, {"pseudonym": old_study}, {"pseudonym": study}))
    day = shifted_day(key, shifted_by, header.get("identifier:acquired_on", "")) if shifted_by else None
    if day is not None and day != image.acquired_day:
        old_day = image.acquired_day.isoformat() if image.acquired_day else None
        differing.append(
            HeaderChange(Fact.ACQUIRED, {"day": old_day}, {"day": day.isoformat(), "patient": shifted_by}),
        )
    return differing


def _pixel_facts(image: Image, facts: PixelFacts, *, shows_nothing: bool) -> list[HeaderChange]:
    stated = {
        Fact.SPACING: facts.spacing_mm is not None or facts.pixel_aspect != 1,
        Fact.WINDOW: bool(facts.windows or facts.voi_luts),
        Fact.GRAY: True,
    }
    new_facts, differing = facts.to_json(), []
    for fact, keys in PIXEL_KEYS.items():
        old, new = ({key: values.get(key) for key in keys} for values in (image.facts, new_facts))
        if stated[fact] and old != new:
            if fact == Fact.WINDOW:
                old, new = old | {"shows_nothing": image.shows_nothing}, new | {"shows_nothing": shows_nothing}
            differing.append(HeaderChange(fact, old, new))
    return differing


def _values(image: Image, row: CsvRow | None, header: Mapping[str, str]) -> list[HeaderChange]:
    pairs = [
        (Fact.VIEW, image.view_position, view_of(row, header)),
        (Fact.LATERALITY, image.laterality, header.get("laterality", "")[:2]),
        *((fact, image.header.get(key, ""), header.get(key, "")) for fact, key in HEADER_KEYS.items()),
    ]
    differing = [HeaderChange(fact, old, new) for fact, old, new in pairs if new and new != old]
    warning = warning_of(header)  # of which the later file states all, so that none is an answer too
    if warning != image.warning:
        differing.append(HeaderChange(Fact.WARNINGS, image.warning, warning))
    return differing


def keep_differences(
    upload: Upload, image: Image, source: str, differing: Iterable[HeaderChange], *, ask_again: bool = False
) -> KeptDifferences:
    """Store what differs, to be decided by a person; a later file replaces what still waits. A new value that a person
    has dismissed is not asked about again, unless `ask_again`."""
    pending, dismissed = [], []
    for difference in differing:
        earlier = image.header_differences.filter(fact=difference.fact, state=HeaderDifference.State.DISMISSED)
        if not ask_again and any(row.new == difference.new for row in earlier):
            dismissed.append(difference.fact)
            continue
        HeaderDifference.objects.update_or_create(
            image=image,
            fact=difference.fact,
            state=HeaderDifference.State.PENDING,
            defaults={"upload": upload, "source_sha256": source, "old": difference.old, "new": difference.new},
        )
        pending.append(difference.fact)
    return KeptDifferences(tuple(pending), tuple(dismissed))

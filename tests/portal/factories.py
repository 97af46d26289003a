"""Plain functions that create rows and files for the portal's tests. Pixels are small, but real and on disk."""

from __future__ import annotations

import csv
import hashlib
import io
import uuid
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from django.db import connection, transaction
from django.utils import timezone
from numpy.typing import NDArray
from PIL import Image as PillowImage
from pydicom.dataset import Dataset as DicomDataset
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid

from portal.imaging.deidentify import pseudonym
from portal.imaging.film import PixelFacts, pack, pixel_sha256
from portal.intake import film_files, quarantine_files
from portal.intake.encrypted_files import encrypt_bytes
from portal.intake.pseudonym_key import site_key
from portal.labels.events import LabelChange, append, label_as_seen
from portal.models import (
    Dataset,
    FilmPair,
    Image,
    LabelEvent,
    LabelSource,
    Membership,
    NormalCriteria,
    Patient,
    QuarantinedFile,
    Role,
    Site,
    Split,
    SplitImage,
    SplitMember,
    Upload,
    User,
)
from portal.people.tokens import make_token

PASSWORD = "a long enough one"


# people and places --------------------------------------------------------------------------------------


def site(name: str = "Seoul") -> Site:
    return Site.objects.get_or_create(name=name)[0]


def user(name: str, *roles: Role, at: Site | None = None, **fields: Any) -> User:
    """A person with these roles at the site; without roles, a member of no site."""
    person = User.objects.create_user(name, password=PASSWORD, **fields)
    for role in roles:
        Membership.objects.create(user=person, site=at or site(), role=role)
    return person


def curator(name: str = "curator", *, at: Site | None = None) -> User:
    return user(name, Role.CURATOR, at=at)


def api_token(owner: User, scope: str = "write") -> str:
    """The secret of a new token."""
    return make_token(owner=owner, name=f"token {uuid.uuid4()}", scope=scope, days=7)[1]


def dataset(name: str = "Normals", *, at: Site | None = None) -> Dataset:
    return Dataset.objects.create(site=at or site(), name=name)


# films and labels ---------------------------------------------------------------------------------------


def pixels(seed: int = 0, *, rows: int = 24, columns: int = 20, bits: int = 12) -> NDArray[np.uint16]:
    """(rows, columns) noise on a slope, different for each seed."""
    generator = np.random.default_rng(seed)
    slope = np.linspace(0, 2**bits * 0.8, rows)[:, None]
    return (slope + generator.integers(0, 2**bits // 5, size=(rows, columns))).astype(np.uint16)


def patient(name: str, *, at: Site | None = None, identified: bool = True) -> Patient:
    place = at or site()
    return Patient.objects.get_or_create(
        site=place, pseudonym=pseudonym(site_key(place), name), defaults={"identified": identified}
    )[0]


_FIRST_SEED = 1_000
_seeds = count(_FIRST_SEED)


def restart_seeds() -> None:
    """The next film has the pixels of a test's first film again, so that no test depends on those before it."""
    global _seeds
    _seeds = count(_FIRST_SEED)


def film(
    of: Dataset, label: str = "", *, person: str = "", view: str = "PA", csv_split: str = "", **fields: Any
) -> Image:
    """A film with unique pixels; `label` is an imported label, `person` the patient (by default a new one). The preview
    is created on the first request."""
    return films_with(of, [FilmFacts(label, person=person, view=view, csv_split=csv_split, fields=fields)])[0]


@dataclass(frozen=True)
class FilmFacts:
    """The arguments of `film`."""

    label: str = ""
    person: str = ""
    view: str = "PA"
    csv_split: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)


def films_with(of: Dataset, facts: Sequence[FilmFacts]) -> list[Image]:
    """Films as `film` makes them, with few statements."""
    seeds = [next(_seeds) for _ in facts]
    people = [(one.person or f"film {seed}", bool(one.person)) for seed, one in zip(seeds, facts, strict=True)]
    patients = _patients(people, at=of.site)
    pixel_facts = PixelFacts(rows=24, columns=20, bits_stored=12, offset=0, photometric="MONOCHROME2").to_json()
    images = []
    for seed, one, (name, _) in zip(seeds, facts, people, strict=True):
        stored = pixels(seed)
        sha256 = pixel_sha256(stored)
        film_files.write_pixels(sha256, pack(stored))
        images.append(
            Image(
                dataset=of,
                patient=patients[name],
                source_sha256=sha256,
                pixel_sha256=sha256,
                rows=24,
                columns=20,
                facts=pixel_facts,
                view_position=one.view,
                csv_split=one.csv_split,
                **one.fields,
            )
        )
    Image.objects.bulk_create(images)
    labelled = [(image, one.label) for image, one in zip(images, facts, strict=True) if one.label]
    with transaction.atomic():
        append([LabelEvent(image=image, value=label, source=LabelSource.IMPORT) for image, label in labelled])
    return images


def _patients(people: Sequence[tuple[str, bool]], *, at: Site) -> dict[str, Patient]:
    """(name, whether identified) -> the patient of the name, who may be there."""
    key = site_key(at)
    pseudonyms = {name: pseudonym(key, name) for name, _ in people}
    there = {patient.pseudonym: patient for patient in at.patients.filter(pseudonym__in=pseudonyms.values())}
    missing = {
        pseudonyms[name]: Patient(site=at, pseudonym=pseudonyms[name], identified=identified)
        for name, identified in people
        if pseudonyms[name] not in there
    }
    Patient.objects.bulk_create(missing.values())
    return {name: (there | missing)[pseudonyms[name]] for name in pseudonyms}


def copy(of_film: Image, of: Dataset, label: str = "", *, person: str = "", **fields: Any) -> Image:
    """A film of the same pixels in another dataset, by default of a new patient without an identifier."""
    named = patient(person or f"copy {next(_seeds)}", at=of.site, identified=bool(person))
    kept = {name: getattr(of_film, name) for name in ("source_sha256", "pixel_sha256", "rows", "columns", "facts")}
    image = Image.objects.create(dataset=of, patient=named, **{"view_position": "PA"} | kept | fields)
    if label:
        event(image, label)
    return image


def quarantined(
    of: Dataset, *, author: User | None = None, name: str = "", data: bytes = b"not a film"
) -> QuarantinedFile:
    """A file in quarantine whose bytes, and the bytes of a picture, are kept."""
    upload = Upload.objects.create(dataset=of, uploaded_by=author, state="done", finished_at=timezone.now())
    file = QuarantinedFile.objects.create(
        upload=upload,
        dataset=of,
        source_sha256=hashlib.sha256(data).hexdigest(),
        name=name,
        reason="colour",
        sentence="This is a colour picture.",
        kept_at=timezone.now(),
        bytes_kept=len(data),
        has_preview=True,
    )
    film_files.write_once(quarantine_files.kept_path(file), encrypt_bytes(data))
    film_files.write_once(quarantine_files.preview_path(file), encrypt_bytes(b"a picture"))
    return file


def pair(first: Image, second: Image, *, correlation: float = 0.9) -> FilmPair:
    """A pair that nobody has judged."""
    return FilmPair.objects.create(site=first.dataset.site, first=first, second=second, correlation=correlation)


def put_in_unchecked(split: Split, parts: Mapping[str, Sequence[Image]]) -> None:
    """Put films into the split as before copies were looked for: without the columns and past the trigger."""
    on_postgresql = connection.vendor == "postgresql"
    with connection.cursor() as cursor:
        if on_postgresql:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED")
            cursor.execute("ALTER TABLE portal_splitimage DISABLE TRIGGER portal_splitimage_same_film")
        else:
            cursor.execute("SELECT sql FROM sqlite_master WHERE name = 'portal_splitimage_same_film'")
            trigger = cursor.fetchone()[0]
            cursor.execute("DROP TRIGGER portal_splitimage_same_film")
        for part, films in parts.items():
            for film in films:
                member, _ = SplitMember.objects.get_or_create(split=split, patient=film.patient, part=part)
                SplitImage.objects.create(member=member, image=film)
        if on_postgresql:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED")
        cursor.execute(
            "ALTER TABLE portal_splitimage ENABLE TRIGGER portal_splitimage_same_film" if on_postgresql else trigger
        )


def films(of: Dataset, **counts: int) -> list[Image]:
    """`films(dataset, normal=3, unlabelled=1)`: this many films, each of a different patient."""
    made = [
        FilmFacts("" if label == "unlabelled" else label, person=f"{label} {number}")
        for label, count in counts.items()
        for number in range(count)
    ]
    return films_with(of, made)


def event(image: Image, value: str = "", author: User | None = None, **fields: Any) -> LabelEvent:
    """Append an event as labelling does; without an author, as an import does."""
    source = LabelSource.READER if author else LabelSource.IMPORT
    label_event = LabelEvent(image=image, value=value, author=author, **{"source": source, **fields})
    with transaction.atomic():
        append([label_event])
    return label_event


def criteria(text: str, *, at: Site | None = None) -> NormalCriteria:
    """The next version of the site's criteria, written by somebody who is not a member any more."""
    place = at or site()
    author = User.objects.get_or_create(username="author of the criteria")[0]
    return NormalCriteria.objects.create(
        site=place, version=place.normal_criteria.count() + 1, text=text, author=author
    )


def label_films(*, images: Sequence[Image], value: str, author: User, site: Site, **change: Any) -> uuid.UUID:
    """Label films as a person does who sees their current state. Returns the act."""
    seen = Counter(LabelEvent.objects.filter(image__in=images).values_list("image_id", flat=True))
    done = label_as_seen(
        images=images, seen=seen, change=LabelChange(value=value, **change), act=uuid.uuid4(), author=author, site=site
    )
    return done.act


# files ----------------------------------------------------------------------------------------------------


def png(path: Path, stored: NDArray[Any] | None = None, *, seed: int = 0) -> Path:
    return _picture(path, pixels(seed) if stored is None else stored, "PNG")


def png_8bit(path: Path, *, seed: int = 0) -> Path:
    return _picture(path, pixels(seed, bits=8).astype(np.uint8), "PNG")


def jpeg(path: Path, *, seed: int = 0) -> Path:
    return _picture(path, pixels(seed, bits=8).astype(np.uint8), "JPEG")


def tiff(path: Path, *, seed: int = 0) -> Path:
    return _picture(path, pixels(seed), "TIFF")


def colour_png(path: Path) -> Path:
    return _picture(path, np.random.default_rng(0).integers(0, 255, (20, 20, 3), dtype=np.uint8), "PNG")


def _picture(path: Path, stored: NDArray[Any], kind: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    PillowImage.fromarray(stored).save(path, kind)
    return path


def dicom(path: Path, *, seed: int = 0, **elements: Any) -> Path:
    """A CR film as written by a scanner; `elements` by pydicom's keywords, None omits an element."""
    stored = pixels(seed)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = ComputedRadiographyImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[str(seed)])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file: DicomDataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    values = {
        "SOPClassUID": ComputedRadiographyImageStorage,
        "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "StudyInstanceUID": generate_uid(entropy_srcs=[f"study {seed}"]),
        "Modality": "CR",
        "BodyPartExamined": "CHEST",
        "ViewPosition": "PA",
        "PatientID": f"P-{seed}",
        "PatientName": "Nomen^Nescio",
        "PatientSex": "F",
        "PatientAge": "047Y",
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": stored.shape[0],
        "Columns": stored.shape[1],
        "BitsAllocated": 16,
        "BitsStored": 12,
        "HighBit": 11,
        "PixelRepresentation": 0,
        "PixelData": stored.tobytes(),
        **elements,
    }
    for keyword, value in values.items():
        if value is not None:
            setattr(file, keyword, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    file.save_as(path, enforce_file_format=True)
    return path


COLUMNS = ("filename", "label", "patient_id", "projection", "split", "finding")


def table(path: Path, *rows: Mapping[str, Any]) -> Path:
    """A CSV with the known columns and any further columns of the rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(table_text(rows), encoding="utf-8")
    return path


def table_text(rows: Sequence[Mapping[str, Any]]) -> str:
    names = list(dict.fromkeys([*COLUMNS, *(name for row in rows for name in row)]))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def box_table(path: Path, *rows: Sequence[Any]) -> Path:
    """Rows of filename, x, y, width, height, finding."""
    lines = ["filename,x,y,width,height,finding", *(",".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def zipped(path: Path, members: Mapping[str, Path | bytes | str]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content.read_bytes() if isinstance(content, Path) else content)
    return path


def somewhere() -> uuid.UUID:
    """A UUID that no row has."""
    return uuid.uuid4()

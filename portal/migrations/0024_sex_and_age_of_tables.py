"""Sex and age that stand among the further columns of a table, where no page looks for them, become facts of patient
and film, as those of a header; what is known already stays. An age above 89 is not kept as it is written."""

import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

from portal.triggers import write_once_or_corrected

_GUARD = write_once_or_corrected()
_BATCH = 1000
_SEX = {"sex", "gender", "patientsex", "patientgender", "patientsexdicom", "geschlecht", "sexo", "sexe", "sesso"}
_AGE = {"age", "ageyears", "ageinyears", "patientage", "patientageyears", "alter", "edad", "leeftijd", "eta"}
_WORDS = {
    **dict.fromkeys(("m", "male", "man", "männlich", "maschio", "hombre", "homme"), "M"),
    **dict.fromkeys(("f", "female", "woman", "w", "weiblich", "femmina", "mujer", "femme"), "F"),
    **dict.fromkeys(("o", "other", "d", "diverse", "divers"), "O"),
}
_AGE_WORDS = re.compile(r"(\d{1,3})(?:[.,]\d+)?\s*([dwmy]?)", re.IGNORECASE)


def _age(text: str) -> str:
    stated = _AGE_WORDS.fullmatch(text.strip())
    if not stated:
        return ""
    years = int(stated[1]) // {"m": 12, "w": 52, "d": 365}.get(stated[2].lower(), 1)
    return str(min(years, 90)) if years <= 130 else ""


def _sex(text: str) -> str:
    return _WORDS.get(text.strip().lower(), "")


def _take(extra: dict[str, Any], names: set[str], read: Any) -> str:
    stated = {name: read(str(value)) for name, value in extra.items() if re.sub(r"[\s_-]+", "", name.lower()) in names}
    for name, value in stated.items():
        if value:
            del extra[name]
    values = {value for value in stated.values() if value}
    return values.pop() if len(values) == 1 else ""


def _band(age: str) -> str:
    decade = int(age) // 10 * 10 if age.isdigit() else -1
    return "" if decade < 0 else "90+" if decade >= 90 else f"{decade}-{decade + 9}"


def _batches(rows: Any) -> Iterator[list[Any]]:
    rows = iter(rows)
    while batch := list(islice(rows, _BATCH)):
        yield batch


def fill(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    image, patient = apps.get_model("portal", "Image"), apps.get_model("portal", "Patient")
    unknown: dict[int, tuple[str, str]] = {
        pk: (sex, band) for pk, sex, band in patient.objects.values_list("pk", "sex", "age_band") if not (sex and band)
    }
    known: dict[int, tuple[str, str]] = {}
    films = image.objects.exclude(extra={}).order_by("pk").only("pk", "extra", "header", "patient_id")
    for films_of_batch in _batches(films.iterator(chunk_size=_BATCH)):
        changed = []
        for film in films_of_batch:
            before = dict(film.extra)
            sex, age = _take(film.extra, _SEX, _sex), _take(film.extra, _AGE, _age)
            if film.extra == before:
                continue
            stated = {name: value for name, value in (("patient_sex", sex), ("age_years", age)) if value}
            film.header = stated | film.header
            changed.append(film)
            old = known.get(film.patient_id, unknown.get(film.patient_id))
            if old is not None:
                known[film.patient_id] = (
                    old[0] or film.header.get("patient_sex", "")[:1],
                    old[1] or _band(film.header.get("age_years", "")),
                )
        image.objects.bulk_update(changed, ["extra", "header"])
    for people in _batches(known.items()):
        rows = [patient(pk=pk, sex=sex, age_band=band) for pk, (sex, band) in people]
        patient.objects.bulk_update(rows, ["sex", "age_band"])
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # no trigger is made while rows wait to be checked


class Migration(migrations.Migration):
    dependencies = [("portal", "0021_training_films")]
    operations = [
        migrations.RunPython(_GUARD.reverse_code, migrations.RunPython.noop),
        migrations.RunPython(fill, migrations.RunPython.noop),
        migrations.RunPython(_GUARD.code, migrations.RunPython.noop),
    ]

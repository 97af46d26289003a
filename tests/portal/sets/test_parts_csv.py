"""The parts of a split as a CSV: the command line then has the portal's parts, film by film."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from pathlib import Path

import pytest
from django.core.exceptions import PermissionDenied
from django.core.management import CommandError, call_command

from ml_engine.engine import manifest
from portal.models import Dataset, Exposure, Image, Part, Role, Split, SplitImage
from portal.people.blinding import open_for
from portal.sets.parts_csv import parts_csv, parts_csv_for
from portal.sets.splits import SplitRequest, draw_split
from tests.portal import factories

pytestmark = [pytest.mark.django_db, pytest.mark.both]

FRACTIONS = {"align": 0.1, "fit": 0.3, "tune": 0.2, "calibrate": 0.2, "test": 0.2}


@pytest.fixture
def of(data_dir: Path) -> Dataset:
    return factories.dataset()


def named_films(of: Dataset, *, third: str = "films/film-02.png") -> None:
    """Films as a CSV names them, two of each patient; some patients have a normal and an abnormal one."""
    for number in range(40):
        label = "abnormal" if number % 5 == 0 else "normal"
        name = third if number == 2 else f"films/film-{number:02}.png"
        factories.film(of, label, person=f"P{number // 2}", original_name=name)


def drawn(of: Dataset, *, name: str = "S") -> Split:
    request = SplitRequest(site=of.site, name=name, datasets=[of], seed=3, author=factories.curator(f"of {name}"))
    return draw_split(request, fractions=FRACTIONS)


def lines(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_the_command_line_has_the_parts_of_the_portal(of: Dataset, tmp_path: Path) -> None:
    named_films(of)
    split = drawn(of)
    path = tmp_path / "parts.csv"
    path.write_text(parts_csv(split), encoding="utf-8")
    table = manifest.read_csv(path)
    for preset in ("default", "paper"):
        selection = manifest.for_fit(table, preset=preset, seed=99)  # nothing is left to draw
        scored = manifest.for_score(table)
        by_part = defaultdict(set)
        for row in selection.rows:
            by_part[row.part].add((row.filename, row.label))
        by_part["test"] = {(row.filename, "") for row in scored.rows}
        assert selection.without_patient == scored.without_patient == 0
        expected = defaultdict(set)
        for row in SplitImage.objects.filter(member__split=split).select_related("member", "image__current_label"):
            label = "" if row.member.part == Part.TEST else row.image.current_label.value
            expected[row.member.part].add((row.image.original_name, label))
        assert set(by_part) == set(FRACTIONS)
        assert by_part == expected


def test_a_name_is_no_formula_and_the_command_line_reads_it_as_it_is(of: Dataset, tmp_path: Path) -> None:
    named_films(of, third="=films/film-02.png")
    path = tmp_path / "parts.csv"
    path.write_text(parts_csv(drawn(of)), encoding="utf-8")
    assert [row["filename"] for row in lines(path.read_text("utf-8")) if "02" in row["filename"]] == [
        "'=films/film-02.png"
    ]
    assert "=films/film-02.png" in [row["filename"] for row in manifest.read_csv(path)]


def test_patients_stay_together_and_unnamed(of: Dataset) -> None:
    named_films(of)
    rows = lines(parts_csv(drawn(of)))
    patient_of = {film.original_name: str(film.patient.uuid) for film in Image.objects.select_related("patient")}
    assert [row["patient_id"] for row in rows] == [patient_of[row["filename"]] for row in rows]
    assert len({row["patient_id"] for row in rows}) < len(rows)


def test_labels_are_those_of_the_cut_off(of: Dataset) -> None:
    named_films(of)
    split = drawn(of)
    before = parts_csv(split)
    film = SplitImage.objects.filter(member__split=split).first().image
    factories.event(film, "unsure", author=factories.curator("later"))
    assert parts_csv(split) == before


@pytest.mark.parametrize("fault", ["without a name", "of the name of another"])
def test_films_without_names_of_their_own_have_those_of_an_archive(of: Dataset, fault: str) -> None:
    named_films(of, third="" if fault == "without a name" else "films/film-03.png")
    rows = lines(parts_csv(drawn(of)))
    assert len(rows) > 20
    assert all(row["filename"] == f"files/{row['image']}.u16.gz" for row in rows)


def test_it_shows_labels_and_is_refused_to_a_person_who_reads_one_of_the_films_blinded(of: Dataset) -> None:
    named_films(of)
    split, person = drawn(of), factories.user("reader", Role.READER)
    films = Image.objects.filter(split_images__member__split=split)
    assert parts_csv_for(person, split) == parts_csv(split)
    shown = Exposure.objects.filter(person=person, kind=Exposure.Kind.LABEL).values_list("image", flat=True)
    assert set(shown) == set(films.values_list("pk", flat=True))

    open_for(person=person, images=[films[0]], source=split.uuid, words="the worklist", days=28)
    with pytest.raises(PermissionDenied, match="The CSV of the parts holds"):
        parts_csv_for(person, split)


# the command


def test_the_command_writes_it(of: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    named_films(of)
    split = drawn(of)
    call_command("export_parts", site=of.site.name, split="S", out=tmp_path / "parts.csv")
    assert (tmp_path / "parts.csv").read_text() == parts_csv(split)
    assert "File names are as in the imported CSV." in capsys.readouterr().err
    call_command("export_parts", site=of.site.name, split="S")
    assert capsys.readouterr().out == parts_csv(split)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"site": "Nowhere"}, "There is no site 'Nowhere'; the sites are: Seoul"),
        ({"split": "T"}, "There is no split 'T' at Seoul; its splits are: S."),
        ({"out": Path("none/parts.csv")}, "none/parts.csv cannot be written: No such file or directory."),
    ],
)
def test_bad_options_are_a_sentence(of: Dataset, options: dict[str, object], sentence: str) -> None:
    named_films(of)
    drawn(of)
    with pytest.raises(CommandError) as refused:
        call_command("export_parts", **({"site": "Seoul", "split": "S"} | options))
    assert sentence in str(refused.value)

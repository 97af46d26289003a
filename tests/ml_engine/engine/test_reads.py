"""The CSV of a pool joined with the films of a model: what is refused, and what is kept of each film."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ml_engine.core.errors import EngineError
from ml_engine.engine import manifest, reads
from ml_engine.engine.manifest import InvalidManifest, ManifestRow
from ml_engine.engine.reads import ReadFilm, Reads
from tests.ml_engine import films

MODEL = [
    ManifestRow("fit.png", "", "f" * 64, "p-fit", "fit", "normal"),
    ManifestRow("tune.png", "", "a" * 64, "p-tune", "tune", "abnormal"),
    ManifestRow("calibrate.png", "", "c" * 64, "p-calibrate", "calibrate", "normal"),
    ManifestRow("elsewhere.png", "", "e" * 64, "p-else", "", ""),  # of the pool of an earlier head
]


def selected(tmp_path: Path, *lines: dict[str, str]) -> Reads:
    names = dict.fromkeys(name for line in lines for name in line)
    table = [dict.fromkeys(names, "") | line for line in lines]
    return reads.select(manifest.read_csv(films.write_csv(tmp_path / "reads.csv", table)), MODEL, name="reads.csv")


def test_the_films_of_the_model_come_first_and_read_films_follow(tmp_path: Path) -> None:
    chosen = selected(
        tmp_path,
        {
            "filename": "new.png",
            "label": "abnormal",
            "patient_id": "p",
            "weight": "4",
            "model_shown": "yes",
            "site": "S",
        },
        {"filename": "tune.png", "label": "normal", "view": "PA"},
        {"filename": "unread.png"},
    )

    assert [row.filename for row in chosen.rows] == ["fit.png", "tune.png", "calibrate.png", "new.png", "unread.png"]
    assert [row.part for row in chosen.rows] == ["fit", "tune", "calibrate", "", ""]
    assert chosen.rows[1].label == "abnormal"  # the curators' label stays the reference
    assert chosen.films[1] == ReadFilm("tune.png", is_in_pool=True, verdict="normal", view="PA")
    assert chosen.films[3] == ReadFilm(
        "new.png", is_in_pool=True, verdict="abnormal", weight=4.0, model_shown=True, site="S"
    )
    assert chosen.rows[4].patient == "film:unread.png" and chosen.films[4].is_in_pool
    assert not chosen.films[0].is_in_pool and chosen.abnormal == 1


@pytest.mark.parametrize("part", ["calibrate", "test", "Test"])
@pytest.mark.parametrize("label", ["abnormal", ""])
def test_a_film_of_calibrate_or_test_is_refused_by_the_name_of_its_part(tmp_path: Path, part: str, label: str) -> None:
    with pytest.raises(InvalidManifest, match="are never used for a semi-supervised head") as why:
        selected(tmp_path, {"filename": "a.png"}, {"filename": "b.png", "label": label, "split": part})
    assert str(why.value).startswith(f"Line 3 of reads.csv: the film is in the {part.lower()} part, and films of")


@pytest.mark.parametrize("line", [{"filename": "calibrate.png"}, {"filename": "new.png", "patient_id": "p-calibrate"}])
def test_a_calibrate_film_of_the_model_is_refused_without_a_column_split(tmp_path: Path, line: dict[str, str]) -> None:
    with pytest.raises(InvalidManifest, match="the film, or its patient, is in the model's calibrate part"):
        selected(tmp_path, line)


def test_a_known_normal_gives_its_columns_and_cannot_be_abnormal(tmp_path: Path) -> None:
    chosen = selected(tmp_path, {"filename": "fit.png", "label": "normal", "scanner": "A", "weight": "3"})
    assert chosen.films[0] == ReadFilm("fit.png", scanner="A")

    with pytest.raises(InvalidManifest, match="is one of the known normals that the model was fitted"):
        selected(tmp_path, {"filename": "fit.png", "label": "abnormal"})


def test_films_without_a_clear_verdict_are_left_out(tmp_path: Path) -> None:
    chosen = selected(
        tmp_path,
        {"filename": "a.png", "label": "unsure"},
        {"filename": "tune.png", "label": "exclude"},
        {"filename": "b.png", "label": "exclude"},
    )

    assert len(chosen.rows) == 3 and chosen.left_out == {"labelled unsure": 1, "labelled exclude": 2}
    assert not chosen.films[1].is_in_pool and chosen.films[1].verdict == ""


@pytest.mark.parametrize("text", ["0", "-1", "inf", "much"])
def test_a_weight_is_a_positive_number(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidManifest, match="write the inverse of the probability with which"):
        selected(tmp_path, {"filename": "a.png", "weight": text})


def test_model_shown_is_yes_or_no(tmp_path: Path) -> None:
    with pytest.raises(InvalidManifest, match="model_shown is 'perhaps'; write yes, no or nothing"):
        selected(tmp_path, {"filename": "a.png", "model_shown": "perhaps"})


@pytest.mark.parametrize(("sha256", "part"), [("c" * 64, "calibrate"), ("f" * 64, "fit")])
def test_a_copy_of_a_film_of_the_model_is_refused(sha256: str, part: str) -> None:
    reads.refuse_copies([*MODEL, ManifestRow("copy.png", sha256="a" * 64)])
    with pytest.raises(InvalidManifest, match=f"copy.png has the same content as a film of the model's {part} part"):
        reads.refuse_copies([*MODEL, ManifestRow("copy.png", sha256=sha256)])


def test_the_file_is_read_back_and_belongs_to_its_manifest(tmp_path: Path) -> None:
    chosen = selected(
        tmp_path, {"filename": "n,ew.png", "label": "abnormal", "weight": "0.1", "model_shown": "1", "period": "2019"}
    )
    path = tmp_path / "stored.csv"
    reads.write(path, chosen.films)

    assert reads.read(path, chosen.rows) == chosen.films
    with pytest.raises(EngineError, match=r"does not hold the films of images\.csv in their order"):
        reads.read(path, chosen.rows[1:])
    path.write_text("filename\nfit.png\n", encoding="utf-8")
    with pytest.raises(EngineError, match=r"inputs/reads\.csv is missing or damaged"):
        reads.read(path, chosen.rows[:1])


def test_the_hash_is_that_of_the_file(tmp_path: Path) -> None:
    from ml_engine.core import files

    chosen: Any = selected(tmp_path, {"filename": "a.png"})
    reads.write(tmp_path / "stored.csv", chosen.films)
    assert reads.sha256_of(chosen.films) == files.sha256_of(tmp_path / "stored.csv")

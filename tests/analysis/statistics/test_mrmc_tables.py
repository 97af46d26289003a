"""The tables for R packages: exact rows, and the same statistics after reading them back."""

import csv
import io
import math

import numpy as np
import pytest

from analysis.statistics import imrmc_table, mrmc_long_table, multi_reader_difference

NAN = math.nan
NAMES = {"readers": ["anna", "ben"], "modalities": ["unaided", "aided"], "cases": ["11", "12", "13"]}
LABELS = [0, 1, 1]
RATINGS = [[[10, 5], [0, 12.5]], [[70, 90], [NAN, 100]], [[NAN, NAN], [NAN, NAN]]]


def test_rows_of_the_long_table():
    assert mrmc_long_table(LABELS, RATINGS, **NAMES) == [
        ("reader", "modality", "case", "truth", "rating"),
        ("anna", "unaided", "11", "0", "10"),
        ("anna", "aided", "11", "0", "5"),
        ("ben", "unaided", "11", "0", "0"),
        ("ben", "aided", "11", "0", "12.5"),
        ("anna", "unaided", "12", "1", "70"),
        ("anna", "aided", "12", "1", "90"),
        ("ben", "aided", "12", "1", "100"),
    ]


def test_rows_of_imrmc():
    # "For every caseID, there must be a row corresponding to the truth observation", readerID and modalityID "truth",
    # score 0 or 1: the manual of iMRMC, dfMRMC_example
    assert imrmc_table(LABELS, RATINGS, **NAMES) == [
        ("readerID", "caseID", "modalityID", "score"),
        ("truth", "11", "truth", "0"),
        ("truth", "12", "truth", "1"),
        ("anna", "11", "unaided", "10"),
        ("anna", "11", "aided", "5"),
        ("ben", "11", "unaided", "0"),
        ("ben", "11", "aided", "12.5"),
        ("anna", "12", "unaided", "70"),
        ("anna", "12", "aided", "90"),
        ("ben", "12", "aided", "100"),
    ]


def make_study():
    generator = np.random.default_rng(1)
    labels = np.r_[np.zeros(20, int), np.ones(15, int)]
    ratings = np.round(np.clip(50 + 15 * labels[:, None, None] + generator.normal(0, 20, (35, 5, 2)), 0, 100), 3)
    names = {
        "readers": [f"reader {j}" for j in range(5)],
        "modalities": ["aided", "unaided"],
        "cases": [str(100 + i) for i in range(35)],
    }
    return labels, ratings, names


def read_back(rows):
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return list(csv.DictReader(io.StringIO(text.getvalue())))


def test_the_long_table_holds_the_whole_study():
    labels, ratings, names = make_study()
    rows = read_back(mrmc_long_table(labels, ratings, **names))
    assert len(rows) == 350
    read = np.full(ratings.shape, NAN)
    truth = np.full(35, -1)
    for row in rows:
        i, j = names["cases"].index(row["case"]), names["readers"].index(row["reader"])
        m = names["modalities"].index(row["modality"])
        read[i, j, m], truth[i] = float(row["rating"]), int(row["truth"])
    first = multi_reader_difference(labels, ratings[:, :, 0], ratings[:, :, 1])
    assert multi_reader_difference(truth, read[:, :, 0], read[:, :, 1]) == first


def test_imrmc_holds_the_same_ratings():
    labels, ratings, names = make_study()
    rows = read_back(imrmc_table(labels, ratings, **names))
    truth = {row["caseID"]: row["score"] for row in rows if row["readerID"] == "truth"}
    joined = {
        (row["readerID"], row["modalityID"], row["caseID"], truth[row["caseID"]], row["score"])
        for row in rows
        if row["readerID"] != "truth"
    }
    assert joined == set(mrmc_long_table(labels, ratings, **names)[1:])


def test_ratings_are_not_rounded():
    value = 100 / 3
    row = mrmc_long_table([1], [[[value]]], readers=["a"], modalities=["b"], cases=["c"])[1]
    assert float(row[-1]) == value


def test_no_case_gives_only_the_names_of_the_columns():
    empty = np.empty((0, 2, 2))
    assert mrmc_long_table([], empty, **{**NAMES, "cases": []}) == [("reader", "modality", "case", "truth", "rating")]
    assert len(imrmc_table([], empty, **{**NAMES, "cases": []})) == 1


def test_misuse_raises():
    with pytest.raises(ValueError, match="ratings have shape \\(3, 2, 2\\)"):
        mrmc_long_table(LABELS, RATINGS, **{**NAMES, "readers": ["anna"]})
    with pytest.raises(ValueError, match="names of cases must differ"):
        mrmc_long_table(LABELS, RATINGS, **{**NAMES, "cases": ["1", "1", "2"]})
    with pytest.raises(ValueError, match="names of readers must differ and not be empty"):
        mrmc_long_table(LABELS, RATINGS, **{**NAMES, "readers": ["", "ben"]})
    for name in ("truth", "-1"):
        with pytest.raises(ValueError, match="iMRMC marks the truth so"):
            imrmc_table(LABELS, RATINGS, **{**NAMES, "modalities": [name, "aided"]})
    with pytest.raises(ValueError, match="labels must be 0"):
        imrmc_table([0, 1, 2], RATINGS, **NAMES)

"""Blind spots: lesions of a small table that can be counted by hand."""

from __future__ import annotations

from typing import Any

from analysis.studies import blind

# kind, size, contrast, film, cell, cells touched, share masked; by global, region and fused map: results, film marked
LESIONS = """
nodule    10  0.2  a   5  1  0    yes no yes   yes no yes
nodule    10  0.2  a   5  1  0    no  no no    no  no yes
nodule    10  0.2  b   6  2  0.5  no  no yes   no  no yes
nodule    10  0.2  c   6  2  1    no  no no    no  no no
nodule    30  0.2  a   5  2  0    yes yes yes  yes yes yes
nodule    30  0.2  b   5  1  0    no  yes no   no  yes no
nodule    30  0    b   5  1  0    no  no no    no  no no
effusion  40  0.2  c  10  1  1    no  no no    no  no no
"""


def lesions_by_hand() -> blind.Lesions:
    lines = []
    for text in LESIONS.strip().splitlines():
        kind, size, contrast, film, cell, touched, share, *answers = text.split()
        line = {"image": film, "filename": film, "patient": film, "kind": kind, "size_mm": size, "contrast": contrast}
        line |= {"cell": cell, "cells_touched": touched, "masked_share": share}
        line["masked_off"] = "yes" if float(share) > 0 else "no"
        for name, found, marked in zip(blind.MAPS, answers[:3], answers[3:], strict=True):
            line |= {f"{name}_found_there": found, f"{name}_peak_there": "no", f"{name}_marked_after": marked}
        lines.append(line)
    films = [
        {"patient": film, "global_marked": "no", "region_marked": "no", "fused_marked": "yes" if film == "a" else "no"}
        for film in "abc"
    ]
    summary = {"asked": {"kinds": ["nodule", "effusion"]}, "grid": 4, "fusion_weight": 0.6, "false_alarm_rate": 0.2}
    return blind.lesions_of(summary, lines, films)


def of_maps(maps: Any, what: str) -> list[int]:
    return [getattr(one, what).successes for one in maps]


def test_lesions_are_counted_by_kind_size_and_contrast() -> None:
    results = blind.blind_results(lesions_by_hand())
    counted = [
        (one.kind, one.size_mm, one.contrast, one.films, one.maps[0].found.total, of_maps(one.maps, "found"))
        for one in results.groups
    ]
    assert counted == [
        ("nodule", 10, 0.2, 3, 4, [1, 0, 2]),
        ("nodule", 30, 0, 1, 1, [0, 0, 0]),
        ("nodule", 30, 0.2, 2, 2, [1, 2, 1]),
        ("effusion", 40, 0.2, 1, 1, [0, 0, 0]),
    ]
    assert of_maps(results.groups[0].maps, "marked") == [1, 0, 3]
    assert results.groups[0].maps[0].found.patients == 3
    assert (results.lesions, results.films, results.patients) == (8, 3, 3)


def test_untouched_films_that_are_marked_are_false_alarms() -> None:
    results = blind.blind_results(lesions_by_hand())
    rates = {name: rate.value for name, rate in results.false_alarms.items()}
    assert rates == {"global": 0, "region": 0, "fused": 1 / 3}


def test_places_are_cells_of_the_grid_with_the_rate_of_the_fused_map() -> None:
    results = blind.blind_results(lesions_by_hand())
    shown = {
        (place.row, place.column): (place.lesions, place.masked_off, place.found and place.found.value)
        for place in results.places["nodule"]
        if place.lesions
    }
    assert shown == {(1, 1): (4, 0, 0.5), (1, 2): (2, 2, 0.5)}  # lesions without contrast are not counted
    assert [place.lesions for place in results.places[blind.ALL]] == [0] * 5 + [4, 2] + [0] * 3 + [1] + [0] * 5
    rates = {kind: (rate.successes, rate.total) for kind, rate in results.masked_off.items()}
    assert rates == {blind.ALL: (3, 8), "nodule": (2, 7), "effusion": (1, 1)}


def test_lesions_that_a_border_cuts_and_that_the_mask_takes_are_counted_apart() -> None:
    results = blind.blind_results(lesions_by_hand())
    of_all = [loss for loss in results.borders if loss.kind == blind.ALL]
    assert {loss.words: (loss.lesions, of_maps(loss.maps, "found")) for loss in of_all} == {
        "inside one cell": (3, [1, 1, 1]),
        "cut by a border of cells": (2, [1, 1, 2]),
        "all of it masked off": (2, [0, 0, 0]),
    }

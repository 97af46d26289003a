"""Figures: what they say, which film a mark leads to, and that they are small plain JSON."""

import json
import re

import numpy as np
import pytest

from analysis.figures import (
    NOTICE,
    RANDOM_WEIGHTS,
    AreaPoint,
    AxisLine,
    ExperimentMark,
    ForestRow,
    FrocCurve,
    KindOfScore,
    ReaderMarks,
    as_json,
    axis_figure,
    calibration_figure,
    drift_figure,
    experiments_figure,
    forest_figure,
    format_auroc,
    froc_figure,
    histogram_figure,
    learning_curve_figure,
    palette,
    reader_study_figure,
    roc_figure,
    scatter_figure,
    sweep_figure,
)
from analysis.statistics import (
    BatchDrift,
    auroc_interval,
    choose_weight,
    fusion_sweep,
    histogram,
    reader_points,
    risk_calibration,
    roc_band,
    roc_curve,
)
from tests.paths import ROOT

CSS = ROOT / "static" / "css" / "hilum.css"


def make_films(films=120):
    generator = np.random.default_rng(0)
    labels = np.arange(films) % 3 == 0
    scores = generator.normal(size=films) + labels
    return labels.astype(int), scores, [f"film-{i}" for i in range(films)]


def make_roc(*, films=120, missing=0, **options):
    labels, scores, ids = make_films(films)
    scores[:missing] = np.nan
    curve, auroc = roc_curve(labels, scores), auroc_interval(labels, scores, np.arange(films) // 2)
    kinds = [KindOfScore(kind, curve, auroc) for kind in ("global", "region", "fused")]
    band = roc_band(labels, scores, replicates=50)
    return as_json(roc_figure(kinds, image_ids=ids, band=band, **options))


def make_sweep(labels=None, **options):
    ours, scores, _ = make_films()
    labels = ours if labels is None else labels
    other = np.random.default_rng(1).normal(size=120) + labels
    weights = np.linspace(0, 1, 101)
    sweep = fusion_sweep(labels, weights * scores[:, None] + (1 - weights) * other[:, None])
    options.setdefault("chosen_weight", choose_weight(sweep))
    return sweep, as_json(sweep_figure(sweep, run_weight=0.25, **options))


def make_histogram(*, films=120, **options):
    labels, scores, ids = make_films(films)
    groups = np.where(labels == 1, "abnormal", "normal").astype(object)
    groups[1] = "unsure"
    counts = histogram(scores, groups, bins=20)
    figure = histogram_figure(counts, scores=scores, groups=groups, image_ids=ids, **options)
    return scores, groups, as_json(figure)


def make_all(**options):
    return [make_roc(**options), make_sweep(**options)[1], make_histogram(**options)[2]]


def make_empty(**options):
    curve, auroc = roc_curve([0, 0], [1.0, 2.0]), auroc_interval([0, 0], [1.0, 2.0])
    scores, groups = [np.nan], ["normal"]
    return [
        as_json(roc_figure([KindOfScore("fused", curve, auroc)], image_ids=["a", "b"], **options)),
        as_json(roc_figure([], image_ids=[], **options)),
        make_sweep(np.zeros(120), **options)[1],
        as_json(histogram_figure(histogram(scores, groups), scores=scores, groups=groups, image_ids=["a"], **options)),
    ]


def notes(figure):
    return [re.sub("<[^>]*>", " ", note["text"]) for note in figure["layout"]["annotations"]]


def trace(figure, start):
    (only,) = [t for t in figure["data"] if t.get("name", "").startswith(start)]
    return only


def test_format_auroc():
    labels, scores, _ = make_films()
    auroc = auroc_interval(labels, scores)
    assert format_auroc(auroc) == f"{auroc.auroc:.3f} ({auroc.low:.3f}–{auroc.high:.3f})"
    assert re.fullmatch(r"0\.\d{3} \(0\.\d{3}–0\.\d{3}\)", format_auroc(auroc))
    assert format_auroc(auroc_interval([0, 0, 1], [1.0, 3.0, 2.0])) == "0.500 (no interval)"
    assert format_auroc(auroc_interval([0, 0], [1.0, 3.0])) == "not defined"


@pytest.mark.parametrize("make", [make_all, make_empty])
def test_every_figure_carries_the_notice_and_where_true_the_loud_line(make):
    for figure in make():
        assert NOTICE in notes(figure)
        assert not any(RANDOM_WEIGHTS in note for note in notes(figure))
    for figure in make(random_weights=True):
        loud = [n for n in figure["layout"]["annotations"] if RANDOM_WEIGHTS in n["text"]]
        assert [n["bgcolor"] for n in loud] == [palette.ALARM]
        assert NOTICE in notes(figure)


@pytest.mark.parametrize("make", [make_all, make_empty])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_figure_is_plain_json_on_the_paper_of_its_theme(make, theme):
    for figure in make(theme=theme):
        text = json.dumps(figure, allow_nan=False)
        assert "bdata" not in text  # typed arrays in base64
        assert "template" not in figure["layout"]
        assert figure["layout"]["paper_bgcolor"] == palette.PAPER[theme]["paper"]
        assert figure["layout"]["plot_bgcolor"] == palette.PAPER[theme]["paper"]


def test_what_is_undefined_is_a_sentence_in_the_figure():
    roc, none, sweep, empty = make_empty()
    assert "No abnormal film has a score" in notes(roc)[-2]
    assert "No scores yet." in notes(none)
    assert "No abnormal film has a score" in notes(sweep)[-2]
    assert "No film has a score yet." in notes(empty)
    assert all(figure["data"] == [] for figure in (roc, none, sweep, empty))


def test_roc_names_interval_count_and_chance():
    figure = make_roc(missing=3)
    labels, scores, _ = make_films()
    scores[:3] = np.nan
    auroc = auroc_interval(labels, scores, np.arange(120) // 2)
    for kind in ("global", "region", "fused"):
        mark = trace(figure, kind.capitalize())
        assert mark["name"] == f"{kind.capitalize()} {format_auroc(auroc)}"
        assert mark["line"]["color"] == palette.SCORES["light"][kind]
    assert trace(figure, "Chance")["x"] == trace(figure, "Chance")["y"] == [0, 1]
    assert trace(figure, "95 % band")["fill"] == "toself"
    title = figure["layout"]["legend"]["title"]["text"]
    assert title.startswith("n = 39 abnormal, 78 normal<br>of ")
    assert "3 without a score left out" in title
    assert "AUROC (95 % interval)" in title


def test_roc_counts_patients_only_where_they_repeat():
    labels, scores, ids = make_films()
    kinds = [KindOfScore("fused", roc_curve(labels, scores), auroc_interval(labels, scores))]
    assert "patients" not in roc_figure(kinds, image_ids=ids).layout.legend.title.text


def test_roc_without_an_interval_says_why():
    labels, scores = [0, 0, 0, 1], [1.0, 2.0, 3.0, 2.5]
    kinds = [KindOfScore("fused", roc_curve(labels, scores), auroc_interval(labels, scores))]
    figure = as_json(roc_figure(kinds, image_ids=list("abcd"), band=roc_band(labels, scores)))
    title = figure["layout"]["legend"]["title"]["text"].replace("<br>", " ")
    assert "only one abnormal patient" in title
    assert "interval)" not in title
    assert [t["name"] for t in figure["data"]] == ["Fused 0.667 (no interval)", "Chance 0.500"]


def test_each_roc_point_leads_to_a_film_at_its_threshold():
    _, scores, ids = make_films()
    fused = trace(make_roc(), "Fused")
    assert fused["customdata"][0] is None  # above every score there is no film
    for film, text in zip(fused["customdata"][1:], fused["text"][1:], strict=True):
        assert f"{scores[ids.index(film)]:.4g}" == text
    assert "%{customdata}" in fused["hovertemplate"]


def test_a_film_without_a_name_is_counted_but_has_no_mark():
    labels, scores, ids = make_films()
    ids[0] = ids[1] = None  # an abnormal film and a normal one
    curve = roc_curve(labels, scores)
    roc = as_json(roc_figure([KindOfScore("fused", curve, auroc_interval(labels, scores))], image_ids=ids))
    named = set(trace(roc, "Fused")["customdata"]) - {None}
    assert named <= set(ids) and len(named) > 10
    counts = histogram(scores, labels.astype(str), bins=20)
    figure = as_json(histogram_figure(counts, scores=scores, groups=labels.astype(str), image_ids=ids))
    marks = [film for t in figure["data"] if t["type"] == "scatter" for film in t["customdata"]]
    assert len(marks) == 118 and None not in marks
    assert "marks for 118 of 120 films" in figure["layout"]["xaxis"]["title"]["text"]
    assert sum(count or 0 for t in figure["data"] if t["type"] == "bar" for count in t["y"]) == 120


def test_roc_of_many_films_stays_small():
    figure = make_roc(films=20_000)
    assert all(len(t["x"]) <= 400 for t in figure["data"])
    assert len(json.dumps(figure)) < 100_000
    fused = trace(figure, "Fused")
    assert np.trapezoid(fused["y"], fused["x"]) == pytest.approx(float(fused["name"].split()[1]), abs=1e-3)


def test_sweep_marks_the_ends_the_choice_and_the_run():
    sweep, figure = make_sweep()
    for name, weight in (("Global", 0.0), ("Region", 1.0), ("Run", 0.25)):
        k = round(100 * weight)
        mark = trace(figure, name)
        assert mark["x"] == [weight]
        assert mark["y"][0] == pytest.approx(sweep.auroc[k], abs=1e-5)
        expected = f"{sweep.auroc[k]:.3f} ({sweep.low[k]:.3f}–{sweep.high[k]:.3f})"
        assert mark["name"] == f"{name}, w {weight:g}: {expected}"
    assert trace(figure, "On tune")["x"] == [choose_weight(sweep)]
    assert trace(figure, "Global")["marker"]["color"] == palette.SCORES["light"]["global"]
    low, high = figure["layout"]["yaxis"]["range"]
    assert low < sweep.low.min() < sweep.high.max() < high
    assert "n = 40 abnormal, 80 normal" in figure["layout"]["legend"]["title"]["text"]


def test_the_best_weight_on_test_is_marked_without_its_number():
    sweep, figure = make_sweep(on_test=True)
    best = trace(figure, "Best on test")
    assert best["x"] == [pytest.approx(np.argmax(sweep.auroc) / 100)]
    assert best["y"] == [pytest.approx(sweep.auroc.max(), abs=1e-5)]
    assert best["name"] == "Best on test, not to be reported"
    assert f"{sweep.auroc.max():.3f}" not in json.dumps(best)
    assert not [one for one in make_sweep()[1]["data"] if one["name"].startswith("Best on test")]


def test_sweep_does_not_magnify_small_differences():
    labels = np.arange(4000) % 2
    scores = np.random.default_rng(0).normal(size=4000) + labels
    sweep = fusion_sweep(labels, np.repeat(scores[:, None], 101, axis=1))
    low, high = as_json(sweep_figure(sweep, run_weight=0.6))["layout"]["yaxis"]["range"]
    assert high - low >= 0.2
    assert (low + high) / 2 == pytest.approx(sweep.auroc[0], abs=0.01)


def test_sweep_without_a_choice_marks_none():
    _, figure = make_sweep(chosen_weight=None)
    assert not [t for t in figure["data"] if "Chosen" in t["name"]]


def test_sweep_without_an_interval_says_so():
    labels = np.zeros(120)
    labels[0] = 1
    _, figure = make_sweep(labels)
    assert trace(figure, "Run")["name"].endswith("(no interval)")
    assert not [t for t in figure["data"] if "interval" in t["name"] and "fill" in t]


def test_histogram_shows_each_label_in_its_colour_and_shape():
    scores, groups, figure = make_histogram(theme="dark", threshold=1.5)
    names = ["normal", "abnormal", "unsure"]
    bars = [t for t in figure["data"] if t["type"] == "bar"]
    marks = [t for t in figure["data"] if t["type"] == "scatter" and t["mode"] == "markers"]
    assert [b["legendgroup"] for b in bars] == [m["legendgroup"] for m in marks] == names
    for name, bar, mark in zip(names, bars, marks, strict=True):
        assert bar["name"] == f"{name.capitalize()}, n = {(groups == name).sum()}"
        assert sum(count or 0 for count in bar["y"]) == (groups == name).sum()
        assert bar["marker"]["line"]["color"] == mark["marker"]["color"] == palette.LABELS["dark"][name]
        assert mark["marker"]["symbol"] == palette.SHAPES[name]
        for x, film in zip(mark["x"], mark["customdata"], strict=True):
            assert x == pytest.approx(scores[int(film.removeprefix("film-"))], rel=1e-4)
            assert groups[int(film.removeprefix("film-"))] == name
    line = trace(figure, "Threshold 1.5")
    assert (list(line["x"]), list(line["y"]), line["yaxis"]) == ([1.5, 1.5], [0, 1], "y9")
    assert figure["layout"]["yaxis9"]["domain"] == [0, 1]  # across the counts and the marks


def test_histogram_of_many_films_keeps_the_extremes_and_says_what_it_draws():
    scores, groups, figure = make_histogram(films=9000, max_films=300)
    marks = [t for t in figure["data"] if t["type"] == "scatter"]
    drawn = [film for t in marks for film in t["customdata"]]
    assert len(set(drawn)) == len(drawn) <= 300
    assert f"marks for {len(drawn)} of 9,000 films" in figure["layout"]["xaxis"]["title"]["text"]
    for name in ("normal", "abnormal"):
        ranked = sorted(np.flatnonzero(groups == name), key=lambda film: scores[film])
        assert {f"film-{film}" for film in (*ranked[:25], *ranked[-25:])} <= set(drawn)
    assert len(json.dumps(figure)) < 40_000


def test_histogram_draws_a_label_it_does_not_know_last_and_in_grey():
    groups = ["other", "normal", "other"]
    figure = as_json(
        histogram_figure(
            histogram([1.0, 2.0, 3.0], groups), scores=[1.0, 2.0, 3.0], groups=groups, image_ids=list("abc")
        )
    )
    assert [t["legendgroup"] for t in figure["data"]] == ["normal", "normal", "other", "other"]
    assert figure["data"][-1]["marker"]["color"] == palette.PAPER["light"]["muted"]


@pytest.mark.parametrize("figure", make_all(random_weights=True, title="ROC, test part"))
def test_the_height_holds_plot_legend_and_notice(figure):
    layout = figure["layout"]
    margin = layout["margin"]
    entries = sum(t.get("showlegend") is not False for t in figure["data"])
    lines = layout["legend"]["title"]["text"].count("<br>") + 1
    assert layout["height"] - margin["t"] - margin["b"] == 370
    assert margin["b"] >= 40 + 19 * entries + 16 * lines + 20  # axis, entries, title, notice
    assert "ROC, test part" in notes(figure)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colours_are_those_of_the_style_sheet(theme):
    css = CSS.read_text()
    light, dark = (dict(re.findall(r"--hilum-([a-z]+): (#[0-9a-f]{6})", part)) for part in css.split("dark", 1))
    declared = light if theme == "light" else {**light, **dark}
    for name, colour in {**palette.SCORES[theme], **palette.LABELS[theme]}.items():
        assert declared[name] == colour, name
    shapes = {"circle": "●", "triangle-up": "▲", "diamond": "◆", "x": "✕", "square": "■"}
    for name, symbol in palette.SHAPES.items():
        assert f'.label-{name}::before {{ content: "{shapes[symbol]}"' in css


def test_translucent():
    assert palette.translucent("#0072b2", 0.25) == "rgba(0, 114, 178, 0.25)"


SYMBOLS = {**{shape: name for name, shape in palette.SHAPES.items()}, **{v: k for k, v in palette.MARKS.items()}}


def make_marked():
    """Every kind of figure that has marks."""
    labels, scores, ids = make_films()
    area = auroc_interval(labels, scores)
    curve = roc_curve(labels, scores)
    rates = {"rates": [0.125, 1.0], "at_rates": [0.2, 0.5], "low": [0.1, 0.4], "high": [0.3, 0.6]}
    mean = {"mean_sensitivity": 0.35, "mean_low": 0.2, "mean_high": 0.4}
    counts = {"films": 9, "lesions": 5, "confidence": 0.95}
    froc = FrocCurve("fused", [0.1, 1.0], [0.2, 0.5], **rates, **mean, **counts)
    _, points, _ = reader_points(labels, np.stack([labels, 1 - labels, labels], axis=1))
    points_of = [AreaPoint(reads, 0.8, 0.7, 0.9) for reads in (5, 10)]
    return {
        "roc": make_roc(point_follows=True),
        "sweep": make_sweep(on_test=True)[1],
        "histogram": make_histogram(threshold_follows=True)[2],
        "forest": as_json(forest_figure([ForestRow("nodule", 40, area)], overall=area)),
        "scatter": as_json(
            scatter_figure(scores, scores + 1, labels, names=("a", "b"), image_ids=ids, thresholds=(0.5, 1.5))
        ),
        "froc": as_json(froc_figure([froc])),
        "experiments": as_json(experiments_figure([ExperimentMark("a", "fused", area)])),
        "axis": as_json(axis_figure([AxisLine("a", [1.0], [area], [[0.7]])], axis="k", part="test")),
        "readers": as_json(reader_study_figure(curve, area, [ReaderMarks("Anna", points, points)])),
        "drift": as_json(drift_figure([BatchDrift("a", 40, 40, above=area)], [BatchDrift("a", 30, 30, above=area)])),
        "calibration": as_json(calibration_figure(risk_calibration(labels, 1 / (1 + np.exp(-scores)), prevalence=0.3))),
        "learning": as_json(
            learning_curve_figure(combined=points_of, head=points_of, one_class=points_of[0], films=(60, 60))
        ),
    }


def test_a_symbol_means_one_thing_in_every_figure():
    """A symbol of a label is only on films, and no two meanings share a symbol."""
    assert len(SYMBOLS) == len(palette.SHAPES) + len(palette.MARKS)
    for name, figure in make_marked().items():
        for one in figure["data"]:
            if one["type"] != "scatter" or "markers" not in one["mode"]:
                continue
            symbols = one["marker"]["symbol"]
            for symbol in [symbols] if isinstance(symbols, str) else symbols:
                meaning = SYMBOLS[symbol]
                is_label = meaning in palette.SHAPES
                assert is_label == bool(one.get("customdata")), f"{name}: {one['name']} is a {symbol}"


def test_every_mark_line_and_band_is_in_the_legend():
    for name, figure in make_marked().items():
        assert not figure["layout"].get("shapes"), name
        for one in figure["data"]:
            assert one.get("showlegend") is not False, f"{name}: {one['name']}"
            assert one["name"], name


def test_the_plot_is_at_least_as_large_as_its_legend():
    for name, figure in make_marked().items():
        margin, height = figure["layout"]["margin"], figure["layout"]["height"]
        legend = margin["b"] - 52 - 24  # without axis and notice
        assert height - margin["t"] - margin["b"] >= legend, name

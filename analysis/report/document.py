"""A report as PDF."""

from __future__ import annotations

from typing import Any

from analysis import statistics
from analysis.evaluation.operating_point import RequestedPoint
from analysis.figures import NOTICE, format_auroc, place_flow
from analysis.figures.forest import divide_rows, not_drawn
from analysis.figures.paper import with_interval
from analysis.models import Evaluation
from analysis.report import drawings, standards, words
from analysis.report.example_films import EACH, ExampleFilm, ExampleFilms
from analysis.report.gathering import EvaluationReport, PartReport, gather
from analysis.report.head_tables import add_semi_supervised
from analysis.report.paper import MUTED, SMALL, Draw, Paper
from analysis.report.references import references
from analysis.report.trivial_tables import add_trivial_tables
from analysis.sections.attributes import GROUPS
from analysis.sections.galleries import WORDS
from analysis.sections.localisation import froc_curves
from analysis.sections.semi_supervised import NAMES
from analysis.sections.table_one import TableOne, compared, differences_in_words, in_words
from analysis.statistics.subgroups import LEAST_FILMS
from ml_engine.core.version import code_version
from portal.models import User

MOST_LOOKS = 40
ROW_PX = 13


def report_pdf(evaluation: Evaluation, *, point: RequestedPoint | None = None, viewer: User | None = None) -> bytes:
    """The report as PDF: the same bytes for the same database rows and files under one release, and a person who may
    see the same films. Without `point` the operating point is the plan's, or the default; without `viewer` there are no
    example films. Raises CannotEvaluate when the run's folder is gone."""
    return as_pdf(gather(evaluation, point=point, viewer=viewer))


def as_pdf(report: EvaluationReport) -> bytes:
    run = report.evaluation.run
    paper = Paper(
        title=f"{run.name}: report of an evaluation",
        foot=f"Hilum {code_version()}, evaluation {report.evaluation.uuid}",
        random_weights=report.random_weights,
    )
    _opening(paper, report)
    for part in report.parts:
        _results(paper, report, part)
    _data(paper, report)
    _plan(paper, report)
    _looks(paper, report)
    paper.heading("Methods")
    for paragraph in words.methods(report):
        paper.paragraph(paragraph)
    _settings(paper, report)
    paper.heading("Provenance")
    digests = [(f"Scores and labels of {part.part}, BLAKE2b", part.digest) for part in report.parts]
    paper.facts([*report.provenance, *digests])
    paper.heading("Citations")
    for number, line in enumerate(references(report), 1):
        paper.paragraph(f"{number}. {line}", size=8)
    _standards(paper, report)
    return paper.to_pdf(creator=f"Hilum {code_version()}")


def _opening(paper: Paper, report: EvaluationReport) -> None:
    run, split = report.evaluation.run, report.evaluation.split
    paper.heading(run.name, size=17)
    paper.paragraph(NOTICE, bold=True)
    if report.random_weights:
        paper.paragraph("Random weights: no number in this report measures the performance of the method.", bold=True)
    paper.facts([
        ("Site", run.site.name),
        ("Split", split.name),
        ("Labels of", f"{report.evaluation.label_cutoff:%Y-%m-%d %H:%M} UTC"),
        ("Fusion weight", f"{report.weight:g}, {_source(report)}"),
        ("Test part", report.note or f"looked at {words.counted(report.looks_count, 'time')}"),
        ("Note", run.note or "–"),
    ])  # fmt: skip
    head = ["Part", "Score", "AUROC (95 % interval)", "Method of the interval", "Abnormal", "Normal", "Patients"]
    rows = []
    for part in report.parts:
        for kind, area in part.areas.items():
            name = f"{kind} at {report.weight:g}" if kind == "fused" else kind
            counts = [f"{part.abnormal:,}", f"{part.normal:,}", f"{part.patients:,}"]
            rows.append([part.part, name, format_auroc(area), area.method, *counts])
        if part.beside:
            area = part.beside.result.aurocs["combined"]
            rows.append([part.part, NAMES["combined"].lower(), format_auroc(area), area.method, *counts])
    paper.table(head, rows, caption="AUROC at image level; abnormal is positive. Global is w = 0, region w = 1")
    for part in report.parts:
        if part.selection:
            paper.paragraph(f"{part.part}: {part.selection.sentence}", size=8, colour=MUTED)
        for kind, area in part.areas.items():
            if area.reason:
                paper.paragraph(f"{part.part}, {kind}: {area.reason}", size=8, colour=MUTED)
    if report.why_none_chosen:
        paper.paragraph(report.why_none_chosen, size=8, colour=MUTED)


def _source(report: EvaluationReport) -> str:
    source = "chosen on tune" if report.evaluation.metrics["weight_source"] == "tune" else "as configured"
    return source if report.chosen is None else f"{source}; best on tune: {report.chosen:g}"


def _results(paper: Paper, report: EvaluationReport, part: PartReport) -> None:
    paper.heading(f"Results on {part.part}", size=15, keep=380)
    if part.note:
        paper.paragraph(part.note, size=8, colour=MUTED)
    counted = ", ".join(f"{count:,} {reason}" for reason, count in sorted(part.left_out.items()))
    sentence = f"{part.abnormal:,} abnormal and {part.normal:,} normal films of {part.patients:,} patients."
    paper.paragraph(f"{sentence} Left out: {counted}." if counted else f"{sentence} No film is left out.")
    curves = {kind: (curve, part.areas[kind]) for kind, curve in part.curves.items()}
    precise = {kind: (curve, part.precision.auprc[kind]) for kind, curve in part.precision_curves.items()}
    paper.plots(
        [
            lambda axes: drawings.roc(axes, curves, part.band, point=part.operating),
            lambda axes: drawings.precision(axes, precise),
        ],
        height=195,
        below=112,
    )
    threshold = part.operating.threshold
    paper.plots(
        [
            lambda axes: drawings.sweep(axes, part.sweep, run_weight=report.weight, chosen=report.chosen),
            lambda axes: drawings.histogram(axes, part.histogram, threshold=threshold),
        ],
        height=130,
        below=100,
    )
    _operating(paper, part)
    if part.beside:
        add_semi_supervised(paper, part.beside)
    _localisation(paper, part)
    if part.examples:
        _examples(paper, part.part, part.examples)
    _breakdown(paper, part)


def _operating(paper: Paper, part: PartReport) -> None:
    result = part.operating
    paper.heading("Operating point")
    if result.threshold is None or result.predictive is None:
        paper.paragraph(result.reason)
        return
    kind = "normal" if result.point.rule == "specificity" else "abnormal"
    caption = (
        f"Films of {part.part} at a fused score of {result.threshold:.4f} or more, a threshold for a "
        f"{result.point.rule} of {result.point.target:g} fixed on {result.reference_films:,} {kind} films of "
        f"{result.reference_patients:,} patients of {result.source}, weight {result.weight:g}"
    )
    paper.table(
        ["", "Called abnormal", "Called normal"],
        [
            ["Abnormal", f"{result.true_positives:,}", f"{result.false_negatives:,}"],
            ["Normal", f"{result.false_positives:,}", f"{result.true_negatives:,}"],
        ],
        caption=caption,
    )
    paper.paragraph(result.promise, size=8, colour=MUTED)
    predictive = result.predictive
    rows = [
        ["Sensitivity", rate_words(result.sensitivity)],
        ["Specificity", rate_words(result.specificity)],
        ["Positive predictive value", rate_words(predictive.positive_predictive_value)],
        ["Negative predictive value", rate_words(predictive.negative_predictive_value)],
        ["Flagged of 1,000 films", rate_words(predictive.flags_per_1000, digits=0)],
        ["of these false alarms", rate_words(predictive.false_alarms_per_1000, digits=0)],
        ["Missed of 1,000 films", rate_words(predictive.misses_per_1000, digits=0)],
    ]
    paper.table(
        ["", "Value (95 % interval)"], rows, caption=f"At a prevalence of {result.point.prevalence:g}, taken as known"
    )
    for alarms in part.alarms:
        held_out = ", each film at the threshold of the other patients" if alarms.part == "calibrate" else ""
        paper.table(
            ["Normal films", "Called abnormal", "False-alarm rate (95 % interval)"],
            [
                [row.words, f"{row.rate.successes:,} of {row.rate.total:,}", rate_words(row.rate)]
                for row in alarms.rates
            ],
            caption=f"False-alarm rate in {alarms.part}{held_out}",
        )


def _localisation(paper: Paper, part: PartReport) -> None:
    facts = part.localisation
    paper.heading("Localisation")
    if facts["reason"]:
        paper.paragraph(facts["reason"])
        return
    sources = ", ".join(f"{source} ({count:,})" for source, count in facts["sources"].items())
    paper.paragraph(
        f"{facts['boxes']:,} boxes on {facts['films']:,} of {facts['abnormal']:,} abnormal films, drawn by {sources}. "
        f"FROC counts the marks on {facts['normal']:,} normal films too."
    )
    rows = [
        [
            kind.capitalize(),
            measure_words(of["aupro"], "aupro"),
            measure_words(of["pixel_auroc"], "auroc"),
            measure_words(of["pointing_game"], "value"),
        ]
        for kind, of in facts["kinds"].items()
    ]
    paper.table(
        ["Score", "AUPRO, up to 0.3", "Pixel AUROC", "Pointing game"],
        rows,
        caption="On the canonical patch grid, 95 % intervals by patient. The pointing game asks whether the highest "
        "patch lies in a box; most of a film is background, so the pixel AUROC is optimistic",
    )
    if facts["level"] is not None:
        share = measure_words(facts["hits"], "value")
        paper.paragraph(f"Boxes that the heatmap reaches at its threshold, {facts['level']:.3f}: {share}.")
    if part.wrong_reasons.sentence:
        paper.paragraph(part.wrong_reasons.sentence)
    curves = froc_curves(facts)
    paper.plots([lambda axes: drawings.froc(axes, curves)], height=120, below=88)
    of_findings = [
        [row["name"], f"{row['films']:,}", f"{row['boxes']:,}"]
        + (
            ["below 30 films", "", ""]
            if row["reason"]
            else [
                measure_words(row["pixel_auroc"], "auroc"),
                measure_words(row["pointing_game"], "value"),
                measure_words(row["hits"], "value"),
            ]
        )
        for row in facts["findings"]
    ]
    if of_findings:
        head = ["Finding", "Films", "Boxes", "Pixel AUROC", "Pointing game", "Reached"]
        paper.table(head, of_findings, caption="By finding of the boxes, fused")


def _examples(paper: Paper, part: str, examples: ExampleFilms) -> None:
    paper.heading(f"Example films of {part}", keep=150)
    for note in examples.notes:
        paper.paragraph(note, size=8, colour=MUTED)
    if examples.films:
        paper.paragraph(
            "A yellow line outlines where the heatmap reaches its threshold, a ring marks its highest patch, a dashed "
            "box is the reference. Below a film: its address as in the table of scores, its score, its findings.",
            size=8,
            colour=MUTED,
        )
    for title, films in examples.films.items():
        if films:
            paper.heading(title, size=9, keep=120)
            wrong = title == WORDS["true_positives"]
            paper.tiles([_example(film, may_be_wrong=wrong) for film in films], columns=EACH)


def _example(example: ExampleFilm, *, may_be_wrong: bool) -> tuple[Draw, list[str]]:
    film = example.film
    texts = [f"{example.name}, {film.score:.2f}", ", ".join(film.findings)]
    if may_be_wrong and film.misses_boxes:
        texts.append("right for the wrong reason")
    return lambda axes: drawings.film(axes, example), [text for text in texts if text]


def _breakdown(paper: Paper, part: PartReport) -> None:
    breakdown = part.breakdown
    rows, others = divide_rows(part.forest_rows())
    paper.heading("By finding and group")
    for start in range(0, len(rows), 36):
        some = rows[start : start + 36]
        draw = _forest_of(some, breakdown.overall)
        paper.plots([draw], height=max(40, ROW_PX * len(some)), below=64, left=190, right=110)
    if others:
        paper.paragraph(not_drawn(others), size=8, colour=MUTED)
    table: list[list[Any]] = [
        ["Finding", row.name, row.films, row.auroc, row.adjusted_p_value] for row in breakdown.findings
    ]
    for name, groups in breakdown.groups.items():
        table += [[GROUPS[name], row.name, row.films, row.auroc, row.adjusted_p_value] for row in groups]
    table += [["Normals with", row.name, row.films, row.auroc, row.adjusted_p_value] for row in breakdown.normals]
    if table:
        paper.table(
            ["", "", "Films", "AUROC (95 % interval)", "p after Holm"],
            [[kind, name, f"{films:,}", _area(area, films), p_words(p)] for kind, name, films, area, p in table],
            caption="Findings: abnormal films with it against all normal films, p of an AUROC of 0.5. Groups: p of no "
            "difference from all other films. Normals with an attribute: all abnormal films against them, p of no "
            "difference from the normal films without it",
        )
    else:
        paper.paragraph("No attribute of the films has several groups, and no abnormal film has a finding.")
    paper.heading("Treatment of labels that are neither normal nor abnormal", size=10.5, keep=40)
    treatments = [["left out (reported)", "0", format_auroc(breakdown.overall)]]
    treatments += [[row.words, f"{row.films:,}", format_auroc(row.auroc)] for row in breakdown.treatments]
    paper.table(["Treatment", "Films more", "AUROC (95 % interval)"], treatments)
    add_trivial_tables(paper, part.breakdown.trivial)


def _forest_of(rows: Any, overall: statistics.Auroc) -> Any:
    return lambda axes: drawings.forest(axes, rows, overall)


def _data(paper: Paper, report: EvaluationReport) -> None:
    paper.heading("Data", size=15, keep=150)
    first = report.first
    diagram = place_flow(first.flow.steps, first.flow.ends)
    scale = drawings.flow_scale(SMALL)
    paper.heading(f"Flow of films to the results on {first.part}, after STARD 2015", size=10.5)
    paper.plots(
        [lambda axes: drawings.flow(axes, diagram, size=SMALL)], height=diagram.height * scale, below=4, left=60
    )
    paper.paragraph(
        "A film without a score and without a usable label is left out for its label. The threshold is that of the "
        "operating point.",
        size=8,
        colour=MUTED,
    )
    _table_one(paper, report.table_one)


def _table_one(paper: Paper, table: TableOne) -> None:
    paper.heading("Table 1")
    paper.table(
        ["", *(group.name.capitalize() for group in table.groups)],
        [[name, *texts] for name, texts in in_words(table)],
        caption="Films by part and label at the cut-off; shares are of the films of a column. A patient with normal "
        "and abnormal films counts in both columns",
    )
    others = compared(table)
    if others:
        paper.table(
            ["Standardised difference", *(f"{group.name.capitalize()} from {group.compared_with}" for group in others)],
            [[name, *texts] for name, texts in differences_in_words(table)],
            caption="Of means (Austin 2009), of shares over all categories of an attribute (Yang and Dalton 2012). "
            "Above 0.1 in size is commonly called an imbalance; – where too little is known",
        )


def _plan(paper: Paper, report: EvaluationReport) -> None:
    paper.heading("Analysis plan")
    if report.plan:
        paper.facts([*report.plan])
    else:
        paper.paragraph("No plan was locked before the first look at test.")


def _looks(paper: Paper, report: EvaluationReport) -> None:
    paper.heading("Looks at test")
    people = f"{report.lookers} {'person' if report.lookers == 1 else 'people'}"
    paper.paragraph(f"{report.looks_count} of {people}. {report.note}".strip())
    rows = [[look.when, look.run, look.weight, look.reason] for look in report.looks[:MOST_LOOKS]]
    if rows:
        more = len(report.looks) - len(rows)
        caption = f"The first {MOST_LOOKS}; {more:,} more are in the audit log" if more else ""
        paper.table(["When", "Run", "Weight", "Why"], rows, caption=caption)


def _settings(paper: Paper, report: EvaluationReport) -> None:
    paper.heading("Settings of the detector")
    if report.config is None:
        paper.paragraph("The run records no settings that this release reads.")
        return
    changed = [[name, value] for name, (value, differs) in report.settings.items() if differs]
    plain = [[name, value] for name, (value, differs) in report.settings.items() if not differs]
    were = "was" if len(changed) == 1 else "were"
    paper.paragraph(f"Preset {report.config.preset}; {len(changed)} of its settings {were} changed for this run.")
    if changed:
        paper.table(["Changed setting", "Value"], changed)
    half = (len(plain) + 1) // 2
    beside = [*plain[half:], ["", ""]]
    paper.table(
        ["Setting as in the preset", "Value", "Setting as in the preset", "Value"],
        [[*left, *right] for left, right in zip(plain[:half], beside, strict=False)],
    )


def _standards(paper: Paper, report: EvaluationReport) -> None:
    paper.heading("Reporting standards", size=15, keep=120)
    paper.paragraph(
        "Topics of three reporting standards in brief, with what Hilum knows of each, as a start for the "
        "authors. This does not claim that a study complies with any of them: fill in the published checklists."
    )
    for standard, topics in standards.filled(report).items():
        paper.heading(standard, size=10.5)
        paper.table(["Topic", "What is known"], topics)


def _area(area: statistics.Auroc | None, films: int) -> str:
    return f"below {LEAST_FILMS} films" if area is None or films < LEAST_FILMS else format_auroc(area)


def measure_words(measure: dict[str, Any], name: str) -> str:
    """A measure of localisation with its interval."""
    value = measure[name]
    return "not defined" if value is None else with_interval(value, measure["low"], measure["high"])


def rate_words(rate: Any, *, digits: int = 3) -> str:
    """A share or a count with its interval, formatted as on the page."""
    if rate is None or rate.value is None:
        return "not defined"
    if rate.low is None:
        return f"{rate.value:.{digits}f}"
    return f"{rate.value:.{digits}f} ({rate.low:.{digits}f}–{rate.high:.{digits}f})"


def p_words(p: float | None) -> str:
    return "–" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"

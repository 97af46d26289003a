"""A report as PDF."""

from __future__ import annotations

from typing import Any

from analysis import statistics
from analysis.evaluation.operating_point import RequestedPoint
from analysis.figures import NOTICE, format_auroc
from analysis.figures.paper import with_interval
from analysis.models import Evaluation
from analysis.report import drawings, standards, words
from analysis.report.gathering import EvaluationReport, PartReport, gather
from analysis.report.paper import MUTED, Paper
from analysis.sections.attributes import GROUPS
from analysis.sections.table_one import COMPARED_WITH, in_words
from ml_engine.core.version import code_version

MOST_LOOKS = 40
ROW_PX = 13


def report_pdf(evaluation: Evaluation, *, asked: RequestedPoint | None = None) -> bytes:
    """The same bytes for the same rows and files under one release. Without `asked` the operating point is the plan's,
    or the usual one. Raises CannotEvaluate when the run's folder is gone."""
    return as_pdf(gather(evaluation, asked=asked))


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
    paper.heading("Citation")
    for line in words.citation():
        paper.paragraph(line)
    _standards(paper, report)
    return paper.to_pdf(creator=f"Hilum {code_version()}")


def _opening(paper: Paper, report: EvaluationReport) -> None:
    run, split = report.evaluation.run, report.evaluation.split
    paper.heading(run.name, size=17)
    paper.paragraph(NOTICE, bold=True)
    if report.random_weights:
        paper.paragraph("Random weights: no number in this report says how well the method does.", bold=True)
    paper.facts([
        ("Site", run.site.name),
        ("Split", split.name),
        ("Labels of", f"{report.evaluation.label_cutoff:%Y-%m-%d %H:%M} UTC"),
        ("Fusion weight", f"{report.weight:g}, {_source(report)}"),
        ("Test part", report.note or f"looked at {report.looks_count} times"),
        ("Note", run.note or "–"),
    ])  # fmt: skip
    head = ["Part", "Score", "AUROC (95 % interval)", "Method of the interval", "Abnormal", "Normal", "Patients"]
    rows = []
    for part in report.parts:
        for kind, area in part.areas.items():
            name = f"{kind} at {report.weight:g}" if kind == "fused" else kind
            counts = [f"{part.abnormal:,}", f"{part.normal:,}", f"{part.patients:,}"]
            rows.append([part.part, name, format_auroc(area), area.method, *counts])
    paper.table(head, rows, caption="AUROC at image level; abnormal is positive. Global is w = 0, region w = 1")
    for part in report.parts:
        for kind, area in part.areas.items():
            if area.reason:
                paper.paragraph(f"{part.part}, {kind}: {area.reason}", size=8, colour=MUTED)
    if report.why_none_chosen:
        paper.paragraph(report.why_none_chosen, size=8, colour=MUTED)


def _source(report: EvaluationReport) -> str:
    said = "chosen on tune" if report.evaluation.metrics["weight_source"] == "tune" else "as configured"
    return said if report.chosen is None else f"{said}; best on tune: {report.chosen:g}"


def _results(paper: Paper, report: EvaluationReport, part: PartReport) -> None:
    paper.new_page()
    paper.heading(f"Results on {part.part}", size=15)
    if part.note:
        paper.paragraph(part.note, size=8, colour=MUTED)
    counted = ", ".join(f"{count:,} {reason}" for reason, count in sorted(part.left_out.items()))
    said = f"{part.abnormal:,} abnormal and {part.normal:,} normal films of {part.patients:,} patients."
    paper.paragraph(f"{said} Left out: {counted}." if counted else f"{said} No film is left out.")
    curves = {kind: (curve, part.areas[kind]) for kind, curve in part.curves.items()}
    paper.plots(
        [
            lambda axes: drawings.roc(axes, curves, part.band),
            lambda axes: drawings.sweep(axes, part.sweep, run_weight=report.weight, chosen=report.chosen),
        ],
        height=205,
        below=108,
    )
    threshold = part.operating.threshold
    paper.plots([lambda axes: drawings.histogram(axes, part.histogram, threshold=threshold)], height=120, below=80)
    _operating(paper, part)
    _breakdown(paper, part)


def _operating(paper: Paper, part: PartReport) -> None:
    found = part.operating
    paper.heading("Operating point")
    if found.threshold is None or found.predictive is None:
        paper.paragraph(found.reason)
        return
    kind = "normal" if found.asked.rule == "specificity" else "abnormal"
    caption = (
        f"Films of {part.part} at a fused score of {found.threshold:.4f} or more, a threshold for a {found.asked.rule} "
        f"of {found.asked.target:g} fixed on {found.reference_films:,} {kind} films of {found.source}, weight "
        f"{found.weight:g}"
    )
    paper.table(
        ["", "Called abnormal", "Called normal"],
        [
            ["Abnormal", f"{found.true_positives:,}", f"{found.false_negatives:,}"],
            ["Normal", f"{found.false_positives:,}", f"{found.true_negatives:,}"],
        ],
        caption=caption,
    )
    told = found.predictive
    rows = [
        ["Sensitivity", rate_words(found.sensitivity)],
        ["Specificity", rate_words(found.specificity)],
        ["Positive predictive value", rate_words(told.positive_predictive_value)],
        ["Negative predictive value", rate_words(told.negative_predictive_value)],
        ["Flagged of 1,000 films", rate_words(told.flags_per_1000, digits=0)],
        ["of these false alarms", rate_words(told.false_alarms_per_1000, digits=0)],
        ["Missed of 1,000 films", rate_words(told.misses_per_1000, digits=0)],
    ]
    paper.table(
        ["", "Value (95 % interval)"], rows, caption=f"At a prevalence of {found.asked.prevalence:g}, taken as known"
    )


def _breakdown(paper: Paper, part: PartReport) -> None:
    found, rows = part.breakdown, part.forest_rows()
    paper.heading("By finding and group")
    if rows:
        for start in range(0, len(rows), 36):
            some = rows[start : start + 36]
            draw = _forest_of(some, found.overall)
            paper.plots([draw], height=max(40, ROW_PX * len(some)), below=64, left=190)
    table: list[list[Any]] = [
        ["Finding", row.name, row.films, row.auroc, row.adjusted_p_value] for row in found.findings
    ]
    for name, groups in found.groups.items():
        table += [[GROUPS[name], row.name, row.films, row.auroc, row.adjusted_p_value] for row in groups]
    if table:
        paper.table(
            ["", "", "Films", "AUROC (95 % interval)", "p after Holm"],
            [[kind, name, f"{films:,}", _area(area), p_words(p)] for kind, name, films, area, p in table],
            caption="Findings: abnormal films with it against all normal films, p of an AUROC of 0.5. Groups: p of no "
            "difference from all other films",
        )
    else:
        paper.paragraph("The films say nothing that tells groups apart, and no abnormal film names a finding.")
    paper.heading("Treatment of labels that are neither normal nor abnormal", size=10.5, keep=40)
    treated = [["left out (reported)", "0", format_auroc(found.overall)]]
    treated += [[row.words, f"{row.films:,}", format_auroc(row.auroc)] for row in found.treatments]
    paper.table(["Treatment", "Films more", "AUROC (95 % interval)"], treated)
    _trivial(paper, part)


def _forest_of(rows: Any, overall: statistics.Auroc) -> Any:
    return lambda axes: drawings.forest(axes, rows, overall)


def _trivial(paper: Paper, part: PartReport) -> None:
    found = part.breakdown.trivial
    paper.heading("Scores that know nothing of anatomy", size=10.5, keep=60)
    rows = []
    for row in found.scores:
        difference, beaten = row.difference, {None: "not known", True: "yes", False: "not shown"}[row.beats]
        minus = "not defined"
        if difference is not None and difference.low is not None and difference.high is not None:
            minus = f"{difference.difference:.3f} ({difference.low:.3f} to {difference.high:.3f})"
        if row.auroc is None:
            rows.append([row.name, row.reason, "", ""])
        else:
            rows.append([row.name, format_auroc(row.auroc), minus, beaten])
    caption = "What says abnormal is learned on tune. A method that does not beat them may have learned them"
    paper.table(["Score", "AUROC (95 % interval)", "The method's AUROC minus it", "Beaten"], rows, caption=caption)
    matched = found.matched
    if matched is not None:
        by = ", ".join(found.matched_by)
        told = matched.reason
        if matched.auroc is not None:
            told = (
                f"{with_interval(matched.auroc, matched.low, matched.high)} in {matched.strata} strata of "
                f"{matched.films:,} films; {matched.left_out:,} left out."
            )
        paper.paragraph(f"AUROC of the method among films alike in {by}: {told}")


def _data(paper: Paper, report: EvaluationReport) -> None:
    paper.new_page()
    paper.heading("Data", size=15)
    found = report.flow
    steps = [["films in the datasets of the split", f"{found.imported:,}"]]
    if found.quarantined:
        steps.append(["beside them: files in quarantine", f"{found.quarantined:,}"])
    if found.since:
        steps.append(["of them came after the split was frozen", f"{found.since:,}"])
    steps += [[f"left out: {reason}", f"{count:,}"] for reason, count in found.left_out.items()]
    steps += [[f"in {part}", f"{count:,}"] for part, count in found.parts.items()]
    paper.table(["Flow", "Films"], steps)
    columns = report.table_one.columns
    others = [k for k, column in enumerate(columns) if column.part != COMPARED_WITH]
    head = ["", *(column.part.capitalize() for column in columns)]
    head += [f"{columns[k].part.capitalize()} from {COMPARED_WITH}" for k in others]
    rows = [[name, *cells, *(told[k] for k in others)] for name, cells, told in in_words(report.table_one)]
    caption = (
        f"Table 1 and the reference standard. The last columns are standardised differences from {COMPARED_WITH}: of "
        "means (Austin 2009), of shares over all categories of an attribute (Yang and Dalton 2012). Above 0.1 in size "
        "is commonly called an imbalance"
    )
    paper.heading("Table 1")
    paper.table(head, rows, caption=caption)


def _plan(paper: Paper, report: EvaluationReport) -> None:
    paper.heading("Analysis plan")
    if report.plan:
        paper.facts([*report.plan])
    else:
        paper.paragraph("None was locked before the first look at test.")


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
    paper.paragraph(f"Preset {report.config.preset}; {len(changed)} of its settings were changed for this run.")
    if changed:
        paper.table(["Changed setting", "Value"], changed)
    half = (len(plain) + 1) // 2
    beside = [*plain[half:], ["", ""]]
    paper.table(
        ["Setting as in the preset", "Value", "Setting as in the preset", "Value"],
        [[*left, *right] for left, right in zip(plain[:half], beside, strict=False)],
    )


def _standards(paper: Paper, report: EvaluationReport) -> None:
    paper.new_page()
    paper.heading("Reporting standards", size=15)
    paper.paragraph(
        "Topics of three reporting standards in short words, with what Hilum knows of each, as a start for the "
        "authors. It is no claim that a study complies with any of them: fill in the published checklists."
    )
    for standard, topics in standards.filled(report).items():
        paper.heading(standard, size=10.5)
        paper.table(["Topic", "What is known"], topics)


def _area(area: statistics.Auroc | None) -> str:
    return "below 30 films" if area is None else format_auroc(area)


def rate_words(rate: Any, *, digits: int = 3) -> str:
    """A share or a count with its interval, as the page writes it."""
    if rate is None or rate.value is None:
        return "not defined"
    if rate.low is None:
        return f"{rate.value:.{digits}f}"
    return f"{rate.value:.{digits}f} ({rate.low:.{digits}f}–{rate.high:.{digits}f})"


def p_words(p: float | None) -> str:
    return "–" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"

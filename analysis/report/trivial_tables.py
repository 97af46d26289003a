"""The tables of a report on trivial scores: the same numbers as on the evaluation page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from analysis import statistics
from analysis.figures import format_auroc
from analysis.figures.paper import with_interval
from analysis.sections.coreset_starts import CoresetStarts
from analysis.sections.trivial_baselines import Trivial

if TYPE_CHECKING:
    from analysis.report.paper import Paper

BEATEN = {None: "not known", True: "yes", False: "not shown"}


def add_trivial_tables(paper: Paper, trivial: Trivial) -> None:
    paper.heading("Scores that know nothing of anatomy", size=10.5, keep=60)
    rows = []
    for row in trivial.scores:
        name = f"{row.name}: {row.direction}; {row.source}" if row.direction else row.name
        if row.auroc is None:
            rows.append([name, row.reason, "", ""])
        else:
            rows.append([name, format_auroc(row.auroc), signed(row.difference), BEATEN[row.beats]])
    caption = "Each in its better direction. A method that does not beat these scores may have learned nothing more"
    paper.table(["Score", "AUROC (95 % interval)", "The method's AUROC minus it", "Beaten"], rows, caption=caption)
    caption = (
        "Logistic models of trivial scores without and with the method's score, fitted in five folds by patient. The "
        "interval takes the fitted models as given"
    )
    paper.table(["Model of", "Its AUROC", "With the method's score", "Added"], list(_added(trivial)), caption=caption)
    caption = (
        "The method among films that are alike. Fifths of the gradient are a sensitivity analysis: disease changes the "
        "gradient, so they may remove what the method should find"
    )
    paper.table(["Among", "AUROC (95 % interval)", "Films"], list(_alike(trivial)), caption=caption)
    paper.paragraph(f"Spread of the AUROC over coreset starts: {_starts(trivial.starts)}")


def signed(difference: statistics.AurocDifference | None) -> str:
    if difference is None or difference.difference is None or difference.low is None or difference.high is None:
        return "not defined"
    return f"{difference.difference:.3f} ({difference.low:.3f} to {difference.high:.3f})"


def _added(trivial: Trivial) -> Iterator[list[str]]:
    for row in trivial.added:
        name, value = f"{row.over}: {', '.join(row.scores)}", row.value
        if value.trivial is None or value.with_method is None:
            yield [name, value.reason, "", ""]
        else:
            yield [name, format_auroc(value.trivial), format_auroc(value.with_method), signed(value.added)]


def _alike(trivial: Trivial) -> Iterator[list[str]]:
    pairs = trivial.pairs
    name = f"pairs matched by {' and '.join(trivial.pairs_by) or 'brightness'}"
    if pairs is None:
        yield [name, "The run was scored before films were measured; score again.", ""]
    elif pairs.auroc is None:
        yield [name, pairs.reason, ""]
    else:
        left = f"{pairs.abnormal_left:,} abnormal and {pairs.normal_left:,} normal without a partner"
        yield [name, with_interval(pairs.auroc, pairs.low, pairs.high), f"{pairs.pairs:,} pairs; {left}"]
    if trivial.matched is not None:
        yield _strata(f"films of the same {', '.join(trivial.matched_by)}", trivial.matched)
    if trivial.fifths is not None:
        yield _strata("films of the same fifth of the gradient", trivial.fifths)


def _strata(name: str, area: statistics.StratifiedAuroc) -> list[str]:
    if area.auroc is None:
        return [name, area.reason, ""]
    films = f"{area.films:,} in {area.strata} strata; {area.left_out:,} left out"
    return [name, with_interval(area.auroc, area.low, area.high), films]


def _starts(starts: CoresetStarts) -> str:
    spread = starts.spread
    if spread is None:
        return starts.reason
    sentence = f"{spread.low:.3f} to {spread.high:.3f}, mean {spread.mean:.3f}, of {starts.starts} starts."
    return f"{sentence} {starts.reason}".strip()

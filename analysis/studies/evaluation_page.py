"""The evaluation of a scored folder as one page of HTML that needs nothing else: no script, no network, no names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

import numpy as np
from numpy.typing import ArrayLike

from analysis.figures.palette import ALARM, PAPER, SCORES, Theme
from analysis.studies import evaluation_words as words
from analysis.studies.evaluate_folder import FolderEvaluation, FolderScore, StoredPoint

SIDE, LEFT, BOTTOM = 320, 52, 44  # of a plot and its margins, in pixels
DASHES = {"global": "2 4", "region": "8 4", "fused": "none", "combined": "10 3 2 3"}
COMBINED: dict[Theme, str] = {"light": "#cc79a7", "dark": "#cc79a7"}


def html_of(evaluation: FolderEvaluation) -> str:
    """The page as a complete document."""
    heading = words.heading(evaluation)
    body = [f"<h1>Evaluation of scored films</h1>{_paragraphs(heading[:1], 'lead')}"]
    for line in heading[1:]:
        is_alarm = evaluation.random_weights and line.startswith("Random weights")
        body.append(_paragraphs([line], "alarm" if is_alarm else ""))
    body.append(_table("Scores", words.SCORES, words.score_rows(evaluation)))
    body.append(_paragraphs(words.reasons(evaluation)))
    body.append(_figures(evaluation))
    body.append("<h2>Operating point</h2>")
    for point in evaluation.points:
        body.append(_paragraphs([words.point_words(point)]))
        if not point.rates.reason:
            body.append(_table("Rates at the operating point", words.RATES, [words.rate_row(point)]))
    if not evaluation.points:
        body.append(_paragraphs([words.NO_POINT]))
    body.append("<h2>How the films were scored</h2>")
    facts = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in evaluation.facts.items())
    body.append(f"<dl>{facts}</dl>")
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Evaluation of scored films</title><style>{_style()}</style></head>\n"
        f"<body><main>{chr(10).join(body)}</main></body></html>\n"
    )


def _paragraphs(lines: Iterable[str], kind: str = "") -> str:
    attribute = f' class="{kind}"' if kind else ""
    return "".join(f"<p{attribute}>{escape(line)}</p>" for line in lines)


def _table(caption: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in headings)
    lines = [
        f'<tr><th scope="row">{escape(row[0])}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in row[1:])}</tr>'
        for row in rows
    ]
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{escape(caption)}"><table>'
        f"<caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def _figures(evaluation: FolderEvaluation) -> str:
    if any(score.roc.reason for score in evaluation.scores):
        return ""
    fused = next(score for score in evaluation.scores if score.kind == "fused")
    points = [point for point in evaluation.points if point.rates.sensitivity and point.rates.specificity]
    band = _band(fused)
    roc = "".join([band, *(_line(s.roc.false_positive_rate, s.roc.sensitivity, s.kind) for s in evaluation.scores)])
    roc += "".join(_marker(point) for point in points)
    diagonal = f'<path class="chance" d="{_path([0, 1], [0, 1])}"/>'
    precision = "".join(_steps(score) for score in evaluation.scores)
    level = evaluation.abnormal / (evaluation.normal + evaluation.abnormal)
    chance = f'<path class="chance" d="{_path([0, 1], [level, level])}"/>'
    legend = "".join(
        f'<li><svg viewBox="0 0 34 8" aria-hidden="true"><path class="line {s.kind}" d="M0 4H34"/></svg>'
        f"{escape(s.words)}</li>"
        for s in evaluation.scores
    )
    of_band = f"Band: {fused.band.confidence:.0%} interval of the fused score. " if band else ""
    of_point = "Cross: operating point. " if points else ""
    return (
        f'<h2>Curves</h2><ul class="legend">{legend}</ul><div class="figures">'
        + _figure("ROC", ("1 − specificity", "sensitivity"), diagonal + roc, f"{of_band}{of_point}Dotted: chance.")
        + _figure(
            "Precision and recall",
            ("recall", "precision"),
            chance + precision,
            f"Dotted: the share of abnormal films, {level:.3f}. Average precision depends on it.",
        )
        + "</div>"
    )


def _figure(title: str, axes: tuple[str, str], content: str, caption: str) -> str:
    ticks = []
    for value in (0.0, 0.25, 0.5, 0.75, 1.0):
        x, y = _x(value), _y(value)
        ticks.append(f'<path class="grid" d="M{x:g} {_y(1):g}V{_y(0):g}M{_x(0):g} {y:g}H{_x(1):g}"/>')
        ticks.append(f'<text x="{x:g}" y="{_y(0) + 16:g}" text-anchor="middle">{value:g}</text>')
        ticks.append(f'<text x="{LEFT - 6}" y="{y + 4:g}" text-anchor="end">{value:g}</text>')
    middle_x, middle_y = _x(0.5), _y(0.5)
    labels = (
        f'<text x="{middle_x:g}" y="{_y(0) + 36:g}" text-anchor="middle">{axes[0]}</text>'
        f'<text transform="translate(12 {middle_y:g}) rotate(-90)" text-anchor="middle">{axes[1]}</text>'
    )
    width, height = LEFT + SIDE + 12, SIDE + BOTTOM + 10
    return (
        f'<figure><svg viewBox="0 0 {width} {height}" role="img" aria-label="{title}">{"".join(ticks)}{labels}{content}'
        f"</svg><figcaption><strong>{title}.</strong> {escape(caption)}</figcaption></figure>"
    )


def _x(value: float) -> float:
    return LEFT + SIDE * float(value)


def _y(value: float) -> float:
    return 10 + SIDE * (1 - float(value))


def _path(x: ArrayLike, y: ArrayLike) -> str:
    pairs = zip(np.asarray(x, dtype=float), np.asarray(y, dtype=float), strict=True)
    return "M" + "L".join(f"{_x(a):.2f} {_y(b):.2f}" for a, b in pairs)


def _line(x: ArrayLike, y: ArrayLike, kind: str) -> str:
    return f'<path class="line {kind}" d="{_path(x, y)}"/>'


def _steps(score: FolderScore) -> str:
    """Between two points the precision is that of the second."""
    recall, precision = score.precision_recall.recall, score.precision_recall.precision
    x = np.repeat(np.r_[0.0, recall], 2)[1:-1]
    return _line(x, np.repeat(precision, 2), score.kind)


def _band(score: FolderScore) -> str:
    band = score.band
    if band.reason:
        return ""
    rate = band.false_positive_rate
    return f'<path class="band" d="{_path(np.r_[rate, rate[::-1]], np.r_[band.high, band.low[::-1]])}Z"/>'


def _marker(point: StoredPoint) -> str:
    sensitivity, specificity = point.rates.sensitivity, point.rates.specificity
    if sensitivity is None or specificity is None or sensitivity.value is None or specificity.value is None:
        return ""
    x, y = _x(1 - specificity.value), _y(sensitivity.value)
    return f'<path class="marker" d="M{x - 6:.2f} {y:.2f}h12M{x:.2f} {y - 6:.2f}v12"/>'


def _style() -> str:
    light, dark = _variables("light"), _variables("dark")
    lines = "".join(f".{kind}{{stroke:var(--{kind});stroke-dasharray:{dash}}}" for kind, dash in DASHES.items())
    return (
        f":root{{color-scheme:light dark;{light}}}"
        f"@media (prefers-color-scheme:dark){{:root{{{dark}}}}}"
        "body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif}"
        "main{max-width:60rem;margin:0 auto;padding:1.5rem 1rem}h1{font-size:1.6rem;margin:0 0 .5rem}"
        "h2{font-size:1.2rem;margin:2rem 0 .5rem}p{margin:.5rem 0}.lead{font-size:1.1rem}"
        f".alarm{{background:{ALARM};color:#fff;padding:.5rem .75rem}}"
        ".wide{overflow-x:auto;margin:1rem 0}table{border-collapse:collapse;white-space:nowrap}"
        "caption{text-align:left;color:var(--muted)}th,td{text-align:left;padding:.3rem 1.2rem .3rem 0;"
        "border-bottom:1px solid var(--grid);font-variant-numeric:tabular-nums}th[scope=row]{font-weight:600}"
        ".figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(17rem,1fr));gap:1.5rem}"
        "figure{margin:0}figure svg{width:100%;height:auto}figcaption{color:var(--muted);font-size:.9rem}"
        "svg text{fill:var(--muted);font-size:12px}.grid{stroke:var(--grid);fill:none}"
        ".line{fill:none;stroke-width:2}.band{fill:var(--fused);opacity:.2}.marker{stroke:var(--ink);stroke-width:2}"
        ".chance{stroke:var(--line);stroke-dasharray:1 4;stroke-width:1.5;fill:none}"
        ".legend{list-style:none;padding:0;display:flex;flex-wrap:wrap;gap:.25rem 1.5rem}"
        ".legend svg{width:34px;height:8px;margin-right:.5rem}"
        "dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1.5rem;margin:.5rem 0}"
        "dt{color:var(--muted)}dd{margin:0;overflow-wrap:anywhere}" + lines
    )


def _variables(theme: Theme) -> str:
    colours = PAPER[theme] | SCORES[theme] | {"combined": COMBINED[theme]}
    return "".join(f"--{name}:{value};" for name, value in colours.items())

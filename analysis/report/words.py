"""The methods section of a report."""

from __future__ import annotations

from analysis.report.gathering import UNKNOWN, EvaluationReport
from analysis.sections.semi_supervised import ABOUT
from ml_engine.core.config import DETECTORS, PipelineConfig


def methods(report: EvaluationReport) -> list[str]:
    """Paragraphs. What is not recorded is left out."""
    paragraphs = [_data(report), _method(report), _scores(report), _head(report), _figures(report)]
    if report.random_weights:
        paragraphs.append(
            "The backbone of this run has random weights: no number here may be used as an estimate of what the "
            "method can do."
        )
    return [paragraph for paragraph in paragraphs if paragraph]


def counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _data(report: EvaluationReport) -> str:
    split = report.evaluation.split
    parts = ", ".join(f"{count:,} in {part}" for part, count in report.flow.parts.items())
    how = (
        f"drawn into parts by patient with seed {split.seed}"
        if split.origin == "drawn"
        else "assigned to parts by the CSV"
    )
    left = ", ".join(f"{count:,} {reason}" for reason, count in report.flow.left_out.items())
    return (
        f"Films of {counted(split.datasets.count(), 'dataset')} were {how}, no patient in two parts: {parts} films."
        + (f" Left out of the split: {left}." if left else " None was left out of the split.")
        + f" Labels are those of {report.evaluation.label_cutoff:%Y-%m-%d %H:%M} UTC."
    )


def _method(report: EvaluationReport) -> str:
    config = report.config
    if config is None:
        return f"The settings of the detector are {UNKNOWN}."
    weights = report.score.weights or {}
    sha = f" (SHA-256 {weights['sha256'][:12]})" if weights.get("sha256") else ""
    changed = f", with {counted(len(report.changed), 'setting')} changed" if report.changed else ""
    text = (
        f"{DETECTORS[config.detector]} was fitted on normal films alone (preset {config.preset}{changed}). "
        f"Films were brought to {config.size} × {config.size} pixels and {_alignment(config)}. "
        f"Patch features are {config.layers} of {config.backbone} with {weights.get('name', config.weights)} "
        f"weights{sha}, averaged over {config.pool} × {config.pool} positions."
    )
    if config.mask:
        text += " Patches that are black in the mean film were left out (hard mask)."
    if config.detector == "patchcore":
        most = f", at most {config.bank_most:,} a bank" if config.bank_most else ""
        text += (
            f" Memory banks, one of all patches and one of each cell of a {config.grid} × {config.grid} grid with a "
            f"halo of {config.halo}, hold the share {config.rate:g} of the patches{most}, chosen by greedy k-centre; a "
            f"patch's score is the mean {'squared ' if config.distance == 'squared' else ''}L2 distance to its "
            f"{config.neighbours} nearest bank vector(s)."
        )
    return text


def _alignment(config: PipelineConfig) -> str:
    if config.align == "none":
        return "not aligned"
    return f"aligned to a canonical frame by an affine ({config.alignment.method})"


def _scores(report: EvaluationReport) -> str:
    config = report.config
    if config is None:
        return ""
    chosen = "chosen on tune" if report.evaluation.metrics["weight_source"] == "tune" else "as configured"
    film = {
        "max": "its highest patch",
        "mean": "the mean of its patches",
        "box": "its highest mean over 3 x 3 patches, less its median",
        "mean+top": "the sum of the mean of its patches and of the mean of its highest 1 % of patches, each "
        "standardised by the calibration normals",
        "top": f"the mean of its highest {100 * report.score.top_share:g} % of patches",
    }[report.score.image_score]
    standard = "standardised per position by calibration normals and " if config.standardise else ""
    return (
        f"Region and global maps were {standard}fused as w · region + (1 − w) · global with w = {report.weight:g}, "
        f"{chosen}. A film's score is {film}."
    )


def _head(report: EvaluationReport) -> str:
    head = report.evaluation.run.head
    if head is None:
        return ""
    return (
        "Beside the detector a semi-supervised head was fitted: an L2 logistic regression (penalty "
        f"{head.summary['penalty']:g}) of films confirmed as abnormal by readers against the known normals, on patch "
        f"features averaged over each film. {ABOUT} No film of a patient whose films trained the head is evaluated."
    )


def _figures(report: EvaluationReport) -> str:
    area, band = report.first.areas["fused"], report.first.band
    text = f"The interval of the AUROC is of the method {area.method!r}, by patient where patients repeat"
    if band.replicates:
        text += (
            f"; the band of the ROC curve is a pointwise bootstrap by patient, {band.replicates:,} replicates, seed "
            f"{band.seed}"
        )
    text += "."
    reached = report.first.operating
    if reached.threshold is not None:
        text += (
            f" The threshold for a {reached.point.rule} of {reached.point.target:g} was fixed on "
            f"{reached.reference_films:,} films of {reached.reference_patients:,} patients of {reached.source}, never "
            f"on the films it is applied to. {reached.promise}"
        )
    text += " P-values by finding and group are adjusted after Holm; below 30 films neither AUROC nor p-value is given."
    looks = report.looks_count
    return f"{text} The test part of the split was looked at {counted(looks, 'time')}."

"""The topics of STARD-AI, CLAIM and TRIPOD+AI in our own short words, each with what Hilum knows of it.

Nothing here claims that a study complies; its authors decide that with the published checklists.
"""

from __future__ import annotations

from analysis.report.gathering import UNKNOWN, EvaluationReport
from analysis.report.words import counted

# standard -> (topic, key of `facts`, or "" if only the authors know)
STANDARDS: dict[str, tuple[tuple[str, str], ...]] = {
    "STARD-AI": (
        ("Title: a study of diagnostic accuracy, and its measure", "measure"),
        ("Structured abstract", ""),
        ("Background, intended use and clinical role", ""),
        ("Objectives and hypotheses", "plan"),
        ("Study design: prospective or retrospective", ""),
        ("Ethics approval", ""),
        ("Eligibility and how participants were found", ""),
        ("Setting, locations and dates", ""),
        ("Data: source, labelling, partitions", "partitions"),
        ("Pre-processing of the data", "preprocessing"),
        ("Index test: the model, its version, how it was made", "model"),
        ("Index test: threshold and how it was fixed", "threshold"),
        ("Reference standard and its rationale", "reference"),
        ("Blinding of index test and reference standard", "blinding"),
        ("Methods for estimating accuracy", "statistics"),
        ("Indeterminate and missing results", "missing"),
        ("Subgroups, bias and fairness", "subgroups"),
        ("Sample size and how it was set", "sample"),
        ("Flow of participants", "flow"),
        ("Demographic and clinical characteristics", "table_one"),
        ("Cross tabulation of index test and reference standard", "confusion"),
        ("Accuracy with its precision", "accuracy"),
        ("Adverse events", ""),
        ("Limitations and generalisability", ""),
        ("Implications for practice and human–AI interaction", ""),
        ("Registration and protocol", "plan"),
        ("Funding and commercial interests", ""),
        ("Availability of code, model and data", "availability"),
    ),
    "CLAIM": (
        ("Title or abstract: the kind of AI", "model"),
        ("Background, intended use", ""),
        ("Study aims and hypotheses", "plan"),
        ("Prospective or retrospective; goal of the study", ""),
        ("Data sources", "sources"),
        ("Inclusion and exclusion criteria", ""),
        ("Pre-processing", "preprocessing"),
        ("Selection of data subsets", "flow"),
        ("De-identification", "deidentification"),
        ("Missing data", "missing"),
        ("Reference standard: definition, source, annotators", "reference"),
        ("Annotation tools and variability between readers", ""),
        ("Partitions and their level (patient, study, film)", "partitions"),
        ("Intended sample size", "sample"),
        ("Model: inputs, outputs, layers", "model"),
        ("Initialisation of the parameters", "weights"),
        ("Training: hyperparameters, number of models", "training"),
        ("How the final model was chosen", "choice"),
        ("Performance metrics", "measure"),
        ("Measures of significance and uncertainty", "statistics"),
        ("Robustness and sensitivity analysis", "sensitivity"),
        ("Explainability", "explanation"),
        ("Evaluation on internal and external data", "external"),
        ("Flow of participants", "flow"),
        ("Characteristics in each partition", "table_one"),
        ("Performance in each partition", "accuracy"),
        ("Failure analysis", "failures"),
        ("Limitations and implications", ""),
        ("Protocol, code and data availability", "availability"),
        ("Funding", ""),
    ),
    "TRIPOD+AI": (
        ("Title and abstract", ""),
        ("Healthcare context and target population", ""),
        ("Known health inequalities", ""),
        ("Objectives: development, evaluation or both", "both"),
        ("Sources and dates of the data", "sources"),
        ("Participants: setting, eligibility, treatments", ""),
        ("Data preparation and quality checks", "preprocessing"),
        ("Outcome and how it was assessed", "reference"),
        ("Predictors", "predictors"),
        ("Sample size", "sample"),
        ("Missing data", "missing"),
        ("Analysis: how the data were used and partitioned", "partitions"),
        ("Model: type, building steps, internal validation", "training"),
        ("Measures of performance", "measure"),
        ("Class imbalance", "imbalance"),
        ("Fairness", "subgroups"),
        ("Model output and thresholds", "threshold"),
        ("Differences between development and evaluation data", "table_one"),
        ("Ethics approval", ""),
        ("Funding, conflicts, protocol, registration", ""),
        ("Sharing of data and code", "availability"),
        ("Patient and public involvement", ""),
        ("Flow and characteristics of participants", "flow"),
        ("The full model, to allow predictions", "availability"),
        ("Performance with intervals, in subgroups too", "accuracy"),
        ("Model updating", ""),
        ("Interpretation, limitations, usability", ""),
    ),
}


def filled(report: EvaluationReport) -> dict[str, list[tuple[str, str]]]:
    """Standard -> (topic, what is known)."""
    known = facts(report)
    return {
        standard: [(topic, known[fact] if fact else UNKNOWN) for topic, fact in topics]
        for standard, topics in STANDARDS.items()
    }


def facts(report: EvaluationReport) -> dict[str, str]:
    """What Hilum knows, by key; `UNKNOWN` if the run does not record it."""
    config, first, reached = report.config, report.first, report.first.operating
    area = first.areas["fused"]
    parts = ", ".join(f"{part} {count:,}" for part, count in report.flow.parts.items())
    threshold = (
        f"{reached.threshold:.4g}, for a {reached.point.rule} of {reached.point.target:g}, fixed on {reached.source}. "
        f"{reached.promise}"
        if reached.threshold is not None
        else reached.reason
    )
    weights = report.score.weights or {}
    labelled = ", ".join(f"{label} by {source}" for label, source in report.table_one.references)
    differ = f"{counted(len(report.changed), 'setting')} {'differs' if len(report.changed) == 1 else 'differ'}"
    changed = f"{differ} from preset {config.preset}" if config else ""
    aligned = f", {'not aligned' if config.align == 'none' else 'aligned'}" if config else ""
    return {
        "measure": "Image-level AUROC; sensitivity, specificity, predictive values at one operating point.",
        "plan": report.note or UNKNOWN,
        "partitions": f"By patient, frozen, seed {report.evaluation.split.seed}; films: {parts}.",
        "preprocessing": f"{config.size} × {config.size} pixels, intensity {config.intensity}{aligned}. See Settings."
        if config
        else UNKNOWN,
        "model": f"{config.detector} on {config.backbone} {config.layers}. See Methods, Provenance."
        if config
        else UNKNOWN,
        "weights": f"{weights['name']}; SHA-256 {weights.get('sha256') or 'none'}" if weights.get("name") else UNKNOWN,
        "training": f"No gradient training of the detector: memory banks of normal films. {changed}.{_head(report)}"
        if config
        else UNKNOWN,
        "choice": f"Fusion weight {report.weight:g} ({report.evaluation.metrics['weight_source']}); never on test.",
        "threshold": threshold,
        "reference": f"Labels at the cut-off: {labelled}." if labelled else UNKNOWN,
        "blinding": "The engine sees no label of a scored film; scores stay hidden from those who still label it.",
        "statistics": "95 % intervals, by patient where patients repeat; Holm's adjustment. See Methods.",
        "missing": _left_out(report),
        "subgroups": f"{len(first.breakdown.groups)} attributes with intervals, under By finding and group."
        if first.breakdown.groups
        else "No attribute of the films has several groups.",
        "sample": f"As available: {first.abnormal:,} abnormal and {first.normal:,} normal films in {first.part}. "
        f"Whether a size was planned is {UNKNOWN}.",
        "flow": "Under Data: flow of films, drawn after STARD 2015.",
        "table_one": "Under Table 1, by part and label, with standardised differences.",
        "confusion": f"{reached.true_positives} true and {reached.false_positives} false positives, "
        f"{reached.true_negatives} true and {reached.false_negatives} false negatives in {first.part}."
        if reached.threshold is not None
        else reached.reason,
        "accuracy": f"Under Results: AUROC of fused {area.auroc:.3f} in {first.part}, interval {_interval(area)}."
        if area.auroc is not None
        else area.reason,
        "availability": "Hilum is open source (Apache-2.0). The run can be exported and run again; sharing of model "
        f"and data is {UNKNOWN}.",
        "sources": f"Datasets of one site: {report.evaluation.split.datasets.count()}; origin and dates are {UNKNOWN}.",
        "deidentification": "On import: headers by an allow-list, identifiers hashed. Burned-in text is not removed.",
        "sensitivity": "Other treatments of labels, trivial scores and matched strata, under Results.",
        "explanation": "Localisation and example films with their heatmaps, under Results; all films in the portal.",
        "external": UNKNOWN,
        "failures": "Examples of the worst misses and false alarms, under Results; all of them in the portal.",
        "both": "Development (fit) and evaluation (tune, test) on parts of one split.",
        "predictors": "Pixels of one film; nothing else enters the score.",
        "imbalance": f"AUROC does not depend on it; {first.abnormal:,} of {first.abnormal + first.normal:,} films of "
        f"{first.part} are abnormal, predictive values are at a stated prevalence.",
    }


def _head(report: EvaluationReport) -> str:
    if report.evaluation.run.head is None:
        return ""
    return " Beside it a semi-supervised head, trained on films confirmed as abnormal; reported separately."


def _interval(area: object) -> str:
    low, high = getattr(area, "low", None), getattr(area, "high", None)
    return "not defined" if low is None or high is None else f"{low:.3f}–{high:.3f}"


def _left_out(report: EvaluationReport) -> str:
    counts = [
        f"{part.part}: " + ", ".join(f"{count:,} {reason}" for reason, count in sorted(part.left_out.items()))
        for part in report.parts
        if part.left_out
    ]
    sentence = "Films without a score or a usable label are left out and counted."
    return f"{sentence} {'; '.join(counts)}." if counts else sentence

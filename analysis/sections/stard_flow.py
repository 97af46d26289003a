"""The flow of films through an evaluation, after STARD 2015: who was in, who was left out and why, how many the index
test (the score) called positive, and what the reference standard (the label) says of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from django.db.models import Count

from analysis.evaluation.evaluate import TRAINED, ScoredPart
from analysis.evaluation.operating_points import OperatingResult
from analysis.figures import FlowBox, FlowEnd, FlowStep, as_json, flow_figure
from analysis.figures.palette import Theme
from analysis.models import Evaluation, ScoreKind
from analysis.sections.table_one import flow
from portal.models import SplitImage

NO_INDEX_TEST = ("not scored by this run", "unreadable", TRAINED)  # reasons for which a film has no score that counts


@dataclass(frozen=True)
class StardFlow:
    """The boxes of the diagram from the top; `ends` are the films by index test, if there is a threshold, with their
    reference standard. A film without a score and without a usable label is left out for its label."""

    part: str
    steps: tuple[FlowStep, ...]
    ends: tuple[FlowEnd, ...]


def stard_flow(evaluation: Evaluation, scored: ScoredPart, result: OperatingResult) -> StardFlow:
    """The flow of a part at an operating point. Counts of films add up from box to box."""
    films = flow(evaluation.split)
    part = scored.part
    in_split, in_part = sum(films.parts.values()), films.parts.get(part, 0)
    no_index = {reason: scored.left_out[reason] for reason in NO_INDEX_TEST if scored.left_out.get(reason)}
    no_reference = {reason: count for reason, count in sorted(scored.left_out.items()) if reason not in NO_INDEX_TEST}
    never_in = {"files in quarantine": films.quarantined, "films imported after the split was frozen": films.since}
    elsewhere = {f"films in {name}": count for name, count in films.parts.items() if name != part}
    patients = _patients(evaluation)
    indexed = in_part - sum(no_index.values())
    steps = [
        FlowStep(
            FlowBox("Files of the split's datasets", films.imported + films.quarantined),
            "Not in the split",
            {**{reason: count for reason, count in never_in.items() if count}, **films.left_out},
        ),
        FlowStep(FlowBox("Films of the split", in_split, sum(patients.values())), "Other parts", elsewhere),
        FlowStep(FlowBox(f"Films of {part}", in_part, patients.get(part, 0)), "No index test", no_index),
        FlowStep(FlowBox(_index_test(result), indexed), "No reference standard", no_reference),
        FlowStep(FlowBox("Evaluated", len(scored.images), len(np.unique(scored.patients))), "", {}),
    ]
    return StardFlow(part, tuple(steps), _ends(scored, result))


def _index_test(result: OperatingResult) -> str:
    combined = result.score == ScoreKind.COMBINED
    return f"Index test: {'combined' if combined else 'fused'} score"


def _patients(evaluation: Evaluation) -> dict[str, int]:
    """Part -> its patients; no patient is in two."""
    rows = SplitImage.objects.filter(member__split=evaluation.split).order_by().values("member__part")
    return {row["member__part"]: row["n"] for row in rows.annotate(n=Count("member__patient", distinct=True))}


def _ends(scored: ScoredPart, result: OperatingResult) -> tuple[FlowEnd, ...]:
    abnormal = int((scored.labels == 1).sum())
    if result.threshold is None:
        return (FlowEnd(FlowBox("Reference standard", len(scored.images)), abnormal, len(scored.images) - abnormal),)
    hits, missed = int(result.true_positives or 0), int(result.false_negatives or 0)
    alarms, correct = int(result.false_positives or 0), int(result.true_negatives or 0)
    return (
        FlowEnd(FlowBox(f"Index test positive: {result.threshold:.4g} or more", hits + alarms), hits, alarms),
        FlowEnd(FlowBox(f"Index test negative: below {result.threshold:.4g}", missed + correct), missed, correct),
    )


def stard_figure(flow: StardFlow, *, theme: Theme, random_weights: bool) -> dict[str, Any]:
    """The diagram, for Plotly."""
    return as_json(flow_figure(flow.steps, flow.ends, theme=theme, random_weights=random_weights))

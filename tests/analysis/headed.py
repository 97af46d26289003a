"""A scored run with a semi-supervised head beside its detector, as rows and arrays, without an engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ml_engine.engine.scored_folder import ScoredFolder, SemiSupervised, SemiSupervisedSummary
from ml_engine.models import HeadModel, HeadRead, ReadSource, Run, RunKind, RunState, Score
from ml_engine.runs.paths import run_folder
from portal.models import Image
from portal.sets import training_films
from tests.analysis.scored import Scored
from tests.ml_engine.scored_folders import GRID, change_array

AREA = {"value": 0.7, "low": 0.6, "high": 0.8}
GAIN = {"value": 0.05, "low": -0.01, "high": 0.11}
CURVE = {
    "films": 12,
    "abnormal": 6,
    "one_class": AREA,
    "points": [
        {"reads": reads, "abnormal": reads / 2, "repeats": 3, "spread": 0.01}
        | {"head": AREA, "combined": AREA, "gain": GAIN}
        for reads in (10.0, 20.0, 40.0)
    ],
    "further_reads": 20,
    "further_gain": {"value": 0.02, "low": -0.02, "high": 0.06},
    "note": "Extrapolated by a straight line of the gain over the logarithm of the reads.",
}
CONTROL = {
    "auroc": 0.52,
    "low": 0.41,
    "high": 0.63,
    "known_films": 40,
    "known_patients": 40,
    "scored_films": 30,
    "scored_patients": 30,
    "differences": [{"column": "scanner", "value": "Acme", "known_share": 0.2, "scored_share": 0.4}],
    "columns": ["scanner"],
    "is_passed": True,
    "operating_point": 3.0,
    "false_alarm_rate": 0.1,
    "known_are_below_it": True,
}
FACTS = {
    "known_normals": 40,
    "abnormal_reads": 12,
    "abnormal_patients": 12,
    "normal_reads": 3,
    "normal_reads_used": 0,
    "assisted_reads": 2,
    "unread": 20,
    "effective_abnormal_reads": 9.5,
}


def fitted_head(scored: Scored, trained: Sequence[Image] = (), **summary: Any) -> HeadModel:
    """A head that `trained` films confirmed as abnormal made, fitted on the pool of the scored run."""
    assert scored.run.detector is not None
    run = Run.objects.create(
        site=scored.run.site,
        name="Head",
        kind=RunKind.FIT_HEAD,
        split=scored.split,
        detector=scored.run.detector,
        scored=scored.run,
        state=RunState.DONE,
        random_weights=scored.run.random_weights,
        asked={"head": {}, "reads": {"sources": ["readings"], "left_out": {}}},
    )
    HeadRead.objects.bulk_create(
        HeadRead(run=run, image=image, verdict="abnormal", source=ReadSource.BLINDED) for image in trained
    )
    generator = np.random.default_rng(7)
    tune = {}
    for film in scored.films[:12]:
        z, own = generator.normal(0, 1, 2) + (2 if film.label_events.get().value == "abnormal" else 0)
        tune[str(film.uuid)] = [float(z), float(own), float(z + own)]
    head = HeadModel.objects.create(
        site=run.site,
        run=run,
        split=scored.split,
        detector=scored.run.detector,
        sha256="e" * 64,
        summary={"population_control": CONTROL, "learning_curve": CURVE, "facts": FACTS, "penalty": 100.0, **summary},
        tune=tune,
        random_weights=run.random_weights,
    )
    training_films.remember(images=[image.pk for image in trained], source=head.uuid)
    return head


def call_by_head(scored: Scored, rows: Sequence[int], *, also_by_one_class: bool = False) -> None:
    """Let the combined score call the films at these rows at a false-alarm rate of 0.01."""
    folder = ScoredFolder(run_folder(scored.run.uuid))
    for name, column, changes in (("semi_supervised", (4,), True), ("p_values", (), also_by_one_class)):
        values = np.array(folder.array(name))
        if changes:
            values[(rows, *column)] = 0.01
        change_array(run_folder(scored.run.uuid), name, values)
    Score.objects.filter(run=scored.run, row__in=rows).update(combined_p_value=0.01)


def with_head(scored: Scored, trained: Sequence[Image] = ()) -> HeadModel:
    """Let the scored run have a head: abnormal films score about 3 higher by it; 20 calibration normals."""
    head = fitted_head(scored, trained)
    run = scored.run
    run.head = head
    run.save(update_fields=["head"])
    generator = np.random.default_rng(8)
    labels = np.array([film.label_events.get().value == "abnormal" for film in scored.films])
    one_class = generator.normal(0, 1, len(labels)) + 0.5 * labels
    own = generator.normal(0, 1, len(labels)) + 3.0 * labels
    columns = np.stack([one_class, own / 2, own, one_class + own, np.full(len(labels), 0.5)], axis=1)
    folder = ScoredFolder(run_folder(run.uuid))
    summary = SemiSupervisedSummary(
        format=1,
        kind="semi-supervised head",
        head_sha256=head.sha256,
        detector_sha256="0" * 64,
        penalty=100.0,
        intercept=-0.5,
        facts=FACTS,
        calibration_combined=sorted(generator.normal(0, 1.4, 20).tolist()),
        calibration_patients=list(range(20)),
        calibration_order=list(range(20)),
    )
    folder.write_array("p_values", np.full(len(labels), 0.5))
    maps = generator.normal(0, 0.1, (len(labels), GRID, GRID)).astype(np.float32)
    maps[:, 0, 0] = np.nan
    source = run_folder(run.uuid) / "head_maps.npy"
    np.save(source, maps)
    folder.write_semi_supervised(SemiSupervised(columns, summary), source)
    for row, film in enumerate(scored.films):
        z, logit, head_z, combined, p_value = columns[row].tolist()
        Score.objects.filter(run=run, image=film).update(
            one_class_z=z, head_score=logit, head_z=head_z, combined_score=combined, combined_p_value=p_value
        )
    return head

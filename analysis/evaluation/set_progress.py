"""What the way from a dataset to its evaluation will take, before it is requested, and where it stands afterwards."""

from collections import Counter
from dataclasses import dataclass

from django.db.models import Count

from analysis.evaluation.set_evaluation import names_parts, parts_scored, pending_imports, runs_of
from analysis.models import Evaluation, SetEvaluation
from ml_engine.core.config import PipelineConfig
from ml_engine.engine.forecast import Forecast
from ml_engine.models import Run, RunKind, RunState
from ml_engine.runs import run_forecasts
from ml_engine.runs.waiting import places
from portal.models import Dataset, LabelValue, Part, Upload, User
from portal.people import blinding
from portal.sets.patient_draw import TRAIN_FRACTIONS
from portal.sets.splits import DEFAULT_FRACTIONS

TITLES: dict[str, str] = {
    RunKind.FIT_ALIGNMENT: "Fit the alignment",
    RunKind.FIT_DETECTOR: "Fit the detector",
    RunKind.SCORE: "Score the films",
}


@dataclass(frozen=True)
class Outlook:
    """What an evaluation of the set would start from: films by label, the numbers of films to expect in each part, and
    the forecast of all its runs, None where it is not known."""

    normal: int
    abnormal: int
    parts: dict[str, int]
    from_table: bool
    forecast: Forecast | None


def outlook(dataset: Dataset, config: PipelineConfig, *, aligned: bool, opens_test: bool, viewer: User) -> Outlook:
    """Without the films that the viewer has yet to read blinded."""
    films = blinding.without_withheld(dataset.images.all(), viewer)
    values = films.order_by().values_list("csv_split", "current_label__value").annotate(Count("pk"))
    counts = [
        (part, value, count) for part, value, count in values if value in (LabelValue.NORMAL, LabelValue.ABNORMAL)
    ]
    from_table = names_parts(dataset)
    drawn = _parts_of_table(counts) if from_table else _parts_to_draw(counts)
    parts = {part: drawn[part] for part in Part.values if drawn.get(part)}
    made = run_forecasts.of_chain(
        parts,
        config,
        aligned=aligned,
        scored=parts_scored(opens_test=opens_test),
        megapixels=run_forecasts.megapixels_of(films),
    )
    by_value = Counter[str]()
    for _, value, count in counts:
        by_value[value] += count
    return Outlook(by_value[LabelValue.NORMAL], by_value[LabelValue.ABNORMAL], parts, from_table, made)


def _parts_of_table(counts: list[tuple[str, str, int]]) -> dict[str, int]:
    expected = Counter[str]()
    for part, _, count in counts:
        shares = TRAIN_FRACTIONS if part == "train" else {part: 1.0} if part in Part.values else {}
        for name, share in shares.items():
            expected[name] += round(share * count)
    return dict(expected)


def _parts_to_draw(counts: list[tuple[str, str, int]]) -> dict[str, int]:
    """Abnormal films go to tune and test only."""
    held = DEFAULT_FRACTIONS["tune"] + DEFAULT_FRACTIONS["test"]
    expected = Counter[str]()
    for _, value, count in counts:
        for part, share in DEFAULT_FRACTIONS.items():
            if value == LabelValue.NORMAL:
                expected[part] += round(share * count)
            elif part in ("tune", "test"):
                expected[part] += round(share / held * count)
    return dict(expected)


@dataclass(frozen=True)
class Step:
    """``state`` is waiting, running, done or failed. A step of a run has the run, that of an import the import."""

    title: str
    state: str
    sentence: str = ""
    run: Run | None = None
    upload: Upload | None = None
    seconds_left: float | None = None


@dataclass(frozen=True)
class SetProgress:
    """``seconds_left`` is of all steps together, None where that is not known; ``before`` counts the runs of others
    that are executed first."""

    steps: list[Step]
    seconds_left: float | None
    before: int = 0

    @property
    def failed(self) -> Step | None:
        return next((step for step in self.steps if step.state == "failed"), None)


def progress_of(row: SetEvaluation) -> SetProgress:
    steps = [_import_step(row), _split_step(row)]
    runs = runs_of(row)
    steps += [_run_step(run) for run in runs] if runs else _planned_steps(row)
    steps.append(_evaluation_step(row))
    kept = [step for step in steps if step is not None]
    left = [step.seconds_left for step in kept if step.run is not None and step.state != "done"]
    known = bool(runs) and all(seconds is not None for seconds in left)
    total = sum(seconds for seconds in left if seconds is not None) if known and left else None
    return SetProgress(kept, total, before=_before(runs))


def _before(runs: list[Run]) -> int:
    waiting = next((run for run in runs if run.state != RunState.DONE), None)
    return places().get(waiting.pk, 0) if waiting and waiting.state == RunState.QUEUED else 0


def _import_step(row: SetEvaluation) -> Step | None:
    upload = pending_imports(row.dataset).last() if row.split is None else None
    if upload is None:
        return None
    sentence = f"{upload.done} of {upload.total} files or rows" if upload.total else ""
    if upload.state == Upload.State.MAPPING:
        sentence = "It waits for a person to say what the columns of its table mean."
    return Step("Import the films", "running", sentence, upload=upload)


def _split_step(row: SetEvaluation) -> Step:
    if row.split is not None:
        return Step("Freeze the split", "done")
    return Step("Freeze the split", "failed" if row.message else "waiting", row.message)


def _planned_steps(row: SetEvaluation) -> list[Step]:
    kinds = [RunKind.FIT_ALIGNMENT] * row.aligned + [RunKind.FIT_DETECTOR, RunKind.SCORE]
    return [Step(TITLES[kind], "waiting") for kind in kinds]


def _run_step(run: Run) -> Step:
    title = TITLES[run.kind]
    if run.state == RunState.DONE:
        return Step(title, "done", run=run)
    if run.state == RunState.RUNNING or run.waits_for_children:
        return Step(title, "running", run=run, seconds_left=run.run_seconds_left)
    if run.state == RunState.QUEUED:
        made = run_forecasts.of_queued(run)
        return Step(title, "waiting", run=run, seconds_left=made.seconds if made else None)
    return Step(title, "failed", run.message or "The run was cancelled.", run=run)


def _evaluation_step(row: SetEvaluation) -> Step:
    title = "Evaluate tune and test" if row.opens_test else "Evaluate tune"
    if row.evaluation is not None:
        return Step(title, "done")
    if row.score is not None and row.message:
        return Step(title, "failed", row.message)
    is_next = row.score is not None and row.score.state == RunState.DONE
    return Step(title, "running" if is_next else "waiting")


def part_to_show(evaluation: Evaluation, *, opens_test: bool) -> str:
    """The part whose ROC curve the way leads to: test where it was to be opened and is not sealed."""
    return Part.TEST if opens_test and Part.TEST in evaluation.metrics["parts"] else Part.TUNE

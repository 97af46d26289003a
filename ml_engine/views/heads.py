"""What the page of a run shows of a semi-supervised head: its reads, the control of the population, the curve."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from ml_engine.core.errors import EngineError
from ml_engine.engine.head_folder import HeadFolder
from ml_engine.models import HeadModel, ReadSource, Run, RunKind
from ml_engine.runs import run_bucket
from portal.models import User
from portal.people.blinding import withheld_patients

WITHHELD = (
    "What people said of these films, and what a head learned from it, is hidden from you until you have read the "
    "films that you read blinded, or have handed them back."
)


def head_report(user: User, run: Run) -> dict[str, Any]:
    """The context of the run's page. Counts of verdicts are withheld from a person who has yet to read one of the
    patients blinded: two runs that differ by a film would tell its verdict."""
    if run.kind != RunKind.FIT_HEAD:
        return {}
    withheld = withheld_patients(user)
    if withheld and run.reads.filter(image__patient_id__in=withheld).exists():
        return {"head_withheld": WITHHELD}
    head: HeadModel | None = getattr(run, "head_made", None)
    control = head.summary["population_control"] if head else _control_of_folder(run)
    return {
        "reads": _reads_by_source(run),
        "left_out_reads": dict(run.asked.get("reads", {}).get("left_out", {})),
        "control": _control(control) if control else None,
        "head": head,
        "curve": head.summary["learning_curve"] if head else None,
        "facts": head.summary["facts"] if head else None,
    }


def _control_of_folder(run: Run) -> Mapping[str, Any] | None:
    """The control of a head that it refused."""
    try:
        return HeadFolder(run_bucket.here(run)).control
    except EngineError:
        return None


def _control(facts: Mapping[str, Any]) -> dict[str, Any]:
    """With shares in percent."""
    differences = [
        {**each, "known_percent": 100 * each["known_share"], "scored_percent": 100 * each["scored_share"]}
        for each in facts["differences"]
    ]
    return {**facts, "differences": differences}


def _reads_by_source(run: Run) -> list[dict[str, Any]]:
    """A row for each source, with its films by verdict."""
    counts: Counter[tuple[str, str]] = Counter(run.reads.values_list("source", "verdict"))
    rows = []
    for source in ReadSource:
        row = {verdict or "unread": counts[source.value, verdict] for verdict in ("abnormal", "normal", "")}
        if any(row.values()):
            rows.append({"source": source.label, **row})
    return rows

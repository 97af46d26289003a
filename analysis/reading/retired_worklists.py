"""What retiring has to know of worklists and results: what depends on a worklist, and on a run."""

from analysis.models import Evaluation, ExternalValidation, Reading, Worklist
from analysis.reading.worklists import is_reading, unread
from ml_engine.models import Run
from portal.models import Retired
from portal.retention.retiring import Retirable, counted, depends_also, retire_also


def register() -> None:
    """Called once, when the app is ready."""
    retire_also(Retirable(Retired.Kind.WORKLIST, Worklist, "analysis:worklist", lambda one: one.run.site, _obstacles))
    depends_also(Retired.Kind.WORKLIST, _of_worklist)
    depends_also(Retired.Kind.RUN, _of_run)


def _obstacles(worklist: Worklist) -> list[str]:
    """What others say of the films of a blinded worklist is withheld from its readers until they have read it."""
    begun = worklist.readers.select_related("reader", "worklist__run__site").order_by("pk")
    names = [one.reader.username for one in begun if is_reading(one) and unread(one)]
    if not names:
        return []
    return [f"The worklist is being read ({', '.join(names)}): wait until it is read, handed back or expired."]


def _of_worklist(worklist: Worklist) -> list[str]:
    readings = Reading.objects.filter(item__worklist=worklist)
    count, people = readings.count(), readings.values("reader").distinct().count()
    words = f"{count} reading{'s' if count > 1 else ''} by {people} {'people' if people > 1 else 'person'}"
    heads = worklist.head_proposals.count()
    return [*[words] * bool(count), *[f"{heads} proposal{'s' if heads > 1 else ''} to teach a head"] * bool(heads)]


def _of_run(run: Run) -> list[str]:
    evaluations = Evaluation.objects.filter(run=run).order_by("pk")
    validations = ExternalValidation.objects.filter(run=run).count()
    return [
        *counted("evaluation", (f"on {one.split}" for one in evaluations.select_related("split"))),
        *[f"{validations} external validation{'s' if validations > 1 else ''}"] * bool(validations),
        *counted("worklist", Worklist.objects.filter(run=run).order_by("pk").values_list("name", flat=True)),
    ]

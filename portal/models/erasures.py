"""What remains of an erased patient."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from portal.models.addressed import Addressed
from portal.models.films import Patient
from portal.models.people import Site


class Erasure(Addressed):
    """The tombstone of a patient whose films were erased, for example since they withdrew their consent. While it is
    `open`, within one transaction and after its audit event, the database lets the rows of this patient be deleted
    (portal.triggers). Nothing of a row that is done can be changed, nor the row be deleted."""

    class State(models.TextChoices):
        BEGUN = "begun", "Begun"  # files may be gone already; erasing again goes on
        OPEN = "open", "Open"
        DONE = "done", "Done"

    site = models.ForeignKey(Site, models.PROTECT, related_name="erasures")
    state = models.CharField(max_length=5, choices=State, default=State.BEGUN)
    patient = models.ForeignKey(Patient, models.SET_NULL, null=True, related_name="erasures")  # null once done
    # Keyed hashes, by which a file of the patient is recognised and refused when it comes again.
    keys = models.JSONField(default=list)
    reason = models.CharField(max_length=500)
    requested_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+")
    report = models.JSONField(default=dict)  # what was erased, in numbers, and what was handed out before
    finished_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(state__in=["begun", "open", "done"]), name="erasure_known_state"),
            models.CheckConstraint(
                condition=~Q(state="done") | Q(patient__isnull=True, finished_at__isnull=False),
                name="erasure_done_names_nobody",
            ),
        ]
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"erased patient {str(self.uuid)[:8]}"

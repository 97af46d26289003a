import django.db.models.deletion
import uuid
from django.conf import settings
from django.db import migrations, models


from portal.triggers import audited_erasures, erasable, scrubbable


class Migration(migrations.Migration):
    dependencies = [
        ("portal", "0032_published_sources"),
    ]

    operations = [
        migrations.CreateModel(
            name="Erasure",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("uuid", models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "state",
                    models.CharField(
                        choices=[("begun", "Begun"), ("open", "Open"), ("done", "Done")], default="begun", max_length=5
                    ),
                ),
                ("keys", models.JSONField(default=list)),
                ("reason", models.CharField(max_length=500)),
                ("report", models.JSONField(default=dict)),
                ("finished_at", models.DateTimeField(null=True)),
                (
                    "patient",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="erasures",
                        to="portal.patient",
                    ),
                ),
                (
                    "requested_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "site",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="erasures", to="portal.site"
                    ),
                ),
            ],
            options={
                "ordering": ["-created_at"],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("state__in", ["begun", "open", "done"])), name="erasure_known_state"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("state", "done"), _negated=True),
                            models.Q(("finished_at__isnull", False), ("patient__isnull", True)),
                            _connector="OR",
                        ),
                        name="erasure_done_names_nobody",
                    ),
                ],
            },
        ),
        audited_erasures(),
        scrubbable("portal_auditevent", "append-only", ("target_uuid", "before", "after", "reason")),
        erasable("portal_labelevent", "append-only"),
        erasable("portal_adjudication", "append-only"),
        erasable("portal_adjudicatorverdict", "append-only"),
        erasable("portal_exposure", "append-only"),
        erasable("portal_cohortimage", "frozen"),
        erasable("portal_splitimage", "frozen"),
        erasable("portal_splitmember", "frozen", "patient_id"),
        erasable("portal_queueimage", "frozen"),
        erasable("portal_queuereading", "append-only"),
        erasable("portal_consensus", "append-only"),
        erasable("portal_consensus_readings", "append-only", "queuereading_id", of="portal_queuereading"),
        erasable("portal_trainingfilm", "append-only"),
        erasable("portal_headerdifference", "kept"),
    ]

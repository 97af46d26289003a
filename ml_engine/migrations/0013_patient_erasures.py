import django.db.models.deletion
import uuid
from django.db import migrations, models


from portal.triggers import erasable, scrubbable


class Migration(migrations.Migration):
    dependencies = [
        ("ml_engine", "0010_run_queued_at"),
        ("portal", "0033_patient_erasures"),
    ]

    operations = [
        migrations.CreateModel(
            name="WithdrawnModel",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("uuid", models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "alignment",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="withdrawals",
                        to="ml_engine.alignmentmodel",
                    ),
                ),
                (
                    "detector",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="withdrawals",
                        to="ml_engine.detectormodel",
                    ),
                ),
                (
                    "erasure",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="withdrawn_models",
                        to="portal.erasure",
                    ),
                ),
                (
                    "fitted_again",
                    models.ForeignKey(
                        null=True, on_delete=django.db.models.deletion.SET_NULL, related_name="+", to="ml_engine.run"
                    ),
                ),
                (
                    "head",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="withdrawals",
                        to="ml_engine.headmodel",
                    ),
                ),
            ],
            options={
                "ordering": ["pk"],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("alignment__isnull", False), ("detector__isnull", True), ("head__isnull", True)),
                            models.Q(("alignment__isnull", True), ("detector__isnull", False), ("head__isnull", True)),
                            models.Q(("alignment__isnull", True), ("detector__isnull", True), ("head__isnull", False)),
                            _connector="OR",
                        ),
                        name="withdrawn_model_is_one",
                    )
                ],
            },
        ),
        erasable("ml_engine_headread", "append-only"),
        scrubbable("ml_engine_headmodel", "write-once", ("tune", "summary")),
        scrubbable("ml_engine_detectormodel", "write-once", ("summary",)),
        scrubbable("ml_engine_alignmentmodel", "write-once", ("report",)),
    ]

import uuid

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from portal.triggers import append_only


class Migration(migrations.Migration):
    dependencies = [
        ("analysis", "0013_set_evaluation"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="ExternalValidation",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("uuid", models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("label_cutoff", models.DateTimeField()),
                (
                    "created_by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
                (
                    "evaluation",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="external_validations",
                        to="analysis.evaluation",
                    ),
                ),
                (
                    "run",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="external_validations",
                        to="ml_engine.run",
                    ),
                ),
            ],
            options={"ordering": ["-created_at"]},
        ),
        append_only("analysis_externalvalidation"),
    ]

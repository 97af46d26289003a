"""Since when a run may be taken by a worker. Runs of before are taken to have been queued when they were requested."""

from typing import Any

import django.utils.timezone
from django.db import migrations, models
from django.db.models import F


def fill(apps: Any, schema_editor: Any) -> None:
    apps.get_model("ml_engine", "Run").objects.update(queued_at=F("created_at"))


class Migration(migrations.Migration):
    dependencies = [
        ("ml_engine", "0009_run_seconds_left"),
    ]

    operations = [
        migrations.AddField(
            model_name="run",
            name="queued_at",
            field=models.DateTimeField(default=django.utils.timezone.now),
        ),
        migrations.RunPython(fill, migrations.RunPython.noop),
    ]

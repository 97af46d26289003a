from django.conf import settings
from django.db import migrations, models

from portal.triggers import frozen, write_once

# SQLite makes a table anew to change it, and drops its triggers with the old one: the guards go first, and come back.
_GUARDS = [write_once("analysis_worklist"), frozen("analysis_worklistitem")]


class Migration(migrations.Migration):
    dependencies = [
        ("analysis", "0010_reader_studies"),
        ("ml_engine", "0008_confirmed_head"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        *(migrations.RunPython(guard.reverse_code, guard.code) for guard in _GUARDS),
        migrations.AddField(
            model_name="worklist",
            name="score",
            field=models.CharField(
                choices=[
                    ("one-class", "One-class score"),
                    ("combined", "Semi-supervised: one-class and head combined"),
                ],
                default="one-class",
                max_length=9,
            ),
        ),
        migrations.AddField(
            model_name="worklistitem",
            name="flagged_by",
            field=models.CharField(
                blank=True,
                choices=[
                    ("one-class", "the one-class score alone"),
                    ("combined", "the semi-supervised score alone"),
                    ("both", "both scores"),
                ],
                max_length=9,
            ),
        ),
        migrations.AddConstraint(
            model_name="worklist",
            constraint=models.CheckConstraint(
                condition=models.Q(("score__in", ["one-class", "combined"])), name="worklist_known_score"
            ),
        ),
        *_GUARDS,
    ]

"""The kind of run that makes an embedding map; it needs no split."""

from django.db import migrations, models

KINDS = {
    "fit_alignment": "Fit an alignment",
    "fit_detector": "Fit a detector",
    "score": "Score films",
    "ablation": "Ablation of the paper",
    "sweep": "Sweep of settings",
    "bank_study": "How many normals, how clean",
    "blind_spots": "Blind spots",
    "fit_head": "Fit a semi-supervised head",
    "embedding": "Embedding map",
}


class Migration(migrations.Migration):
    dependencies = [
        ("ml_engine", "0013_patient_erasures"),
    ]

    operations = [
        migrations.RemoveConstraint(model_name="run", name="run_fit_has_split"),
        migrations.RemoveConstraint(model_name="run", name="run_known_kind"),
        migrations.AlterField(
            model_name="run",
            name="kind",
            field=models.CharField(choices=list(KINDS.items()), max_length=16),
        ),
        migrations.AddConstraint(
            model_name="run",
            constraint=models.CheckConstraint(
                condition=models.Q(("kind__in", list(KINDS))),
                name="run_known_kind",
            ),
        ),
        migrations.AddConstraint(
            model_name="run",
            constraint=models.CheckConstraint(
                condition=models.Q(("kind__in", ["score", "embedding"]), ("split__isnull", False), _connector="OR"),
                name="run_fit_has_split",
            ),
        ),
    ]

import django.db.models.deletion
import uuid
from django.conf import settings
from django.db import migrations, models

from portal.triggers import append_only, write_once


class Migration(migrations.Migration):
    dependencies = [
        ("ml_engine", "0007_film_score_parts"),
        ("portal", "0021_training_films"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="HeadModel",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("uuid", models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("sha256", models.CharField(max_length=64)),
                ("summary", models.JSONField(default=dict)),
                ("tune", models.JSONField(default=dict)),
                ("random_weights", models.BooleanField(default=False)),
            ],
            options={
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="HeadRead",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("verdict", models.CharField(blank=True, max_length=8)),
                (
                    "source",
                    models.CharField(
                        choices=[
                            ("blinded", "Read in a worklist, without the model"),
                            ("assisted", "Read in a worklist, with the model at hand"),
                            ("label", "Labelled by curators"),
                            ("unread", "Not read: for the control of the population"),
                        ],
                        max_length=8,
                    ),
                ),
                ("weight", models.FloatField(default=1.0)),
                ("model_shown", models.BooleanField(default=False)),
            ],
            options={
                "ordering": ["pk"],
            },
        ),
        migrations.RemoveConstraint(
            model_name="run",
            name="run_known_kind",
        ),
        migrations.AddField(
            model_name="run",
            name="scored",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="heads_requested",
                to="ml_engine.run",
            ),
        ),
        migrations.AddField(
            model_name="score",
            name="combined_p_value",
            field=models.FloatField(null=True),
        ),
        migrations.AddField(
            model_name="score",
            name="combined_score",
            field=models.FloatField(null=True),
        ),
        migrations.AddField(
            model_name="score",
            name="head_score",
            field=models.FloatField(null=True),
        ),
        migrations.AddField(
            model_name="score",
            name="head_z",
            field=models.FloatField(null=True),
        ),
        migrations.AddField(
            model_name="score",
            name="one_class_z",
            field=models.FloatField(null=True),
        ),
        migrations.AlterField(
            model_name="run",
            name="kind",
            field=models.CharField(
                choices=[
                    ("fit_alignment", "Fit an alignment"),
                    ("fit_detector", "Fit a detector"),
                    ("score", "Score films"),
                    ("ablation", "Ablation of the paper"),
                    ("sweep", "Sweep of settings"),
                    ("bank_study", "How many normals, how clean"),
                    ("blind_spots", "Blind spots"),
                    ("fit_head", "Fit a semi-supervised head"),
                ],
                max_length=16,
            ),
        ),
        migrations.AddField(
            model_name="headmodel",
            name="detector",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="heads", to="ml_engine.detectormodel"
            ),
        ),
        migrations.AddField(
            model_name="headmodel",
            name="run",
            field=models.OneToOneField(
                on_delete=django.db.models.deletion.PROTECT, related_name="head_made", to="ml_engine.run"
            ),
        ),
        migrations.AddField(
            model_name="headmodel",
            name="site",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="heads", to="portal.site"
            ),
        ),
        migrations.AddField(
            model_name="headmodel",
            name="split",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="heads", to="portal.split"
            ),
        ),
        migrations.AddField(
            model_name="run",
            name="head",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="used_by",
                to="ml_engine.headmodel",
            ),
        ),
        migrations.AddConstraint(
            model_name="run",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "kind__in",
                        [
                            "fit_alignment",
                            "fit_detector",
                            "score",
                            "ablation",
                            "sweep",
                            "bank_study",
                            "blind_spots",
                            "fit_head",
                        ],
                    )
                ),
                name="run_known_kind",
            ),
        ),
        migrations.AddConstraint(
            model_name="run",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("kind", "fit_head"), _negated=True),
                    models.Q(("detector__isnull", False), ("scored__isnull", False)),
                    _connector="OR",
                ),
                name="run_head_has_scored_run",
            ),
        ),
        migrations.AddConstraint(
            model_name="run",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("head__isnull", True), models.Q(("detector__isnull", False), ("kind", "score")), _connector="OR"
                ),
                name="run_head_scores_with_detector",
            ),
        ),
        migrations.AddField(
            model_name="headread",
            name="image",
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="+", to="portal.image"),
        ),
        migrations.AddField(
            model_name="headread",
            name="run",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="reads", to="ml_engine.run"
            ),
        ),
        migrations.AddConstraint(
            model_name="headread",
            constraint=models.UniqueConstraint(fields=("run", "image"), name="head_read_once_a_run"),
        ),
        migrations.AddConstraint(
            model_name="headread",
            constraint=models.CheckConstraint(condition=models.Q(("weight__gte", 1)), name="head_read_weight"),
        ),
        migrations.AddConstraint(
            model_name="headread",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("source", "unread"), ("verdict", "")),
                    models.Q(models.Q(("source", "unread"), _negated=True), ("verdict__in", ["normal", "abnormal"])),
                    _connector="OR",
                ),
                name="head_read_has_verdict",
            ),
        ),
        append_only("ml_engine_headread"),
        write_once("ml_engine_headmodel"),
    ]

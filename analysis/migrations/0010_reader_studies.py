import django.db.models.deletion
import uuid
from django.conf import settings
from django.db import migrations, models

from portal.triggers import append_only, frozen, write_once

# SQLite makes a table anew to change it, and drops its triggers with the old one: the guard goes first, and comes back.
_GUARDS = [append_only("analysis_reading"), write_once("analysis_worklist"), frozen("analysis_worklistitem")]


class Migration(migrations.Migration):
    dependencies = [
        ("analysis", "0009_exposure"),
        ("ml_engine", "0007_film_score_parts"),
        ("portal", "0009_blinding"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        *(migrations.RunPython(guard.reverse_code, guard.code) for guard in _GUARDS),
        migrations.CreateModel(
            name="StudyReference",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("uuid", models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "source",
                    models.CharField(
                        choices=[
                            ("people", "Labels by people outside the study"),
                            ("follow-up", "Follow-up"),
                            ("ct", "CT"),
                        ],
                        max_length=9,
                    ),
                ),
                ("statement", models.CharField(max_length=500)),
                ("label_cutoff", models.DateTimeField()),
            ],
            options={
                "ordering": ["pk"],
            },
        ),
        migrations.CreateModel(
            name="WorklistAssignment",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("uuid", models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "ordering": ["pk"],
            },
        ),
        migrations.RemoveConstraint(
            model_name="reading",
            name="reading_first_once",
        ),
        migrations.RemoveConstraint(
            model_name="worklistitem",
            name="worklist_item_film_once",
        ),
        migrations.AddField(
            model_name="reading",
            name="agreement",
            field=models.CharField(blank=True, choices=[("agree", "Agree"), ("disagree", "Disagree")], max_length=8),
        ),
        migrations.AddField(
            model_name="reading",
            name="stage",
            field=models.CharField(
                blank=True, choices=[("unaided", "Without the model"), ("aided", "With the model")], max_length=7
            ),
        ),
        migrations.AddField(
            model_name="worklist",
            name="design",
            field=models.CharField(
                blank=True,
                choices=[
                    ("sequential", "Sequential: each film without the model, then at once with it"),
                    ("crossover", "Crossover: two sessions, one without and one with the model, in balanced order"),
                ],
                max_length=10,
            ),
        ),
        migrations.AddField(
            model_name="worklist",
            name="repeat_share",
            field=models.FloatField(default=0.0),
        ),
        migrations.AddField(
            model_name="worklistitem",
            name="repeat",
            field=models.PositiveSmallIntegerField(default=0),
        ),
        migrations.AddField(
            model_name="worklistreader",
            name="first_ended_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="worklistreader",
            name="first_stage",
            field=models.CharField(
                blank=True, choices=[("unaided", "Without the model"), ("aided", "With the model")], max_length=7
            ),
        ),
        migrations.AddConstraint(
            model_name="reading",
            constraint=models.CheckConstraint(
                condition=models.Q(("stage__in", ["", "unaided", "aided"])), name="reading_known_stage"
            ),
        ),
        migrations.AddConstraint(
            model_name="reading",
            constraint=models.CheckConstraint(
                condition=models.Q(("agreement__in", ["", "agree", "disagree"])), name="reading_known_agreement"
            ),
        ),
        migrations.AddConstraint(
            model_name="reading",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("stage", ""), models.Q(("confidence__isnull", False), ("replaces__isnull", True)), _connector="OR"
                ),
                name="reading_of_a_stage",
            ),
        ),
        migrations.AddConstraint(
            model_name="reading",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("model_shown", True), ("stage", "aided"), models.Q(("agreement", ""), _negated=True)),
                    models.Q(models.Q(("stage", "aided"), _negated=True), ("agreement", "")),
                    _connector="OR",
                ),
                name="reading_aided_agrees_or_not",
            ),
        ),
        migrations.AddConstraint(
            model_name="reading",
            constraint=models.UniqueConstraint(
                condition=models.Q(("item__isnull", False), ("replaces__isnull", True)),
                fields=("item", "reader", "stage"),
                name="reading_first_once",
            ),
        ),
        migrations.AddConstraint(
            model_name="worklist",
            constraint=models.CheckConstraint(
                condition=models.Q(("design__in", ["", "sequential", "crossover"])), name="worklist_known_design"
            ),
        ),
        migrations.AddConstraint(
            model_name="worklist",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("repeat_share__gte", 0),
                    ("repeat_share__lte", 1),
                    models.Q(("repeat_share", 0), models.Q(("design", ""), _negated=True), _connector="OR"),
                ),
                name="worklist_repeat_share",
            ),
        ),
        migrations.AddConstraint(
            model_name="worklistitem",
            constraint=models.UniqueConstraint(
                fields=("worklist", "image", "repeat"), name="worklist_item_showing_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="worklistreader",
            constraint=models.CheckConstraint(
                condition=models.Q(("first_stage__in", ["", "unaided", "aided"])), name="worklist_reader_stage"
            ),
        ),
        migrations.AddField(
            model_name="studyreference",
            name="stated_by",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
            ),
        ),
        migrations.AddField(
            model_name="studyreference",
            name="worklist",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="references", to="analysis.worklist"
            ),
        ),
        migrations.AddField(
            model_name="worklistassignment",
            name="assigned_by",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
            ),
        ),
        migrations.AddField(
            model_name="worklistassignment",
            name="reader",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
            ),
        ),
        migrations.AddField(
            model_name="worklistassignment",
            name="worklist",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="assignments", to="analysis.worklist"
            ),
        ),
        migrations.AddConstraint(
            model_name="studyreference",
            constraint=models.CheckConstraint(
                condition=models.Q(("source__in", ["people", "follow-up", "ct"])), name="study_reference_known_source"
            ),
        ),
        migrations.AddConstraint(
            model_name="worklistassignment",
            constraint=models.UniqueConstraint(fields=("worklist", "reader"), name="worklist_assignment_once"),
        ),
        append_only("analysis_reading"),
        write_once("analysis_worklist"),
        frozen("analysis_worklistitem"),
        write_once("analysis_worklistassignment"),
        append_only("analysis_studyreference"),
    ]

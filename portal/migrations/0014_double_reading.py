import uuid

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from portal.triggers import append_only, frozen

# SQLite makes a table anew to change it, and drops its triggers with the old one: the guards go first, and come back.
_CHANGED = [append_only("portal_adjudication"), append_only("portal_labelevent"), frozen("portal_screeningqueue")]
_NEW = ["portal_adjudicatorverdict", "portal_queuereading", "portal_consensus", "portal_consensus_readings"]


class Migration(migrations.Migration):
    dependencies = [
        ("portal", "0012_shows_nothing"),
    ]

    operations = [
        *(migrations.RunPython(guard.reverse_code, guard.code) for guard in _CHANGED),
        migrations.CreateModel(
            name="AdjudicatorVerdict",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("uuid", models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "value",
                    models.CharField(
                        choices=[
                            ("normal", "Normal"),
                            ("abnormal", "Abnormal"),
                            ("unsure", "Unsure"),
                            ("exclude", "Exclude"),
                        ],
                        max_length=8,
                    ),
                ),
                ("findings", models.JSONField(default=list)),
                ("attributes", models.JSONField(default=list)),
                ("comment", models.CharField(blank=True, max_length=500)),
                ("model_shown", models.BooleanField()),
                ("label_shown", models.BooleanField()),
            ],
        ),
        migrations.CreateModel(
            name="Consensus",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("uuid", models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "verbose_name_plural": "consensus",
            },
        ),
        migrations.CreateModel(
            name="DoubleReading",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("closed_at", models.DateTimeField(null=True)),
                ("expires_at", models.DateTimeField(null=True)),
                ("handed_back_at", models.DateTimeField(null=True)),
            ],
        ),
        migrations.CreateModel(
            name="QueueReader",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("expires_at", models.DateTimeField(null=True)),
                ("handed_back_at", models.DateTimeField(null=True)),
            ],
        ),
        migrations.CreateModel(
            name="QueueReading",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("uuid", models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "value",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("normal", "Normal"),
                            ("abnormal", "Abnormal"),
                            ("unsure", "Unsure"),
                            ("exclude", "Exclude"),
                        ],
                        max_length=8,
                    ),
                ),
                ("findings", models.JSONField(default=list)),
                ("attributes", models.JSONField(default=list)),
                ("boxes", models.JSONField(default=list)),
                ("comment", models.CharField(blank=True, max_length=500)),
                ("act", models.UUIDField(db_index=True, default=uuid.uuid4)),
                ("model_shown", models.BooleanField(default=False)),
                ("label_shown", models.BooleanField(default=False)),
            ],
        ),
        migrations.RemoveConstraint(
            model_name="labelevent",
            name="label_event_known_source",
        ),
        migrations.AddField(
            model_name="adjudication",
            name="changed_own_verdict",
            field=models.BooleanField(null=True),
        ),
        migrations.AddField(
            model_name="adjudication",
            name="settles_readings",
            field=models.JSONField(default=list),
        ),
        migrations.AddField(
            model_name="screeningqueue",
            name="blinded",
            field=models.BooleanField(default=False),
        ),
        migrations.AddField(
            model_name="screeningqueue",
            name="days_to_read",
            field=models.PositiveSmallIntegerField(default=28),
        ),
        migrations.AlterField(
            model_name="currentlabel",
            name="source",
            field=models.CharField(
                blank=True,
                choices=[
                    ("import", "Import"),
                    ("reader", "Reader"),
                    ("consensus", "Consensus"),
                    ("adjudication", "Adjudication"),
                ],
                max_length=12,
            ),
        ),
        migrations.AlterField(
            model_name="labelevent",
            name="source",
            field=models.CharField(
                choices=[
                    ("import", "Import"),
                    ("reader", "Reader"),
                    ("consensus", "Consensus"),
                    ("adjudication", "Adjudication"),
                ],
                max_length=12,
            ),
        ),
        migrations.AddConstraint(
            model_name="labelevent",
            constraint=models.CheckConstraint(
                condition=models.Q(("source__in", ["import", "reader", "consensus", "adjudication"])),
                name="label_event_known_source",
            ),
        ),
        migrations.AddField(
            model_name="adjudicatorverdict",
            name="adjudicator",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
            ),
        ),
        migrations.AddField(
            model_name="adjudicatorverdict",
            name="image",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="adjudicator_verdicts", to="portal.image"
            ),
        ),
        migrations.AddField(
            model_name="adjudicatorverdict",
            name="queue",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="adjudicator_verdicts",
                to="portal.screeningqueue",
            ),
        ),
        migrations.AddField(
            model_name="adjudication",
            name="own_verdict",
            field=models.OneToOneField(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="adjudication",
                to="portal.adjudicatorverdict",
            ),
        ),
        migrations.AddField(
            model_name="consensus",
            name="image",
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="+", to="portal.image"),
        ),
        migrations.AddField(
            model_name="consensus",
            name="label_event",
            field=models.OneToOneField(
                on_delete=django.db.models.deletion.PROTECT, related_name="consensus", to="portal.labelevent"
            ),
        ),
        migrations.AddField(
            model_name="consensus",
            name="queue",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="consensus", to="portal.screeningqueue"
            ),
        ),
        migrations.AddField(
            model_name="doublereading",
            name="adjudicator",
            field=models.ForeignKey(
                null=True, on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
            ),
        ),
        migrations.AddField(
            model_name="doublereading",
            name="closed_by",
            field=models.ForeignKey(
                null=True, on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
            ),
        ),
        migrations.AddField(
            model_name="doublereading",
            name="queue",
            field=models.OneToOneField(
                on_delete=django.db.models.deletion.PROTECT, related_name="double_reading", to="portal.screeningqueue"
            ),
        ),
        migrations.AddField(
            model_name="queuereader",
            name="queue",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="readers", to="portal.screeningqueue"
            ),
        ),
        migrations.AddField(
            model_name="queuereader",
            name="user",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
            ),
        ),
        migrations.AddField(
            model_name="queuereading",
            name="criteria",
            field=models.ForeignKey(
                null=True, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="portal.normalcriteria"
            ),
        ),
        migrations.AddField(
            model_name="queuereading",
            name="image",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="queue_readings", to="portal.image"
            ),
        ),
        migrations.AddField(
            model_name="queuereading",
            name="queue",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="readings", to="portal.screeningqueue"
            ),
        ),
        migrations.AddField(
            model_name="queuereading",
            name="reader",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
            ),
        ),
        migrations.AddField(
            model_name="queuereading",
            name="reverts",
            field=models.OneToOneField(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="reverted_by",
                to="portal.queuereading",
            ),
        ),
        migrations.AddField(
            model_name="consensus",
            name="readings",
            field=models.ManyToManyField(related_name="consensus", to="portal.queuereading"),
        ),
        migrations.AddConstraint(
            model_name="adjudicatorverdict",
            constraint=models.UniqueConstraint(
                fields=("queue", "image", "adjudicator"), name="adjudicator_verdict_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="adjudicatorverdict",
            constraint=models.CheckConstraint(
                condition=models.Q(("value__in", ["normal", "abnormal", "unsure", "exclude"])),
                name="adjudicator_verdict_known_value",
            ),
        ),
        migrations.AddConstraint(
            model_name="doublereading",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("closed_at__isnull", True), ("closed_by__isnull", True)),
                    models.Q(("closed_at__isnull", False), ("closed_by__isnull", False)),
                    _connector="OR",
                ),
                name="double_reading_closed_by_somebody",
            ),
        ),
        migrations.AddConstraint(
            model_name="queuereader",
            constraint=models.UniqueConstraint(fields=("queue", "user"), name="queue_reader_once"),
        ),
        migrations.AddIndex(
            model_name="queuereading",
            index=models.Index(fields=["queue", "reader"], name="queue_reading_of_reader"),
        ),
        migrations.AddConstraint(
            model_name="queuereading",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("reverts__isnull", True), ("value__in", ["normal", "abnormal", "unsure", "exclude"])),
                    models.Q(("reverts__isnull", False), ("value", "")),
                    _connector="OR",
                ),
                name="queue_reading_states_or_reverts",
            ),
        ),
        migrations.AddConstraint(
            model_name="queuereading",
            constraint=models.UniqueConstraint(fields=("act", "image"), name="queue_reading_once_an_act"),
        ),
        migrations.AddConstraint(
            model_name="consensus",
            constraint=models.UniqueConstraint(fields=("queue", "image"), name="consensus_once_a_film"),
        ),
        *_CHANGED,
        *(append_only(table) for table in _NEW),
    ]

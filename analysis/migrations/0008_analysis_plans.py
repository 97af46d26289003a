import django.db.models.deletion
import uuid
from django.conf import settings
from django.db import migrations, models

from portal.triggers import append_only

# SQLite makes a table anew to change it, and drops its triggers with the old one: the guard goes first, and comes back.
_LOOKS = append_only("analysis_testlook")


class Migration(migrations.Migration):
    dependencies = [
        ("analysis", "0007_guard_looks"),
        ("portal", "0008_test_rules"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RunPython(_LOOKS.reverse_code, _LOOKS.code),
        migrations.CreateModel(
            name="AnalysisPlan",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("uuid", models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("version", models.PositiveSmallIntegerField()),
                ("document", models.TextField()),
                ("sha256", models.CharField(max_length=64)),
                (
                    "locked_by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
                (
                    "split",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="analysis_plans", to="portal.split"
                    ),
                ),
            ],
            options={
                "ordering": ["split", "version"],
            },
        ),
        migrations.AddField(
            model_name="testlook",
            name="plan",
            field=models.ForeignKey(
                null=True, on_delete=django.db.models.deletion.PROTECT, related_name="looks", to="analysis.analysisplan"
            ),
        ),
        migrations.CreateModel(
            name="PlanApproval",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("uuid", models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "approver",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
                (
                    "plan",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT, related_name="approval", to="analysis.analysisplan"
                    ),
                ),
            ],
            options={
                "abstract": False,
            },
        ),
        migrations.AddConstraint(
            model_name="analysisplan",
            constraint=models.UniqueConstraint(fields=("split", "version"), name="analysis_plan_version_once"),
        ),
        append_only("analysis_testlook"),
        append_only("analysis_analysisplan"),
        append_only("analysis_planapproval"),
    ]

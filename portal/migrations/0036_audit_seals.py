import django.db.models.deletion
from django.db import migrations, models
from django.db.models import Q

from portal.triggers import append_only, scrubbable


class Migration(migrations.Migration):
    dependencies = [
        ("portal", "0035_mail_at_run_end"),
    ]

    operations = [
        migrations.CreateModel(
            name="AuditSeal",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("number", models.PositiveBigIntegerField()),
                ("key", models.CharField(blank=True, max_length=32)),
                ("commitment", models.CharField(max_length=64)),
                ("sha256", models.CharField(max_length=64)),
                ("sealed_at", models.DateTimeField(auto_now_add=True)),
                (
                    "event",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT, related_name="seal", to="portal.auditevent"
                    ),
                ),
                (
                    "site",
                    models.ForeignKey(
                        null=True, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="portal.site"
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("site", "number"), name="audit_seal_number"),
                    models.UniqueConstraint(
                        condition=Q(("site__isnull", True)),
                        fields=("number",),
                        name="audit_seal_number_of_installation",
                    ),
                ],
            },
        ),
        append_only("portal_auditseal"),
        scrubbable("portal_auditseal", "append-only", ("key",)),
    ]

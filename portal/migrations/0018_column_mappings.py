"""Mappings of columns, which uploads wait for."""

import django.db.models.deletion
import uuid
from django.conf import settings
from django.db import migrations, models


from portal.triggers import append_only


class Migration(migrations.Migration):
    dependencies = [
        ("portal", "0020_corrected_facts"),
    ]

    operations = [
        migrations.CreateModel(
            name="ColumnMapping",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("uuid", models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("shape", models.CharField(max_length=32)),
                ("meaning", models.JSONField()),
            ],
            options={
                "ordering": ["pk"],
            },
        ),
        migrations.RemoveConstraint(
            model_name="upload",
            name="upload_known_state",
        ),
        migrations.AddField(
            model_name="upload",
            name="check_columns",
            field=models.BooleanField(default=False),
        ),
        migrations.AddField(
            model_name="upload",
            name="patients",
            field=models.CharField(
                choices=[("table", "The table"), ("header", "The header of the film")], default="table", max_length=6
            ),
        ),
        migrations.AlterField(
            model_name="upload",
            name="state",
            field=models.CharField(
                choices=[
                    ("received", "Received"),
                    ("mapping", "Needs a mapping"),
                    ("importing", "Importing"),
                    ("done", "Done"),
                    ("failed", "Failed"),
                    ("discarded", "Discarded"),
                ],
                default="received",
                max_length=9,
            ),
        ),
        migrations.AddField(
            model_name="columnmapping",
            name="made_by",
            field=models.ForeignKey(
                null=True, on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
            ),
        ),
        migrations.AddField(
            model_name="columnmapping",
            name="site",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="column_mappings", to="portal.site"
            ),
        ),
        migrations.AddField(
            model_name="upload",
            name="mappings",
            field=models.ManyToManyField(related_name="uploads", to="portal.columnmapping"),
        ),
        migrations.AddConstraint(
            model_name="upload",
            constraint=models.CheckConstraint(
                condition=models.Q(("state__in", ["received", "mapping", "importing", "done", "failed", "discarded"])),
                name="upload_known_state",
            ),
        ),
        migrations.AddIndex(
            model_name="columnmapping",
            index=models.Index(fields=["site", "shape"], name="column_mapping_of_shape"),
        ),
        migrations.AddField(
            model_name="partialupload",
            name="patients",
            field=models.CharField(
                choices=[("table", "The table"), ("header", "The header of the film")], default="table", max_length=6
            ),
        ),
        migrations.AddField(
            model_name="partialupload",
            name="check_columns",
            field=models.BooleanField(default=False),
        ),
        append_only("portal_columnmapping"),
    ]

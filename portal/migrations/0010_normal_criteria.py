import uuid

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from portal.triggers import append_only, append_only_again


class Migration(migrations.Migration):
    dependencies = [
        ("portal", "0009_blinding"),
    ]

    operations = [
        migrations.CreateModel(
            name="NormalCriteria",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("uuid", models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("version", models.PositiveIntegerField()),
                ("text", models.TextField()),
                (
                    "author",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
                (
                    "site",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="normal_criteria", to="portal.site"
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "normal criteria",
                "ordering": ["-version"],
            },
        ),
        migrations.AddConstraint(
            model_name="normalcriteria",
            constraint=models.UniqueConstraint(fields=("site", "version"), name="normal_criteria_version_once_a_site"),
        ),
        migrations.AddConstraint(
            model_name="normalcriteria",
            constraint=models.CheckConstraint(
                condition=models.Q(("version__gte", 1)), name="normal_criteria_version_from_one"
            ),
        ),
        append_only("portal_normalcriteria"),
        migrations.AddField(
            model_name="labelevent",
            name="attributes",
            field=models.JSONField(default=list),
        ),
        migrations.AddField(
            model_name="labelevent",
            name="criteria",
            field=models.ForeignKey(
                null=True, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="portal.normalcriteria"
            ),
        ),
        append_only_again("portal_labelevent"),
        migrations.AddField(
            model_name="currentlabel",
            name="attributes",
            field=models.JSONField(default=list),
        ),
        migrations.AddField(
            model_name="currentlabel",
            name="attribute_words",
            field=models.TextField(blank=True, default=""),
        ),
        migrations.AddField(
            model_name="currentlabel",
            name="criteria",
            field=models.ForeignKey(
                null=True, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="portal.normalcriteria"
            ),
        ),
        migrations.AddIndex(
            model_name="currentlabel",
            index=models.Index(
                condition=models.Q(("attribute_words", ""), _negated=True),
                fields=["dataset", "attribute_words"],
                name="current_label_attributes",
            ),
        ),
    ]

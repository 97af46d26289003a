"""Copies of a film are in a split once. Frozen splits keep their rows as they are, with nulls."""

import django.db.models.deletion
from django.db import migrations, models

from portal.triggers import same_film


class Migration(migrations.Migration):
    dependencies = [("portal", "0015_proposed_films")]

    operations = [
        # may be null, so that SQLite adds columns instead of making the table anew, without the triggers that guard it
        migrations.AddField(
            model_name="splitimage",
            name="split",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to="portal.split",
            ),
        ),
        migrations.AddField(
            model_name="splitimage",
            name="pixel_sha256",
            field=models.CharField(max_length=64, null=True),
        ),
        migrations.AddConstraint(
            model_name="splitimage",
            constraint=models.UniqueConstraint(
                condition=models.Q(("pixel_sha256__isnull", False)),
                fields=("split", "pixel_sha256"),
                name="split_pixels_once",
            ),
        ),
        same_film(),
        migrations.AddIndex(model_name="image", index=models.Index(fields=["pixel_sha256"], name="image_copies")),
    ]

"""The seconds left of a whole run, beside those of its stage."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("ml_engine", "0008_confirmed_head"),
    ]

    operations = [
        migrations.AddField(
            model_name="run",
            name="run_seconds_left",
            field=models.FloatField(null=True),
        ),
    ]

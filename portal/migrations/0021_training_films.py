import django.db.models.deletion
from django.db import migrations, models

from portal.triggers import append_only


class Migration(migrations.Migration):
    dependencies = [
        ("portal", "0018_column_mappings"),
    ]

    operations = [
        migrations.CreateModel(
            name="TrainingFilm",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("source", models.UUIDField()),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "image",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="trained_models",
                        to="portal.image",
                    ),
                ),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("image", "source"), name="training_film_once_a_model")],
            },
        ),
        append_only("portal_trainingfilm"),
    ]

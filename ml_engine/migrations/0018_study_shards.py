from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("ml_engine", "0017_score_highest_first"),
    ]

    operations = [
        migrations.RemoveConstraint(model_name="run", name="run_child_has_rows"),
        migrations.RenameField(model_name="run", old_name="films_a_child", new_name="most_a_child"),
        migrations.AddConstraint(
            model_name="run",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("end_row__isnull", True), ("first_row__isnull", True), ("parent__isnull", True)),
                    models.Q(
                        ("end_row__gt", models.F("first_row")),
                        ("kind__in", ["score", "ablation", "sweep", "bank_study"]),
                        ("most_a_child", 0),
                        ("parent__isnull", False),
                    ),
                    _connector="OR",
                ),
                name="run_child_has_rows",
            ),
        ),
    ]

import django.db.models.deletion
from django.db import migrations, models

from portal.triggers import append_only

# SQLite makes a table anew to change it, and drops its triggers with the old one: the guard goes first, and comes back.
_GUARD = append_only("portal_adjudicatorverdict")


class Migration(migrations.Migration):
    dependencies = [
        ("portal", "0014_double_reading"),
    ]

    operations = [
        migrations.RunPython(_GUARD.reverse_code, _GUARD.code),
        migrations.AlterField(
            model_name="adjudicatorverdict",
            name="queue",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="adjudicator_verdicts",
                to="portal.screeningqueue",
            ),
        ),
        migrations.AddConstraint(
            model_name="adjudicatorverdict",
            constraint=models.UniqueConstraint(
                condition=models.Q(("queue__isnull", True)),
                fields=("image", "adjudicator"),
                name="adjudicator_verdict_proposed_once",
            ),
        ),
        _GUARD,
    ]

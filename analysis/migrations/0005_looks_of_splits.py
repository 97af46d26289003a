import django.db.models.deletion
from django.db import migrations, models

from portal.triggers import append_only

# The guard goes while the table changes (0005), is filled (0006) and closed (0007), and comes back then. Three
# migrations, since PostgreSQL alters no table whose rows a transaction has just changed.
_LOOKS = append_only("analysis_testlook")


class Migration(migrations.Migration):
    dependencies = [
        ("analysis", "0004_worklists"),
        ("ml_engine", "0006_studies"),
        ("portal", "0007_honest_broker"),
    ]

    operations = [
        migrations.RunPython(_LOOKS.reverse_code, _LOOKS.code),
        migrations.AddField(
            model_name="testlook",
            name="split",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="test_looks",
                to="portal.split",
            ),
        ),
        migrations.AddField(
            model_name="testlook",
            name="run",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="test_looks",
                to="ml_engine.run",
            ),
        ),
        migrations.AlterField(
            model_name="testlook",
            name="evaluation",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="looks",
                to="analysis.evaluation",
            ),
        ),
        migrations.AlterField(
            model_name="testlook",
            name="fusion_weight",
            field=models.FloatField(null=True),
        ),
    ]

import django.db.models.deletion
from django.db import migrations, models

from portal.triggers import append_only


class Migration(migrations.Migration):
    dependencies = [("analysis", "0006_fill_looks")]
    operations = [
        migrations.AlterField(
            model_name="testlook",
            name="split",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="test_looks",
                to="portal.split",
            ),
        ),
        append_only("analysis_testlook"),
    ]

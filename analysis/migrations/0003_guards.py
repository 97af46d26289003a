from django.db import migrations

from portal.triggers import append_only


class Migration(migrations.Migration):
    dependencies = [("analysis", "0002_initial")]
    operations = [
        append_only("analysis_reading"),
        append_only("analysis_testlook"),
    ]

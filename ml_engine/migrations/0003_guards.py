from django.db import migrations

from portal.triggers import write_once


class Migration(migrations.Migration):
    dependencies = [("ml_engine", "0002_initial")]
    operations = [
        write_once("ml_engine_alignmentmodel"),
        write_once("ml_engine_detectormodel"),
    ]

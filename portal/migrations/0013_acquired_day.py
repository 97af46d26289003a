"""The day of acquisition of a film, shifted for each patient. Films imported before have none."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("portal", "0010_normal_criteria")]

    operations = [
        migrations.AddField(model_name="image", name="acquired_day", field=models.DateField(null=True)),
    ]

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("ml_engine", "0003_guards")]
    operations = [
        migrations.AddField(
            model_name="run",
            name="losses",
            field=models.PositiveSmallIntegerField(default=0),
        ),
    ]

import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    """The time of a label event is given by whoever appends it. The column stays as it is: SQLite would make the table
    anew, without its triggers."""

    dependencies = [("portal", "0043_tokens_from_before")]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.AlterField(
                    model_name="labelevent",
                    name="created_at",
                    field=models.DateTimeField(default=django.utils.timezone.now, editable=False),
                ),
            ],
        ),
    ]

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("portal", "0034_key_fingerprint"),
    ]

    operations = [
        migrations.AddField(
            model_name="user",
            name="mail_at_run_end",
            field=models.BooleanField(default=False),
        ),
    ]

"""Sites keep a fingerprint of the key of their pseudonyms, from the next import on."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("portal", "0033_patient_erasures")]

    operations = [
        migrations.AddField("site", "key_fingerprint", models.CharField(blank=True, editable=False, max_length=16)),
    ]

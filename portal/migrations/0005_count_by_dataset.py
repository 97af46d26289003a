"""The dataset of a film beside its current label, so that 100,000 films are counted from an index alone."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("portal", "0004_screening_queues")]
    operations = [
        migrations.AddIndex(
            model_name="image",
            index=models.Index(fields=["dataset", "id"], name="image_of_dataset"),
        ),
        migrations.AddField(
            model_name="currentlabel",
            name="dataset",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to="portal.dataset",
            ),
        ),
        migrations.RunSQL(
            "UPDATE portal_currentlabel SET dataset_id = "
            "(SELECT dataset_id FROM portal_image WHERE id = portal_currentlabel.image_id)",
            migrations.RunSQL.noop,
        ),
    ]

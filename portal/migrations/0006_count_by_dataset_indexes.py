import django.db.models.deletion
from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    # apart from 0005: PostgreSQL alters no table whose rows have just been changed
    dependencies = [("portal", "0005_count_by_dataset")]
    operations = [
        migrations.AlterField(
            model_name="currentlabel",
            name="dataset",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to="portal.dataset",
            ),
        ),
        migrations.AddIndex(
            model_name="currentlabel",
            index=models.Index(fields=["dataset", "value"], name="current_label_counts"),
        ),
        migrations.AddIndex(
            model_name="currentlabel",
            index=models.Index(
                condition=~Q(finding_words=""), fields=["dataset", "finding_words"], name="current_label_findings"
            ),
        ),
    ]

"""Further columns of tables, which earlier releases kept without being asked, can be dropped from films."""

from django.db import migrations

from portal.triggers import further_columns_may_be_dropped


class Migration(migrations.Migration):
    dependencies = [("portal", "0024_sex_and_age_of_tables")]
    operations = [further_columns_may_be_dropped()]

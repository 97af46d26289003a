from django.db import migrations

from portal.triggers import append_only, write_once


class Migration(migrations.Migration):
    dependencies = [("portal", "0001_initial")]
    operations = [
        append_only("portal_labelevent"),
        append_only("portal_adjudication"),
        append_only("portal_auditevent"),
        write_once("portal_image"),
        write_once("portal_split"),
        write_once("portal_splitmember"),
        write_once("portal_splitimage"),
    ]

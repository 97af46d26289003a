from django.db import migrations

from portal.triggers import append_only, frozen, same_patient, write_once


class Migration(migrations.Migration):
    dependencies = [("portal", "0001_initial")]
    operations = [
        append_only("portal_labelevent"),
        append_only("portal_adjudication"),
        append_only("portal_auditevent"),
        write_once("portal_image"),
        frozen("portal_split"),
        frozen("portal_split_datasets"),
        frozen("portal_splitmember"),
        frozen("portal_splitimage"),
        same_patient(),
    ]

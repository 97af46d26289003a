from django.contrib import admin

from analysis.models import Evaluation, Reading, TestLook
from portal.admin import LookOnly


@admin.register(Evaluation)
class EvaluationAdmin(LookOnly):
    list_display = ["created_at", "run", "split", "label_cutoff"]
    list_select_related = ["run", "split"]


admin.site.register([Reading, TestLook], LookOnly)

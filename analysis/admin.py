from django.contrib import admin

from analysis.models import Evaluation, Reading, TestLook
from portal.admin import LookOnly

admin.site.register([Evaluation, Reading, TestLook], LookOnly)

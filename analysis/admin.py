from django.contrib import admin

from analysis.models import (
    AdjudicationProposal,
    AnalysisPlan,
    Escalation,
    EscalationAnswer,
    Evaluation,
    HeadDecision,
    HeadProposal,
    NormalDecision,
    NormalProposal,
    PlanApproval,
    Reading,
    TestLook,
    Worklist,
    WorklistReader,
)
from portal.admin import LookOnly


@admin.register(Evaluation)
class EvaluationAdmin(LookOnly):
    list_display = ["created_at", "run", "split", "label_cutoff"]
    list_select_related = ["run", "split"]


@admin.register(Worklist)
class WorklistAdmin(LookOnly):
    list_display = ["created_at", "name", "run", "created_by"]
    list_select_related = ["run", "created_by"]


admin.site.register(
    [
        AdjudicationProposal,
        AnalysisPlan,
        Escalation,
        EscalationAnswer,
        HeadDecision,
        HeadProposal,
        NormalDecision,
        NormalProposal,
        PlanApproval,
        Reading,
        TestLook,
        WorklistReader,
    ],
    LookOnly,
)

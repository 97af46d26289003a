from django.urls import path

from analysis.api import bank_studies, exports, planning, views, worklists

urlpatterns = [
    path("evaluations/", views.Evaluations.as_view(), name="api-evaluations"),
    path("evaluations/<uuid:uuid>/", views.OneEvaluation.as_view(), name="api-evaluation"),
    path("evaluations/<uuid:uuid>/scores/", views.ScoreTable.as_view(), name="api-scores"),
    path("splits/<uuid:uuid>/data/", views.SplitData.as_view(), name="api-split-data"),
    path("splits/<uuid:uuid>/plan/", planning.Plan.as_view(), name="api-plan"),
    path("plans/<uuid:uuid>/approve/", planning.ApprovePlan.as_view(), name="api-approve-plan"),
    path("evaluations/compare/", views.Compare.as_view(), name="api-comparison"),
    path("evaluations/<uuid:uuid>/breakdown/", views.BreakdownOfOne.as_view(), name="api-breakdown"),
    path("evaluations/<uuid:uuid>/operating/", views.Operating.as_view(), name="api-operating"),
    path("evaluations/compare/figures/<slug:name>.csv", exports.ComparisonCsv.as_view(), name="api-comparison-csv"),
    path("evaluations/<uuid:uuid>/figures/<slug:name>.csv", exports.FigureCsv.as_view(), name="api-figure-csv"),
    path("evaluations/<uuid:uuid>/report.pdf", exports.ReportPdf.as_view(), name="api-report"),
    path("runs/<uuid:uuid>/evaluate/", views.Evaluate.as_view(), name="api-evaluate"),
    path("bank-studies/<uuid:uuid>/", bank_studies.BankStudy.as_view(), name="api-bank-study"),
    path("bank-studies/<uuid:uuid>/show/", bank_studies.ShowBankStudy.as_view(), name="api-show-bank-study"),
    path("blind-spots/<uuid:uuid>/", bank_studies.BlindSpots.as_view(), name="api-blind-spots"),
    path("blind-spots/<uuid:uuid>/show/", bank_studies.ShowBlindSpots.as_view(), name="api-show-blind-spots"),
    path("runs/<uuid:uuid>/worklists/", worklists.NewWorklist.as_view(), name="api-new-worklist"),
    path("worklists/", worklists.Worklists.as_view(), name="api-worklists"),
    path("worklists/<uuid:uuid>/", worklists.OneWorklist.as_view(), name="api-worklist"),
    path("worklists/<uuid:uuid>/items/", worklists.OwnItems.as_view(), name="api-worklist-items"),
    path("worklists/<uuid:uuid>/readings/", worklists.Readings.as_view(), name="api-readings"),
    path("worklists/<uuid:uuid>/summary/", worklists.Summary.as_view(), name="api-worklist-summary"),
    path("worklists/<uuid:uuid>/escalations/", worklists.Escalate.as_view(), name="api-escalate"),
    path("escalations/", worklists.Escalations.as_view(), name="api-escalations"),
    path("escalations/<uuid:uuid>/answer/", worklists.Answer.as_view(), name="api-escalation-answer"),
]

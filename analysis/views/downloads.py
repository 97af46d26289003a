"""What the pages and endpoints of results and reading send as files, for the audit."""

from portal.people.downloads import Sends

RUN, EVALUATION, WORKLIST = "ml_engine.Run", "analysis.Evaluation", "analysis.Worklist"
_FIGURES = Sends("figures", EVALUATION, counted=True, data=True)
_FIGURE = Sends("data of a figure", EVALUATION)
_COMPARED = Sends("data of a compared figure", EVALUATION, by="evaluation")
_SCORES = Sends("scores", EVALUATION)
_READINGS = Sends("readings", WORKLIST, data=True)
_READ_TWICE = Sends("readings", "portal.ScreeningQueue")
_STUDY = Sends("readings of a study", WORKLIST)
_MAPS = Sends("heatmaps", RUN, by="run_uuid", counted=True)
_HEATMAP = Sends("heatmap as DICOM", RUN, by="run_uuid")
_SEGMENTATION = Sends("segmentation as DICOM", RUN, by="run_uuid")
_EXTERNAL = Sends("external validation", "analysis.ExternalValidation")
_DRIFT = Sends("drift", RUN)
_TABLE_ONE = Sends("table 1", "portal.Split")
SENT = {
    "analysis:figures": _FIGURES,
    "api-evaluation-data": _FIGURES,
    "analysis:figure-csv": _FIGURE,
    "api-figure-csv": _FIGURE,
    "analysis:comparison-csv": _COMPARED,
    "api-comparison-csv": _COMPARED,
    "analysis:table": _SCORES,
    "api-scores": _SCORES,
    "analysis:readings-table": _READINGS,
    "api-readings": _READINGS,
    "analysis:double-reading-table": _READ_TWICE,
    "api-queue-readings-csv": _READ_TWICE,
    "analysis:study-long": _STUDY,
    "api-study-long": _STUDY,
    "analysis:study-imrmc": _STUDY,
    "api-study-imrmc": _STUDY,
    "analysis:maps": _MAPS,
    "api-maps": _MAPS,
    "analysis:study-maps": Sends("heatmaps", RUN, by="uuid", counted=True),
    "analysis:revealed-maps": Sends("heatmaps", WORKLIST, about="run", counted=True),
    "analysis:heatmap-dicom": _HEATMAP,
    "api-heatmap-dicom": _HEATMAP,
    "analysis:segmentation-dicom": _SEGMENTATION,
    "api-segmentation-dicom": _SEGMENTATION,
    "analysis:map-points": Sends("embedding map", RUN, counted=True),
    "analysis:external-csv": _EXTERNAL,
    "api-external-csv": _EXTERNAL,
    "analysis:drift-csv": _DRIFT,
    "api-drift-csv": _DRIFT,
    "analysis:head-curve-table": Sends("learning curve", RUN),
    "analysis:bank-study-table": Sends("bank study", RUN),
    "analysis:blind-spots-table": Sends("blind spots", RUN),
    "analysis:table-one-csv": _TABLE_ONE,
    "api-table-one-csv": _TABLE_ONE,
    "analysis:plan-document": Sends("analysis plan", "analysis.AnalysisPlan"),
}
RECORDED_BY_THEIR_FUNCTIONS = (
    *("analysis:report", "api-report", "analysis:run-archive", "api-run-archive"),
    *("analysis:dataset-labels", "analysis:cohort-labels", "analysis:split-labels"),
    *("api-dataset-labels", "api-cohort-labels", "api-split-labels"),
)

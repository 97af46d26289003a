"""URLs of the pages of runs."""

from django.urls import path

from ml_engine.views import forecasts, pictures, runs, studies

app_name = "ml_engine"
urlpatterns = [
    path("runs/", runs.runs, name="runs"),
    path("runs/new/sweep/forecast/", studies.sweep_forecast, name="sweep-forecast"),
    path("runs/new/<str:kind>/", runs.new, name="run-new"),
    path("runs/new/<str:kind>/forecast/", forecasts.run_forecast, name="run-forecast"),
    path("runs/<uuid:uuid>/", runs.run, name="run"),
    path("runs/<uuid:uuid>/progress/", runs.progress, name="run-progress"),
    path("runs/<uuid:uuid>/log/", runs.log, name="run-log"),
    path("runs/<uuid:uuid>/pictures/<str:name>", pictures.picture, name="run-picture"),
    path("runs/<uuid:uuid>/queue/", runs.queue_suspects, name="queue-suspects"),
    path("runs/<uuid:uuid>/cancel/", runs.cancel, name="run-cancel"),
    path("runs/<uuid:uuid>/retry/", runs.retry, name="run-retry"),
]

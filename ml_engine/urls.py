"""URLs of the pages of runs."""

from django.urls import path

from ml_engine.views import alignment_outcome, boards, burned_in, forecasts, pictures, runs, studies

app_name = "ml_engine"
urlpatterns = [
    path("datasets/<uuid:uuid>/text/", burned_in.burned_in, name="burned-in"),
    path("datasets/<uuid:uuid>/text/search/", burned_in.search_text, name="search-text"),
    path("images/<uuid:uuid>/text/", burned_in.film_text, name="film-text"),
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
    path("runs/<uuid:uuid>/films/", alignment_outcome.board, name="alignment-outcome"),
    path("runs/<uuid:uuid>/films/<uuid:image_uuid>/", alignment_outcome.decide, name="alignment-decide"),
    path("runs/<uuid:uuid>/films/<uuid:image_uuid>.png", alignment_outcome.film, name="alignment-film"),
    path("boards/", boards.boards, name="boards"),
    path("boards/<uuid:uuid>/", boards.board, name="board"),
    path("boards/<uuid:uuid>/stack/", boards.stack, name="board-stack"),
    path("boards/<uuid:uuid>/<str:what>.png", boards.picture, name="board-picture"),
    path("boards/<uuid:uuid>/films/<int:position>.png", boards.film, name="board-film"),
    path("boards/<uuid:uuid>/films/<int:position>/", boards.place, name="board-place"),
    path("boards/<uuid:uuid>/canonical/", boards.make, name="board-canonical"),
    path("canonicals/<uuid:uuid>/<str:what>.png", boards.canonical_picture, name="canonical-picture"),
]

from django.urls import path

from ml_engine.api import bank_studies, boards, burned_in, embeddings, forecasts, heads, studies, suspects, views

urlpatterns = [
    path("datasets/<uuid:uuid>/text/", burned_in.SuspectedFilms.as_view(), name="api-burned-in"),
    path("datasets/<uuid:uuid>/text/search/", burned_in.SearchText.as_view(), name="api-search-text"),
    path("images/<uuid:uuid>/text/", burned_in.DecideOnText.as_view(), name="api-film-text"),
    path("runs/", views.Runs.as_view(), name="api-runs"),
    *(
        path(f"runs/{view.kind}/", view.as_view(), name=view.url_name)
        for module in (views, studies, bank_studies, heads, embeddings)
        for view in module.VIEWS
    ),
    *(
        path(f"runs/{view.kind}/forecast/", view.as_view(), name=f"api-forecast-{view.kind}")
        for view in forecasts.VIEWS
    ),
    path("runs/<uuid:uuid>/", views.OneRun.as_view(), name="api-run"),
    path("runs/<uuid:uuid>/cancel/", views.Cancel.as_view(), name="api-run-cancel"),
    path("runs/<uuid:uuid>/retry/", views.Retry.as_view(), name="api-run-retry"),
    path("runs/<uuid:uuid>/queue/", suspects.QueueSuspects.as_view(), name="api-queue-suspects"),
    path("runs/<uuid:uuid>/films/", boards.Decisions.as_view(), name="api-alignment-decisions"),
    path("runs/<uuid:uuid>/films/<uuid:image_uuid>/", boards.Decide.as_view(), name="api-alignment-decide"),
    path("boards/", boards.Boards.as_view(), name="api-boards"),
    path("boards/<uuid:uuid>/", boards.OneBoard.as_view(), name="api-board"),
    path("boards/<uuid:uuid>/films/<int:position>/", boards.PlaceFilm.as_view(), name="api-board-place"),
    path("boards/<uuid:uuid>/canonical/", boards.MakeCanonical.as_view(), name="api-board-canonical"),
    path("canonicals/", boards.Canonicals.as_view(), name="api-canonicals"),
    path("runs/<uuid:uuid>/log/", views.Log.as_view(), name="api-run-log"),
]

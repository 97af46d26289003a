"""What the pages and endpoints of runs and boards send as files, for the audit."""

from portal.people.downloads import Sends

RUN, BOARD = "ml_engine.Run", "ml_engine.CanonicalBoard"
SENT = {
    "ml_engine:run-picture": Sends("pictures of a run", RUN, counted=True),
    "ml_engine:alignment-film": Sends("aligned films", RUN, counted=True),
    "ml_engine:board-picture": Sends("pictures of a board", BOARD, counted=True),
    "ml_engine:board-film": Sends("films on a board", BOARD, counted=True),
    "ml_engine:canonical-picture": Sends("pictures of a board", "ml_engine.HandMadeCanonical", "board", counted=True),
}

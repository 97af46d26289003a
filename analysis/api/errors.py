"""How the API says that there is nothing to show."""

from rest_framework.response import Response

from analysis.evaluation.looks import CannotEvaluate


def refused(error: CannotEvaluate) -> Response:
    """400, or 410 where the run's files are gone, with the sentence."""
    return Response({"detail": str(error)}, status=error.status)

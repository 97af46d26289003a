"""The API's response where there are no results to show."""

from rest_framework.response import Response

from analysis.evaluation.looks import CannotEvaluate


def refused(error: CannotEvaluate) -> Response:
    """400 with the reason; 410 where the run's files are gone."""
    return Response({"detail": str(error)}, status=error.status)

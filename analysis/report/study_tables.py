"""The ratings of a reader study as CSV for R packages: the long format, and that of iMRMC.

The columns are those of the packages and nothing else, since they refuse others; so the notice is in the file's name.
"""

import csv
import io
from typing import Literal

from analysis import statistics
from analysis.models import Worklist
from analysis.reading.study_reference import ReferenceRefused, current_reference, reference_labels
from analysis.reading.study_results import NO_REFERENCE, NOBODY, STAGES, study_data
from analysis.report.csv_tables import escape_formula

Layout = Literal["long", "imrmc"]
LAYOUTS = ("long", "imrmc")


def study_csv(worklist: Worklist, layout: Layout) -> str:
    """The ratings of the readers who have read everything, of films with a label. Cases are numbered by position in the
    worklist, from 1. Raises ReferenceRefused without a reference or a reader."""
    reference = current_reference(worklist)
    if reference is None:
        raise ReferenceRefused(NO_REFERENCE)
    everything = study_data(worklist, reference_labels(reference)[0])
    if not everything.readers:
        raise ReferenceRefused(NOBODY)
    data = everything.labelled()
    number = {image: str(row) for row, image in enumerate(everything.images, start=1)}
    table = statistics.mrmc_long_table if layout == "long" else statistics.imrmc_table
    rows = table(
        data.labels,
        data.ratings,
        readers=[reader.username for reader in data.readers],
        modalities=[stage.value for stage in STAGES],
        cases=[number[image] for image in data.images],
    )
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([escape_formula(value) for value in row] for row in rows)
    return text.getvalue()

"""Why an import of a published dataset leaves a film out."""

from enum import StrEnum


class LeftOut(StrEnum):
    """Why a row of a published table brings no film; also the names of the counts of an import's report."""

    VIEW = "left out: another view"
    CHILD = "left out: under 18"
    BROKEN = "left out: known to be broken"
    NO_FILE = "left out: no file"
    SEVERAL_FILES = "left out: several files"

"""Names of columns: the spellings under which Hilum knows its own, and those that may identify a person."""

import re

# The last three are written by the export of labels (portal.sets.label_export).
KNOWN = (
    *("filename", "label", "patient_id", "projection", "split", "finding", "attributes"),
    *("label_origin", "reader_code", "label_source"),
)
# Other names of a known column, without spaces, hyphens and underscores.
_SPELLINGS = {
    "file": "filename",
    "filepath": "filename",
    "imagefile": "filename",
    "imagefilename": "filename",
    "imageindex": "filename",  # NIH
    "imageuuid": "image",
    "imagename": "filename",
    "imagepath": "filename",
    "patientid": "patient_id",
    "patientidentifier": "patient_id",
    "patientno": "patient_id",
    "patientnumber": "patient_id",
    "patient": "patient_id",
    "pid": "patient_id",
    "subject": "patient_id",
    "subjectid": "patient_id",
    "viewposition": "projection",
    "findings": "finding",
    "findinglabel": "finding",  # NIH
    "findinglabels": "finding",  # NIH
    "attribute": "attributes",
    # boxes: NIH, and corners as VinDr and others give them
    "bbox[x": "x",
    "w": "width",
    "h": "height",
    "h]": "height",
    **dict.fromkeys(("xmin", "x1"), "x_min"),
    **dict.fromkeys(("ymin", "y1"), "y_min"),
    **dict.fromkeys(("xmax", "x2"), "x_max"),
    **dict.fromkeys(("ymax", "y2"), "y_max"),
}
SIZES = ("x", "y", "width", "height")
CORNERS = ("x_min", "y_min", "x_max", "y_max")
# Names that stand for a file, or for the finding of a box, where the table has no column that says so.
SECOND_NAMES = {"image_id": "filename", "dicom_id": "filename"}
SECOND_NAMES_OF_BOXES = {**SECOND_NAMES, "class_name": "finding", "class": "finding", "label": "finding"}
# Names of columns that may hold the labels.
LIKE_LABEL = frozenset(
    {"class", "class_name", "category", "diagnosis", "diagnoses", "target", "ground_truth", "groundtruth", "gt", "y"}
    | {"normal", "abnormal", "abnormality", "status", "result", "outcome", "dx", "diag", "gold_standard", "disease"}
    | {"diagnose", "diagnosen", "diagnostic", "diagnostico", "diagnóstico", "diagnosi", "befund", "befunde", "klasse"}
    | {"classe", "clase", "klass", "pathology", "pathologie"}
)
# A column may identify a person if its name contains one of these words, or one of these strings anywhere in it. In
# doubt, a column is left out: values stored with a film cannot be removed later.
_IDENTIFYING_WORDS = frozenset({"dob", "fax", "initials", "mrn", "nhs", "ssn", "street", "uid", "zip"})
_IDENTIFYING = (
    *("accession", "address", "birth", "email", "hospitalid", "hospitalnumber", "instanceuid", "insurance"),
    *("medicalrecord", "name", "nationalid", "passport", "patientid", "phone", "physician", "postalcode", "postcode"),
    *("socialsecurity", "uhid", "mrno", "mobile", "aadhaar"),
)
# Beside these, words of columns that hold persons, dates, numbers of records or free text, and can be declared neither
# a number nor a category.
_NEVER_KEPT = frozenset(
    {"cpr", "cnp", "doctor", "dr", "consultant", "radiologist", "referrer", "surgeon", "technician", "operator"}
    | {"id", "identifier", "no", "nr", "number", "record", "phone", "tel", "time", "hour", "datum", "fecha"}
    | {"comment", "comments", "history", "impression", "indication", "note", "notes", "remark", "remarks", "report"}
    | {"text", "bemerkung", "arzt", "geburtsdatum", "vorname", "nachname"}
)


def is_known(header: str) -> bool:
    """Whether the column has a meaning by its name."""
    return column_name(header) in (*KNOWN, "image", *SIZES, *CORNERS)


def column_name(header: str) -> str:
    """Return the normalised name: patient_id for 'PatientID', 'patient id' and 'Patient-ID'; in lower case, with _ for
    spaces, for an unknown column."""
    name = re.sub(r"[\s_-]+", "_", header.strip().lower()).strip("_")
    joined = name.replace("_", "")
    for column in KNOWN:
        if joined == column.replace("_", ""):
            return column
    return _SPELLINGS.get(joined, name)


def may_identify(header: str) -> bool:
    """Whether a further column may identify a person, judged by its name, not by its values."""
    if column_name(header) in KNOWN:
        return False
    words = _words(header)
    return (
        bool(_IDENTIFYING_WORDS.intersection(words))
        or any(word.endswith("date") for word in words)
        or any(part in "".join(words) for part in _IDENTIFYING)
    )


def may_be_kept(header: str) -> bool:
    """Whether a manager may declare a column a number or a category, judged by its name: one of patients may not."""
    if may_identify(header) or column_name(header) == "patient_id" or is_index(header):
        return False
    return _NEVER_KEPT.isdisjoint(_words(header))


def _words(header: str) -> list[str]:
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])|[\W_]+", " ", header).lower()
    return spaced.replace("patient", " patient ").split()


def is_index(name: str) -> bool:
    """Whether this is the column of row numbers that pandas writes."""
    return re.fullmatch(r"unnamed: \d+(_level_\d+)?", name.lower()) is not None

"""What became of the files and rows of an import: counts, and the sentences that explain them to a curator."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from portal.imaging.film_warnings import WARNINGS
from portal.intake.csv_labels import SPLIT_WORDS, CsvRow
from portal.intake.deidentified_batch import DeidentifiedBatch
from portal.intake.film_labels import RowOutcome
from portal.intake.first_names import MOST, FirstNames
from portal.intake.header_facts import Fact, KeptDifferences
from portal.intake.left_out import LeftOut
from portal.intake.name_matching import Rule, name_shape
from portal.intake.patient_identifiers import PatientDifference, PatientSource
from portal.intake.scanned_files import INFECTED, TOO_LARGE

_MOST_NAMED = 10
_SPLIT_WORDS = f"{', '.join(SPLIT_WORDS[:-1])} or {SPLIT_WORDS[-1]}"
# Sentences for each count, in the singular and the plural.
_SENTENCES: dict[str, tuple[str, str]] = {
    "imported": ("film imported", "films imported"),
    "another header": (
        "film came again with another header; its new facts wait until somebody takes or dismisses them",
        "films came again with another header; their new facts wait until somebody takes or dismisses them",
    ),
    "another header, dismissed": (
        "film came again with another header that was dismissed before",
        "films came again with another header that was dismissed before",
    ),
    "there already": ("film was already imported", "films were already imported"),
    "label events": (
        "label event appended for a change in the CSV",
        "label events appended for changes in the CSV",
    ),
    "kept as imported": (
        "film keeps its original patient, projection and split; import into a new dataset to use those of the CSV",
        "films keep their original patient, projection and split; import into a new dataset to use those of the CSV",
    ),
    "the same film again": (
        "file holds the same film as an earlier file of this import and was skipped",
        "files hold the same film as an earlier file of this import and were skipped",
    ),
    "of erased patients": (
        "file is of a patient who was erased here, and was not imported",
        "files are of patients who were erased here, and were not imported",
    ),
    "quarantined": ("file in quarantine, with the reason", "files in quarantine, with the reasons"),
    "quarantined already": ("file was already in quarantine", "files were already in quarantine"),
    INFECTED: (
        "file refused, because the virus scanner found something in it; quarantine names what",
        "files refused, because the virus scanner found something in them; quarantine names what",
    ),
    TOO_LARGE: (
        "file refused, because it is larger than what the virus scanner takes",
        "files refused, because they are larger than what the virus scanner takes",
    ),
    "left quarantine": (
        "file left quarantine, because it can be decoded now",
        "files left quarantine, because they can be decoded now",
    ),
    "studies not fetched": (
        "study could not be fetched from the PACS; import it again",
        "studies could not be fetched from the PACS; import them again",
    ),
    "studies empty": (
        "study has no object in the PACS any more",
        "studies have no objects in the PACS any more",
    ),
    "not fetched": (
        "film could not be fetched from the PACS; import its study again",
        "films could not be fetched from the PACS; import their studies again",
    ),
    "other modalities": (
        "object of another modality was left out",
        "objects of other modalities were left out",
    ),
    "not kept": (
        "file of quarantine cannot be read any more; send it again",
        "files of quarantine cannot be read any more; send them again",
    ),
    Rule.FOLDERS: (
        "name of the CSV matched by the end of its path, since the folders above it differ",
        "names of the CSV matched by the ends of their paths, since the folders above them differ",
    ),
    Rule.CASE: (
        "name of the CSV matched without regard to upper and lower case",
        "names of the CSV matched without regard to upper and lower case",
    ),
    Rule.ENDING: (
        "name of the CSV matched without its ending (such as .png)",
        "names of the CSV matched without their endings (such as .png)",
    ),
    "not in the CSV": (
        "file skipped, because the CSV does not list it",
        "files skipped, because the CSV does not list them",
    ),
    "no films": (
        "file skipped, because its file type is not that of a film",
        "files skipped, because their file types are not those of films",
    ),
    "boxes left aside": (
        "box skipped, because its film has no label in the CSV or is not there",
        "boxes skipped, because their films have no label in the CSV or are not there",
    ),
    "boxes outside": (
        "box skipped, because it lies beside its film",
        "boxes skipped, because they lie beside their films",
    ),
    "boxes cut": ("box cut at the edge of its film", "boxes cut at the edges of their films"),
    "boxes turned": (
        "box turned with its film, as the film's EXIF orientation says",
        "boxes turned with their films, as the films' EXIF orientations say",
    ),
    RowOutcome.LABELLED: ("film that is there was labelled", "films that are there were labelled"),
    RowOutcome.CHANGED: (
        "film that is there has another imported label than before",
        "films that are there have other imported labels than before",
    ),
    RowOutcome.UNCHANGED: (
        "film that is there has this imported label already",
        "films that are there have these imported labels already",
    ),
    RowOutcome.OF_PEOPLE: (
        "film that is there has its label from people at this site, and keeps it: the row is its export",
        "films that are there have their labels from people at this site, and keep them: the rows are their export",
    ),
    RowOutcome.NO_LABEL: (
        "row without a label names a film that is there, and changes nothing",
        "rows without a label name films that are there, and change nothing",
    ),
    "readers' labels stay": (
        "of these films keeps the label of its readers, which counts before an imported one",
        "of these films keep the labels of their readers, which count before imported ones",
    ),
    "read blinded": (
        "row or file is of a film that its uploader has yet to read blinded, or of the same patient, and was left out",
        "rows or files are of films that their uploader has yet to read blinded, or of these patients, and left out",
    ),
    "ambiguous names": (
        "name of the CSV stands for several films that are there, and labels none; use its path or its image UUID",
        "names of the CSV stand for several films that are there, and label none; use paths or image UUIDs",
    ),
    "ambiguous files": (
        "row of the CSV left aside, because its name fits several files of this import, or its file several rows",
        "rows of the CSV left aside, because their names fit several files of this import, or their files several rows",
    ),
    "unknown views": (
        "row of the CSV with a projection that is not known, which is kept as unknown",
        "rows of the CSV with a projection that is not known, which is kept as unknown",
    ),
    "unknown splits": (
        f"row of the CSV with another word for its split than {_SPLIT_WORDS}, which puts it into no part",
        f"rows of the CSV with another word for their split than {_SPLIT_WORDS}, which puts them into no part",
    ),
    "unread sexes": (
        "row of the CSV with a sex that is not understood, or that two columns state differently, which stays unknown",
        "rows of the CSV with a sex that is not understood, or that two columns state differently, which stays unknown",
    ),
    "unread ages": (
        (
            "row of the CSV with an age that is no number of years up to 130, or that two columns state differently, "
            "which stays unknown"
        ),
        (
            "rows of the CSV with an age that is no number of years up to 130, or that two columns state differently, "
            "which stays unknown"
        ),
    ),
    PatientDifference.PATIENT: (
        "film whose table names another patient than its header",
        "films whose table names another patient than their headers",
    ),
    PatientDifference.SPELLING: (
        "film whose table and header spell the number of its patient differently (12, 00012), which is one patient",
        "films whose table and header spell the number of a patient differently (12, 00012), which is one patient",
    ),
    "sex differs": (
        "film whose table states another sex than its header, or than an earlier film of its patient, which counts",
        "films whose table states another sex than their headers, or than earlier films of their patients, which count",
    ),
    "age differs": (
        "film whose table states another age than its header, which counts",
        "films whose table states another age than their headers, which count",
    ),
    "rows skipped": (
        "row of a table skipped, because a value in it cannot be used",
        "rows of tables skipped, because a value in each cannot be used",
    ),
    "findings without a label": (
        "row with findings and no label; they are kept beside the film and count once it has a label in a CSV",
        "rows with findings and no label; they are kept beside the films and count once these have labels in a CSV",
    ),
    "missing": (
        "file listed in the CSV is neither in this import nor in the dataset",
        "files listed in the CSV are neither in this import nor in the dataset",
    ),
    LeftOut.NO_FILE: (
        "row of the published tables left out, because its film is not among the files",
        "rows of the published tables left out, because their films are not among the files",
    ),
    LeftOut.SEVERAL_FILES: (
        "row of the published tables left out, because several files have its film's name",
        "rows of the published tables left out, because several files have the name of their film",
    ),
    LeftOut.VIEW: (
        "film left out, because it has another view than was asked for",
        "films left out, because they have another view than was asked for",
    ),
    LeftOut.CHILD: (
        "film left out, because its patient was under 18",
        "films left out, because their patients were under 18",
    ),
    LeftOut.BROKEN: (
        "film left out, because its published file is known to be broken",
        "films left out, because their published files are known to be broken",
    ),
    "names twice": (
        "name in the zip stands for several files; without a CSV each is a film, with one it names none",
        "names in the zip stand for several files; without a CSV each is a film, with one they name none",
    ),
    "tables left aside": (
        "CSV left aside, because it has no column of file names",
        "CSVs left aside, because they have no column of file names",
    ),
    "zips left closed": (
        "zip inside a zip of the zip left closed; send it by itself",
        "zips inside zips of the zip left closed; send them by themselves",
    ),
    "columns left out": (
        "column of the CSV left out: a further column stays only where a manager declares it a number or a category",
        "columns of the CSV left out: further columns stay only where a manager declares them numbers or categories",
    ),
}
NOTHING_MATCHED = (
    "Nothing was imported: no row of the CSV names a file of this import or a film of the dataset; "
    "compare the names in the CSV with those of the files"
)
NO_FILM_OF_SOURCE = (
    "Nothing was imported: the tables of {source} name none of these files and no film of the dataset; check that the "
    "films lie in the folder or zip, and whether their views and ages are those that were asked for"
)
CORRECTED = "differs: "  # the names of the counts of films by the fact in which a later header differs
# The names of the counts of films with a warning, and their sentences.
WARNED = "warned: "
_SENTENCES |= {WARNED + key: (warning.one, warning.several) for key, warning in WARNINGS.items()}


@dataclass
class ImportReport:
    """The counts of an import; `sentences` explains them to a curator."""

    counts: Counter[str] = field(default_factory=Counter)
    rows: int = 0  # of the CSV
    missing: list[CsvRow] = field(default_factory=list)
    ambiguous: list[CsvRow] = field(default_factory=list)  # among the files of the import
    ambiguous_films: list[CsvRow] = field(default_factory=list)  # among the films of the dataset
    unused: list[str] = field(default_factory=list)  # the first names of files that no row names
    refused: list[Path] = field(default_factory=list)  # by the virus scanner; for the command line, never stored
    left_out: tuple[str, ...] = ()  # names of CSV columns
    unknown_views: tuple[str, ...] = ()  # words of the CSV, or their shapes
    unknown_splits: tuple[str, ...] = ()
    first_lines: dict[str, int] = field(default_factory=dict)  # of a CSV, by the name of what is counted in its rows
    skipped: list[str] = field(default_factory=list)  # table, line and reason of each row
    deidentified: DeidentifiedBatch = field(default_factory=DeidentifiedBatch)
    mapped: list[str] = field(default_factory=list)  # whose mapping said what the columns of a table mean
    # what counts where table and header name two patients, and the patients of such films; never stored
    patients_of: PatientSource = PatientSource.TABLE
    differing: set[tuple[str, str]] = field(default_factory=set)
    source: str = ""  # the title of a published dataset
    matched_rows: int = 0  # of its tables: with a file or a film
    takes_new_facts: bool = False  # of films that came again with another header, once all files are imported

    def count_corrections(self, kept: KeptDifferences) -> None:
        """Count a film whose header differs from that of the film that is there."""
        self.counts["another header"] += bool(kept.pending)
        self.counts["another header, dismissed"] += bool(kept.dismissed and not kept.pending)
        self.counts.update(CORRECTED + fact for fact in kept.pending)

    def to_json(self) -> dict[str, int]:
        lengths = {
            "missing": len(self.missing),
            "ambiguous files": len(self.ambiguous),
            "columns left out": len(self.left_out),
            "rows skipped": len(self.skipped),
        }
        counts = self.counts | Counter(lengths)
        names = [*_SENTENCES, *(CORRECTED + fact for fact in Fact)]
        return {name: counts[name] for name in names if counts[name]}

    @property
    def has_matched_nothing(self) -> bool:
        """Whether there is a CSV of which no row named a file or a film."""
        if self.source:
            return self.matched_rows == 0
        return self.rows > 0 and len(self._unmatched) == self.rows

    @property
    def first_names(self) -> FirstNames | None:
        """Names for the eyes of the uploader alone, if some could not be matched."""
        rows = self._unmatched
        return FirstNames([row.filename for row in rows[:MOST]], self.unused[:MOST]) if rows else None

    @property
    def _unmatched(self) -> list[CsvRow]:
        return [*self.missing, *self.ambiguous, *self.ambiguous_films]

    def sentences(self) -> list[str]:
        more = {
            "missing": _first(self.missing),
            "ambiguous files": _first(self.ambiguous),
            "ambiguous names": _first(self.ambiguous_films),
            "another header": self._corrected_facts(),
            "columns left out": f" ({', '.join(self.left_out[:_MOST_NAMED])})",
            "unknown views": self._first_line("unknown views", self.unknown_views),
            "unknown splits": self._first_line("unknown splits", self.unknown_splits),
            "unread sexes": self._first_line("unread sexes"),
            "unread ages": self._first_line("unread ages"),
            PatientDifference.PATIENT: self._differing_patients(),
            "rows skipped": f" ({' / '.join(self.skipped[:_MOST_NAMED])})",
        }
        counts = self.to_json().items()
        lines = [
            f"{count} {_SENTENCES[name][count > 1]}{more.get(name, '')}" for name, count in counts if name in _SENTENCES
        ]
        if self.has_matched_nothing:
            lines.insert(0, NO_FILM_OF_SOURCE.format(source=self.source) if self.source else NOTHING_MATCHED)
        return [*(lines or ["Nothing to import: there is no film"]), *self.mapped]

    def count_rows(self, name: str, rows: Sequence[CsvRow]) -> None:
        """Count these rows of a CSV under the name, and keep the line of the first, since its words are not shown."""
        self.counts[name] += len(rows)
        if rows and name not in self.first_lines:
            self.first_lines[name] = rows[0].line

    def _first_line(self, name: str, words: Sequence[str] = ()) -> str:
        line = [f"the first: line {self.first_lines[name]}"] if self.first_lines.get(name) else []
        named = "; ".join([", ".join(words[:_MOST_NAMED]), *line] if words else line)
        return f" ({named})" if named else ""

    def _corrected_facts(self) -> str:
        facts = [f"{fact} {self.counts[CORRECTED + fact]}" for fact in Fact if self.counts[CORRECTED + fact]]
        return f" ({', '.join(facts)})"

    def _differing_patients(self) -> str:
        by_table, by_header = (
            (len(set(names)) for names in zip(*self.differing, strict=True)) if self.differing else (0, 0)
        )
        numbers = f" ({by_table} by the table, {by_header} by the headers; "
        if self.patients_of == PatientSource.HEADER:
            return numbers + "those of the headers were taken)"
        return (
            numbers + "those of the table were taken; where the headers are right, import into a new dataset and let "
            "the headers count: a choice beside the upload, --patients header on the command line)"
        )


def _first(rows: Sequence[CsvRow]) -> str:
    """The place of a row and the shape of its name, which may be a patient's."""
    if not rows:
        return ""
    row = rows[0]
    return f" (the first: line {row.line}, column {'image' if row.image else 'filename'}, {name_shape(row.filename)})"

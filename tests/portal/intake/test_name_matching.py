"""Names of a table and names of files: what is one name, what is none, and what is ambiguous."""

from __future__ import annotations

import unicodedata

import pytest

from portal.intake.name_matching import Rule, match_names, name_shape


def matched(wanted: list[str], there: list[str], above: list[int] | None = None) -> list[str | None]:
    """For each wanted name the name that it matches, "?" if it is ambiguous, None if there is none."""
    matches = match_names(wanted, there, above)
    return ["?" if match.is_ambiguous else None if match.index is None else there[match.index] for match in matches]


@pytest.mark.parametrize(
    ("name", "file", "rule"),
    [
        ("a.png", "a.png", Rule.EXACT),
        ("a.png", "x/y/a.png", Rule.EXACT),
        ("y/a.png", "x/y/a.png", Rule.EXACT),
        ("Set-1.0/train/p1/view1.png", "p1/view1.png", Rule.FOLDERS),
        ("Set-1.0/train/p1/view1.png", "films/p1/view1.png", Rule.FOLDERS),  # the folder that was zipped
        ("C:/data/a.png", "a.png", Rule.FOLDERS),
        ("IMG_1.png", "x/img_1.PNG", Rule.CASE),
        ("STRASSE.png", "straße.png", Rule.CASE),
        ("RA-1", "RA-1.png", Rule.ENDING),
        ("RA-1.dcm", "x/ra-1.png", Rule.ENDING),
        ("RA-1.png", "RA-1", Rule.ENDING),
        (unicodedata.normalize("NFD", "Größe é.png"), "Größe é.png", Rule.EXACT),
        (unicodedata.normalize("NFC", "が.png"), unicodedata.normalize("NFD", "が.png"), Rule.EXACT),
    ],
)
def test_one_name_written_in_two_ways(name: str, file: str, rule: Rule) -> None:
    match = match_names([name], [file])[0]
    assert (match.index, match.rule, match.is_ambiguous) == (0, rule, False)
    if name.count("/") <= file.count("/"):
        assert match_names([name], [file, "x/other.png"])[0] == match


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("a.png", "b.png"),
        ("a.png", "xa.png"),
        ("a.png", "a.txt"),
        ("1.2.840.1", "1.2.840.2"),  # .1 is no ending
        ("patient3/study1/view1.png", "patient1/study1/view1.png"),  # the only folder, but a numbered one
        ("x/patient3/study1/view1.png", "x/patient1/study1/view1.png"),
        ("NORMAL/a.png", "x/PNEUMONIA/a.png"),  # only the top folder may differ
        ("a.png/b.png", "a.png"),
    ],
)
def test_names_of_two_files(name: str, file: str) -> None:
    assert matched([name], [file]) == [None]


def test_folders_may_differ_above_the_only_top_folder_only() -> None:
    assert matched(["set/a.png"], ["films/a.png", "other/b.png"]) == [None]
    assert matched(["set/a.png"], ["films/a.png", "films/b.png"]) == ["films/a.png"]
    assert matched(["set/a.png"], ["films/a.png", "b.png"]) == [None]


def test_the_longest_common_end_decides() -> None:
    there = ["a.png", "p1/a.png", "p2/a.png", "s/p1/a.png"]
    assert matched(["set/s/p1/a.png", "set/p2/a.png", "a.png"], there) == ["s/p1/a.png", "p2/a.png", "a.png"]
    assert matched(["p1/view.png", "set/x/p1/view.png"], ["t/x/p1/view.png"]) == [None, "t/x/p1/view.png"]


def test_of_one_name_in_two_writings_each_has_its_own_file() -> None:
    assert matched(["A.png", "a.png"], ["a.png", "A.png"]) == ["A.png", "a.png"]
    assert matched(["a.png", "A.png"], ["a.png"]) == ["a.png", None]  # that file is another row's
    assert matched(["a", "a.png"], ["a.png", "a.dcm"]) == ["?", "a.png"]


@pytest.mark.parametrize(
    ("wanted", "there"),
    [
        (["a.png"], ["x/a.png", "y/a.png"]),
        (["a.png"], ["A.png", "a.PNG"]),
        (["a"], ["a.png", "a.dcm"]),
        (["a.png"], ["a.png", "a.png"]),
        (["NORMAL/a.png", "PNEUMONIA/a.png"], ["a.png"]),  # two rows for one file
        (["A.PNG", "a.PNG"], ["a.png"]),
        (["set/a.png"], ["part1/a.png", "part2/a.png"]),
    ],
)
def test_what_is_ambiguous_is_not_matched(wanted: list[str], there: list[str]) -> None:
    above = [1] * len(there) if wanted == ["set/a.png"] else None  # two zips in a zip
    assert matched(wanted, there, above) == ["?"] * len(wanted)


def test_the_folder_of_a_zip_in_a_zip_may_differ() -> None:
    there = ["part1/p/a.png", "part2/q/b.png"]
    assert matched(["set/p/a.png", "q/b.png"], there, [1, 1]) == there
    assert matched(["set/p/a.png"], there, [0, 0]) == [None]
    assert matched(["patient3/a.png"], ["patient1/a.png", "patient2/b.png"], [1, 1]) == [None]


def test_matching_agrees_with_comparing_every_pair() -> None:
    """On names without a second writing: the files of which the row, or which of the row, is the end."""
    folders = ["", "x/", "y/", "x/y/", "s/x/y/"]
    there = [f"{folder}{name}.png" for folder in folders for name in "ab"]
    for wanted in [f"{folder}{name}.png" for folder in [*folders, "r/s/x/", "r/"] for name in "abc"]:
        parts = wanted.split("/")
        common = {}
        for file in there:
            theirs = file.split("/")
            length = min(len(parts), len(theirs))
            if theirs[-length:] == parts[-length:]:
                common[file] = length
        best = [file for file in common if common[file] == max(common.values())]
        expected = wanted if wanted in there else None if not best else best[0] if len(best) == 1 else "?"
        assert matched([wanted], there) == [expected], wanted


@pytest.mark.slow
def test_many_files_of_one_name_are_matched_in_linear_time() -> None:
    """Comparing every pair would be 10^10 comparisons."""
    there = [f"patient{number}/study1/view1_frontal.png" for number in range(100_000)]
    wanted = [f"CheXpert/train/{name}" for name in there[::2]] + [f"gone{n}/view1_frontal.png" for n in range(50_000)]
    matches = match_names(wanted, there)
    assert [match.index for match in matches[:50_000]] == list(range(0, 100_000, 2))
    assert {match.index for match in matches[50_000:]} == {None}


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("IMG_001.png", "aaa_999.png"),
        ("x/Doe John.PNG", "aaa aaaa.png"),
        ("1.2.840.5", "9.9.999.9"),
        ("胸片1", "aa9"),
        (unicodedata.normalize("NFD", "é.png"), "a.png"),
        ("a\u200b\u202e\n<b>", "a <a>"),
        ("x" * 300 + ".dcm", "a" * 40 + ".dcm"),
    ],
)
def test_the_shape_of_a_name_tells_nothing_else(name: str, shape: str) -> None:
    assert name_shape(name) == shape

"""The report of an evaluation as PDF, opened by another library."""

from __future__ import annotations

import hashlib
import io
import os
import re
import subprocess
import sys
import unicodedata
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pypdf
import pytest
from django.conf import settings
from django.db import transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from analysis.evaluation.analysis_plan import Intent, lock_plan
from analysis.evaluation.evaluate import evaluate
from analysis.evaluation.operating_point import RequestedPoint
from analysis.figures import NOTICE, RANDOM_WEIGHTS, format_auroc
from analysis.models import Evaluation
from analysis.report.document import report_pdf
from analysis.report.gathering import UNKNOWN, gather
from analysis.report.paper import INSIDE, NO_GLYPH, Paper, text_width, wrapped
from analysis.report.references import start_of
from analysis.report.standards import STANDARDS, facts
from analysis.report.words import methods
from analysis.sections.breakdown import break_down
from analysis.statistics import Auroc
from ml_engine.core.config import PipelineConfig
from ml_engine.runs.paths import run_folder
from portal.models import AuditEvent, Exposure, Membership, Role, User
from portal.people import blinding
from tests.analysis.headed import with_head
from tests.analysis.scored import Scored, scored_run
from tests.ml_engine.scored_folders import change_array
from tests.pages import without_gaps
from tests.paths import ROOT
from tests.portal import factories

A4 = (595.28, 841.89)
DOORS = ("analysis:report", "api-report")


@dataclass(frozen=True)
class Printed:
    """A report as both doors gave it, and what the portal said beside it. Its rows are gone."""

    answers: dict[str, tuple[int, str, bytes]]  # by door: status, type, body
    text: str
    areas: list[str]  # as the page of the evaluation prints them
    downloads: list[tuple[str, UUID]]  # who and what, in the audit
    analyst: str
    evaluation: UUID
    detector_sha256: str

    @property
    def pdf(self) -> bytes:
        return self.answers["analysis:report"][2]


@pytest.fixture(scope="module")
def printed(django_db_setup: None, django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory) -> Printed:
    """One report for all tests that only read it: drawing one takes seconds."""
    with pytest.MonkeyPatch.context() as patch, django_db_blocker.unblock(), transaction.atomic():
        patch.setattr(settings, "DATA_DIR", tmp_path_factory.mktemp("printed"))
        analyst = factories.user("analyst", Role.ANALYST)
        scored = scored_run(factories.site(), author=analyst)
        (run_folder(scored.run.uuid) / "images.csv").write_text("image\n")
        evaluation = with_settings(evaluate(run=scored.run, author=analyst))
        client = Client()
        client.force_login(analyst)
        got = {door: client.get(reverse(door, args=[evaluation.uuid])) for door in DOORS}
        page = reverse("analysis:evaluation", args=[evaluation.uuid])
        pages = [without_gaps(client.get(page, {"part": part})) for part in ("tune", "test")]
        assert evaluation.run.detector
        report = Printed(
            answers={
                door: (answer.status_code, answer["Content-Type"], answer.content) for door, answer in got.items()
            },
            text=text_of(got["analysis:report"].content),
            areas=[area for page in pages for area in re.findall(r'data-auroc="\w+"[^>]*>([^<]+)<', page)],
            downloads=list(
                AuditEvent.objects.filter(verb="download report").values_list("actor__username", "target_uuid")
            ),
            analyst=analyst.username,
            evaluation=evaluation.uuid,
            detector_sha256=evaluation.run.detector.sha256,
        )
        transaction.set_rollback(True)
    return report


@pytest.fixture
def evaluation(scored: Scored, analyst: User) -> Evaluation:
    return with_settings(evaluate(run=scored.run, author=analyst))


def with_settings(evaluation: Evaluation) -> Evaluation:
    detector = evaluation.run.detector
    assert detector
    detector.run.config = PipelineConfig.from_preset("paper").replace_fields({"rate": "0.05"}).to_json()
    detector.run.save()
    return Evaluation.objects.get(pk=evaluation.pk)


def opened(pdf: bytes) -> pypdf.PdfReader:
    return pypdf.PdfReader(io.BytesIO(pdf), strict=True)


def text_of(pdf: bytes) -> str:
    """All words, with spaces for the line breaks of the layout."""
    return " ".join(" ".join(page.extract_text() for page in opened(pdf).pages).split())


def test_the_report_prints_the_page_s_areas(printed: Printed) -> None:
    assert len(printed.areas) == 6  # three of each part
    for area in printed.areas:
        assert area in printed.text


def test_page_and_api_give_the_same_bytes_each_time(printed: Printed) -> None:
    assert {answer[:2] for answer in printed.answers.values()} == {(200, "application/pdf")}
    assert len({answer[2] for answer in printed.answers.values()}) == 1
    assert "/CreationDate" not in (opened(printed.pdf).metadata or {})


@pytest.mark.django_db
def test_it_prints_the_page_s_trivial_scores(scored: Scored, evaluation: Evaluation) -> None:
    measures = np.random.default_rng(2).normal(size=(24, 3))
    measures[:, 0] = np.tile(np.arange(12) % 6, 2)  # each abnormal film has a normal film of its brightness
    change_array(run_folder(scored.run.uuid), "trivial", measures)
    text = text_of(report_pdf(evaluation))
    for part in ("tune", "test"):
        trivial = break_down(evaluation, part=part).trivial
        for row in trivial.scores:
            assert row.auroc is None or f"{row.auroc.auroc:.3f}" in text
            assert row.direction in text
        for added in trivial.added:
            assert added.value.added is not None
            assert f"{added.value.added.difference:.3f}" in text
        assert trivial.pairs is not None
        assert f"{trivial.pairs.auroc:.3f} ({trivial.pairs.low:.3f}–{trivial.pairs.high:.3f})" in text
    assert "6 pairs; 0 abnormal and 0 normal without a partner" in text
    assert "Spread of the AUROC over coreset starts: With random weights another seed is another network" in text


def test_every_page_is_a4_and_carries_the_notices(printed: Printed) -> None:
    reader = opened(printed.pdf)
    assert len(reader.pages) >= 6
    for number, page in enumerate(reader.pages, 1):
        text = page.extract_text()
        assert (float(page.mediabox.width), float(page.mediabox.height)) == pytest.approx(A4, abs=0.5)
        assert NOTICE in text
        assert RANDOM_WEIGHTS in text
        assert f"page {number} of {len(reader.pages)}" in text


@pytest.mark.django_db
def test_trained_weights_are_not_called_random(data_dir: Any, analyst: User) -> None:
    evaluation = evaluate(run=scored_run(factories.site(), author=analyst, random_weights=False).run, author=analyst)
    text = text_of(report_pdf(evaluation))
    assert NOTICE in text
    assert "random weights" not in text
    assert "Example films" not in text  # nobody asks


def test_every_font_is_embedded(printed: Printed) -> None:
    fonts = {
        font.get_object()["/BaseFont"]: font.get_object()
        for page in opened(printed.pdf).pages
        for font in page["/Resources"]["/Font"].values()
    }
    assert len(fonts) >= 2
    for font in fonts.values():
        descendant = font["/DescendantFonts"][0].get_object() if "/DescendantFonts" in font else font
        assert "/FontFile2" in descendant["/FontDescriptor"].get_object()


def test_another_process_writes_the_same_bytes() -> None:
    """Names of fonts and objects do not depend on Python's random hash seed."""
    script = (
        "import hashlib\n"
        "from analysis.report.paper import Paper\n"
        "paper = Paper(title='Ω title', foot='foot', random_weights=True)\n"
        "paper.heading('Heading'); paper.paragraph('word ' * 80)\n"
        "paper.plots([lambda axes: axes.plot([0, 1], [0, 1], label='Δ')], height=80, below=30)\n"
        "print(hashlib.sha256(paper.to_pdf(creator='c')).hexdigest())\n"
    )
    digests = set()
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True
        )
        digests.add(done.stdout)
    assert len(digests) == 1
    assert len(hashlib.sha256().hexdigest()) == len(digests.pop().strip())


def test_it_prints_the_provenance_of_the_run(printed: Printed) -> None:
    text, joined = printed.text, printed.text.replace(" ", "")
    assert hashlib.sha256(b"image\n").hexdigest() in joined
    assert str(printed.evaluation) in text
    assert printed.detector_sha256 in joined
    for heading in (
        "Provenance",
        "Methods",
        "Citation",
        "Looks at test",
        "Table 1",
        "Settings of the detector",
        "Data",
    ):
        assert heading in text
    for box in ("Index test: fused score", "Films of test", "Evaluated"):
        assert box in text
    assert "Test, abnormal" in text
    assert "Test, abnormal from test, normal" in text
    assert "Changed setting Value rate 0.05" in text
    for citation in ("Kim H, Chun J.", "Roth K, Pemula L", "Newcombe RG", "Bossuyt PM", "Holm S."):
        assert citation in text
    assert "average precision with 95 % interval" in text
    assert "No abnormal film of test with a score has a box" in text


@pytest.mark.django_db
def test_the_operating_point_is_the_page_s(as_analyst: Client, evaluation: Evaluation) -> None:
    query = {"rule": "specificity", "target": "0.8", "prevalence": "0.02"}
    operating = as_analyst.get(reverse("api-operating", args=[evaluation.uuid]), {"part": "test"} | query).json()
    text = text_of(as_analyst.get(reverse("analysis:report", args=[evaluation.uuid]), query).content)
    rate = operating["sensitivity"]
    assert f"Sensitivity {rate['value']:.3f} ({rate['low']:.3f}–{rate['high']:.3f})" in text
    flags = operating["predictive"]["flags_per_1000"]
    assert f"Flagged of 1,000 films {flags['value']:.0f} ({flags['low']:.0f}–{flags['high']:.0f})" in text
    assert f"Abnormal {operating['true_positives']} {operating['false_negatives']}" in text
    assert "At a prevalence of 0.02" in text


@pytest.mark.django_db
def test_the_plan_is_printed_and_its_operating_point_taken(as_analyst: Client, scored: Scored, analyst: User) -> None:
    detector = scored.run.detector
    assert detector
    point = RequestedPoint(rule="specificity", target=0.8, prevalence=0.02)
    intent = Intent(primary=detector.run, looks=2, hypothesis="Region helps.", operating_point=point)
    plan = lock_plan(split=scored.split, author=analyst, intent=intent)
    evaluation = evaluate(run=scored.run, author=analyst)
    page, api = (reverse(door, args=[evaluation.uuid]) for door in DOORS)
    text = text_of(as_analyst.get(page).content)
    assert plan.sha256 in text.replace(" ", "")
    assert (
        f"Primary detector {detector.run.name} Compared with it none Looks planned 2 Hypothesis Region helps." in text
    )
    assert "Operating point specificity of 0.8, fixed on calibrate or tune; prevalence 0.02" in text
    assert "a specificity of 0.8 fixed on" in text
    assert "At a prevalence of 0.02" in text
    asked = text_of(as_analyst.get(api, {"target": "0.85"}).content)
    assert "a specificity of 0.85 fixed on" in asked
    assert "At a prevalence of 0.02" in asked


def test_a_missing_plan_is_reported(printed: Printed) -> None:
    assert "No plan was locked before the first look at test." in printed.text


@pytest.mark.django_db
def test_standards_claim_nothing_and_leave_gaps_open(evaluation: Evaluation, printed: Printed) -> None:
    report = gather(evaluation, point=RequestedPoint())
    known = facts(report)
    used = {fact for topics in STANDARDS.values() for _, fact in topics if fact}
    assert used == set(known)
    assert all(known.values())
    text = printed.text
    assert f"Ethics approval {UNKNOWN}" in text
    assert "This does not claim that a study complies" in text
    assert not re.search(r"\b(complies with (STARD|CLAIM|TRIPOD)|compliant)\b", text)
    for standard in ("STARD-AI", "CLAIM", "TRIPOD+AI"):
        assert standard in text


@pytest.mark.django_db
def test_methods_come_from_the_settings(evaluation: Evaluation) -> None:
    text = " ".join(methods(gather(evaluation, point=RequestedPoint())))
    for sentence in (
        "Films of 1 dataset were",
        "preset paper, with 1 setting changed",
        "the share 0.05 of the patches",
        "mean squared L2 distance to its 9 nearest",
        "w = 0.6, as configured",
        "random weights: no number here",
        "looked at 1 time.",
    ):
        assert sentence in text


@pytest.mark.django_db
def test_a_run_without_settings_is_not_given_any(scored: Scored, analyst: User) -> None:
    text = text_of(report_pdf(evaluate(run=scored.run, author=analyst)))
    assert f"The settings of the detector are {UNKNOWN}." in text
    assert "preset default" not in text


def test_each_download_is_audited(printed: Printed) -> None:
    assert printed.downloads == [(printed.analyst, printed.evaluation)] * len(DOORS)


@pytest.mark.django_db
@pytest.mark.parametrize("door", DOORS)
def test_who_gets_no_report(client: Client, evaluation: Evaluation, scored: Scored, door: str) -> None:
    address = reverse(door, args=[evaluation.uuid])
    client.force_login(factories.user("colleague", Role.CURATOR))
    assert client.get(address).status_code == 403
    stranger = factories.user("stranger")
    Membership.objects.create(user=stranger, site=factories.site("Busan"), role=Role.MANAGER)
    client.force_login(stranger)
    assert client.get(address).status_code == 404
    client.force_login(factories.user("reader", Role.READER))
    refused = client.get(address, {"target": "7"})
    assert (refused.status_code, "it must lie from" in refused.text) == (400, True)
    assert client.post(address).status_code in (403, 405)
    (run_folder(scored.run.uuid) / "score.json").unlink()
    gone = client.get(address)
    assert (gone.status_code, "score the films again" in gone.text) == (410, True)
    assert not AuditEvent.objects.filter(verb="download report").exists()


# A semi-supervised head ---------------------------------------------------------------------------------


@pytest.mark.django_db
def test_the_semi_supervised_score_is_beside_the_one_class_score_and_after_it(
    as_analyst: Client, scored: Scored, analyst: User
) -> None:
    head = with_head(scored, trained=scored.films[6:8])
    evaluation = evaluate(run=scored.run, author=analyst)
    text = text_of(report_pdf(evaluation))
    for part in ("tune", "test"):
        answer = as_analyst.get(reverse("api-semi-supervised", args=[evaluation.uuid]), {"part": part}).json()
        combined = format_auroc(Auroc(**answer["aurocs"]["combined"]))
        opening = text[text.index("Method of the interval Abnormal") : text.index("Results on test")]
        rows = opening[opening.index(f"{part} global") :]
        assert rows.index("fused at 0.6") < rows.index(f"{part} semi-supervised combined {combined}")
        section = text[text.index(f"Results on {part}") :]
        section = section[section.index("Semi-supervised score, beside the one-class score") :]
        places = [re.search(rf"{name} [01]\.\d{{3}} \(", section) for name in ("One-class", "Semi-supervised head")]
        assert places[0] and places[1] and places[0].start() < places[1].start() < section.index("By finding")
        assert f"Semi-supervised combined {combined}" in section
        gain = answer["gain"]
        words = f"{gain['difference']:.3f} ({gain['low']:.3f} to {gain['high']:.3f})"
        assert f"Gain of the combined score {words}" in section
    assert "2 of patients whose films trained the semi-supervised head" in text
    assert "The one-class score stays the default" in text
    assert text.count("Head and combined score are semi-supervised One-class") == 2  # in the plot of each part
    joined = text.replace(" ", "")
    assert head.sha256 in joined and str(head.run.uuid) in joined
    written = methods(gather(evaluation, point=RequestedPoint()))
    assert any("a semi-supervised head was fitted" in words and "(penalty 100)" in words for words in written)
    assert "Beside it a semi-supervised head" in facts(gather(with_settings(evaluation)))["training"]


@pytest.mark.django_db
def test_the_report_of_a_head_counts_no_verdicts(scored: Scored, analyst: User) -> None:
    """Its reader may have to read these films blinded: counts of verdicts are on the head's page, withheld there."""
    head = with_head(scored, trained=scored.films[6:8])
    evaluation = evaluate(run=scored.run, author=analyst)
    before = report_pdf(evaluation)
    other = head.summary["facts"] | {"abnormal_reads": 9741, "normal_reads": 9742, "assisted_reads": 9743}
    summary = head.summary | {"facts": other, "population_control": head.summary["population_control"] | {"auroc": 0}}
    again = Evaluation.objects.get(pk=evaluation.pk)
    assert again.run.head is not None
    again.run.head.summary = summary  # not saved: a head is written once
    assert report_pdf(again) == before


def test_a_report_without_a_head_names_none(printed: Printed) -> None:
    assert "emi-supervised" not in printed.text


# The paper ----------------------------------------------------------------------------------------------


def test_lines_stay_inside() -> None:
    text = "a hash " + "0123456789abcdef" * 8 + " and words " * 30
    lines = wrapped(text, 200, 9)
    assert max(text_width(line, 9) for line in lines) <= 200
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


def test_korean_japanese_and_chinese_are_printed() -> None:
    paper = Paper(title="서울 흉부", foot="병원", random_weights=False)
    paper.heading("폐 결절, 肺結節, はい")
    paper.table(["소견", "Films"], [["기흉", "3"]])
    paper.plots([lambda axes: axes.set(xlabel="점수 score")], height=80, below=30)
    pdf = paper.to_pdf(creator="test")
    text = text_of(pdf)
    for words in ("서울 흉부", "병원", "폐 결절, 肺結節, はい", "소견", "기흉", "점수 score"):
        assert words in text
    assert NO_GLYPH not in text
    assert text_width("기흉", 9) == pytest.approx(2 * text_width("기", 9), rel=0.02)
    assert len(pdf) < 200_000  # the font is 3.5 MB: only the characters used are embedded


THAI, HINDI = "โรงพยาบาลจุฬาลงกรณ์ ที่นี่ กำน้ำ", "क्षत्रिय अस्पताल हिन्दी"


def test_thai_and_devanagari_are_printed_in_their_own_letters() -> None:
    """Matplotlib warns of a missing glyph, and a warning is an error here."""
    paper = Paper(title=THAI, foot=HINDI, random_weights=False)
    paper.heading(f"{HINDI}, {THAI}")
    paper.table([THAI, "Films"], [[HINDI, "3"]])
    paper.plots([lambda axes: axes.set(xlabel=THAI, ylabel=HINDI)], height=80, below=30)
    pdf = paper.to_pdf(creator="test")
    names = {str(font.get_object()["/BaseFont"]) for font in opened(pdf).pages[0]["/Resources"]["/Font"].values()}
    assert {name.partition("+")[2] for name in names} >= {"NotoSansThai-Regular", "NotoSansDevanagari-Regular"}
    text = text_of(pdf)
    assert NO_GLYPH not in text
    assert "โรงพยาบาล" in text and "अस्" in text  # of a mark on its letter, a reader of PDFs gets both for each
    assert len(pdf) < 100_000


def test_marks_stand_on_their_letters_and_conjuncts_are_joined() -> None:
    assert text_width("ที่", 9) == pytest.approx(text_width("ท", 9))
    assert text_width("क्ष", 9) < text_width("क", 9) + text_width("ष", 9)


@pytest.mark.parametrize("name", [THAI, HINDI])
def test_a_long_word_is_not_broken_inside_a_letter(name: str) -> None:
    word = name.replace(" ", "") * 3
    lines = wrapped(word, 60, 9)
    assert "".join(lines) == word and len(lines) > 3
    for line in lines[1:]:
        assert unicodedata.category(line[0]) not in ("Mn", "Mc") and line[0] != "ำ"
    for line in lines[:-1]:
        assert line[-1] not in "เแโใไ" and unicodedata.combining(line[-1]) != 9


@pytest.mark.parametrize(
    ("name", "digest", "licence"),
    [
        ("DroidSansFallback", "56d3edfb377a8bc3c4b77f4476405c770173c0e31221ad7c77d0a8e1f3039a3e", "Apache License"),
        ("NotoSansThai", "9acb585d8662ca4ed1b1cf5889dfa1393f8555103b3986e1ea1e3af4faef70bd", "SIL Open Font License"),
        (
            "NotoSansDevanagari",
            "084a94d89eb54aafb93a056e15425c34fd859f6342875165d304837b3bcfc2d2",
            "SIL Open Font License",
        ),
    ],
)
def test_the_font_is_the_one_whose_licence_was_read(name: str, digest: str, licence: str) -> None:
    fonts = ROOT / "analysis/report/fonts"
    assert hashlib.sha256((fonts / f"{name}.ttf").read_bytes()).hexdigest() == digest
    notice = (fonts / "NOTICE").read_text()
    assert f"{name}.ttf" in notice and licence in notice
    assert "SIL OPEN FONT LICENSE Version 1.1" in (fonts / "OFL.txt").read_text()


def test_a_character_without_a_glyph_is_a_box_without_a_warning() -> None:
    paper = Paper(title="t", foot="", random_weights=False)
    paper.paragraph("film \u0b95\u0b95 $x^2$ \x07 end")
    text = text_of(paper.to_pdf(creator="test"))
    assert f"film {NO_GLYPH * 2} $x^2$ end" in text


def test_a_long_table_repeats_its_head() -> None:
    paper = Paper(title="t", foot="", random_weights=False)
    paper.table(["Setting", "Value"], [[f"row {k}", "v " * 120] for k in range(80)])
    pages = opened(paper.to_pdf(creator="test")).pages
    assert len(pages) > 2
    for page in pages:
        assert page.extract_text().count("Setting") == 1
    rows = [word for page in pages for word in re.findall(r"row (\d+)", page.extract_text())]
    assert rows == [str(k) for k in range(80)]


@pytest.mark.parametrize("rows", [4, 6, 7, 50, 51, 52, 53])
def test_no_page_has_one_or_two_rows_of_a_table(rows: int) -> None:
    """Wherever on a page the table begins: one row is not left behind, and none goes on alone."""
    for above in range(0, 700, 30):
        paper = Paper(title="t", foot="", random_weights=False)
        paper.y -= above
        paper.table(["Name", "Value"], [[f"row {k}", "v"] for k in range(rows)], caption="Caption")
        of_pages = [sum(text.get_text().startswith("row ") for text in page.texts) for page in paper.pages]
        assert sum(of_pages) == rows
        assert min(filter(None, of_pages)) >= min(rows, 3 if rows > 6 else rows), above


def test_a_wide_table_fits_the_page() -> None:
    from analysis.report.paper import column_widths

    rows = [["Label", *["12,345 (100.0 %)"] * 12], ["Scanner: GENERAL ELECTRIC DEFINIUM", *["0"] * 12]]
    assert sum(column_widths(rows, 7.5)) <= INSIDE + 1e-6


def boxed(scored: Scored, analyst: User) -> Evaluation:
    """An evaluation in which two abnormal films of test have a box; the highest scores of test are abnormal."""
    for film, x in ((22, 12.0), (23, 4.0)):
        box = {"x": x, "y": 12.0, "width": 4.0, "height": 6.0, "finding": "nodule"}
        factories.event(scored.films[film], "abnormal", boxes=[box], findings=["nodule"])
    sweep = np.repeat(np.r_[np.arange(12.0), np.arange(12.0)][:, None], 101, axis=1).astype(np.float32)
    change_array(run_folder(scored.run.uuid), "sweep", sweep)
    maps = np.ones((24, 2, 4, 4), dtype=np.float32)
    maps[:, :, 2, 1] = 3.0  # x 4 to 8, y 12 to 18
    change_array(run_folder(scored.run.uuid), "maps", maps)
    return evaluate(run=scored.run, author=analyst, label_cutoff=timezone.now())


POINT = {"rule": "specificity", "target": "0.8"}


def examples_for(client: Client, evaluation: Evaluation) -> str:
    text = text_of(client.get(reverse("analysis:report", args=[evaluation.uuid]), POINT).content)
    return text[text.index("Example films of test") : text.index("By finding and group")]


@pytest.mark.django_db
def test_it_shows_example_films_by_their_address_and_localisation(
    as_analyst: Client, analyst: User, data_dir: Any
) -> None:
    named = [{"original_name": f"Doe {n}.png"} for n in range(24)]
    scored = scored_run(factories.site(), author=analyst, facts=named)
    evaluation = boxed(scored, analyst)
    answer = as_analyst.get(reverse("analysis:report", args=[evaluation.uuid]), POINT)
    text = text_of(answer.content)
    assert "Right for the wrong reason: of 2 true positives with boxes, 1 has its highest patch outside" in text
    assert "2 boxes on 2 of 6 abnormal films, drawn by import (2)" in text
    examples = text[text.index("Example films of test") : text.index("By finding and group")]
    for film in scored.films[18:]:
        assert (f"film {str(film.uuid)[:8]}" in examples) == (film in scored.films[19:])  # at most five of each kind
    assert examples.count("right for the wrong reason") == 1
    assert "Doe" not in text
    assert "Operating point: " in text  # in the legend of the ROC
    assert sum(len(page.images) for page in opened(answer.content).pages) >= 5
    shown = Exposure.objects.filter(person=analyst, kind=Exposure.Kind.MAP)
    assert shown.filter(image=scored.films[23]).exists()


@pytest.mark.django_db
def test_it_shows_no_film_while_one_is_withheld(as_analyst: Client, scored: Scored, analyst: User) -> None:
    evaluation = boxed(scored, analyst)
    blinding.open_for(person=analyst, images=scored.films[23:], source=uuid4(), words="a worklist", days=1)
    examples = examples_for(as_analyst, evaluation)
    assert "1 film is omitted: you have yet to read it" in examples
    assert "Until then no example is shown." in examples
    assert "film " + str(scored.films[22].uuid)[:8] not in examples
    assert not Exposure.objects.filter(person=analyst, kind=Exposure.Kind.MAP).exists()


@pytest.mark.django_db
def test_it_leaves_out_films_that_the_person_has_to_label_or_whose_header_warns_of_text(
    client: Client, analyst: User, data_dir: Any
) -> None:
    facts = [{}] * 23 + [{"header": {"burned_in": "YES"}}]
    scored = scored_run(factories.site(), author=analyst, facts=facts)
    evaluation = boxed(scored, analyst)
    factories.event(scored.films[22], "unsure", factories.curator("other"))
    client.force_login(factories.user("both", Role.ANALYST, Role.CURATOR))
    examples = examples_for(client, evaluation)
    assert "1 film of test is hidden from you" in examples
    assert "Films with text burned into them, according to their headers, are left out." in examples
    names = [f"film {str(film.uuid)[:8]}" in examples for film in scored.films[18:]]
    assert names == [True, True, True, True, False, False]


def test_networks_are_cited_by_their_family() -> None:
    assert [start_of(name) for name in ("wide_resnet50_2", "timm:resnet50.a1_in1k", "xrv_densenet121", "vit")] == [
        "wide_resnet", "resnet", "densenet", "",
    ]  # fmt: skip

"""A site with one of everything that a URL can show, and films that carry words found nowhere else."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import numpy as np
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP

from analysis.evaluation.analysis_plan import Intent, lock_plan
from analysis.evaluation.evaluate import evaluate
from analysis.evaluation.external import validate
from analysis.models import Reading, SetEvaluation
from analysis.reading import head_proposals, verdicts
from analysis.reading.assignments import assign
from analysis.reading.normal_proposals import propose
from analysis.reading.study_reference import state_reference
from analysis.reading.worklists import begin
from analysis.studies.opening import open_test
from ml_engine.boards.canonicals import BoardRequest, make_canonical, place_film, start_board
from ml_engine.boards.outcome import decide
from ml_engine.core import files
from ml_engine.engine import manifest
from ml_engine.models import Run, Score
from ml_engine.runs import paths
from ml_engine.runs.paths import run_folder
from portal.grid.saved_views import save_view
from portal.grid.tagging import add_tag
from portal.intake.resumable import Announced
from portal.intake.resumable import begin as begin_upload
from portal.intake.zip_uploads import zip_path
from portal.labels.events import LabelChange
from portal.models import Dataset, FilmTag, HeaderDifference, Image, Role, ScreeningQueue, Site, TagAct, Upload, User
from portal.people.blinding import open_for
from portal.people.tokens import make_token
from portal.sets import consensus, double_reading
from portal.sets.adjudicating import name_adjudicator
from portal.sets.cohorts import freeze_cohort
from portal.sets.screening_queues import Order, queue_films
from tests.analysis import laid, studied
from tests.analysis.headed import fitted_head, with_head
from tests.analysis.scored import scored_dataset, scored_run
from tests.analysis.sections.test_comparison import scored_again
from tests.analysis.worklists import items, read, read_study, study, worklist
from tests.ml_engine import embedded, reports
from tests.portal import factories
from tests.portal.people.one_time import made_up_key

ROLES = list(Role)
OTHER_LIST = UUID(int=21)  # a blinded list of films that the worklist does not have


@dataclass
class World:
    """`things` are the objects that URLs name, by the words of `url_table`. `withheld` are films that the person
    `blinded`, who has every role, has yet to read; `siblings` are other films of their patients."""

    site: Site
    things: dict[str, Any]
    withheld: list[Image]
    siblings: list[Image]
    blinded: User

    def blind(self) -> None:
        """From now on the person has yet to read the films."""
        open_for(person=self.blinded, images=self.withheld, source=OTHER_LIST, words="the worklist Blinded", days=28)

    def secrets(self) -> dict[str, set[str]]:
        """Film -> what no page may say of it: its address, its file's name, its finding, its scores."""
        return {str(film.uuid): {str(film.uuid)} | words_of(film) for film in [*self.withheld, *self.siblings]}


def words_of(film: Image) -> set[str]:
    return {*filter(None, [film.original_name]), finding_of(film), remark_on(film), *scores_of(film)}


def finding_of(film: Image) -> str:
    return f"quagga sign {film.pk:04}"


def remark_on(film: Image) -> str:
    return f"okapi remark {film.pk:04}"


def scores_of(film: Image, *, run: Run | None = None) -> set[str]:
    """The digits of the film's scores, of every run by default."""
    kinds = ("global_score", "region_score", "fused_score", "head_score", "combined_score")
    scores = Score.objects.filter(image=film)
    values = (scores if run is None else scores.filter(run=run)).values_list(*kinds)
    return {repr(value)[:9] for row in values for value in row if value is not None and len(repr(value)) > 10}


def marked(film: Image, person: User) -> Image:
    """Give the film a finding that occurs nowhere else, and a box of it."""
    label, box = film.current_label, {"x": 2, "y": 3, "width": 4, "height": 5, "finding": finding_of(film)}
    factories.event(film, label.value, person, findings=[finding_of(film)], boxes=[box])
    return Image.objects.select_related("dataset__site", "patient").get(pk=film.pk)


def second_factors(person: User) -> int:
    """An app, codes and a key, whose number is returned."""
    TOTP.activate(person, "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP")
    RecoveryCodes.activate(person)
    key = Authenticator.objects.create(
        user=person, type=Authenticator.Type.WEBAUTHN, data={"name": "own", "credential": made_up_key()}
    )
    return int(key.pk)


def everyone(name: str, site: Site) -> User:
    return factories.user(name, *ROLES, at=site)


def build(*, opened: bool = True) -> World:
    """`opened`: the test part was looked at in every evaluation and study."""
    site = factories.site()
    boss = everyone("boss", site)
    for role in ROLES:
        factories.user(role, role, at=site)
    things = _results(site, boss)
    if opened:
        things |= _opened(things, boss)
    things |= _films_and_sets(site, boss, things)
    blinded = everyone("blinded", site)
    things |= _reading(boss, blinded, things)
    things |= _boards(site, boss, things)
    withheld, siblings = _withheld(things, boss)
    things["own partial upload"] = begin_upload(
        dataset=things["dataset"], author=blinded, announced=Announced(bytes_total=10)
    )
    things["own token"], _ = make_token(owner=blinded, name="own", scope="write", days=7)
    things["own key"] = second_factors(blinded)
    things["site"] = site
    things["kind of dataset"] = "dataset"
    things["patient"] = things["film"].patient
    things["invited"], things["token of invitation"] = "MQ", "used-already"
    things["person"] = boss
    things["own act"] = factories.label_films(
        images=[things["film"]], value="normal", author=blinded, site=site, findings=[finding_of(things["film"])]
    )
    tagged = add_tag(
        images=Image.objects.filter(pk__in=[film.pk for film in [*withheld, *siblings]], dataset=things["dataset"]),
        among=things["dataset"].images.all(),
        name="for teaching",
        author=blinded,
        site=site,
    )
    things["own tagging"] = TagAct.objects.get(uuid=tagged.act)
    things["tag"] = things["own tagging"].tag
    things["other tag"] = FilmTag.objects.create(site=site, name="to be seen again")
    begin(worklist=things["worklist"], reader=User.objects.get(username=Role.READER))
    for item in items(things["worklist"]):
        read(item, blinded, "normal", reason="artefact")
    things["embedding run"] = embedded.mapped(things["dataset"])
    things |= _double_readings(site, boss, blinded, things["film"])
    return World(site=site, things=things, withheld=withheld, siblings=siblings, blinded=blinded)


def _results(site: Site, boss: User) -> dict[str, Any]:
    scored = scored_run(
        site,
        author=boss,
        alignment=reports.alignment_report(pictures=["canonical.png"]),
        suspects=1,
        facts=[{}] * 23 + [{"original_name": "zebra-last-abnormal.png"}],
    )
    with_head(scored)
    run = scored.run
    assert run.detector is not None
    assert run.detector.alignment is not None
    fitted = Image.objects.filter(split_images__member__split=scored.split, split_images__member__part="fit")[0]
    picture = paths.picture_path(run.detector.alignment.run.uuid, "canonical.png")
    picture.parent.mkdir(parents=True)
    picture.write_bytes(b"a picture")
    (run_folder(run.uuid) / "run.json").write_text(json.dumps({"kind": "score"}))
    ablation_split = laid.split_with_films(site)
    bank, arrays = studied.bank_study(site)
    abroad = factories.dataset("Abroad", at=site)
    for number, label in enumerate(("normal", "abnormal") * 2):
        factories.film(abroad, label, person=f"abroad {number}")
    things: dict[str, Any] = {
        "run": run,
        "scored": scored,
        "split": scored.split,
        "dataset": scored.films[0].dataset,
        "alignment run": run.detector.alignment.run,
        "detector run": run.detector.run,
        "ablation": laid.ablation(ablation_split),
        "sweep": laid.sweep(ablation_split, {"backbone": ["resnet18", "resnet34"]}),
        "bank study": bank,
        "blind spots": studied.blind_spots(site, part="test")[0],
        "fitted film": fitted,
        "test film": scored.films[-1],
        "ablation film": Image.objects.filter(dataset__name="Films", current_label__value="abnormal").last(),
        "bank film": arrays["films"][0],
        "plan": lock_plan(split=scored.split, author=boss, intent=Intent()),
        "external run": scored_dataset(scored, abroad),
        "set evaluation": SetEvaluation.objects.create(
            dataset=scored.films[0].dataset,
            name=scored.split.name,
            author=boss,
            config={},
            split=scored.split,
            score=run,
        ),
        "kind of run": "fit_detector",
        "picture": "canonical.png",
        "page of the manual": "data",
        "picture of the manual": "grid.png",
        "figure": "roc",
        "compared figure": "scatter",
        "username": "reader",
    }
    return things


def _opened(things: dict[str, Any], boss: User) -> dict[str, Any]:
    for name in ("ablation", "sweep", "bank study", "blind spots"):
        open_test(run=things[name], author=boss)
    evaluation = evaluate(run=things["run"], author=boss)
    return {
        "evaluation": evaluation,
        "external validation": validate(run=things["external run"], author=boss),
        "other evaluation": evaluate(run=scored_again(things["scored"], seed=1, config={}), author=boss),
    }


def _films_and_sets(site: Site, boss: User, things: dict[str, Any]) -> dict[str, Any]:
    """Three more scored films, in no part of the split, which may join the normal set; cohorts, a queue, an upload."""
    dataset = things["dataset"]
    films = [
        factories.film(dataset, "normal", person=f"more {n}", original_name=f"zebra-{n}-normal.png") for n in range(3)
    ]
    siblings = [
        factories.film(dataset, "abnormal", person=person, view="AP", original_name=f"zebra-{n}-abnormal.png")
        for n, person in enumerate(("test abnormal 5", "fit 0", "more 0"))
    ]
    for number, film in enumerate(films):
        Score.objects.create(run=things["run"], image=film, row=100 + number, fused_score=9.0 - number)
    freeze_cohort(site=site, name="normals", images=films[:1], author=boss)
    earlier = freeze_cohort(site=site, name="normals", images=things["scored"].films, author=boss)
    return {
        "film": films[0],
        "siblings": siblings,
        "pair": factories.pair(films[0], films[1]),  # of no split, so that both stay proposed as normals
        "earlier cohort": earlier,
        "shared view": save_view(dataset=dataset, name="Shared", query={"label": "normal"}, author=boss, share=True),
        "cohort": freeze_cohort(site=site, name="normals", images=dataset.images.all(), author=boss),
        "queue": queue_films(
            site=site, name="All", images=dataset.images.all(), author=boss, source="all", order=Order.IMPORTED
        ),
        "upload": came_again(siblings),
        "waiting upload": _waiting_upload(dataset, boss),
        "quarantined file": factories.quarantined(dataset, author=boss, name="zebra-quarantined.png"),
        # what is deleted on the disk does not come back with the database
        "quarantined file to delete": factories.quarantined(
            dataset, author=boss, name="zebra-deleted.png", data=b"no film either"
        ),
    }


def came_again(films: list[Image]) -> Upload:
    """An upload in which these films came again with another view."""
    upload = Upload.objects.create(dataset=films[0].dataset, state="done", done=3, total=3)
    for film in films:
        HeaderDifference.objects.create(image=film, upload=upload, fact="view", old="AP", new="PA")
    return upload


def _waiting_upload(dataset: Dataset, boss: User) -> Upload:
    """A table whose columns are not known, from another person."""
    upload = Upload.objects.create(dataset=dataset, uploaded_by=boss, state="mapping")
    path = zip_path(upload)
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("t.csv", "Pfad,Diagnose\nx.png,o.B.\n")
    return upload


def _reading(boss: User, blinded: User, things: dict[str, Any]) -> dict[str, Any]:
    """A worklist and a reader study that other people have read, and the person `blinded` as well, and what followed
    from that."""
    site = things["run"].site
    of = worklist(things["scored"], boss, name="First", unflagged_share=0.5)
    reader = factories.user("earlier reader", Role.READER, at=site)
    for item in items(of):
        read(item, reader, "normal", reason="normal variant", comment=remark_on(item.image))
    in_study = study(things["scored"], boss, name="Study", repeat_share=0)
    readers = [User.objects.get(username=Role.READER), factories.user("study reader", Role.READER, at=site), blinded]
    for one in readers:
        read_study(in_study, one, lambda item, stage: "normal")
    assign(worklist=in_study, readers=readers, author=boss)
    if "evaluation" in things:
        state_reference(worklist=in_study, source="follow-up", statement="two years", author=boss)
    by_film = {item.image: item for item in items(of)}
    item = by_film[things["film"]]
    return {
        "worklist": of,
        "item": by_film[things["test film"]],
        "study": in_study,
        "study item": next(item for item in items(in_study) if item.image == things["test film"]),
        "escalation": verdicts.escalate(item=item, reader=reader, reason=remark_on(item.image)),
        "adjudication": verdicts.propose_adjudication(reading=Reading.objects.get(item=item), author=boss),
        "proposal": propose(worklist=of, author=boss),
        "head run": fitted_head(things["scored"], trained=[things["film"]]).run,
        "head proposal": head_proposals.propose(worklist=of, reader=reader),
    }


def _double_readings(site: Site, boss: User, blinded: User, film: Image) -> dict[str, Any]:
    """Three double readings of a film: one that the person `blinded` reads, one that they adjudicate, and one in which
    they have no part. In the latter two the readers differ, and reading is closed."""
    people = [factories.user(f"double reader {n}", Role.CURATOR, at=site) for n in (1, 2)]

    def made(name: str, readers: list[User]) -> ScreeningQueue:
        images = Image.objects.filter(pk=film.pk)
        queue = queue_films(
            site=site, name=name, images=images, author=boss, source="one", order=Order.IMPORTED, readers=readers
        )
        for reader in readers:
            double_reading.begin(queue=queue, person=reader)
        return queue

    def differ(queue: ScreeningQueue) -> ScreeningQueue:
        for reader, value in zip(people, ("abnormal", "normal"), strict=True):
            said = LabelChange(value=value, findings=[finding_of(film)], reason=remark_on(film))
            double_reading.read_blinded(queue=queue, images=[film], change=said, act=uuid4(), reader=reader)
        consensus.close(queue=queue, person=boss)
        return queue

    things = {
        "double reading": made("Read blinded", [blinded, people[0]]),
        "adjudicated": differ(made("Adjudicated", people)),
        "read twice": differ(made("Read twice", people)),
    }
    name_adjudicator(queue=things["adjudicated"], adjudicator=blinded, author=boss)
    return things


def _boards(site: Site, boss: User, things: dict[str, Any]) -> dict[str, Any]:
    """A board of three placed films and its canonical image; the film that the alignment was fitted on has a place."""
    dataset = factories.dataset("Boarded", at=site)
    factories.films(dataset, normal=3)
    asked = BoardRequest(site=site, name="By hand", films=3, dataset=dataset)
    board = start_board(asked, author=boss)
    for film in board.films.all():
        place_film(film=film, author=boss, matrix=[20 / 448, 0, 0, 0, 24 / 448, 0, 0, 0, 1])
    folder, fitted = run_folder(things["alignment run"].uuid), things["fitted film"]
    folder.mkdir(parents=True, exist_ok=True)
    row = manifest.ManifestRow(filename="film", image=str(fitted.uuid), part="fit")
    manifest.write(folder / "images.csv", [row], with_labels=False)
    files.write_npy(folder / "affines.npy", np.eye(2, 3)[None])
    decide(alignment=things["alignment run"].alignment_made, image=fitted, verdict="accept", author=boss)
    return {
        "board": board,
        "canonical": make_canonical(board=board, name="By hand", author=boss),
        "board film": board.films.get(position=1).image,
        "place on board": 1,
        "picture of many": "mean",
    }


def _withheld(things: dict[str, Any], boss: User) -> tuple[list[Image], list[Image]]:
    """One film of each kind that the URLs show, and the other films of these patients."""
    films = [things[name] for name in ("film", "test film", "fitted film", "ablation film", "bank film", "board film")]
    return [marked(film, boss) for film in films], [marked(film, boss) for film in things["siblings"]]

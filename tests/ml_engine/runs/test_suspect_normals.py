"""The least normal fit films as a screening queue: outlined where they are hottest, without revealing scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.exceptions import PermissionDenied
from django.test import Client
from django.urls import reverse
from safetensors.numpy import save_file

from ml_engine.engine import manifest
from ml_engine.engine.fit_scores import FitScore, FitScores
from ml_engine.models import DetectorModel
from ml_engine.runs import paths
from ml_engine.runs.suspect_normals import NoSuspects, box_around, hottest_region, queue_least_normal
from portal.models import Image, Part, Role, ScreeningQueue, Split, SplitImage
from tests.ml_engine import made

SIDE = 8  # patches, of 8 canonical pixels each
SCORES = [1.25, 7.5, 3.125, 9.875, 0.5, 2.75]  # of the six fit films, in the order of the manifest


# the region ------------------------------------------------------------------------------------------------


def test_the_region_is_connected_to_the_hottest_patch() -> None:
    fused = np.zeros((5, 5))
    fused[1, 1:3] = 10, 6
    fused[4, 4] = 9  # as hot, but elsewhere
    fused[2, 2] = 4  # connected, but not half as hot
    region = hottest_region(fused)
    assert {tuple(at) for at in np.argwhere(region).tolist()} == {(1, 1), (1, 2)}


def test_masked_patches_are_in_no_region() -> None:
    fused = np.full((3, 3), np.nan)
    assert not hottest_region(fused).any()
    fused[2, 0] = 1.0
    assert np.argwhere(hottest_region(fused)).tolist() == [[2, 0]]


def test_the_box_lies_in_original_pixels() -> None:
    region = np.zeros((8, 8), dtype=bool)
    region[2:4, 1:2] = True  # canonical x 8 to 16, y 16 to 32
    affine = np.array([[2.0, 0, 10], [0, 3, -8]])
    assert box_around(region, affine, stride=8, rows=500, columns=500) == {"x": 26, "y": 40, "width": 16, "height": 48}
    turned = np.array([[0.0, -1, 60], [1, 0, 0]])
    assert box_around(region, turned, stride=8, rows=500, columns=500) == {"x": 28, "y": 8, "width": 16, "height": 8}
    assert box_around(region, affine, stride=8, rows=60, columns=30) == {"x": 26, "y": 40, "width": 4, "height": 20}


# the queue --------------------------------------------------------------------------------------------------


@pytest.fixture
def detector(db: None, data_dir: Path) -> DetectorModel:
    """A detector whose run folder holds what a fit leaves: each fit film hottest at a patch of its own."""
    split = made.small_split(made.site())
    detector = made.detector_model(split)
    folder = paths.run_folder(detector.run.uuid)
    (folder / "stages").mkdir(parents=True)
    members = SplitImage.objects.filter(member__split=split).select_related("image", "member").order_by("pk")
    rows = [
        manifest.ManifestRow(filename=f"{m.image.uuid}.png", image=str(m.image.uuid), part=m.member.part)
        for m in members
    ]
    manifest.write(folder / "images.csv", rows, with_labels=True)
    fit = [row for row in rows if row.part == "fit"]
    maps = np.zeros((len(fit), 2, SIDE, SIDE), dtype=np.float32)
    for number, score in enumerate(SCORES):
        maps[number, :, number, 2] = score
    affine = np.broadcast_to(np.array([[1.25, 0, 0], [0, 1.25, 0]]), (len(rows), 2, 3))  # 64 canonical, 80 original
    np.save(folder / "stages" / "original_from_input.npy", affine)
    np.save(folder / "stages" / "input_from_canonical.npy", np.broadcast_to(np.eye(2, 3), (len(rows), 2, 3)))
    np.save(folder / "stages" / "fit_maps.npy", maps)
    films = [
        FitScore(row.image, row.filename, fold=0, whole=score, region=score, fused=score, p_value=0.5)
        for row, score in zip(fit, SCORES, strict=True)
    ]
    FitScores(folder).write(films, folder / "stages" / "fit_maps.npy")
    path = paths.model_path(detector.sha256)
    path.parent.mkdir(parents=True)
    ones = np.ones((2, SIDE, SIDE), dtype=np.float32)
    save_file({"mean": 0 * ones, "std": ones}, path)
    return detector


@pytest.fixture
def ana(detector: DetectorModel) -> Any:
    return made.person("ana", at=detector.site, role=Role.CURATOR)


def positions(queue: ScreeningQueue) -> list[Image]:
    return [member.image for member in queue.members.select_related("image").order_by("position")]


def fit_films(split: Split) -> list[Image]:
    return list(
        Image.objects.filter(split_images__member__split=split, split_images__member__part="fit").order_by("pk")
    )


def test_the_fit_films_come_least_normal_first(detector: DetectorModel, ana: Any) -> None:
    queue = queue_least_normal(detector=detector, author=ana)
    films = fit_films(detector.split)
    assert positions(queue) == [films[number] for number in np.argsort(SCORES)[::-1]]
    assert (queue.order, queue.split, queue.films) == ("score", detector.split, 6)


def test_each_is_outlined_where_it_is_hottest(detector: DetectorModel, ana: Any) -> None:
    queue = queue_least_normal(detector=detector, author=ana)
    first = queue.members.get(position=1)  # film 3: row 3, column 2, in patches of 8 canonical pixels
    assert first.outline == [{"x": 20, "y": 30, "width": 10, "height": 10}]


def test_a_film_that_another_split_holds_out_is_left_out(detector: DetectorModel, ana: Any) -> None:
    films = fit_films(detector.split)
    made.split(detector.site, {"test": [films[3]], "calibrate": [films[1]]}, name="Second")
    assert not {films[1], films[3]} & set(positions(queue_least_normal(detector=detector, author=ana)))


def test_without_maps_there_are_no_outlines_and_without_scores_no_queue(detector: DetectorModel, ana: Any) -> None:
    folder = paths.run_folder(detector.run.uuid)
    (folder / "stages" / "original_from_input.npy").unlink()
    queue = queue_least_normal(detector=detector, author=ana)
    assert {str(member.outline) for member in queue.members.all()} == {"[]"}
    (folder / "fit_scores.csv").unlink()
    with pytest.raises(NoSuspects, match="has no cross-fitted scores"):
        queue_least_normal(detector=detector, author=ana)


def test_who_may_make_one(detector: DetectorModel) -> None:
    with pytest.raises(PermissionDenied, match="make queues"):
        queue_least_normal(detector=detector, author=made.person("rea", at=detector.site, role=Role.READER))


# its pages ---------------------------------------------------------------------------------------------------


def test_the_button_leads_to_the_queue(client: Client, detector: DetectorModel, ana: Any) -> None:
    client.force_login(ana)
    answer = client.post(reverse("ml_engine:queue-suspects", args=[detector.run.uuid]))
    assert answer["Location"] == reverse("portal:queue", args=[ScreeningQueue.objects.get().uuid])


def test_the_queue_of_an_untrained_network_says_so(client: Client, detector: DetectorModel, ana: Any) -> None:
    client.force_login(ana)

    def pages(queue: ScreeningQueue) -> list[str]:
        addresses = [reverse("portal:queues"), reverse("portal:queue", args=[queue.uuid])]
        return [client.get(address).text for address in addresses]

    detector.random_weights = False
    assert not any("random weights" in page for page in pages(queue_least_normal(detector=detector, author=ana)))
    detector.random_weights = True
    assert all(
        "random weights, not for evaluation" in page
        for page in pages(queue_least_normal(detector=detector, author=ana))
    )
    detector.run.name = "D" * 300
    assert queue_least_normal(detector=detector, author=ana).source.endswith(" · random weights, not for evaluation")


def test_a_refused_queue_is_reported_on_the_page(client: Client, detector: DetectorModel, ana: Any) -> None:
    client.force_login(ana)
    (paths.run_folder(detector.run.uuid) / "fit_scores.csv").unlink()
    answer = client.post(reverse("ml_engine:queue-suspects", args=[detector.run.uuid]), follow=True)
    assert "has no cross-fitted scores" in answer.content.decode()
    no_detector = made.run(detector.split)
    assert client.post(reverse("ml_engine:queue-suspects", args=[no_detector.uuid])).status_code == 404


def responses(client: Client, queue: ScreeningQueue) -> list[Any]:
    """All responses of a queue that a curator's browser may get: pages, JSON, the API."""
    films = client.get(reverse("portal:queue-films", args=[queue.uuid])).json()["films"]
    addresses = [
        reverse("portal:queues"),
        reverse("portal:queue", args=[queue.uuid]),
        reverse("portal:queue-films", args=[queue.uuid]),
        reverse("api-queues"),
        reverse("api-queue-images", args=[queue.uuid]),
        *(film["boxes"] for film in films),
        *(film["facts"] for film in films),
    ]
    return [client.get(address) for address in addresses]


def test_nothing_of_a_score_reaches_a_curator(client: Client, detector: DetectorModel, ana: Any) -> None:
    client.force_login(ana)
    queue = queue_least_normal(detector=detector, author=ana)
    words = [str(score) for score in SCORES if len(str(score)) > 3] + ["p_value", "percentile", "fused"]
    pages = [client.get(reverse("portal:image", args=[film.uuid])) for film in positions(queue)]
    for answer in responses(client, queue) + pages:
        assert answer.status_code == 200
        text = answer.content.decode() + str(dict(answer.headers))
        assert not [word for word in words if word in text], answer.request["PATH_INFO"]


@pytest.mark.parametrize("part", [Part.TUNE, Part.CALIBRATE, Part.TEST])
def test_a_film_that_is_held_out_later_is_withheld(
    client: Client, detector: DetectorModel, ana: Any, part: Part
) -> None:
    client.force_login(ana)
    queue = queue_least_normal(detector=detector, author=ana)
    first = positions(queue)[0]
    texts = [answer.content.decode() for answer in responses(client, queue)]
    assert any(str(first.uuid) in text for text in texts)
    made.split(detector.site, {part: [first]}, name="Second")
    boxes = reverse("portal:queue-boxes", args=[queue.uuid, first.uuid])
    assert client.get(boxes).status_code == 404
    for answer in responses(client, queue):
        assert str(first.uuid) not in answer.content.decode(), answer.request["PATH_INFO"]


# by API ------------------------------------------------------------------------------------------------------


def test_the_api_makes_the_same_queue(client: Client, detector: DetectorModel, ana: Any) -> None:
    client.force_login(ana)
    answer = client.post(reverse("api-queue-suspects", args=[detector.run.uuid]))
    assert (answer.status_code, answer.json()["order"], answer.json()["films"]) == (201, "score", 6)
    queue = ScreeningQueue.objects.get(uuid=answer.json()["uuid"])
    assert positions(queue) == [fit_films(detector.split)[number] for number in np.argsort(SCORES)[::-1]]


def test_the_api_refuses_with_a_sentence(client: Client, detector: DetectorModel, ana: Any) -> None:
    client.force_login(ana)
    (paths.run_folder(detector.run.uuid) / "fit_scores.csv").unlink()
    none = client.post(reverse("api-queue-suspects", args=[detector.run.uuid]))
    assert (none.status_code, "has no cross-fitted scores" in none.json()["detail"]) == (400, True)
    other = client.post(reverse("api-queue-suspects", args=[made.run(detector.split).uuid]))
    assert (other.status_code, other.json()["detail"]) == (404, "This run made no detector.")
    for name, site, role, status in (
        ("rea", detector.site, Role.READER, 403), ("stranger", made.site("Busan"), Role.MANAGER, 404),
    ):  # fmt: skip
        client.force_login(made.person(name, at=site, role=role))
        assert client.post(reverse("api-queue-suspects", args=[detector.run.uuid])).status_code == status

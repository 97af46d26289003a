"""``python -m ml_engine serve`` over its pipes: the same numbers as the commands, and an end in every case."""

from __future__ import annotations

import io
import json
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ml_engine.command import main
from ml_engine.engine import serve as serving
from ml_engine.engine.model_cache import ModelCache
from ml_engine.engine.outcome import ExitStatus
from ml_engine.engine.serve import LONGEST_REQUEST, Server
from tests.ml_engine import films
from tests.ml_engine.command.test_main import FAST_ALIGNMENT
from tests.ml_engine.films import SMALL, engine

RESULTS = (
    "scores.csv",
    "maps.npy",
    "affines.npy",
    "sweep.npy",
    "parts.npy",
    "aligned.npy",
    "p_values.npy",
    "score.json",
)


@dataclass(frozen=True)
class World:
    images: Path
    data: Path
    model: Path
    scores: Path


@pytest.fixture(scope="module", autouse=True)
def one_code_version() -> Iterator[None]:
    with films.fixed_code_version():
        yield


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A model with an alignment by search, and the scores of the test films by the command line."""
    base = tmp_path_factory.mktemp("serve")
    csv = films.write_set(base / "films", train=12, tune_abnormal=2, test=3)
    made = World(base / "films", base / "data", base / "model", base / "scores")
    common = ("--images", made.images, "--csv", csv)
    fitting = (*SMALL, "--align", "network", *FAST_ALIGNMENT, "--set", "alignment.method=search")
    result = engine("fit", *common, "--out", made.model, *fitting, data=made.data)
    assert result.returncode == 0, result.stderr
    result = engine("score", *common, "--model", made.model, "--out", made.scores, data=made.data)
    assert result.returncode == 0, result.stderr
    return made


class Served:
    """The command as a child process."""

    def __init__(self, data: Path, *options: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ml_engine", "serve", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=films.ROOT,
            env=films.environment(data),
        )
        assert self.read() == {"event": "ready"}

    def read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.communicate()[1]
        message: dict[str, Any] = json.loads(line)
        return message

    def ask(self, **request: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """The answer, and the events before it."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"id": 7} | request) + "\n")
        self.process.stdin.flush()
        events = []
        while (message := self.read()).get("event") != "answer":
            events.append(message)
        assert message["id"] == 7
        return message, events

    def close(self) -> int:
        """Close its standard input and wait."""
        _, errors = self.process.communicate(timeout=60)
        assert "Traceback" not in errors, errors
        return self.process.returncode


@pytest.fixture(scope="module")
def served(world: World) -> Iterator[Served]:
    served = Served(world.data)
    yield served
    assert served.close() == ExitStatus.DONE


def run_of_one_film(world: World, row: int, folder: Path) -> Path:
    """A run folder that scores one film of the world's test part."""
    lines = (world.scores / "images.csv").read_text().splitlines()
    (folder / "inputs").mkdir(parents=True)
    for path in (world.scores / "inputs").iterdir():
        os.link(path, folder / "inputs" / path.name)
    shutil.copy(world.scores / "run.json", folder)
    (folder / "images.csv").write_text(f"{lines[0]}\n{lines[1 + row]}\n")
    return folder


def explained(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    capsys.readouterr()
    assert main.main(["explain", *map(str, arguments)]) == 0
    explanation: dict[str, Any] = json.loads(capsys.readouterr().out)
    return explanation


def test_a_served_run_leaves_the_bytes_of_a_run_by_itself(world: World, served: Served, tmp_path: Path) -> None:
    for row in (0, 1, 0):
        alone, warm = (run_of_one_film(world, row, tmp_path / f"{name}{row}") for name in ("alone", "warm"))
        result = engine("run", alone, "--images", world.images, data=world.data)
        assert result.returncode == 0, result.stderr
        answer, events = served.ask(do="score", folder=str(warm), images=str(world.images), attempt=3)
        assert (answer["status"], answer["unreadable"], answer["ends"]) == (0, 0, False)
        assert events[0]["event"] == "started"
        assert {event["attempt"] for event in events} == {3}
        stages = [event["stage"] for event in events if "stage" in event]
        assert list(dict.fromkeys(stages)) == ["films", "align", "maps", "results"]
        for name in RESULTS:
            assert (warm / name).read_bytes() == (alone / name).read_bytes(), name
        shutil.rmtree(alone)
        shutil.rmtree(warm)


@pytest.mark.parametrize("patch", [(3, 4), (5, 2), None])
def test_served_nearest_normals_are_those_of_the_command(
    world: World, served: Served, patch: tuple[int, int] | None, capsys: pytest.CaptureFixture[str]
) -> None:
    film = world.images / "film-15.png"
    common = ("--model", world.model, "--film", film, "--images", world.images, "--neighbours", 3)
    chosen = ("--patch", f"{patch[0]},{patch[1]}") if patch else ()
    expected = explained(capsys, *common, *chosen)
    request = {"model": str(world.model), "film": str(film), "images": str(world.images), "neighbours": 3}
    request |= {"patch": list(patch)} if patch else {}
    for more in ({}, {"scored": str(world.scores)}):
        answer, _ = served.ask(do="explain", **request, **more)
        assert answer["status"] == 0, answer
        assert answer["explanation"] == expected
    assert all(one["original_from_canonical"] for one in expected["nearest"])


def test_the_placement_of_the_scoring_run_is_used(world: World, tmp_path: Path) -> None:
    """The film's alignment is not computed again, which would take most of the time."""
    from ml_engine.engine import one_film
    from ml_engine.engine.explain import explain

    scored = tmp_path / "scored"
    shutil.copytree(world.scores, scored)
    for row in (scored / "images.csv").read_text().splitlines()[1:]:
        shutil.copy(world.images / row.split(",")[1], scored)
    film = scored / "film-15.png"
    expected = explain(world.model, film, patch=(3, 4), device="cpu")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(one_film.FilmPipeline, "_input_from_canonical", None)
        assert explain(world.model, film, patch=(3, 4), scored=scored, device="cpu") == expected


def test_a_detector_that_was_replaced_is_loaded_anew(
    world: World, served: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    fitting = ("--images", world.images, "--csv", world.images / "labels.csv", "--out", other, *SMALL)
    result = engine("fit", *fitting, "--align", "none", "--seed", "5", data=world.data)
    assert result.returncode == 0, result.stderr
    model = tmp_path / "model"
    shutil.copytree(world.model, model)
    film = world.images / "film-14.png"
    request = {"do": "explain", "model": str(model), "film": str(film), "patch": [3, 3]}
    before = served.ask(**request)[0]["explanation"]
    for name in ("detector.safetensors", "images.csv"):
        shutil.copy(other / name, model / name)
    after = served.ask(**request)[0]["explanation"]
    assert after != before
    assert after == explained(capsys, "--model", model, "--film", film, "--patch", "3,3")


def test_a_film_that_was_replaced_is_read_anew(world: World, served: Served, tmp_path: Path) -> None:
    film = tmp_path / "film.png"
    request = {"do": "explain", "model": str(world.model), "film": str(film), "patch": [3, 3]}
    distances = []
    for name in ("film-14.png", "film-15.png"):
        shutil.copy(world.images / name, film)
        distances.append(served.ask(**request)[0]["explanation"]["global_score"])
    assert distances[0] != distances[1]


def test_a_refused_request_is_a_sentence_and_the_next_is_answered(world: World, served: Served) -> None:
    missing, _ = served.ask(do="explain", model=str(world.model), film=str(world.images / "none.png"))
    assert (missing["status"], missing["sentence"]) == (2, "The file is not there.")
    model, _ = served.ask(do="score", folder=str(world.model))
    assert "is a run of kind fit_detector: serve takes score" in model["sentence"]
    fine, _ = served.ask(do="explain", model=str(world.model), film=str(world.images / "film-14.png"))
    assert fine["status"] == 0


# without a process of its own


@pytest.fixture
def server() -> Server:
    return Server(io.StringIO(), ModelCache(most=4))


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("no json", "A line is no JSON object: write one request a line"),
        ("[1]", "A line is no JSON object"),
        ("[" * 60000, "A line is no JSON object"),
        ("x" * (LONGEST_REQUEST + 1), f"has more than {LONGEST_REQUEST} characters in one line"),
        ('{"do": "fit"}', "do is 'fit': it must be one of explain, score."),
        ('{"do": ["fit"]}', "do is ['fit']: it must be one of explain, score."),
        ('{"do": "explain", "film": "f"}', "model is None: it must be a path."),
        ('{"do": "explain", "model": "m", "film": "f\\u0000"}', "film is 'f\\x00': it must be a path."),
        ('{"do": "explain", "model": "m", "film": "f", "neighbours": 0}', "it must be a whole number of at least 1"),
        ('{"do": "explain", "model": "m", "film": "f", "neighbours": true}', "it must be a whole number of at least 1"),
        ('{"do": "explain", "model": "m", "film": "f", "patch": [1]}', "it must be a list of row and column"),
        ('{"do": "explain", "model": "m", "film": "f", "patch": [1, true]}', "it must be a list of row and column"),
        ('{"do": "explain", "model": "m", "film": "f", "device": "tpu"}', "device is 'tpu': it must be one of auto"),
        ('{"do": "explain", "model": "m", "film": "f", "k": 1}', "'k', which this request does not know"),
        ('{"do": "score", "folder": "none"}', "none is not a run folder: it has no run.json."),
    ],
)
def test_a_bad_line_is_a_sentence(server: Server, line: str, sentence: str) -> None:
    answer = server.answer(line)
    assert answer["status"] == ExitStatus.REFUSED
    assert sentence in answer["sentence"]


def test_a_bug_is_named_as_one(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(serving, "explain", None)
    answer = server.answer('{"id": "a", "do": "explain", "model": "m", "film": "f"}')
    assert (answer["id"], answer["status"]) == ("a", ExitStatus.BUG)
    assert "on standard error of the engine" in answer["sentence"]
    assert "Traceback" in capsys.readouterr().err


def test_models_are_dropped_above_the_limit_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    models = ModelCache(most=9)
    for name in "abc":
        models.keep(name, lambda: object())
    sizes = iter([500.0, 400.0, 300.0])
    monkeypatch.setattr(serving, "memory_mib", lambda: next(sizes))
    assert serving.is_within(models, 350)
    assert models.drop_oldest()  # c is left of the three
    assert not models.drop_oldest()
    monkeypatch.setattr(serving, "memory_mib", lambda: 500.0)
    assert not serving.is_within(models, 350)


# its end


def test_it_ends_after_the_answer_when_its_memory_stays_above_the_limit(world: World) -> None:
    served = Served(world.data, "--memory", "1")
    answer, _ = served.ask(do="explain", model=str(world.model), film=str(world.images / "film-14.png"))
    assert (answer["status"], answer["ends"]) == (0, True)
    assert served.process.wait(60) == ExitStatus.DONE
    served.process.communicate()


def test_it_ends_when_idle(world: World) -> None:
    served = Served(world.data, "--idle", "0.1")
    assert served.process.wait(60) == ExitStatus.DONE
    served.process.communicate()


def test_it_ends_at_once_with_its_parent_even_while_it_computes(world: World, tmp_path: Path) -> None:
    code = (
        "import subprocess, sys, json, os\n"
        "child = subprocess.Popen([sys.executable, '-m', 'ml_engine', 'serve', '--parent-pipe'], text=True,"
        " stdin=subprocess.PIPE, stdout=subprocess.PIPE)\n"
        "child.stdout.readline()\n"
        "child.stdin.write(json.dumps({'do': 'score', 'folder': sys.argv[1], 'images': sys.argv[2]}) + '\\n')\n"
        "child.stdin.flush()\n"
        "print(child.pid, flush=True)\n"
        "child.stdout.readline()\n"  # the run has started
        "print('started', flush=True)\n"
        "child.wait()\n"
    )
    folder = run_of_one_film(world, 0, tmp_path / "run")
    (folder / "pause").write_text("maps 1")  # where the engine stops itself
    pausing = os.pathsep.join([str(films.ROOT / "tests" / "ml_engine" / "pausing"), str(films.ROOT)])
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(folder), str(world.images)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=films.ROOT,
        env=films.environment(world.data) | {"PYTHONPATH": pausing},
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert parent.stdout.readline() == "started\n"
    handle = os.pidfd_open(child)
    parent.kill()
    parent.communicate()
    os.kill(child, signal.SIGCONT)  # a process that is stopped cannot end
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    assert poll.poll(60_000), "the engine outlived its parent"
    os.close(handle)


def test_what_a_library_prints_does_not_reach_the_answers() -> None:
    code = (
        "import os\n"
        "from ml_engine.command.serve import private_stdout\n"
        "own = private_stdout()\n"
        "print('stray', flush=True); os.system('echo stray')\n"
        "own.write('answer\\n'); own.flush()\n"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=films.ROOT, capture_output=True, text=True, check=True)
    assert (result.stdout, result.stderr) == ("answer\n", "stray\nstray\n")


@pytest.mark.parametrize("option", ["--idle", "--memory"])
def test_a_limit_of_nothing_is_refused(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["serve", option, "0"]) == 2
    assert f"{option} is 0: it must be a number above 0." in capsys.readouterr().err

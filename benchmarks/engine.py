"""The engine against its peers, each beside the least that it has to reach: `make bench`, `make bench-quick`.

    python -m benchmarks.engine [--quick] [--only WORK ...] [--films DIR] [--kept DIR] [--write]

Each work runs in a process of its own, by turns with its peer where it has one: CPU seconds of one thread unless a row
says otherwise, the median of five turns, of three where a turn takes over a minute. Peers are anomalib 2.7 (see
`benchmarks.anomalib_peer`), as shipped and with an allocator that keeps freed memory, and faiss's flat index.
``--films`` is a folder with ``images`` and ``labels.csv``; works on real films are left out without it. ``--quick``
takes smaller sizes, in under five minutes, to which the goals do not apply. With ``--kept`` what was measured is kept
there and not measured again: a benchmark that was stopped goes on at the next work. ``--write`` puts the table into
docs/performance.md. Ends with 1 where a goal is missed.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from analysis.studies.print_table import markdown_table

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- make bench: begin -->", "<!-- make bench: end -->"
FILMS = ROOT.parent / "shared" / "data" / "cxr-a"
LONG_TURN = 60.0  # seconds above which three turns are enough
FILM_GFLOP = 18.37  # of Wide-ResNet-50-2 to layer3 for a film of 224 pixels
HEADINGS = ("work", "settings", "ours", "peer", "reached", "least", "")


@dataclass(frozen=True)
class Row:
    """What was measured, in words and units; ``is_met`` is None where no goal applies."""

    work: str
    settings: str
    ours: str
    peer: str = "–"
    reached: str = "–"
    least: str = "–"
    is_met: bool | None = None

    def cells(self) -> list[str]:
        mark = {True: "met", False: "**missed**", None: ""}[self.is_met]
        return [self.work, self.settings, self.ours, self.peer, self.reached, self.least, mark]


@dataclass(frozen=True)
class Task:
    """How a work is to be run: small or not, and the folder of real films."""

    is_quick: bool
    films: Path


# measuring


def cpu_seconds(work: Callable[[], object]) -> float:
    before = time.process_time()
    work()
    return time.process_time() - before


def by_turns(works: Mapping[str, Callable[[], float]], *, turns: int = 5) -> dict[str, float]:
    """The median of what each work says it took, all by turns: five, or three if one of them takes over a minute."""
    times: dict[str, list[float]] = {name: [] for name in works}
    done = 0
    while done < (3 if max((max(taken, default=0) for taken in times.values()), default=0) > LONG_TURN else turns):
        for name, work in works.items():
            times[name].append(work())
        done += 1
    return {name: statistics.median(taken) for name, taken in times.items()}


def against(
    work: str,
    settings: str,
    times: Mapping[str, float],
    goals: Mapping[str, float | None],
    task: Task,
    *,
    unit: str = "s",
) -> list[Row]:
    """A row for each peer: how many times as long it takes as ``ours``, and the least of that, if there is one."""
    scale, digits = (1000, 0) if unit == "ms" else (1, 2)
    rows = []
    for peer, least in goals.items():
        ratio = times[peer] / times["ours"]
        rows.append(
            Row(
                work,
                settings,
                f"{scale * times['ours']:.{digits}f} {unit}",
                f"{peer}: {scale * times[peer]:.{digits}f} {unit}",
                f"{ratio:.2f} ×",
                "–" if least is None else f"{least:g} ×",
                None if task.is_quick or least is None else ratio >= least,
            )
        )
    return rows


def at_most(work: str, settings: str, value: float, limit: float, task: Task, *, unit: str) -> Row:
    met = None if task.is_quick else value <= limit
    return Row(work, settings, f"{value:.2f} {unit}", "–", f"{value:.2f} {unit}", f"at most {limit:g} {unit}", met)


# the works


def coreset_of_films(task: Task) -> Iterator[Row]:
    """Selection from patch features of phantom films, as wide as those of Wide-ResNet-50-2."""
    import numpy as np

    from benchmarks.anomalib_peer import RATE
    from benchmarks.coreset import phantom_features
    from ml_engine.core.bank import coreset

    count = 20_000 if task.is_quick else 100_000
    features = phantom_features(count)
    picks = round(RATE * count)
    with tempfile.NamedTemporaryFile(suffix=".npy") as file:
        np.save(file.name, features.numpy())
        times = by_turns(
            {
                "ours": lambda: cpu_seconds(lambda: coreset.k_center(features, picks)),
                "projected": lambda: cpu_seconds(lambda: coreset.k_center(features, picks, exact_limit=0)),
                "anomalib": lambda: _peer("coreset", file.name)["coreset"],
                "anomalib, tuned": lambda: _peer("coreset", file.name, "--tuned")["coreset"],
            }
        )
    goals: dict[str, float | None] = {"anomalib": 60.0, "anomalib, tuned": 20.0}
    words = f"coreset, {count:,} × 1536, 1 %"
    yield from against(words, "all 1536 dimensions, covering radius included", times, goals, task)
    projected = times | {"ours": times["projected"]}
    yield from against(words, "preset paper: selected in 128 dimensions", projected, goals, task)


def coreset_large(task: Task) -> Iterator[Row]:
    import torch

    from benchmarks import coreset

    torch.set_num_threads(2)
    count, wide = (100_000, 168) if task.is_quick else coreset.LARGE
    taken = coreset.stages(coreset.made(count, wide))
    words, settings = f"coreset, {count:,} × {wide}, 1 %", "two threads, wall clock, made vectors"
    yield at_most(words, settings, taken.wall, 30, task, unit="s")
    yield at_most(words, "peak memory of the process", taken.peak_gib, 3, task, unit="GiB")


def nearest(task: Task) -> Iterator[Row]:
    yield from _nearest_in(20_000, {"anomalib": 2.2, "faiss": 1.6}, task)
    if not task.is_quick:
        yield from _nearest_in(100_000, {"anomalib": 3.0, "faiss": 2.0}, task)


def _nearest_in(count: int, goals: Mapping[str, float | None], task: Task) -> list[Row]:
    import faiss
    import torch

    from benchmarks import anomalib_peer as peer
    from benchmarks.nearest_neighbours import QUERIES, vectors
    from ml_engine.core.bank.nearest_search import NearestSearch

    faiss.omp_set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    bank, queries = vectors(count, 1536, generator), vectors(QUERIES, 1536, generator)
    ours, anomalib, index = NearestSearch(bank), peer.Search(bank), faiss.IndexFlatL2(1536)
    index.add(bank.numpy())
    times = by_turns(
        {
            "ours": lambda: cpu_seconds(lambda: ours.squared_distances(queries, 1)),
            "anomalib": lambda: cpu_seconds(lambda: anomalib(queries, 1)),
            "faiss": lambda: cpu_seconds(lambda: index.search(queries.numpy(), 1)),
        }
    )
    return against(
        f"nearest of {QUERIES} patches, bank {count:,} × 1536", "K = 1, exact", times, goals, task, unit="ms"
    )


def extraction(task: Task) -> Iterator[Row]:
    yield from _extraction_in("float32", {"anomalib": 1.4}, task)
    yield from _extraction_in("bfloat16", {"anomalib": 2.8}, task)


def _extraction_in(precision: str, goals: Mapping[str, float | None], task: Task) -> Iterator[Row]:
    """Features of a batch; ours with the allocator of the engine."""
    from benchmarks import anomalib_peer as peer
    from benchmarks import extraction as own

    batch = 8
    images, ours, theirs = own.films(batch), own.ours(precision, batch), peer.Extraction(own.state())

    def a_film(work: Callable[..., object], *, keeps: bool) -> float:
        peer.keep_memory(keeps)
        taken = cpu_seconds(lambda: work(images)) / batch
        peer.keep_memory(False)
        return taken

    times = by_turns(
        {
            "ours": lambda: a_film(ours, keeps=True),
            "anomalib": lambda: a_film(theirs, keeps=False),
            "anomalib, tuned": lambda: a_film(theirs, keeps=True),
        }
    )
    work, settings = "patch features of a film", f"Wide-ResNet-50-2, 224 px, batch {batch}, {precision}"
    yield from against(work, settings, times, goals, task, unit="ms")
    yield from against(work, settings, times, {"anomalib, tuned": None}, task, unit="ms")
    own_speed, ceiling = FILM_GFLOP / times["ours"], _fastest_convolution(precision)
    bound = f"of the {ceiling:.0f} GFLOP/s of this processor's fastest convolution"
    highest = times["anomalib"] * ceiling / FILM_GFLOP
    yield Row(work, bound, f"{own_speed:.0f} GFLOP/s", reached=f"{own_speed / ceiling:.0%}", least=f"≙ {highest:.2f} ×")
    if precision == "float32":
        expected, values = theirs(images), ours(images)
        apart, furthest = float((values - expected).abs().max() / expected.abs().max()), 1e-4
        is_met = apart <= furthest  # at any size
        yield Row(work, "largest difference of a feature", f"{apart:.1e}", least=f"at most {furthest:g}", is_met=is_met)


def _fastest_convolution(precision: str) -> float:
    """GFLOP/s of one thread in a convolution that is bound by arithmetic alone: 3 × 3, 256 channels."""
    import torch

    channels, side, batch = 256, 28, 8
    kind = getattr(torch, precision)
    layer = torch.nn.Conv2d(channels, channels, 3, padding=1, bias=False).to(kind, memory_format=torch.channels_last)
    maps = torch.randn(batch, channels, side, side).to(kind, memory_format=torch.channels_last)
    with torch.inference_mode():
        layer(maps)
        taken = min(cpu_seconds(lambda: [layer(maps) for _ in range(5)]) / 5 for _ in range(5))
    return 2e-9 * batch * side**2 * channels**2 * 9 / taken


def fit_and_score(task: Task) -> Iterator[Row]:
    """Whole commands on PNG files. Starting counts for ours, not for anomalib's."""
    fit_count, score_count = (40, 20) if task.is_quick else (200, 100)
    settings = ("preset=paper", "weights=random", "align=none", "threads=1", "controls=0")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        _draw_set(folder, fit=fit_count, score=score_count)
        used: dict[str, list[float]] = {"ours": [], "anomalib": [], "anomalib, tuned": []}

        def ours() -> float:
            fit = _engine(folder, "fit", "fit.csv", settings)
            score = _engine(folder, "score", "score.csv", ())
            used["ours"].append(max(fit.memory_mib, score.memory_mib))
            return fit.seconds + score.seconds

        def theirs(name: str, *options: str) -> float:
            taken = _peer("fit", str(folder), *options)
            used[name].append(taken["memory_mib"])
            return float(taken["fit"] + taken["score"])

        times = by_turns(
            {
                "ours": ours,
                "anomalib": lambda: theirs("anomalib"),
                "anomalib, tuned": lambda: theirs("anomalib, tuned", "--tuned"),
            }
        )
    words = f"fit {fit_count}, score {score_count} films, 1 %"
    how = "preset paper (Wide-ResNet-50-2), global and region banks, align none, cross_fit off"
    yield from against(words, how, times, {"anomalib": 6.0, "anomalib, tuned": 2.5}, task)
    memory = {name: statistics.median(values) for name, values in used.items()}
    share = memory["ours"] / memory["anomalib"]
    met = None if task.is_quick else share <= 0.6
    cells = f"{memory['ours']:.0f} MiB", f"anomalib: {memory['anomalib']:.0f} MiB"
    yield Row(words, "peak memory", *cells, f"{share:.2f} ×", "at most 0.6 ×", met)


def real_films(task: Task) -> Iterator[Row]:
    """The default preset on the films of cxr-a, aligned by search."""
    table = task.films / "labels.csv"
    if task.is_quick or not table.is_file():
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "films").symlink_to(task.films / "images")
        with table.open(newline="", encoding="utf-8") as file:
            lines = list(csv.DictReader(file))
        for name, split in (("fit.csv", "train"), ("score.csv", "test")):
            _write_table(folder / name, [line for line in lines if line["split"] == split])
        fit = score = None
        seconds: dict[str, list[float]] = {"fit": [], "score": []}
        for _ in range(3):
            fit = _engine(folder, "fit", "fit.csv", ("threads=1", "controls=0"))
            score = _engine(folder, "score", "score.csv", ())
            seconds["fit"].append(fit.seconds)
            seconds["score"].append(score.seconds)
    how = "default: EfficientNet-Lite2, search alignment, cross_fit on; whole command"
    assert fit is not None and score is not None
    limits = {"fit": (fit, 25.0), "score": (score, 10.0)}
    for name, (run, limit) in limits.items():
        count = sum(line["split"] == ("train" if name == "fit" else "test") for line in lines)
        words = f"{name} {count} films of cxr-a"
        yield at_most(words, how, statistics.median(seconds[name]), limit, task, unit="CPU s")
        yield at_most(words, "peak memory", run.memory_mib / 1024, 1, task, unit="GiB")


def paper_size(task: Task) -> Iterator[Row]:
    """As many films as the paper's PadChest split has."""
    fit_count, score_count = (40, 40) if task.is_quick else (1777, 2364)
    settings = ("preset=paper", "weights=random", "align=none", "threads=2", "controls=0", "memory_gib=3")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        _draw_set(folder, fit=fit_count, score=score_count)
        for name in ("fit", "score"):
            run = _engine(folder, name, f"{name}.csv", settings if name == "fit" else ())
            words = f"{name} {fit_count if name == 'fit' else score_count} films, 1 %"
            how = f"preset paper, align none, memory_gib 3, two threads, mapped pages counted; {run.seconds:.0f} CPU s"
            yield at_most(words, how, run.memory_mib / 1024, 4, task, unit="GiB")


def warm_film(task: Task) -> Iterator[Row]:
    """A film that a warm engine has not seen: decoded, aligned, scored, its nearest normals listed."""
    count = 20
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        _draw_set(folder, fit=60, score=count)
        _engine(folder, "fit", "fit.csv", ("weights=random", "threads=2", "controls=0"))
        began = time.monotonic()
        with _served() as ask:
            started = time.monotonic() - began
            times = []
            for film in sorted((folder / "films").glob("test-*.png")):
                began = time.monotonic()
                answer = ask({"do": "explain", "model": str(folder / "fit"), "film": str(film), "device": "cpu"})
                times.append(time.monotonic() - began)
                if answer["status"] != 0:
                    raise RuntimeError(answer["sentence"])
    how = "default: EfficientNet-Lite2, search alignment; wall clock, two threads"
    yield at_most("one film, engine warm (serve)", how, statistics.median(times[1:]), 0.3, task, unit="s")
    yield at_most("start of the warm engine", "until it is ready", started, 10, task, unit="s")


def help_page(task: Task) -> Iterator[Row]:
    taken, lines = [], 0
    for _ in range(5):
        began = time.monotonic()
        ended = subprocess.run([sys.executable, "-m", "ml_engine", "--help"], cwd=ROOT, capture_output=True, check=True)
        taken.append(time.monotonic() - began)
        lines = max(lines, len(ended.stderr.splitlines()))
    words = "python -m ml_engine --help"
    yield at_most(words, "wall clock", statistics.median(taken), 0.3, Task(False, task.films), unit="s")
    yield Row(words, "lines on standard error", str(lines), "–", "–", "0", lines == 0)


WORKS: Mapping[str, Callable[[Task], Iterator[Row]]] = {
    "coreset": coreset_of_films,
    "coreset-large": coreset_large,
    "nearest": nearest,
    "extraction": extraction,
    "fit-and-score": fit_and_score,
    "real-films": real_films,
    "paper-size": paper_size,
    "warm-film": warm_film,
    "help": help_page,
}


# films and commands


def phantom_tensor(count: int):  # type: ignore[no-untyped-def]  # torch is loaded by the works alone
    """float32 (count, 1, 224, 224) in [0, 1]: phantoms of other contrast and noise each."""
    import numpy as np
    import torch

    from benchmarks.memory import DRAWN, _picture

    rng = np.random.default_rng(0)
    drawn = [_picture(k)[16:240, 16:240] / 255 for k in range(min(count, DRAWN))]
    films = [drawn[k % len(drawn)] ** rng.uniform(0.8, 1.25) + rng.normal(0, 0.01, (224, 224)) for k in range(count)]
    return torch.from_numpy(np.stack(films).clip(0, 1).astype(np.float32))[:, None]


def _draw_set(folder: Path, *, fit: int, score: int) -> None:
    """folder/films with tables fit.csv and score.csv; the same files, by hard link, in train and test for anomalib."""
    from benchmarks.memory import draw_films

    films = folder / "films"
    draw_films(films, fit + score)
    names = sorted(path.name for path in films.glob("*.png"))
    for kind, own in (("train", names[:fit]), ("test", names[fit:])):
        (folder / kind).mkdir()
        for name in own:
            (films / name).rename(films / f"{kind}-{name}")
            os.link(films / f"{kind}-{name}", folder / kind / name)
    for table, kind, part in (("fit.csv", "train", "fit"), ("score.csv", "test", "test")):
        rows = sorted(path.name for path in films.glob(f"{kind}-*.png"))
        _write_table(folder / table, [{"filename": name, "label": "normal", "split": part} for name in rows])


def _write_table(path: Path, lines: list[dict[str, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)


def _engine(folder: Path, what: str, table: str, settings: tuple[str, ...]):  # type: ignore[no-untyped-def]
    """`benchmarks.memory.Measured` of a fit into folder/fit, or of a score with it."""
    import shutil

    from benchmarks.memory import engine

    out = folder / what
    shutil.rmtree(out, ignore_errors=True)
    changes = [part for setting in settings if not setting.startswith("preset=") for part in ("--set", setting)]
    presets = [part for setting in settings if setting.startswith("preset=") for part in ("--preset", setting[7:])]
    model = ("--model", folder / "fit") if what == "score" else ()
    return engine(
        out, what, "--images", folder / "films", "--csv", folder / table, "--out", out, *model, *presets, *changes
    )


def _peer(*arguments: str) -> dict[str, float]:
    """What anomalib takes in a process of its own: an allocator cannot be tuned and untuned again in one."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.anomalib_peer", *arguments]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    taken: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return taken


@contextmanager
def _served() -> Iterator[Callable[[dict[str, object]], dict[str, object]]]:
    """Ask a warm engine, which is ready when the block begins."""
    command = [sys.executable, "-m", "ml_engine", "serve"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin and process.stdout
        stdin, stdout = process.stdin, process.stdout
        if json.loads(stdout.readline())["event"] != "ready":
            raise RuntimeError("the engine did not become ready")

        def ask(request: dict[str, object]) -> dict[str, object]:
            stdin.write(json.dumps({"id": 1, **request}) + "\n")
            stdin.flush()
            for line in stdout:
                answer: dict[str, object] = json.loads(line)
                if answer["event"] == "answer":
                    return answer
            raise RuntimeError("the engine ended without an answer")

        yield ask
        stdin.close()


# the table


def run_alone(name: str, given: argparse.Namespace) -> list[Row]:
    """The rows of a work, from a process of its own on one thread."""
    command = [sys.executable, "-m", "benchmarks.engine", "--alone", name, "--films", str(given.films)]
    command += ["--quick"] * given.quick
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    printed = subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    return [Row(**json.loads(line)) for line in printed.splitlines() if line.startswith("{")]


def rows_of(name: str, given: argparse.Namespace) -> list[Row]:
    """The rows of a work, from where they are kept if it was measured before."""
    if given.kept is None:
        return run_alone(name, given)
    path = given.kept / f"{name}{'-quick' * given.quick}.json"
    if not path.exists():
        rows = run_alone(name, given)
        given.kept.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps([asdict(row) for row in rows], indent=1), encoding="utf-8")
    return [Row(**values) for values in json.loads(path.read_text(encoding="utf-8"))]


def machine() -> str:
    """The machine, the versions and the day, as a sentence."""
    facts = dict(line.split(":", 1) for line in Path("/proc/cpuinfo").read_text().splitlines() if ":" in line)
    facts = {name.strip(): value.strip() for name, value in facts.items()}
    kind = f"family {facts.get('cpu family', '?')}, model {facts.get('model', '?')}"
    processor = f"{facts.get('model name', platform.processor())} ({kind})"
    names = ("torch", "torchvision", "anomalib", "faiss-cpu", "numpy")
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in names)
    cores, load = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    day = datetime.now(UTC).date().isoformat()
    python = platform.python_version()
    return f"{day}; {processor}, {cores} cores, load {load:.1f} at the end; Python {python}, {versions}."


def write_page(table: str, sentence: str) -> None:
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, found_end, after = rest.partition(END)
    if not found_end:
        sys.exit(f"{PAGE} has no lines {BEGIN} and {END}: write the table there by hand.")
    PAGE.write_text(f"{before}{BEGIN}\n{sentence}\n\n{table}\n{END}{after}", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", nargs="+", choices=WORKS, default=list(WORKS), metavar="WORK", help=", ".join(WORKS))
    parser.add_argument("--films", type=Path, default=FILMS)
    parser.add_argument("--kept", type=Path)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--alone", choices=WORKS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.alone:
        if given.alone not in ("coreset-large",):
            import torch

            torch.set_num_threads(1)
        for row in WORKS[given.alone](Task(given.quick, given.films)):
            print(json.dumps(asdict(row)), flush=True)
        return
    rows: list[Row] = []
    for name in given.only:
        began = time.monotonic()
        rows += rows_of(name, given)
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    table = markdown_table(HEADINGS, [row.cells() for row in rows])
    sentence = machine()
    print(f"{sentence}\n\n{table}")
    if given.write:
        write_page(table, sentence)
    missed = [row for row in rows if row.is_met is False]
    if missed:
        sys.exit(f"{len(missed)} of {sum(row.is_met is not None for row in rows)} goals are missed.")


if __name__ == "__main__":
    main()

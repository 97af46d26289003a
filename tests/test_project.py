"""Rules for the whole project: import contracts, no dangerous calls, and clean linters and checks."""

from __future__ import annotations

import ast
import graphlib
import itertools
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.paths import ROOT

TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))
ROOMS = ("portal", "ml_engine", "analysis")
PRODUCTION = {
    "HILUM_ENV": "production",
    "HILUM_SECRET_KEY": "of-this-test-only-" + "kZ3vQ9xTq1mWc7Yb5Hd8RfJs2LgNp4Ua6EoXiVyD",
    "HILUM_PSEUDONYM_SECRET": "of-this-test-too-" + "Xw2bT8nPzQ5kR1vMf7Jc3Gd9HsLa4Ye6UoNiBqKt",
    "HILUM_ALLOWED_HOSTS": "hilum.example.org",
    "HILUM_BROKER_URL": "redis://broker:6379/0",
    "DATABASE_URL": "postgres://hilum:secret@db:5432/hilum",
}


def run(*command: str, **environment: str) -> str:
    """Run a program of this environment in the checkout and return its output; fail with it if the program fails."""
    done = subprocess.run(
        command,
        cwd=ROOT,
        # set by the browser tests, but never in a deployment
        env={name: value for name, value in os.environ.items() if name != "DJANGO_ALLOW_ASYNC_UNSAFE"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}"
    return done.stdout


def program(name: str) -> str:
    return str(Path(sys.executable).parent / name)


def python_files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


# --- import contracts ---------------------------------------------------------------------------


def test_imports_point_only_one_way() -> None:
    run(program("lint-imports"), "--no-cache")


def test_no_imports_run_in_a_circle() -> None:
    """Neither among modules, nor among the files and folders that lie side by side in any folder."""
    import grimp

    graph = grimp.build_graph(*ROOMS, cache_dir=None)
    neighbours: dict[str, dict[str, set[str]]] = {}
    for module in graph.modules:
        for imported in graph.find_modules_directly_imported_by(module):
            ours, theirs = module.split("."), imported.split(".")
            shared = next((k for k, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), None)
            if shared is not None:
                edges = neighbours.setdefault(".".join(ours[:shared]), {})
                edges.setdefault(ours[shared], set()).add(theirs[shared])
    for folder, edges in sorted(neighbours.items()):
        try:
            graphlib.TopologicalSorter(edges).prepare()
        except graphlib.CycleError as circle:
            pytest.fail(f"in {folder or 'the project'}: {' -> '.join(circle.args[1])}")


@pytest.mark.parametrize(("pure", "own_room"), [("ml_engine.core", "ml_engine"), ("portal.imaging", "portal")])
def test_pure_packages_import_nothing_of_their_room(pure: str, own_room: str) -> None:
    import grimp

    graph = grimp.build_graph(own_room, cache_dir=None)
    outside = {
        f"{module} imports {imported}"
        for module in graph.modules
        if module == pure or module.startswith(f"{pure}.")
        for imported in graph.find_modules_directly_imported_by(module)
        if imported != pure and not imported.startswith(f"{pure}.")
    }
    assert not outside


@pytest.mark.parametrize(
    "statement",
    [
        "import pkgutil, importlib, portal.imaging as package",
        "import pkgutil, importlib, ml_engine.core as package",
        "import pkgutil, importlib, ml_engine.command as package",
        "import analysis.statistics, analysis.figures, ml_engine as package",
    ],
)
@pytest.mark.slow
def test_pure_modules_load_where_django_cannot(statement: str) -> None:
    """Import every module of the package while `import django` and `import celery` raise."""
    walk = "[importlib.import_module(m.name) for m in pkgutil.walk_packages(package.__path__, package.__name__ + '.')]"
    everything = f"; {walk}" if "pkgutil" in statement else ""
    run(sys.executable, "-c", f"{without_django()}; {statement}{everything}")


def test_the_command_line_works_where_django_cannot() -> None:
    output = run(
        sys.executable, "-c", f"{without_django()}; sys.argv = ['ml_engine', '--help']; "
        "import runpy; runpy.run_module('ml_engine', run_name='__main__', alter_sys=True)"
    )  # fmt: skip
    assert "usage" in output.lower()


@pytest.mark.slow
def test_the_web_and_its_workers_load_only_what_each_request_needs(tmp_path: Path) -> None:
    """Only the engine loads torch: it takes 3 s and 300 MB per process, and CUDA does not work after a fork. What one
    page or one kind of import needs is loaded there: together it takes as long as everything else."""
    load = "import django; django.setup(); import portal.celery, portal.urls, ml_engine.tasks"
    later = {*("torch", "torchvision", "faiss", "matplotlib", "highdicom", "openpyxl"), "scipy.stats", "scipy.ndimage"}
    look = f"import sys; assert not {later} & set(sys.modules), {later} & set(sys.modules)"
    environment = {"DJANGO_SETTINGS_MODULE": "portal.settings", "HILUM_DATA_DIR": str(tmp_path)}
    run(sys.executable, "-c", f"{load}; {look}", **environment)


def without_django() -> str:
    blocked = ("django", "rest_framework", "celery", "kombu", "psycopg", "redis")
    return f"import sys; sys.modules.update(dict.fromkeys({blocked!r}))"


# --- linters and Django's own checks --------------------------------------------------------------


def test_ruff_passes() -> None:
    run(program("ruff"), "check", "--no-cache", ".")


def test_templates_are_formatted() -> None:
    """djade formats the template tags, djhtml the indentation; neither changes the rendered page."""
    run(program("djade"), "--check", *map(str, TEMPLATES))
    run(program("djhtml"), "--tabwidth", "2", "--check", *map(str, TEMPLATES))


def test_pages_show_every_moment_in_the_time_of_their_reader() -> None:
    """The server formats in UTC. The script of the pages rewrites what stands in a `time`, or at the beginning of a
    choice with a `data-moment`; any other moment would stand in another zone than its neighbours."""
    of_days = {"dataset.expires_on"}  # a day without a time
    formatted = re.compile(r"""{{\s*([\w.]+)\|date:["']Y""")
    moved = re.compile(r"""<time [^>]*>\s*$|<option [^>]*data-moment="{{[^}]*}}"[^>]*>\s*$""")
    fixed, shown = [], 0
    for path in TEMPLATES:
        text = path.read_text(encoding="utf-8")
        for found in formatted.finditer(text):
            shown += 1
            if found.group(1) not in of_days and not moved.search(text[: found.start()]):
                fixed.append(f"{path.relative_to(ROOT)}: {found.group(1)}")
    assert shown > 50
    assert not fixed, "\n".join(fixed)


def test_no_line_of_a_template_is_longer_than_160_characters() -> None:
    assert TEMPLATES
    long = [
        f"{path.relative_to(ROOT)}:{number} has {len(line)} characters"
        for path in TEMPLATES
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if len(line) > 160
    ]
    assert not long, "\n".join(long)


@pytest.mark.slow
def test_mypy_passes() -> None:
    run(program("mypy"))


@pytest.mark.slow
def test_the_checks_for_deployment_are_clean_once_static_files_are_collected(tmp_path: Path) -> None:
    """The production storage resolves every reference inside the CSS and JavaScript."""
    environment = {**PRODUCTION, "HILUM_DATA_DIR": str(tmp_path)}
    before = subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy"],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert f"Static files that are not in {tmp_path / 'static'}: " in before.stderr
    assert before.stderr.count("WARNINGS") == before.stderr.count("hilum.W003") == 1
    run(sys.executable, "manage.py", "collectstatic", "--noinput", "--verbosity", "0", **environment)
    assert list(tmp_path.rglob("staticfiles.json"))
    run(sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING", **environment)


@pytest.mark.parametrize("missing", sorted(set(PRODUCTION) - {"HILUM_ENV"}))
def test_production_refuses_to_start_without(missing: str, tmp_path: Path) -> None:
    environment = {**os.environ, **PRODUCTION, "HILUM_DATA_DIR": str(tmp_path)}
    del environment[missing]
    done = subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy"], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode != 0
    assert missing in done.stderr


@pytest.mark.django_db
def test_migrations_are_complete() -> None:
    from django.core.management import call_command

    call_command("makemigrations", "--check", "--dry-run", "--verbosity", "1")


# --- calls that load or run code of others -------------------------------------------------------

WEIGHTS = Path("ml_engine/core/backbone/weight_conversion.py")  # the only place that loads published .pth files


def dangers(tree: ast.AST, path: Path) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        else:
            names = []
        for name in names:
            if name.partition(".")[0] in {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}:
                yield f"{path}:{node.lineno} imports {name}"
        if isinstance(node, ast.Call):
            yield from (f"{path}:{node.lineno} {danger}" for danger in dangerous_call(node, path))


def dangerous_call(call: ast.Call, path: Path) -> Iterator[str]:
    name = ast.unparse(call.func)
    words = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords if keyword.arg}
    if name in {"eval", "exec", "os.system", "os.popen"}:
        yield f"calls {name}"
    if name in {"yaml.load", "yaml.unsafe_load", "yaml.full_load", "jsonpickle.decode"}:
        yield f"calls {name}"
    if name.endswith("torch.load") and (path != WEIGHTS or words.get("weights_only") != "True"):
        yield "calls torch.load"
    if name.endswith(("torch.save", "load_state_dict_from_url")):
        yield f"calls {name}"
    if name in {"np.load", "numpy.load"} and words.get("allow_pickle", "") != "False":
        yield "calls np.load without allow_pickle=False"
    if words.get("allow_pickle") == "True":
        yield "allows pickle"
    if words.get("shell") not in (None, "False"):
        yield "uses a shell"


@pytest.mark.slow
def test_nothing_loads_code_or_uses_a_shell() -> None:
    calls = [
        danger
        for path in python_files(*ROOMS, "tools", "benchmarks")
        for danger in dangers(ast.parse(path.read_text(encoding="utf-8")), path.relative_to(ROOT))
    ]
    assert not calls, "\n".join(calls)


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from pickle import loads",
        "torch.load(path)",
        "torch.load(path, weights_only=True)",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "yaml.load(text)",
        "subprocess.run('ls', shell=True)",
        "eval(text)",
    ],
)
def test_the_search_for_dangerous_calls_finds(code: str) -> None:
    assert list(dangers(ast.parse(code), Path("portal/anything.py")))


def test_weights_may_be_loaded_as_tensors_only() -> None:
    assert not list(dangers(ast.parse("torch.load(path, weights_only=True)"), WEIGHTS))
    assert list(dangers(ast.parse("torch.load(path, weights_only=False)"), WEIGHTS))


# --- arguments by name ----------------------------------------------------------------------------

MOST_BY_POSITION = 5
ANY_NUMBER = {"only", "select_related", "through", "_torchvision"}  # of one thing: fields, points, architectures


def long_argument_lists(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and len(node.args) > MOST_BY_POSITION:
            name = ast.unparse(node.func).rpartition(".")[2]
            if name not in ANY_NUMBER:
                yield f"{node.lineno}: {name} is called with {len(node.args)} arguments by position"
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            count = len(node.args.posonlyargs) + len(node.args.args)
            if count > MOST_BY_POSITION:
                yield f"{node.lineno}: {getattr(node, 'name', 'a lambda')} takes {count} arguments by position"


@pytest.mark.slow
def test_from_the_sixth_argument_on_each_has_its_name() -> None:
    too_long = [
        f"{path.relative_to(ROOT)}:{words}"
        for path in python_files(*ROOMS)
        for words in long_argument_lists(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert not too_long, "\n".join(too_long)


@pytest.mark.parametrize(
    ("code", "count"),
    [
        ("f(1, 2, 3, 4, 5, 6)", 1),
        ("a.b().f(*x, 2, 3, 4, 5, 6)", 1),
        ("f(1, 2, 3, 4, 5, six=6)", 0),
        ("films.only('a', 'b', 'c', 'd', 'e', 'f')", 0),
        ("def f(a, b, c, d, e, g=1): pass", 1),
        ("def f(a, b, c, d, e, *, g): pass", 0),
        ("lambda a, b, c, d, e, g: 0", 1),
    ],
)
def test_the_search_for_long_argument_lists_finds(code: str, count: int) -> None:
    assert len(list(long_argument_lists(ast.parse(code)))) == count


# --- what the browser gets ------------------------------------------------------------------------


def test_pages_load_nothing_from_elsewhere() -> None:
    """No URL of another server where a browser would fetch it: src, href of <link>, url(), import."""
    fetches = re.compile(
        r"""(?:\bsrc|srcset|<link[^>]*\bhref|\baction|hx-(?:get|post|put|delete))\s*=\s*["']\s*(?:https?:)?//"""
        r"""|url\(\s*["']?\s*(?:https?:)?//|\bimport\b[^;\n]*["'](?:https?:)?//|(?:fetch|Worker)\(\s*["'`](?:https?:)?//""",
        re.IGNORECASE,
    )
    assets = [
        p for p in (ROOT / "static").rglob("*") if p.suffix in {".js", ".css", ".svg"} and "vendor" not in p.parts
    ]
    assert TEMPLATES
    urls = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in TEMPLATES + assets
        for match in fetches.finditer(path.read_text(encoding="utf-8"))
    ]
    assert not urls, "\n".join(urls)


# --- packaging ------------------------------------------------------------------------------------


def test_the_compose_file_is_valid() -> None:
    run(program("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", "docker-compose.yml")


def test_the_image_recipe_is_clean() -> None:
    hadolint = Path(program("hadolint"))
    if not hadolint.exists():
        pytest.skip("hadolint has no build for this system")
    run(str(hadolint), "--config", ".hadolint.yaml", "Dockerfile")


def test_compose_builds_stages_that_exist_and_names_settings_that_are_read() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    stages = set(re.findall(r"^FROM .* AS (\S+)$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE))
    targets = {service["build"]["target"] for service in compose["services"].values() if "build" in service}
    assert targets
    assert targets <= stages
    code = "".join(path.read_text(encoding="utf-8") for path in python_files(*ROOMS))
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    named = set(re.findall(r"\bHILUM_[A-Z_]+\b", example + json.dumps(compose)))
    unknown = {name for name in named - {"HILUM_PORT"} if name not in code}
    assert not unknown, f"nothing reads {', '.join(sorted(unknown))}"


def test_compose_passes_on_every_setting_of_the_docs() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\| `(\w+)`", page, re.MULTILINE))
    fixed = {"HILUM_ENV", "HILUM_DATA_DIR"}  # by the image
    not_for_production = {"HILUM_DEBUG", "HILUM_RUN_WORKERS", "HILUM_TEST_DATABASE_URL"}
    assert named - fixed - not_for_production == set(compose["x-hilum"]["environment"])
    read = "".join(
        (ROOT / "portal" / name).read_text(encoding="utf-8")
        for name in ("settings.py", "project/environment.py", "project/saml_provider.py")
    )
    assert set(re.findall(r'"(HILUM_[A-Z_]+)"', read)) - {"HILUM_DATA_DIR"} == {
        name for name in named if name.startswith("HILUM_")
    } - {"HILUM_TEST_DATABASE_URL", "HILUM_DATA_DIR"}


def test_under_each_profile_of_compose_one_worker_takes_one_run_at_a_time() -> None:
    """Two runs at once would compete for the GPU's memory or the processor's cores."""
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    workers = {}
    for name, service in compose["services"].items():
        command = service.get("command", [])
        if "-Q" in command:
            options = dict(itertools.pairwise(command))
            workers[name] = (options["-Q"], options["-c"], service.get("profiles"))
    assert {name: worker for name, worker in workers.items() if "gpu" in worker[0].split(",")} == {
        "worker-runs": ("gpu", "1", ["cpu"]),
        "worker-gpu": ("gpu", "1", ["gpu"]),
    }
    (gpus,) = compose["services"]["worker-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert gpus["count"] == "all"  # with `count: 1` each of several workers would see the first one
    assert workers["worker"] == ("cpu", "3", None)
    assert workers["beat"] == ("upkeep", "1", None)
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    assert re.findall(r"^COMPOSE_PROFILES=(.*)$", example, re.MULTILINE) == ["cpu,tls"]


def test_every_container_has_limits_a_health_check_and_a_root_that_is_read_only() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    for name, service in compose["services"].items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["logging"]["driver"] == "json-file", name
        assert set(service["logging"]["options"]) == {"max-size", "max-file"}, name
        assert service["mem_limit"], name
        assert service["pids_limit"] > 0, name
        assert name == "migrate" or "healthcheck" in service, name  # which ends by itself
    users = re.findall(r"^USER (\S+)$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    assert users == ["10001:10001", "10001:10001"]
    assert compose["services"]["proxy"]["user"] == "10001:10001"  # to whom the films belong, whose mode is 0600


def test_what_compose_asks_of_the_environment_is_in_the_example_or_the_docs() -> None:
    compose = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    settings = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    asked = set(re.findall(r"\$\{(\w+)", compose))
    assert asked - set(re.findall(r"\b[A-Z_]+\b", example)) == {
        name for name in asked if f"`{name}`" in settings and name not in example
    }


def test_the_image_for_processors_takes_torch_without_cuda() -> None:
    recipe = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    cpu, gpu = (recipe.partition(f"AS packages-{kind}\n")[2].partition("\nFROM")[0] for kind in ("cpu", "gpu"))
    assert "TORCH_INDEX=https://download.pytorch.org/whl/cpu" in cpu
    assert "TORCH_INDEX" not in gpu
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    (pattern,) = re.findall(r"grep -E '([^']+)' constraints.txt", cpu)
    assert len(re.findall(pattern, constraints, re.MULTILINE)) == 2


def test_dependencies_are_listed_once_and_have_an_upper_bound() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = {name: lines for name, lines in project["optional-dependencies"].items() if name != "test"}
    for lines in [project["dependencies"], *extras.values()]:
        requirements = [Requirement(line) for line in lines]
        names = [canonicalize_name(requirement.name) for requirement in requirements]
        assert [name for name in names if names.count(name) > 1] == []
        bounded = [{"<", "=="} & {part.operator for part in requirement.specifier} for requirement in requirements]
        assert [name for name, bound in zip(names, bounded, strict=True) if not bound] == []


def test_every_requirement_allows_the_version_that_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = {canonicalize_name(name): pin for name, equals, pin in (line.partition("==") for line in lines) if equals}
    extras = [lines for name, lines in project["optional-dependencies"].items() if name != "bench"]  # not the product's
    requirements = [*project["dependencies"], *itertools.chain(*extras)]
    refused = [
        line for line in map(Requirement, requirements) if pins[canonicalize_name(line.name)] not in line.specifier
    ]
    assert refused == []


def test_pinned_versions_have_no_urls() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert pins
    assert [line for line in pins if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!]+", line)] == []


def test_this_environment_has_the_pinned_versions() -> None:
    from importlib.metadata import PackageNotFoundError, version

    different = []
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        name, _, pinned = line.partition("==")
        if pinned:
            try:
                installed = version(name).partition("+")[0]
            except PackageNotFoundError:  # an extra, or another platform's
                continue
            if installed != pinned:
                different.append(f"{name} {installed}, pinned {pinned}")
    assert not different


# --- names ------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_no_two_classes_share_a_name() -> None:
    """Two things with the same name are hard to search for and to talk about."""
    places: dict[str, list[str]] = {}
    for path in python_files(*ROOMS, "tools"):
        if "migrations" not in path.parts:
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.ClassDef) and node.name != "Command":  # the name that Django requires
                    places.setdefault(node.name, []).append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert not {name: where for name, where in places.items() if len(where) > 1}


VAGUE = {"found", "told", "said"}  # names of what somebody did, not of what the variable holds


@pytest.mark.slow
def test_locals_are_named_after_what_they_hold() -> None:
    vague = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.id}"
        for path in python_files(*ROOMS, "tools")
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id in VAGUE
    ]
    assert not vague

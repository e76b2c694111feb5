"""Which package imports which, and what an import does."""

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# What each package may import of ours, itself aside: a package, or a single module of one.
MAY_IMPORT = {
    "world_model": set(),
    "irasim_env": {"world_model"},
    "training": {"world_model", "benchmarks.metrics"},
    "policies": {
        "irasim_env",
        "world_model",
        "benchmarks.metrics",
    },
    "benchmarks": {"irasim_env", "world_model", "training", "policies"},
}
OURS = {*MAY_IMPORT, "examples", "tests"}
NOT_IN_WORLD_MODEL = {"gymnasium", "accelerate", "pygame"}
# What examples may use besides the packages' `__all__`: modules that docs/api.md documents.
DOCUMENTED = {
    "benchmarks.policy_evaluation",
    "benchmarks.report",
    "irasim_env.ground_truth",
    "irasim_env.gymnasium_play",
    "policies.actors",
    "policies.planning",
    "policies.pusht",
    "policies.tabletop",
    "policies.vec_env",
    "world_model.video",
}


def sources(package: str) -> list[Path]:
    """A package's Python files."""
    return sorted((ROOT / package).rglob("*.py"))


def imports(path: Path) -> Iterator[tuple[str, str | None]]:
    """Each (module, name) that a file imports, those inside of functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative imports hide their direction"
            yield from ((str(node.module), alias.name) for alias in node.names)


def target(module: str, name: str | None) -> str:
    """The module that an import means: `from benchmarks import metrics` is benchmarks.metrics."""
    is_module = name and (ROOT / module.replace(".", "/") / f"{name}.py").is_file()
    return f"{module}.{name}" if is_module else module


def public_names(package: str) -> set[str]:
    """`__all__` of a package, empty if it has none."""
    for node in ast.parse((ROOT / package / "__init__.py").read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return set(ast.literal_eval(node.value))
    return set()


def test_every_package_has_its_rule():
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages - {"tests", "examples"} == set(MAY_IMPORT)


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_packages_import_in_one_direction(package):
    allowed = MAY_IMPORT[package] | {package}
    assert sources(package)
    for path in sources(package):
        for module, name in imports(path):
            meant = target(module, name)
            if meant.partition(".")[0] in OURS:
                fits = any(meant == one or meant.startswith(f"{one}.") for one in allowed)
                assert fits, f"{path}: imports {meant}, {package} may import {sorted(allowed)}"


def test_the_docs_tell_what_packages_import():
    text = (ROOT / "docs/api.md").read_text()
    told = dict(re.findall(r"^\| `(\w+)/` \|.*\| ([^|]+) \|$", text, flags=re.MULTILINE))
    for package, allowed in MAY_IMPORT.items():
        words = {"world_model": "nothing", "benchmarks": "all four"}
        names = words.get(package) or ", ".join(f"`{name}`" for name in sorted(allowed))
        assert sorted(told[package].split(", ")) == sorted(names.split(", ")), package


def test_world_model_knows_no_environment_launcher_or_window():
    for path in sources("world_model"):
        foreign = {module.partition(".")[0] for module, _ in imports(path)} & NOT_IN_WORLD_MODEL
        assert not foreign, f"{path}: imports {foreign}"


def test_metrics_import_nothing_of_ours_but_each_other():
    assert sources("benchmarks/metrics")
    for path in sources("benchmarks/metrics"):
        ours = {name for name, _ in imports(path) if name.partition(".")[0] in OURS}
        assert all(name.startswith("benchmarks.metrics") for name in ours), f"{path}: {ours}"


def module_name(path: Path) -> str:
    """A file's import path."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


def import_graph() -> dict[str, set[str]]:
    """Which modules of ours each imports, those for types only and inside of functions too.

    A package's `__init__` hands names on, so what it imports is left out.
    """
    files = {module_name(path): path for package in MAY_IMPORT for path in sources(package)}
    graph = {}
    for name, path in files.items():
        found = set() if path.name == "__init__.py" else {target(*one) for one in imports(path)}
        graph[name] = (found & set(files)) - {name}
    return graph


def test_imports_run_in_no_circle():
    left = import_graph()
    while free := {name for name, found in left.items() if not found & set(left)}:
        left = {name: found for name, found in left.items() if name not in free}
    # What is left is in a circle, or imports what is.
    assert not {name: sorted(found & set(left)) for name, found in left.items()}


def test_no_file_holds_more_than_one_concept():
    for package in MAY_IMPORT:
        for path in sources(package):
            count = len(path.read_text().splitlines())
            assert count <= 400, f"{path} has {count} lines: look for the second concept in it"


def test_no_folder_holds_more_than_a_reader_takes_in():
    folders = {path.parent for package in MAY_IMPORT for path in sources(package)}
    for folder in folders:
        count = len(list(folder.glob("*.py")))
        assert count <= 24, f"{folder} has {count} files: look for the folders in it"


# Tasks that ship, by the names of their folders in policies/ and benchmarks/; each in any spelling.
SPELLINGS = {"pusht": r"push[-_ ]?t\b|pusht", "tabletop": r"table[-_ ]?top"}
# What outside of its folders may name a task: the world that is the default, a name that users
# type.
MAY_NAME_IT = {
    "world_model/config.py": 'DEFAULT_WORLD = "pusht"',
    # Comments of the streaming engine that say what a figure was measured on.
    "world_model/streaming/conditioning.py": "as Push-T's",
    "world_model/streaming/states/estimator.py": "(docs/pusht.md)",
}


def test_every_task_has_its_spelling():
    assert {path.parent.name for path in (ROOT / "policies").glob("*/task.py")} == set(SPELLINGS)


@pytest.mark.parametrize("task", SPELLINGS)
def test_no_module_names_a_task_outside_of_its_folder(task):
    spelling = re.compile(SPELLINGS[task], flags=re.IGNORECASE)
    own = (f"policies/{task}/", f"policies/{task}_family.py", f"benchmarks/{task}/")
    own += ("benchmarks/experiments/",)  # one-off studies, which measured what there was
    found = []
    for path in (path for package in MAY_IMPORT for path in sources(package)):
        name = path.relative_to(ROOT).as_posix()
        if name.startswith(own):
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            rest = line.replace("IRASim/PushT-v0", "").replace(MAY_NAME_IT.get(name, "\n"), "")
            if spelling.search(rest):
                found.append(f"{name}:{number}: {line.strip()}")
    assert not found, "ask world_model.tasks instead:\n" + "\n".join(found)


def test_the_task_that_ships_is_an_entry_point_of_what_is_installed():
    """An install that is older than the code has none: pip install -e . again."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = project["entry-points"]["irasim.tasks"]
    installed = {one.name: one.value for one in entry_points(group="irasim.tasks")}
    assert declared.items() <= installed.items(), "the install is older than pyproject.toml"


def test_nobody_imports_examples_or_tests():
    for package in OURS:
        for path in sources(package):
            for module, _ in imports(path):
                top = module.partition(".")[0]
                assert top != "examples", f"{path}: imports {module}"
                assert top != "tests" or package == "tests", f"{path}: imports {module}"


def test_public_modules_and_names_are_in_the_docs():
    text = (ROOT / "docs/api.md").read_text()
    assert all(f"`{module}`" in text for module in DOCUMENTED)
    listed = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", text, flags=re.MULTILINE))
    for package in MAY_IMPORT:
        assert set(re.findall(r"`(\w+)`", listed[package])) == public_names(package), package


def test_examples_use_public_names_only():
    assert sources("examples")
    for path in sources("examples"):
        for module, name in imports(path):
            if module.partition(".")[0] not in OURS:
                continue
            assert module in DOCUMENTED or "." not in module, f"{path}: {module} is not public"
            if name is None:
                continue
            public = not name.startswith("_") if module in DOCUMENTED else None
            assert public or name in public_names(module), f"{path}: {module}.{name} is not public"


# Imports everything that ours is made of, then everything of ours, and tells what has changed.
IMPORT_ALL = """
import importlib, json, os, sys
os.environ["PYGAME_HIDE_SUPPORT_PROMPT"] = "1"
theirs, ours = json.loads(sys.argv[1])
for name in theirs:
    importlib.import_module(name)
import numpy, torch

def settings():
    return {
        "environment": sorted(os.environ.items()),
        "torch seed": torch.initial_seed(),
        "torch random numbers": hash(bytes(torch.get_rng_state())),
        "numpy random numbers": str(numpy.random.get_state()),
        "threads": torch.get_num_threads(),
        "float type": str(torch.get_default_dtype()),
        "gradients": torch.is_grad_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "matrix products": torch.get_float32_matmul_precision(),
        "directory": os.getcwd(),
        "files": sorted(os.listdir()),
    }

before = settings()
for name in ours:
    importlib.import_module(name)
after = settings()
print(json.dumps([name for name in before if before[name] != after[name]]))
"""


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_public_names_are_no_modules(package):
    """A module of the same name takes the name's place as soon as it is loaded."""
    modules = {path.stem for path in (ROOT / package).glob("*.py")}
    assert not public_names(package) & modules


@pytest.mark.parametrize(
    "first", ["", "import training.data.irasim.arm; ", "from training import Episode; "]
)
def test_arm_actions_is_the_function(first):
    code = (
        f"{first}from training import arm_actions; print(len(arm_actions([[0] * 6] * 3, [0] * 3)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "2", done.stderr


@pytest.mark.slow_suite
def test_imports_have_no_side_effects(tmp_path):
    ours = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for package in MAY_IMPORT
        for path in sources(package)
    ]
    theirs = ["accelerate", "av", "cv2", "diffusers", "gym_pusht", "gymnasium", "pygame", "tyro"]
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, json.dumps([theirs, ours])],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.returncode, done.stderr
    assert done.stdout.strip() == "[]"


def test_registering_the_ids_loads_no_torch():
    code = "import sys, irasim_env; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.xdist_group("together")
def test_groups_of_tests_stay_in_one_process(request):
    """pytest-xdist writes a test's group into its id, which pytest 9.2 does not let it do."""
    if not getattr(request.config.option, "loadgroup", False):
        pytest.skip("needs `pytest -n 2 --dist loadgroup`, as in `make test`")
    assert request.node.nodeid.endswith("@together")

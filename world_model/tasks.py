"""Tasks by name: all that the other packages need to know about one task, as data.

A task is one folder and one entry point. The folder holds whatever knows the task; a `Task` names
its parts by import strings, so that nothing of it loads before it is needed; and a package
registers it in the entry-point group `irasim.tasks` of its pyproject.toml:

    [project.entry-points."irasim.tasks"]
    mine = "my_package.task:TASK"

Environments, training and benchmarks ask for a task by name, or by the environment that a world was
learned from. docs/tasks.md explains how to add one.
"""

import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from world_model.config import KeysConfig, WorldConfig
from world_model.config_fields import check_counts, check_positive
from world_model.lazy_names import load
from world_model.renamed import renamed, renamed_fields

GROUP = "irasim.tasks"
# Fields that are import strings, "module:name".
PARTS = (
    "simulator",
    "recorder",
    "warm_up",
    "rest_action",
    "success_detector",
    "measure",
    "scores",
    "proposals",
)
PARTS += ("outcome", "rl_wrapper", "rl_starts")


@renamed(judge="success_detector", plane="frame_edges", reach="mask_radii")
@dataclass(frozen=True, kw_only=True)
class Task:
    """One task: its environment, what lies in its pictures, who acts in it and what detects
    success.

    All but the name and the environment may be left out; what needs a part that is missing says so.
    """

    name: str
    """The same as that of its entry point."""
    env_id: str
    """Ground truth as `gymnasium.make` takes it; "module:id" imports the module that registers
    it."""
    simulator: str | None = None
    """The environment's class or function, where the task brings it itself: `import irasim_env`
    registers it under `env_id`, with the time limit, and it loads when it is made."""
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of the environment when episodes are recorded."""
    undrawn_kwargs: Mapping[str, Any] = field(default_factory=dict)
    """What to change in them where no frame is needed, so that it steps without drawing."""
    world_id: str | None = None
    """Id of the environment that is the world learned of it, where one comes with the package: a
    directory of the task's name in world_model/worlds."""
    extra: str | None = None
    """What `pip install` installs the environment by, as in "my-package[simulator]"."""
    packages: tuple[str, ...] = ()
    """Distributions whose versions a report notes, as results depend on them."""
    max_episode_steps: int | None = None
    """The time limit."""
    success_on_termination: bool = False
    """An episode that ends before the time limit is a success."""
    description: str | None = None
    """What is to be done, in words, for policies that read them."""
    success: str | None = None
    """When the environment ends an episode as a success, in words for reports."""
    outcome: str | None = None
    """Function of a step's `info` that gives how far the goal is reached: numbers by name."""

    action_names: tuple[str, ...] = ()
    """Names of the action's components."""
    keys: KeysConfig = field(default_factory=KeysConfig)
    """How a keyboard drives them."""
    points: tuple[str, ...] = ()
    """Observations that are places (x, y) in the picture, the robot's own first; and the word
    action if the action is one."""
    hidden: tuple[str, ...] = ()
    """States that no observation shows, to be recorded from the environment's `info`."""
    poses: tuple[str, ...] = ()
    """Those of them that are x, y and an angle of a body in the picture's plane."""
    frame_edges: tuple[float, float, float, float] | None = None
    """Left, top, right and bottom of the picture in the units of `points`."""
    mask_radii: tuple[float, ...] = ()
    """How far around each of `points` that is an observation, then around each of `poses` while it
    moves, the picture may change, in their units."""

    recorder: str = "training.data.record:RandomActions"
    """Factory (env, seed) of the policy that records episodes of train, val and test."""
    warm_up: str | None = None
    """Factory (env, seed) of a policy that does as little as possible; it records fresh starts."""
    rest_action: str | None = None
    """Function (env) of a simulator that was just reset, which gives the action (A,) that leaves
    its robot where it is; planners search around it."""
    family: str | None = None
    """Module with FAMILY, a tuple of names of policy factories in it, from hopeless to good."""
    success_detector: str | None = None
    """Factory of what detects success from frames alone, as `--success-detector` takes it."""
    measure: str | None = None
    """Function of frames, uint8 (N, H, W, 3), that reads what they show: a dict of float (N, k) by
    name, NaN where a frame does not show it."""
    place_reading: str | None = None
    """That one of them which is the robot's place, in pixels."""
    scores: str | None = None
    """A subclass of `benchmarks.prediction.readings.Readings`, if distances between readings are
    not what this task is to be scored by."""
    proposals: str | None = None
    """Factory (envs=[env]) of what proposes plans from a simulator's state
    (`policies.planning.best_of.Propose`), with their `horizon`."""
    rl_wrapper: str | None = None
    """Factory (envs, reach) of a `VecEnvWrapper` that makes the task's environments learnable:
    vectors of few numbers, and actions in [-1, 1]."""
    rl_reach: float = 1.0
    """What `--reach` is by default, in the action's units."""
    rl_starts: str | None = None
    """Function (config, count, *, seed, title) that records `Starts` to learn from."""
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Training presets by name: what each sets beside what is above, by the names of options of
    `irasim train`."""
    gpu_presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The same of runs by the clock on a GPU, which take no hidden states."""
    benchmarks: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Further parts of `irasim bench` by name: the module of the command, and a line for --help."""

    def __post_init__(self) -> None:
        for part in PARTS:
            path = getattr(self, part)
            if path is not None and not all(path.partition(":")):
                raise ValueError(f"task {self.name!r}: {part} is {path!r}, expected module:name")
        if self.max_episode_steps is not None:
            check_counts(self, "max_episode_steps")
        check_positive("rl_reach", self.rl_reach)
        if self.place_reading is not None and self.measure is None:
            raise ValueError(
                f"task {self.name!r}: place_reading is {self.place_reading!r}, but there is no "
                "measure that reads it"
            )
        if unknown := set(self.poses) - set(self.hidden):
            raise ValueError(
                f"task {self.name!r}: poses {', '.join(sorted(unknown))} are not among hidden"
            )

    @property
    def place(self) -> str | None:
        """The observation that is the robot's place."""
        return next((name for name in self.points if name != "action"), None)

    @property
    def bare_id(self) -> str:
        """The environment's id without the module that registers it."""
        return self.env_id.rpartition(":")[2]

    def load(self, part: str) -> Any:
        """What a part's import string names.

        Raises:
            ValueError: the task has no such part, or it cannot be imported.
        """
        part = renamed_fields(Task).get(part, part)
        path = getattr(self, part)
        if path is None:
            raise ValueError(
                f"task {self.name!r} has no {part}, which is needed here; add it to its Task "
                "(docs/tasks.md), or do without"
            )
        try:
            return load(path)
        except (ImportError, AttributeError) as error:
            cure = (
                f"; if its simulator is missing: pip install '{self.extra}'" if self.extra else ""
            )
            raise ValueError(
                f"{part} of task {self.name!r}, {path}, cannot be imported ({error}){cure}"
            ) from error


def task_names() -> list[str]:
    """Names of the tasks that are installed."""
    return sorted({entry_point.name for entry_point in _entry_points()})


def load_task(name: str) -> Task:
    """A task by name.

    Raises:
        ValueError: no installed package brings it, several do, or it cannot be loaded.
    """
    found = [entry_point for entry_point in _entry_points() if entry_point.name == name]
    if not found:
        raise ValueError(
            f"no task {name!r} is installed; expected one of {', '.join(task_names()) or 'none'}. "
            f"A package brings one by the entry-point group {GROUP} (docs/tasks.md); install it "
            "again if that was added since"
        )
    if len(found) > 1:
        raise ValueError(
            f"task {name!r} is brought by {' and '.join(map(_origin, found))}; uninstall all but "
            "one"
        )
    return _load(found[0])


def all_tasks() -> list[Task]:
    """All tasks that can be loaded; a warning names those that cannot."""
    tasks, broken = _load_all()
    _warn_of(broken)
    return tasks


def find_task(env_id: str) -> Task | None:
    """The task of an environment, None where there is none.

    If none is found but some installed task cannot be loaded, a warning says so.

    Raises:
        ValueError: several tasks are of this environment.
    """
    tasks, broken = _load_all()
    bare = env_id.rpartition(":")[2]
    found = [task for task in tasks if task.bare_id == bare]
    if len(found) > 1:
        names = " and ".join(task.name for task in found)
        raise ValueError(
            f"{env_id} is the environment of the tasks {names}; uninstall the packages of all but "
            "one"
        )
    if not found:
        _warn_of(broken)
    return found[0] if found else None


def task_of(config: WorldConfig) -> Task | None:
    """The task of the environment that a world was learned from, None where there is none."""
    return None if config.ground_truth is None else find_task(config.ground_truth.env_id)


def need_task(config: WorldConfig, purpose: str) -> Task:
    """The task of a world, for something that cannot do without.

    Args:
        config: The world's.
        purpose: What needs it, as the subject of a sentence.

    Raises:
        ValueError: the world has none.
    """
    task = task_of(config)
    if task is None:
        truth = config.ground_truth
        source = "names no ground truth" if truth is None else f"was learned from {truth.env_id}"
        raise ValueError(
            f"{purpose} needs a task, and world {config.name!r} {source}, of which no installed "
            f"package brings one (there are {', '.join(task_names()) or 'none'}; docs/tasks.md "
            "explains how to add one)"
        )
    return task


def task_packages() -> list[str]:
    """Distributions that results of any installed task may depend on."""
    return sorted({package for task in all_tasks() for package in task.packages})


def _entry_points() -> tuple[EntryPoint, ...]:
    return _entry_points_on(tuple(sys.path))


@lru_cache(maxsize=4)
def _entry_points_on(path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    """Those of our group, looked up once for each search path."""
    found = tuple(entry_points(group=GROUP))
    if not found:
        warnings.warn(
            "no task is installed, not even those that come with irasim-env: it was installed "
            "before it had any, or not at all; run pip install -e . (or make) where the code is",
            stacklevel=4,
        )
    return found


def _load(entry_point: EntryPoint) -> Task:
    """The task that an entry point names."""
    try:
        task = entry_point.load()
    except Exception as error:  # another package's code, which may fail in any way
        raise ValueError(
            f"task {entry_point.name!r} of {_origin(entry_point)} cannot be loaded "
            f"({type(error).__name__}: {error}); repair that package, or uninstall it"
        ) from error
    if not isinstance(task, Task) or task.name != entry_point.name:
        named = f"a Task named {task.name!r}" if isinstance(task, Task) else f"{task!r}"
        raise ValueError(
            f"task {entry_point.name!r} of {_origin(entry_point)}: {entry_point.value} is {named}, "
            f"expected a world_model.tasks.Task named {entry_point.name!r}; repair that package, "
            "or uninstall it"
        )
    return task


def _load_all() -> tuple[list[Task], list[ValueError]]:
    """Tasks that load, by name, and the errors of those that do not."""
    tasks, broken = [], []
    for entry_point in sorted(_entry_points(), key=lambda one: one.name):
        try:
            tasks.append(_load(entry_point))
        except ValueError as error:
            broken.append(error)
    return tasks, broken


def _warn_of(broken: list[ValueError]) -> None:
    for error in broken:
        warnings.warn(str(error), stacklevel=3)


def _origin(entry_point: EntryPoint) -> str:
    """The package that an entry point comes with, and where it leads."""
    package = "an unknown package" if entry_point.dist is None else entry_point.dist.name
    return f"{package} ({entry_point.value})"

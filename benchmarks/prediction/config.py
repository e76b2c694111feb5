"""Options of the benchmarks of predictions. Free of torch, so that --help is quick."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from world_model.config_fields import check_least

WARM_UP = 100  # steps of a long episode after which memory must not grow


@dataclass(frozen=True, kw_only=True)
class HeldOutConfig:
    """What is common to measuring a world on episodes that it was not trained on."""

    data: Path
    """Directory of recorded episodes, as written by `irasim collect`."""
    out: Path
    """Directory for the report."""
    split: Literal["train", "val", "test"] | None = "test"
    """Split to measure on; test was never trained on."""
    episodes: int | None = 60
    """Number of episodes; half of them are by the expert, if there is one."""
    context: int | None = 4
    """Number of frames given to the world."""
    batch: int
    """Episodes predicted at a time."""
    seed: int = 0
    """Seed of the world's noise and of the intervals."""
    device: str | None = None
    """cpu or cuda (default: the GPU, if there is one)."""

    def __post_init__(self) -> None:
        check_least(self, episodes=1, context=1, batch=1)


@dataclass(frozen=True, kw_only=True)
class QualityConfig(HeldOutConfig):
    """Measure a world's predictions on held-out episodes. The world is given their first frames
    and, as in its environment, the low-dimensional observations that belong to them."""

    world: str
    """World to measure: a shipped name, a directory, or a Hub id."""
    out: Path = Path("runs/quality")
    """Directory for quality.json, strip.png and videos/."""
    split: Literal["train", "val", "test"] | None = None
    """Split to measure on (default: test, which was never trained on, or val if there is no
    test)."""
    episodes: int | None = None
    """Number of episodes, half of them by the expert, if there is one (default: all, up to 100)."""
    context: int | None = None
    """Number of frames given to the world (default: 4, or fewer if every episode is shorter)."""
    observed_start: bool = True
    """Give the world the low-dimensional observations of those frames, as environments do. Without
    them the world estimates its states from the frames."""
    horizon: int = 63
    """Number of frames to predict; fewer where an episode is shorter."""
    controls: int = 20
    """Number of episodes to predict under altered actions too; 0 for none. Needs the simulator that
    the world was learned from."""
    shifts: tuple[int, ...] = (1, 4)
    """Numbers of steps by which altered actions are shifted."""
    videos: int = 6
    """Number of episodes to write videos of."""
    batch: int = 16

    def __post_init__(self):
        super().__post_init__()
        check_least(self, horizon=1)
        if self.controls == 1 or self.controls < 0:
            raise ValueError(
                f"controls is {self.controls}, expected 0 (none) or at least 2: actions are "
                "exchanged between episodes"
            )
        if any(shift < 1 for shift in self.shifts):
            raise ValueError(f"shifts are {self.shifts}, expected steps of at least 1")


@dataclass(frozen=True, kw_only=True)
class PassesConfig(HeldOutConfig):
    """Measure how much quality is lost with fewer denoising passes per step."""

    world: tyro.conf.UseAppendAction[tuple[str, ...]]
    """Streaming worlds: shipped names, directories, or Hub ids; repeat --world for each. The first
    is measured with each number in --passes and is the teacher; others run as configured."""
    out: Path = Path("runs/passes")
    """Directory for passes.json."""
    split: Literal["train", "val", "test"] = "test"
    episodes: int = 60
    context: int = 4
    batch: int = 20
    passes: tuple[int, ...] = (1, 2, 4)
    """Numbers of passes to measure the first world with, in addition to those of the teacher."""
    teacher_passes: int = 8
    """Number of passes of the teacher."""
    horizons: tuple[int, ...] = (1, 16, 63)
    """Horizons, in predicted frames, at which predictions are scored."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.world:
            raise ValueError("no world is given; say --world NAME, more than once for several")
        for name in ("passes", "horizons"):
            values = getattr(self, name)
            if any(value < 1 for value in values) or len(set(values)) != len(values):
                raise ValueError(f"{name} are {values}, expected different numbers of at least 1")
        if not self.horizons:
            raise ValueError("no horizons are given; expected frames to score, such as 1 16 63")
        check_least(self, teacher_passes=1)


@dataclass(frozen=True, kw_only=True)
class UncertaintyConfig(HeldOutConfig):
    """Measure whether a world's uncertainty predicts its errors."""

    world: str
    """World to measure: a shipped name, a directory, or a Hub id."""
    out: Path = Path("runs/uncertainty")
    """Directory for uncertainty.json."""
    split: Literal["train", "val", "test"] = "test"
    episodes: int = 60
    context: int = 4
    batch: int = 32
    """Windows predicted at a time."""
    windows: int = 3
    """Number of moments in each episode to predict from."""
    horizon: int = 16
    """Number of steps to predict."""
    samples: int = 4
    """Number of samples of each prediction."""

    def __post_init__(self):
        super().__post_init__()
        check_least(self, episodes=2, windows=1, horizon=1, samples=2)


@dataclass(frozen=True, kw_only=True)
class EnduranceConfig:
    """Run one very long episode, and report memory, speed and whether the picture stays sound."""

    world: str
    """World to measure: a shipped name, a directory, or a Hub id."""
    out: Path = Path("runs/endurance")
    """Directory for endurance.json and frames.png."""
    steps: int = 2000
    """Length of the episode in steps; the task's end is ignored."""
    hold: int = 10
    """Number of steps that each random target is held for."""
    start: int = 0
    """Index of the start that the episode begins with."""
    seed: int = 0
    """Seed of the targets and of the world's noise."""
    real: bool = True
    """Also take the same actions in the real environment, if there is one."""
    device: str | None = None
    """cpu or cuda (default: the GPU, if there is one)."""

    def __post_init__(self):
        if self.steps <= WARM_UP:
            raise ValueError(f"steps is {self.steps}, expected more than {WARM_UP}")
        check_least(self, hold=1)


@dataclass(frozen=True, kw_only=True)
class CardConfig:
    """Write a world's README.md from its measured quality and speed."""

    world: str
    """World: a shipped name or a directory, whose README.md is overwritten."""
    quality: Path | None = None
    """Report of irasim bench quality (default: the world's own quality.json)."""
    speed: tuple[Path, ...] = ()
    """Reports of irasim bench speed, one per machine (default: the world's own speed.json)."""

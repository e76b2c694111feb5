"""What the benchmarks of predictions are asked for. Free of torch: --help is quick."""

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
    """Recorded episodes, as irasim collect writes them."""
    out: Path
    """Directory for the report."""
    split: Literal["train", "val", "test"] | None = "test"
    """Which episodes; those of test were never trained on."""
    episodes: int | None = 60
    """How many episodes; half of them of the expert, if there is one."""
    context: int | None = 4
    """Frames given."""
    batch: int
    """Episodes predicted at a time."""
    seed: int = 0
    """Of the world's noise, and of the intervals."""
    device: str | None = None
    """cpu or cuda; the GPU where there is one."""

    def __post_init__(self) -> None:
        check_least(self, episodes=1, context=1, batch=1)


@dataclass(frozen=True, kw_only=True)
class QualityConfig(HeldOutConfig):
    """Measure a world's predictions on held-out episodes. A world begins from their first frames
    and, as in its environment, from what was observed beside them."""

    world: str
    """World to measure: a shipped name, a directory, or a Hub id."""
    out: Path = Path("runs/quality")
    """Directory for quality.json, strip.png and videos/."""
    split: Literal["train", "val", "test"] | None = None
    """Which episodes. Default: test, which were never trained on; val where the data have no
    test."""
    episodes: int | None = None
    """How many episodes; half of them of the expert, if there is one. Default: all, up to 100."""
    context: int | None = None
    """Frames given. Default: 4, or fewer where every episode is shorter."""
    observed_start: bool = True
    """Hand in what was observed beside them (the robot's own state), as environments do; without,
    the world estimates it from them."""
    horizon: int = 63
    """Frames predicted, fewer where an episode is over."""
    controls: int = 20
    """Episodes to predict under altered actions as well; 0 for none. Needs the simulator that the
    world was learned from."""
    shifts: tuple[int, ...] = (1, 4)
    """By how many steps the altered actions are shifted."""
    videos: int = 6
    """Episodes to make videos of."""
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
    """Measure what fewer denoising passes a step cost in quality."""

    world: tyro.conf.UseAppendAction[tuple[str, ...]]
    """Streaming worlds: shipped names, directories, or Hub ids; say --world again for each. The
    first is measured with each of `passes` and teaches, others as they are configured."""
    out: Path = Path("runs/passes")
    """Directory for passes.json."""
    split: Literal["train", "val", "test"] = "test"
    episodes: int = 60
    context: int = 4
    batch: int = 20
    passes: tuple[int, ...] = (1, 2, 4)
    """Numbers of passes to measure the first world with, beside the teacher's."""
    teacher_passes: int = 8
    """Passes of the teacher."""
    horizons: tuple[int, ...] = (1, 16, 63)
    """Predicted frames that are scored."""

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
    """Moments of each to predict from."""
    horizon: int = 16
    """Steps predicted."""
    samples: int = 4
    """Samples of each prediction."""

    def __post_init__(self):
        super().__post_init__()
        check_least(self, episodes=2, windows=1, horizon=1, samples=2)


@dataclass(frozen=True, kw_only=True)
class EnduranceConfig:
    """Run one very long episode: memory, speed, and what holds."""

    world: str
    """World to measure: a shipped name, a directory, or a Hub id."""
    out: Path = Path("runs/endurance")
    """Directory for endurance.json and frames.png."""
    steps: int = 2000
    """Steps of the one episode, its end ignored."""
    hold: int = 10
    """Steps that each random target is held for."""
    start: int = 0
    """Start of the episode."""
    seed: int = 0
    """Of the targets and of the world's noise."""
    real: bool = True
    """Take the same actions in the ground truth too, where there is one."""
    device: str | None = None
    """cpu or cuda; the GPU where there is one."""

    def __post_init__(self):
        if self.steps <= WARM_UP:
            raise ValueError(f"steps is {self.steps}, expected more than {WARM_UP}")
        check_least(self, hold=1)


@dataclass(frozen=True, kw_only=True)
class CardConfig:
    """Write a world's README.md from its measured quality and speed."""

    world: str
    """World: a shipped name or a directory; its README.md is written anew."""
    quality: Path | None = None
    """Report of irasim bench quality; the world's own quality.json if not given."""
    speed: tuple[Path, ...] = ()
    """Reports of irasim bench speed, one for each machine; the world's own speed.json if none."""

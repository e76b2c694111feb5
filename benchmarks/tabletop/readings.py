"""`irasim bench tabletop-readings`: how well pictures are read, against what the simulator knows.

On recorded episodes of the simulator, whose hidden states hold the blocks' true positions: as these
readings score learned worlds, their own errors have to be known.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro

from world_model.config_fields import check_least

POSES = ("cube_pose", "cylinder_pose", "prism_pose", "cross_pose")


@dataclass(frozen=True, kw_only=True)
class ReadingsConfig:
    """Measure how accurately pictures of the tabletop are read, compared with the simulator."""

    data: Path
    """Episodes written by `irasim collect`, with --hidden and the poses of all blocks."""
    split: Literal["train", "val", "test"] = "test"
    """Split of these."""
    episodes: int = 100
    """Number of episodes."""
    stride: int = 3
    """Read every n-th frame."""
    out: Path | None = None
    """Directory for readings.json; nothing is written without it."""

    def __post_init__(self):
        check_least(self, episodes=1, stride=1)


def main(config: ReadingsConfig) -> dict[str, Any]:
    """Read, print tables, write the report if asked to, and return it."""
    import numpy as np

    from benchmarks import report
    from policies.tabletop.reading import measure, true_pixels
    from policies.tabletop.success_detector import TouchSuccessDetector
    from training.data.episodes import list_episodes, read_episode
    from world_model.progress import progress_bar

    errors: dict[str, list[np.ndarray]] = {}
    verdicts: list[tuple[bool, str]] = []
    detector = TouchSuccessDetector()
    ids = list_episodes(config.data, config.split)[: config.episodes]
    for episode_id in progress_bar(ids, desc="reading", unit="episodes"):
        episode = read_episode(config.data, config.split, episode_id)
        if missing := set(POSES) - set(episode.hidden):
            raise ValueError(
                f"{config.data}: episode {episode_id} has no {', '.join(sorted(missing))}; record "
                f"it with irasim collect --hidden {' '.join(POSES)}"
            )
        poses = np.stack([episode.hidden[name] for name in POSES], axis=1)[:: config.stride]
        frames = episode.frames[:: config.stride]
        effector = episode.states["effector_pos"][:: config.stride]
        truth, found = true_pixels(poses, effector, frames.shape[1]), measure(frames)
        for name, at in found.items():
            errors.setdefault(name, []).append(np.linalg.norm(at - truth[name], axis=-1))
        detected = detector(episode.frames[1:])
        verdicts.append((bool(episode.terminated.any()), str(detected.verdict)))
    results = {
        **report.heading("irasim bench tabletop-readings", config, "cpu"),
        "readings": {name: summary(np.concatenate(each)) for name, each in errors.items()},
        "judge": {
            f"{'success' if true else 'failure'} judged {verdict}": verdicts.count((true, verdict))
            for true, verdict in sorted(set(verdicts))
        },
    }
    return report.publish(results, tables(results), config.out, "readings")


def summary(errors: Any) -> dict[str, Any]:
    """Of distances to the truth (n,), px; NaN where nothing was read."""
    import numpy as np

    return {
        "frames": len(errors),
        "found": float(np.isfinite(errors).mean()),
        "median_px": float(np.nanmedian(errors)),
        "p90_px": float(np.nanquantile(errors, 0.9)),
        "p99_px": float(np.nanquantile(errors, 0.99)),
    }


def tables(results: dict[str, Any]) -> str:
    """The report as printed."""
    from benchmarks.report import number, table

    rows = [
        (
            name,
            str(one["frames"]),
            f"{100 * one['found']:.2f} %",
            *(number(one[key]) for key in ("median_px", "p90_px", "p99_px")),
        )
        for name, one in results["readings"].items()
    ]
    judged = "; ".join(f"{label}: {count}" for label, count in results["judge"].items())
    header = ("read", "frames", "found", "median px", "90th percentile", "99th percentile")
    config = results["config"]
    return "\n\n".join(
        [
            f"Readings of the {config['split']} episodes of {config['data']}, every "
            f"{config['stride']} frames, against the simulator.",
            table(header, rows),
            f"Episodes by the success detector: {judged}.",
        ]
    )


def cli(arguments: list[str]) -> None:
    """Run `irasim bench tabletop-readings` with command-line arguments."""
    about = "How well pictures of the tabletop are read, against the simulator."
    prog = "irasim bench tabletop-readings"
    main(tyro.cli(ReadingsConfig, args=arguments, prog=prog, description=about))

"""Episodes for a run whose data do not exist yet; data that are there are never added to.

A note stands beside the episodes while they are collected, so that a run that was stopped goes on
collecting, and no other mistakes half of a data set for a whole one.
"""

from typing import Any

from training.data.episodes import SPLITS, list_episodes, read_json, write_json
from training.data.missing_split import cure_for_missing
from training.streaming.config import TrainConfig

COLLECTING = "collecting.json"


def collect_absent(config: TrainConfig, hidden: tuple[str, ...]) -> None:
    """Collect where `config.data` does not exist, if the config says from where.

    For a world that draws over a proxy the episodes are labelled too, and nothing that only the
    simulator knows is recorded.

    Args:
        config: Of the run.
        hidden: Names of the simulator's states to record too.

    Raises:
        SystemExit: Train or val episodes are missing from data that are there, or cannot be
            collected; says how to get them.
    """
    note = config.data / COLLECTING
    settings = {
        "env_id": config.collect_env,
        "env_kwargs": config.collect_env_kwargs,
        "policy": config.collect_policy,
        "hidden": [name for name in hidden if not config.proxy or name not in config.poses],
        "episodes": list(config.collect_episodes),
    }
    if config.proxy:
        settings["labels"] = list(config.poses)
    absent = not config.data.is_dir() or not any(config.data.iterdir())
    if config.collect_env is not None and absent:
        config.data.mkdir(parents=True, exist_ok=True)
        write_json(note, settings)
    begun = any(list_episodes(config.data, split) for split in SPLITS)
    if not note.is_file() or (config.collect_env is None and not begun):
        check_complete(config)
        return
    if begun:
        before = read_json(note)
        if before != settings:
            changed = ", ".join(name for name in settings if before.get(name) != settings[name])
            raise SystemExit(
                f"{config.data}: another training began to collect episodes here, of "
                f"{before.get('env_id')}, and did not finish; this one has another {changed}. Run "
                "that one again, or choose another --data"
            )
    write_json(note, settings)
    collect_all(config, settings)
    note.unlink()


def collect_all(config: TrainConfig, settings: dict[str, Any]) -> None:
    """Collect, and where asked for label, what is missing of each split."""
    from training.data.collect import CollectConfig
    from training.data.collect import main as collect

    for split, count in zip(SPLITS, settings["episodes"], strict=True):
        collect(
            CollectConfig(
                env_id=settings["env_id"],
                env_kwargs=settings["env_kwargs"],
                policy=settings["policy"],
                hidden=tuple(settings["hidden"]),
                out=config.data,
                split=split,
                episodes=count,
            )
        )
    if names := settings.get("labels"):
        from training.data.labels.command import main as label
        from training.data.labels.config import LabelConfig

        label(LabelConfig(data=config.data, names=tuple(names)))


def check_complete(config: TrainConfig) -> None:
    """Raise SystemExit unless there are episodes to train and to validate on."""
    missing = [split for split in ("train", "val") if not list_episodes(config.data, split)]
    if not missing:
        return
    if not config.data.is_dir():
        what = "is a file, expected a directory of" if config.data.exists() else "does not exist"
        raise SystemExit(
            f"{config.data} {what}{'' if config.data.exists() else ': there are no'} episodes; "
            "record some with `irasim collect` (--split train and --split val), convert yours "
            "with `irasim convert`, or correct --data"
        )
    cures = "; ".join(dict.fromkeys(cure_for_missing(config.data, split) for split in missing))
    more = ", or name --collect-env and --data that do not exist yet"
    if config.collect_env is not None:
        more = (
            f". (Episodes of {config.collect_env} are collected into --data that do not exist yet, "
            "not into these, which another made)"
        )
    raise SystemExit(f"{config.data} has no {' and no '.join(missing)} episodes: {cures}{more}")

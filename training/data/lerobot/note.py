"""Our own note in a LeRobot dataset that we wrote: what LeRobot's format has no place for."""

from pathlib import Path
from typing import Any

from training.data.episodes import SPLITS, check_id, labels_of, read_json
from world_model.config_fields import check_count

NOTE = Path("meta") / "irasim.json"


def read_note(root: Path) -> dict[str, Any]:
    """The note of a dataset; empty where another has written it.

    Raises:
        ValueError: It is damaged.
    """
    path = root / NOTE
    if not path.is_file():
        return {}
    note = read_json(path)
    episodes, states = note.get("episodes"), note.get("states")
    if not isinstance(episodes, list) or not isinstance(states, dict):
        raise ValueError(
            f"{path}: lacks 'episodes', a list, or 'states', sizes by name; restore it, or delete "
            "it to bring the dataset in as anybody's"
        )
    for name, size in states.items():
        check_count(f"{path}: the size of state {name!r}", size)
    for number, episode in enumerate(episodes):
        _check_episode(f"{path}: episode {number}", episode)
    places = [(episode["split"], episode["id"]) for episode in episodes]
    if len(set(places)) < len(places):
        raise ValueError(f"{path}: two episodes have one id; restore it")
    return note


def _check_episode(name: str, episode: Any) -> None:
    """Raise ValueError unless this says all that an episode needs."""
    if not isinstance(episode, dict):
        raise ValueError(f"{name} is a {type(episode).__name__}, expected its id, split and so on")
    missing = {"id", "split", "seed", "env_id", "env_kwargs", "policy"} - set(episode)
    if missing:
        raise ValueError(f"{name} lacks {', '.join(sorted(missing))}; restore it")
    if episode["split"] not in SPLITS:
        raise ValueError(
            f"{name}: split is {episode['split']!r}, expected one of {', '.join(SPLITS)}"
        )
    try:
        check_id(episode["id"])
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    labels_of(name, {"fps": 1.0, **episode})

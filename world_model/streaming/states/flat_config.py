"""Configs of earlier versions, which said in several places what is `states` today.

They had `hidden`, `labelled`, `plane` and `proxy` beside `denoiser`, and more in `denoiser`; a
world knew states where `denoiser.sees_states` was set.
"""

from typing import Any

from world_model.config_fields import read_dataclass
from world_model.streaming.states.config import StatesConfig

# Today's names by the older ones.
OF_THE_WORLD = {"hidden": "hidden", "labelled": "labelled", "plane": "planar", "proxy": "proxy"}
OF_THE_DENOISER = ("reward_sees_motion", "reward_frequencies", "dynamics_width", "foresight_width")
OF_THE_DENOISER += ("refinement_iterations", "reader_looks")
SWITCH = "sees_states"


def with_states_together(data: dict[str, Any], where: str) -> dict[str, Any]:
    """A streaming world's config, as read from JSON, with all that it says of states in `states`.

    Raises:
        ValueError: It has fields of both forms, or it has states and says that it has none.
    """
    denoiser = data.get("denoiser", {})
    if not isinstance(denoiser, dict):
        raise ValueError(f"{where}: denoiser: expected an object, got {type(denoiser).__name__}")
    found = [key for key in OF_THE_WORLD if key in data]
    found += [f"denoiser.{key}" for key in (*OF_THE_DENOISER, SWITCH) if key in denoiser]
    if not found:
        return data
    if "states" in data:
        raise ValueError(
            f"{where}: {', '.join(found)} and 'states' are given, but earlier versions had the "
            "former in place of 'states'; remove the former"
        )
    switch = denoiser.get(SWITCH, False)
    if not isinstance(switch, bool):
        raise ValueError(f"{where}: denoiser: {SWITCH}: expected true or false, got {switch!r}")
    states = {new: data[old] for old, new in OF_THE_WORLD.items() if old in data}
    states |= {key: denoiser[key] for key in OF_THE_DENOISER if key in denoiser}
    read = read_dataclass(StatesConfig, states, f"{where}: states")
    if not switch and (read.hidden or read.planar.points or read.planar.poses or read.proxy):
        raise ValueError(
            f"{where}: hidden states, points, poses and a proxy are of worlds with states, but "
            f"denoiser.{SWITCH} is not set; set it, or remove {', '.join(found)}"
        )
    moved = {*OF_THE_DENOISER, SWITCH}
    return {
        **{key: value for key, value in data.items() if key not in OF_THE_WORLD},
        "states": states if switch else None,
        "denoiser": {key: value for key, value in denoiser.items() if key not in moved},
    }

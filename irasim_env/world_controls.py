"""The controls that a world asks for."""

from typing import TYPE_CHECKING, Any

from irasim_env.choice_controls import ChoiceControls
from irasim_env.controls import AGENT_POSITION, Direction, KeyControls

if TYPE_CHECKING:
    from world_model import WorldConfig


def controls_of(
    config: "WorldConfig",
    directions: tuple[Direction, Direction] | None = None,
    speed: float = 1.0,
) -> KeyControls:
    """What keys and mouse do in a world; `directions` in place of those that it asks for."""
    from world_model.tasks import task_of

    task = task_of(config)
    first, second = directions or config.keys.directions
    settings: dict[str, Any] = {
        "low": config.action_low,
        "high": config.action_high,
        "names": config.action_names,
        "directions": (first, second),
        "speed": speed,
        "velocity": config.keys.velocity,
        "place": (task and task.place) or AGENT_POSITION,
    }
    if config.choices is not None:
        return ChoiceControls(**settings, choices=config.choices)
    return KeyControls(**settings)

"""What policies that act on what can be seen need to be shown."""

from typing import Any


def check_observation(observation: Any, place: str) -> dict[str, Any]:
    """An observation with pixels and, by the name `place`, where the robot is.

    Raises:
        ValueError: It is another one.
    """
    if isinstance(observation, dict) and {"pixels", place} <= observation.keys():
        return observation
    shown = sorted(observation) if isinstance(observation, dict) else type(observation).__name__
    raise ValueError(
        f"the observation is {shown}, expected a dict with 'pixels' and {place!r}: make the "
        f'environment with obs_type="pixels_{place}"'
    )

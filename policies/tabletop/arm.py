"""The arm that carries the pusher: where its joints are follows from where the pusher is.

It is drawn and touches nothing; two links turn about a shoulder behind the table, in the upright
plane through shoulder and pusher, with the elbow up.
"""

import numpy as np

SHOULDER = np.array([0.0, 0.215, 0.085])
WRIST_HEIGHT = 0.085
LINKS = (0.19, 0.19)  # upper arm and forearm, m
THICK = (0.0085, 0.0065, 0.0055)  # radii of upper arm, forearm and rod, m


def joints(effector: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Shoulder, elbow and wrist, (3,) each, m, with the pusher at (2,).

    Raises:
        ValueError: the arm does not reach so far.
    """
    wrist = np.array([effector[0], effector[1], WRIST_HEIGHT])
    along = wrist - SHOULDER
    distance = float(np.linalg.norm(along))
    upper, lower = LINKS
    if not abs(upper - lower) < distance < upper + lower:
        raise ValueError(f"the arm does not reach {effector}: {distance:.3f} m from its shoulder")
    # The law of cosines (the usual two-link inverse kinematics).
    cosine = (upper**2 + distance**2 - lower**2) / (2 * upper * distance)
    towards = along / distance
    upwards = np.array([0.0, 0.0, 1.0]) - towards[2] * towards
    upwards /= np.linalg.norm(upwards)
    elbow = SHOULDER + upper * (cosine * towards + np.sqrt(1 - cosine**2) * upwards)
    return SHOULDER, elbow, wrist

"""A family of Push-T policies from hopeless to good, to see whether a world keeps their order.

All act on observations alone, so that they run in gym-pusht and in worlds learned from it alike.
`FAMILY` names them; "policies.pusht_family:NAME" is each one's import path (factories
`(env, seed) -> policy`). What each reaches in the real simulator is in docs/policies.md.
"""

from functools import partial

from policies import families
from policies.families import clones
from policies.pusht.from_pixels import PixelExpert


class Wander(families.Wander):
    """Goes to random places, one after the other, without looking."""

    HOLD, BOUNDS, STREAM = 8, (0, 512), 8


expert = PixelExpert
# With fewer pushes tried before each one than the full budget's.
expert_6, expert_3, expert_2 = (partial(PixelExpert, candidates=n) for n in (6, 3, 2))
# With targets about so many px off.
trembling_8, trembling_12, trembling_16 = (partial(PixelExpert, tremble=n) for n in (8, 12, 16))
slipping = partial(PixelExpert, slips=0.04)  # about every 25 steps
clone_200, clone_1000 = clones("policies.pusht.cloning", "clone_200", "clone_1000")
wander = Wander

FAMILY = (
    "expert",
    "expert_6",
    "expert_3",
    "expert_2",
    "trembling_8",
    "trembling_12",
    "trembling_16",
    "slipping",
    "clone_1000",
    "clone_200",
    "wander",
)

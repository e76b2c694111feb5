"""All that knows Push-T. The names are the policies that record (recorders.py), as in
`irasim collect --policy policies.pusht:mixture`; they load their modules when first used."""

from typing import TYPE_CHECKING

from world_model.lazy_names import lazy_names

if TYPE_CHECKING:
    from policies.pusht.recorders import (
        Expert,
        NoisyExpert,
        Play,
        SimulatorState,
        StateSource,
        Uniform,
        Walls,
        expert,
        full_mixture,
        heldout,
        mixture,
        noisy_expert,
        play,
        uniform,
        walk,
        walls,
    )

__all__ = [
    "Expert",
    "NoisyExpert",
    "Play",
    "SimulatorState",
    "StateSource",
    "Uniform",
    "Walls",
    "expert",
    "full_mixture",
    "heldout",
    "mixture",
    "noisy_expert",
    "play",
    "uniform",
    "walk",
    "walls",
]

__getattr__ = lazy_names(__name__, {"recorders": __all__})

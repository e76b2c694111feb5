"""All that knows the tabletop. The names are the policies that record (recorders.py), as in
`irasim collect --policy policies.tabletop:mixture`; they load their modules when first used."""

from typing import TYPE_CHECKING

from world_model.lazy_names import lazy_names

if TYPE_CHECKING:
    from policies.tabletop.recorders import (
        Avoid,
        NoisyPusher,
        Play,
        PlayThenPush,
        Pusher,
        Smooth,
        avoid,
        heldout,
        mixture,
        noisy_pusher,
        play,
        pusher,
        smooth,
    )

__all__ = [
    "Avoid",
    "NoisyPusher",
    "Play",
    "PlayThenPush",
    "Pusher",
    "Smooth",
    "avoid",
    "heldout",
    "mixture",
    "noisy_pusher",
    "play",
    "pusher",
    "smooth",
]

__getattr__ = lazy_names(__name__, {"recorders": __all__})

"""What acts in episodes. Names load their modules when first used."""

from typing import TYPE_CHECKING

from world_model.lazy_names import lazy_names

if TYPE_CHECKING:
    from policies.actors.actors import Actor, CallableActor, StableBaselinesActor, load_actor

__all__ = ["Actor", "CallableActor", "StableBaselinesActor", "load_actor"]

__getattr__ = lazy_names(__name__, {"actors": __all__})

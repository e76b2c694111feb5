"""The engines by name, as import strings, so that nothing here or above loads all of them.

An engine is a way to predict. `streaming` draws one frame a step over a ring of its past. `chunk`
draws many frames at once from the last one, as the IRASim reference does. `anchored` paints each
frame from the one where the episode began and the robot's states. `config.json` names it.
"""

from dataclasses import dataclass

DEFAULT = "streaming"


@dataclass(frozen=True)
class Engine:
    """Import strings, `module:name`, as Gymnasium's entry points are."""

    config: str
    """The `WorldConfig` of its worlds."""
    world: str
    """Their `WorldModel`."""


ENGINES = {
    "streaming": Engine(
        config="world_model.streaming.config:StreamingConfig",
        world="world_model.streaming.world:StreamingWorld",
    ),
    "anchored": Engine(
        config="world_model.anchored.config:AnchoredConfig",
        world="world_model.anchored.world:AnchoredWorld",
    ),
    "chunk": Engine(
        config="world_model.chunk.config:ChunkConfig",
        world="world_model.chunk.world:ChunkWorld",
    ),
}

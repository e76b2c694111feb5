"""The toy as a task: data and import strings, so that nothing loads before it is needed."""

from world_model.config import KeysConfig
from world_model.tasks import Task

TOY = Task(
    name="toy",
    env_id="tests.toy.environment:Toy/Dot-v0",
    max_episode_steps=30,
    success_on_termination=True,
    success="the dot is within 3 pixels of its goal",
    action_names=("right", "up"),
    keys=KeysConfig(directions=("right", "up"), velocity=2.0),
    points=("place",),
    hidden=("goal",),
    recorder="tests.toy.policies:Record",
    warm_up="tests.toy.policies:rest",
    family="tests.toy.policies",
    measure="tests.toy.reading:measure",
    place_reading="dot",
    presets={
        "toy": {
            "max_steps": 6,
            "collect_episodes": (6, 2, 4),
            "patch": 16,
            "width": 32,
            "depth": 1,
            "num_heads": 2,
            "context": 2,
            "clip_frames": 5,
            "batch_clips": 4,
            "mixed_precision": "no",
            "warmup": 1,
            "validation_episodes": 1,
            "cpu": True,
        }
    },
)

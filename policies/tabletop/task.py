"""The tabletop as a task: what the other packages know about it, all by import strings."""

from world_model.config import KeysConfig
from world_model.tasks import Task

# From video, actions and the pusher's place alone: what `hidden` records is for measuring.
WEIGHTS = {"change_threshold": 0.03, "edge_weight": 0.25}
FROM_VIDEO = {**WEIGHTS, "hidden": (), "poses": ()}
BLOCKS = ("cube", "cross", "cylinder", "prism")  # the largest first, as labels name them

TABLETOP = Task(
    name="tabletop",
    world_id="IRASim/Tabletop-v0",
    env_id="irasim_env:IRASim/TabletopSim-v0",
    simulator="policies.tabletop.simulator:TabletopSim",
    env_kwargs={"obs_type": "pixels_effector_pos"},
    undrawn_kwargs={"obs_type": "state"},
    extra="irasim-env[tabletop]",
    packages=("mujoco",),
    max_episode_steps=100,
    success_on_termination=True,
    success="the middles of the two blocks are within 4 cm",
    outcome="policies.tabletop.outcome:outcome",
    action_names=("right", "away"),
    keys=KeysConfig(directions=("right", "up"), velocity=0.7),
    hidden=("cube_pose", "cylinder_pose", "prism_pose", "cross_pose"),
    recorder="policies.tabletop:mixture",
    proposals="policies.tabletop.proposals:Pushes",
    warm_up="policies.tabletop.from_pixels:Rest",
    rest_action="policies.tabletop.outcome:stay",
    family="policies.tabletop.family",
    success_detector="policies.tabletop.success_detector:TouchSuccessDetector",
    measure="policies.tabletop.reading:measure",
    place_reading="pusher",
    benchmarks={
        "tabletop-readings": (
            "benchmarks.tabletop.readings",
            "how well pictures of the tabletop are read, against the simulator",
        )
    },
    presets={
        "tabletop": {  # where the blocks lie is read off the frames
            **WEIGHTS,
            "hidden": BLOCKS,
            "poses": BLOCKS,
            "points": ("effector_pos",),
            "proxy": True,
            "symmetric": True,
            "width": 192,  # what is left to draw over the proxy is little
            "states_share": 1.0,
            "dynamics_steps": 3,
            "reward_frequencies": 2,  # progress varies smoothly with places
            "self_rollout_from": 0.6,
            "edge_weight": 0.5,
            "absolute_weight": 0.3,
            "collect_episodes": (1500, 100, 100),
        },
        "tabletop_tiny": {  # toy size: proves in two minutes that the whole path runs
            **FROM_VIDEO,
            "data": "data/tabletop_tiny",
            "name": "tabletop_tiny",
            "budget": "40s",
            "patch": 24,
            "width": 32,
            "depth": 2,
            "num_heads": 2,
            "context": 3,
            "clip_frames": 7,
            "batch_clips": 4,
            "mixed_precision": "no",
            "validation_episodes": 2,
            "collect_episodes": (6, 2, 4),
        },
    },
)

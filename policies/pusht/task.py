"""Push-T as a task: what the other packages know about it, all by import strings."""

from world_model.tasks import Task

STATES = {"self_rollout_from": 0.6}  # all that moves is known, so its own rollouts can go on
WEIGHTS = {"change_threshold": 0.03, "edge_weight": 0.25, "absolute_weight": 0.1}

PUSHT = Task(
    name="pusht",
    env_id="gym_pusht:gym_pusht/PushT-v0",
    env_kwargs={"obs_type": "pixels_agent_pos"},
    undrawn_kwargs={"obs_type": "state"},
    world_id="IRASim/PushT-v0",
    extra="irasim-env[pusht]",
    packages=("gym-pusht", "pymunk"),
    max_episode_steps=300,
    success_on_termination=True,
    description="Push the T-shaped block onto the T-shaped target.",  # as in lerobot/pusht
    success="the T covers more than 0.95 of its goal",
    outcome="policies.pusht.nearness:outcome",
    action_names=("x", "y"),
    points=("action", "agent_pos"),
    hidden=("block_pose",),
    poses=("block_pose",),
    frame_edges=(0.0, 0.0, 512.0, 512.0),
    mask_radii=(80.0, 140.0),  # the disc reaches 15 px from its place, the T 122
    recorder="policies.pusht:full_mixture",
    warm_up="policies.pusht.from_pixels:Hold",  # the disc stays, so that no policy is helped
    rest_action="policies.pusht.push_planner:stay",
    family="policies.pusht_family",
    success_detector="benchmarks.pusht.success_detector:PushTSuccessDetector",
    measure="policies.pusht.reading:measure",
    place_reading="disc",
    scores="benchmarks.pusht.scores:PushTReadings",
    proposals="policies.pusht.push_proposals:Pushes",
    rl_wrapper="policies.pusht.rl_task:PushTTask",
    rl_reach=50.0,
    rl_starts="policies.pusht.rl_starts:near_goal_starts",
    presets={
        "pusht": {**STATES, **WEIGHTS},
        # From video, actions and agent_pos: where the T lies is read off the frames.
        "pusht_video": {
            **STATES,
            **WEIGHTS,
            "data": "data/pusht_video",
            "name": "pusht_video",
            "hidden": ("block",),
            "poses": ("block",),
            "proxy": True,
            "symmetric": True,
            "dynamics_steps": 3,
            "edge_weight": 0.5,
            "absolute_weight": 0.5,
            "mask_radii": (),
        },
        "pusht_gpu": {  # one data-centre GPU: tokens of 8 pixels, large batches
            **STATES,
            **WEIGHTS,
            "budget": "9min",
            "patch": 8,
            "depth": 5,
            "batch_clips": 256,
            "ema": 0.999,
            "warmup": 200,
            "save_every": "5min",  # the rows of self-rollouts are some gigabytes
        },
        "tiny": {  # toy size: proves in a minute that the whole path runs
            **STATES,
            "data": "data/tiny",
            "name": "tiny",
            "budget": "30s",
            "patch": 24,
            "width": 32,
            "depth": 2,
            "num_heads": 2,
            "context": 3,
            "clip_frames": 7,
            "batch_clips": 4,
            "mixed_precision": "no",
            "validation_episodes": 2,
            "collect_episodes": (4, 2, 2),
        },
    },
    gpu_presets={
        # Without the simulator's states, small enough to ship: 14.7 MiB, tokens of 12 pixels.
        "pusht_video_gpu": {
            **WEIGHTS,
            "data": "data/pusht_video_gpu",
            "name": "pusht_video",
            "patch": 12,
            "batch_clips": 256,
            "rate": 1e-3,
            "ema": 0.998,
            "warmup": 100,
            "states_share": 0.04,
            "rollout_from": 0.45,
            "rollout_rounds": 4,
            "decay_from": 0.6,
            "heads_from": 0.88,
            "validate_every": "2min",
            "save_every": "1min",
            "validation_episodes": 40,
            "collect_episodes": (100_000, 40, 0),
            "max_starts": 40,
        },
    },
    benchmarks={
        "pusht-planning": (
            "benchmarks.pusht.planning_command",
            "IRASim's experiment: the best of K pushes, chosen in the world",
        )
    },
)

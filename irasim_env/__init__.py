"""Learned robot simulators as Gymnasium environments; importing this registers their ids, and those
of the simulators that tasks bring."""

from gymnasium.envs.registration import register, registry

from world_model.tasks import all_tasks


def _register_worlds() -> None:
    """Register the worlds that come with tasks, and the id of any other."""
    worlds: dict[str, tuple[int | None, dict[str, str]]] = {"IRASim/World-v0": (None, {})}
    for task in all_tasks():
        if task.world_id is not None:
            worlds[task.world_id] = (task.max_episode_steps, {"world": task.name})
    for world_id, (limit, arguments) in worlds.items():
        # Registering an id again, as a reload would, makes Gymnasium warn. Its passive checker is
        # off: after a first reset with a mistake in it, the checker fails in every step (1.4).
        if world_id not in registry:
            register(
                world_id,
                entry_point="irasim_env.env:WorldEnv",
                vector_entry_point="irasim_env.vector_env:WorldVectorEnv",
                max_episode_steps=limit,
                disable_env_checker=True,
                kwargs=arguments,
            )


def _register_simulators() -> None:
    """Register the environments that installed tasks bring, as their entry points say."""
    for task in all_tasks():
        if task.simulator is not None and task.bare_id not in registry:
            register(
                task.bare_id,
                entry_point=task.simulator,
                max_episode_steps=task.max_episode_steps,
            )


_register_worlds()
_register_simulators()

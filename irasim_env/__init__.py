"""Learned robot simulators as Gymnasium environments; importing this registers their ids, and those
of the simulators that tasks bring."""

from gymnasium.envs.registration import register, registry

from world_model.tasks import all_tasks

# Registering an id again, as a reload would, makes Gymnasium warn. Its passive checker is off:
# after a first reset with a mistake in it, the checker fails in every step (Gymnasium 1.4).
if "IRASim/PushT-v0" not in registry:
    register(
        "IRASim/PushT-v0",
        entry_point="irasim_env.env:WorldEnv",
        vector_entry_point="irasim_env.vector_env:WorldVectorEnv",
        max_episode_steps=300,
        disable_env_checker=True,
        kwargs={"world": "pusht"},
    )
if "IRASim/World-v0" not in registry:
    register(
        "IRASim/World-v0",
        entry_point="irasim_env.env:WorldEnv",
        vector_entry_point="irasim_env.vector_env:WorldVectorEnv",
        disable_env_checker=True,
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


_register_simulators()

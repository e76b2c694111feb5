"""The card of a world that nobody has measured yet: what it is, and how to load it."""

from world_model.config import WorldConfig


def write_card(config: WorldConfig) -> str:
    """Markdown; `irasim bench card` writes one from measurements in its place."""
    engine = "streaming, one frame a step"
    if config.actions_at_once > 1:
        engine = f"chunk, up to {config.actions_at_once} frames at once"
    names = f": {', '.join(config.action_names)}" if config.action_names else ""
    observed = [f"pixels, uint8 ({config.height}, {config.width}, 3)"]
    observed += [
        f"`{name}` ({len(bounds.low)},), {list(bounds.low)} to {list(bounds.high)}"
        for name, bounds in config.observations.items()
    ]
    action = (
        f"({config.action_dim},), {list(config.action_low)} to {list(config.action_high)}{names}"
    )
    if config.choices is not None:
        action = (
            f"{config.choices.describe()}; the model sees one-hot vectors ({config.action_dim},)"
        )
    facts = {
        "Engine": engine,
        "Observation": "; ".join(observed),
        "Action": f"{action}; {config.fps:g} a second",
        "Reward": "predicted, with the end of the episode" if config.reward_head else "none",
    }
    if config.ground_truth is not None:
        facts["Learned from"] = f"`{config.ground_truth.env_id}`"
    lines = [f"- {what}: {is_so}" for what, is_so in facts.items()]
    return f"""---
library_name: irasim-env
tags: [world-model, gymnasium, robotics]
---

# {config.name}

A learned simulator: it predicts what the camera sees after each action.

{chr(10).join(lines)}

## Use

```python
import gymnasium as gym
import irasim_env

env = gym.make("IRASim/World-v0", world="path/of/this/directory")
obs, info = env.reset(seed=0)
```

or `WorldModel.from_pretrained("path/of/this/directory")` of `world_model`.

## Quality

Not measured yet: `irasim bench quality` and `irasim bench speed` measure it, and
`irasim bench card` writes here what they found.
"""

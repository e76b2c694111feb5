"""Policies in Stable-Baselines3's model files (.zip), loaded for acting without running pickles.

A model file keeps what JSON cannot hold as cloudpickle, and `Algorithm.load` unpickles it, which
runs whatever the file's author wrote. Acting needs little of it: the policy's class (read from the
pickle's text, never executed, and looked up among Stable-Baselines3's own), its keyword arguments
(JSON beside the pickle) and its weights (tensors).
"""

import json
import pickletools
import re
import zipfile
from base64 import b64decode
from pathlib import Path
from typing import Any

import gymnasium as gym
import stable_baselines3
import torch
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.preprocessing import is_image_space, is_image_space_channels_first
from stable_baselines3.common.vec_env import VecTransposeImage
from torch import nn

# Where each algorithm's policies live; those of "common" are shared by A2C and PPO.
HOMES = {"dqn": "DQN", "sac": "SAC", "td3": "TD3"}
ALGORITHMS = ("A2C", "DDPG", "DQN", "PPO", "SAC", "TD3")
# Of training alone.
NOT_FOR_ACTING = ("optimizer_class", "optimizer_kwargs", "device")


def load_sb3_policy(
    path: str | Path,
    space: gym.Space,
    action_space: gym.Space,
    *,
    algorithm: str | None = None,
    device: str = "cpu",
    trust_pickle: bool = False,
) -> BasePolicy:
    """The policy of a model file, for an environment with these spaces.

    Args:
        path: The file, as `model.save(path)` wrote it.
        space: What the environment observes, or the part of it that the policy takes.
        action_space: The environment's.
        algorithm: "PPO" and so on; None finds it in the file.
        device: Where it computes.
        trust_pickle: Unpickle the file as Stable-Baselines3 itself does, which runs code that it
            may contain: for files of your own with parts that are not Stable-Baselines3's.

    Raises:
        ValueError: no such file or no model; an unknown algorithm; a policy that cannot be loaded
            without unpickling; or one made for other spaces.
    """
    content = read_content(path)
    name = algorithm or find_algorithm(path, content)
    if name not in ALGORITHMS:
        raise ValueError(f"algorithm is {name!r}, expected one of {', '.join(ALGORITHMS)}")
    if trust_pickle:
        policy = _load_trusting(path, name, device)
    else:
        policy = _build(path, content, name, space, action_space, device)
    _check_spaces(path, policy, space, action_space)
    policy.set_training_mode(False)
    return policy


def observes_dict(path: str | Path) -> bool:
    """Whether a model's policy takes a dictionary of observations rather than at one array."""
    return "spaces.dict.Dict" in str(read_content(path)["observation_space"].get(":type:"))


def read_content(path: str | Path) -> dict[str, Any]:
    """What a model file says of itself, as text."""
    try:
        with zipfile.ZipFile(path) as archive:
            content = json.loads(archive.read("data"))
    except (OSError, zipfile.BadZipFile, KeyError, ValueError) as error:
        raise ValueError(
            f"{path}: is no Stable-Baselines3 model ({error}); expected the .zip that "
            "model.save(path) writes"
        ) from error
    for key in ("policy_class", "observation_space", "action_space"):
        if not isinstance(content.get(key), dict):
            raise ValueError(f"{path}: has no {key!r}, expected the .zip that model.save() writes")
    return content


def find_algorithm(path: str | Path, content: dict[str, Any]) -> str:
    """Name of the algorithm that a model was trained with."""
    module, _ = _policy_class_name(path, content)
    package, _, rest = module.partition(".")
    home = rest.partition(".")[0]
    if package == "stable_baselines3" and home == "common":
        return "PPO" if "n_epochs" in content else "A2C"
    if package == "stable_baselines3" and home in HOMES:
        return HOMES[home]
    raise ValueError(
        f"{path}: its policy class is of module {module!r}, so the algorithm is not known; name "
        "it (--algorithm), and unpickle the file if you trust it (--trust-pickle)"
    )


def _policy_class_name(path: str | Path, content: dict[str, Any]) -> tuple[str, str]:
    """Module and name of the policy's class: the two strings of a pickled reference to it."""
    allowed = {"PROTO", "FRAME", "MEMOIZE", "STACK_GLOBAL", "STOP"}
    strings = []
    for opcode, argument, _ in pickletools.genops(
        b64decode(content["policy_class"][":serialized:"])
    ):
        if opcode.name in ("SHORT_BINUNICODE", "BINUNICODE"):
            strings.append(str(argument))
        elif opcode.name not in allowed:
            strings.clear()
            break
    if len(strings) != 2:
        raise ValueError(
            f"{path}: its policy class is not an installed one but code within the file, which is "
            "not run; if you trust the file, say --trust-pickle"
        )
    return strings[0], strings[1]


def _build(
    path: str | Path,
    content: dict[str, Any],
    algorithm: str,
    space: gym.Space,
    action_space: gym.Space,
    device: str,
) -> BasePolicy:
    """Build the policy from what the file says, and load its weights."""
    known = {
        (kind.__module__, kind.__name__): kind
        for kind in getattr(stable_baselines3, algorithm).policy_aliases.values()
    }
    name = _policy_class_name(path, content)
    if name not in known:
        raise ValueError(
            f"{path}: its policy class {'.'.join(name)} is not {algorithm}'s, expected one of "
            f"{', '.join(sorted(kind for _, kind in known))}; correct --algorithm or, if you trust "
            "the file, say --trust-pickle"
        )
    kwargs = _policy_kwargs(path, content["policy_kwargs"])
    if algorithm in ("A2C", "PPO"):
        kwargs["use_sde"] = bool(content.get("use_sde", False))
    policy = known[name](channels_first(space), action_space, lambda _: 0.0, **kwargs)
    with zipfile.ZipFile(path) as archive, archive.open("policy.pth") as weights:
        state = torch.load(weights, map_location=device, weights_only=True)
    try:
        policy.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(
            f"{path}: its weights do not fit the observations {space} and actions {action_space} "
            f"of this environment: {error}"
        ) from error
    return policy.to(device)


def _policy_kwargs(path: str | Path, recorded: dict[str, Any]) -> dict[str, Any]:
    """The policy's keyword arguments; classes of torch.nn by their recorded names."""
    kwargs = {}
    for key, value in recorded.items():
        if key in NOT_FOR_ACTING or key in (":type:", ":serialized:"):
            continue
        if isinstance(value, str):
            match = re.fullmatch(r"<class 'torch\.nn\.modules\.\w+\.(\w+)'>", value)
            if match is None or not hasattr(nn, match[1]):
                raise ValueError(
                    f"{path}: its policy's {key} is {value}, which cannot be read without "
                    "unpickling; if you trust the file, say --trust-pickle"
                )
            value = getattr(nn, match[1])
        kwargs[key] = value
    return kwargs


def _load_trusting(path: str | Path, algorithm: str, device: str) -> BasePolicy:
    kind = getattr(stable_baselines3, algorithm)
    # A replay buffer of the recorded size would be gigabytes of nothing.
    smaller = {"buffer_size": 1} if algorithm in ("DDPG", "DQN", "SAC", "TD3") else {}
    return kind.load(path, device=device, custom_objects=smaller).policy


def channels_first(space: gym.Space) -> gym.Space:
    """A space as Stable-Baselines3 gives it to networks: pictures with their channels first."""
    if isinstance(space, gym.spaces.Dict):
        return gym.spaces.Dict({key: channels_first(part) for key, part in space.spaces.items()})
    if is_image_space(space) and not is_image_space_channels_first(space):  # type: ignore[arg-type]
        return VecTransposeImage.transpose_space(space)  # type: ignore[arg-type]
    return space


def _check_spaces(
    path: str | Path, policy: BasePolicy, space: gym.Space, action_space: gym.Space
) -> None:
    for name, theirs, ours in (
        ("observes", policy.observation_space, channels_first(space)),
        ("acts in", policy.action_space, action_space),
    ):
        if theirs != ours:
            raise ValueError(
                f"{path}: {name} {theirs}, this environment has {ours}: evaluate it in a world "
                "of the simulator that it was trained in"
            )

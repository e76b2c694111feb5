"""A world as files that run without torch: a step as an ONNX model, starts as ready states, and a
JSON that says what goes in and out.

    OUT/world.json             what there is, with names, shapes and bounds
    OUT/step.onnx              one step of one environment
    OUT/starts/0.safetensors   a state where an episode can begin, and the frame that it shows
"""

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save

from world_model.io.whole_files import whole_folder
from world_model.onnx_export.graph import OPSET, check_installed, write_graph
from world_model.onnx_export.step import ACTION, AFTER, BEFORE, Step
from world_model.tasks import task_of
from world_model.versions import versions
from world_model.world import WorldModel

FORMAT = 1
DESCRIPTION, MODEL, STARTS = "world.json", "step.onnx", "starts"
ENGINES = ("streaming", "anchored")
"""Whose worlds have a step that is one graph: `predict` over the tensors of a state."""


def check_exportable(world: WorldModel, num_starts: int) -> None:
    """Raise ValueError, naming the cure, unless a world can be exported to ONNX."""
    config = world.config
    if config.engine not in ENGINES:
        raise ValueError(
            f"world {config.name!r} has the {config.engine} engine, whose step is a loop of a "
            f"sampler and no one graph; --onnx takes worlds with the {' or '.join(ENGINES)} "
            "engine, and --out FILE.pt writes this one for the original IRASim code"
        )
    if not len(world.starts):
        raise ValueError(f"world {config.name!r} has no starts, where an episode could begin")
    if num_starts < 1:
        raise ValueError(f"--starts is {num_starts}, expected at least 1")
    check_installed()


def export_onnx(world: WorldModel, out: Path, num_starts: int) -> dict[str, Any]:
    """Write a world's step and the first of its starts; the folder is whole or what it was.

    Args:
        world: On the CPU, in float32. It draws its frames itself, with the streaming or the
            anchored engine.
        out: The folder; another export there is replaced.
        num_starts: How many starts to write, at least 1; all where there are fewer.

    Returns:
        The content of `world.json`.

    Raises:
        ValueError: There is no ONNX form of such a world, or onnx is not installed.
    """
    check_exportable(world, num_starts)
    step = Step(world, start=0)
    with whole_folder(out) as folder:
        (folder / STARTS).mkdir()
        count = min(num_starts, len(world.starts))
        starts = [_write_start(step, index, folder) for index in range(count)]
        write_graph(step, folder / MODEL)
        description = _described(step) | {"starts": starts}
        text = json.dumps(description, indent=2) + "\n"
        (folder / DESCRIPTION).write_text(text, encoding="utf-8")
    return description


def _write_start(step: Step, index: int, folder: Path) -> dict[str, Any]:
    """One start's state, by the names of the model's inputs, and what is seen there; and what a
    step shows, so that whoever runs the model can tell whether it runs as it should."""
    world, action = step.world, step.action()
    state: Any = world.begin([index], [0])
    shown = state.output
    tensors = {BEFORE + name: tensor.clone() for name, tensor in state.tensors.items()}
    tensors["frame"] = shown.frame[0]
    tensors["check.action"] = action
    tensors["check.frame"] = world.step_(state, action[None]).frame[0]
    file = f"{STARTS}/{index}.safetensors"
    whole = {name: tensor.contiguous() for name, tensor in tensors.items()}
    (folder / file).write_bytes(save(whole))  # save_file would keep it from a web server's user
    actions = world.starts[index].actions
    return {
        "start": index,
        "file": file,
        "states": {name: values[0].tolist() for name, values in shown.states.items()},
        "last_action": actions[-1].tolist() if len(actions) else None,
    }


def _described(step: Step) -> dict[str, Any]:
    """What `world.json` says of a step."""
    config, task = step.world.config, task_of(step.world.config)
    parts, at = {}, 0
    for name, values in step.template.output.states.items():
        parts[name], at = [at, at + values.shape[-1]], at + values.shape[-1]
    return {
        "format": FORMAT,
        "world": config.name,
        "engine": config.engine,
        "model": MODEL,
        "opset": OPSET,
        "action": {
            "input": ACTION,
            "low": config.action_low,
            "high": config.action_high,
            "names": config.action_names,
            "choices": config.choices and config.choices.counts,
        },
        "state": [
            {
                "input": BEFORE + name,
                "output": AFTER + name,
                "dtype": str(tensor.dtype).removeprefix("torch."),
                "shape": list(tensor.shape),
            }
            for name, tensor in step.template.tensors.items()
        ],
        "frame": {"output": "frame", "height": config.height, "width": config.width},
        "reward": {
            "output": "reward",
            "known": config.reward_head,
            "low": config.reward_low,
            "high": config.reward_high,
        },
        "terminated": {"output": "terminated", "is_success": config.success_on_termination},
        "states": {"output": "states", "parts": parts} if parts else None,
        "keys": {
            "directions": config.keys.directions,
            "velocity": config.keys.velocity,
            "place": task.place if task else None,
        },
        "fps": config.fps,
        "max_episode_steps": config.max_episode_steps,
        "versions": versions("irasim-env", "torch", "onnx", "onnxscript"),
    }

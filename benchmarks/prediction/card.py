"""`irasim bench card`: a world's README.md, written from what was measured."""

from pathlib import Path
from typing import Any

from benchmarks.prediction import quality as quality_report
from benchmarks.prediction.config import CardConfig
from benchmarks.prediction.readings import readings_of
from benchmarks.report import reading
from benchmarks.speed import report as speed_report
from world_model import WorldConfig, WorldModel
from world_model.io.checkpoint import CARD, find_world
from world_model.io.json_files import parse_json
from world_model.io.whole_files import write_whole
from world_model.streaming.config import StreamingConfig


def main(config: CardConfig) -> Path:
    """Write the card; its path."""
    directory = find_world(config.world)
    quality = _read_report(config.quality, directory / "quality.json")
    speeds = [_read_report(path, path) for path in config.speed] or [
        _read_report(None, directory / "speed.json")
    ]
    speeds = [speed for speed in speeds if speed is not None]
    train = _read_report(None, directory / "train.json")
    if quality is None and not speeds:
        raise ValueError(
            f"{directory} has neither quality.json nor speed.json, and a card states what was "
            f"measured: run irasim bench quality --world {config.world} --data DATA --out "
            f"{directory}, or give --quality and --speed"
        )
    world = WorldModel.from_pretrained(directory)
    parameters = sum(parameter.numel() for parameter in world.parameters())
    form = (
        f"reports of {directory} are not as irasim bench quality, bench speed and train write them"
    )
    with reading(form):
        measured = [report["world"] for report in (quality, *speeds) if report is not None]
        others = [(one["name"], one["parameters"]) for one in measured]
    _check_world(directory, (world.config.name, parameters), others)
    with reading(form):
        text = write_card(world.config, parameters, quality, speeds, train)
    path = directory / CARD
    write_whole(path, text)
    print(f"written: {path}")
    return path


def _check_world(directory: Path, world: tuple[str, int], measured: list[tuple[Any, Any]]) -> None:
    """Raise ValueError unless reports are of this world: its name and number of parameters."""
    for name, parameters in measured:
        if (name, parameters) != world:
            raise ValueError(
                f"a report is of world {name!r} with {parameters:,} parameters, but {directory} "
                f"holds {world[0]!r} with {world[1]:,}: measure this one"
            )


def write_card(
    config: WorldConfig,
    parameters: int,
    quality: dict[str, Any] | None,
    speeds: list[dict[str, Any]],
    train: dict[str, Any] | None,
) -> str:
    """The card's text, in Markdown."""
    quality_text = "Not measured yet: `irasim bench quality`."
    if quality is not None:
        quality_text = quality_report.tables(quality, config)
    speed_text = "Not measured yet: `irasim bench speed`."
    if speeds:
        speed_text = "\n\n".join(map(speed_report.tables, speeds))
    sections = {
        "What it is": _about(config, parameters),
        "Use": _use(config),
        "Quality": quality_text,
        "Speed": speed_text,
        "Limits": "\n".join(f"- {limit}" for limit in limits(config, quality)),
        "Data and training": _training(train),
    }
    body = "\n\n".join(f"## {title}\n\n{text}" for title, text in sections.items())
    front = "---\nlibrary_name: irasim-env\ntags: [world-model, gymnasium, robotics]\n---\n"
    note = "Written by `irasim bench card` from what was measured; edit nothing here by hand."
    return f"{front}\n# {config.name}\n\n{note}\n\n{body}\n"


def limits(config: WorldConfig, quality: dict[str, Any] | None) -> list[str]:
    """What the world cannot do, from its figures."""
    found = []
    if quality is not None:
        found += _measured_limits(config, quality)
    if not config.reward_head:
        found.append("It has no reward head: reward is 0 and no episode terminates by itself.")
    states = config.states if isinstance(config, StreamingConfig) else None
    if states is not None and states.labelled:
        labelled = ", ".join(f"`{name}`" for name in states.labelled)
        found.append(
            f"It was trained on where {labelled} lies, which `irasim label` found in the video; "
            "no simulator said it. It estimates that from the first frames and predicts it before "
            "each frame. What has no label, such as soft things, it draws worse."
        )
    if states is not None and (told := set(states.hidden) - {*states.labelled}):
        hidden = ", ".join(f"`{name}`" for name in states.hidden if name in told)
        found.append(
            f"It was not learned from video alone: it was trained on {hidden} too, which the "
            "simulator knows and no observation contains. It estimates that from the first frames, "
            "predicts it by a network of its own, and conditions each frame on it. Data without "
            "such states give a weaker world."
        )
    found.append(
        "It was learned from examples, not physics: objects may drift, stretch, blur or vanish, "
        "the more the longer an episode and the further its actions are from those recorded."
    )
    low, high = config.action_low, config.action_high
    found.append(f"Actions lie between {list(low)} and {list(high)}; it knows none beyond.")
    return found


def _measured_limits(config: WorldConfig, quality: dict[str, Any]) -> list[str]:
    found = []
    horizon = quality["frames"]["horizon"]
    for metric in ("psnr", "ssim"):
        pairs = zip(horizon[metric], horizon[f"{metric}_still"], strict=True)
        worse = [step for step, (ours, still) in enumerate(pairs, 1) if ours <= still]
        if worse:
            found.append(
                f"{metric.upper()} is no better than that of a picture in which nothing moves at "
                f"{len(worse)} of {len(horizon[metric])} steps (first at step {worse[0]}, last at "
                f"{worse[-1]})."
            )
        elif metric == "psnr":
            found.append("PSNR is above that of a picture in which nothing moves at every step.")
    sharpness = quality["frames"]["all"]["sharpness"]
    if sharpness is not None and abs(sharpness - 1) > 0.1:
        kind = "blurred" if sharpness < 1 else "speckled"
        found.append(f"Frames are {kind}: gradient energy is {sharpness:.2f} of the true frames'.")
    readings = readings_of(config)
    if readings is not None:
        found += readings.limits(quality.get("readings", {}))
    for name, ends in quality.get("ends", {}).items():
        if name == "closing":
            hit, false = ends["hit"], ends["false"]
            found.append(
                f"The end of a successful episode is hit within 3 steps in {hit['count']} of "
                f"{hit['of']}; an end is announced falsely in {false['count']} of {false['of']}."
            )
    for name, at in quality.get("controls", {}).items():
        if "nearer" in at and at["nearer"]["count"] < at["nearer"]["of"]:
            nearer = at["nearer"]
            found.append(
                f"Under altered actions ({name}) the prediction is nearer to what they really do "
                f"than to the original in {nearer['count']} of {nearer['of']} episodes, not in all."
            )
    return found


def _about(config: WorldConfig, parameters: int) -> str:
    truth = config.ground_truth
    learned = f"learned from `{truth.env_id}`" if truth else "learned from recorded episodes"
    reward = "reward and end of the episode" if config.reward_head else "no reward"
    observed = "".join(f", `{name}`" for name in config.observations)
    return (
        f"A learned simulator, {learned}: an action-conditioned video diffusion model that "
        f"predicts the next camera frame ({config.height} x {config.width}, {config.fps:g} a "
        f"second) after each action, with {reward}{observed}. {parameters / 1e6:.1f} M parameters, "
        f"{config.context} earlier frames in its cache, {config.num_steps} denoising passes a "
        f"frame, codec: {config.codec.kind}."
    )


def _use(config: WorldConfig) -> str:
    # The shipped one has an id of its own.
    make = f'gym.make("IRASim/World-v0", world="{config.name}")  # or the path of this directory'
    lines = ["import gymnasium as gym", "import irasim_env", "", f"env = {make}"]
    lines += ["obs, info = env.reset(seed=0)"]
    lines += ["obs, reward, terminated, truncated, info = env.step(env.action_space.sample())"]
    return "\n".join(["```python", *lines, "```"])


def _training(train: dict[str, Any] | None) -> str:
    if train is None:
        return "Not recorded: there is no train.json beside the weights."
    config, trained = train["config"], train["trained"]
    source = f" of `{config['collect_env']}`" if config.get("collect_env") else ""
    policy = f" by `{config['collect_policy']}`" if config.get("collect_env") else ""
    before = "".join(
        f" Before that: {run['trained']['step']:,} steps on {run['trained']['frames']:,} frames in "
        f"{run['trained']['elapsed'] / 60:.0f} minutes, on {run['hardware']}, {run['date']}."
        for run in reversed(train.get("before", []))
    )
    note = f" {train['note']}" if "note" in train else ""
    return (
        f"{train['episodes']:,} episodes ({train['frames']:,} frames){source}{policy}; trained for "
        f"{trained['step']:,} steps on {trained['frames']:,} frames in "
        f"{trained['elapsed'] / 60:.0f} minutes ({train['frames_per_second']:.0f} frames/s, "
        f"{train['processes']} process{'es' * (train['processes'] != 1)}) on {train['hardware']}, "
        f"preset `{config['preset']}`, seed {config['seed']}, torch {train['versions']['torch']}, "
        f"{train['date']}.{before}{note} The whole config is in `train.json`."
    )


def _read_report(path: Path | None, default: Path) -> dict[str, Any] | None:
    """A report, or None where none was given and the default is not there."""
    if path is None and not default.is_file():
        return None
    source = path or default
    try:
        report = parse_json(source.read_bytes(), source, "measure again")
    except OSError as error:
        raise ValueError(f"{source}: cannot be read ({error.strerror}); give a report") from error
    if not isinstance(report, dict):
        raise ValueError(f"{source}: holds a JSON {type(report).__name__}; measure again")
    return report

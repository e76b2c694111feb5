"""`irasim evaluate short` and `long`: IRASim's two protocols, on any number of processes."""

import json
from dataclasses import asdict
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

from accelerate import PartialState
from accelerate.utils import gather_object

from benchmarks.irasim.config import (
    REFERENCE_FPS,
    RESULT_SETTINGS,
    EvaluationConfig,
    ShortConfig,
)
from benchmarks.irasim.data import EvaluationData
from benchmarks.irasim.generate import generate
from benchmarks.irasim.layout import REFERENCE_CRF, Layout
from benchmarks.irasim.model import ChunkModel, load_model
from benchmarks.irasim.scores import (
    Gathered,
    Networks,
    fvd_protocols,
    load_networks,
    score,
    summarise,
)
from benchmarks.irasim.table import comparison
from benchmarks.metrics.frames import PSNR_CAP
from benchmarks.report import hardware, versions, write_report
from training.data.episodes import read_json, write_json
from world_model.chunk.sampling import network_evaluations
from world_model.directories import check_directory
from world_model.io.whole_files import clear_leftovers

# Processes wait for each other at the end: shares of long episodes can differ by hours.
PATIENCE = timedelta(days=2)
PACKAGES = ("accelerate", "diffusers", "av", "opencv-python")


def main(config: EvaluationConfig) -> dict[str, Any] | None:
    """Predict what is missing, score, write the report and print the table.

    Returns:
        The report; None on processes other than the first.
    """
    check_directory(config.out)
    check_directory(config.truth or config.out, "--truth")
    state = PartialState(cpu=config.cpu, timeout=PATIENCE)
    assert state.device is not None, "accelerate gave no device"
    model, config = load_model(config, state.device)
    data = EvaluationData(config, model)
    layout = Layout(
        out=config.out,
        truth=config.truth or config.out,
        name=config.label,
        split=config.split,
        protocol=data.protocol,
    )
    if state.is_main_process:
        for directory in {layout.out, layout.truth}:
            clear_leftovers(directory)
        claim(config, layout)
    state.wait_for_everyone()
    num_new = generate(config, model, data, layout, state.process_index, state.num_processes)
    state.wait_for_everyone()
    with state.main_process_first():  # which fetches weights for all
        networks = load_networks(config, str(state.device))
    share = data.items[state.process_index :: state.num_processes]
    mine = score(share, data, layout, networks, model.num_frames)
    shares = gather_object([(mine, num_new)])
    if not state.is_main_process:
        return None
    found = shares[0][0]
    for other, _ in shares[1:]:
        found.merge(other)
    content = report(config, model, data, networks, found, state.num_processes)
    content["counts"]["predicted_in_this_run"] = sum(count for _, count in shares)
    write_report(layout.report, content)
    print(comparison([content]))
    print(f"{layout.report}: all figures; {layout.base}: videos")
    return content


def claim(config: EvaluationConfig, layout: Layout) -> None:
    """Say beside the results how they are made; refuse to mix two ways.

    Raises:
        ValueError: The directory holds results of other settings.
    """
    content = json.loads(json.dumps(settings(config), default=str))
    if layout.settings.is_file():
        before = read_json(layout.settings)
        changed = [
            f"{key} {before.get(key)!r}, now {value!r}"
            for key, value in content.items()
            if before.get(key) != value
        ]
        if changed:
            raise ValueError(
                f"{layout.base} holds results of other settings ({'; '.join(changed)}): give "
                "another --out or --name, or delete it"
            )
    layout.base.mkdir(parents=True, exist_ok=True)
    write_json(layout.settings, content)


def settings(config: EvaluationConfig) -> dict[str, Any]:
    """What decides the generated files, the model's file among it."""
    resolved = asdict(config)
    found = {name: resolved[name] for name in RESULT_SETTINGS if name in resolved}
    path = Path(config.model)
    weights = path / "model.safetensors" if path.is_dir() else path
    if weights.is_file():
        found["model_file"] = f"{weights.stat().st_size} bytes of {weights.stat().st_mtime_ns}"
    if isinstance(config, ShortConfig):
        found["interval"] = config.interval
    return found


def report(
    config: EvaluationConfig,
    model: ChunkModel,
    data: EvaluationData,
    networks: Networks,
    found: Gathered,
    num_processes: int,
) -> dict[str, Any]:
    """The report as it is written."""
    scores, missing = summarise(found, data, networks)
    passes = network_evaluations(config.sampler, config.num_steps)
    return {
        "command": f"irasim evaluate {data.protocol}",
        "config": asdict(config),
        "dataset": config.dataset_label,
        "protocol": data.protocol,
        "model": {"name": config.label, **model.describe()},
        "hardware": hardware(str(model.device)),
        "processes": num_processes,
        "versions": versions() | {name: version(name) for name in PACKAGES},
        "seed": config.seed,
        "network_evaluations_per_chunk": passes * (1 if config.guidance == 1 else 2),
        "counts": {
            "items": len(data.items),
            "episodes": len({item.episode_id for item in data.items}),
            "samples": {name: part.count for name, part in sorted(found.features.items())},
        },
        "scores": scores,
        "not_available": missing,
        "metrics": protocols(data, networks, model.num_frames),
        "items": found.items,
    }


def protocols(data: EvaluationData, networks: Networks, num_frames: int) -> dict[str, str]:
    """How each figure is taken, in words."""
    fvd = fvd_protocols(num_frames)
    found = {
        "latent_l2": "mean squared difference of predicted latents, mean over items",
        "psnr, ssim": "mean over predicted frames, then over items; at most "
        f"{PSNR_CAP:.0f} dB; the reference's: grey on files for short, RGB on files for long",
        "files": f"H.264 on both sides (CRF {REFERENCE_CRF}, yuv420p, {REFERENCE_FPS} fps)"
        if data.protocol == "short"
        else f"H.264 (CRF {REFERENCE_CRF}, yuv420p) against the dataset's own videos",
    }
    if not data.has_frames:
        return {"latent_l2": found["latent_l2"]}
    for metric, how in networks.protocol.items():
        if metric not in networks.missing:
            found[metric] = how
    if "fvd" in found:
        found["fvd"] += f"; arrays: {fvd['arrays']}"
        if data.protocol == "short":
            found["fvd"] += f"; files: {fvd['files']}"
    if "fid" in found and data.protocol == "short":
        found["fid"] += "; files: exact predictions against true frames out of H.264"
    return found

"""The `irasim` command: it helps, quickly, and its flags do not change by accident."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import bench, evaluate
from irasim_env.console import COMMANDS, main

GROUPS = {"bench": bench.parts(), "evaluate": evaluate.PARTS}  # commands of several parts
EVALUATE = """
    model data out truth name dataset split kind action-scale accumulate no-accumulate camera
    frame-size pixel-size source broken limit vae vae-batch num-heads sampler num-steps guidance
    seed cpu no-cpu lpips-trunk lpips-network lpips-network-sha256 lpips-heads lpips-heads-sha256
    inception inception-sha256 i3d i3d-sha256 fetch no-fetch
"""
POLICIES = """
    world out episodes truth-episodes truth max-steps batch starts first-seed warm-up ends
    success-detector
    seed device ray ray-workers
"""
LEARNING = """
    world out algorithm num-envs updates-per-step horizon reach starts test-starts check-starts
    check-every uncertainty-samples penalty device
"""
# A flag that goes or changes its name breaks scripts: it belongs in the CHANGELOG, then here.
FLAGS = {
    "play": """
        world start seed device fps scale smooth no-smooth reality no-reality directions speed
        auto-reset no-auto-reset max-episode-steps record keys steps typed chunk
        browser no-browser host port token no-token origins players idle uncertainty-samples
        uncertain-above
    """,
    "label": """
        splits names bodies robot plane like overwrite no-overwrite fit-frames seed
    """,
    "collect": """
        env-id env-kwargs policy out split episodes max-steps camera states height width hidden
        workers ray ray-workers
    """,
    "push": "revision private no-private message dry-run no-dry-run",
    "encode": """
        vae splits height width draw seed precision batch threads broken cpu no-cpu
    """,
    "convert": """
        out camera states action reward done height width fps commands absolute-components episodes
        broken val test env-id lossless no-lossless task episodes-per-file
    """,
    "import": """
        out vae num-heads dataset name starts starts-split starts-source max-starts camera
        action-low action-high action-scale fps height width sampler num-steps guidance
    """,
    "export": "out onnx starts",
    "train": """
        preset data more-data init out name budget max-steps seed
        codec codec-share codec-width network patch width depth num-heads parts
        blend-contrast context states no-states hidden poses points frame-edges mask-radii
        proxy no-proxy symmetric no-symmetric dynamics-steps reward-frequencies action-names
        refinement-iterations states-share
        self-rollout-from absolute-weight motion-weight clip-frames num-steps
        noise-scale change-threshold
        batch-clips accumulation mixed-precision rate edge-weight ema clip-norm warmup
        rollout-from rollout-rounds decay-from heads-from
        validate-every save-every validation-episodes cpu no-cpu
        collect-env collect-env-kwargs collect-policy collect-episodes
        success-on-termination no-success-on-termination max-episode-steps start-frames max-starts
    """,
    "bench quality": """
        world data out split episodes context observed-start no-observed-start horizon controls
        shifts videos batch seed device
    """,
    "bench speed": """
        world out batch steps repeats threads seed device precision age contexts compare
    """,
    "bench simulator": "task out steps repeats seed",
    "bench best-of": """
        world out candidates trials objective max-steps seed device imagine max-rows precision
        workers
    """,
    "bench endurance": "world out steps hold start seed real no-real device",
    "bench passes": """
        world data out split episodes context horizons passes teacher-passes seed batch device
    """,
    "bench gpu": "out budget smoke no-smoke stages world seed",
    "bench planning": """
        world out candidates horizon iterations envs max-rows precisions repeats threads seed device
        imagine
    """,
    "bench pusht-planning": """
        world real no-real candidates trials out max-steps seed rank budget-minutes device max-rows
        precision workers imagine ray ray-workers
    """,
    "bench ranking": f"{POLICIES} family policies",
    "bench family": "task policies episodes seed out",
    "bench tabletop-readings": "data split episodes stride out",
    "bench chunk": """
        size patch-size height width frames batch pndm-steps few-steps variants turns
        decode-batches threads seed device out
    """,
    "bench reinforcement": f"{LEARNING} real steps seeds",
    "bench uncertainty": """
        world data out split episodes windows context horizon samples batch seed device
    """,
    "bench card": "world quality speed",
    "evaluate short": f"{EVALUATE} interval batch",
    "evaluate long": EVALUATE,
    "evaluate table": "",
    "evaluate policy": f"{POLICIES} policy algorithm trust-pickle no-trust-pickle",
    "distill": """
        world data out passes teacher-passes budget max-steps seed start-frames clip-frames
        batch-clips accumulation mixed-precision rate ema clip-norm warmup validate-every save-every
        validation-episodes cpu no-cpu
    """,
    "plan": """
        world env model planner candidates horizon iterations std objective executed episodes
        max-steps seed out device max-rows precision workers imagine
    """,
    "rl": f"{LEARNING} place steps seed starts-dir",
}
# Seconds of importing that no --help needs.
HEAVY = {"torch", "diffusers", "accelerate", "stable_baselines3", "tensorboard", "pygame"}
RUN = f"""
import sys
from irasim_env.console import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
print("heavy:", *sorted({HEAVY} & set(sys.modules)))
"""


def help_of(command: str) -> str:
    """What `irasim COMMAND --help` prints; nothing heavy may have been loaded for it."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, *command.split(), "--help"],
        env=os.environ | {"COLUMNS": "300", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.returncode, done.stderr
    text, _, heavy = done.stdout.rpartition("heavy:")
    assert not heavy.strip(), f"irasim {command} --help loads {heavy}"
    return text


def irasim(*arguments: str, cwd: Path | None = None) -> "subprocess.CompletedProcess[str]":
    """Run `irasim ...` as a shell does."""
    command = [sys.executable, "-m", "irasim_env.console", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(("arguments", "said"), [(["--help"], ""), ([], "stopped")])
def test_output_that_nobody_reads_ends_a_command_without_a_traceback(arguments, said, unbuffered):
    """As `irasim --help | head` does, whose reader goes after some lines."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "irasim_env.console", *arguments]
    env = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, env=env, check=False)
    os.close(writing)
    assert done.returncode == 128 + signal.SIGPIPE
    printed = done.stderr.decode()
    assert "Traceback" not in printed and "Exception ignored" not in printed
    assert printed.strip().startswith(f"irasim: {said}" if said else "") and said in printed


@pytest.mark.parametrize("command", ["", *GROUPS])
def test_help_names_every_command(command):
    text = help_of(command)
    for name in GROUPS.get(command, COMMANDS):
        assert f"  {name} " in text


def test_every_command_has_its_flags_frozen():
    single = {name for name in COMMANDS if name not in GROUPS}
    assert set(FLAGS) == single | {f"{name} {part}" for name in GROUPS for part in GROUPS[name]}


@pytest.mark.parametrize("command", FLAGS)
def test_flags_are_frozen_and_each_is_explained(command):
    text = help_of(command)
    # A row of the table opens with its flags: "│ -o PATH, --out PATH     Directory of ...".
    rows = re.split(r"^│ (?=-)", text, flags=re.MULTILINE)[1:]
    flags = set()
    for row in rows:
        head, _, explanation = re.sub(r"[│╭╮╰╯─\n]", "  ", row).strip().partition("  ")
        flags |= set(re.findall(r"--([a-z][\w-]*)", head))
        # tyro gives a bare "(default: ...)" to a field without a docstring.
        assert re.match(r"[^\W_]", explanation.strip()), row
    assert flags - {"help"} == set(FLAGS[command].split())


def test_unknown_command_is_refused_with_the_known_ones():
    done = irasim("paly")
    assert done.returncode
    assert "unknown command 'paly'" in done.stderr
    assert "did you mean play?" in done.stderr
    assert all(name in done.stderr for name in COMMANDS)
    done = irasim("bench", "sped")
    assert done.returncode
    assert "unknown part 'sped'" in done.stderr
    assert all(name in done.stderr for name in bench.parts())


def test_unknown_flag_is_refused():
    done = irasim("collect", "--env-di", "x", "--out", "y")
    assert done.returncode
    assert "--env-di" in done.stdout + done.stderr


@pytest.mark.parametrize(
    "command",
    [
        ("play", "--steps", "1"),
        ("plan", "--out", "out"),
        ("bench", "speed"),
        ("bench", "quality", "--data", "data"),
    ],
)
def test_unknown_device_is_refused_with_those_there(command, tmp_path, tiny_world):
    done = irasim(*command, "--world", str(tiny_world), "--device", "banana", cwd=tmp_path)
    assert done.returncode
    assert "device is 'banana', expected one that is here: cpu" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_version_is_told(capsys):
    main(["--version"])
    assert capsys.readouterr().out.startswith("irasim-env 0.")

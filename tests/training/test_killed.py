"""A run that is killed, in whatever phase, goes on and comes to the same world to the byte."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState

from tests.training.test_train import config_for, data
from training.run.directory import CODEC_STATE, HEAD_STATE, STATE, STATES_STATE
from training.run.resumable import ResumableTrainer
from training.streaming import states
from training.streaming.config import TrainConfig
from training.train import main

__all__ = ["data"]  # fixture

# Four steps of the codec, eight of the states, six of the denoiser, three of the head.
PHASES = {CODEC_STATE: 4, STATES_STATE: 8, STATE: 6, HEAD_STATE: 3}
SHAPE = {"codec": "autoencoder_tiny", "codec_width": 8, "codec_share": 0.5, "patch": 2}
SETTINGS = {"heads_from": 0.7, "self_rollout_from": 0.4, "save_every": "0s", "validate_every": "1h"}
SIZES = {"CLIPS": 16, "FRAMES": 8, "REWARDED": 16}
KILLED = """
import os, signal, sys
from pathlib import Path
from tests.training.test_killed import at_step, run_config, small
from training.train import main

small(setattr)
at_step(int(sys.argv[3]), lambda: os.kill(os.getpid(), signal.SIGKILL), setattr)
main(run_config(Path(sys.argv[1]), Path(sys.argv[2])))
"""


class KilledError(Exception):
    """What stops a process of a run in these tests."""


def run_config(data: Path, out: Path) -> TrainConfig:
    return config_for(data, out, **SHAPE, **SETTINGS)


def small(patch: Callable[[object, str, object], None]) -> None:
    """Fewer samples a step."""
    for name, count in SIZES.items():
        patch(states, name, count)


def at_step(
    number: int, kill: Callable[[], object], patch: Callable[[object, str, object], None]
) -> list[str]:
    """Kill when that many steps of any phase have been taken, the last one not yet saved."""
    taken: list[str] = []
    count = ResumableTrainer.count_step

    def counted(trainer: ResumableTrainer, *rest):
        taken.append(trainer.state_name)
        if len(taken) == number:
            kill()
        return count(trainer, *rest)

    patch(ResumableTrainer, "count_step", counted)
    return taken


def stop() -> None:
    raise KilledError


def result(out: Path) -> tuple[bytes, dict]:
    """The weights of a run's world, and what it says of its training."""
    report = json.loads((out / "world/train.json").read_text())
    kept = {name: report[name] for name in ("validation", "head_loss")}
    kept |= {name: report["trained"][name] for name in ("step", "frames")}
    return (out / "world/model.safetensors").read_bytes(), kept


@pytest.fixture(scope="module")
def undisturbed(data, tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, dict]:
    out = tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as patch:
        small(patch.setattr)
        taken = at_step(-1, stop, patch.setattr)
        main(run_config(data, out))
    assert {name: taken.count(name) for name in PHASES} == PHASES
    assert not (out / STATES_STATE).exists()
    return result(out)


@pytest.mark.slow_suite
def test_interrupted_again_and_again(data, tmp_path, undisturbed):
    """Each process takes three steps, in whatever phases, and loses the last."""
    deaths, every = [], 3
    for _ in range(sum(PHASES.values())):
        AcceleratorState._reset_state(reset_partial_state=True)
        with pytest.MonkeyPatch.context() as patch:
            small(patch.setattr)
            taken = at_step(every, stop, patch.setattr)
            try:
                main(run_config(data, tmp_path))
                break
            except KilledError:
                deaths.append(taken[-1])
    assert set(deaths) == set(PHASES)
    assert len(deaths) <= sum(PHASES.values()) // (every - 1)  # one step is lost each time
    assert result(tmp_path) == undisturbed


@pytest.mark.slow_suite
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_asked_to_stop_it_loses_no_step(data, tmp_path, undisturbed, number):
    """Though states are hardly ever saved otherwise, in no phase a step is taken twice."""
    # A test run in the background ignores Ctrl-C, and so would the run.
    before = signal.signal(number, signal.default_int_handler)
    config = dataclasses.replace(run_config(data, tmp_path), save_every="1h")
    taken: list[str] = []
    reasons = set()
    for _ in range(sum(PHASES.values())):
        AcceleratorState._reset_state(reset_partial_state=True)
        with pytest.MonkeyPatch.context() as patch:
            small(patch.setattr)
            now = at_step(5, lambda: os.kill(os.getpid(), number), patch.setattr)
            try:
                main(config)
                break
            except KeyboardInterrupt as stopped:
                reasons.add(stopped.args)
            finally:
                taken += now
    signal.signal(number, before)
    assert reasons == {(number,)}
    assert {name: taken.count(name) for name in PHASES} == PHASES
    assert result(tmp_path) == undisturbed


def test_killed_while_the_states_are_put_beside_the_run(data, tmp_path, undisturbed):
    """What a phase has made is there whole, and its state is not gone before."""
    for name in ("codec.safetensors", "states.safetensors"):
        with pytest.MonkeyPatch.context() as patch:
            small(patch.setattr)
            replace = os.replace

            def dies(path: Path, target: Path, *, at: str = name, replace=replace) -> None:
                if Path(target).name == at:
                    raise KilledError
                replace(path, target)

            patch.setattr(os, "replace", dies)
            with pytest.raises(KilledError):
                main(run_config(data, tmp_path))
        assert not (tmp_path / name).exists()
    with pytest.MonkeyPatch.context() as patch:
        small(patch.setattr)
        taken = at_step(-1, stop, patch.setattr)
        main(run_config(data, tmp_path))
    assert STATES_STATE not in taken
    assert result(tmp_path) == undisturbed


@pytest.mark.slow_suite
def test_killed_by_the_system(data, tmp_path, undisturbed):
    """kill -9 in each phase, then to the end: steps of all phases are counted on."""
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    root = Path(__file__).parents[2]
    # Lost are the 3rd, the 5th of the states, the 2nd of the denoiser, and the 2nd of the head.
    for number in (3, 7, 6, 7, -1):
        done = subprocess.run(
            [sys.executable, str(script), str(data), str(tmp_path / "run"), str(number)],
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == (0 if number == -1 else -signal.SIGKILL), done.stderr[-2000:]
    assert result(tmp_path / "run") == undisturbed


@pytest.mark.slow_suite
def test_a_run_that_is_given_more_time_trains_its_head_anew(data, tmp_path):
    """On the denoiser that it then has: as a run does that had the time from the beginning."""
    settings = SETTINGS | {"decay_from": 0.7, "rollout_from": 0.0, "self_rollout_from": 1.0}
    config = config_for(data, tmp_path / "run", states=False, **settings)
    main(dataclasses.replace(config, max_steps=4))
    with pytest.MonkeyPatch.context() as patch:
        taken = at_step(-1, stop, patch.setattr)
        main(config)
        assert taken.count(HEAD_STATE) == 3
        taken.clear()
        main(config)  # nothing is left to do
        assert not taken
    longer = config_for(data, tmp_path / "longer", states=False, **settings)
    main(longer)
    assert result(tmp_path / "run")[0] == result(tmp_path / "longer")[0]


def test_a_state_of_another_phase_is_refused(data, tmp_path):
    config = run_config(data, tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        small(patch.setattr)
        at_step(3, stop, patch.setattr)
        with pytest.raises(KilledError):
            main(config)
        with pytest.raises(SystemExit, match="another seed"):
            main(dataclasses.replace(config, seed=5))
        (tmp_path / CODEC_STATE).write_bytes(b"x")
        with pytest.raises(ValueError, match="is damaged"):
            main(config)
    assert torch.is_grad_enabled()

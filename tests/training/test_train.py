"""Training: the whole command in miniature, exact resume, any number of processes."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from tests.conftest import TINY_CONFIG, make_starts, without_states
from tests.training.processes import AFTER, BEFORE
from training.command import parse
from training.data.clips import ClipStore
from training.data.episodes import Episode, write_episode
from training.run.config import seconds
from training.streaming.config import TrainConfig, preset
from training.streaming.heads import HeadTrainer
from training.streaming.objective import draw_levels
from training.streaming.trainer import Trainer
from training.train import earlier_training, main, prepare
from world_model import WorldModel

SHAPE = (48, 48)


def write_moving_square(root: Path, split: str, count: int, num_steps: int = 12) -> None:
    """Episodes of a square that an action moves: what it does next is known exactly. A hidden pose
    follows it and turns, which no picture shows."""
    for i in range(count):
        rng = np.random.default_rng((hash_of(split), i))
        actions = rng.uniform(-1, 1, (num_steps, 2)).astype(np.float32)
        place, frames = np.array([20.0, 20.0]), []
        states, poses, angle = [], [], 0.5
        for t in range(num_steps + 1):
            frame = np.full((*SHAPE, 3), 255, np.uint8)
            x, y = place.astype(int)
            frame[y : y + 8, x : x + 8] = (30, 60, 200)
            frames.append(frame)
            states.append(place.copy())
            poses.append([*place, angle])
            if t < num_steps:
                place = np.clip(place + 4 * actions[t], 0, 40)
                angle += 0.2 * actions[t, 0]
        episode = Episode(
            episode_id=f"{i:06d}",
            frames=np.stack(frames),
            actions=actions,
            rewards=np.linspace(0, 1, num_steps),
            terminated=np.arange(num_steps) == num_steps - 1,
            states={"place": np.stack(states)},
            hidden={"pose": np.array(poses)},
            seed=i,
            env_id="NoSuchSquare-v0",
            policy="random",
            fps=10.0,
        )
        write_episode(root, split, episode)


def world_of_other_frames(path: Path) -> Path:
    world = WorldModel.create(without_states(TINY_CONFIG), make_starts(TINY_CONFIG))
    world.save_pretrained(path)
    return path


def hash_of(split: str) -> int:
    return ("train", "val", "test").index(split)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("squares")
    write_moving_square(root, "train", 6)
    write_moving_square(root, "val", 2, num_steps=9)
    return root


def config_for(data: Path, out: Path, **changes) -> TrainConfig:
    settings = {
        "data": data,
        "out": out,
        "cpu": True,
        "max_steps": 8,
        "warmup": 1,
        "collect_env": None,
        "hidden": (),
        "poses": (),
        "points": (),
        "mask_radii": (),
        "frame_edges": None,
        "action_names": (),
    }
    return dataclasses.replace(preset("tiny"), **settings | changes)


@pytest.fixture
def accelerator() -> Accelerator:
    return Accelerator(cpu=True)


def test_the_head_keeps_to_its_share_of_the_budget(data, tmp_path, accelerator):
    """A step of it may take longer than one of the denoiser, of which it has its share."""
    config = config_for(data, tmp_path, states=False, heads_from=0.9)
    trainer, world, _ = prepare(config, accelerator)
    by_the_clock = dataclasses.replace(config, max_steps=None, budget="100s")
    for one, shares in ((by_the_clock, (0.5, 0.9)), (config, (0.01, 0.9))):
        head = HeadTrainer(world, trainer.store, one, accelerator, 0, 1000)
        head.progress.elapsed = 5.0  # of its ten seconds
        for step, share in zip((10, 900), shares, strict=True):
            head.progress.step = step
            assert head.fraction() == pytest.approx(share)


def losses(trainer: Trainer, count: int) -> list[float]:
    return [trainer.train_step()["loss/denoiser"] for _ in range(count)]


@pytest.mark.slow_suite
@pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorboard.*")
def test_the_whole_command_writes_a_world_that_steps(data, tmp_path, capsys):
    directory = main(config_for(data, tmp_path / "run", validate_every="0s", save_every="0s"))
    world = WorldModel.from_pretrained(directory)
    assert len(world.starts) == 2
    start = world.starts[0]
    state = world.start(start.frames[None], start.actions[None], [0])
    out = world.step_(state, start.actions[None, 0])
    assert out.frame.shape == (1, *SHAPE, 3)
    assert out.states["place"].shape == (1, 2)
    report = json.loads((directory / "train.json").read_text())
    assert report["trained"]["step"] == 8
    assert report["frames_per_second"] > 0
    assert list((tmp_path / "run/samples").glob("*.mp4"))
    assert list((tmp_path / "run/logs").rglob("events.*"))
    assert "bounds are taken from the data" in capsys.readouterr().out


@pytest.mark.slow_suite
def test_loss_falls(data, tmp_path, accelerator):
    config = config_for(data, tmp_path, rate=3e-3)
    trainer, _, _ = prepare(dataclasses.replace(config, max_steps=150), accelerator)
    curve = losses(trainer, 150)
    assert np.mean(curve[-20:]) < 0.75 * np.mean(curve[:20])


@pytest.mark.slow_suite
@pytest.mark.parametrize("self_rollout_from", [1.0, 0.1])
def test_a_resumed_run_continues_as_if_it_had_not_stopped(
    data, tmp_path, accelerator, self_rollout_from
):
    config = config_for(data, tmp_path, rollout_from=0.2, self_rollout_from=self_rollout_from)
    trainer, _, _ = prepare(config, accelerator)
    losses(trainer, 3)
    trainer.save_state(tmp_path / "state.pt")
    expected = losses(trainer, 3)
    again, _, _ = prepare(config, Accelerator(cpu=True))
    assert again.progress.step == 3
    assert losses(again, 3) == expected
    for a, b in zip(trainer.average, again.average, strict=True):
        assert torch.equal(a, b)


def test_accumulation_does_not_change_the_loss(data, tmp_path, accelerator):
    whole, _, _ = prepare(config_for(data, tmp_path), accelerator)
    parts, _, _ = prepare(config_for(data, tmp_path, accumulation=2), Accelerator(cpu=True))
    np.testing.assert_allclose(losses(whole, 4), losses(parts, 4), rtol=1e-4)


PROCESS = f"""{BEFORE}
import sys
from training.run.directory import run_training
from training.train import prepare
from tests.training.test_train import config_for

def train(config, accelerator):
    trainer, _, _ = prepare(config, accelerator)
    for _ in range(4):
        figures = trainer.train_step()
        if accelerator.is_main_process:
            print("loss", accelerator.num_processes, repr(figures["loss/denoiser"]), flush=True)
    trainer.save_state(config.out / "state.pt")
    return config.out

data, out, states = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "True"
run_training(train, config_for(data, out, states=states, self_rollout_from=0.2), set())
{AFTER}"""


@pytest.mark.slow_suite
@pytest.mark.parametrize("states", [True, False])
def test_two_processes_train_as_one_does(data, tmp_path, accelerator, states):
    script = tmp_path / "process.py"
    script.write_text(PROCESS)
    root = Path(__file__).parents[2]
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    result = subprocess.run(
        [sys.executable, *command, str(script), str(data), str(tmp_path / "two"), str(states)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    lines = [line.split() for line in result.stdout.splitlines() if line.startswith("loss")]
    assert [line[1] for line in lines] == ["2"] * 4
    config = config_for(data, tmp_path / "one", states=states, self_rollout_from=0.2)
    trainer, _, _ = prepare(config, accelerator)
    alone = losses(trainer, 4)
    # The rows of both processes were saved, and one process can go on with all of them.
    if states:
        (tmp_path / "one/state.pt").write_bytes((tmp_path / "two/state.pt").read_bytes())
        again, _, _ = prepare(config, Accelerator(cpu=True))
        assert again.progress.step == 4
        [mine], [theirs] = trainer.self_rollouts, again.self_rollouts
        for name, tensor in mine.tensors().items():
            torch.testing.assert_close(theirs.tensors()[name], tensor, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose([float(line[2]) for line in lines], alone, rtol=1e-5)


@pytest.mark.slow_suite
def test_a_world_is_trained_on_from_with_further_episodes(data, tmp_path, accelerator):
    first = main(config_for(data, tmp_path / "first"))
    write_moving_square(tmp_path / "more", "train", 3)
    config = config_for(data, tmp_path / "second", init=first, more_data=(tmp_path / "more",))
    config = dataclasses.replace(config, name="second")
    with pytest.raises(ValueError, match="--width is 64, but .* has 32 .*--init"):
        prepare(dataclasses.replace(config, width=64), accelerator)
    trainer, world, _ = prepare(config, accelerator)
    assert trainer.store.num_episodes == 6 + 3
    (earlier,) = earlier_training(config)
    assert earlier["episodes"] == 6
    assert "config" not in earlier
    kept = WorldModel.from_pretrained(first)
    assert world.config == dataclasses.replace(kept.config, name="second")
    had_their_phase = {
        id(p) for m in world.conditioner.trained_first().values() for p in m.parameters()
    }
    theirs = dict(kept.named_parameters())
    unchanged = {name for name, mine in world.named_parameters() if torch.equal(mine, theirs[name])}
    trained = {name for name, mine in world.named_parameters() if id(mine) in had_their_phase}
    assert set(theirs) - trained <= unchanged
    # The law of these squares is the same whichever episodes it is fitted to, so it may come out
    # the same to the last bit.
    assert trained & unchanged <= {"conditioner.dynamics.weight", "conditioner.dynamics.bias"}


def test_a_world_of_other_frames_is_not_trained_on_from(data, tmp_path, accelerator):
    other = world_of_other_frames(tmp_path / "other")
    with pytest.raises(ValueError, match="96 x 96, 2 action components"):
        prepare(config_for(data, tmp_path, init=other), accelerator)


def test_damaged_state_and_other_model_are_refused(data, tmp_path, accelerator):
    trainer, _, _ = prepare(config_for(data, tmp_path), accelerator)
    path = tmp_path / "state.pt"
    trainer.save_state(path)
    other, _, _ = prepare(config_for(data, tmp_path / "x", width=48), Accelerator(cpu=True))
    with pytest.raises(ValueError, match="another model"):
        other.load_state(path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match="damaged"):
        trainer.load_state(path)


def test_another_run_in_the_same_directory_is_refused(data, tmp_path):
    main(config_for(data, tmp_path))
    with pytest.raises(SystemExit, match="another depth"):
        main(config_for(data, tmp_path, depth=3))


def test_missing_data_says_how_to_get_some(tmp_path):
    with pytest.raises(SystemExit, match="nothing does not exist.*irasim collect"):
        main(config_for(tmp_path / "nothing", tmp_path / "run"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(SystemExit, match="has no train and no val episodes.*irasim collect"):
        main(config_for(tmp_path / "empty", tmp_path / "run"))


def test_recordings_of_lerobot_are_to_be_converted(tmp_path):
    (tmp_path / "robot" / "meta").mkdir(parents=True)
    (tmp_path / "robot" / "meta" / "info.json").write_text("{}")
    cure = f"irasim convert {tmp_path / 'robot'} --out data/robot"
    with pytest.raises(SystemExit) as told:
        main(config_for(tmp_path / "robot", tmp_path / "run"))
    assert str(told.value).count(cure) == 1
    with pytest.raises(ValueError, match=cure):
        ClipStore(tmp_path / "robot", "train")


@pytest.mark.parametrize("split", ["train", "val"])
def test_missing_split_of_converted_data_is_not_to_be_collected(data, tmp_path, split):
    shutil.copytree(data, tmp_path / "data")
    shutil.rmtree(tmp_path / "data" / "annotation" / split)
    (tmp_path / "data" / "convert.json").write_text("{}")
    with pytest.raises(SystemExit, match=f"has no {split} episodes: convert again") as told:
        main(config_for(tmp_path / "data", tmp_path / "run"))
    assert "irasim collect" not in str(told.value)
    with pytest.raises(ValueError, match=f"has no {split} episodes .*convert again") as told:
        ClipStore(tmp_path / "data", split)
    assert "irasim collect" not in str(told.value)


@pytest.mark.slow_suite
def test_recordings_without_seed_and_environment_train(data, tmp_path):
    """As `irasim convert` brings them in: there is no simulator to put where they begin."""
    for split in ("train", "val"):
        for path in (data / "annotation" / split).glob("*.json"):
            content = json.loads(path.read_text()) | {"seed": None, "env_id": None}
            (tmp_path / "data" / "annotation" / split).mkdir(parents=True, exist_ok=True)
            (tmp_path / "data" / "annotation" / split / path.name).write_text(json.dumps(content))
    shutil.copytree(data / "videos", tmp_path / "data" / "videos")
    world = WorldModel.from_pretrained(main(config_for(tmp_path / "data", tmp_path / "run")))
    assert world.config.ground_truth is None
    assert all(start.replay is None for start in world.starts)


@pytest.mark.parametrize("kind", ["autoencoder_tiny", "autoencoder_kl"])
def test_a_world_with_a_learned_codec_trains_and_steps(data, tmp_path, kind):
    config = config_for(data, tmp_path, codec=kind, codec_width=8, patch=2)
    world = WorldModel.from_pretrained(main(dataclasses.replace(config, max_steps=3)))
    assert world.config.latent_shape == (4, 6, 6)
    start = world.starts[0]
    state = world.start(start.frames[None], start.actions[None], [0])
    assert world.step_(state, start.actions[None, 0]).frame.shape == (1, *SHAPE, 3)


def test_clips_keep_the_time_contract(data):
    store = ClipStore(data, "train")
    clips = store.clips(torch.tensor([0, store.offsets[1] - 3]), 7)
    assert clips.valid.tolist()[0] == [True] * 7
    assert clips.valid.tolist()[1] == [True] * 3 + [False] * 4
    # The action at t is the one that led from frame t - 1 to frame t.
    place = clips.states["place"]
    moved = (place[:, :-1] + 4 * clips.actions[:, 1:]).clamp(0, 40)
    torch.testing.assert_close(moved[0], place[0, 1:])
    assert clips.ended[1].tolist()[:3] == [False, False, True]


def test_samples_do_not_depend_on_the_batch_they_are_in(data):
    store = ClipStore(data, "train")
    many = store.sample(5, torch.arange(8), 7)
    one = store.sample(5, torch.tensor([6]), 7)
    assert torch.equal(many.frames[6], one.frames[0])
    levels = draw_levels(torch.full((8,), 5), torch.arange(8), 7)
    assert torch.equal(levels[6], draw_levels(torch.tensor([5]), torch.tensor([6]), 7)[0])


def test_durations():
    assert seconds("90s") == 90
    assert seconds("20min") == 1200
    assert seconds("1.5h") == 5400
    with pytest.raises(ValueError, match="write 90s, 20min"):
        seconds("soon")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"clip_frames": 5}, "twice the context"),
        ({"accumulation": 3}, "does not divide"),
        ({"heads_from": 0.1}, "out of order"),
        ({"self_rollout_from": 0.95}, "up to heads_from"),
    ],
)
def test_wrong_configs_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(preset("tiny"), **changes)


def test_command_line_overrides_the_preset():
    config = parse(["--preset", "pusht", "--budget", "3min", "--depth", "2"])
    assert config == dataclasses.replace(preset("pusht"), budget="3min", depth=2)
    with pytest.raises(SystemExit, match="no preset 'nosuch'"):
        parse(["--preset", "nosuch"])

"""Mistakes in arguments: each command tells them in one line, before its work, and loses nothing.

A ValueError is what `irasim` prints without a traceback, with exit status 1.
"""

import shutil
from pathlib import Path

import numpy as np
import pytest
from accelerate.state import AcceleratorState

from irasim_env import console
from training.data.clips import ClipStore
from training.data.episodes import Episode, write_episode

PUSHT = "gym_pusht:gym_pusht/PushT-v0"
# Commands that write into --out; WORLD, DATA and OUT are put in.
WRITING = [
    f"collect --env-id {PUSHT} --out OUT",
    "convert DATA --out OUT",
    "import absent.pt --out OUT",
    "export WORLD --out OUT/x.pt",
    "train --data DATA --out OUT --cpu",
    "train --preset chunk_tiny --data DATA --out OUT --cpu",
    "distill --world WORLD --data DATA --out OUT --cpu",
    "bench quality --world WORLD --data DATA --out OUT",
    "bench speed --world WORLD --out OUT",
    "bench endurance --world WORLD --out OUT",
    "bench passes --world WORLD --data DATA --out OUT",
    "bench planning --world WORLD --out OUT",
    "bench pusht-planning --world 500=WORLD --out OUT",
    "bench ranking --world WORLD --out OUT",
    "bench chunk --out OUT",
    "bench reinforcement --world WORLD --out OUT",
    "bench uncertainty --world WORLD --data DATA --out OUT",
    "evaluate short --model absent.pt --data DATA --out OUT",
    "evaluate long --model absent.pt --data DATA --out OUT",
    "evaluate policy --world WORLD --policy policies.pusht_family:expert --out OUT",
    "rl --world WORLD --out OUT",
    "plan --world WORLD --out OUT",
]


@pytest.fixture(autouse=True)
def nothing_kept():
    """accelerate keeps the first precision of a process: not that of the tests before, nor for
    those that come after."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture
def place(tmp_path: Path, tiny_world: Path) -> dict[str, Path]:
    """A world, data whose second episode of each split is damaged, and a file."""
    found = {name: tmp_path / name.lower() for name in ("DATA", "FILE", "EMPTY", "OUT")}
    for split in ("train", "val", "test"):
        for name in ("a", "b"):
            write_episode(found["DATA"], split, episode(name))
        video = found["DATA"] / "videos" / split / "b.mp4"
        video.write_bytes(video.read_bytes()[:1000])
    found["FILE"].write_text("{kept")
    found["EMPTY"].mkdir()
    return found | {"WORLD": tiny_world}


def episode(name: str, size: int = 96) -> Episode:
    """Of the shape that `tiny_world` predicts."""
    rng = np.random.default_rng(0)
    return Episode(
        episode_id=name,
        frames=rng.integers(0, 256, (7, size, size, 3), dtype=np.uint8),
        actions=rng.uniform(0, 512, (6, 2)).astype(np.float32),
        rewards=rng.uniform(size=6),
        terminated=np.arange(6) == 5,
        states={"agent_pos": rng.uniform(0, 512, (7, 2))},
        hidden={"block_pose": rng.uniform(0, 6, (7, 3))},
        seed=3,
        env_id=PUSHT,
        env_kwargs={"obs_type": "pixels_agent_pos"},
        policy="play",
        fps=10.0,
    )


def told(place: dict[str, Path], command: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """What `irasim COMMAND` says when it stops; other exceptions pass."""
    words = command.split()
    for name, path in place.items():
        words = [word.replace(name, str(path)) for word in words]
    monkeypatch.setattr("sys.argv", ["irasim", *words])
    monkeypatch.delenv("IRASIM_TRACEBACK", raising=False)
    with pytest.raises(SystemExit) as stopped:
        console.main()
    return str(stopped.value.code)


@pytest.mark.parametrize("below", ["", "/a/b"])
@pytest.mark.parametrize("command", WRITING)
def test_out_on_a_file_is_told_before_the_work(
    place: dict[str, Path], command: str, below: str, monkeypatch: pytest.MonkeyPatch
):
    message = told(place, command.replace("OUT", f"FILE{below}"), monkeypatch)
    assert f"{place['FILE']} is a file, expected a directory; give another --out" in message
    assert place["FILE"].read_text() == "{kept"


@pytest.mark.parametrize(
    "command",
    [
        "convert DATA --out OUT",
        "train --data DATA --out OUT --cpu",
        "distill --world WORLD --data DATA --out OUT --cpu",
        "bench quality --world WORLD --data DATA --out OUT --episodes 2 --device cpu",
        "bench passes --world WORLD --data DATA --out OUT --episodes 2 --device cpu",
    ],
)
@pytest.mark.parametrize("source", ["DATA", "EMPTY", "FILE", "ABSENT"])
def test_data_that_cannot_be_read_is_named(
    place: dict[str, Path], command: str, source: str, monkeypatch: pytest.MonkeyPatch
):
    path = place.get(source, place["OUT"].with_name("absent"))
    message = told(place | {"DATA": path}, command, monkeypatch)
    assert str(path) in message
    if source == "DATA":
        assert "b.mp4: cannot be decoded" in message


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("evaluate short --model absent.pt --data DATA --out OUT", "no checkpoint at absent.pt"),
        ("evaluate long --model absent.pt --data DATA --out OUT", "no checkpoint at absent.pt"),
        ("evaluate table FILE", "FILE: is not readable as JSON"),
        ("bench quality --world WORLD --data DATA --out OUT --device gpu", "device is 'gpu'"),
        ("bench card --world WORLD --quality FILE", "FILE: is not readable as JSON"),
        ("encode DATA --vae EMPTY", "holds no AutoencoderKL"),
        ("train --data absent", "absent does not exist"),
        ("train --data FILE", "FILE is a file, expected a directory"),
        ("bench speed --world EMPTY --out OUT", "EMPTY is no world"),
        ("bench speed --world pusth --out OUT", "did you mean pusht?"),
        ("plan --world WORLD --out OUT --device gpu", "device is 'gpu'"),
        ("plan --world WORLD --out OUT --planner best --std 1", "--std: for planners that refit"),
        ("plan --world WORLD --out OUT --workers 2", "--workers: for the real simulator"),
        ("rl --out OUT --algorithm ppo --updates-per-step 2", "--updates-per-step: for SAC"),
        ("bench reinforcement --out OUT --algorithm ppo --updates-per-step 2", "for SAC"),
        ("export WORLD --out EMPTY", "EMPTY: is a directory, expected a file"),
        ("export WORLD --onnx FILE", "FILE is a file, expected a directory; give another --onnx"),
    ],
)
def test_what_cannot_be_used_is_named(
    place: dict[str, Path], command: str, message: str, monkeypatch: pytest.MonkeyPatch
):
    for name, path in place.items():
        message = message.replace(name, str(path))
    assert message in told(place, command, monkeypatch)
    assert not place["OUT"].exists()


def test_a_run_given_for_its_world_is_told_where_that_is(
    place: dict[str, Path], tiny_world: Path, monkeypatch: pytest.MonkeyPatch
):
    shutil.copytree(tiny_world, place["OUT"] / "world")
    message = told(place, "bench speed --world OUT --out EMPTY", monkeypatch)
    assert f"its world is {place['OUT']}/world" in message


def test_an_episode_of_another_size_is_the_one_that_is_named(tmp_path: Path):
    for name in ("a", "b", "c"):
        size = 48 if name == "a" else 32
        write_episode(tmp_path, "train", episode(name, size))
    with pytest.raises(ValueError, match=r"train/a\.json: frames of 48 x 48 x 3.*2 of 3 .*32 x 32"):
        ClipStore(tmp_path, "train")


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("collect.json", f"collect --env-id {PUSHT} --out OUT"),
        ("train_config.json", "train --data DATA --out OUT --cpu"),
        ("config.json", "rl --world WORLD --out OUT --starts 1 --test-starts 1 --check-starts 1"),
        ("latent_videos/encode.json", "encode OUT --vae EMPTY"),
        ("meta/info.json", "convert OUT --out EMPTY"),
    ],
)
def test_damaged_note_of_a_run_is_named_and_kept(
    place: dict[str, Path], name: str, command: str, monkeypatch: pytest.MonkeyPatch
):
    shutil.copytree(place["DATA"], place["OUT"])
    path = place["OUT"] / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("{oops")
    (place["OUT"] / "state.pt").touch()
    message = told(place, command, monkeypatch)
    assert str(path) in message and "restore it" in message
    assert path.read_text() == "{oops"


def test_refused_autoencoder_leaves_no_note(
    place: dict[str, Path], monkeypatch: pytest.MonkeyPatch
):
    told(place, "encode DATA --vae EMPTY", monkeypatch)
    assert not (place["DATA"] / "latent_videos").exists()

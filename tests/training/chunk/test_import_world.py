"""`irasim import` and `irasim export`: checkpoints in the reference's form to worlds and back."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from irasim_env import console
from tests.chunk_worlds import tiny_vae
from tests.golden import figures
from tests.training.published_data import make_frames, positions, write_arm, write_plane
from tests.world_model.chunk_denoisers import chunk_inputs, tiny_irasim, tiny_unet
from training import export
from training.chunk.import_world import ImportConfig, main
from world_model import ChunkWorld, WorldModel, load_reference_checkpoint, save_reference_checkpoint
from world_model.frames import pixels_to_frames

EXAMPLE = Path(__file__).parents[4] / "shared" / "irasim_example" / "languagetable"
FAST = {"sampler": "ddim", "num_steps": 2}


@pytest.fixture(scope="module")
def vae(tmp_path_factory) -> str:
    """8 pixels to a latent cell."""
    path = tmp_path_factory.mktemp("vae")
    tiny_vae(num_levels=4).save_pretrained(path)
    return str(path)


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    path = tmp_path / "table.pt"
    save_reference_checkpoint(tiny_irasim(action_embedding="linear"), path)
    return path


def imported(config: ImportConfig) -> ChunkWorld:
    world = WorldModel.from_pretrained(main(config))
    assert isinstance(world, ChunkWorld)
    return world


def test_a_checkpoint_becomes_a_world_with_the_same_predictions(checkpoint, vae, tmp_path):
    world = imported(ImportConfig(checkpoint=checkpoint, vae=vae, out=tmp_path / "w", **FAST))
    config = world.config
    assert (config.name, config.height, config.width, config.fps) == ("w", 32, 48, 10.0)
    assert config.action_low == (-0.1, -0.1)
    assert config.action_scale == (20.0, 20.0)
    assert config.sampler.name == "ddim"
    assert not config.reward_head
    denoiser = tiny_irasim(action_embedding="linear")
    inputs = chunk_inputs(denoiser)
    with torch.no_grad():
        assert torch.equal(world.denoiser(*inputs), denoiser(*inputs))
    frames = np.zeros((1, 1, 32, 48, 3), np.uint8)
    state = world.start(frames, np.zeros((1, 0, 2)), [0])
    assert world.step_(state, np.array([[0.1, 0.0]])).frame.shape == (1, 32, 48, 3)
    kept = json.loads((tmp_path / "w" / "import.json").read_text())
    assert kept["dataset"] == "languagetable"
    assert kept["config"]["checkpoint"] == str(checkpoint)


def test_the_autoencoder_is_the_given_one(checkpoint, vae, tmp_path):
    world = imported(ImportConfig(checkpoint=checkpoint, vae=vae, out=tmp_path / "w", **FAST))
    pixels = torch.rand(1, 3, 32, 48) * 2 - 1
    with torch.no_grad():
        mean = tiny_vae(num_levels=4).encode(pixels).latent_dist.mean  # type: ignore[union-attr]
        torch.testing.assert_close(world.codec.encode(pixels), mean * 0.13025)


def test_export_gives_the_checkpoint_back(checkpoint, vae, tmp_path):
    out = main(ImportConfig(checkpoint=checkpoint, vae=vae, out=tmp_path / "w", **FAST))
    console.run(["export", str(out), "--out", str(tmp_path / "deep" / "again.pt")])
    again = load_reference_checkpoint(tmp_path / "deep" / "again.pt")
    for name, tensor in load_reference_checkpoint(checkpoint).state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
    kept = json.loads((tmp_path / "deep" / "again.export.json").read_text())
    assert kept["config"]["world"] == str(out)
    assert kept["versions"]["torch"] == torch.__version__


def test_failed_export_leaves_what_was_there(checkpoint, vae, tmp_path, monkeypatch):
    out = main(ImportConfig(checkpoint=checkpoint, vae=vae, out=tmp_path / "w", **FAST))
    (tmp_path / "x.pt").write_text("kept")

    def fail(content, file):
        file.write(b"half")
        raise OSError("the disk is full")

    monkeypatch.setattr("world_model.chunk.reference.checkpoint.torch.save", fail)
    with pytest.raises(OSError, match="disk is full"):
        export.main(export.ExportConfig(world=str(out), out=tmp_path / "x.pt"))
    assert (tmp_path / "x.pt").read_text() == "kept"
    assert not list(tmp_path.glob(".*"))


def test_a_streaming_world_is_not_exported(tiny_world, tmp_path):
    with pytest.raises(ValueError, match="'tiny' has the streaming engine.*chunk worlds can"):
        export.main(export.ExportConfig(world=str(tiny_world), out=tmp_path / "x.pt"))


def test_first_frames_of_videos_become_starts(checkpoint, vae, tmp_path):
    for episode_id in "bac":
        write_plane(tmp_path / "data", episode_id, split="val")
    world = imported(
        ImportConfig(
            checkpoint=checkpoint, vae=vae, out=tmp_path / "w", starts=tmp_path / "data",
            starts_split="val", max_starts=2, **FAST,
        )
    )  # fmt: skip
    assert [start.episode_id for start in world.starts] == ["a", "b"]
    start = world.starts[0]
    assert start.frames.shape == (1, 32, 48, 3)  # resized from 16 x 24
    assert start.actions.shape == (0, 2)
    assert (start.frames == make_frames(positions(20))[0, 0, 0]).all()


def test_first_frames_of_latents_are_decoded_by_the_worlds_own_codec(vae, tmp_path):
    checkpoint = tmp_path / "small.pt"
    save_reference_checkpoint(
        tiny_irasim(action_embedding="linear", latent_size=(2, 3), patch_size=1), checkpoint
    )
    write_plane(tmp_path / "data")
    world = imported(
        ImportConfig(
            checkpoint=checkpoint, vae=vae, out=tmp_path / "w", starts=tmp_path / "data",
            starts_split="train", starts_source="latents", **FAST,
        )
    )  # fmt: skip
    with torch.no_grad():
        decoded = pixels_to_frames(world.codec.decode(torch.zeros(1, 4, 2, 3)))
    assert np.array_equal(world.starts[0].frames, decoded.numpy())


def test_a_camera_of_several(vae, tmp_path):
    checkpoint = tmp_path / "arm.pt"
    save_reference_checkpoint(tiny_irasim(), checkpoint)
    write_arm(tmp_path / "data", "a", split="test", cameras=2)
    frames = [
        imported(
            ImportConfig(
                checkpoint=checkpoint, vae=vae, out=tmp_path / "w", starts=tmp_path / "data",
                camera=camera, **FAST,
            )
        ).starts[0].frames
        for camera in (0, 1)
    ]  # fmt: skip
    assert not np.array_equal(*frames)


def test_options_stand_above_the_dataset(vae, tmp_path):
    checkpoint = tmp_path / "arm.pt"
    save_reference_checkpoint(tiny_irasim(), checkpoint)
    arguments = [str(checkpoint), "--vae", vae, "--out", str(tmp_path / "w"), "--fps", "7"]
    arguments += ["--action-low", *["-2"] * 7, "--action-high", *["2"] * 7]
    arguments += ["--action-scale", *["3"] * 7, "--dataset", "bridge", "--name", "mine"]
    console.run(["import", *arguments])
    config = WorldModel.from_pretrained(tmp_path / "w").config
    assert (config.name, config.fps, config.action_low) == ("mine", 7.0, (-2.0,) * 7)
    assert config.action_names[-1] == "gripper"
    assert config.num_steps == 50


@pytest.mark.parametrize(
    ("fields", "size", "downscale"),
    [({"channels": 4}, (256, 320), 8), ({"channels": 3}, (256, 320), 1)],
)
def test_unets_take_the_datasets_size(fields, size, downscale, vae, tmp_path):
    checkpoint = tmp_path / "unet.pt"
    save_reference_checkpoint(tiny_unet(**fields), checkpoint)
    world = imported(ImportConfig(checkpoint=checkpoint, vae=vae, out=tmp_path / "w"))
    assert (world.config.height, world.config.width) == size
    assert world.config.codec.downscale == downscale
    assert world.config.sampler.name == "pndm"


def test_the_size_of_a_unets_frames_can_be_given(tmp_path):
    checkpoint = tmp_path / "vdm.pt"
    save_reference_checkpoint(tiny_unet(channels=3), checkpoint)
    out = tmp_path / "w"
    config = ImportConfig(checkpoint=checkpoint, vae="unused/x", out=out, height=8, width=16)
    world = imported(config)
    assert (world.config.height, world.config.width) == (8, 16)


@pytest.mark.parametrize("name", ["rt1_frame_ada", "languagetable_video_ada", "rt1_lvdm"])
def test_the_references_checkpoints_keep_its_figures_through_a_world(
    name, golden_checkpoints, vae, tmp_path
):
    golden = figures(name)
    num_heads = None if "lvdm" in name else 4
    world = imported(
        ImportConfig(
            checkpoint=golden_checkpoints / f"{name}.pt",
            vae=vae,
            out=tmp_path / "w",
            num_heads=num_heads,
        )
    )
    with torch.no_grad():
        eps = world.denoiser(golden["x"], golden["t"], golden["actions"])
    limit = 1e-4 if "lvdm" in name else 1e-5
    assert (eps - golden["eps"]).norm() / golden["eps"].norm() < limit


@pytest.mark.skipif(not EXAMPLE.exists(), reason=f"no example episode at {EXAMPLE}")
def test_the_real_episode_is_a_start(vae, tmp_path):
    checkpoint = tmp_path / "table.pt"
    save_reference_checkpoint(
        tiny_irasim(action_embedding="linear", latent_size=(36, 64)), checkpoint
    )
    config = ImportConfig(checkpoint=checkpoint, vae=vae, out=tmp_path / "w", starts=EXAMPLE)
    frames = imported(config).starts[0].frames
    assert frames.shape == (1, 288, 512, 3)
    assert frames.std() > 20  # a picture, not a grey one


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vae": "no/such/place"}, "no such directory, and no Hub id"),
        ({"vae": "."}, "holds no AutoencoderKL"),
        ({"checkpoint": Path("nowhere.pt")}, "no checkpoint at nowhere.pt"),
        ({"starts": Path("nowhere")}, "holds no annotations"),
        ({"height": 16, "width": 24}, "16 x 24 were asked for, the weights are for 32 x 48"),
        ({"action_low": (-1.0,), "action_high": (1.0,)}, "action_scale for 1 action components"),
        ({"dataset": "rt1"}, "takes actions of 2 components, the action bounds have 7"),
        ({"num_heads": 2}, "num_heads is 2.*leave num_heads out"),
    ],
)
def test_what_cannot_be_imported_says_why(changes, message, checkpoint, vae, tmp_path):
    base = {"checkpoint": checkpoint, "vae": vae, "out": tmp_path / "w"} | FAST
    with pytest.raises(ValueError, match=message):
        main(ImportConfig(**base | changes))
    assert not (tmp_path / "w" / "config.json").exists()


def test_an_autoencoder_that_the_hub_does_not_give(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ValueError, match="owner/vae.*cannot be downloaded from the Hub"):
        main(ImportConfig(checkpoint=checkpoint, vae="owner/vae", out=tmp_path / "w"))


def test_a_checkpoint_that_does_not_say_its_dataset(checkpoint, vae, tmp_path):
    content = torch.load(checkpoint, weights_only=True)
    content["args"]["dataset"] = "mine"
    torch.save(content, tmp_path / "mine.pt")
    config = ImportConfig(checkpoint=tmp_path / "mine.pt", vae=vae, out=tmp_path / "w")
    with pytest.raises(ValueError, match="args.dataset is 'mine'.*give --dataset rt1 or bridge"):
        main(config)

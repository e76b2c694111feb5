"""The recorded frames that an anchored world keeps, and which one it looks at."""

import dataclasses

import numpy as np
import pytest
import torch

from tests.world_model.anchored.test_world import CONFIG, REFERRING, made
from world_model import AnchoredWorld, WorldModel
from world_model.anchored.references import References


def kept(count: int = 4) -> References:
    painter = dataclasses.replace(CONFIG.painter, references=count)
    references = References(dataclasses.replace(CONFIG, painter=painter))
    references.states.copy_(torch.tensor([[0.0, 0.0], [0.9, 0.0], [0.0, 0.5], [0.9, 0.9]]))
    references.frames.copy_(
        torch.arange(count, dtype=torch.uint8)[:, None, None, None].expand_as(references.frames)
    )
    return references


def of(world: WorldModel) -> References:
    assert isinstance(world, AnchoredWorld)
    assert world.references is not None
    return world.references


def levels(pictures: torch.Tensor) -> list[int]:
    return [round(float(p.mean() + 1) * 127.5) for p in pictures]


def test_the_frame_recorded_nearest_is_taken():
    pictures, states = kept().nearest(torch.tensor([[0.1, 0.1], [0.8, 0.8], [0.05, 0.4]]))
    assert levels(pictures) == [0, 3, 2]
    torch.testing.assert_close(states, torch.tensor([[0.0, 0.0], [0.9, 0.9], [0.0, 0.5]]))


def test_near_is_what_the_metric_says():
    references = kept()
    states = torch.tensor([[0.6, 0.48]])
    assert levels(references.nearest(states)[0]) == [3]
    references.metric.copy_(torch.diag(torch.tensor([0.1, 1.0])))  # the first hardly matters
    assert levels(references.nearest(states)[0]) == [2]


def test_many_at_once_take_what_each_would_alone():
    references = kept()
    states = torch.rand(300, 2, generator=torch.Generator().manual_seed(0))
    together = references.nearest(states)[1]
    alone = torch.cat([references.nearest(each[None])[1] for each in states])
    assert torch.equal(together, alone)


def test_frames_are_kept_as_bytes(tmp_path):
    world = made(REFERRING)
    world.save_pretrained(tmp_path)
    again = WorldModel.from_pretrained(tmp_path)
    assert of(again).frames.dtype == torch.uint8
    assert torch.equal(of(again).frames, of(world).frames)
    # Weights are rounded as they are stored, so the second world's own rollout is what repeats.
    again.save_pretrained(tmp_path / "again")
    third = WorldModel.from_pretrained(tmp_path / "again")
    action = np.array([[0.3, -0.4]], np.float32)
    frames = [w.step_(w.begin([0], [0]), action).frame for w in (again, third)]
    assert torch.equal(*frames)


def test_the_reference_is_in_the_picture():
    world = made(REFERRING)
    action = np.array([[0.3, -0.4]], np.float32)
    before = world.step_(world.begin([0], [0]), action).frame.clone()
    of(world).frames.fill_(255)
    world.weights_changed()
    assert not torch.equal(world.step_(world.begin([0], [0]), action).frame, before)


@pytest.mark.parametrize("count", [-1, 2**16 + 1])
def test_how_many_is_checked(count):
    with pytest.raises(ValueError, match="references"):
        dataclasses.replace(CONFIG.painter, references=count)

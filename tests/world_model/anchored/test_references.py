"""The recorded frames that an anchored world keeps, and which one it looks at."""

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.world_model.anchored.test_world import CONFIG, REFERRING, made
from world_model import AnchoredWorld, WorldModel
from world_model.anchored.painter import Given, blended
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


def painted(world: WorldModel) -> torch.Tensor:
    state = world.begin([0], [0])
    world.step_(state, np.array([[0.3, -0.4]], np.float32))
    return state.latents


def test_a_frame_is_the_mean_of_what_each_reference_gives():
    painter = dataclasses.replace(CONFIG.painter, references=3, references_per_frame=3)
    world = made(dataclasses.replace(CONFIG, painter=painter))
    together, frames = painted(world), []
    for k in range(3):
        alone = made(
            dataclasses.replace(
                CONFIG, painter=dataclasses.replace(painter, references=1, references_per_frame=1)
            )
        )
        rest = {n: v for n, v in world.state_dict().items() if not n.startswith("references.")}
        alone.load_state_dict(rest, strict=False)
        of(alone).frames.copy_(of(world).frames[k : k + 1])
        of(alone).states.copy_(of(world).states[k : k + 1])
        frames.append(painted(alone))
    assert (frames[0] - frames[1]).abs().max() > 0.01
    # Each is rounded to a grey level, 2 / 255.
    torch.testing.assert_close(torch.stack(frames).mean(0), together, rtol=0, atol=0.009)


def test_contrast_chooses_among_sources():
    painter = dataclasses.replace(CONFIG.painter, references=4)
    world = made(dataclasses.replace(CONFIG, painter=painter))
    given = Given(*(torch.rand(1, 3, 32, 64), torch.zeros(1, 2)) * 2)
    sketch = world.painter.sketch(given, torch.full((1, 2), 0.3))
    logits, sources = world.painter.sources_of(sketch, given)
    soft, hard = (blended(logits, sources, contrast).weights for contrast in (1.0, 50.0))
    assert torch.equal(soft.argmax(1), hard.argmax(1))
    assert hard.amax(1).mean() > 0.9 > soft.amax(1).mean()


def test_fine_detail_is_that_of_the_nearest_reference():
    """The rest, means of windows of 5 x 5 pixels, is that of the mean over references."""
    shape = dataclasses.replace(CONFIG.painter, references=4)
    of_one = dataclasses.replace(shape, detail_contrast=1.0)  # its own detail: nothing changes
    of_many = dataclasses.replace(shape, references_per_frame=3)
    detailed = dataclasses.replace(of_many, detail_contrast=1.0)
    one, same, mean, both = (
        painted(made(dataclasses.replace(CONFIG, painter=p)))
        for p in (shape, of_one, of_many, detailed)
    )
    torch.testing.assert_close(same, one, rtol=0, atol=0.009)

    rest = F.avg_pool2d(mean - one, 5, 1)  # without padding: of inner pixels
    assert rest.abs().max() > 0.05
    expected = one[..., 2:-2, 2:-2] + rest
    torch.testing.assert_close(both[..., 2:-2, 2:-2], expected, rtol=0, atol=0.02)


def test_a_robot_that_has_hardly_moved_is_shown_as_it_was():
    """Each environment for itself, and painted again as soon as it has moved far enough."""
    action = np.array([[0.3, -0.4], [0.3, -0.4]], np.float32)
    shown = {}
    for within in (0.0, 1e-6, 100.0):
        painter = dataclasses.replace(REFERRING.painter, rest_within=within)
        world = made(dataclasses.replace(REFERRING, painter=painter))
        state = world.begin([0, 1], [0, 0])
        given = state.output.frame.clone()
        shown[within] = world.step_(state, action).frame.clone()
    assert torch.equal(shown[100.0], given)
    assert torch.equal(shown[1e-6], shown[0.0])
    assert not torch.equal(shown[0.0], given)


def test_the_reference_is_in_the_picture():
    world = made(REFERRING)
    action = np.array([[0.3, -0.4]], np.float32)
    before = world.step_(world.begin([0], [0]), action).frame.clone()
    of(world).frames.fill_(255)
    world.weights_changed()
    assert not torch.equal(world.step_(world.begin([0], [0]), action).frame, before)


@pytest.mark.parametrize(
    "changes",
    [
        {"references": -1},
        {"references": 2**16 + 1},
        {"references_per_frame": 2},
        {"blend_contrast": 0},
        {"detail_contrast": -1},
        {"rest_within": -1},
    ],
)
def test_shapes_that_it_cannot_have_are_refused(changes):
    with pytest.raises(ValueError, match=next(iter(changes))):
        dataclasses.replace(CONFIG.painter, **changes)

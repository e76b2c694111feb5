"""Whether a world takes fine detail from one reference, decided by what its frames lack."""

import numpy as np
import pytest

from tests.world_model.anchored.test_world import CONFIG, made
from training.anchored import detail
from training.streaming.validate import Validation


@pytest.mark.parametrize(("blurred", "contrast"), [(False, 0.0), (True, detail.CONTRAST)])
def test_detail_is_taken_from_one_only_where_frames_are_soft(monkeypatch, blurred, contrast):
    true = np.random.default_rng(0).integers(0, 256, (2, 30, 8, 8, 3), np.uint8)
    predicted = true.copy()
    late = 4 + detail.LATE - 1
    if blurred:
        predicted[:, late:] = predicted[:, late:].mean(axis=(2, 3), keepdims=True)
    else:
        predicted[:, 4:late] = 0  # frames before are not looked at
    validation = Validation(true=true, predicted=predicted, num_given=4)
    monkeypatch.setattr(detail, "predict_episodes", lambda *_: validation)
    world = made(CONFIG)
    sharpness = detail.choose_detail(world, store=None, count=2)
    assert sharpness == pytest.approx(0.0 if blurred else 1.0)
    assert world.config.painter.detail_contrast == contrast


def test_short_episodes_are_judged_by_their_last_frame(monkeypatch):
    true = np.random.default_rng(0).integers(0, 256, (2, 6, 8, 8, 3), np.uint8)
    predicted = true.copy()
    predicted[:, :-1] = 0
    validation = Validation(true=true, predicted=predicted, num_given=4)
    monkeypatch.setattr(detail, "predict_episodes", lambda *_: validation)
    assert detail.choose_detail(made(CONFIG), store=None, count=2) == pytest.approx(1.0)

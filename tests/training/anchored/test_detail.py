"""Whether a world takes fine detail from one reference, decided by what its frames lack."""

import numpy as np
import pytest

from tests.world_model.anchored.test_world import CONFIG, REFERRING, made
from training.anchored import detail, rest
from training.streaming.validate import Validation


@pytest.mark.parametrize(("blurred", "contrast"), [(False, 0.0), (True, detail.CONTRASTS[-1])])
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
    assert sharpness == pytest.approx((0.0, 0.0) if blurred else (1.0, 1.0))
    assert world.config.painter.detail_contrast == contrast


def test_short_episodes_are_judged_by_their_last_frame(monkeypatch):
    true = np.random.default_rng(0).integers(0, 256, (2, 6, 8, 8, 3), np.uint8)
    predicted = true.copy()
    predicted[:, :-1] = 0
    validation = Validation(true=true, predicted=predicted, num_given=4)
    monkeypatch.setattr(detail, "predict_episodes", lambda *_: validation)
    assert detail.choose_detail(made(CONFIG), store=None, count=2) == pytest.approx((1.0, 1.0))


def test_the_least_contrast_that_is_sharp_is_taken(monkeypatch):
    true = np.random.default_rng(0).integers(0, 256, (2, 30, 8, 8, 3), np.uint8)
    world = made(CONFIG)

    def predict(world, *_):
        sharp = world.config.painter.detail_contrast / 4
        predicted = (128 + np.sqrt(sharp) * (true.astype(float) - 128)).clip(0, 255)
        return Validation(true=true, predicted=predicted.astype(np.uint8), num_given=4)

    monkeypatch.setattr(detail, "predict_episodes", predict)
    before, now = detail.choose_detail(world, store=None, count=2)
    assert before == 0
    assert world.config.painter.detail_contrast == 5 and now >= detail.SOFT


def test_a_frame_rests_as_far_as_is_nearest_to_the_recordings(monkeypatch):
    true = np.full((2, 10, 8, 8, 3), 100, np.uint8)
    world = made(REFERRING)

    def predict(world, *_, horizon):
        assert horizon == rest.SOON
        off = abs(world.config.painter.rest_within - 0.75) * 100
        return Validation(true=true, predicted=(true + off).astype(np.uint8), num_given=4)

    monkeypatch.setattr(rest, "predict_episodes", predict)
    tried = rest.choose_rest(world, store=None, count=2)
    assert world.config.painter.rest_within == 0.75
    assert set(tried) == {*rest.TRIED} and max(tried, key=tried.__getitem__) == 0.75

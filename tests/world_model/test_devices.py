"""A device that is not there is told, with what can be said instead."""

import pytest
import torch

from world_model import WorldModel
from world_model.devices import find_device


def test_devices_are_found_by_name():
    assert find_device("cpu") == find_device(torch.device("cpu")) == torch.device("cpu")


@pytest.mark.parametrize(
    ("name", "message"),
    [("gpu", "device is 'gpu', expected cpu or cuda"), ("cuda:99", "'cuda:99', torch sees")],
)
def test_absent_device_is_named(tiny_world, name: str, message: str):
    with pytest.raises(ValueError, match=message):
        WorldModel.from_pretrained(tiny_world, device=name)

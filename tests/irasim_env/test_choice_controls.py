"""Keys of discrete actions."""

import numpy as np
import pytest

from irasim_env.choice_controls import ChoiceControls
from irasim_env.player import help_lines
from irasim_env.world_controls import controls_of
from tests.conftest import TINY_CONFIG, without_states
from world_model import StreamingConfig
from world_model.choices import ChoicesConfig


def config(choices: ChoicesConfig) -> StreamingConfig:
    settings = vars(without_states(TINY_CONFIG)) | {
        "action_low": (0.0,) * choices.size,
        "action_high": (1.0,) * choices.size,
        "action_names": (),
        "choices": choices,
    }
    return StreamingConfig(**settings)


def controls(space: str, *counts: int, first: tuple[int, ...] | None = None) -> ChoiceControls:
    choices = ChoicesConfig(space=space, counts=counts, first=first or (0,) * len(counts))  # type: ignore[arg-type]
    made = controls_of(config(choices))
    assert isinstance(made, ChoiceControls)
    return made


def numbers(made: ChoiceControls, action: np.ndarray) -> list[int]:
    return np.atleast_1d(made.choices.numbers(action)).tolist()


def test_a_single_choice_has_a_key_for_each():
    made = controls("discrete", 6, first=(1,))
    rest = made.first_action()
    assert numbers(made, rest) == [1]
    for key, number in {"right": 1, "a": 2, "down": 3, "w": 4, "u": 5, "j": 6}.items():
        assert numbers(made, made.next_action(rest, {key})) == [number]
    assert numbers(made, made.next_action(made.next_action(rest, {"u"}), set())) == [1]
    assert made.keys == ("right", "d", "left", "a", "down", "s", "up", "w", "u", "j")
    assert made.target(rest) is None
    lines = help_lines(made)
    assert lines[0] == ("RIGHT or D", "action 1")
    assert ("no key", "action 1") in lines


def test_choices_without_a_key_are_told():
    assert ("no keys", "actions from 16") in controls("discrete", 18).help


def test_several_choices_have_a_pair_of_keys_each():
    made = controls("multi_discrete", 3, 2, 5)
    action = made.first_action()
    assert numbers(made, action) == [1, 0, 0]
    action = made.next_action(action, {"right", "s", "u"})
    assert numbers(made, action) == [2, 1, 1]
    action = made.next_action(action, {"left", "u"})
    assert numbers(made, action) == [0, 0, 2]
    action = made.next_action(action, {"j"}, pointer=(0.1, 0.1))
    assert numbers(made, action) == [1, 0, 1]  # of five it stays where it was brought
    assert numbers(made, made.next_action(action, set())) == [1, 0, 1]
    assert len(made.labels) == 10
    assert help_lines(made)[2] == ("U / J", "action component 2: on / back")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"space": "discrete", "counts": (2, 2), "first": (0, 0)}, "one choice, not 2"),
        ({"space": "discrete", "counts": (0,), "first": (0,)}, "0 possibilities"),
        ({"space": "multi_discrete", "counts": (2, 2), "first": (0,)}, "as many of both"),
    ],
)
def test_choices_of_another_form_are_refused(settings: dict, message: str):
    with pytest.raises(ValueError, match=message):
        ChoicesConfig(**settings)


def test_bounds_must_be_of_as_many_components():
    choices = ChoicesConfig(space="discrete", counts=(4,), first=(0,))
    with pytest.raises(ValueError, match="make 4 action components, the bounds say 2"):
        StreamingConfig(**vars(without_states(TINY_CONFIG)) | {"choices": choices})


def test_config_with_choices_is_read_back():
    made = config(ChoicesConfig(space="multi_binary", counts=(2, 2), first=(0, 0)))
    assert StreamingConfig.from_json(made.to_json()) == made

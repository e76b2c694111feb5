"""Worlds of earlier versions, whose configs say in several places what is together now."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import TINY_CONFIG, with_planar, with_states, without_states
from world_model import StreamingConfig, WorldConfig
from world_model.io.checkpoint import find_world, read_config
from world_model.streaming.states.config import PlanarConfig, ProxyConfig

FULL = with_planar(
    with_states(
        TINY_CONFIG,
        labelled=("block_pose",),
        proxy=ProxyConfig(body_cells=(9,)),
        refinement_iterations=2,
        reward_sees_motion=True,
        reward_frequencies=3,
    ),
    symmetries=(3,),
)


def flat(config: dict[str, Any]) -> dict[str, Any]:
    """A streaming world's config, as in JSON, in the form of earlier versions."""
    config = json.loads(json.dumps(config))
    states = config.pop("states")
    config["denoiser"]["sees_states"] = states is not None
    if states is not None:
        config["plane"] = states.pop("planar")
        config |= {key: states.pop(key) for key in ("hidden", "labelled", "proxy")}
        config["denoiser"] |= states
    return config


def content(config: StreamingConfig) -> dict[str, Any]:
    return json.loads(config.to_json())


def read(config: dict[str, Any]) -> WorldConfig:
    return WorldConfig.from_json(json.dumps(config))


@pytest.mark.parametrize("config", [TINY_CONFIG, FULL, without_states(TINY_CONFIG)])
def test_both_forms_are_the_same_world(config):
    assert read(content(config)) == config
    assert read(flat(content(config))) == config


def test_the_shipped_world_as_an_earlier_version_wrote_it_is_the_same(tmp_path):
    earlier = Path(__file__).with_name("pusht_of_an_earlier_version.json")
    (tmp_path / "config.json").write_bytes(earlier.read_bytes())
    shipped = find_world("pusht")
    assert read_config(tmp_path) == read_config(shipped)
    written = json.loads((shipped / "config.json").read_text())
    config, _ = read_config(shipped)
    assert written["states"] == json.loads(config.to_json())["states"]


def test_the_earliest_worlds_lack_fields_and_have_the_defaults():
    config = flat(content(TINY_CONFIG))
    for key in ("labelled", "proxy"):
        del config[key]
    for key in ("reward_sees_motion", "reward_frequencies", "refinement_iterations"):
        del config["denoiser"][key]
    assert read(config) == TINY_CONFIG


def test_a_plain_video_world_has_no_trace_of_states():
    config = content(without_states(TINY_CONFIG))
    assert config["states"] is None
    assert not {"hidden", "labelled", "plane", "proxy"} & config.keys()
    gone = {"sees_states", *content(TINY_CONFIG)["states"]}
    assert not gone & config["denoiser"].keys()
    empty = flat(config) | {"hidden": {}, "plane": {"action": True}, "proxy": {}}
    assert read(empty) == without_states(TINY_CONFIG)


def old(**changes: Any) -> dict[str, Any]:
    return flat(content(TINY_CONFIG)) | changes


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (content(TINY_CONFIG) | {"plane": {}}, "plane and 'states' are given.* remove the former"),
        (old(states=None), "hidden, labelled, plane, proxy, denoiser.* remove the former"),
        (old(planes={}), "unknown key 'planes'"),
        (old(plane={"point": ["agent_pos"]}), "states: planar: unknown key 'point'"),
        (old(hidden=[]), "states: hidden: expected"),
        (old(denoiser={"sees_states": 1}), "denoiser: sees_states: expected true or false, got 1"),
        (old(denoiser={"sees": True}), "denoiser.sees_states is not set; set it, or remove hidden"),
        (old(denoiser=[]), "denoiser: expected an object, got list"),
    ],
)
def test_what_fits_no_form_is_refused(config, message):
    with pytest.raises(ValueError, match=message):
        read(config)


def test_older_places_are_readable_with_a_warning_that_names_the_new_one():
    for config in (FULL, without_states(FULL)):
        states = config.states
        for old_name, name, nothing in (
            ("hidden", "hidden", {}),
            ("labelled", "labelled", ()),
            ("plane", "planar", PlanarConfig()),
            ("proxy", "proxy", ProxyConfig()),
        ):
            message = f"StreamingConfig: {old_name} is deprecated, use states.{name}"
            with pytest.warns(DeprecationWarning, match=message):
                found = getattr(config, old_name)
            assert found == (nothing if states is None else getattr(states, name))
            with pytest.raises(AttributeError):
                setattr(config, old_name, nothing)


def test_what_needs_states_says_so():
    assert TINY_CONFIG.required_states is TINY_CONFIG.states
    with pytest.raises(ValueError, match="world 'tiny' knows no states .*irasim train --states"):
        _ = without_states(TINY_CONFIG).required_states

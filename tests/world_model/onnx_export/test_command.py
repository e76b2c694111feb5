"""`irasim export --onnx`: what it refuses, and what it leaves alone."""

import dataclasses
import sys

import pytest

from irasim_env import console
from tests.chunk_worlds import pixel_world, save
from tests.conftest import TINY_CONFIG, make_starts
from world_model import WorldModel
from world_model.onnx_export.folder import check_exportable
from world_model.onnx_export.graph import check_installed


def export(*arguments):
    console.run(["export", *map(str, arguments)])


@pytest.mark.parametrize("options", [[], ["--out", "model.pt", "--onnx", "folder"]])
def test_it_writes_one_of_two_forms(tiny_world, options):
    with pytest.raises(ValueError, match="give one of --onnx FOLDER, .* and --out FILE.pt"):
        export(tiny_world, *options)


def test_a_chunk_world_is_refused_with_what_it_can_be(tmp_path):
    world = save(pixel_world(), tmp_path / "world")
    with pytest.raises(ValueError, match=r"chunk engine.* streaming or anchored .*--out FILE\.pt"):
        export(world, "--onnx", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_world_without_starts_is_refused():
    with pytest.raises(ValueError, match="has no starts"):
        check_exportable(WorldModel.create(TINY_CONFIG), 1)


def test_no_starts_are_refused(tiny_world, tmp_path):
    with pytest.raises(ValueError, match="--starts is 0, expected at least 1"):
        export(tiny_world, "--onnx", tmp_path / "out", "--starts", 0)


def test_what_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ValueError, match=r"irasim-env\[onnx\]"):
        check_installed()


def test_a_folder_with_other_files_is_left_alone(tiny_world, tmp_path):
    (tmp_path / "thesis.tex").write_text("kept")
    with pytest.raises(ValueError, match="other files in it; name a new or an empty one"):
        export(tiny_world, "--onnx", tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "kept"


def test_a_world_that_cannot_be_traced_leaves_what_was_there(tiny_world, tmp_path, monkeypatch):
    out = tmp_path / "out"
    out.mkdir()
    (out / "world.json").write_text("{}")

    def fail(*_):
        raise ValueError("not traced")

    monkeypatch.setattr("world_model.onnx_export.folder.check_installed", lambda: None)
    monkeypatch.setattr("world_model.onnx_export.folder.write_graph", fail)
    with pytest.raises(ValueError, match="not traced"):
        export(tiny_world, "--onnx", out)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (out / "world.json").read_text() == "{}"


def test_starts_are_as_many_as_there_are(monkeypatch, tmp_path):
    monkeypatch.setattr("world_model.onnx_export.folder.check_installed", lambda: None)
    monkeypatch.setattr("world_model.onnx_export.folder.write_graph", lambda *_: None)
    from world_model.onnx_export.folder import export_onnx

    config = dataclasses.replace(TINY_CONFIG, reward_head=False, success_on_termination=False)
    world = WorldModel.create(config, make_starts(config, count=2))
    described = export_onnx(world, tmp_path / "out", num_starts=5)
    assert [one["start"] for one in described["starts"]] == [0, 1]
    assert not described["reward"]["known"]
    assert len(list((tmp_path / "out/starts").iterdir())) == 2

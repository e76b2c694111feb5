"""CUDA graphs of functions: what is refused anywhere, and replays against eager on a GPU."""

import gc
import subprocess
import sys
import textwrap
from typing import Any

import pytest
import torch

from tests.conftest import NEEDS_GPU
from world_model.runtime.cuda_graph import (
    CapturedFunction,
    CapturedFunctions,
    check_inputs,
    no_collection,
)


def test_tensors_that_are_not_on_one_cuda_device_are_refused():
    with pytest.raises(ValueError, match=r"sum.*one CUDA device, got x on cpu.*graph=False"):
        CapturedFunction(torch.sum, {"x": torch.zeros(2)}, name="sum")
    with pytest.raises(ValueError, match="got none"):
        CapturedFunctions(torch.sum)()


@pytest.mark.parametrize(
    ("got", "message"),
    [
        ({}, r"captured for inputs \['x'\], got \[\]"),
        ({"y": torch.zeros(2, 3)}, r"got \['y'\]"),
        ({"x": torch.zeros(3, 3)}, r"x is torch.float32 \(3, 3\) on cpu.*captured for .*\(2, 3\)"),
        ({"x": torch.zeros(2, 3).double()}, r"x is torch.float64"),
        ({"x": torch.zeros(2, 3, device="meta")}, r"on meta, the graph was captured for .* on cpu"),
    ],
)
def test_inputs_of_another_form_are_refused(got, message):
    with pytest.raises(ValueError, match=message):
        check_inputs("f", {"x": torch.zeros(2, 3)}, got)
    check_inputs("f", {"x": torch.zeros(2, 3)}, {"x": torch.ones(2, 3)})


@pytest.mark.parametrize("enabled", [True, False])
def test_garbage_is_collected_before_and_not_during_a_capture(enabled):
    collected: list[str] = []
    hear = lambda phase, info: collected.append(phase)  # noqa: E731
    (gc.enable if enabled else gc.disable)()
    gc.callbacks.append(hear)
    try:
        with no_collection():
            assert "stop" in collected
            assert not gc.isenabled()
        assert gc.isenabled() is enabled
        with pytest.raises(RuntimeError), no_collection():
            raise RuntimeError
        assert gc.isenabled() is enabled
    finally:
        gc.callbacks.remove(hear)
        gc.enable()


def test_stepping_a_world_on_the_processor_does_not_load_it():
    code = (
        "import sys, numpy; from world_model import WorldModel;"
        "w = WorldModel.from_pretrained('pusht'); s = w.starts[0];"
        "state = w.start(s.frames[None], s.actions[None], [0]);"
        "w.step_(state, numpy.zeros((1, 2)));"
        "print('world_model.runtime.cuda_graph' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def run_alone(code: str) -> None:
    """Run in a process of its own: a refused capture may leave torch's allocator unusable."""
    code = textwrap.dedent(code)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


class TestOnGpu:
    pytestmark = NEEDS_GPU

    @staticmethod
    def function(x, weight):
        hidden = torch.tanh(x @ weight)
        return {"hidden": hidden, "sum": hidden.sum(1)}

    @staticmethod
    def inputs(rows=3, seed=0):
        generator = torch.Generator("cuda").manual_seed(seed)
        return {
            "x": torch.randn(rows, 16, device="cuda", generator=generator),
            "weight": torch.randn(16, 16, device="cuda", generator=generator),
        }

    def test_replays_equal_eager(self):
        captured = CapturedFunction(self.function, self.inputs())
        first = captured(**self.inputs(seed=1))
        second = captured(**self.inputs(seed=2))
        for made, seed in ((first, 1), (second, 2)):  # the first was not overwritten
            expected = self.function(**self.inputs(seed=seed))
            assert all(torch.equal(made[key], expected[key]) for key in expected)

    def test_without_copies_the_next_replay_overwrites(self):
        captured = CapturedFunction(self.function, self.inputs())
        first = captured(copy=False, **self.inputs(seed=1))
        second = captured(copy=False, **self.inputs(seed=2))
        assert first["hidden"].data_ptr() == second["hidden"].data_ptr()

    def test_forms_are_captured_once_each_and_do_not_disturb_each_other(self):
        captured = CapturedFunctions(self.function)
        for rows, seed in ((3, 1), (7, 2), (3, 3), (1, 4), (7, 5)):
            made = captured(copy=False, **self.inputs(rows, seed))
            expected = self.function(**self.inputs(rows, seed))
            assert all(torch.equal(made[key], expected[key]) for key in expected)
        assert len(captured) == 3

    def test_residents_change_in_place_by_replays_alone(self):
        counter = torch.zeros(4, device="cuda")

        def count(by, counter):
            counter += by
            return counter * 2

        by = torch.ones(4, device="cuda")
        captured = CapturedFunction(count, {"by": by}, residents={"counter": counter})
        assert not counter.any()
        captured(by=by)
        assert torch.equal(captured(by=2 * by), torch.full_like(by, 6.0))
        assert torch.equal(counter, torch.full_like(by, 3.0))

    def test_a_function_that_waits_for_the_device_is_refused_with_the_reason(self):
        run_alone("""
            import re, torch
            from world_model.runtime.cuda_graph import CapturedFunction
            def waits(x):
                return x * x.sum().item()
            try:
                CapturedFunction(waits, {"x": torch.ones(3, device="cuda")}, name="waits")
            except RuntimeError as error:
                message = str(error)
            assert re.search(r"waits could not be captured.*\\n.*graph=False", message), message
            assert torch.cuda.current_stream() == torch.cuda.default_stream()
            assert torch.ones(3, device="cuda").sum().item() == 3  # CUDA goes on
            captured = CapturedFunction(lambda x: x + 1, {"x": torch.ones(3, device="cuda")})
            assert captured(x=torch.zeros(3, device="cuda")).sum().item() == 3
        """)

    def test_captured_in_inference_mode_it_runs_outside_of_it(self):
        with torch.inference_mode():
            captured = CapturedFunction(self.function, self.inputs())
            captured(**self.inputs(seed=1))
        made = captured(**self.inputs(seed=2))
        expected = self.function(**self.inputs(seed=2))
        assert all(torch.equal(made[key], expected[key]) for key in expected)

    def test_a_graph_in_a_cycle_is_not_collected_while_another_is_captured(self):
        class Holder:
            pass

        holder: Any = Holder()
        holder.itself, holder.graph = holder, CapturedFunction(self.function, self.inputs())
        del holder

        def littering(x):
            for _ in range(2 * gc.get_threshold()[0]):
                cycle: list[Any] = []
                cycle.append(cycle)
            return x + 1

        x = torch.ones(3, device="cuda")
        captured = CapturedFunction(littering, {"x": x})
        assert captured(x=x).sum().item() == 6
        assert gc.isenabled()

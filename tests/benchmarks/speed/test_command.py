"""What `irasim bench speed` counts, compares with the roofline, and compares."""

import json
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.speed import stepping
from benchmarks.speed.command import SpeedConfig
from benchmarks.speed.command import main as measure_speed
from benchmarks.speed.flops import count_operations
from benchmarks.speed.interleave import program, ratio, time_in_turns
from benchmarks.speed.report import tables
from benchmarks.speed.roofline import copy_peak, product_flops, products_alone, products_peak
from benchmarks.speed.stepping import time_age, time_contexts
from tests.conftest import TINY_CONFIG, make_starts
from world_model import WorldModel
from world_model.streaming.state import StreamingState

POLITE = """
import sys
print("ready", flush=True)
for count, line in enumerate(sys.stdin):
    assert line == "step\\n", line
    print(count, flush=True)
open(sys.argv[1], "w").write(str(count + 1))
"""


@pytest.fixture(autouse=True)
def _brief(monkeypatch):
    """Peaks from a few rounds: their values do not matter here."""
    monkeypatch.setattr("benchmarks.speed.roofline.BUDGET", 0.0)
    monkeypatch.setattr("benchmarks.speed.roofline.LARGE_MATMUL", {"cpu": 64})
    monkeypatch.setattr("benchmarks.speed.roofline.LARGE_COPY", {"cpu": 2**16})


def test_work_of_layers_is_what_arithmetic_says():
    linear = nn.Linear(5, 7)
    convolution = nn.Conv2d(3, 4, 3, padding=1)
    tokens, pixels = torch.randn(2, 6, 5), torch.randn(2, 3, 8, 8)
    query = torch.randn(2, 4, 6, 8)
    layers = count_operations(lambda: (linear(tokens), convolution(pixels)))
    assert [shape for shape, _ in layers.products] == [(12, 7, 5), (128, 4, 27)]
    assert layers.flops == 2 * 12 * 7 * 5 + 2 * 128 * 4 * 27
    attention = count_operations(
        lambda: nn.functional.scaled_dot_product_attention(query, query, query)
    )
    assert attention.flops == 2 * (2 * 4 * 6 * 6 * 8) * 2  # scores, then values
    assert attention.products == ()
    assert layers.main_dtype() == torch.float32


def test_bytes_are_those_of_operands():
    x = torch.zeros(100)
    assert count_operations(lambda: x + 1).num_bytes == 800  # one read, one written
    assert count_operations(lambda: x.view(10, 10)).num_bytes == 0


def test_the_roofline_is_of_the_same_products_each_in_its_own_type():
    single, half = nn.Linear(8, 8), nn.Linear(8, 4).bfloat16()
    x = torch.randn(4, 8)
    work = count_operations(lambda: (single(x), half(x.bfloat16())))
    alone = count_operations(products_alone(work.products, "cpu"))
    assert alone.products == work.products
    assert alone.flops == work.flops == product_flops(work.products)
    assert work.products_peak("cpu") > 0


def test_peaks_are_measured_and_refuse_no_shape():
    assert products_peak([((4, 8, 16), torch.float32)] * 2, "cpu") > 0
    assert copy_peak("cpu") > 0
    for products in ([], [((4, 0, 2), torch.float32)]):
        with pytest.raises(ValueError, match="at least 1 each"):
            products_peak(products, "cpu")


def test_turns_change_who_goes_first():
    order: list[int] = []
    seconds = time_in_turns([lambda: order.append(0), lambda: order.append(1)], 4)
    assert seconds.shape == (4, 2)
    assert order[:4] == [0, 1, 1, 0]
    assert order.count(0) == order.count(1)
    with pytest.raises(ValueError, match="at least 1"):
        time_in_turns([], 0)


def test_the_ratio_is_taken_turn_by_turn():
    under = np.array([1.0, 10.0, 100.0])
    told = ratio(2 * under, under)
    assert told["ratio"] == 2.0
    assert told["ratio_interval"] == (2.0, 2.0)


def test_another_program_steps_when_told(tmp_path):
    said = tmp_path / "count"
    script = tmp_path / "polite.py"
    script.write_text(POLITE)
    with program(f"{sys.executable} {script} {said}", threads=1) as step:
        for _ in range(3):
            step()
    assert said.read_text() == "3"


@pytest.mark.parametrize(
    ("code", "told"),
    [("print('hello')", "printed 'hello', expected 'ready'"), ("", "ended with status 0")],
)
def test_a_program_that_does_not_answer_is_refused(tmp_path, code, told):
    script = tmp_path / "program.py"
    script.write_text(code)
    with (
        pytest.raises(ValueError, match=told),
        program(f"{sys.executable} {script}", threads=1),
    ):
        pass
    with pytest.raises(ValueError, match="cannot be started"), program("/no/such/program", 1):
        pass


@pytest.mark.parametrize("pause", [0.0, 0.5])  # seconds, in which it may be gone already
def test_a_program_that_dies_between_steps_is_refused(tmp_path, pause):
    script = tmp_path / "program.py"
    script.write_text("print('ready', flush=True); input(); print(1, flush=True)")
    with program(f"{sys.executable} {script}", threads=1) as step:
        step()
        time.sleep(pause)
        with pytest.raises(ValueError, match="a line for each step"):
            step()


def test_an_old_episode_holds_no_more_than_a_fresh_one(tiny_world):
    world = WorldModel.from_pretrained(tiny_world)
    told = time_age(world, age=20, turns=3, seed=0)
    assert told["old_state_bytes"] == told["fresh_state_bytes"] > 0
    assert told["grown_cuda_mib"] is None  # a processor has no such memory
    low, high = told["ratio_interval"]
    assert low <= told["ratio"] <= high


def test_a_longer_past_takes_more_memory():
    world = WorldModel.create(TINY_CONFIG, make_starts(TINY_CONFIG))
    one, four = time_contexts(world, (1, 4), turns=2, seed=0)
    assert (one["context"], four["context"]) == (1, 4)
    assert one["ratio"] == 1.0
    cache = {c: 2 * 4 * 2 * 16 * 32 * (c + 2) for c in (1, 4)}  # two of float32 (L, N, width, S)
    assert four["state_bytes"] - one["state_bytes"] == cache[4] - cache[1]


def test_a_states_bytes_count_every_tensor(tiny_world):
    world = WorldModel.from_pretrained(tiny_world)
    start = world.starts[0]
    state = world.start(start.frames[None], start.actions[None], [0])
    assert isinstance(state, StreamingState)
    expected = [state.latents, state.seeds, state.steps]
    expected += [state.before, *state.memory.values()]
    expected += vars(state.ring).values()
    out = state.output
    expected += [out.frame, out.reward, out.terminated, *out.states.values()]
    assert state.num_bytes == sum(tensor.nbytes for tensor in expected)


def test_the_report_tells_all_that_was_asked_for(tiny_world, tmp_path, capsys):
    script = tmp_path / "polite.py"
    script.write_text(POLITE)
    config = SpeedConfig(
        world=str(tiny_world),
        out=tmp_path / "out",
        batch=(1,),
        steps=3,
        repeats=1,
        threads=1,
        device="cpu",
        age=10,
        contexts=(1, 2),
        compare=f"{sys.executable} {script} {tmp_path / 'count'}",
    )
    made = measure_speed(config)
    results = json.loads((tmp_path / "out" / "speed.json").read_text())
    at = results["batches"][0]
    assert at["eager"] is None  # a processor has no graphs
    low, high = at["share_interval"]
    assert 0 < low <= at["share"] <= high
    assert at["gflops"] > 0
    assert at["gflops_ceiling"] > 0
    assert results["ceilings"]["dtype"] == "float32"
    text = capsys.readouterr().out
    assert text.startswith(tables(made))
    for told in ("not applicable", "10 steps old", "length of the past", "Against `", "own shapes"):
        assert told in text


def test_speed_refuses_what_cannot_be_measured(tiny_world):
    for change, told in [
        ({"batch": (0,)}, "batch"),
        ({"contexts": (0,)}, "contexts"),
        ({"age": -1}, "age"),
        ({"steps": 0}, "steps"),
    ]:
        with pytest.raises(ValueError, match=told):
            replace(SpeedConfig(world=str(tiny_world)), **change)


def test_the_share_is_of_products_timed_beside_the_step(tiny_world, monkeypatch):
    world = WorldModel.from_pretrained(tiny_world)
    flops = stepping.step_operations(world, 2, 0).flops
    seen = []

    def timed(calls, turns):
        seen.extend(count_operations(call) for call in calls)
        return np.array([[0.5, 0.25], [2.0, 1.0], [4.0, 1.0]])[:turns]

    monkeypatch.setattr(stepping, "time_in_turns", timed)
    told = stepping.time_products(world, 2, turns=3, seed=0)
    step, alone = seen
    assert step.flops == flops
    assert alone.products == step.products
    assert told["gflop_per_call"] == flops / 1e9
    assert told["gflops"] == pytest.approx(flops / 2.0 / 1e9)
    assert told["gflops_ceiling"] == pytest.approx(alone.flops / 1.0 / 1e9)
    assert told["share"] == pytest.approx(0.5 * flops / alone.flops)
    low, high = told["share_interval"]
    assert (low, high) == pytest.approx((0.25 * flops / alone.flops, 0.5 * flops / alone.flops))
    assert told["gbytes_per_second"] == pytest.approx(step.num_bytes / 2.0 / 1e9)


def test_reports_of_earlier_versions_can_be_shown():
    batch = {
        "batch": 1,
        "through": "gymnasium.make",
        "steps_per_second": 26.1,
        "steps_per_second_range": [25.6, 31.1],
        "latency_ms_p50": 38.0,
        "latency_ms_p99": 44.0,
        "peak_rss_mib": 372.5,
        "peak_cuda_mib": None,
    }
    results = {
        "world": {"name": "pusht", "evaluations_per_step": 3},
        "config": {"repeats": 5, "steps": 200, "seed": 0},
        "hardware": "a processor",
        "batches": [batch],
    }
    assert "|    26.1 |" in tables(results)
    batch |= {"gflop_per_call": 1.0, "gflops": 30.0, "gflops_ceiling": 60.0}
    batch |= {"gbytes_per_second": 5.0}
    results["ceilings"] = {"dtype": "float32", "gflops": 190.0, "copy_gbytes_per_second": 30.0}
    assert "| 50% |" in " ".join(tables(results).split())

"""Planners on a problem whose best plan is known, and what makes them reproducible."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import Tensor

from policies.planning import (
    CEM,
    MPPI,
    BestOf,
    BestOfConfig,
    CEMConfig,
    Memory,
    MPPIConfig,
    Objective,
    Planner,
    Proposals,
    icem_config,
)
from policies.planning.objective import until_end
from policies.planning.plan import coloured

LOW, HIGH = (-2.0, 0.0), (2.0, 10.0)
HORIZON = 5


@dataclass(frozen=True, eq=False)
class Found:
    """A prediction of our own: planners need no class of the world model's."""

    reward: Tensor
    terminated: Tensor


class Tracking:
    """Reward is highest, at 0, where each action is what its environment's state wants it to be."""

    def __init__(self) -> None:
        self.tried: list[Tensor] = []

    def __call__(self, state: Tensor, actions: Tensor) -> Found:
        self.tried.append(actions)
        scale = torch.tensor(HIGH) - torch.tensor(LOW)
        miss = (actions - state[:, None]) / scale  # (B, K, H, A), the state (B, H, A)
        reward = -(miss**2).sum(-1)
        return Found(reward, torch.zeros_like(reward, dtype=torch.bool))


def wanted(count: int = 3, seed: int = 0) -> Tensor:
    """Best plans (B, H, A), well inside of the bounds."""
    rng = np.random.default_rng(seed)
    low, high = np.array(LOW), np.array(HIGH)
    share = rng.uniform(0.2, 0.8, (count, HORIZON, 2))
    return torch.from_numpy(low + share * (high - low)).float()


def sampling(**changes) -> dict[str, Planner]:
    many = {"num_candidates": 128, "horizon": HORIZON, **changes}
    return {
        "cem": CEM(LOW, HIGH, CEMConfig(num_iterations=8, num_elites=12, **many)),
        "icem": CEM(
            LOW,
            HIGH,
            icem_config(num_iterations=8, num_elites=12, noise_exponent=0.5, **many),
        ),
        "mppi": MPPI(LOW, HIGH, MPPIConfig(num_iterations=25, noise_exponent=0, **many)),
    }


def propose(state: Tensor, memory: Memory, count: int) -> Proposals:
    """Uniform proposals; number 3 of them, from the second decision on number 1, is the best."""
    generators = [
        torch.Generator().manual_seed(int(seed) * 1000 + int(decision))
        for seed, decision in zip(memory.seeds, memory.decisions, strict=True)
    ]
    shape = (count, HORIZON, 2)
    share = torch.stack([torch.rand(shape, generator=generator) for generator in generators])
    actions = torch.tensor(LOW) + share * (torch.tensor(HIGH) - torch.tensor(LOW))
    for row, decision in enumerate(memory.decisions.tolist()):
        actions[row, 1 if decision else 3] = state[row]
    lengths = torch.arange(count).remainder(HORIZON).add(1).expand(len(state), count)
    return Proposals(actions=actions, lengths=lengths)


def best_of(count: int = 6) -> BestOf:
    config = BestOfConfig(num_candidates=count, horizon=HORIZON, objective=Objective(kind="sum"))
    return BestOf(LOW, HIGH, propose, config)


@pytest.mark.parametrize("name", ["cem", "icem", "mppi"])
def test_finds_the_best_plan(name: str):
    planner, state = sampling()[name], wanted()
    first = planner.begin([1, 2, 3])
    plan = planner(Tracking(), state, first)
    scale = torch.tensor(HIGH) - torch.tensor(LOW)
    assert ((plan.actions - state) / scale).abs().max() < 0.08
    assert ((first.mean - state) / scale).abs().max() > 0.2  # it was not there before
    assert plan.actions.shape == (3, HORIZON, 2)
    assert plan.lengths.tolist() == [HORIZON] * 3


def test_best_of_takes_the_best_proposal_and_its_length():
    planner, state = best_of(), wanted()
    memory = planner.begin([4, 5, 6])
    plan = planner(Tracking(), state, memory)
    torch.testing.assert_close(plan.actions, state)
    assert plan.lengths.tolist() == [4, 4, 4]
    assert plan.scores.shape == (3, 6)
    later = planner(Tracking(), state, plan.memory.shifted(4))
    assert later.lengths.tolist() == [2, 2, 2]


def test_best_of_one_is_the_policy_alone_and_asks_no_model():
    planner, state = best_of(4), wanted()
    alone = BestOf(LOW, HIGH, lambda *a: first_of(propose(*a[:2], 4)), replace_count(planner, 1))

    def no_model(state, actions):
        raise AssertionError("asked")

    plan = alone(no_model, state, alone.begin([4, 5, 6]))
    proposals = propose(state, planner.begin([4, 5, 6]), 4)
    torch.testing.assert_close(plan.actions, proposals.actions[:, 0])


def first_of(proposals: Proposals) -> Proposals:
    return Proposals(actions=proposals.actions[:, :1], lengths=proposals.lengths[:, :1])


def replace_count(planner: BestOf, count: int) -> BestOfConfig:
    return replace(planner.config, num_candidates=count)


@pytest.mark.parametrize("name", ["cem", "icem", "mppi", "best"])
def test_a_batch_plans_as_each_environment_alone(name: str):
    planner = best_of() if name == "best" else sampling()[name]
    state, memory = wanted(), planner.begin([7, 8, 9])
    together = planner(Tracking(), state, memory)
    for row in range(3):
        alone = planner(Tracking(), state[row : row + 1], memory.select([row]))
        torch.testing.assert_close(together.actions[row], alone.actions[0])
        torch.testing.assert_close(together.score[row], alone.score[0])


@pytest.mark.parametrize("name", ["cem", "icem", "mppi"])
def test_seed_and_decision_decide_what_is_tried(name: str):
    planner, state = sampling()[name], wanted(1)

    def tried(memory: Memory) -> Tensor:
        model = Tracking()
        planner(model, state, memory)
        return torch.cat([actions.flatten() for actions in model.tried])

    same, again, other = (tried(planner.begin([seed])) for seed in (3, 3, 4))
    assert torch.equal(same, again)
    assert not torch.equal(same, other)
    later = replace(planner.begin([3]), decisions=torch.tensor([1]))
    assert not torch.equal(same, tried(later))


@pytest.mark.parametrize("name", ["cem", "icem", "mppi"])
def test_no_candidate_leaves_the_bounds(name: str):
    planner, model = sampling(std=5.0)[name], Tracking()
    plan = planner(model, wanted(2), planner.begin([1, 2]))
    tried = torch.cat([actions.flatten(0, 2) for actions in [*model.tried, plan.actions[:, None]]])
    for component, (low, high) in enumerate(zip(LOW, HIGH, strict=True)):
        assert tried[:, component].min() >= low
        assert tried[:, component].max() <= high
        assert (tried[:, component] == low).any()  # the noise was wide enough to need it


def test_warm_start_is_the_rest_of_the_last_plan():
    planner = sampling(num_candidates=40)["icem"]
    plan = planner(Tracking(), wanted(1), planner.begin([1]))
    memory = plan.memory.shifted(2)
    torch.testing.assert_close(memory.mean[:, :3], plan.memory.mean[:, 2:])
    assert (memory.mean[:, 3:] == plan.memory.mean[:, -1:]).all()
    assert memory.decisions.tolist() == [1]
    model = Tracking()
    planner(model, wanted(1), memory)
    torch.testing.assert_close(model.tried[0][:, 0], memory.mean)
    torch.testing.assert_close(model.tried[0][:, 1:3], memory.elites)  # elites are kept
    assert plan.memory.shifted(99).mean.unique(dim=1).shape[1] == 1


def test_warm_start_helps():
    planner, state = sampling(num_candidates=24)["cem"], wanted(4, seed=5)
    planner = CEM(LOW, HIGH, replace(planner.config, num_iterations=2))
    memory, scores = planner.begin([1, 2, 3, 4]), []
    for _ in range(4):
        plan = planner(Tracking(), state, memory)
        scores.append(plan.score.mean().item())
        memory = plan.memory.shifted(0)
    assert scores == sorted(scores)
    assert scores[-1] > scores[0] / 3


def test_mppi_stays_where_all_is_equal():
    planner = sampling()["mppi"]
    memory = planner.begin([1], torch.tensor([[0.5, 3.0]]))

    def flat(state, actions):
        reward = actions.new_full(actions.shape[:3], 0.1)
        return Found(reward, torch.zeros_like(reward, dtype=torch.bool))

    torch.testing.assert_close(planner(flat, None, memory).actions, memory.mean)


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("horizon", [1, 15, 16])
def test_coloured_noise_has_deviation_one(exponent: float, horizon: int):
    white = torch.randn(20_000, horizon, generator=torch.Generator().manual_seed(0))
    noise = coloured(white, exponent)
    assert noise.std().item() == pytest.approx(1, abs=0.02)
    if horizon > 1:
        alike = (noise[:, 1:] * noise[:, :-1]).mean().item()
        assert alike == pytest.approx(0, abs=0.02) if not exponent else alike > 0.3


def test_an_end_keeps_its_reward_or_gives_nothing():
    reward = torch.tensor([[0.1, 0.9, 0.2, torch.nan], [0.1, 0.2, 0.3, 0.4]])
    ends = torch.tensor([[0, 1, 0, 1], [0, 0, 0, 0]]).bool()
    held = until_end(reward, ends, "hold")
    torch.testing.assert_close(held[0], torch.tensor([0.1, 0.9, 0.9, 0.9]))
    torch.testing.assert_close(held[1], reward[1])
    zero = until_end(reward, ends, "zero")
    torch.testing.assert_close(zero[0], torch.tensor([0.1, 0.9, 0.0, 0.0]))


def test_objectives():
    reward = torch.tensor([[[0.1, 0.9, 0.2], [0.3, 0.3, 0.4], [0.0, 0.5, 7.0]]])
    ends = torch.tensor([[[0, 0, 0], [0, 0, 0], [0, 1, 0]]]).bool()
    found = Found(reward, ends)
    for kind, expected in {
        "sum": [1.2, 1.0, 1.0],
        "final": [0.2, 0.4, 0.5],
        "max": [0.9, 0.4, 0.5],
    }.items():
        score = Objective(kind=kind).score(found)
        torch.testing.assert_close(score, torch.tensor([expected]))
    valued = Objective().score(found, lambda prediction: torch.full((1, 3), 10.0))
    torch.testing.assert_close(valued, torch.tensor([[11.2, 11.0, 1.0]]))


def test_a_reward_that_is_no_number_is_an_error():
    def broken(state, actions):
        reward = actions.new_full(actions.shape[:3], torch.nan)
        return Found(reward, torch.zeros_like(reward, dtype=torch.bool))

    for planner in sampling().values():
        with pytest.raises(ValueError, match="not finite"):
            planner(broken, None, planner.begin([1]))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CEMConfig(num_candidates=4, num_elites=5), "num_elites is 5 of 4"),
        (lambda: CEMConfig(horizon=0), "horizon is 0"),
        (lambda: MPPIConfig(temperature=0), "above 0"),
        (lambda: CEM((0,), (0,)), "low under high"),
        (lambda: CEM((0, 0), (1,)), "bounds have shapes"),
        (lambda: CEM(LOW, HIGH).begin([1], np.zeros((2, 2))), r"expected \(B, A\)"),
        (lambda: BestOfConfig(num_candidates=0), "num_candidates is 0"),
    ],
)
def test_mistakes_are_told(make, message: str):
    with pytest.raises(ValueError, match=message):
        make()

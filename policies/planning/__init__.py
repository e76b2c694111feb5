"""Planners, and what they plan in: a learned world or the simulator itself.

Names load their modules when first used.
"""

from typing import TYPE_CHECKING

from world_model.lazy_names import lazy_names

if TYPE_CHECKING:
    from policies.planning.best_of import BestOf, BestOfConfig, Proposals
    from policies.planning.branching import BranchingSimulator, Experience
    from policies.planning.cem import CEM, CEMConfig, icem_config
    from policies.planning.learned import LearnedRollout
    from policies.planning.mppi import MPPI, MPPIConfig
    from policies.planning.objective import Objective, Prediction, Rollout
    from policies.planning.plan import Memory, Plan, Planner
    from policies.planning.simulator import SimulatorRollout
    from policies.planning.stable_worldmodel import WorldCost

__all__ = [
    "CEM",
    "MPPI",
    "BestOf",
    "BestOfConfig",
    "BranchingSimulator",
    "CEMConfig",
    "Experience",
    "LearnedRollout",
    "MPPIConfig",
    "Memory",
    "Objective",
    "Plan",
    "Planner",
    "Prediction",
    "Proposals",
    "Rollout",
    "SimulatorRollout",
    "WorldCost",
    "icem_config",
]

__getattr__ = lazy_names(
    __name__,
    {
        "best_of": ["BestOf", "BestOfConfig", "Proposals"],
        "branching": ["BranchingSimulator", "Experience"],
        "cem": ["CEM", "CEMConfig", "icem_config"],
        "learned": ["LearnedRollout"],
        "mppi": ["MPPI", "MPPIConfig"],
        "objective": ["Objective", "Prediction", "Rollout"],
        "plan": ["Memory", "Plan", "Planner"],
        "simulator": ["SimulatorRollout"],
        "stable_worldmodel": ["WorldCost"],
    },
)

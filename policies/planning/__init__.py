"""Planners, and what they plan in: a learned world or the simulator itself."""

from policies.branching import BranchingSimulator, Experience
from policies.planning.best_of import BestOf, BestOfConfig, Proposals
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

"""Policies: experts and clones, planners, and reinforcement learning inside of learned worlds."""

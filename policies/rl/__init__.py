"""Reinforcement learning inside of worlds, checked in the simulators they were learned from."""

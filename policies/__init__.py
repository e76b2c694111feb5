"""Policies: experts, and (to come) planners and policy evaluation inside learned worlds."""

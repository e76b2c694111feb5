"""Programs of others in a learned world, and ours on what others make."""

# A busy machine of two cores takes a minute to start Ray. This it can be told, but not the half
# minute that it gives a machine of its cluster, after which a second try is quicker.
PATIENT = {"RAY_agent_register_timeout_ms": "300000", "RAY_USAGE_STATS_ENABLED": "0"}
OVERLOADED = "timed out during startup"

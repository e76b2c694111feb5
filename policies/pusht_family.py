"""Another name of policies/pusht/family.py: policies are given as `policies.pusht_family:NAME`."""

from policies.pusht.family import *  # noqa: F403

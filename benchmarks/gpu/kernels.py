"""Which kernels a call launches: how many, and where their time goes."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import torch


@dataclass(frozen=True, kw_only=True)
class Kernels:
    """The kernels of one call."""

    count: int
    """Launches, copies and fills among them."""
    busy_ms: float
    """Time that the device was busy with them, if one came after the other."""
    longest: tuple[tuple[str, int, float], ...]
    """Name, launches and milliseconds of those that take most time together."""


def profile_kernels(call: Callable[[], object], most: int = 12) -> Kernels | None:
    """Profile one call on a GPU; None where the profiler sees no kernels.

    Args:
        call: Asks something of the device; it is run twice, profiled once.
        most: How many names are kept.
    """
    call()
    torch.cuda.synchronize()
    activities = [torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities, acc_events=True) as profile:
        call()
        torch.cuda.synchronize()
    counts: Counter[str] = Counter()
    times: Counter[str] = Counter()
    for event in profile.events() or []:
        if event.device_type.name != "CUDA":
            continue
        counts[event.name] += 1
        times[event.name] += event.time_range.elapsed_us() / 1000
    if not counts:
        return None
    longest = tuple((name, counts[name], ms) for name, ms in times.most_common(most))
    return Kernels(count=counts.total(), busy_ms=sum(times.values()), longest=longest)

"""Deprecated names of benchmarks.pusht.success_detector."""

import warnings
from typing import Any

from benchmarks.pusht.success_detector import PushTSuccessDetector


def __getattr__(name: str) -> Any:
    if name != "PushTJudge":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    message = "PushTJudge is called benchmarks.pusht.success_detector:PushTSuccessDetector now"
    warnings.warn(message, DeprecationWarning, stacklevel=2)
    return PushTSuccessDetector

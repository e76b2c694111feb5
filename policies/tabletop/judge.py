"""Deprecated names of policies.tabletop.success_detector."""

import warnings
from typing import Any

from policies.tabletop.success_detector import TouchSuccessDetector


def __getattr__(name: str) -> Any:
    if name != "TouchJudge":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    message = "TouchJudge is called policies.tabletop.success_detector:TouchSuccessDetector now"
    warnings.warn(message, DeprecationWarning, stacklevel=2)
    return TouchSuccessDetector

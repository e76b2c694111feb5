"""Deprecated names of policies.tabletop.success_detector."""

from world_model.lazy_names import deprecated_name

__getattr__ = deprecated_name(
    __name__, "TouchJudge", "policies.tabletop.success_detector:TouchSuccessDetector"
)

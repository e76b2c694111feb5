"""Deprecated names of benchmarks.pusht.success_detector."""

from world_model.lazy_names import deprecated_name

__getattr__ = deprecated_name(
    __name__, "PushTJudge", "benchmarks.pusht.success_detector:PushTSuccessDetector"
)

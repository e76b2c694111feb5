"""Stage: what machine this is, and what it does at its best."""

import subprocess

import torch

from benchmarks.gpu.record import Record, StageSettings
from benchmarks.report import hardware, number, versions
from benchmarks.speed import roofline


def run(settings: StageSettings, record: Record) -> None:
    """Names, versions, and the rates of large products and of a large copy."""
    device = settings.device
    record.figure("device", hardware(device))
    record.figure("versions", versions())
    record.figure("driver", driver() if device == "cuda" else None)
    roofline.measure_for(0.5, rehearsal=settings.smoke)
    header = ("large product", "TFLOP/s")
    for name, dtype in (("float32", torch.float32), ("bf16", torch.bfloat16)):
        flops = roofline.large_matmul_peak(dtype, device)
        record.figure(f"large_product_{name}_tflops", flops / 1e12)
        record.row("Roofline", header, (name, number(flops / 1e12, 3)))
    copied = roofline.copy_peak(device)
    record.figure("large_copy_gbytes_per_second", copied / 1e9)
    record.row("Roofline", header, ("large copy, GB/s", number(copied / 1e9, 1)))
    if device == "cuda":
        record.figure("memory_bytes", torch.cuda.get_device_properties(0).total_memory)


def driver() -> str | None:
    """What nvidia-smi says of the card; None where it is not there."""
    query = ("nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader")
    try:
        done = subprocess.run(query, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()

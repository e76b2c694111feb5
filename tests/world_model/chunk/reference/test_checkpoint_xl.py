"""A checkpoint of the published size, in the trainer's full form, fits an ordinary machine."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from world_model import IRASim, irasim_config, save_reference_checkpoint

GIB = 2**30
# Runs alone, so that the peak is its own.
LOAD_AND_RUN = """
import json, re, sys
import torch
from world_model import load_reference_checkpoint

def peak():
    # Not getrusage, which counts the parent's memory before exec.
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])

denoiser = load_reference_checkpoint(sys.argv[1])
loaded = peak()
generator = torch.Generator().manual_seed(0)
x = torch.randn(1, 16, 4, 32, 40, generator=generator)
with torch.no_grad():
    eps = denoiser(x, torch.tensor([500]), torch.randn(1, 15, 7, generator=generator))
print(json.dumps({
    "loaded": loaded, "run": peak(), "shape": list(eps.shape), "finite": bool(eps.isfinite().all()),
    "heads": denoiser.config.num_heads, "moved": eps.std().item(),
}))
"""


def random_checkpoint(path: Path) -> Path:
    """Writes model, ema, AdamW's two moments, all of random numbers, as the trainer does."""
    config = irasim_config("XL", 2, latent_size=(32, 40), action_dim=7, action_embedding="mlp")
    with torch.device("meta"):
        denoiser = IRASim(config)
    denoiser = denoiser.to_empty(device="cpu")
    with torch.no_grad():
        for name, table in denoiser.constants(config).items():
            getattr(denoiser, name).copy_(table)
        for parameter in denoiser.parameters():
            parameter.uniform_(-0.02, 0.02)
    save_reference_checkpoint(denoiser, path)
    del denoiser
    content = torch.load(path, weights_only=True, mmap=True)
    # Of their own storage, so that each is written to the file.
    content["model"] = {name: value.clone() for name, value in content["ema"].items()}
    content["opt"] = {
        "state": {
            index: {"step": torch.tensor(3e5), "exp_avg": value, "exp_avg_sq": value.clone()}
            for index, value in enumerate(v.clone() for v in content["model"].values())
        },
        "param_groups": [{"lr": 1e-4, "params": list(range(len(content["model"])))}],
    }
    for addition in ("num_heads", "action_dim"):
        del content["args"][addition]
    full = path.with_name("0300000.pt")
    torch.save(content, full)
    path.unlink()
    return full


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_xl_loads_within_8_gib_and_runs_within_16(tmp_path):
    path = random_checkpoint(tmp_path / "weights.pt")
    try:
        assert path.stat().st_size > 10 * GIB
        output = subprocess.run(
            [sys.executable, "-c", LOAD_AND_RUN, str(path)],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[4])},
        ).stdout
    finally:
        path.unlink()
    report = json.loads(output.splitlines()[-1])
    print(f"peak {report['loaded'] / GIB:.1f} GiB loaded, {report['run'] / GIB:.1f} GiB run")
    assert report["loaded"] < 8 * GIB
    assert report["run"] < 16 * GIB
    assert report["shape"] == [1, 16, 4, 32, 40]
    assert report["finite"]
    assert report["moved"] > 0
    assert report["heads"] == 16

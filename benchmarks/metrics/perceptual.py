"""LPIPS, FID and FVD of videos: arrays or folders in, one figure out.

FID is pytorch-fid's: Gaussians fitted to 2048 Inception features of every frame (covariance over
n - 1). FVD is StyleGAN-V's: Gaussians fitted to the I3D logits of every clip (covariance over n).
The networks are handed in; `load_detector`, and the modules lpips.py and inception.py, load the
published ones.

N samples, T frames, H W size, D features.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.metrics.frames import frechet_distance
from benchmarks.metrics.network_weights import (
    FETCH,
    PublishedFile,
    WeightsSource,
    WeightsUnavailableError,
    is_torchscript,
    load_torchscript,
    obtain,
)
from benchmarks.metrics.videos import open_videos, pairs

FVD_FRAMES = 15  # of a clip; the reference scores the frames that a chunk of 16 predicts
BATCH = 32  # pictures through a network at once
I3D_FILE = PublishedFile(
    name="i3d_torchscript.pt",
    url="https://huggingface.co/flateon/FVD-I3D-torchscript/resolve/"
    "1c2d61711c52571ad617a1063e6fa691b212e184/i3d_torchscript.pt",
    sha256="bec6519f66ea534e953026b4ae2c65553c17bf105611c746d904657e5860a5e2",
)
# Pictures uint8 (N, 3, H, W) to features (N, D).
ImageNetwork = Callable[[Tensor], Tensor]
# Two batches of pictures in [-1, 1] (N, 3, H, W) to distances (N,).
DistanceNetwork = Callable[[Tensor, Tensor], Tensor]


@dataclass(eq=False)
class FeatureStatistics:
    """Mean and scatter of features, gathered bit by bit without cancellation (Chan et al. 1979)."""

    count: int = 0
    mean: np.ndarray | None = None
    """(D,)."""
    scatter: np.ndarray | None = None
    """(D, D): sum over samples of the outer product of their distance from the mean."""

    def add(self, features: Any) -> None:
        """Take in samples (N, D)."""
        samples = np.asarray(torch.as_tensor(features).detach().cpu(), dtype=np.float64)
        if samples.ndim != 2 or not np.isfinite(samples).all():
            raise ValueError(f"features have shape {samples.shape}, expected (N, D), all finite")
        mean = samples.mean(axis=0)
        self.merge(FeatureStatistics(len(samples), mean, (samples - mean).T @ (samples - mean)))

    def merge(self, other: "FeatureStatistics") -> None:
        """Take in another's samples."""
        if not other.count:
            return
        assert other.mean is not None and other.scatter is not None
        if self.mean is None or self.scatter is None:
            self.count, self.mean, self.scatter = other.count, other.mean, other.scatter
            return
        total = self.count + other.count
        apart = other.mean - self.mean
        self.mean = self.mean + apart * (other.count / total)
        between = np.outer(apart, apart) * (self.count * other.count / total)
        self.scatter = self.scatter + other.scatter + between
        self.count = total

    def gaussian(self, unbiased: bool) -> tuple[np.ndarray, np.ndarray]:
        """Mean (D,) and covariance (D, D), over n - 1 if unbiased, else over n."""
        if self.mean is None or self.scatter is None or self.count < 2:
            raise WeightsUnavailableError(f"needs at least 2 samples, got {self.count}")
        return self.mean, self.scatter / (self.count - unbiased)


def lpips(pred: Any, true: Any, network: DistanceNetwork, *, device: str = "cpu") -> float:
    """LPIPS of videos (see `open_videos`): mean over frames, then over videos."""
    values = [frame_distances(a, b, network, device).mean() for _, a, b in pairs(pred, true)]
    return float(np.mean(values))


def frame_distances(
    pred: np.ndarray, true: np.ndarray, network: DistanceNetwork, device: str = "cpu"
) -> np.ndarray:
    """LPIPS of each frame of a video, uint8 (T, H, W, 3) each -> (T,)."""
    found = []
    for a, b in zip(_pictures(pred, device), _pictures(true, device), strict=True):
        found.append(network(a.float() / 127.5 - 1, b.float() / 127.5 - 1).cpu())
    return torch.cat(found).double().numpy()


def fid(pred: Any, true: Any, network: ImageNetwork, *, device: str = "cpu") -> float:
    """Fréchet Inception distance of all frames of videos (Heusel et al. 2017)."""
    sides = []
    for source in (pred, true):
        statistics = FeatureStatistics()
        for read in open_videos(source).values():
            add_frames(statistics, read(), network, device)
        sides.append(statistics)
    return fid_between(*sides)


def fid_between(pred: FeatureStatistics, true: FeatureStatistics) -> float:
    """FID of gathered features."""
    return frechet_distance(*pred.gaussian(unbiased=True), *true.gaussian(unbiased=True))


def add_frames(
    statistics: FeatureStatistics, video: np.ndarray, network: ImageNetwork, device: str = "cpu"
) -> None:
    """Take in the features of each frame of a video (T, H, W, 3)."""
    for pictures in _pictures(video, device):
        statistics.add(network(pictures))


@dataclass(frozen=True, kw_only=True)
class FVDProtocol:
    """What FVD depends on besides its network."""

    num_frames: int = FVD_FRAMES
    """Frames of a clip. Longer videos are cut into clips that do not overlap; a rest is left."""
    mirror_true: bool = False
    """Add each true clip's mirror image (StyleGAN-V's --mirror; the reference does)."""
    resize: int | None = None
    """Resize frames to this side first (the reference: 256), bilinear and antialiased. The network
    itself resizes to 224 in any case."""

    def __str__(self) -> str:
        resized = f"resized to {self.resize} x {self.resize}, " if self.resize else ""
        mirrored = "true clips and their mirror images" if self.mirror_true else "no mirroring"
        return (
            f"clips of {self.num_frames} frames, {resized}{mirrored}; I3D as StyleGAN-V runs it "
            "(rescale, resize, logits, eval mode), covariance over n"
        )


def fvd(
    pred: Any,
    true: Any,
    detector: Any,
    *,
    protocol: FVDProtocol | None = None,
    device: str = "cpu",
) -> float:
    """Fréchet video distance (Unterthiner et al. 2018) by StyleGAN-V's protocol."""
    protocol = protocol or FVDProtocol()
    sides = []
    for source, is_true in ((pred, False), (true, True)):
        statistics = FeatureStatistics()
        for read in open_videos(source).values():
            add_clips(statistics, read(), detector, protocol, is_true=is_true, device=device)
        sides.append(statistics)
    return fvd_between(*sides)


def fvd_between(pred: FeatureStatistics, true: FeatureStatistics) -> float:
    """FVD of gathered features."""
    return frechet_distance(*pred.gaussian(unbiased=False), *true.gaussian(unbiased=False))


@torch.no_grad()
def add_clips(
    statistics: FeatureStatistics,
    video: np.ndarray,
    detector: Any,
    protocol: FVDProtocol,
    *,
    is_true: bool,
    device: str = "cpu",
) -> None:
    """Take in the features of each clip of a video (T, H, W, 3)."""
    for clip in _clips(video, protocol.num_frames):
        frames = torch.from_numpy(np.ascontiguousarray(clip)).to(device).permute(3, 0, 1, 2)
        if protocol.resize is not None:
            frames = _resized(frames, protocol.resize)
        versions = [frames]
        if protocol.mirror_true and is_true:
            versions.append(frames.flip(-1))
        batch = torch.stack(versions).contiguous()  # (1 or 2, 3, T, H, W)
        statistics.add(detector(batch, rescale=True, resize=True, return_features=True))


def load_detector(source: WeightsSource = FETCH) -> Any:
    """FVD's I3D, TorchScript, on the CPU in eval mode; the checksum is compared before it loads.

    Called with uint8 (N, 3, T, H, W) and rescale, resize, return_features -> features (N, D).

    Raises:
        WeightsUnavailableError: The file cannot be had, or is another one.
    """
    path = obtain(I3D_FILE, source)
    if not is_torchscript(path):
        raise WeightsUnavailableError(f"{path} is no TorchScript module, as FVD's detector is")
    return load_torchscript(path)


def _pictures(video: np.ndarray, device: str) -> Iterator[Tensor]:
    """Batches uint8 (n, 3, H, W) of a video (T, H, W, 3)."""
    for part in torch.from_numpy(np.ascontiguousarray(video)).split(BATCH):
        yield part.to(device).permute(0, 3, 1, 2)


def _clips(video: np.ndarray, num_frames: int) -> Iterable[np.ndarray]:
    return (video[i : i + num_frames] for i in range(0, len(video) - num_frames + 1, num_frames))


def _resized(frames: Tensor, side: int) -> Tensor:
    """uint8 (3, T, H, W) -> uint8 (3, T, side, side)."""
    pixels = F.interpolate(
        frames.transpose(0, 1).float(), (side, side), mode="bilinear", antialias=True
    )
    return pixels.round().clamp(0, 255).to(torch.uint8).transpose(0, 1)

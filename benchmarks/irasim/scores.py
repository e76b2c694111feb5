"""Scores of generated files, each process its share of the items.

Scores are taken twice: on arrays (exact frames against the recorded ones), and on files as the
reference takes them, from H.264 on both sides. Its FID and FVD set exact predicted frames against
true frames that went through H.264; it takes both for windows only.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.irasim.config import EvaluationConfig
from benchmarks.irasim.data import EvaluationData, Item, resized
from benchmarks.irasim.layout import Layout, read_latents
from benchmarks.metrics import inception, lpips, perceptual
from benchmarks.metrics.frames import PSNR_CAP, psnr
from benchmarks.metrics.network_weights import WeightsSource, WeightsUnavailableError, describe
from benchmarks.metrics.perceptual import FeatureStatistics, FVDProtocol
from benchmarks.metrics.video_scores import frame_means
from benchmarks.metrics.videos import open_videos, read_file
from world_model.progress import progress_bar

REFERENCE_FVD_SIDE = 256
NO_FRAMES = "no autoencoder to decode latents with: give --vae"
NO_LATENTS = "a model of pixels, and no autoencoder to encode its frames with: give --vae"
ONLY_SHORT = "the reference takes it for windows only"


@dataclass(eq=False)
class Networks:
    """Networks of the metrics, and why those that are missing are."""

    device: str
    lpips: Any = None
    inception: Any = None
    i3d: Any = None
    missing: dict[str, str] = field(default_factory=dict)
    """Reason by metric."""
    protocol: dict[str, str] = field(default_factory=dict)
    """How each metric is taken, weights included."""


@dataclass(eq=False)
class Gathered:
    """Scores of some items, and the features of their frames and clips."""

    items: dict[str, dict[str, float]] = field(default_factory=dict)
    """By item, then by score ("arrays/psnr_rgb", ...)."""
    features: dict[str, FeatureStatistics] = field(default_factory=dict)
    """By set ("fid/arrays/pred", ...)."""

    def merge(self, other: "Gathered") -> None:
        """Take in another's."""
        self.items |= other.items
        for name, statistics in other.features.items():
            self.statistics(name).merge(statistics)

    def statistics(self, name: str) -> FeatureStatistics:
        """Features of a set, empty at first."""
        return self.features.setdefault(name, FeatureStatistics())


def load_networks(config: EvaluationConfig, device: str) -> Networks:
    """All networks that can be had."""

    def source(name: str) -> WeightsSource:
        sha256 = getattr(config, f"{name}_sha256")
        return WeightsSource(path=getattr(config, name), sha256=sha256, fetch=config.fetch)

    networks = Networks(device)
    weights = lpips.LPIPSWeights(
        trunk=config.lpips_trunk, network=source("lpips_network"), heads=source("lpips_heads")
    )
    loaders: dict[str, tuple[str, Callable[[], Any]]] = {
        "lpips": ("lpips", lambda: lpips.load_lpips(weights)),
        "fid": ("inception", lambda: inception.load_inception(source("inception"))),
        "fvd": ("i3d", lambda: perceptual.load_detector(source("i3d"))),
    }
    for metric, (name, load) in loaders.items():
        try:
            setattr(networks, name, load().to(device))
        except WeightsUnavailableError as error:
            networks.missing[metric] = str(error)
    networks.protocol = {
        "lpips": lpips.protocol(weights),
        "fid": "pytorch-fid's: 2048 pooled features of every predicted frame, covariance over "
        f"n - 1; {describe(inception.INCEPTION_FILE, source('inception'))}",
        "fvd": f"StyleGAN-V's; {describe(perceptual.I3D_FILE, source('i3d'))}",
    }
    return networks


def fvd_protocols(num_frames: int) -> dict[str, FVDProtocol]:
    """How FVD is taken on arrays and, as the reference does, on files; clips of what is predicted
    in a chunk of `num_frames`."""
    clip = num_frames - 1
    return {
        "arrays": FVDProtocol(num_frames=clip),
        "files": FVDProtocol(num_frames=clip, mirror_true=True, resize=REFERENCE_FVD_SIDE),
    }


def score(
    items: list[Item], data: EvaluationData, layout: Layout, networks: Networks, num_frames: int
) -> Gathered:
    """Scores of items whose files are all there."""
    found = Gathered()
    for item in progress_bar(items, "scoring", unit="items", leave=False):
        scores = found.items.setdefault(item.name, {})
        if layout.latents(item.name).is_file():
            scores["latent_l2"] = latent_l2(layout, item)
        if data.has_frames:
            _score_frames(item, data, layout, networks, num_frames, scores, found)
    return found


def latent_l2(layout: Layout, item: Item) -> float:
    """Mean squared difference of predicted latents, the given first frame left out."""
    pred = read_latents(layout.latents(item.name))[1:].double()
    true = read_latents(layout.true_latents(item.name))[1:].double()
    return float((pred - true).square().mean())


def _score_frames(
    item: Item,
    data: EvaluationData,
    layout: Layout,
    networks: Networks,
    num_frames: int,
    scores: dict[str, float],
    found: Gathered,
) -> None:
    [read] = open_videos(layout.frames(item.name)).values()
    pred, true = read(), data.true_frames(item)[1:]
    _add_scores(scores, "arrays", pred, true, networks)
    short = data.protocol == "short"
    if short:
        file_pred = read_file(layout.video(item.name))[1:]
        file_true = read_file(layout.true_video(item.name))[1:]
    else:
        file_pred, file_true, paired = _episode_files(item, data, layout)
        scores["files/psnr_rgb_script_pairing"] = paired
    _add_scores(scores, "files", file_pred, file_true, networks)
    sides = {"arrays": true, "files": file_true} if short else {"arrays": true}
    protocols = fvd_protocols(num_frames)
    for kind, truth in sides.items():
        # Predictions are exact frames on both: the reference reads its PNG files.
        for side, video in (("pred", pred), ("true", truth)):
            if networks.inception is not None:
                perceptual.add_frames(
                    found.statistics(f"fid/{kind}/{side}"),
                    video,
                    networks.inception,
                    networks.device,
                )
            if networks.i3d is not None:
                perceptual.add_clips(
                    found.statistics(f"fvd/{kind}/{side}"),
                    video,
                    networks.i3d,
                    protocols[kind],
                    is_true=side == "true",
                    device=networks.device,
                )


def _episode_files(
    item: Item, data: EvaluationData, layout: Layout
) -> tuple[np.ndarray, np.ndarray, float]:
    """Predicted frames of an episode's file, those of the dataset's, and the script's PSNR.

    The reference leaves the first frame out of its file and then skips one frame on both sides, so
    that its script compares each prediction with the true frame before it.
    """
    pred = read_file(layout.video(item.name))
    path, length = data.true_file(item)
    true = resized(read_file(path)[:length], pred.shape[1:3]).numpy()
    later, earlier = pred[1:], true[1 : len(pred)]
    paired = psnr(later, earlier, cap=PSNR_CAP).mean() if len(later) else np.nan
    return pred, true[1:], float(paired)


def _add_scores(
    scores: dict[str, float], kind: str, pred: np.ndarray, true: np.ndarray, networks: Networks
) -> None:
    means = frame_means(pred, true)
    if min(pred.shape[1:3]) < lpips.SMALLEST_SIDE:
        networks.missing.setdefault(
            "lpips",
            f"frames of {pred.shape[1]} x {pred.shape[2]} are too small, it takes "
            f"{lpips.SMALLEST_SIDE} pixels a side",
        )
    elif networks.lpips is not None:
        distances = perceptual.frame_distances(pred, true, networks.lpips, networks.device)
        means["lpips"] = float(distances.mean())
    scores.update({f"{kind}/{name}": value for name, value in means.items()})


def summarise(
    found: Gathered, data: EvaluationData, networks: Networks
) -> tuple[dict[str, Any], dict[str, str]]:
    """All scores of a report, and why those that are missing are."""
    names = sorted(found.items)  # one order, so that sums do not depend on the processes
    scores: dict[str, Any] = {"latent_l2": None, "arrays": {}, "files": {}}
    keys = {key for scored in found.items.values() for key in scored}
    for key in sorted(keys):
        values = np.array([found.items[name][key] for name in names if key in found.items[name]])
        mean = float(np.nanmean(values)) if not np.isnan(values).all() else None
        kind, _, name = key.partition("/")
        if name:
            scores[kind][name] = mean
        else:
            scores[key] = mean
    missing: dict[str, str] = {}
    if not data.has_frames:
        missing = dict.fromkeys(("psnr", "ssim", "lpips", "fid", "fvd"), NO_FRAMES)
    else:
        missing |= networks.missing
        _add_set_scores(scores, found, missing)
        if data.protocol == "long":
            missing |= {"files/fid": ONLY_SHORT, "files/fvd": ONLY_SHORT}
    if scores["latent_l2"] is None:
        missing["latent_l2"] = NO_LATENTS
    return scores, missing


def _add_set_scores(scores: dict[str, Any], found: Gathered, missing: dict[str, str]) -> None:
    between = {"fid": perceptual.fid_between, "fvd": perceptual.fvd_between}
    for metric, distance in between.items():
        for kind in ("arrays", "files"):
            pred = found.features.get(f"{metric}/{kind}/pred")
            true = found.features.get(f"{metric}/{kind}/true")
            if pred is None or true is None:
                continue
            try:
                scores[kind][metric] = distance(pred, true)
            except WeightsUnavailableError as error:
                missing[metric] = str(error)

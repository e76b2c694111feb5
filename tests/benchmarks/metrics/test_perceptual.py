"""LPIPS, FID and FVD: the networks against their origins, the whole path with stand-ins."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.metrics.frames import frechet_distance
from benchmarks.metrics.inception import InceptionFeatures, load_inception
from benchmarks.metrics.lpips import HEAD_FILES, LPIPS, LPIPSWeights, load_lpips
from benchmarks.metrics.network_weights import (
    PublishedFile,
    WeightsSource,
    WeightsUnavailableError,
    obtain,
)
from benchmarks.metrics.perceptual import (
    FeatureStatistics,
    FVDProtocol,
    fid,
    fvd,
    load_detector,
    lpips,
)
from benchmarks.metrics.video_scores import video_means
from benchmarks.metrics.videos import open_videos, read_file
from tests.benchmarks.published_episodes import (
    Detector,
    Pictures,
    random_weights,
    save_scripted,
)
from world_model.video import write_video

GOLDEN = Path(__file__).with_name("frame_metrics.npz")  # computed with the reference's code


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def source(path: Path) -> WeightsSource:
    return WeightsSource(path=path, sha256=sha256(path))


@pytest.fixture
def videos() -> tuple[np.ndarray, np.ndarray]:
    """Six smooth videos and noisy copies, uint8 (6, 15, 32, 40, 3)."""
    rng = np.random.default_rng(0)
    true = np.cumsum(rng.normal(0, 6, (6, 15, 32, 40, 3)), axis=3) + 120
    pred = true + rng.normal(0, 12, true.shape)
    return pred.clip(0, 255).astype(np.uint8), true.clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def scripted(tmp_path_factory: pytest.TempPathFactory) -> tuple[WeightsSource, WeightsSource]:
    """TorchScript files that stand in for Inception and I3D."""
    folder = tmp_path_factory.mktemp("scripted")
    pictures = save_scripted(Pictures(), folder / "pictures.pt")
    return source(pictures), source(save_scripted(Detector(), folder / "detector.pt"))


def test_inception_is_pytorch_fids():
    network = InceptionFeatures()
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    network.load_state_dict(random_weights(shapes))
    network.eval()
    generator = torch.Generator().manual_seed(5)
    frames = torch.randint(0, 256, (2, 3, 64, 80), generator=generator, dtype=torch.uint8)
    features = network(frames)
    assert features.shape == (2, 2048)
    # Of pytorch-fid 0.3.0 with torchvision 0.28, the same weights and frames.
    first = [0.4393175542354584, 3.121894359588623, 0.19290298223495483, 0.31880640983581543]
    torch.testing.assert_close(features[0, :4], torch.tensor(first), rtol=1e-4, atol=1e-5)
    assert float(features.abs().mean()) == pytest.approx(0.45900848507881165, rel=1e-4)


@pytest.mark.parametrize(
    ("trunk", "expected"),
    [
        ("alex", [0.18505460023880005, 0.18371213972568512]),
        ("vgg", [0.18875500559806824, 0.19081337749958038]),
    ],
)
def test_lpips_is_the_authors(trunk, expected):
    network = LPIPS(trunk)
    names = {n: tuple(v.shape) for n, v in network.state_dict().items() if "features" in n}
    heads = {f"heads.{i}": torch.linspace(0, 1, len(h)) for i, h in enumerate(network.heads)}
    network.load_state_dict(random_weights(names) | heads)
    generator = torch.Generator().manual_seed(6)
    a = torch.rand(2, 3, 48, 64, generator=generator) * 2 - 1
    b = (a + 0.3 * torch.randn(2, 3, 48, 64, generator=generator)).clamp(-1, 1)
    # Of the authors' package lpips 0.1.4, the same weights and pictures.
    torch.testing.assert_close(network(a, b), torch.tensor(expected), rtol=1e-4, atol=0)


def lpips_weights(folder: Path, rename: str = "") -> LPIPSWeights:
    """Files as torchvision and the authors publish them, with random weights."""
    fresh = LPIPS("alex")
    names = {n: tuple(v.shape) for n, v in fresh.state_dict().items() if "features" in n}
    trunk = random_weights(names) | {"classifier.1.weight": torch.zeros(2)}
    heads = {
        f"{rename}lin{i}.model.1.weight": torch.linspace(0, 1, len(h)).view(1, -1, 1, 1)
        for i, h in enumerate(fresh.heads)
    }
    torch.save(trunk, folder / "trunk.pth")
    torch.save(heads, folder / "heads.pth")
    return LPIPSWeights(network=source(folder / "trunk.pth"), heads=source(folder / "heads.pth"))


def test_lpips_of_arrays_and_folders(videos, tmp_path):
    pred, true = videos
    network = load_lpips(lpips_weights(tmp_path))
    value = lpips(pred, true, network)
    assert 0 < value < 1
    assert lpips(true, true, network) == 0
    for name, side in (("pred", pred), ("true", true)):
        (tmp_path / name).mkdir()
        for index, video in enumerate(side):
            write_video(tmp_path / name / f"{index}.mp4", video, 4)
    assert lpips(tmp_path / "pred", tmp_path / "true", network) == pytest.approx(value, rel=1e-6)


def test_lpips_refuses_other_weights(tmp_path):
    weights = lpips_weights(tmp_path, rename="other_")
    with pytest.raises(WeightsUnavailableError, match=r"lin0\.model\.1\.weight is missing"):
        load_lpips(weights)
    torch.save({"features.0.weight": torch.zeros(1)}, tmp_path / "trunk.pth")
    weights = LPIPSWeights(
        network=source(tmp_path / "trunk.pth"), heads=lpips_weights(tmp_path).heads
    )
    torch.save({"features.0.weight": torch.zeros(1)}, tmp_path / "other.pth")
    weights = LPIPSWeights(network=source(tmp_path / "other.pth"), heads=weights.heads)
    with pytest.raises(WeightsUnavailableError, match="is no alex"):
        load_lpips(weights)


def test_fid_with_a_scripted_network(videos, scripted):
    pred, true = videos
    network = load_inception(scripted[0])
    assert fid(true, true, network) == pytest.approx(0, abs=1e-9)
    features = [
        network(torch.from_numpy(v.reshape(-1, 32, 40, 3)).permute(0, 3, 1, 2)).double().numpy()
        for v in (pred, true)
    ]
    gaussians = [part for f in features for part in (f.mean(0), np.cov(f, rowvar=False))]
    assert fid(pred, true, network) == pytest.approx(frechet_distance(*gaussians), rel=1e-6)


def test_fvd_with_a_scripted_detector(videos, scripted):
    pred, true = videos
    detector = load_detector(scripted[1])
    assert fvd(true, true, detector) == pytest.approx(0, abs=1e-9)
    assert fvd(pred, true, detector) > 1e-4
    darker = true // 2
    assert fvd(darker, true, detector) > fvd(pred, true, detector)
    # Half as long: two clips a video, so twice as many samples, and the same order of size.
    short = FVDProtocol(num_frames=7)
    assert fvd(pred, true, detector, protocol=short) > 0
    with pytest.raises(WeightsUnavailableError, match="at least 2 samples, got 0"):
        fvd(pred, true, detector, protocol=FVDProtocol(num_frames=16))


def test_fvd_mirrors_the_truth_only(videos, scripted):
    true = videos[1].copy()
    true[:, :, :, :20] //= 2  # the left half darker
    detector = load_detector(scripted[1])
    plain = FVDProtocol(resize=24)
    mirrored = FVDProtocol(resize=24, mirror_true=True)
    assert fvd(true, true, detector, protocol=plain) == pytest.approx(0, abs=1e-9)
    assert fvd(true, true, detector, protocol=mirrored) > 0.01
    both = np.concatenate([true, true[:, :, :, ::-1]])
    assert fvd(both, true, detector, protocol=mirrored) == pytest.approx(0, abs=1e-6)
    assert "mirror images" in str(mirrored) and "24 x 24" in str(mirrored)


def test_features_gathered_in_parts_are_the_same():
    rng = np.random.default_rng(0)
    features = rng.normal(1e4, 1, (50, 5))  # a mean that cancellation would lose digits to
    parts = [FeatureStatistics() for _ in range(3)]
    for index, row in enumerate(features):
        parts[index % 2].add(row[None])
    for other in parts[1:]:
        parts[0].merge(other)
    mean, covariance = parts[0].gaussian(unbiased=True)
    np.testing.assert_allclose(mean, features.mean(0), rtol=1e-12)
    np.testing.assert_allclose(covariance, np.cov(features, rowvar=False), rtol=1e-9, atol=1e-9)
    biased = parts[0].gaussian(unbiased=False)[1]
    np.testing.assert_allclose(biased, covariance * 49 / 50, rtol=1e-12)
    with pytest.raises(WeightsUnavailableError, match="at least 2 samples, got 0"):
        FeatureStatistics().gaussian(unbiased=True)


def test_golden_short_and_long_protocols(tmp_path):
    figures = np.load(GOLDEN)
    expected = {name: float(figures[name]) for name in ("psnr_gray", "ssim_gray", "psnr_rgb")}
    found = video_means(figures["pred"], figures["true"])
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-4)
    for name in ("pred", "true"):
        (tmp_path / name).mkdir()
        write_video(tmp_path / name / "clip.mp4", figures[name], 4)
    assert video_means(tmp_path / "pred", tmp_path / "true") == pytest.approx(found)


def test_videos_from_folders(videos, tmp_path):
    import cv2

    true = videos[1]
    write_video(tmp_path / "one.mp4", true[0], 4)
    np.testing.assert_array_equal(read_file(tmp_path / "one.mp4"), true[0])
    for index, frame in enumerate(true[1]):
        (tmp_path / "frames" / "one").mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / "frames" / "one" / f"{index:06d}.png"), frame[..., ::-1])
    for folder in (tmp_path / "frames", tmp_path / "frames" / "one"):
        opened = open_videos(folder)
        assert list(opened) == ["one"]
        np.testing.assert_array_equal(opened["one"](), true[1])
    assert list(open_videos({"x": true[0], "y": true[1]})) == ["x", "y"]
    assert len(open_videos(true)) == 6


@pytest.mark.parametrize(
    ("pred", "true", "message"),
    [
        (np.zeros((2, 3, 8, 8, 3), np.uint8), np.zeros((3, 3, 8, 8, 3), np.uint8), "1 true videos"),
        (np.zeros((3, 8, 8, 3), np.uint8), np.zeros((4, 8, 8, 3), np.uint8), "same frames"),
        (np.zeros((3, 8, 8, 3), np.float32), np.zeros((3, 8, 8, 3), np.uint8), "float32"),
        (np.zeros((8, 8, 3), np.uint8), np.zeros((3, 8, 8, 3), np.uint8), "have shape"),
        (np.zeros((1, 8, 8, 3), np.uint8), np.zeros((1, 8, 8, 3), np.uint8), "none to score"),
        ("nowhere", "nowhere", "no such folder"),
        ([], [], "no videos given"),
    ],
)
def test_bad_videos_are_refused(pred, true, message):
    with pytest.raises(ValueError, match=message):
        video_means(pred, true)


def test_weights_are_checked_before_use(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save({"a": torch.zeros(1)}, path)
    published = PublishedFile(name="x.pth", url="https://example.invalid/x.pth", sha256="0" * 64)
    with pytest.raises(WeightsUnavailableError, match="expected 0000"):
        obtain(published, WeightsSource(path=path))
    assert obtain(published, source(path)) == path
    with pytest.raises(WeightsUnavailableError, match="no such file"):
        obtain(published, WeightsSource(path=tmp_path / "absent.pth"))


def test_weights_are_fetched_and_checked(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    path = tmp_path / "served.pth"
    torch.save({"a": torch.zeros(1)}, path)
    published = PublishedFile(name="x.pth", url=path.as_uri(), sha256=sha256(path)[:8])
    with pytest.raises(WeightsUnavailableError, match="fetching is off"):
        obtain(published, WeightsSource(fetch=False))
    cached = obtain(published)
    assert cached.read_bytes() == path.read_bytes()
    path.unlink()
    assert obtain(published) == cached  # from the cache, which is checked too
    cached.write_bytes(b"other")
    with pytest.raises(WeightsUnavailableError, match="has sha256"):
        obtain(published)
    cached.unlink()
    with pytest.raises(WeightsUnavailableError, match="could not be fetched"):
        obtain(published)
    path.write_bytes(b"other")
    with pytest.raises(WeightsUnavailableError, match="was not kept"):
        obtain(published)
    assert not list(cached.parent.iterdir())


def test_a_state_dict_with_code_in_it_is_refused(tmp_path):
    class Harm:
        def __reduce__(self):
            return (open, (str(tmp_path / "harm"), "w"))

    path = tmp_path / "harm.pth"
    torch.save({"a": Harm()}, path)
    with pytest.raises(WeightsUnavailableError, match="holds no state dict"):
        load_inception(source(path))
    assert not (tmp_path / "harm").exists()
    with pytest.raises(WeightsUnavailableError, match="no TorchScript"):
        load_detector(source(path))


def test_heads_of_an_installed_torchmetrics_are_taken(tmp_path, monkeypatch):
    bundled = tmp_path / "torchmetrics" / "functional" / "image" / "lpips_models"
    bundled.mkdir(parents=True)
    (tmp_path / "torchmetrics" / "__init__.py").write_text("raise ImportError('not to be run')")
    (bundled / "alex.pth").write_bytes(b"not the heads")
    monkeypatch.syspath_prepend(tmp_path)
    weights = LPIPSWeights(network=lpips_weights(tmp_path).network)
    with pytest.raises(WeightsUnavailableError, match="lpips_models/alex.pth has sha256"):
        load_lpips(weights)
    assert HEAD_FILES["alex"].sha256.startswith("df73285e")

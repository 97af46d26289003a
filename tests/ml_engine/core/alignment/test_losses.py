"""The losses compared with slow independent implementations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from scipy import ndimage

from ml_engine.core.alignment import losses
from ml_engine.core.errors import IncompatibleModel


def pair(size: int = 24) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(0)
    a = ndimage.gaussian_filter(rng.random((2, 1, size, size)), (0, 0, 1, 1))
    b = 0.5 * a + 0.5 * ndimage.gaussian_filter(rng.random((2, 1, size, size)), (0, 0, 1, 1))
    return torch.from_numpy(a), torch.from_numpy(b)


def slow_ssim(a: np.ndarray, b: np.ndarray, row: int, column: int) -> float:
    """SSIM of Wang et al. (2004) at one pixel, by loops over its 11 x 11 window."""
    weights = np.array([[np.exp(-(i * i + j * j) / (2 * 1.5**2)) for j in range(-5, 6)] for i in range(-5, 6)])
    weights /= weights.sum()
    x, y = (image[row - 5 : row + 6, column - 5 : column + 6] for image in (a, b))
    mx, my = (weights * x).sum(), (weights * y).sum()
    vx, vy = (weights * (x - mx) ** 2).sum(), (weights * (y - my) ** 2).sum()
    cov = (weights * (x - mx) * (y - my)).sum()
    c1, c2 = 0.01**2, 0.03**2
    return float((2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2)))


def test_ssim_equals_a_loop_over_windows() -> None:
    a, b = pair()
    got = losses.ssim_map(a, b)
    for k in range(2):
        for row, column in [(5, 5), (10, 17), (18, 6), (12, 12)]:
            expected = slow_ssim(a[k, 0].numpy(), b[k, 0].numpy(), row, column)
            assert got[k, 0, row, column] == pytest.approx(expected, abs=1e-9)


def test_reversed_ssim_of_an_image_with_itself_is_zero() -> None:
    a, _ = pair()
    assert losses.reversed_ssim(a, a, torch.ones_like(a)).abs().max() < 1e-9


def test_constancy_counts_only_the_weighted_pixels() -> None:
    a, b = pair()
    weight = torch.zeros_like(a)
    weight[:, :, 3:9, 4:20] = 1
    expected = (a - b)[:, :, 3:9, 4:20].abs().mean((1, 2, 3))
    assert torch.allclose(losses.constancy(a, b, weight), expected)


def test_no_weight_gives_zero_not_nan() -> None:
    a, b = pair()
    assert losses.constancy(a, b, torch.zeros_like(a)).tolist() == [0, 0]


def test_local_ncc_equals_a_loop() -> None:
    a, b = pair()
    ncc = np.zeros((24, 24))
    for row in range(24):
        for column in range(24):
            rows, columns = slice(max(0, row - 3), row + 4), slice(max(0, column - 3), column + 4)
            x, y = a[0, 0, rows, columns].numpy(), b[0, 0, rows, columns].numpy()
            cov = ((x - x.mean()) * (y - y.mean())).mean()
            ncc[row, column] = cov / np.sqrt((x.var() + 1e-4) * (y.var() + 1e-4))
    got = losses.reversed_local_ncc(a, b, torch.ones_like(a), window=7)[0]
    assert float(got) == pytest.approx(1 - ncc.mean(), abs=1e-9)


def test_local_ncc_does_not_see_brightness_and_contrast() -> None:
    a, b = pair()
    a, b = a * 20, b * 20  # large against the floor under the variances
    weight = torch.ones_like(a)
    plain = losses.reversed_local_ncc(a, b, weight, window=9)
    changed = losses.reversed_local_ncc(a * 0.7 + 3, b, weight, window=9)
    assert torch.allclose(plain, changed, atol=1e-4)


def test_blur_agrees_with_scipy() -> None:
    a, _ = pair()
    expected = ndimage.gaussian_filter(a.numpy(), (0, 0, 2, 2), mode="mirror", radius=(0, 0, 6, 6))
    np.testing.assert_allclose(losses.gaussian_blur(a, sigma=2.0).numpy(), expected, atol=1e-9)


def test_blur_of_nothing_returns_the_image() -> None:
    a, _ = pair()
    assert losses.gaussian_blur(a, sigma=0) is a


@pytest.fixture(scope="module")
def vgg_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of VGG19's shape; its numbers are random."""
    from torchvision.models import vgg19

    with torch.device("meta"):
        shapes = vgg19(weights=None).features.state_dict()
    generator = torch.Generator().manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "vgg19.safetensors"
    weights = {f"features.{n}": torch.randn(v.shape, generator=generator) * 0.03 for n, v in shapes.items()}
    save_file(weights | {"classifier.0.bias": torch.zeros(3)}, path)
    return path


@pytest.mark.parametrize(("shape", "window"), [((64, 64), 33), ((20, 12), 5), ((8, 8), 15)])
def test_box_mean_equals_average_pooling(shape: tuple[int, int], window: int) -> None:
    images = torch.rand(3, 2, *shape, generator=torch.Generator().manual_seed(0))

    expected = F.avg_pool2d(images, window, stride=1, padding=window // 2)

    torch.testing.assert_close(losses.box_mean(images, window), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("shape", "sigma"), [((32, 32), 3.0), ((24, 10), 0.75), ((6, 6), 4.0), ((100, 70), 1.5)])
def test_a_blur_equals_the_convolution_of_the_padded_film(shape: tuple[int, int], sigma: float) -> None:
    images = torch.rand(2, 1, *shape, generator=torch.Generator().manual_seed(0))
    radius = min(round(3 * sigma) or 1, min(shape) - 1)
    x = torch.arange(-radius, radius + 1, dtype=torch.float64)
    line = torch.exp(-0.5 * (x / sigma) ** 2)
    kernel = (line[:, None] * line / line.sum() ** 2).float()

    expected = F.conv2d(F.pad(images, (radius,) * 4, mode="reflect"), kernel[None, None])

    torch.testing.assert_close(losses.gaussian_blur(images, sigma=sigma), expected, rtol=1e-4, atol=1e-6)


def test_perceptual_is_zero_for_equal_images_and_ends_at_relu5_4(vgg_file: Path) -> None:
    perceptual = losses.Perceptual(vgg_file)
    a = torch.rand(1, 1, 32, 32)
    assert float(perceptual(a, a)) == 0
    assert float(perceptual(a, 1 - a)) > 0
    assert isinstance(perceptual.features[-1], torch.nn.ReLU)
    assert sum(isinstance(part, torch.nn.Conv2d) for part in perceptual.features) == 16
    assert sum(isinstance(part, torch.nn.MaxPool2d) for part in perceptual.features) == 4


def test_perceptual_of_one_canonical_image_is_that_of_each_film(vgg_file: Path) -> None:
    perceptual, in_bfloat16 = losses.Perceptual(vgg_file), losses.Perceptual(vgg_file, dtype=torch.bfloat16)
    generator = torch.Generator().manual_seed(0)
    shown, image = torch.rand(3, 1, 32, 32, generator=generator), torch.rand(1, 1, 32, 32, generator=generator)

    values = perceptual(shown, image)

    torch.testing.assert_close(values, perceptual(shown, image.expand(3, 1, 32, 32)), rtol=1e-4, atol=0)
    assert in_bfloat16(shown, image).dtype == torch.float32
    torch.testing.assert_close(in_bfloat16(shown, image), values, rtol=0.05, atol=0)


def test_perceptual_refuses_another_file(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"features.0.weight": torch.zeros(1)}, path)
    with pytest.raises(IncompatibleModel, match=r"does not hold the weights of VGG19.*perceptual=0"):
        losses.Perceptual(path)

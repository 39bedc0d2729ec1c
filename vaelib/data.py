"""The data sets of the course: cats with four knobs, MNIST, and its two look-alikes.

Images are rows of floats in [0, 1], (N, 784), with 0 the background; labels are (N,)
integers. Cats are drawn, MNIST is bundled, Fashion-MNIST and KMNIST are downloaded.
"""

import gzip
import hashlib
import math
from pathlib import Path

import torch
from torch import Tensor

from vaelib.cat_drawing import SPECIES, Cats, cats, draw_cats

__all__ = [
    "ASSETS",
    "SPECIES",
    "Cats",
    "asset_bytes",
    "binarise",
    "cats",
    "check_batch",
    "check_floating",
    "check_unit_interval",
    "draw_cats",
    "is_capturing",
    "load",
]

ASSETS = Path(__file__).parent / "assets"
DOWNLOADS = Path.home() / ".cache" / "vaelib"
TORCHVISION_NAMES = {"fashion-mnist": "FashionMNIST", "kmnist": "KMNIST"}


def is_capturing(x: Tensor) -> bool:
    """Whether a CUDA graph is being recorded, when no value may be read back."""
    return x.is_cuda and torch.cuda.is_current_stream_capturing()


def check_unit_interval(x: Tensor, name: str = "x") -> None:
    """Raise ValueError unless every entry of `x` lies in [0, 1] (NaN does not)."""
    if is_capturing(x) or x.numel() == 0:
        return
    low, high = (bound.item() for bound in x.aminmax())
    if math.isnan(low):
        raise ValueError(f"{name} contains NaN: clean the data before using it")
    if low < 0 or high > 1:
        hint = "divide by 255" if high > 2 else "rescale or clamp it"
        raise ValueError(
            f"{name} must lie in [0, 1] but runs from {low:.4g} to {high:.4g}: {hint}"
        )


def check_floating(x: Tensor, name: str = "x") -> None:
    """Raise TypeError unless `x` holds floating-point numbers."""
    if not x.is_floating_point():
        raise TypeError(
            f"{name} has dtype {x.dtype} but must be floating point (are these "
            "labels?): for pixels in 0..255 use x.float() / 255, else x.float()"
        )


def check_batch(x: Tensor, name: str = "x") -> None:
    """Raise TypeError or ValueError unless `x` is a non-empty float tensor (N, D)."""
    if not isinstance(x, Tensor):
        raise TypeError(
            f"{name} must be a tensor (N, D), not {type(x).__name__}: "
            "use torch.as_tensor(...), and images alone if it is (images, labels)"
        )
    if x.ndim == 1 and not x.is_floating_point():
        raise TypeError(
            f"{name} has shape {tuple(x.shape)} and dtype {x.dtype}, which looks like "
            "labels: pass the images, (N, D) floats"
        )
    check_floating(x, name)
    if x.ndim != 2:
        raise ValueError(
            f"{name} has shape {tuple(x.shape)} but must be (N, D), one row per "
            "example: use x.flatten(1) for images, x.unsqueeze(0) for a single one"
        )
    if x.numel() == 0:
        raise ValueError(f"{name} is empty: its shape is {tuple(x.shape)}")


def asset_bytes(name: str, folder: Path = ASSETS) -> bytes:
    """The bytes of a bundled file, checked against assets/SHA256SUMS.

    Raises FileNotFoundError if it is missing and RuntimeError if it is damaged, each
    saying how to get it back.
    """
    path = folder / name
    restore = f"restore it with: git checkout -- vaelib/assets/{name}"
    if not path.exists():
        raise FileNotFoundError(f"the bundled file {name} is missing: {restore}")
    content = path.read_bytes()
    lines = (folder / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    expected = {file: digest for digest, file in map(str.split, lines)}
    if hashlib.sha256(content).hexdigest() != expected.get(name):
        raise RuntimeError(
            f"the bundled file {name} is truncated or altered (its SHA-256 is not the "
            f"one in assets/SHA256SUMS): {restore}"
        )
    return content


def _read_idx(name: str, header: int, folder: Path = ASSETS) -> Tensor:
    # The header of an IDX file: 16 bytes before images, 8 before labels.
    content = gzip.decompress(asset_bytes(f"mnist/{name}-ubyte.gz", folder))
    return torch.frombuffer(bytearray(content), dtype=torch.uint8)[header:]


def _bundled_mnist(train: bool) -> tuple[Tensor, Tensor]:
    prefix = "train" if train else "t10k"
    images = _read_idx(f"{prefix}-images-idx3", 16).view(-1, 784)
    return images, _read_idx(f"{prefix}-labels-idx1", 8)


def _downloaded(name: str, train: bool, root: Path) -> tuple[Tensor, Tensor]:
    from torchvision import datasets

    dataset = getattr(datasets, TORCHVISION_NAMES[name])
    try:
        split = dataset(root, train=train, download=True)
    except PermissionError as error:
        raise PermissionError(
            f"no permission to write {name} to {root}: "
            "pass root= with a folder of yours"
        ) from error
    except (RuntimeError, OSError) as error:
        raise ConnectionError(
            f"{name} is not bundled and could not be downloaded to {root}: connect to "
            "the internet once, or use load('mnist'), which needs no network"
        ) from error
    return split.data.flatten(1), split.targets


def load(
    name: str = "mnist", train: bool = True, root: Path | str = DOWNLOADS
) -> tuple[Tensor, Tensor]:
    """The images (N, 784), float32 in [0, 1], and labels (N,), int64, of a data set.

    name: "mnist" (bundled), "fashion-mnist" or "kmnist" (downloaded to `root` once);
    60,000 training or 10,000 test examples.
    Raises ValueError for another name, RuntimeError or FileNotFoundError for a damaged
    or missing file, ConnectionError when offline, PermissionError if `root` cannot be
    written. (LeCun, Cortes and Burges 1998; Xiao et al. 2017; Clanuwat et al. 2018)
    """
    if name == "mnist":
        images, labels = _bundled_mnist(train)
    elif name in TORCHVISION_NAMES:
        images, labels = _downloaded(name, train, Path(root))
    else:
        known = ", ".join(["mnist", *TORCHVISION_NAMES])
        raise ValueError(f"unknown data set {name!r}: choose one of {known}")
    return images.float().div_(255), labels.long()


def binarise(x: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Black or white pixels, each white with probability its grey value.

    x of any shape, in [0, 1]. Returns zeros and ones of the same shape and dtype.
    Raises ValueError for values outside [0, 1]. (Salakhutdinov and Murray 2008)
    """
    check_unit_interval(x)
    check_floating(x)
    uniform = torch.rand(x.shape, generator=generator, device=x.device, dtype=x.dtype)
    return (uniform < x).to(x.dtype)

"""The bundled MNIST against its canonical hashes, the downloads without a network."""

import gzip
import hashlib
import shutil
import subprocess
import sys
import time
from types import SimpleNamespace
from urllib.error import URLError

import pytest
import torch
from scipy.special import entr
from torchvision import datasets

from vaelib import data
from vaelib.objectives import bernoulli_log_likelihood

SMALL = "mnist/t10k-labels-idx1-ubyte.gz"
CANONICAL = {  # SHA-256 of the files that LeCun, Cortes and Burges published
    "train-images-idx3-ubyte": (
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"
    ),
    "train-labels-idx1-ubyte": (
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"
    ),
    "t10k-images-idx3-ubyte": (
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"
    ),
    "t10k-labels-idx1-ubyte": (
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"
    ),
}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", CANONICAL)
def test_bundled_files_are_the_canonical_ones(name):
    content = gzip.decompress((data.ASSETS / f"mnist/{name}.gz").read_bytes())
    assert hashlib.sha256(content).hexdigest() == CANONICAL[name]


def test_sums_list_exactly_the_data_there():
    lines = (data.ASSETS / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    there = {  # beside the notes, the scripts and the sums themselves
        path.relative_to(data.ASSETS).as_posix()
        for path in data.ASSETS.rglob("*")
        if path.is_file() and path.suffix not in (".md", ".py", ".pyc")
    }
    there.remove("SHA256SUMS")
    assert sorted(line.split("  ")[1] for line in lines) == sorted(there)
    for name in there:
        assert data.asset_bytes(name)


@pytest.mark.parametrize(("split", "n"), [("train", 60_000), ("test", 10_000)])
def test_mnist_is_rows_of_floats_in_the_unit_interval(split, n, request):
    x, labels = request.getfixturevalue(f"mnist_{split}")
    assert (x.shape, x.dtype) == ((n, 784), torch.float32)
    assert (labels.shape, labels.dtype) == ((n,), torch.int64)
    assert (x.min(), x.max()) == (0, 1)
    levels = (x[:100] * 255).round() / 255
    assert torch.equal(levels, x[:100])  # 256 grey levels, nothing else


def test_mnist_labels_go_with_their_images(mnist_train, mnist_test):
    x, labels = mnist_test
    counts = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert labels.bincount().tolist() == counts
    means = torch.stack(
        [mnist_train[0][mnist_train[1] == digit].mean(0) for digit in range(10)]
    )
    nearest = torch.cdist(x, means).argmin(1)
    # The nearest class mean is right for 82%; images in another order would give 10%.
    assert (nearest == labels).float().mean() > 0.8


def test_pictures_are_upright(mnist_test):
    one = mnist_test[0][mnist_test[1] == 1].mean(0).view(28, 28)
    seven = mnist_test[0][mnist_test[1] == 7].mean(0).view(28, 28)
    assert one.sum(0).std() > 1.5 * one.sum(1).std()  # a one stands
    assert seven[:14].max(1).values.sum() > 0
    assert seven[6:10, 4:24].sum() > 1.5 * seven[18:22, 4:24].sum()  # its bar is on top


def test_mnist_loads_quickly():
    def seconds():
        start = time.perf_counter()
        data.load("mnist")
        return time.perf_counter() - start

    assert any(seconds() < 1.5 for _ in range(3))


def test_grey_mnist_has_the_bounds_that_catch_bugs(mnist_test):
    x = mnist_test[0].double()
    floor = (entr(x.numpy()) + entr(1 - x.numpy())).sum(1).mean()
    assert round(floor, 2) == 45.53
    # The best that one mean a pixel can do for these images: their own means. Those of
    # the training images would give infinity, for a pixel that is never lit there.
    mean = x.mean(0).expand_as(x)
    cross = torch.special.xlogy(x, mean) + torch.special.xlog1py(1 - x, -mean)
    baseline = -cross.sum(1).mean().item()
    assert round(baseline, 2) == 205.65
    for p, bound in (x, floor), (mean, baseline):
        ours = bernoulli_log_likelihood(x, p.clamp(1e-15, 1 - 1e-15).logit())
        assert -ours.mean().item() == pytest.approx(bound, abs=1e-6)


def flip(content):
    return content[:100] + bytes([content[100] ^ 1]) + content[101:]


@pytest.mark.parametrize(
    ("damage", "error", "message"),
    [
        (flip, RuntimeError, "truncated or altered"),
        (lambda content: content[:-1], RuntimeError, "truncated or altered"),
        (lambda content: b"", RuntimeError, "truncated or altered"),
        (None, FileNotFoundError, "is missing"),
    ],
    ids=["flipped", "truncated", "empty", "missing"],
)
def test_damaged_asset_is_named_with_its_remedy(damage, error, message, tmp_path):
    (tmp_path / "mnist").mkdir()
    for name in "SHA256SUMS", SMALL:
        shutil.copy(data.ASSETS / name, tmp_path / name)
    intact = data.asset_bytes(SMALL, tmp_path)
    assert intact == data.asset_bytes(SMALL)
    if damage:
        (tmp_path / SMALL).write_bytes(damage(intact))
    else:
        (tmp_path / SMALL).unlink()
    remedy = f"{SMALL}.*{message}.*git checkout -- vaelib/assets/{SMALL}"
    with pytest.raises(error, match=remedy):
        data.asset_bytes(SMALL, tmp_path)


class Download:
    """In place of a torchvision data set: notes what it is asked for, then answers."""

    def __init__(self, answer):
        self.answer = answer

    def __call__(self, root, train, download):
        self.asked = (root, train, download)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize("name", data.TORCHVISION_NAMES)
@pytest.mark.parametrize("train", [True, False])
def test_download_becomes_rows_of_floats(name, train, monkeypatch, tmp_path):
    images = torch.randint(256, (5, 28, 28), generator=seeded(), dtype=torch.uint8)
    split = Download(SimpleNamespace(data=images, targets=torch.arange(5)))
    monkeypatch.setattr(datasets, data.TORCHVISION_NAMES[name], split)
    x, labels = data.load(name, train, root=str(tmp_path))
    assert split.asked == (tmp_path, train, True)
    assert torch.equal(x, images.view(5, 784).float() / 255)
    assert (x.dtype, labels.dtype) == (torch.float32, torch.int64)
    assert labels.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("cause", "error", "message"),
    [
        (RuntimeError("Error downloading"), ConnectionError, r"load\('mnist'\)"),
        (URLError("no route to host"), ConnectionError, "connect to the internet"),
        (PermissionError("/"), PermissionError, "pass root= with a folder of yours"),
    ],
    ids=["all mirrors fail", "offline", "no permission"],
)
def test_failed_download_says_what_to_do(cause, error, message, monkeypatch, tmp_path):
    monkeypatch.setattr(datasets, "FashionMNIST", Download(cause))
    with pytest.raises(error, match=f"fashion-mnist.*{message}") as caught:
        data.load("fashion-mnist", root=tmp_path)
    assert caught.value.__cause__ is cause
    assert str(tmp_path) in str(caught.value)


def test_binarised_pixels_are_white_as_often_as_they_are_grey():
    n, grey = 20_000, torch.linspace(0, 1, 11, dtype=torch.float64)
    white = data.binarise(grey.expand(n, 11), seeded())
    assert (white.shape, white.dtype) == ((n, 11), torch.float64)
    assert set(white.unique().tolist()) == {0, 1}
    standard_error = (grey * (1 - grey) / n).sqrt()  # 0 at black and at white
    assert ((white.mean(0) - grey).abs() <= 5 * standard_error).all()
    correlation = white[:, 1:-1].T.corrcoef() - torch.eye(9)
    assert correlation.abs().max() < 5 / n**0.5  # each pixel has a draw of its own


def test_binarise_follows_its_generator_alone():
    x = torch.rand(20, 30, generator=seeded(1))
    before, state = x.clone(), torch.get_rng_state()
    first, again = data.binarise(x, seeded()), data.binarise(x, seeded())
    assert torch.equal(first, again)
    assert not torch.equal(first, data.binarise(x, seeded(2)))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(x, before)


def cpu_seconds(statement):
    code = (
        f"import time\nstart = time.process_time()\n{statement}\n"
        "print(time.process_time() - start)\nimport sys\nprint(*sys.modules)"
    )
    run = [sys.executable, "-c", code]
    output = subprocess.run(run, capture_output=True, check=True, text=True).stdout
    seconds, modules = output.splitlines()
    return float(seconds), set(modules.split())


def test_import_costs_little_more_than_torch():
    ours = "import vaelib; vaelib.models; vaelib.training"  # with all they import
    best = {"import torch": float("inf"), ours: float("inf")}
    for _ in range(4):
        for statement in best:
            seconds, modules = cpu_seconds(statement)
            best[statement] = min(best[statement], seconds)
        assert "vaelib.training" in modules or statement == "import torch"
        assert not modules & {"matplotlib", "ipywidgets", "torchvision", "IPython"}
        if best[ours] <= 1.2 * best["import torch"]:
            return
    pytest.fail(f"CPU seconds: {best}")

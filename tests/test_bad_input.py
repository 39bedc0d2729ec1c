"""Every mistake gets an error that says what to do, before anything is changed.

Each row of MISTAKES is a name, a call of (model, folder), the error and what its
message must say. `model` is a small Bernoulli VAE for rows of D pixels, whose weights
no mistake may change; `folder` is empty.
"""

import hashlib
import io
import math
import shutil
import sys
from types import SimpleNamespace

import ipywidgets
import pytest
import torch
from matplotlib.figure import Figure
from torch import nn

from vaelib import data, objectives, widgets
from vaelib.models import Autoencoder, VariationalAutoEncoder, load_weights
from vaelib.training import choose_device, evaluate, fit

B, D, Z = 8, 4, 2
LABELS_FILE = "mnist/t10k-labels-idx1-ubyte.gz"

x = torch.rand(B, D, generator=torch.Generator().manual_seed(0))
mu, sigma = torch.zeros(B, D), torch.ones(B, D)
labels = torch.arange(B)
pixels = torch.arange(B * D, dtype=torch.uint8).view(B, D)  # 0..31, as from a file
binary = (x > 0.5).to(torch.uint8)
nan = x.clone()
nan[0, 0] = math.nan
pictures = torch.rand(B, 784, generator=torch.Generator().manual_seed(0))


def train(data=x, test=None, **options):
    """A call of fit on the mistaken arguments."""

    def call(model, folder):
        fit(model, data, test, **{"batch_size": 4, "progress": False} | options)

    return call


def broken_asset(damage):
    """A call that reads a bundled file after `damage(path)`."""

    def call(model, folder):
        (folder / "mnist").mkdir()
        for name in "SHA256SUMS", LABELS_FILE:
            shutil.copy(data.ASSETS / name, folder / name)
        damage(folder / LABELS_FILE)
        data.asset_bytes(LABELS_FILE, folder)

    return call


def write_checkpoint(folder, weights):
    file = io.BytesIO()
    torch.save(weights, file)
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints/vae.pt").write_bytes(file.getvalue())
    digest = hashlib.sha256(file.getvalue()).hexdigest()
    (folder / "SHA256SUMS").write_text(f"{digest}  checkpoints/vae.pt\n")


def checkpoint(other=None, damage=None):
    """A call that loads the weights of `other`, or a damaged file, into the model."""

    def call(model, folder):
        write_checkpoint(folder, (other or model).state_dict())
        if damage:
            damage(folder / "checkpoints/vae.pt")
        load_weights(model, "vae", folder)

    return call


def truncate(path):
    path.write_bytes(path.read_bytes()[:-1])


def alter(path):
    content = path.read_bytes()
    path.write_bytes(content[:50] + bytes([content[50] ^ 1]) + content[51:])


def download(error):
    """A call that downloads with a torchvision that fails with `error`."""

    def call(model, folder):
        def fail(*args, **options):
            raise error

        fake = SimpleNamespace(datasets=SimpleNamespace(KMNIST=fail))
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(sys.modules, "torchvision", fake)
            data.load("kmnist", root=folder)

    return call


def without_accelerator(name):
    def call(model, folder):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch.cuda, "is_available", lambda: False)
            patch.setattr(torch.backends.mps, "is_available", lambda: False)
            fit(model, x, batch_size=4, progress=False, device=name)

    return call


def scalar_loss(model, x, generator):
    return objectives.negative_elbo(model, x, generator).mean()


def pixel_loss(model, x, generator):
    return (model(x, generator)[0] - x).square()


class Sigmaless(VariationalAutoEncoder):
    """Version 0 of the notes: sigma straight out of a Linear layer."""

    def encode(self, x):
        h = self.activation(self.img_2hid(x))
        return self.hid_2mu(h), self.hid_2sigma(h)


def of(function, *args, **options):
    """A call that has no use for the model."""
    return lambda model, folder: function(*args, **options)


def show(kind, *arguments, z_dim=Z, **options):
    """A call that shows a small VAE of 784 pixels."""

    def call(model, folder):
        getattr(widgets, kind)(VAE(784, 5, z_dim), *arguments, **options)

    return call


class Inverted(VariationalAutoEncoder):
    """A model whose pictures are not what its layers put out."""

    def decode(self, z):
        return 1 - super().decode(z)


def sliders_of(*modules):
    return lambda model, folder: widgets.latent_sliders(nn.Sequential(*modules))


def live(figure=None, update=lambda **values: None, **controls):
    """A call that shows a live figure, and must not leave one open."""

    def call(model, folder):
        before = set(ipywidgets.widgets.widget._instances)
        try:
            widgets.live(figure or Figure(), update, alt="", **controls)
        finally:
            assert set(ipywidgets.widgets.widget._instances) == before

    return call


bernoulli = objectives.bernoulli_log_likelihood
gaussian = objectives.gaussian_log_likelihood
categorical = objectives.categorical_log_likelihood
VAE = VariationalAutoEncoder

MISTAKES = [
    # data
    ("data set unknown", of(data.load, "cifar"), ValueError, "choose one of mnist"),
    ("no permission", download(PermissionError()), PermissionError, "pass root="),
    ("offline", download(OSError()), ConnectionError, r"connect.*load\('mnist'\)"),
    ("asset truncated", broken_asset(truncate), RuntimeError, "git checkout"),
    ("asset altered", broken_asset(alter), RuntimeError, "git checkout"),
    (
        "asset missing",
        broken_asset(lambda path: path.unlink()),
        FileNotFoundError,
        "git checkout",
    ),
    ("binarise 0..255", of(data.binarise, 255 * x), ValueError, "divide by 255"),
    ("binarise below 0", of(data.binarise, x - 1), ValueError, "rescale or clamp"),
    ("binarise NaN", of(data.binarise, nan), ValueError, "clean the data"),
    ("binarise uint8", of(data.binarise, pixels), (TypeError, ValueError), "255"),
    (
        "binarise uint8, 0 and 1",
        of(data.binarise, binary),
        (TypeError, ValueError),
        r"\.float\(\)",
    ),
    # objectives
    ("bernoulli above 1", of(bernoulli, 9 * x, mu), ValueError, "divide by 255"),
    ("bernoulli NaN", of(bernoulli, nan, mu), ValueError, "clean the data"),
    ("bernoulli uint8", of(bernoulli, pixels, mu), TypeError, "floating point"),
    ("bernoulli labels", of(bernoulli, labels, mu), TypeError, "are these labels"),
    (
        "bernoulli shapes",
        of(bernoulli, x, mu[:, 1:]),
        ValueError,
        r"\(8, 3\) but x has \(8, 4\).*shaped as x",
    ),
    ("bernoulli one row", of(bernoulli, x, mu[:1]), ValueError, "shaped as x"),
    ("gaussian sigma 0", of(gaussian, x, mu, 0), ValueError, "make it with softplus"),
    ("gaussian sigma < 0", of(gaussian, x, mu, -sigma), ValueError, "softplus"),
    ("gaussian mu", of(gaussian, x, mu[:, 1:], 1), ValueError, "shaped as x"),
    (
        "gaussian sigma per row",
        of(gaussian, x, mu, torch.ones(B)),
        ValueError,
        r"sigma has shape \(8,\)",
    ),
    (
        "gaussian sigma too long",
        of(gaussian, x, mu, torch.ones(3, B, D)),
        ValueError,
        r"sigma has shape \(3, 8, 4\)",
    ),
    ("gaussian integer mu", of(gaussian, x, mu.long(), 1.5), TypeError, "mu has dtype"),
    ("gaussian integers", of(gaussian, pixels, mu, 1), TypeError, "floating point"),
    (
        "categorical floats",
        of(categorical, x, torch.zeros(B, D, 3)),
        TypeError,
        "must hold integer categories",
    ),
    (
        "category too high",
        of(categorical, pixels.long(), torch.zeros(B, D, 3)),
        ValueError,
        r"must lie in 0\.\.2",
    ),
    (
        "category below 0",
        of(categorical, pixels.long() - 32, torch.zeros(B, D, 3)),
        ValueError,
        r"must lie in 0\.\.2",
    ),
    (
        "categorical shapes",
        of(categorical, labels, torch.zeros(B, D, 3)),
        ValueError,
        r"must be \(8, 'C'\)",
    ),
    (
        "kl shapes",
        of(objectives.gaussian_kl, mu, sigma[:, 1:]),
        ValueError,
        "one mean and one standard deviation per latent",
    ),
    (
        "kl sigma < 0",
        of(objectives.gaussian_kl, mu, -sigma),
        ValueError,
        "it is a standard deviation; make it with softplus",
    ),
    (
        "elbo without samples",
        lambda model, _: objectives.elbo(model, x, samples=0),
        ValueError,
        "must be at least 1",
    ),
    (
        "importance weights without samples",
        lambda model, _: objectives.importance_weighted_bound(model, x, 0),
        ValueError,
        "must be at least 1",
    ),
    # models
    ("no inputs", of(VAE, 0), ValueError, "input_dim is 0 but.*whole number above 0"),
    ("width below 0", of(VAE, D, h_dim=-5), ValueError, "h_dim is -5 but.*above 0"),
    ("width a fraction", of(VAE, D, z_dim=2.5), ValueError, "z_dim is 2.5.*whole"),
    ("no code", of(Autoencoder, D, z_dim=0), ValueError, "z_dim is 0 but"),
    (
        "activation unknown",
        of(VAE, D, activation="gelu"),
        ValueError,
        "choose one of relu, silu",
    ),
    ("sigma_x 0", of(VAE, D, sigma_x=0), ValueError, "sigma_x must be positive"),
    ("sigma_x < 0", of(VAE, D, sigma_x=-0.1), ValueError, "sigma_x must be positive"),
    (
        "sigma_x NaN",
        of(VAE, D, sigma_x=math.nan),
        ValueError,
        "sigma_x must be positive",
    ),
    (
        "data_mean a number",
        of(VAE, D, data_mean=x.mean()),
        ValueError,
        r"must be \(4,\): use train.mean\(0\)",
    ),
    (
        "data_mean as column",
        of(Autoencoder, D, data_mean=torch.zeros(D, 1)),
        ValueError,
        r"use train.mean\(0\)",
    ),
    (
        "data_mean above 1",
        of(VAE, D, data_mean=torch.full((D,), 33.3)),
        ValueError,
        "data_mean must lie in.*divide by 255",
    ),
    (
        "data_mean a list",
        of(VAE, D, data_mean=[0.1] * D),
        (TypeError, ValueError),
        r"data_mean.*train.mean\(0\)",
    ),
    (
        "encode other width",
        lambda model, _: model(torch.zeros(B, 5)),
        ValueError,
        r"\(8, 5\) but its last axis must be 4",
    ),
    (
        "encode images",
        lambda model, _: model(torch.zeros(B, 2, 2)),
        ValueError,
        r"use x.flatten\(1\) for images",
    ),
    (
        "decode other width",
        lambda model, _: model.decode(torch.zeros(B, 3)),
        ValueError,
        r"z has shape \(8, 3\) but its last axis must be 2",
    ),
    (
        "encode uint8",
        lambda model, _: model(pixels),
        (TypeError, ValueError),
        r"\.float\(\) / 255",
    ),
    ("checkpoint truncated", checkpoint(damage=truncate), RuntimeError, "git checkout"),
    ("checkpoint altered", checkpoint(damage=alter), RuntimeError, "git checkout"),
    (
        "checkpoint missing",
        lambda model, folder: load_weights(model, "vae", folder),
        FileNotFoundError,
        "git checkout",
    ),
    (
        "checkpoint of other widths",
        checkpoint(VAE(D, h_dim=6, z_dim=Z)),
        ValueError,
        r"is \(4, 6\) there but \(4, 5\) here; build the model with the widths of",
    ),
    (
        "checkpoint of another class",
        checkpoint(Autoencoder(D, h_dim=5, z_dim=Z)),
        ValueError,
        r"hid_2mu.bias is absent there but \(2,\) here; build the model with",
    ),
    # training
    ("fit: a tuple", train((x, labels)), TypeError, "images alone"),
    ("fit: labels", train(labels), TypeError, "looks like labels: pass the images"),
    ("fit: a list", train(x.tolist()), TypeError, "use torch.as_tensor"),
    ("fit: uint8", train(pixels), TypeError, r"use x.float\(\) / 255"),
    ("fit: pictures", train(x.view(B, 2, 2)), ValueError, r"use x.flatten\(1\)"),
    ("fit: one example", train(x[0]), ValueError, r"x.unsqueeze\(0\) for a single"),
    ("fit: empty", train(x[:0]), ValueError, "train is empty"),
    ("fit: NaN", train(nan), ValueError, "train contains NaN.*clean it first"),
    ("fit: 0..255", train(255 * x), ValueError, "train must lie in.*divide by 255"),
    ("fit: other width", train(x[:, 1:]), ValueError, "last axis must be 4"),
    ("fit: float64", train(x.double()), (TypeError, ValueError), r"float64.*\.float"),
    ("fit: test a tuple", train(test=(x, labels)), TypeError, "test must be a tensor"),
    ("fit: test labels", train(test=labels), TypeError, "test.*looks like labels"),
    ("fit: test empty", train(test=x[:0]), ValueError, "test is empty"),
    ("fit: test NaN", train(test=nan), ValueError, "test contains NaN.*clean it"),
    ("fit: test 0..255", train(test=255 * x), ValueError, "test must lie.*divide by"),
    (
        "fit: test of other width",
        train(test=x[:, 1:]),
        ValueError,
        "train has 4 columns but test has 3.*must come from the same kind",
    ),
    (
        "fit: batch too large",
        train(batch_size=9),
        ValueError,
        r"whole number in 1\.\.8",
    ),
    ("fit: batch of 0", train(batch_size=0), ValueError, r"whole number in 1\.\.8"),
    ("fit: batch of 2.5", train(batch_size=2.5), ValueError, "batch_size is 2.5 but"),
    ("fit: epochs 0", train(epochs=0), ValueError, "must be a whole number above 0"),
    ("fit: epochs 1.5", train(epochs=1.5), ValueError, "must be a whole number above"),
    ("fit: rate a text", train(learning_rate="0.1"), ValueError, "a number > 0"),
    ("fit: rate < 0", train(learning_rate=-0.1), ValueError, "must be a number > 0"),
    ("fit: rate 0", train(learning_rate=0), ValueError, "must be a number > 0"),
    (
        "fit: rate NaN",
        train(learning_rate=math.nan),
        ValueError,
        "must be a number > 0",
    ),
    (
        "fit: rate inf",
        train(learning_rate=math.inf),
        ValueError,
        "must be a number > 0",
    ),
    (
        "fit: loss no function",
        train(loss="elbo"),
        TypeError,
        r"must be a function of \(model, x, generator\)",
    ),
    (
        "fit: loss a scalar",
        train(loss=scalar_loss),
        ValueError,
        r"loss returned shape \(\).*one number per example, \(B,\)",
    ),
    (
        "fit: loss per pixel",
        train(loss=pixel_loss),
        ValueError,
        r"loss returned shape \(\d+, 4\).*one number per example, \(B,\)",
    ),
    (
        "fit: test loss a scalar",
        train(test=x, test_loss=scalar_loss),
        ValueError,
        r"loss returned shape \(\).*one number per example, \(B,\)",
    ),
    (
        "fit: sigma from a Linear",
        lambda model, folder: train()(Sigmaless(D, h_dim=5, z_dim=Z), folder),
        ValueError,
        "sigma must be positive.*make it with softplus",
    ),
    ("fit: device unknown", train(device="tpu"), ValueError, "use device='auto'"),
    ("fit: no GPU", without_accelerator("cuda"), ValueError, "use device='auto'"),
    ("fit: no MPS", without_accelerator("mps"), ValueError, "use device='auto'"),
    ("device unknown", of(choose_device, "gpu"), ValueError, "this machine has cpu"),
    (
        "evaluate labels",
        lambda model, _: evaluate(model, labels),
        TypeError,
        "looks like labels: pass the images",
    ),
    (
        "evaluate a tuple",
        lambda model, _: evaluate(model, (x, labels)),
        TypeError,
        "images alone",
    ),
    (
        "evaluate nothing",
        lambda model, _: evaluate(model, x[:0]),
        ValueError,
        "data is empty",
    ),
    (
        "evaluate 0..255",
        lambda model, _: evaluate(model, 255 * x),
        ValueError,
        "divide by 255",
    ),
    (
        "evaluate a scalar loss",
        lambda model, _: evaluate(model, x, scalar_loss),
        ValueError,
        r"loss returned shape \(\).*one number per example, \(B,\)",
    ),
    # widgets
    (
        "sliders: a Linear",
        of(widgets.latent_sliders, nn.Linear(2, 784)),
        TypeError,
        "must be a model of vaelib.models or an nn.Sequential, not Linear",
    ),
    (
        "sliders: another decode",
        lambda model, _: widgets.latent_sliders(Inverted(784, 5, 2), pictures),
        TypeError,
        "Inverted.decode does something else than its layers",
    ),
    *(
        (
            f"{kind.__name__}: a model in {dtype}",
            lambda model, _, kind=kind, dtype=dtype: kind(
                VAE(784, 5, 2).to(dtype), pictures
            ),
            TypeError,
            rf"img_2hid.weight has dtype {dtype} but must be float32.*model.float\(\)",
        )
        for kind in (widgets.latent_sliders, widgets.latent_map, widgets.drawing_pad)
        for dtype in (torch.float64, torch.float16, torch.bfloat16)
    ),
    (
        "sliders: a Sequential in float64",
        sliders_of(nn.Linear(2, 784).double()),
        TypeError,
        r"model's 0.weight has dtype torch.float64 .* use model.float\(\)",
    ),
    (
        "sliders: a function",
        of(widgets.latent_sliders, torch.sin),
        TypeError,
        "must be a model of vaelib.models or an nn.Sequential",
    ),
    (
        "sliders: a convolution",
        sliders_of(nn.Linear(2, 784), nn.Conv2d(1, 1, 3)),
        TypeError,
        "browser cannot evaluate Conv2d.*use Linear layers, each followed by at most",
    ),
    (
        "sliders: dropout",
        sliders_of(nn.Linear(2, 9), nn.Dropout(), nn.Linear(9, 784)),
        TypeError,
        "browser cannot evaluate Dropout",
    ),
    (
        "sliders: leaky ReLU",
        sliders_of(nn.Linear(2, 784), nn.LeakyReLU()),
        TypeError,
        "at most one of relu, silu, tanh, sigmoid, identity",
    ),
    (
        "sliders: two activations",
        sliders_of(nn.Linear(2, 784), nn.ReLU(), nn.Sigmoid()),
        TypeError,
        "browser cannot evaluate Sigmoid",
    ),
    (
        "sliders: activation first",
        sliders_of(nn.ReLU(), nn.Linear(2, 784)),
        TypeError,
        "browser cannot evaluate ReLU",
    ),
    ("sliders: no layer", sliders_of(), TypeError, "at least one Linear layer"),
    (
        "sliders: 21 latents",
        show("latent_sliders", pictures, z_dim=21),
        ValueError,
        "takes 21 latents to 784 pixels, but must take 1 to 20 to 784",
    ),
    (
        "sliders: other pixels",
        lambda model, _: widgets.latent_sliders(model, x),
        ValueError,
        "takes 2 latents to 4 pixels, but must take 1 to 20 to 784",
    ),
    (
        "sliders: no images",
        show("latent_sliders"),
        TypeError,
        "images must be a tensor",
    ),
    (
        "sliders: images too many",
        of(widgets.latent_sliders, nn.Sequential(nn.Linear(2, 784)), pictures),
        TypeError,
        "has no encoder: leave images out",
    ),
    ("sliders: labels", show("latent_sliders", labels), TypeError, "like labels"),
    (
        "sliders: uint8",
        show("latent_sliders", (255 * pictures).byte()),
        TypeError,
        r"images has dtype.*use x.float\(\) / 255",
    ),
    (
        "sliders: 0..255",
        show("latent_sliders", 255 * pictures),
        ValueError,
        "images must lie in.*divide by 255",
    ),
    ("sliders: NaN", show("latent_sliders", nan), ValueError, "images contains NaN"),
    ("sliders: empty", show("latent_sliders", pictures[:0]), ValueError, "is empty"),
    (
        "sliders: float64",
        show("latent_sliders", pictures.double()),
        TypeError,
        r"float64 but must be float32: use images.float\(\)",
    ),
    (
        "sliders: other width",
        show("latent_sliders", x),
        ValueError,
        "images has 4 columns but must have 784",
    ),
    (
        "map: 3 latents",
        show("latent_map", pictures, z_dim=3),
        ValueError,
        "needs a model of vaelib.models with z_dim=2",
    ),
    (
        "map: a Sequential",
        of(widgets.latent_map, nn.Sequential(nn.Linear(2, 784)), pictures),
        ValueError,
        "needs a model of vaelib.models with z_dim=2",
    ),
    (
        "map: too few labels",
        show("latent_map", pictures, labels[1:]),
        ValueError,
        "there are 8 images but 7 labels",
    ),
    ("map: 0..255", show("latent_map", 255 * pictures), ValueError, "divide by 255"),
    (
        "pad: an autoencoder",
        of(widgets.drawing_pad, Autoencoder(784, 5, 2), pictures),
        TypeError,
        "drawing_pad needs a VariationalAutoEncoder",
    ),
    ("pad: labels", show("drawing_pad", labels), TypeError, "like labels"),
    (
        "pad: 21 latents",
        show("drawing_pad", pictures, z_dim=21),
        ValueError,
        "takes 21 latents to 784 pixels",
    ),
    (
        "live: no figure",
        live(figure="a figure", a=(0, 1, 0)),
        TypeError,
        "figure must be a matplotlib Figure, not 'a figure'",
    ),
    (
        "live: no function",
        live(update=7, a=(0, 1, 0)),
        TypeError,
        "update must be a function, not 7",
    ),
    ("live: no controls", live(), ValueError, "give at least one control, such as"),
    (
        "live: other arguments",
        live(update=lambda a, b: None, a=(0, 1, 0), c=(0, 1, 0)),
        TypeError,
        "update must take just the controls a, c",
    ),
    (
        "live: too few arguments",
        live(update=lambda a, b: None, a=(0, 1, 0)),
        TypeError,
        "update must take just the controls a: missing a required argument: 'b'",
    ),
    (
        "live: no function behind a button",
        live(a=(0, 1, 0), actions={"Go": 7}),
        TypeError,
        r"actions\['Go'\] must be a function, not 7",
    ),
    ("live: ends swapped", live(a=(1, 0, 0.5)), ValueError, r"a=\(1, 0, 0.5\) is no"),
    ("live: start outside", live(a=(0, 1, 2)), ValueError, "low <= start <= high"),
    ("live: two numbers", live(a=(0, 1)), ValueError, "is no control: give"),
    ("live: one number", live(a=3), ValueError, "a=3 is no control: give"),
    ("live: texts", live(a=("a", "c", "b")), ValueError, "is no control: give"),
    ("live: NaN", live(a=(0, 1, math.nan)), ValueError, "is no control: give"),
    ("live: infinite", live(a=(0, math.inf, 1)), ValueError, "all finite"),
    (
        "live: a button",
        live(a=ipywidgets.Button()),
        ValueError,
        "is no control: give",
    ),
]


@pytest.fixture
def model():
    return VariationalAutoEncoder(D, h_dim=5, z_dim=Z)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [row[1:] for row in MISTAKES],
    ids=[row[0] for row in MISTAKES],
)
def test_mistake_is_named_and_nothing_changed(call, error, message, model, tmp_path):
    before = {key: value.clone() for key, value in model.state_dict().items()}
    state = torch.get_rng_state()
    with pytest.raises(error, match=f"(?s){message}"):
        call(model, tmp_path)
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key]), key
    assert torch.equal(torch.get_rng_state(), state)


def test_every_mistake_has_a_name_of_its_own():
    names = [row[0] for row in MISTAKES]
    assert len(set(names)) == len(names) >= 25


@pytest.mark.parametrize("call", [train(), train(test=x), checkpoint()])
def test_the_same_calls_work_without_the_mistake(call, model, tmp_path):
    call(model, tmp_path)


def test_pixels_of_any_size_suit_a_gaussian_decoder_or_a_module(tmp_path):
    """What only a Bernoulli decoder refuses must not be refused elsewhere."""
    gaussian_vae = VariationalAutoEncoder(D, h_dim=5, z_dim=Z, sigma_x=0.5)
    train(3 * x - 1, learning_rate=1e-3)(gaussian_vae, tmp_path)
    train(3 * x - 1, loss=lambda m, x, _: m(x).square().sum(1))(
        nn.Linear(D, D), tmp_path
    )

"""What Python gives to the browser; tests/browser has what the browser makes of it."""

import base64
import io

import ipywidgets
import numpy as np
import pytest
import torch
from IPython.core.formatters import DisplayFormatter
from matplotlib import pyplot as plt
from torch import nn

from vaelib import widgets
from vaelib.models import (
    ACTIVATIONS,
    SIGMA_FLOOR,
    Autoencoder,
    VariationalAutoEncoder,
    load_weights,
)
from vaelib.widgets import in_browser

BUNDLED = {
    "mnist_z20": ((784, 400, 20), "silu"),
    "mnist_z2": ((784, 400, 2), "silu"),
    "cats_z10_seed0": ((784, 128, 10), "relu"),
}
HALF_A_LEVEL = 0.5 / 255
IN_NUMPY = {
    "relu": lambda a: np.where(a > 0, a, 0),
    "silu": lambda a: a / (1 + np.exp(-a)),
    "tanh": np.tanh,
    "sigmoid": lambda a: 1 / (1 + np.exp(-a)),
    "identity": lambda a: a,
}
DATA_MEAN = torch.rand(784, generator=torch.Generator().manual_seed(3))


def bundled(name):
    widths, activation = BUNDLED[name]
    return load_weights(VariationalAutoEncoder(*widths, activation=activation), name)


def sequential(activation, bias=True):
    shared = activation()  # one object in two places: both have to be evaluated
    return nn.Sequential(
        nn.Sequential(nn.Linear(5, 30, bias=bias), shared),
        nn.Sequential(nn.Linear(30, 40, bias=bias), shared),
        nn.Linear(40, 784, bias=bias),
        nn.Sigmoid(),
    )


DECODERS = {
    **{name: lambda name=name: bundled(name) for name in BUNDLED},
    **{
        f"vae, {name}": lambda name=name: VariationalAutoEncoder(784, 30, 3, name)
        for name in ACTIVATIONS
    },
    "vae, its mean given": lambda: VariationalAutoEncoder(784, data_mean=DATA_MEAN),
    "gaussian vae": lambda: VariationalAutoEncoder(784, 30, 3, sigma_x=0.1),
    "autoencoder": lambda: Autoencoder(784, 30, 3, "tanh", data_mean=DATA_MEAN),
    "linear autoencoder": lambda: Autoencoder(784, 30, 20, "identity"),
    "two hidden layers, relu": lambda: sequential(nn.ReLU),
    "two hidden layers, silu": lambda: sequential(nn.SiLU),
    "two hidden layers, tanh": lambda: sequential(nn.Tanh),
    "two hidden layers, sigmoid": lambda: sequential(nn.Sigmoid),
    "no bias": lambda: sequential(nn.SiLU, bias=False),
    "one layer": lambda: nn.Sequential(nn.Linear(1, 784)),
}


def unpacked(network, x):
    """What a network makes of x, read from its bytes by numpy in float64."""
    weights = np.frombuffer(network["weights"], "<f2").astype(float)
    biases = np.frombuffer(network["biases"], "<f4").astype(float)
    for inputs, outputs, name in network["layers"]:
        weight, weights = np.split(weights, [inputs * outputs])
        bias, biases = np.split(biases, [outputs])
        x = IN_NUMPY[name](x @ weight.reshape(outputs, inputs).T + bias)
    assert weights.size == biases.size == 0
    return x


@torch.no_grad()
def decode(model, z):
    return (model if isinstance(model, nn.Sequential) else model.decode)(z)


def prior_codes(latents, count=100, seed=1):
    return torch.randn(count, latents, generator=torch.Generator().manual_seed(seed))


def rounded(model):
    """Round all weights to half precision, in place, as those of checkpoints are."""
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(weight.half())
    return model


def open_models():
    return set(ipywidgets.widgets.widget._instances)


def pixels_of(png):
    """A PNG's grey values in [0, 1]."""
    return plt.imread(io.BytesIO(png), format="png")[..., 0]


def assert_shows(png, *pictures):
    """Check a PNG against pictures side by side; its 256 greys are 1.7 off at most."""
    rows = np.concatenate([np.asarray(p).reshape(28, 28) for p in pictures], axis=1)
    expected = rows.repeat(10, 0).repeat(10, 1).clip(0, 1)
    np.testing.assert_allclose(pixels_of(png), expected, rtol=0, atol=1.7 / 255)


@pytest.fixture(scope="module")
def digits(mnist_test):
    images, labels = mnist_test
    return images[:200], labels[:200]


@pytest.fixture(scope="module")
def model():
    return bundled("mnist_z20").requires_grad_(False)


@pytest.fixture
def keep():
    """A function that notes a box down, to be closed when its test has ended."""
    boxes = []

    def note(box):
        boxes.append(box)
        return box

    yield note
    for box in boxes:
        box.close()


@pytest.mark.parametrize("name", DECODERS)
def test_bytes_hold_the_decoder(name):
    model = rounded(DECODERS[name]())
    layers = in_browser.decoder_layers(model)
    z = prior_codes(layers[0][0].shape[1])
    found = unpacked(in_browser.pack_network(layers), z.double().numpy())
    np.testing.assert_allclose(found, decode(model, z), rtol=0, atol=1e-5)
    with torch.no_grad():
        evaluated = in_browser.evaluate_layers(layers, z)
    np.testing.assert_allclose(found, evaluated, rtol=0, atol=1e-5)
    assert not any(t.requires_grad for layer in layers for t in layer[:2])


@pytest.mark.parametrize(
    "make",
    [
        lambda: bundled("mnist_z20"),
        lambda: bundled("mnist_z2"),
        lambda: bundled("cats_z10_seed0"),
        lambda: VariationalAutoEncoder(784, 50, 4, "tanh", data_mean=DATA_MEAN),
    ],
)
def test_bytes_hold_the_encoder(make, digits):
    model, x = rounded(make()), digits[0][:50]
    network = in_browser.pack_network(in_browser.encoder_layers(model))
    found = unpacked(network, x.double().numpy())
    with torch.no_grad():
        mu, sigma = model.encode(x)
    latents = mu.shape[1]
    np.testing.assert_allclose(found[:, :latents], mu, rtol=0, atol=1e-4)
    softplus = np.logaddexp(0, found[:, latents:]) + SIGMA_FLOOR
    np.testing.assert_allclose(softplus, sigma, rtol=1e-4, atol=0)


def test_half_precision_loses_what_the_docstring_says():
    """Nothing of the bundled models, little of others, which 8-bit integers would."""

    def by_bytes(weight):
        scale = weight.abs().amax(1, keepdim=True).clamp(min=1e-9) / 127
        return (weight / scale).round() * scale

    for name in BUNDLED:
        model = bundled(name)
        layers = in_browser.decoder_layers(model)
        assert in_browser.picture_error(layers) == 0
        z = prior_codes(layers[0][0].shape[1])
        eighths = [(by_bytes(weight), *rest) for weight, *rest in layers]
        change = in_browser.evaluate_layers(eighths, z) - decode(model, z)
        assert 15 < 255 * change.abs().max() < 45
    for name in ACTIVATIONS:
        fresh = VariationalAutoEncoder(784, 400, 20, activation=name)
        error = in_browser.picture_error(in_browser.decoder_layers(fresh))
        assert 0 < error < HALF_A_LEVEL / 5


@pytest.mark.parametrize("name", BUNDLED)
def test_error_is_that_of_the_pictures(name):
    """Trained weights in full precision: the bundled ones, their lost digits drawn."""
    model, generator = bundled(name), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            draw = torch.rand(weight.shape, generator=generator) - 0.5
            weight.mul_(1 + draw / 1024)
    layers = in_browser.decoder_layers(model)
    z = prior_codes(layers[0][0].shape[1], seed=0)  # the very codes it looks at
    found = unpacked(in_browser.pack_network(layers), z.double().numpy())
    change = np.abs(found - decode(model, z).numpy()).max()
    error = in_browser.picture_error(layers)
    assert error == pytest.approx(change, abs=1e-5)
    assert HALF_A_LEVEL / 2 < error < 4 * HALF_A_LEVEL


def test_weights_out_of_range_are_refused():
    for value in (7e4, float("nan"), float("inf")):
        model = VariationalAutoEncoder(784, 5, 2)
        model.z_2hid.weight.data[0, 0] = value
        with pytest.raises(ValueError, match="NaN, infinite or above 65504"):
            widgets.latent_map(model, torch.zeros(3, 784))
    model = VariationalAutoEncoder(784, 5, 2)
    model.hid_2img.bias.data[0] = float("inf")
    with pytest.raises(ValueError, match="NaN, infinite"):
        in_browser.pack_network(in_browser.decoder_layers(model))


def test_sliders_stand_in_the_order_of_their_kl(model, digits, keep):
    box = keep(widgets.latent_sliders(model, digits[0]))
    mu, sigma = (np.asarray(t, float) for t in model.encode(digits[0]))
    kl = (mu**2 + sigma**2 - 2 * np.log(sigma) - 1).mean(0) / 2
    order = np.argsort(-kl)
    assert box.order == order.tolist() != sorted(box.order)
    assert [s.description for s in box.sliders] == [
        f"z{j} ({kl[j]:.2f} nats)" for j in order
    ]
    assert box.view.names == [f"z{j}" for j in order]


def test_autoencoders_sliders_stand_in_the_order_of_their_variance(digits, keep):
    model = Autoencoder(784, 50, 8, seed=4)
    box = keep(widgets.latent_sliders(model, digits[0]))
    with torch.no_grad():
        variance = model.encode(digits[0]).numpy().var(0)
    assert box.order == np.argsort(-variance).tolist()
    first = box.order[0]
    assert box.sliders[0].description == f"z{first} ({variance[first]:.2f} variance)"


def test_code_is_in_the_models_order(model, digits, keep):
    box = keep(widgets.latent_sliders(model, digits[0]))
    assert torch.equal(box.code, torch.zeros(1, 20))
    box.sliders[0].value, box.sliders[7].value = 1.25, -2.0
    expected = torch.zeros(1, 20)
    expected[0, box.order[0]], expected[0, box.order[7]] = 1.25, -2.0
    assert torch.equal(box.code, expected)
    # And the browser, which takes the values in the sliders' order, decodes the same.
    values = np.array([[slider.value for slider in box.sliders]])
    np.testing.assert_allclose(
        unpacked(box.view.decoder, values), decode(model, expected), rtol=0, atol=1e-5
    )


def test_starts_from_an_image(model, digits, keep):
    x = digits[0]
    box = keep(widgets.latent_sliders(model, x))
    mu = model.encode(x[:2])[0]
    assert mu.abs().max() < box.view.extent
    for image, code in ((x[0], mu[:1]), (x[1:2], mu[1:])):
        box.start_from(image)
        torch.testing.assert_close(box.code, code, rtol=0, atol=1e-6)
    assert_shows(box.picture(), decode(model, mu[1:]))


def test_examples_go_to_the_browser_rounded_to_steps(model, digits, keep):
    x = digits[0]
    box = keep(widgets.latent_sliders(model, x))
    examples = np.frombuffer(box.view.examples, np.uint8).reshape(10, 784)
    np.testing.assert_array_equal(examples, np.rint(x[:10].numpy() * 255))
    codes, step = np.array(box.view.example_codes), box.view.step
    expected = model.encode(x[:10])[0][:, box.order].numpy()
    np.testing.assert_allclose(codes, expected, rtol=0, atol=step / 2 + 1e-6)
    np.testing.assert_allclose(codes / step, np.rint(codes / step), atol=1e-4)
    assert all(slider.step == step for slider in box.sliders)


@pytest.mark.parametrize("spread", [0.5, 2, 7.05])
def test_extent_holds_nearly_all_codes_and_every_example(spread, keep):
    """An autoencoder whose code is just the first pixels, scaled."""
    model = Autoencoder(784, 8, 4, "identity")
    with torch.no_grad():
        model.img_2hid.weight.copy_(torch.eye(8, 784))
        model.hid_2z.weight.copy_(spread * torch.eye(4, 8))
        model.img_2hid.bias.zero_(), model.hid_2z.bias.zero_()
    x = torch.rand(300, 784, generator=torch.Generator().manual_seed(0))
    x[:, :4] *= 0.8
    x[9, 3] = 1  # an example whose code is the largest of all
    box = keep(widgets.latent_sliders(model, x))
    extent = box.view.extent
    with torch.no_grad():
        codes = model.encode(x).abs().amax(1)
    assert (codes <= extent).float().mean() >= 0.99
    assert np.abs(box.view.example_codes).max() <= extent
    assert extent == max(3, np.ceil(spread)) and extent % 1 == 0
    assert all((s.min, s.max) == (-extent, extent) for s in box.sliders)
    assert box.view.step == widgets.box.round_step(-extent, extent)


def test_far_codes_of_few_images_do_not_stretch_the_sliders(keep):
    model = Autoencoder(784, 8, 1, "identity")
    with torch.no_grad():
        model.img_2hid.weight.copy_(torch.eye(8, 784))
        model.hid_2z.weight.copy_(torch.eye(1, 8) * 100)
        model.img_2hid.bias.zero_(), model.hid_2z.bias.zero_()
    x = torch.zeros(300, 784)
    x[:, 0] = 0.035
    x[200, 0] = 1
    box = keep(widgets.latent_sliders(model, x))
    assert box.view.extent == 4  # not 100
    box.start_from(x[200])
    assert box.sliders[0].value == 4  # the end of the slider


@pytest.mark.parametrize("latents", [1, 5, 6, 7, 20])
def test_sliders_beyond_six_wait_behind_a_button(latents, digits, keep):
    model = VariationalAutoEncoder(784, 10, latents)
    box = keep(widgets.latent_sliders(model, digits[0]))
    assert len(box.sliders) == latents and box.code.shape == (1, latents)
    assert box.view.more == max(0, latents - 6)
    first, rest = box.children[1].children
    assert [*first.children, *rest.children] == box.sliders
    assert len(first.children) == min(6, latents)
    assert rest.layout.display == box.view.rest_display == "none"


def test_every_slider_is_joined_to_its_latent(model, digits, keep):
    box = keep(widgets.latent_sliders(model, digits[0]))
    joined = {(link.source, link.target) for link in box._links}
    rest = box.children[1].children[1]
    assert joined == {
        ((slider, "value"), (box.view, f"z{rank}"))
        for rank, slider in enumerate(box.sliders)
    } | {((box.view, "rest_display"), (rest.layout, "display"))}
    # A widget, which does its work in the browser, with or without a kernel.
    assert all(isinstance(link, ipywidgets.Widget) for link in box._links)


def test_sequential_has_sliders_in_its_own_order(keep):
    decoder = sequential(nn.Tanh)
    box = keep(widgets.latent_sliders(decoder, alt="A face"))
    assert [s.description for s in box.sliders] == ["z0", "z1", "z2", "z3", "z4"]
    assert (box.view.extent, box.view.alt, box.view.examples) == (3, "A face", b"")
    box.sliders[3].value = 1.5
    assert box.code.tolist() == [[0, 0, 0, 1.5, 0]]
    assert_shows(box.picture(), decode(decoder, box.code))


def test_map_shows_codes_and_labels(digits, keep):
    model, (x, y) = bundled("mnist_z2"), digits
    with torch.no_grad():
        mu = model.encode(x)[0].numpy()
    texts = [f"{label}" for label in y.tolist()]
    for labels in (y, y.numpy(), y.tolist(), texts):
        box = keep(widgets.latent_map(model, x, labels))
        assert box.view.labels == texts
    np.testing.assert_allclose(box.view.points, mu, rtol=0, atol=1e-6)
    assert box.view.extent == max(3, np.ceil(np.quantile(np.abs(mu).max(1), 0.99)))
    box.view.z0, box.view.z1 = 0.5, -1.5
    assert box.code.tolist() == [[0.5, -1.5]]
    assert set(keep(widgets.latent_map(model, x)).view.labels) == {"·"}


def test_map_draws_a_thousand_points_at_most(digits, keep):
    x = digits[0][:1].expand(1200, -1)
    box = keep(widgets.latent_map(bundled("mnist_z2"), x, ["left"] * 1200))
    assert len(box.view.points) == len(box.view.labels) == 1000
    assert repr(box) == "latent_map(1000 points)"


def test_manifold_lies_as_the_plane_does():
    """Tile by tile: z0 grows to the right, z1 upwards."""
    model = bundled("mnist_z2")
    grid = in_browser.manifold(model, 4.0, 5)
    assert grid.shape == (140, 140)
    for row, z1 in enumerate([3.2, 1.6, 0.0, -1.6, -3.2]):
        for column, z0 in enumerate([-3.2, -1.6, 0.0, 1.6, 3.2]):
            tile = grid[28 * row : 28 * row + 28, 28 * column : 28 * column + 28]
            alone = decode(model, torch.tensor([[z0, z1]])).view(28, 28)
            np.testing.assert_allclose(tile, alone.numpy(), rtol=0, atol=1e-5)


def test_map_picture_has_the_manifold_and_the_points(digits, keep):
    model, (x, y) = bundled("mnist_z2"), digits
    drawn = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(in_browser, "render_png", lambda f, **_: drawn.append(f) or b"")
        box = keep(widgets.latent_map(model, x, y))
        box.picture()
    (image,), (points,) = drawn[0].axes[0].images, drawn[0].axes[0].collections
    extent = box.view.extent
    np.testing.assert_array_equal(
        image.get_array(), in_browser.manifold(model, extent, 20)
    )
    assert list(image.get_extent()) == [-extent, extent, -extent, extent]
    assert image.origin == "upper"
    np.testing.assert_allclose(points.get_offsets(), box.view.points)
    np.testing.assert_array_equal(points.get_array(), y)
    assert plt.get_fignums() == []


def test_pad_starts_with_the_first_example(model, digits, keep):
    x = digits[0]
    box = keep(widgets.drawing_pad(model, x))
    torch.testing.assert_close(box.image, x[:1], rtol=0, atol=1e-6)
    assert box.image.dtype == torch.float32 and box.image.shape == (1, 784)
    assert len(box.view.examples) == 10 * 784
    assert_shows(box.picture(), x[0], decode(model, model.encode(x[:1])[0]))
    # The browser paints the latents in this order, and reads the networks in their own.
    assert box.view.order == keep(widgets.latent_sliders(model, x)).order
    found = unpacked(box.view.encoder, x[:3].double().numpy())[:, :20]
    np.testing.assert_allclose(found, model.encode(x[:3])[0], rtol=0, atol=1e-4)
    np.testing.assert_allclose(
        unpacked(box.view.decoder, found), decode(model, model.encode(x[:3])[0]),
        rtol=0, atol=1e-4,
    )  # fmt: skip
    # As it comes from the browser:
    box.view.set_state({"pixels": memoryview(bytes(range(196)) * 4)})
    assert box.image[0, :3].tolist() == pytest.approx([0, 1 / 255, 2 / 255])


KINDS = {
    "latent_sliders": "latent_sliders(2 latents)",
    "latent_map": "latent_map(200 points)",
    "drawing_pad": "drawing_pad()",
}


@pytest.mark.parametrize("kind", KINDS)
def test_notebook_gets_widget_picture_and_stable_text(kind, digits, keep):
    box = keep(getattr(widgets, kind)(bundled("mnist_z2"), digits[0]))
    data, _ = DisplayFormatter().format(box)
    assert data["text/plain"] == repr(box) == str(box) == KINDS[kind]
    view = data["application/vnd.jupyter.widget-view+json"]
    assert view["model_id"] == box.model_id
    png = base64.b64decode(data["image/png"])
    assert png == box.picture() and pixels_of(png).std() > 0.05


@pytest.mark.parametrize("kind", KINDS)
def test_close_leaves_no_model_and_no_change_of_the_weights(kind, digits):
    model = bundled("mnist_z2")
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    state, before = torch.get_rng_state(), open_models()
    box = getattr(widgets, kind)(model, digits[0])
    assert len(open_models() - before) >= 4
    box.close()
    box.close()  # does no harm
    assert open_models() == before
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(v, weights[k]) for k, v in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert widgets.drive_sliders() == 0  # what is closed is not driven

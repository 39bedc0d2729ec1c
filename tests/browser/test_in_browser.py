"""Networks, sliders, map, pad and live figure in a real browser, against PyTorch.

What the scripts compute is first checked on a blank page; then every kind of box in
JupyterLab, by keys and mouse, with the pixels read from its canvases.
"""

import base64
import io
import re
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from playwright.sync_api import expect
from torch import nn

import vaelib
from vaelib import widgets
from vaelib.models import (
    SIGMA_FLOOR,
    Autoencoder,
    VariationalAutoEncoder,
    load_weights,
)
from vaelib.widgets import in_browser

PATIENCE = 30_000  # milliseconds until a busy machine has run a cell
STATIC = Path(vaelib.__file__).parent / "static"
# A canvas holds whole grey levels, each rounded from one in single precision.
ROUNDING = 0.5 + 0.01

BUNDLED = {
    "mnist_z20": ((784, 400, 20), "silu"),
    "mnist_z2": ((784, 400, 2), "silu"),
    "cats_z10_seed0": ((784, 128, 10), "relu"),
}


def bundled(name):
    widths, activation = BUNDLED[name]
    model = VariationalAutoEncoder(*widths, activation=activation)
    return load_weights(model, name).requires_grad_(False)


def sequential(activation, bias=True):
    shared = activation()
    linears = [nn.Linear(*sizes, bias=bias) for sizes in ((5, 30), (30, 40), (40, 784))]
    return nn.Sequential(linears[0], shared, linears[1], shared, linears[2])


FRESH = {
    "vae, relu": VariationalAutoEncoder(784, 400, 20),
    "vae, silu": VariationalAutoEncoder(784, 400, 20, "silu"),
    "vae, tanh": VariationalAutoEncoder(784, 400, 20, "tanh"),
    "vae, sigmoid": VariationalAutoEncoder(784, 400, 20, "sigmoid"),
    "gaussian vae": VariationalAutoEncoder(784, 60, 1, sigma_x=0.1),
    "autoencoder": Autoencoder(784, 60, 2, data_mean=torch.full((784,), 0.3)),
    "linear autoencoder": Autoencoder(784, 60, 3, "identity"),
    "two hidden layers, relu": sequential(nn.ReLU),
    "two hidden layers, silu": sequential(nn.SiLU),
    "two hidden layers, tanh": sequential(nn.Tanh),
    "two hidden layers, sigmoid": sequential(nn.Sigmoid),
    "no bias": sequential(nn.SiLU, bias=False),
}


@torch.no_grad()
def decode(model, z):
    return (model if isinstance(model, nn.Sequential) else model.decode)(z)


def eventually(check, *arguments):
    """Call what asserts something, again and again until it holds."""
    deadline = time.monotonic() + 10
    while True:
        try:
            return check(*arguments)
        except AssertionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


# On a blank page.


@pytest.fixture
def script_page(page):
    """A blank page that has loaded the script which all decoders share."""
    page.add_script_tag(content=(STATIC / "mlp.js").read_text("utf-8"))
    return page


EVALUATE = """({ layers, weights, biases, inputs }) => {
  const open = (text) => new DataView(
    Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer);
  const network = buildNetwork(
    { layers, weights: open(weights), biases: open(biases) });
  const x = unpackFloats(open(inputs));
  const width = layers[0][0];
  const y = [];
  for (let i = 0; i < x.length; i += width) {
    y.push(...network(x.subarray(i, i + width)));
  }
  const bytes = new Uint8Array(Float32Array.from(y).buffer);
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
}"""


def in_javascript(page, layers, x):
    """What the browser makes of x (B, inputs)."""
    network = in_browser.pack_network(layers)
    sent = {
        "layers": network["layers"],
        "weights": base64.b64encode(network["weights"]).decode(),
        "biases": base64.b64encode(network["biases"]).decode(),
        "inputs": base64.b64encode(x.numpy().astype("<f4").tobytes()).decode(),
    }
    answer = base64.b64decode(page.evaluate(EVALUATE, sent))
    return torch.frombuffer(bytearray(answer), dtype=torch.float32).view(len(x), -1)


def test_javascript_decodes_as_pytorch_does(script_page):
    """A hundred codes of each kind of decoder, every pixel.

    The bundled models within 1e-5; others so near to what is left of them when their
    weights are rounded to 16 bits.
    """
    errors, allowed = {}, {}
    for name, model in ({name: bundled(name) for name in BUNDLED} | FRESH).items():
        layers = in_browser.decoder_layers(model)
        latents = layers[0][0].shape[1]
        z = torch.randn(100, latents, generator=torch.Generator().manual_seed(0))
        found = in_javascript(script_page, layers, z)
        assert found.shape == (100, 784) and found.std() > 0.01
        errors[name] = (found - decode(model, z)).abs().max().item()
        allowed[name] = 1e-5 + in_browser.picture_error(layers)
    assert all(errors[name] < allowed[name] for name in errors), errors
    assert max(errors[name] for name in BUNDLED) < 1e-5
    assert max(allowed.values()) < 0.5 / 255  # half a grey level


def test_javascript_encodes_as_pytorch_does(script_page, mnist_test):
    x = mnist_test[0][:100]
    for name in BUNDLED:
        model = bundled(name)
        found = in_javascript(script_page, in_browser.encoder_layers(model), x)
        mu, below_sigma = np.split(found.double().numpy(), 2, axis=1)
        sigma = np.logaddexp(0, below_sigma) + SIGMA_FLOOR
        expected = model.encode(x)
        np.testing.assert_allclose(mu, expected[0], rtol=0, atol=1e-4)
        np.testing.assert_allclose(sigma, expected[1], rtol=1e-4, atol=0)


def test_every_finite_half_is_unpacked(script_page):
    halves = np.arange(2**16, dtype="<u2").view("<f2")
    found = script_page.evaluate(
        """() => Array.from(unpackHalves(
          new DataView(Uint16Array.from({ length: 65536 }, (_, i) => i).buffer)))"""
    )
    finite = np.isfinite(halves)
    assert finite.sum() == 63488
    np.testing.assert_array_equal(np.array(found)[finite], halves[finite])


def test_greys_are_painted_to_the_nearest_level(script_page):
    greys = np.linspace(-0.2, 1.2, 784)
    painted = script_page.evaluate(
        """(greys) => {
          const canvas = makePicture(document.body, "308px");
          paintPicture(canvas, greys);
          return Array.from(canvas.getContext("2d").getImageData(0, 0, 28, 28).data);
        }""",
        greys.tolist(),
    )
    painted = np.array(painted).reshape(784, 4)
    expected = np.rint(255 * greys.clip(0, 1))
    np.testing.assert_array_equal(painted[:, :3], np.stack([expected] * 3, 1))
    assert (painted[:, 3] == 255).all()


# In JupyterLab.

SETUP = """\
import ipywidgets
import torch
from matplotlib import pyplot as plt
from vaelib import widgets
from vaelib.data import load
from vaelib.models import VariationalAutoEncoder, load_weights

x, y = load("mnist", train=False)
x, y = x[:200], y[:200]

def bundled(name, latents):
    model = VariationalAutoEncoder(784, 400, latents, activation="silu")
    return load_weights(model, name)

reach, kind = ipywidgets.IntRangeSlider(), ipywidgets.Dropdown(options="ab")
on = ipywidgets.Checkbox()
torch.set_grad_enabled(False)"""
SLIDERS = "box = widgets.latent_sliders(bundled('mnist_z20', 20), x)\nbox"
MAP = "plane = widgets.latent_map(bundled('mnist_z2', 2), x, y)\nplane"
PAD = "pad = widgets.drawing_pad(bundled('mnist_z20', 20), x)\npad"
LIVE = """\
figure = plt.figure(figsize=(4, 2))
one = torch.ones((), requires_grad=True)

def update(shade, **others):
    if shade == 1:
        raise ValueError("<i>too</i> bright & red")
    figure.set_facecolor((shade, 0.5, float((one - shade).numpy())))

def darken(shade, **others):
    for step in range(1, 6):
        yield {"shade": shade * (1 - step / 5)}

live = widgets.live(
    figure, update, alt="One colour", actions={"Darken": darken}, shade=(0.0, 1.0, 0.5),
    reach=reach, kind=kind, on=on)
live"""
COUNT_MODELS = "print(len(ipywidgets.widgets.widget._instances), 'models')"


def wait_for_boxes(page, count):
    """Wait until so many boxes are on the page, and return them."""
    found = page.locator(".jp-OutputArea-output .vaelib")
    expect(found).to_have_count(count, timeout=PATIENCE)
    for i in range(count):
        expect(found.nth(i)).to_be_visible(timeout=PATIENCE)
    return [found.nth(i) for i in range(count)]


def canvas_pixels(canvas):
    """What is painted on a canvas, (height, width, 4)."""
    address = canvas.evaluate("(canvas) => canvas.toDataURL('image/png')")
    png = base64.b64decode(address.partition(",")[2])
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"))


def greys(canvas):
    """The grey levels, 0 to 255, that are painted on a 28 x 28 canvas, (1, 784)."""
    pixels = canvas_pixels(canvas).astype(float)
    assert pixels.shape == (28, 28, 4) and (pixels[..., 3] == 255).all()
    assert (pixels[..., :1] == pixels[..., :3]).all()
    return torch.tensor(pixels[..., 0]).view(1, 784)


def assert_shows(canvas, picture, tolerance=ROUNDING):
    torch.testing.assert_close(
        greys(canvas), 255 * picture.double(), rtol=0, atol=tolerance
    )


def run_last_cell(page, cells):
    """Run the last of some cells again, and return what it prints."""
    page.locator(".jp-InputArea-editor").nth(cells - 1).click()
    page.keyboard.press("Escape")
    cell = page.locator(".jp-CodeCell").nth(cells - 1)
    prompt = cell.locator(".jp-InputArea-prompt")
    before = prompt.inner_text()
    page.keyboard.press("Control+Enter")

    def read():
        now = prompt.inner_text()
        assert re.search(r"\d", now) and now != before
        output = cell.locator(".jp-OutputArea-output").inner_text()
        assert output
        return output

    return eventually(read)


def shut_down_kernel(page, jupyterlab):
    page.get_by_role("menuitem", name="Kernel", exact=True).click()
    page.get_by_role("menuitem", name="Shut Down Kernel", exact=True).click()
    expect(page.get_by_text("No Kernel", exact=True)).to_be_visible()
    assert jupyterlab.request("GET", "kernels") == []


def read_code(box, extent):
    """Return the latents' numbers, and the code that the sliders' read-outs say."""
    names = box.locator(".widget-slider .widget-label").all_text_contents()
    values = box.locator(".widget-slider .widget-readout").all_text_contents()
    order = [int(re.match(r"z(\d+) \(", name)[1]) for name in names]
    code = torch.zeros(1, len(order))
    code[0, order] = torch.tensor([float(value.replace("−", "-")) for value in values])
    assert code.abs().max() <= extent
    return order, code


class SliderKeys:
    """Keys and buttons on latent sliders, each followed by a look at the picture."""

    def __init__(self, page, box, model, python):
        self.page, self.box, self.model = page, box, model
        self.extent, self.step = python.view.extent, python.view.step
        self.order, self.names = python.order, [s.description for s in python.sliders]

    def expect(self, **values):
        """Check that sliders stand so (others at 0), and that picture and text agree.

        Returns the code, latents in the model's order.
        """
        order, code = read_code(self.box, self.extent)
        assert order == self.order
        picture = self.box.get_by_role("img", name="the decoded picture at")
        if values:
            expected = torch.zeros_like(code)
            for name, value in values.items():
                expected[0, int(name[1:])] = value
            torch.testing.assert_close(code, expected, rtol=0, atol=1e-6)
            moved = [n for n in (f"z{j}" for j in order) if values.get(n)]
            said = ", ".join(f"{name} = {values[name]:.2f}" for name in moved)
            expect(picture).to_have_accessible_name(
                f"the decoded picture at {said or 'all latents 0'}"
            )
        assert_shows(picture, decode(self.model, code))
        return code

    def press(self, key, name, value):
        self.page.keyboard.press(key)
        eventually(lambda: self.expect(**{name: value}))

    def drive(self, rank):
        """All keys on the slider of that rank, from 0 and back to 0."""
        slider = self.box.get_by_role("slider", name=self.names[rank], exact=True)
        slider.focus()
        name = f"z{self.order[rank]}"
        self.press("ArrowRight", name, self.step)
        self.press("ArrowUp", name, 2 * self.step)
        self.press("ArrowLeft", name, self.step)
        self.press("End", name, self.extent)
        self.press("ArrowRight", name, self.extent)  # no further
        self.press("Home", name, -self.extent)
        self.click("Reset")
        eventually(lambda: self.expect(**{name: 0}))

    def click(self, name, key="Enter"):
        self.box.get_by_role("button", name=name).focus()
        self.page.keyboard.press(key)

    def drive_buttons(self, x):
        for key in ("Enter", "Space"):
            before = self.expect()
            self.click("Random code", key)
            code = self.expect()
            steps = code / self.step
            torch.testing.assert_close(steps, steps.round(), rtol=0, atol=1e-3)
            assert (code != before).sum() > 10 and 0.4 < code.std() < 1.8
        self.click("start from image 3")
        mu = self.model.encode(x[2:3])[0]
        code = self.expect()
        torch.testing.assert_close(code, mu, rtol=0, atol=self.step / 2 + 1e-3)
        self.click("Reset", "Space")
        self.expect(z0=0)


def drive_map(page, box, model, extent):
    """Arrow keys on a latent map, each followed by a look at read-out and picture."""
    plane = box.get_by_role("application", name="map of two latents")
    picture = box.get_by_role("img", name="the decoded picture at")
    active = page.locator(".jp-Cell.jp-mod-active")
    plane.focus()
    cell = active.get_attribute("data-windowed-list-index")
    z, step = np.zeros(2), extent / 50
    for key, change in (
        ("Home", -z),
        ("ArrowRight", (step, 0)),
        ("ArrowUp", (0, step)),
        ("Shift+ArrowUp", (0, 5 * step)),
        ("ArrowLeft", (-step, 0)),
        ("Shift+ArrowLeft", (-5 * step, 0)),
        ("ArrowDown", (0, -step)),
        ("Shift+ArrowDown", (0, -5 * step)),
        ("Shift+ArrowRight", (5 * step, 0)),
    ):
        page.keyboard.press(key)
        z = z + change
        text = re.sub(r"-(0\.00)", r"\1", f"z0 = {z[0]:.2f}, z1 = {z[1]:.2f}")
        expect(box.get_by_role("status")).to_have_text(text)
        expect(plane).to_have_accessible_name(f"map of two latents, {text}")
        expect(picture).to_have_accessible_name(f"the decoded picture at {text}")
        assert_shows(picture, decode(model, torch.tensor(z).float().view(1, 2)))
        expect(plane).to_be_focused()
        assert active.get_attribute("data-windowed-list-index") == cell
    for _ in range(12):
        page.keyboard.press("Shift+ArrowDown")
    page.keyboard.press("Home")
    expect(box.get_by_role("status")).to_have_text("z0 = 0.00, z1 = 0.00")


def point_at_map(page, box, model, extent):
    """Hover and drag over a latent map."""
    plane = box.get_by_role("application")
    plane.scroll_into_view_if_needed()
    area = plane.bounding_box()

    def expect_code(z0, z1):
        said = box.get_by_role("status").inner_text()
        found = torch.tensor([[float(n) for n in re.findall(r"-?\d+\.\d+", said)]])
        pixel = 2 * extent / area["width"]
        assert found[0].tolist() == pytest.approx([z0, z1], abs=1.5 * pixel + 0.005)
        # The read-out is rounded to 0.005: what is shown lies among such neighbours.
        near = 0.0051 * torch.cartesian_prod(*[torch.tensor([-1.0, 0, 1])] * 2)
        pictures = 255 * decode(model, found + near).double()
        shown = greys(box.get_by_role("img"))[0]
        assert (shown >= pictures.amin(0) - 1).all()
        assert (shown <= pictures.amax(0) + 1).all()

    def move(right, up):
        x, y = area["x"] + area["width"] * right, area["y"] + area["height"] * (1 - up)
        page.mouse.move(x, y)

    move(0.25, 0.9)
    eventually(expect_code, -extent / 2, 0.8 * extent)
    move(0.7, 0.4)
    page.mouse.down()
    eventually(expect_code, 0.4 * extent, -0.2 * extent)
    move(0.5, 0.3)
    eventually(expect_code, 0, -0.4 * extent)
    move(1.05, 0.3)  # out of it, while the button is down
    eventually(expect_code, extent, -0.4 * extent)
    page.mouse.up()


def assert_ground(box, model, python):
    """Check the pictures and labels under the pointer of a latent map."""
    extent, size = python.view.extent, 560
    pixels = canvas_pixels(box.get_by_role("application")).astype(float)
    assert pixels.shape == (size, size, 4)
    manifold = 255 * 0.45 * in_browser.manifold(model, extent, 20)
    near = np.abs(pixels[..., :3] - manifold[..., None]).max(2) < 2
    assert near.mean() > 0.9  # the others are labels
    coloured = np.ptp(pixels[..., :3], axis=2) > 40
    points = np.array(python.view.points)
    columns = ((points[:, 0] / extent + 1) / 2 * size).astype(int)
    rows = ((1 - points[:, 1] / extent) / 2 * size).astype(int)
    inside = (np.abs(points) < 0.97 * extent).all(1)
    inside &= np.array(python.view.labels) != "7"  # whose labels are white
    found = [
        coloured[row - 5 : row + 6, column - 5 : column + 6].any()
        for row, column in zip(rows[inside], columns[inside], strict=True)
    ]
    assert len(found) > 100 and np.mean(found) > 0.97
    assert not near[size // 2 - 14, size // 2]  # the marker, at the middle


def test_sliders_and_map_with_and_without_kernel(
    run_notebook, jupyterlab, page, mnist_test
):
    x, y = mnist_test[0][:200], mnist_test[1][:200]
    z20, z2 = bundled("mnist_z20"), bundled("mnist_z2")
    python = widgets.latent_sliders(z20, x)
    plane = widgets.latent_map(z2, x, y)
    told = "print(box.code.tolist(), plane.code.tolist())"
    run_notebook(SETUP, SLIDERS, MAP, told)
    sliders_box, map_box = wait_for_boxes(page, 2)
    sliders = SliderKeys(page, sliders_box, z20, python)
    eventually(lambda: sliders.expect(z0=0))

    shown = sliders_box.get_by_role("slider")
    expect(shown).to_have_count(6)
    more = sliders_box.get_by_role("button", name="latents")
    expect(more).to_have_text("14 more latents")
    for key, text, count in (("Enter", "Fewer latents", 20), ("Space", "14 more", 6)):
        more.focus()
        page.keyboard.press(key)
        expect(more).to_contain_text(text)
        expect(more).to_have_attribute("aria-expanded", str(count == 20).lower())
        expect(shown).to_have_count(count)
    sliders.drive(0)
    sliders.drive_buttons(x)
    drive_map(page, map_box, z2, plane.view.extent)
    assert_ground(map_box, z2, plane)
    point_at_map(page, map_box, z2, plane.view.extent)

    sliders.click("Random code")
    code = sliders.expect()
    point = map_box.get_by_role("status").inner_text()
    said = re.findall(r"-?\d+\.\d+(?:e-\d+)?", run_last_cell(page, 4))
    assert [float(n) for n in said[:20]] == pytest.approx(code[0].tolist(), abs=1e-4)
    assert point == "z0 = {:.2f}, z1 = {:.2f}".format(*map(float, said[20:]))
    sliders.click("Reset")

    shut_down_kernel(page, jupyterlab)
    sliders.click("more latents")
    expect(shown).to_have_count(20)
    sliders.drive(19)
    sliders.drive_buttons(x)
    drive_map(page, map_box, z2, plane.view.extent)
    point_at_map(page, map_box, z2, plane.view.extent)
    python.close(), plane.close()


def overlaps(start, width):
    """How much of each of 280 drawing pixels lies in each of 28 wide ones."""
    left = start + width * np.arange(28)[:, None]
    i = np.arange(280)
    return (np.minimum(left + width, i + 1) - np.maximum(left, i)).clip(0) / width


def centred_as_mnist(grey):
    """A drawing (280, 280), brought into 28 x 28 pixels as LeCun et al. did (1998)."""
    ys, xs = np.nonzero(grey >= 0.05)
    longest = max(np.ptp(xs), np.ptp(ys)) + 1
    ink = np.where(grey >= 0.05, grey, 0)
    x, y = np.average(xs, weights=ink[ys, xs]), np.average(ys, weights=ink[ys, xs])
    width = longest / 20
    across, down = (overlaps(mean + 0.5 - 14 * width, width) for mean in (x, y))
    return down @ grey @ across.T


def assert_centred(picture):
    """Check centre of mass and box of a (1, 784) picture in grey levels."""
    picture = picture.view(28, 28).numpy()
    ys, xs = np.nonzero(picture > 255 * 0.05)
    centre = [np.average(at, weights=picture[ys, xs]) + 0.5 for at in (xs, ys)]
    assert centre == pytest.approx([14, 14], abs=0.5)
    assert max(np.ptp(xs), np.ptp(ys)) + 1 == pytest.approx(20, abs=1.1)


class Pad:
    """A drawing pad: its parts, and a stroke of the mouse."""

    def __init__(self, page, box, model):
        self.page, self.box, self.model = page, box, model
        self.canvas = box.get_by_role("img", name="pad to draw a digit on")
        self.seen = box.get_by_role("img", name="What the encoder sees")
        self.decoded = box.get_by_role("img", name="Decoded from mu")
        self.posterior = box.get_by_role("img", name="posterior, mu and sigma")

    def stroke(self, *points):
        self.canvas.scroll_into_view_if_needed()
        area = self.canvas.bounding_box()
        for i, (x, y) in enumerate(points):
            self.page.mouse.move(area["x"] + x, area["y"] + y, steps=4)
            if i == 0:
                self.page.mouse.down()
        self.page.mouse.up()

    def drawing(self):
        return canvas_pixels(self.canvas)[..., 0] / 255

    def expect_decoded(self, x):
        """Check what is decoded from x, in grey levels, and the posterior told."""
        mu, sigma = self.model.encode(x.float() / 255)
        # x was rounded to whole grey levels, which hardly moves its code.
        assert_shows(self.decoded, decode(self.model, mu), 2)
        said = self.posterior.get_attribute("aria-label")
        found = re.findall(r"z(\d+) (-?\d+\.\d\d) ± (\d+\.\d\d)", said)
        assert sorted(int(j) for j, _, _ in found) == list(range(20))
        for j, *numbers in found:
            expected = [mu[0, int(j)].item(), sigma[0, int(j)].item()]
            assert [float(n) for n in numbers] == pytest.approx(expected, abs=0.01)

    def press(self, name, key="Enter"):
        self.box.get_by_role("button", name=name).focus()
        self.page.keyboard.press(key)

    def tick(self, name):
        self.box.get_by_role("checkbox", name=name).focus()
        self.page.keyboard.press("Space")


def seven(pad):
    pad.stroke((30, 40), (150, 50), (60, 190))


def test_pad_and_live_figure(run_notebook, page, mnist_test):
    x = mnist_test[0]
    told = "print([round(255 * v) for v in pad.image[0].tolist()])"
    run_notebook(SETUP, PAD, LIVE, told, "pad")
    pad_box, live_box, _ = wait_for_boxes(page, 3)
    pad = Pad(page, pad_box, bundled("mnist_z20"))
    try_live(page, live_box)

    eventually(assert_shows, pad.seen, x[:1], 1e-4)
    pad.expect_decoded(greys(pad.seen))
    centring = pad_box.get_by_role("checkbox", name="Centre as MNIST's digits are")
    expect(centring).not_to_be_checked()
    pad.press("start from image 4", "Space")
    assert_shows(pad.seen, x[3:4], 1e-4)
    pad.expect_decoded(greys(pad.seen))

    pad.press("Clear")
    expect(centring).to_be_checked()
    assert_shows(pad.seen, torch.zeros(1, 784))
    assert not pad.drawing().any()
    seven(pad)
    drawing, seen = pad.drawing(), greys(pad.seen)
    # The pen is 24 drawing pixels across; the pad's border is 1 wide.
    assert (drawing[29:49, 28:30] == 1).all() and drawing[:26].max() == 0
    assert drawing[:, 163:].max() == 0
    assert_centred(seen)
    expected = torch.tensor(centred_as_mnist(drawing)).view(1, 784)
    assert_shows(pad.seen, expected, 0.6)
    pad.expect_decoded(seen)
    assert eval(run_last_cell(page, 4)) == seen[0].tolist()
    run_last_cell(page, 5)  # shows the pad a second time: the drawing stays
    another = Pad(page, wait_for_boxes(page, 3)[2], pad.model)
    eventually(assert_shows, another.seen, seen / 255)
    another.expect_decoded(seen)
    assert eval(run_last_cell(page, 4)) == seen[0].tolist()

    pad.tick("Centre as MNIST")
    plain = torch.tensor(drawing.reshape(28, 10, 28, 10).mean((1, 3))).view(1, 784)
    assert_shows(pad.seen, plain, 0.6)
    pad.tick("Centre as MNIST")
    assert torch.equal(greys(pad.seen), seen)
    fill_lower_half(pad, seen)

    pad.press("Rubber", "Space")
    rubber = pad_box.get_by_role("button", name="Rubber")
    expect(rubber).to_have_attribute("aria-pressed", "true")
    pad.stroke((150, 50), (60, 190))
    erased = pad.drawing()
    assert erased.sum() < drawing.sum() and (erased <= drawing).all()
    assert erased[160:].max() == 0 and erased[40, 30] == 1
    assert_centred(greys(pad.seen))
    pad.press("Rubber")
    expect(rubber).to_have_attribute("aria-pressed", "false")
    seven(pad)
    assert pad.drawing()[185, 62] == 1


def fill_lower_half(pad, seen):
    """Hide the lower half; it is then filled in with what is decoded, thirty times."""
    pad.tick("Hide the lower half")
    known = seen.clone()
    known[:, 392:] = 255 * 0.4
    assert_shows(pad.seen, known / 255)
    filled = (seen / 255).float()
    filled[:, 392:] = 0
    for _ in range(30):
        filled[:, 392:] = decode(pad.model, pad.model.encode(filled)[0])[:, 392:]
    mu = pad.model.encode(filled)[0]
    assert_shows(pad.decoded, decode(pad.model, mu), 4)
    assert (greys(pad.decoded) - seen).abs().max() > 20
    pad.tick("Hide the lower half")
    pad.expect_decoded(seen)


def try_live(page, box):
    """Keys on a slider of a live figure, to an error and back."""
    picture, alert = box.get_by_role("img", name="One colour"), box.get_by_role("alert")
    slider = box.get_by_role("slider", name="shade", exact=True)

    def expect_shade(shade):
        screen = Image.open(io.BytesIO(picture.screenshot())).convert("RGB")
        shown = screen.getpixel((screen.width // 2, screen.height // 2))
        drawn = [255 * shade, 255 * 0.5, 255 * (1 - shade)]
        assert shown == pytest.approx(drawn, abs=1)

    eventually(expect_shade, 0.5)
    slider.focus()
    page.keyboard.press("ArrowRight")
    eventually(expect_shade, 0.51)
    page.keyboard.press("Home")
    eventually(expect_shade, 0)
    expect(alert).to_have_text("")
    page.keyboard.press("End")
    expect(alert).to_have_text("ValueError: <i>too</i> bright & red" + "at shade = 1.0")
    expect_shade(0)
    page.keyboard.press("ArrowLeft")
    eventually(expect_shade, 0.99)
    expect(alert).to_have_text("")
    box.get_by_role("button", name="Darken").press("Enter")
    eventually(expect_shade, 0)
    expect(slider).to_have_attribute("aria-valuenow", "0.0")


# For each text its colour, those behind it from the nearest, and what it says.
COLOURS = r"""(box) => {
  const parse = (text) => text.match(/[\d.]+/g).map(Number);
  const words = document.createTreeWalker(box, NodeFilter.SHOW_TEXT);
  const found = [];
  while (words.nextNode()) {
    const element = words.currentNode.parentElement;
    const text = words.currentNode.data.trim();
    if (!text || !element.checkVisibility({ visibilityProperty: true })) continue;
    const behind = [];
    for (let e = element; e; e = e.parentElement) {
      behind.push(parse(getComputedStyle(e).backgroundColor));
    }
    found.push([text, parse(getComputedStyle(element).color), behind]);
  }
  return found;
}"""


def over(colour, ground):
    """A colour (red, green, blue and perhaps alpha) laid over another."""
    alpha = colour[3] if len(colour) > 3 else 1
    return alpha * np.array(colour[:3]) + (1 - alpha) * ground


def contrast(colour, behind):
    """The contrast of WCAG 2 between text and what is behind it."""
    ground = np.full(3, 255.0)
    for layer in reversed(behind):
        ground = over(layer, ground)
    light = []
    for rgb in (over(colour, ground) / 255, ground / 255):
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        light.append(linear @ [0.2126, 0.7152, 0.0722] + 0.05)
    return max(light) / min(light)


@pytest.fixture
def dark_theme(jupyterlab):
    """JupyterLab in its dark theme, for one test."""
    folder = jupyterlab.root.parent / "settings/@jupyterlab/apputils-extension"
    settings = folder / "themes.jupyterlab-settings"
    folder.mkdir(parents=True, exist_ok=True)
    settings.write_text('{"theme": "JupyterLab Dark"}')
    yield
    settings.unlink()


NAMES = {
    "slider": ["shade", "reach, from", "reach, to"],
    "button": ["Reset", "Random code", "Fewer latents", "Clear", "Rubber"],
    "img": ["What the encoder sees", "Decoded from mu", "One colour"],
    "application": ["map of two latents, z0 = 0.00, z1 = 0.00"],
    "checkbox": ["Hide the lower half, and fill it in", "on"],
    "combobox": ["kind"],
}


def test_dark_names_and_running_again(dark_theme, run_notebook, page, mnist_test):
    """All kinds of boxes, made twice, in the dark theme.

    The second time no more models are open; all parts are named, all texts readable.
    """
    run_notebook(SETUP, SLIDERS, MAP, PAD, LIVE, COUNT_MODELS)
    expect(page.locator("body")).to_have_attribute("data-jp-theme-light", "false")
    wait_for_boxes(page, 4)
    counted = page.locator(".jp-OutputArea-output", has_text="models")
    expect(counted).to_be_visible(timeout=PATIENCE)
    before = counted.inner_text()
    page.locator(".jp-InputArea-editor").nth(1).click()
    for _ in range(5):
        page.keyboard.press("Shift+Enter")
    expect(page.get_by_text("[11]:").first).to_be_visible(timeout=PATIENCE)
    boxes = wait_for_boxes(page, 4)
    expect(counted).to_have_text(before)

    sliders_box, _, _, live_box = boxes
    sliders_box.get_by_role("button", name="14 more latents").click()
    live_box.get_by_role("slider", name="shade").focus()
    page.keyboard.press("End")
    expect(live_box.get_by_role("alert")).to_contain_text("at shade = 1.0")
    python = widgets.latent_sliders(bundled("mnist_z20"), mnist_test[0][:200])
    latents = [slider.description for slider in python.sliders]
    python.close()
    for role, names in (NAMES | {"slider": NAMES["slider"] + latents}).items():
        parts = page.locator(".vaelib")
        named = parts.get_by_role(role, name=re.compile(r"\S")).count()
        assert named == parts.get_by_role(role).count() >= len(names), role
        for name in names:
            found = parts.get_by_role(role, name=name, exact=True)
            expect(found).to_have_count(1)
    pale = {}
    for box in boxes:
        texts = box.evaluate(COLOURS)
        assert len(texts) >= 2
        ratios = {text: contrast(*colours) for text, *colours in texts}
        pale |= {text: ratio for text, ratio in ratios.items() if ratio < 4.5}
    assert pale == {}

"""Trained networks in the browser: sliders, a map and a drawing pad that decode there.

The browser gets the weights as 16-bit floats. Those of the bundled checkpoints are
16-bit floats to begin with, so for them nothing is lost; for others `picture_error`
says what is: of 255 grey levels, about 0.02 before training and 0.4 to 1.5 after it.
(8-bit integers, with a scale for each row, would halve the bytes, but change pixels of
the bundled models by 20 to 40 grey levels.)
"""

import io
import math

import anywidget
import ipywidgets
import numpy as np
import torch
import traitlets
from matplotlib import pyplot as plt
from torch import Tensor, nn

from vaelib.data import check_batch, check_unit_interval
from vaelib.models import ACTIVATIONS, SIGMA_FLOOR, Autoencoder, VariationalAutoEncoder
from vaelib.training import mean_kl_per_latent
from vaelib.widgets.box import STATIC, InteractiveBox, render_png, round_step

SIDE = 28  # pixels along the edge of a picture
MAX_LATENTS = 20
FIRST_LATENTS = 6  # sliders shown at once; the others wait behind "more"
EXAMPLES = 10  # pictures to start from
MAP_POINTS = 1000  # encoded images drawn on a map: enough to see where each kind lies
MAP_TILES = 20  # decoded pictures along each edge of a map
EXTENT = 3.0  # standard deviations of the prior that sliders and maps reach at least

Layer = tuple[Tensor, Tensor, str]  # weight (outputs, inputs), bias (outputs,), name


def _script(name):
    # anywidget takes one script a widget, so what they share is put before each.
    return "".join((STATIC / part).read_text("utf-8") for part in ("mlp.js", name))


def decoder_layers(model: nn.Module) -> list[Layer]:
    """The layers that take z to pixels: of a model of the course, or an nn.Sequential.

    Raises TypeError for anything else than Linear layers, each followed by at most one
    of models.ACTIVATIONS, or weights other than float32, and ValueError unless 1 to 20
    latents become 784 pixels.
    """
    if isinstance(model, VariationalAutoEncoder | Autoencoder):
        modules = [model.z_2hid, model.activation, model.hid_2img]
        if isinstance(model, VariationalAutoEncoder):
            modules.append(nn.Sigmoid())
    elif isinstance(model, nn.Sequential):
        modules = _unnest(model)
    else:
        raise TypeError(
            f"a decoder must be a model of vaelib.models or an nn.Sequential, not "
            f"{type(model).__name__}"
        )
    for name, weight in model.named_parameters():
        if weight.dtype != torch.float32:
            raise TypeError(
                f"the model's {name} has dtype {weight.dtype} but must be float32: use "
                "model.float()"
            )
    layers = _pair_up(modules)
    inputs, outputs = layers[0][0].shape[1], layers[-1][0].shape[0]
    if not (1 <= inputs <= MAX_LATENTS and outputs == SIDE * SIDE):
        raise ValueError(
            f"this decoder takes {inputs} latents to {outputs} pixels, but must take 1 "
            f"to {MAX_LATENTS} to {SIDE * SIDE}"
        )
    _check_same(model, layers)
    return layers


@torch.no_grad()
def _check_same(model, layers):
    """Raise TypeError if a subclass decodes in another way than its layers do."""
    z = torch.linspace(-1, 1, layers[0][0].shape[1])[None]
    decode = getattr(model, "decode", model)
    expected = decode(z.to(next(model.parameters()))).float().cpu()
    # NaN is reported by pack_network.
    if not torch.allclose(expected, evaluate_layers(layers, z), 0, 1e-3, True):
        raise TypeError(
            f"{type(model).__name__}.decode does something else than its layers z_2hid "
            "and hid_2img: give the whole decoder as an nn.Sequential"
        )


def _unnest(model):
    """All modules as they are called; .modules() would name one used twice once."""
    for module in model:
        if isinstance(module, nn.Sequential):
            yield from _unnest(module)
        else:
            yield module


def _pair_up(modules) -> list[Layer]:
    names = {kind: name for name, kind in ACTIVATIONS.items()}
    layers, after_linear = [], False
    for module in modules:
        if isinstance(module, nn.Linear):
            weight = module.weight.detach().cpu()
            bias = torch.zeros(len(weight)) if module.bias is None else module.bias
            layers.append((weight, bias.detach().cpu(), "identity"))
        elif type(module) in names and after_linear:
            layers[-1] = (*layers[-1][:2], names[type(module)])
        else:
            raise TypeError(
                f"the browser cannot evaluate {module} here: use Linear layers, each "
                f"followed by at most one of {', '.join(ACTIVATIONS)}"
            )
        after_linear = isinstance(module, nn.Linear)
    if not layers:
        raise TypeError("a decoder must have at least one Linear layer")
    return layers


def encoder_layers(model: VariationalAutoEncoder) -> list[Layer]:
    """The layers that take x to mu (Z,) and, below it, sigma before its softplus (Z,).

    Subtracting data_mean becomes part of the first bias.
    """
    (weight, bias, _), (w_mu, b_mu, _), (w_sigma, b_sigma, _) = _pair_up(
        [model.img_2hid, model.hid_2mu, model.hid_2sigma]
    )
    (_, _, activation), *_ = _pair_up([model.img_2hid, model.activation])
    return [
        (weight, bias - weight @ model.data_mean.cpu(), activation),
        (torch.cat([w_mu, w_sigma]), torch.cat([b_mu, b_sigma]), "identity"),
    ]


def pack_network(layers: list[Layer]) -> dict:
    """The layers as static/mlp.js unpacks them: 16-bit weights, 32-bit biases.

    Raises ValueError for weights that a 16-bit float cannot hold.
    """
    weights = torch.cat([weight.flatten() for weight, _, _ in layers]).half()
    biases = torch.cat([bias for _, bias, _ in layers]).float()
    if not (weights.isfinite().all() and biases.isfinite().all()):
        raise ValueError("the model has weights that are NaN, infinite or above 65504")
    return {
        "layers": [[weight.shape[1], len(weight), name] for weight, _, name in layers],
        "weights": weights.numpy().astype("<f2").tobytes(),
        "biases": biases.numpy().astype("<f4").tobytes(),
    }


def evaluate_layers(layers: list[Layer], x: Tensor) -> Tensor:
    """What the layers make of x (B, inputs): (B, outputs)."""
    for weight, bias, name in layers:
        x = ACTIVATIONS[name]()(x @ weight.T + bias)
    return x


def picture_error(layers: list[Layer], seed: int = 0) -> float:
    """The largest change of a pixel, in [0, 1], by 16-bit weights: 100 prior codes."""
    z = torch.randn(
        100, layers[0][0].shape[1], generator=torch.Generator().manual_seed(seed)
    )
    rounded = [(weight.half().float(), bias, name) for weight, bias, name in layers]
    change = evaluate_layers(rounded, z) - evaluate_layers(layers, z)
    return change.abs().max().item()


class _Decoder(anywidget.AnyWidget):
    """Decodes in the browser the code in z0, z1 ..., one trait a latent, for jslink."""

    decoder = traitlets.Dict().tag(sync=True)
    extent = traitlets.Float(EXTENT).tag(sync=True)
    alt = traitlets.Unicode().tag(sync=True)

    def __init__(self, latents, **values):
        names = [f"z{rank}" for rank in range(latents)]
        self.add_traits(**{name: traitlets.Float().tag(sync=True) for name in names})
        super().__init__(**values)


class _SliderView(_Decoder):
    _esm = _script("latent_sliders.js")
    names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    more = traitlets.Int().tag(sync=True)  # sliders behind the button "more"
    rest_display = traitlets.Unicode("none").tag(sync=True)
    examples = traitlets.Bytes().tag(sync=True)
    example_codes = traitlets.List().tag(sync=True)
    step = traitlets.Float().tag(sync=True)  # codes are rounded to it


class _MapView(_Decoder):
    _esm = _script("latent_map.js")
    points = traitlets.List().tag(sync=True)  # (x, y) each
    labels = traitlets.List(traitlets.Unicode()).tag(sync=True)
    tiles = traitlets.Int(MAP_TILES).tag(sync=True)


class _PadView(anywidget.AnyWidget):
    _esm = _script("drawing_pad.js")
    encoder = traitlets.Dict().tag(sync=True)
    decoder = traitlets.Dict().tag(sync=True)
    sigma_floor = traitlets.Float(SIGMA_FLOOR).tag(sync=True)
    order = traitlets.List(traitlets.Int()).tag(sync=True)  # latents, most active first
    examples = traitlets.Bytes().tag(sync=True)
    # What the encoder sees, a byte each; CBytes, as it comes back as a memoryview.
    pixels = traitlets.CBytes().tag(sync=True)


class LatentSliders(InteractiveBox):
    """A slider a latent, joined in the browser to the decoder that follows them."""

    def __init__(self, model, view, order, activity):
        self.model, self.view, self.order = model, view, order
        self.sliders = [
            _latent_slider(view, rank, text)
            for rank, text in enumerate(activity or view.names)
        ]
        first = ipywidgets.VBox(self.sliders[:FIRST_LATENTS])
        rest = ipywidgets.VBox(self.sliders[FIRST_LATENTS:], layout={"display": "none"})
        links = [
            ipywidgets.jslink((slider, "value"), (view, f"z{rank}"))
            for rank, slider in enumerate(self.sliders)
        ]
        links.append(
            ipywidgets.jslink((view, "rest_display"), (rest.layout, "display"))
        )
        view.layout.flex = "0 0 308px"  # as wide as its picture
        super().__init__(
            f"latent_sliders({len(order)} latents)",
            [view, ipywidgets.VBox([first, rest], layout={"flex": "1 1 20em"})],
            links,
            flex_flow="row wrap",
            align_items="flex-start",
            grid_gap="16px",
        )

    @property
    def code(self) -> Tensor:
        """The code that the sliders set, (1, Z), latents in the model's order."""
        code = torch.empty(1, len(self.order))
        code[0, self.order] = torch.tensor([slider.value for slider in self.sliders])
        return code

    def start_from(self, image: Tensor) -> None:
        """Move the sliders to the code of an image, (784,) or (1, 784)."""
        codes = encode_means(self.model, image.reshape(1, -1))[0, self.order]
        for slider, value in zip(self.sliders, codes.tolist(), strict=True):
            slider.value = value

    def picture(self):
        return _enlarged(_decode(self.model, self.code))


class LatentMap(InteractiveBox):
    """A plane of codes to point at, and the picture of the one pointed at."""

    def __init__(self, model, view, labels):
        self.model, self.view, self.labels = model, view, labels
        view.layout.width = "100%"
        super().__init__(f"latent_map({len(view.points)} points)", [view])

    @property
    def code(self) -> Tensor:
        """The code that is pointed at, (1, 2)."""
        return torch.tensor([[self.view.z0, self.view.z1]])

    def picture(self):
        figure = plt.figure(figsize=(6, 6), layout="none")
        plt.close(figure)
        extent = self.view.extent
        ax = figure.add_axes([0, 0, 1, 1])
        ax.imshow(
            manifold(self.model, extent, MAP_TILES),
            extent=(-extent, extent, -extent, extent),
            cmap="gray",
            vmax=2,  # darker, so that the points stand out
        )
        points = np.array(self.view.points)
        kinds = np.unique(self.labels, return_inverse=True)[1]
        ax.scatter(*points.T, c=kinds, cmap="tab10", s=6)
        ax.set(xlim=(-extent, extent), ylim=(-extent, extent))
        ax.set_axis_off()
        return render_png(figure, dpi=96)


class DrawingPad(InteractiveBox):
    """A canvas to draw a digit on, its posterior and what is decoded from it."""

    def __init__(self, model, view):
        self.model, self.view = model, view
        view.layout.width = "100%"
        super().__init__("drawing_pad()", [view])

    @property
    def image(self) -> Tensor:
        """What the encoder sees, (1, 784) float32 in [0, 1]: the last drawing."""
        return torch.tensor(list(self.view.pixels)).view(1, -1) / 255

    def picture(self):
        x_reconstructed = _decode(self.model, encode_means(self.model, self.image))
        return _enlarged(torch.cat([self.image, x_reconstructed]))


def latent_sliders(model, images=None, *, alt="the decoded picture") -> LatentSliders:
    """Show sliders that move through the latents of a model, decoded in the browser.

    model: a model of vaelib.models, or a decoder as an nn.Sequential, with 1 to 20
        latents.
    images: examples (N, 784) that rank the latents, by their mean KL (the variance of
        the code, without a KL); the first ten can be started from. Required but for an
        nn.Sequential, which has no encoder.
    alt: what is decoded, for those who cannot see it.

    Returns a box with .sliders (most active first), .code and .start_from(image).
    Raises TypeError or ValueError for a model or images that do not do.
    """
    layers, order = decoder_layers(model), list(range(_latents(model)))
    activity, examples, codes = [], torch.zeros(0, SIDE * SIDE), torch.zeros(0, 1)
    if not isinstance(model, nn.Sequential):
        _check_images(images)
        amounts, unit = _activity(model, images)
        order = amounts.argsort(descending=True).tolist()
        activity = [f"z{j} ({amounts[j]:.2f} {unit})" for j in order]
        examples, codes = images[:EXAMPLES], encode_means(model, images)[:, order]
    elif images is not None:
        raise TypeError("an nn.Sequential has no encoder: leave images out")
    (weight, bias, name), *rest = layers
    extent = max(_extent(codes), _extent(codes[:EXAMPLES], 1.0))
    step = round_step(-extent, extent)
    view = _SliderView(
        len(order),
        decoder=pack_network([(weight[:, order], bias, name), *rest]),
        names=[f"z{j}" for j in order],
        extent=extent,
        step=step,
        more=max(0, len(order) - FIRST_LATENTS),
        examples=_to_bytes(examples),
        example_codes=(codes[:EXAMPLES] / step).round().mul(step).tolist(),
        alt=alt,
    )
    return LatentSliders(model, view, order, activity)


def latent_map(model, images, labels=None, *, alt="the decoded picture") -> LatentMap:
    """Show the plane of a model with two latents, to point at and decode.

    images: (N, 784), of which the first 1,000 are drawn where they are encoded.
    labels: (N,) numbers or texts written at those points; dots without them.

    Returns a box with .code, the point. In the browser: mouse, finger or arrow keys.
    Raises TypeError or ValueError for a model, images or labels that do not do.
    """
    layers = decoder_layers(model)
    if isinstance(model, nn.Sequential) or _latents(model) != 2:
        raise ValueError("latent_map needs a model of vaelib.models with z_dim=2")
    _check_images(images)
    if labels is not None and len(labels) != len(images):
        raise ValueError(f"there are {len(images)} images but {len(labels)} labels")
    codes = encode_means(model, images[:MAP_POINTS])
    texts = ["·"] * len(codes)
    if labels is not None:
        kinds = labels.tolist() if isinstance(labels, Tensor) else labels
        texts = [str(kind) for kind in kinds[:MAP_POINTS]]
    view = _MapView(
        2,
        decoder=pack_network(layers),
        points=codes.tolist(),
        labels=texts,
        extent=_extent(codes),
        alt=alt,
    )
    return LatentMap(model, view, texts)


def drawing_pad(model: VariationalAutoEncoder, examples: Tensor) -> DrawingPad:
    """Show a canvas to draw a digit on, encoded and decoded while one draws.

    model: a VariationalAutoEncoder with 1 to 20 latents.
    examples: images (N, 784); the first ten can be started from without drawing, and
        the first is there at the start.

    What is drawn is brought to the middle of 28 x 28 pixels as MNIST's digits are:
    scaled into 20 x 20, its centre of mass at the centre (LeCun et al. 1998).
    Returns a box with .image, the drawing as the encoder sees it.
    Raises TypeError or ValueError for a model or examples that do not do.
    """
    if not isinstance(model, VariationalAutoEncoder):
        raise TypeError("drawing_pad needs a VariationalAutoEncoder")
    layers = decoder_layers(model)
    _check_images(examples)
    order = mean_kl_per_latent(model, examples).argsort(descending=True).tolist()
    view = _PadView(
        encoder=pack_network(encoder_layers(model)),
        decoder=pack_network(layers),
        order=order,
        examples=_to_bytes(examples[:EXAMPLES]),
        pixels=_to_bytes(examples[:1]),
    )
    return DrawingPad(model, view)


@torch.no_grad()
def encode_means(model, images: Tensor) -> Tensor:
    """Each image's code: mu of q(z|x), or z itself of an Autoencoder; (N, Z)."""
    code = model.encode(images)
    return code[0] if isinstance(model, VariationalAutoEncoder) else code


@torch.no_grad()
def manifold(model, extent: float, tiles: int) -> np.ndarray:
    """The pictures of a square grid of 2-D codes, side by side, z_1 upwards.

    The grid's tiles fill [-extent, extent] both ways. Returns (28 tiles, 28 tiles).
    """
    ticks = extent * ((2 * torch.arange(tiles) + 1) / tiles - 1)
    z1, z0 = torch.meshgrid(ticks.flip(0), ticks, indexing="ij")
    pictures = model.decode(torch.stack([z0, z1], -1).view(-1, 2))
    grid = pictures.view(tiles, tiles, SIDE, SIDE).transpose(1, 2)
    return grid.reshape(tiles * SIDE, tiles * SIDE).clamp(0, 1).numpy()


def _latents(model) -> int:
    return decoder_layers(model)[0][0].shape[1]


def _check_images(images):
    check_batch(images, "images")
    check_unit_interval(images, "images")
    if images.dtype != torch.float32:
        raise TypeError(
            f"images has dtype {images.dtype} but must be float32: use images.float()"
        )
    if images.shape[1] != SIDE * SIDE:
        raise ValueError(f"images has {images.shape[1]} columns but must have 784")


@torch.no_grad()
def _activity(model, images):
    if isinstance(model, VariationalAutoEncoder):
        return mean_kl_per_latent(model, images), "nats"
    return model.encode(images).var(0, correction=0), "variance"


def _extent(codes: Tensor, share: float = 0.99) -> float:
    """How far from 0 to reach: over that share of codes (N, Z), to a whole number."""
    if not codes.numel():
        return EXTENT
    return max(EXTENT, math.ceil(codes.abs().amax(1).quantile(share).item()))


def _latent_slider(view, rank, text):
    return ipywidgets.FloatSlider(
        min=-view.extent,
        max=view.extent,
        step=view.step,
        description=text,
        readout_format=".2f",
        style={"description_width": "8.5em"},
        layout={"width": "auto", "max_width": "40em"},
    )


def _to_bytes(images: Tensor) -> bytes:
    return (images * 255).round().byte().cpu().numpy().tobytes()


@torch.no_grad()
def _decode(model, code: Tensor) -> Tensor:
    return evaluate_layers(decoder_layers(model), code)


def _enlarged(pictures: Tensor) -> bytes:
    """Pictures (N, 784) side by side as a PNG, each pixel 10 pixels wide."""
    rows = torch.cat(list(pictures.view(-1, SIDE, SIDE)), 1).clamp(0, 1).numpy()
    png = io.BytesIO()
    plt.imsave(png, rows.repeat(10, 0).repeat(10, 1), cmap="gray", vmin=0, vmax=1)
    return png.getvalue()

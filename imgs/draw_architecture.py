"""Draw architecture.svg: a digit going through the bundled VAE, with real pictures.

Run it from the repository root: .venv/bin/python imgs/draw_architecture.py
"""

import base64
import io

import torch
from drawing import box, ellipse, forward, text, write
from matplotlib import image

from vaelib import data, models
from vaelib.figures import PALETTE

PICTURE = (
    '<image x="{x}" y="{y}" width="112" height="112" '
    'style="image-rendering:pixelated" href="data:image/png;base64,{png}"/>'
)
TITLE = "A variational autoencoder"
DESCRIPTION = (
    "A picture of a 7, x, goes into the encoder, which gives mu and sigma. A random "
    "epsilon enters from below; z is mu plus sigma times epsilon. The decoder turns z "
    "into the reconstruction of the 7."
)


def picture(x, y, pixels, label):
    """A 28 x 28 picture with its middle at (x, y) and a label below."""
    png = io.BytesIO()
    image.imsave(png, pixels.view(28, 28).numpy(), cmap="gray", vmin=0, vmax=1)
    encoded = base64.b64encode(png.getvalue()).decode()
    return PICTURE.format(x=x - 56, y=y - 56, png=encoded) + text(x, y + 84, label)


def digit_and_reconstruction():
    """The first test image and what the bundled model makes of it, (2, 784)."""
    x = data.load("mnist", train=False)[0][:1]
    model = models.VariationalAutoEncoder(784, 400, 20, activation="silu")
    models.load_weights(model, "mnist_z20")
    with torch.no_grad():
        x_reconstructed, _, _ = model(x, torch.Generator().manual_seed(0))
    return torch.cat([x, x_reconstructed])


def main():
    x, x_reconstructed = digit_and_reconstruction()
    grey, orange = "#333", PALETTE["posterior"]
    parts = [
        picture(80, 110, x, "x: 784 pixels"),
        box(240, 110, 110, 64, grey, ["encoder"]),
        box(390, 60, 64, 50, orange, ["μ"], 24),
        box(390, 160, 64, 50, orange, ["σ &gt; 0"], 20),
        ellipse(390, 262, 130, 56, PALETTE["prior"], ["ε ~ N(0, I)"]),
        box(560, 110, 150, 64, orange, ["z = μ + σ ε", "20 numbers"]),
        box(730, 110, 110, 64, grey, ["decoder"]),
        picture(890, 110, x_reconstructed, "x reconstructed"),
    ]
    paths = [
        "M140 110 H181",
        "M296 100 L354 66",
        "M296 120 L354 154",
        "M423 62 L481 94",
        "M423 158 L481 126",
        "M456 262 H560 V146",
        "M636 110 H671",
        "M786 110 H830",
    ]
    parts += [forward(path) for path in paths]
    write("architecture.svg", 970, 310, TITLE, DESCRIPTION, parts)


if __name__ == "__main__":
    main()

"""Draw stochastic_node.svg and reparameterised.svg: where backpropagation stops.

Both have the same layout, so that turning from one to the other shows what moves: the
randomness, out of the gradient's way.

Run it from the repository root: .venv/bin/python imgs/draw_reparameterisation.py
"""

from drawing import (
    GRADIENT,
    GRADIENT_TIP,
    backward,
    box,
    ellipse,
    forward,
    label,
    text,
    write,
)

from vaelib.figures import PALETTE

GREY, ORANGE = "#333", PALETTE["posterior"]
# A thick cross on the end of the arrow from (x1, y1) to (x2, y2), which has no tip.
STOP = (
    '<path d="M{x1} {y1}L{x2} {y2}" fill="none" stroke="{colour}" stroke-width="3.5" '
    'stroke-dasharray="9 5"/>\n<path d="M{x2} {y2}m-11 -11l22 22m0 -22l-22 22" '
    'fill="none" stroke="#111" stroke-width="5" stroke-linecap="round"/>'
)
AROUND_Z = [
    GRADIENT_TIP,
    box(90, 150, 136, 76, GREY, ["encoder", "weights φ"]),
    box(300, 70, 80, 50, ORANGE, ["μ"], 24),
    box(300, 230, 80, 50, ORANGE, ["σ &gt; 0"], 20),
    box(874, 150, 156, 76, GREY, ["f(z)", "decoder, loss"]),
    forward("M159 128 L256 79"),
    forward("M159 172 L256 221"),
    text(737, 194, "∂f/∂z"),
    forward("M30 350 H74"),
    text(145, 356, "values: forward", 17),
    backward("M303 350 H259"),
    text(385, 356, "gradient: backward", 17),
    text(599, 356, "round: drawn at random", 17),
    text(840, 356, "square corners: computed", 17),
]
STOPPED = [
    ellipse(570, 150, 230, 100, ORANGE, ["z ~ N(μ, σ²)"], 22),
    forward("M341 84 L461 131"),
    forward("M341 216 L461 169"),
    forward("M683 138 H792"),
    backward("M795 164 H685"),
    STOP.format(x1=494, y1=112, x2=405, y2=77, colour=GRADIENT),
    STOP.format(x1=494, y1=188, x2=405, y2=223, colour=GRADIENT),
    text(432, 58, "∂z/∂μ = ?"),
    text(432, 260, "∂z/∂σ = ?"),
    label(640, 258, ["A draw has no derivative:", "the gradient stops here."]),
]
MOVED_OUT = [
    box(570, 150, 204, 100, ORANGE, ["z = μ + σ ε"], 22),
    ellipse(570, 278, 156, 60, PALETTE["prior"], ["ε ~ N(0, 1)"]),
    forward("M341 84 L464 132"),
    forward("M341 216 L464 168"),
    forward("M673 138 H792"),
    forward("M570 247 V204"),
    backward("M795 164 H677"),
    backward("M467 107 L345 59"),
    backward("M467 193 L345 241"),
    backward("M259 56 L152 108"),
    backward("M259 244 L152 192"),
    text(432, 58, "∂z/∂μ = 1"),
    text(432, 260, "∂z/∂σ = ε"),
    label(770, 278, ["ε has no parameters:", "it needs no gradient."]),
]


def main():
    write(
        "stochastic_node.svg",
        970,
        380,
        "Before: the random draw is in the way of backpropagation",
        "Values go forward from the encoder to mu and sigma, from both to z, which is "
        "drawn at random from N(mu, sigma squared), and from z to f(z), the decoder "
        "and the loss. The gradient comes back from f(z) to z and stops there: a draw "
        "has no derivative with respect to mu or sigma, and the encoder gets none.",
        [*AROUND_Z, *STOPPED],
    )
    write(
        "reparameterised.svg",
        970,
        380,
        "After: epsilon is drawn outside, and backpropagation goes through",
        "The same graph, but z is computed as mu plus sigma times epsilon, and only "
        "epsilon is drawn at random, from N(0, 1), entering from below. The gradient "
        "comes back from f(z) to z and on to mu, times dz/dmu = 1, to sigma, times "
        "dz/dsigma = epsilon, and to the encoder. Epsilon needs none.",
        [*AROUND_Z, *MOVED_OUT],
    )


if __name__ == "__main__":
    main()

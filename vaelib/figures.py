"""Arrays in, matplotlib figures out, in one style and one set of colours.

Notebooks begin with `plt.style.use(figures.STYLE)`.
"""

import io
import time
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from torch import Tensor

from vaelib.training import History

STYLE = Path(__file__).parent / "course.mplstyle"
# One colour a concept (Okabe and Ito's set, told apart by colour-blind eyes).
PALETTE = {
    "exact": "#000000",
    "data": "#0072B2",
    "prior": "#56B4E9",
    "posterior": "#E69F00",
    "reconstruction": "#D55E00",
    "train": "#CC79A7",
    "test": "#009E73",
}
# Of notebooks that compare gradient estimators, and draw none of the above.
ESTIMATORS = {
    "pathwise": "#009E73",
    "score function": "#CC79A7",
    "leave-one-out": "#D55E00",
    "measure-valued": "#56B4E9",
    "finite differences": "#E69F00",
}
# Exact values are always drawn like this, so that truth is known at a glance.
EXACT = {"color": PALETTE["exact"], "linestyle": (0, (4, 2)), "linewidth": 1.5}
ACTIVE_NATS = 0.05  # a latent whose mean KL is below this says nothing about x


def show_images(images: Tensor, row_labels: Sequence[str] = ("",)) -> Figure:
    """Images (R * C, 784) as R labelled rows of C pictures, 28 x 28 each.

    Raises ValueError unless the images fill the rows.
    """
    rows = len(row_labels)
    if images.ndim != 2 or images.shape[1] != 784 or len(images) % rows:
        raise ValueError(
            f"images has shape {tuple(images.shape)} but must be (R * C, 784) with "
            f"R = {rows}, the number of row labels"
        )
    columns = len(images) // rows
    pictures = images.detach().cpu().view(rows, columns, 28, 28)
    strips = pictures.permute(0, 2, 1, 3).reshape(rows, 28, columns * 28).numpy()
    figure, axes = plt.subplots(
        rows, figsize=(0.85 * columns, 0.95 * rows), squeeze=False
    )
    for ax, strip, label in zip(axes[:, 0], strips, row_labels, strict=True):
        ax.imshow(strip, vmin=0, vmax=1)
        ax.set(xticks=[], yticks=[])
        ax.set_ylabel(label, rotation=0, ha="right", va="center")
    return figure


def draw_curves(ax, history: History) -> None:
    """Train and test loss of one training over its steps, on the given axes."""
    ax.plot(
        history.train_steps, history.train_loss, color=PALETTE["train"], label="train"
    )
    ax.plot(
        history.test_steps,
        history.test_loss,
        "o-",
        color=PALETTE["test"],
        label="test",
    )
    ax.set(xlabel="step", ylabel="loss (nats per image)")


def bar_chart(values: dict[str, float], xlabel: str) -> Figure:
    """One labelled horizontal bar a value, with the value written at its end."""
    figure, ax = plt.subplots(figsize=(8, 0.5 * len(values) + 0.9))
    bars = ax.barh(list(values), list(values.values()), color=PALETTE["test"])
    ax.bar_label(bars, fmt="%.1f", padding=4)
    ax.invert_yaxis()
    ax.grid(False)
    ax.margins(x=0.12)
    ax.set_xlabel(xlabel)
    return figure


def kl_bars(kl_per_latent: Tensor, title: str = "") -> Figure:
    """The mean KL of each latent (Z,), largest first; the silent ones in grey."""
    ordered, order = (part.tolist() for part in kl_per_latent.sort(descending=True))
    colours = [PALETTE["posterior"] if kl > ACTIVE_NATS else "0.6" for kl in ordered]
    figure, ax = plt.subplots(figsize=(8, 3))
    ax.bar([str(j) for j in order], ordered, color=colours)
    ax.set(xlabel="latent j", ylabel="mean KL (nats)", title=title)
    ax.grid(axis="x")
    ax.tick_params(axis="x", labelsize=10)
    return figure


class LiveCurve:
    """A loss curve that grows while a model trains: `fit(..., on_record=LiveCurve())`.

    The figure is made once and its picture replaced in the cell's output, at most
    twice a second and at the end of each epoch. `lines` are exact levels to draw in.
    """

    def __init__(self, lines: dict[str, float] | None = None):
        from IPython.display import display

        self.figure, self.ax = plt.subplots()
        plt.close(self.figure)  # shown through the handle, not a second time at the end
        self.lines, self.drawn = lines or {}, 0.0
        self.handle = display(self._bundle(), raw=True, display_id=True)

    def _bundle(self) -> dict:
        picture = io.BytesIO()
        self.figure.savefig(picture, format="png")
        return {"image/png": picture.getvalue(), "text/plain": "training curve"}

    def _draw(self, history: History) -> None:
        self.ax.clear()
        draw_curves(self.ax, history)
        for label, level in self.lines.items():
            self.ax.axhline(level, **EXACT)
            self.ax.annotate(
                f"{label}: {level:.1f}",
                (0.99, level),
                xycoords=("axes fraction", "data"),
                xytext=(0, 3),
                textcoords="offset points",
                ha="right",
            )
        self.ax.legend(loc="center right")

    def __call__(self, history: History) -> None:
        epoch_ended = history.test_steps[-1:] == history.train_steps[-1:]
        if not epoch_ended and time.perf_counter() - self.drawn < 0.5:
            return
        self._draw(history)
        if self.handle is not None:  # None outside a notebook
            self.handle.update(self._bundle(), raw=True)
        self.drawn = time.perf_counter()

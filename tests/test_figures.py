"""Figures show the arrays that they were given."""

import matplotlib
import pytest
import torch
from matplotlib import pyplot as plt

from vaelib import figures
from vaelib.training import History

matplotlib.use("agg")


@pytest.fixture(autouse=True)
def no_figure_left_open():
    with plt.style.context(figures.STYLE):
        yield
    plt.close("all")


def history(steps=40):
    return History(
        train_steps=[20, steps],
        train_loss=[200.0, 150.0],
        test_steps=[0, steps],
        test_loss=[300.0, 160.0],
    )


def test_show_images_puts_every_image_in_its_place():
    images = torch.rand(6, 784, generator=torch.Generator().manual_seed(0))
    figure = figures.show_images(images, ["above", "below"])
    for row, ax in enumerate(figure.axes):
        strip = torch.as_tensor(ax.images[0].get_array())  # (28, 84)
        for column in range(3):
            shown = strip[:, 28 * column : 28 * (column + 1)]
            assert torch.equal(shown, images[3 * row + column].view(28, 28))
    assert [ax.get_ylabel() for ax in figure.axes] == ["above", "below"]


@pytest.mark.parametrize("shape", [(5, 784), (4, 783), (784,)])
def test_show_images_says_what_shape_it_wants(shape):
    with pytest.raises(ValueError, match=r"must be \(R \* C, 784\)"):
        figures.show_images(torch.zeros(shape), ["a", "b"])


def test_draw_curves_draws_both_losses():
    _, ax = plt.subplots()
    figures.draw_curves(ax, history())
    train, test = (line.get_xydata().tolist() for line in ax.lines)
    assert train == [[20, 200], [40, 150]]
    assert test == [[0, 300], [40, 160]]


def test_bar_chart_has_one_bar_a_value_first_on_top():
    ax = figures.bar_chart({"first": 3.0, "second": 1.5}, "nats").axes[0]
    assert [bar.get_width() for bar in ax.patches] == [3.0, 1.5]
    assert [text.get_text() for text in ax.texts] == ["3.0", "1.5"]
    assert ax.yaxis_inverted()


def test_kl_bars_are_sorted_and_grey_where_silent():
    ax = figures.kl_bars(torch.tensor([0.01, 2.0, 0.5])).axes[0]
    assert [bar.get_height() for bar in ax.patches] == pytest.approx([2.0, 0.5, 0.01])
    assert [label.get_text() for label in ax.get_xticklabels()] == ["1", "2", "0"]
    colours = [matplotlib.colors.to_hex(bar.get_facecolor()) for bar in ax.patches]
    active = figures.PALETTE["posterior"].lower()
    assert colours == [active, active, "#999999"]


class Handle:
    """Stands in for IPython's display handle: keeps what it was given."""

    def __init__(self):
        self.bundles = []

    def update(self, bundle, raw):
        self.bundles.append(bundle)


@pytest.fixture
def curve(monkeypatch):
    handle = Handle()

    def display(bundle, raw, display_id):
        handle.bundles.append(bundle)
        return handle

    monkeypatch.setattr("IPython.display.display", display)
    return figures.LiveCurve({"floor": 45.5}), handle


def test_live_curve_replaces_its_picture_and_keeps_its_text(curve):
    live, handle = curve
    live(history())
    first, second = handle.bundles
    assert first["text/plain"] == second["text/plain"] == "training curve"
    assert first["image/png"][:4] == second["image/png"][:4] == b"\x89PNG"
    assert first["image/png"] != second["image/png"]
    assert any("floor: 45.5" in text.get_text() for text in live.ax.texts)


def test_live_curve_skips_pictures_in_quick_succession_but_never_an_epochs_end(curve):
    live, handle = curve
    live(history())
    middle = history()
    middle.train_steps.append(60)
    middle.train_loss.append(140.0)
    live(middle)
    assert len(handle.bundles) == 2
    live(history())
    assert len(handle.bundles) == 3


def test_live_curve_leaves_no_figure_for_the_notebook_to_show_again(curve):
    assert plt.get_fignums() == []

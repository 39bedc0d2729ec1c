"""The interactive parts as far as Python sees them; tests/browser has the rest."""

import base64
import io
import re

import ipywidgets
import numpy as np
import pytest
from IPython.core.formatters import DisplayFormatter
from matplotlib import pyplot as plt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from vaelib import widgets
from vaelib.widgets import box

SIGMAS = np.array([0.5, 1.0, 2.0])


def draw_bell(sigma, make_figure=plt.figure):
    figure = make_figure(figsize=(4, 3))
    x = np.linspace(-4, 4, 50)
    figure.add_subplot().plot(x, np.exp(-((x / sigma) ** 2) / 2))
    return figure


def open_models():
    """Return the ids of all widget models that the kernel holds."""
    return set(ipywidgets.widgets.widget._instances)


def pixels_of(png):
    return np.rint(plt.imread(io.BytesIO(png), format="png")[..., :3] * 255)


@pytest.fixture
def book():
    book = widgets.flipbook(draw_bell, SIGMAS, "sigma", label="sigma = {:.1f}")
    yield book
    book.close()


@pytest.mark.parametrize("make_figure", [plt.figure, Figure])
@pytest.mark.parametrize("crop", ["tight", "standard"])
def test_frames_are_what_draw_draws(make_figure, crop):
    with plt.rc_context({"savefig.bbox": crop}):
        book = widgets.flipbook(lambda s: draw_bell(s, make_figure), SIGMAS, "sigma")
    for png, sigma in zip(book.frames.frames, SIGMAS, strict=True):
        canvas = FigureCanvasAgg(draw_bell(sigma, Figure))
        canvas.figure.set_dpi(box.PNG_DPI)
        canvas.draw()
        expected = np.asarray(canvas.buffer_rgba())[..., :3]
        np.testing.assert_array_equal(pixels_of(png), expected)
    assert book.frames.size == (4 * 96, 3 * 96)
    book.close()


def test_slider_reaches_every_frame_and_no_further(book):
    for index in (0, 2, 1):
        book.slider.value = index
        assert book.slider.value == index
    book.slider.value = 3
    assert book.slider.value == 2
    assert (book.slider.min, book.slider.max) == (0, 2)
    assert (book.play.min, book.play.max) == (0, 2)


def test_browser_joins_play_slider_and_frames(book):
    """A graph of links that leads from each of the three to each other one."""
    joined = {frozenset([link.source, link.target]) for link in book._links}
    assert joined == {
        frozenset([(book.play, "value"), (book.slider, "value")]),
        frozenset([(book.slider, "value"), (book.frames, "index")]),
    }


def test_starts_where_told():
    book = widgets.flipbook(draw_bell, SIGMAS, "sigma", start=2)
    assert (book.slider.value, book.play.value, book.frames.index) == (2, 2, 2)
    png = base64.b64decode(book._repr_mimebundle_()["image/png"])
    assert png == book.frames.frames[2] != book.frames.frames[0]
    book.close()


def test_names_what_it_shows(book):
    assert book.slider.description == book.frames.alt == "sigma"
    assert book.frames.labels == ["sigma = 0.5", "sigma = 1.0", "sigma = 2.0"]
    other = widgets.flipbook(
        draw_bell, SIGMAS, "sigma", label=lambda sigma: f"{sigma:.0%}", alt="A bell"
    )
    assert other.frames.labels == ["50%", "100%", "200%"]
    assert other.frames.alt == "A bell"
    other.close()


def test_notebook_gets_widget_picture_and_stable_text(book):
    data, _ = DisplayFormatter().format(book)
    assert data["text/plain"] == repr(book) == "flipbook(sigma, 3 frames)"
    view = data["application/vnd.jupyter.widget-view+json"]
    assert view["model_id"] == book.model_id
    assert base64.b64decode(data["image/png"]) == book.frames.frames[0]


def test_close_leaves_no_model():
    before = open_models()
    book = widgets.flipbook(draw_bell, SIGMAS, "sigma")
    assert len(open_models() - before) > 5
    book.close()
    book.close()  # does no harm
    assert open_models() == before


def test_leaves_no_figure_but_the_callers_open(book):
    mine = plt.figure()
    widgets.flipbook(draw_bell, SIGMAS, "sigma").close()
    assert plt.get_fignums() == [mine.number]
    plt.close(mine)


def test_failing_draw_is_heard_and_leaves_nothing_open():
    def fail_late(sigma):
        figure = draw_bell(sigma)
        if sigma == SIGMAS[-1]:
            raise ZeroDivisionError("as planned")
        return figure

    before = open_models()
    with pytest.raises(ZeroDivisionError, match="as planned"):
        widgets.flipbook(fail_late, SIGMAS, "sigma")
    assert plt.get_fignums() == []
    assert open_models() == before


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"draw": "bell"}, TypeError, "draw must be a function of one value"),
        ({"values": []}, ValueError, "values must be two or more"),
        ({"values": [1.0]}, ValueError, "values must be two or more"),
        ({"start": 3}, ValueError, "start must be in 0 ... 2, not 3"),
        ({"start": -1}, ValueError, "start must be in 0 ... 2, not -1"),
        ({"label": ["a", "b", "c"]}, TypeError, "label must be a format string or a"),
        ({"label": "{:d}"}, ValueError, "cannot write these values (Unknown format"),
        ({"label": "{} of {}"}, ValueError, "cannot write these values"),
        ({"label": "{:.0f}", "values": [1.1, 1.2]}, ValueError, "show more digits"),
    ],
)
def test_mistakes_are_named_before_anything_is_drawn(changed, error, message):
    drawn = []
    arguments = {"draw": drawn.append, "values": SIGMAS, "description": "sigma"}
    with pytest.raises(error, match=re.escape(message)):
        widgets.flipbook(**arguments | changed)
    assert drawn == []


def test_draw_must_return_figures_of_one_size():
    with pytest.raises(TypeError, match="returned Axes: end draw with `return figure`"):
        widgets.flipbook(lambda s: draw_bell(s).axes[0], SIGMAS, "sigma")
    with pytest.raises(ValueError, match="must always use one figsize; it used 3"):
        widgets.flipbook(lambda s: plt.figure(figsize=(s, 1)), SIGMAS, "sigma")
    assert plt.get_fignums() == []


def test_twelve_frames_are_light():
    book = widgets.flipbook(draw_bell, np.linspace(0.5, 3, 12), "sigma")
    assert sum(map(len, book.frames.frames)) < 600_000
    book.close()

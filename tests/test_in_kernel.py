"""Live figures as far as Python sees them, and the driving of all sliders."""

import base64
import concurrent.futures
import gc
import io
import itertools
import os
import re
import subprocess
import sys
import threading

import ipywidgets
import nbformat
import numpy as np
import pytest
import torch
import traitlets
from IPython.core.formatters import DisplayFormatter
from matplotlib import pyplot as plt
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from vaelib import widgets
from vaelib.widgets import box as boxes
from vaelib.widgets.in_kernel import LIVE_DPI

X = np.linspace(-4, 4, 50)


def draw(mu=0.0, n=2, make_figure=plt.figure, **options):
    """A figure with one line, and the function that changes it."""
    figure = make_figure(figsize=(4, 3), **options)
    (line,) = figure.add_subplot().plot(X, n * np.exp(-((X - mu) ** 2) / 2))
    line.axes.set(ylim=(0, 10), ylabel="density")

    def update(mu, n):
        line.set_data(X, n * np.exp(-((X - mu) ** 2) / 2))

    return figure, update


def open_models():
    return set(ipywidgets.widgets.widget._instances)


def pixels_of(png):
    return np.rint(plt.imread(io.BytesIO(png), format="png")[..., :3] * 255)


def drawn_alone(mu, n, **options):
    """The pixels of a figure that was made for these values and never changed."""
    canvas = FigureCanvasAgg(draw(mu, n, Figure, **options)[0])
    canvas.figure.set_dpi(LIVE_DPI)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


@pytest.fixture(autouse=True)
def nothing_left():
    """All that a test opens is closed after it, and would be driven otherwise."""
    before = open_models()
    yield
    for box in list(boxes._open):
        box.close()
    left = open_models() - before
    for model in left:
        ipywidgets.widgets.widget._instances[model].close()
    plt.close("all")


@pytest.mark.parametrize("make_figure", [plt.figure, Figure])
@pytest.mark.parametrize("layout", [None, "constrained", "tight"])
def test_picture_is_what_a_new_figure_shows(make_figure, layout):
    figure, update = draw(make_figure=make_figure, layout=layout)
    live = widgets.live(figure, update, alt="A bell", mu=(-3.0, 3.0, 1.0), n=(1, 9, 2))
    shown = []
    for mu, n in ((1.0, 2), (-3.0, 2), (-3.0, 9), (2.5, 5)):
        live.controls["mu"].value, live.controls["n"].value = mu, n
        expected = drawn_alone(mu, n, layout=layout)
        np.testing.assert_array_equal(pixels_of(live.image.value), expected)
        shown.append(live.image.value)
    assert len(set(shown)) == 4
    assert live.picture() == shown[-1]


def test_artists_are_updated_in_place_and_the_layout_stays():
    figure, update = draw(layout="constrained")
    live = widgets.live(figure, update, alt="A bell", mu=(-3.0, 3.0, 0.0), n=(1, 9, 2))
    (axes,) = figure.axes
    (line,), place = axes.lines, axes.get_position().bounds
    axes.set_ylabel("two\nlines")  # for which a layout engine would make room
    for mu in (-2.0, 2.0):
        live.controls["mu"].value = mu
        assert figure.axes == [axes] and list(axes.lines) == [line]
        assert X[line.get_ydata().argmax()] == pytest.approx(mu, abs=0.1)
        assert axes.get_position().bounds == place
    assert live.figure is figure


def test_figure_is_shown_once():
    figure, update = draw()
    widgets.live(figure, update, alt="A bell", mu=(-3.0, 3.0, 0.0), n=(1, 9, 2))
    assert plt.get_fignums() == []


def test_update_is_called_once_for_every_change():
    calls = []
    live = widgets.live(
        draw()[0],
        lambda mu, n: calls.append((mu, n)),
        alt="A bell",
        mu=(-1, 1.0, 0),
        n=(1, 9, 2),
    )
    live.controls["n"].value = 3
    live.controls["n"].value = 3  # no change
    live.controls["mu"].value = 0.5
    assert calls == [(0.0, 2), (0.0, 3), (0.5, 3)]
    assert all(type(mu) is float and type(n) is int for mu, n in calls)


def test_kinds_of_controls():
    own = ipywidgets.Dropdown(options=["red", "blue"], description="colour")
    mute = ipywidgets.Checkbox()
    got = {}
    live = widgets.live(
        draw()[0],
        lambda **values: got.update(values),
        alt="A bell",
        whole=(0, np.int64(5), 2),
        real=(0.0, 1.0, 0.25),
        mixed=(0, 1.0, 1),
        colour=own,
        logarithmic=mute,
    )
    whole, real, mixed = (live.controls[name] for name in ("whole", "real", "mixed"))
    assert isinstance(whole, ipywidgets.IntSlider)
    assert (whole.min, whole.max, whole.value, whole.step) == (0, 5, 2, 1)
    assert isinstance(real, ipywidgets.FloatSlider)
    assert (real.min, real.max, real.value, real.step) == (0, 1, 0.25, 0.01)
    assert isinstance(mixed, ipywidgets.FloatSlider) and mixed.value == 1
    assert live.controls["colour"] is own and own.description == "colour"
    assert [c.description for c in (whole, real, mixed)] == ["whole", "real", "mixed"]
    assert mute.description == "logarithmic"  # or it would have no name
    own.value = "blue"
    mute.value = True
    assert got == {
        "whole": 2, "real": 0.25, "mixed": 1, "colour": "blue", "logarithmic": True
    }  # fmt: skip
    assert repr(live) == "live(whole, real, mixed, colour, logarithmic)"


def test_mistake_at_a_move_is_shown_and_raised_until_the_next_good_value():
    figure, update = draw()

    def picky(mu, n):
        if n > 7:
            raise ValueError(f"<b>{n}</b> & more")
        update(mu, n)

    live = widgets.live(figure, picky, alt="A bell", mu=(-3.0, 3.0, 0.0), n=(1, 9, 2))
    assert live.message.value == ""
    good = live.image.value
    with pytest.raises(ValueError, match="8</b> & more"):
        live.controls["n"].value = 8
    assert live.image.value == good
    assert "ValueError: &lt;b&gt;8&lt;/b&gt; &amp; more" in live.message.value
    assert "at n = 8" in live.message.value
    live.controls["n"].value = 3
    assert live.message.value == ""
    np.testing.assert_array_equal(pixels_of(live.image.value), drawn_alone(0.0, 3))


def test_mistake_by_a_control_without_a_description_is_named():
    class Mute(ipywidgets.DOMWidget, ipywidgets.ValueWidget):
        value = traitlets.Unicode("a")

    def fail(choice):
        if choice == "b":
            raise LookupError("as planned")

    live = widgets.live(draw()[0], fail, alt="A bell", choice=Mute())
    with pytest.raises(LookupError, match="as planned"):
        live.controls["choice"].value = "b"
    assert "at choice = b" in live.message.value


def climb(mu, n):
    """Steps from where the sliders stand, each of which moves both of them."""
    for step in (1, 2):
        yield {"mu": mu + step, "n": n + step}


def bell_with_button(steps):
    """The live bell at mu = 0 and n = 2, with a button for these steps."""
    sliders = {"mu": (-3.0, 3.0, 0.0), "n": (1, 9, 2)}
    return widgets.live(*draw(), alt="A bell", actions={"Climb": steps}, **sliders)


def test_button_moves_the_sliders_with_one_picture_a_step():
    figure, update = draw()
    seen, pictures = [], []

    def note(mu, n):
        seen.append((mu, n))
        update(mu, n)

    live = widgets.live(
        figure,
        note,
        alt="A bell",
        actions={"Climb": climb},
        mu=(-3.0, 3.0, -1.5),
        n=(1, 9, 2),
    )
    (button,) = (w for w in boxes._descendants(live) if hasattr(w, "click"))
    assert button.description == "Climb"
    live.image.observe(lambda change: pictures.append(change.new), "value")
    button.click()
    assert seen == [(-1.5, 2), (-0.5, 3), (0.5, 4)] and len(set(pictures)) == 2
    assert live.values == {"mu": 0.5, "n": 4}
    np.testing.assert_array_equal(pixels_of(pictures[-1]), drawn_alone(0.5, 4))
    live.controls["n"].value = 7  # by hand it still moves after the last step
    assert seen[-1] == (0.5, 7) and len(pictures) == 3


def test_mistake_of_a_button_is_shown_and_raised():
    def climb_too_far(mu, n):
        yield {"n": 5}
        raise OverflowError("no way <up>")

    live = bell_with_button(climb_too_far)
    with pytest.raises(OverflowError, match="no way"):
        live.press("Climb")
    assert "OverflowError: no way &lt;up&gt;<" in live.message.value
    assert "after Climb" in live.message.value
    live.controls["n"].value = 6  # sliders go on to work
    assert live.message.value == ""
    np.testing.assert_array_equal(pixels_of(live.image.value), drawn_alone(0.0, 6))
    with pytest.raises(OverflowError) as caught:
        widgets.drive_sliders()
    assert caught.value.__notes__ == ["in live(mu, n), after Climb"]


def test_driving_presses_buttons_and_puts_the_sliders_back():
    live = bell_with_button(climb)
    before, seen = live.image.value, []
    live.controls["n"].observe(lambda change: seen.append(change.new), "value")
    assert widgets.drive_sliders() == 2
    assert seen[-3:] == [3, 4, 2]
    assert live.values == {"mu": 0.0, "n": 2} and live.image.value == before


# JupyterLab runs the callbacks in a thread of its own, beside that of the cells.


@pytest.mark.parametrize("with_grad", [False, True])
def test_other_threads_have_gradients_as_where_the_box_was_made(with_grad):
    figure, update = draw()
    weight, seen = torch.ones(1, requires_grad=True), []

    def weigh(mu, n):
        seen.append((weight * mu).requires_grad)
        update(mu, n)

    with torch.set_grad_enabled(with_grad):
        live = widgets.live(
            figure,
            weigh,
            alt="A bell",
            actions={"Climb": climb},
            mu=(-3.0, 3.0, 0.0),
            n=(1, 9, 2),
        )

    def work():
        with torch.set_grad_enabled(not with_grad):
            live.controls["n"].value = 3
            live.press("Climb")
            return torch.is_grad_enabled()

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        assert pool.submit(work).result() == (not with_grad)  # left as it was
    assert seen == [with_grad] * 4
    np.testing.assert_array_equal(pixels_of(live.image.value), drawn_alone(2.0, 5))


def test_threads_take_turns():
    """A slider that is moved during an animation is drawn after it, not swallowed."""
    begun, go_on = threading.Event(), threading.Event()

    def wait(mu, n):
        begun.set()
        assert go_on.wait(10)
        yield {"mu": 1.0}

    figure, update = draw()
    live = widgets.live(
        figure,
        update,
        alt="A bell",
        actions={"Wait": wait},
        mu=(-3.0, 3.0, 0.0),
        n=(1, 9, 2),
    )
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        playing = pool.submit(live.press, "Wait")
        assert begun.wait(10)
        moving = pool.submit(setattr, live.controls["n"], "value", 8)
        _, waiting = concurrent.futures.wait([moving], timeout=0.3)
        go_on.set()
        playing.result(), moving.result()
    assert waiting == {moving}
    np.testing.assert_array_equal(pixels_of(live.image.value), drawn_alone(1.0, 8))


def test_drawing_keeps_what_another_thread_sets_meanwhile():
    figure, update = draw()

    class Setter(Artist):
        def draw(self, renderer):
            plt.rcParams["lines.linewidth"] = 7

    figure.add_artist(Setter())
    with plt.rc_context({"savefig.bbox": "tight"}):
        widgets.live(figure, update, alt="A bell", mu=(-3.0, 3.0, 0.0), n=(1, 9, 2))
        assert plt.rcParams["lines.linewidth"] == 7
        assert plt.rcParams["savefig.bbox"] == "tight"


def fail_when_called(mu, n):
    raise ZeroDivisionError("as planned")


def test_failure_at_the_start_leaves_nothing_open():
    figure, update = draw()

    def fail_when_drawn(mu, n):
        update(mu, n)
        figure.axes[0].set_title(r"$\nothing$")

    before = open_models()
    for fail, error in (
        (fail_when_called, ZeroDivisionError),
        (fail_when_drawn, ValueError),
    ):
        with pytest.raises(error):
            widgets.live(figure, fail, alt="A bell", mu=(-3.0, 3.0, 0.0), n=(1, 9, 2))
        assert open_models() == before
        assert widgets.drive_sliders() == 0


def test_close_leaves_no_model():
    before = open_models()
    figure, update = draw()
    live = widgets.live(figure, update, alt="A bell", mu=(-3.0, 3.0, 0.0), n=(1, 9, 2))
    assert len(open_models() - before) > 6
    live.close()
    live.close()  # does no harm
    assert open_models() == before


def test_controls_of_others_stay_open_and_serve_again():
    before, calls = open_models(), []
    row = ipywidgets.HBox([ipywidgets.IntSlider()])
    row.add_traits(value=traitlets.Int())  # a control of several parts
    own = ipywidgets.IntSlider(), row
    theirs = open_models()
    for number in 1, 2:
        live = widgets.live(
            plt.figure(figsize=(1, 1)),
            lambda **values: calls.append(values),
            alt="",
            a=own[0],
            b=own[1],
            c=(0, 1, 0),
        )
        own[0].value = own[1].value = number
        live.close()
        live.close()  # does no harm
        assert open_models() == theirs
        own[0].value = own[1].value = 10 * number  # nobody is told
    assert [(call["a"], call["b"]) for call in calls] == [
        (0, 0), (1, 0), (1, 1), (10, 10), (2, 10), (2, 2)
    ]  # fmt: skip
    for control in (row.children[0], *own):
        control.layout.close(), control.close()
        if control is not row:
            control.style.close()
    assert open_models() == before


def test_box_that_could_not_be_made_goes_without_a_word():
    class Broken(boxes.InteractiveBox):
        def __init__(self):
            raise ArithmeticError("as planned")

    with pytest.raises(ArithmeticError):
        Broken()
    gc.collect()  # pytest fails for what is raised in here


def test_script_that_ends_with_open_boxes_says_nothing():
    """As Python ends, what closing needs is gone, and nothing is left to be closed."""
    script = """
from matplotlib import pyplot as plt
from vaelib import widgets

box = widgets.live(plt.figure(), lambda a: None, alt="", a=(0, 1, 0))
book = widgets.flipbook(lambda size: plt.figure(figsize=(1, 1)), [1, 2], "size")
"""
    run = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"MPLBACKEND": "agg"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


def test_notebook_gets_widget_picture_and_stable_text():
    figure, update = draw()
    live = widgets.live(figure, update, alt="A bell", mu=(-3.0, 3.0, 0.0), n=(1, 9, 2))
    live.controls["n"].value = 9
    data, _ = DisplayFormatter().format(live)
    assert data["text/plain"] == repr(live) == str(live) == "live(mu, n)"
    view = data["application/vnd.jupyter.widget-view+json"]
    assert view["model_id"] == live.model_id
    assert base64.b64decode(data["image/png"]) == live.image.value
    (names,) = (c for c in live.children if isinstance(c, boxes._Names))
    assert names.alt == "A bell"


# Driving the sliders.


def recorder(**controls):
    """A live box, and the list of all that it was set to."""
    calls = []
    live = widgets.live(
        plt.figure(figsize=(1, 1)), lambda **v: calls.append(v), alt="", **controls
    )
    calls.clear()
    return live, calls


@pytest.mark.parametrize(
    ("control", "visited"),
    [
        ((0, 9, 2), [0, 4, 9, 2]),
        ((-1.0, 2.0, 1.0), [-1, 0.5, 2, 1]),
        ((3, 5, 3), [4, 5, 3]),  # it stands at one of its ends already
        (
            ipywidgets.FloatLogSlider(value=10, min=-2, max=2, description="a"),
            [0.01, 1, 100, 10],
        ),
        (
            ipywidgets.IntRangeSlider(value=(2, 3), max=9, description="a"),
            [(0, 0), (0, 9), (9, 9), (2, 3)],
        ),
        (
            ipywidgets.SelectionSlider(options="wxyz", value="y", description="a"),
            ["w", "x", "z", "y"],
        ),
        (
            ipywidgets.Dropdown(options="wxyz", value="y", description="a"),
            ["w", "x", "z", "y"],
        ),
        (ipywidgets.ToggleButtons(options="wxyz", value="y"), ["w", "x", "z", "y"]),
        (
            ipywidgets.SelectionRangeSlider(options="wxyz", index=(1, 2)),
            [("w", "w"), ("w", "z"), ("z", "z"), ("x", "y")],
        ),
    ],
)
def test_drives_to_both_ends_and_the_middle_and_back(control, visited):
    live, calls = recorder(a=control)
    before = live.image.value
    assert widgets.drive_sliders() == 1
    assert [call["a"] for call in calls] == visited
    assert live.controls["a"].value == visited[-1]
    assert live.image.value == before


def test_drives_all_sliders_of_all_open_boxes():
    _, first = recorder(a=(0, 4, 1), b=(0.0, 1.0, 0.5), on=ipywidgets.Checkbox())
    closed, never = recorder(c=(0, 4, 1))
    _, third = recorder(d=(0, 4, 1))
    closed.close()
    book = widgets.flipbook(
        lambda size: plt.figure(figsize=(1, 1)), [1, 2, 3], "size", start=1
    )
    seen = []
    book.slider.observe(lambda change: seen.append(change.new), "value")
    # Two sliders here, one there, and of the flipbook the slider and the play button.
    assert widgets.drive_sliders() == 5
    assert never == []
    assert {call["a"] for call in first} == {0, 1, 2, 4}
    assert {call["b"] for call in first} == {0, 0.5, 1}
    assert {call["on"] for call in first} == {False}
    assert {call["d"] for call in third} == {0, 1, 2, 4}
    assert seen == [0, 1, 2, 1] and book.slider.value == 1


def test_failure_says_which_slider_stood_where():
    def fail(a, b):
        if b == 4:
            raise ArithmeticError("as planned")

    figure = plt.figure(figsize=(1, 1))
    widgets.live(figure, fail, alt="", a=(0, 9, 0), b=(0, 4, 1))
    with pytest.raises(ArithmeticError, match="as planned") as caught:
        widgets.drive_sliders()
    assert caught.value.__notes__ == ["in live(a, b), at b = 4"]


@pytest.mark.parametrize("mantissa", [1, 1.3, 2, 3, 4, 5, 6, 8, 9.99])
def test_step_is_the_largest_round_one_that_leaves_a_hundred(mantissa):
    round_numbers = [
        float(f"{k}e{p}") for p, k in itertools.product(range(-9, 9), (1, 2, 5))
    ]
    for power in range(-4, 6):
        width = mantissa * 10.0**power
        step = boxes.round_step(-width / 2, width / 2)
        largest = max(s for s in round_numbers if width / s > 100 - 1e-6)
        assert step == pytest.approx(largest, rel=1e-12)


# What the driving is for: through nbval, an error in a callback fails the suite.

DRIVEN = """\
from matplotlib import pyplot as plt
from vaelib import widgets

figure, ax = plt.subplots(figsize=(2, 1))
bars = ax.bar([0], [1])
box = widgets.live(figure, lambda width: bars[0].set_width(width), alt="A bar",
                   width=(1, 9, 5))"""
MISTAKEN = """\
def update(height):
    bars[0].set_height(height)
    if height == 9:
        raise OverflowError("the bar is too high")

box = widgets.live(figure, update, alt="A bar", height=(1, 9, 5))"""
DRIVE = "widgets.drive_sliders()"


def test_error_in_a_callback_fails_the_suite(tmp_path):
    """A notebook stored as it would have run well: of four cells the last must fail."""
    sources = [DRIVEN, DRIVE, MISTAKEN, DRIVE]
    cells = [
        nbformat.v4.new_code_cell(source, execution_count=count)
        for count, source in enumerate(sources, start=1)
    ]
    for cell, answer in ((cells[1], "1"), (cells[3], "2")):
        cell.outputs = [
            nbformat.v4.new_output(
                "execute_result",
                {"text/plain": answer},
                execution_count=cell.execution_count,
            )
        ]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "driven.ipynb")
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    options = ["--nbval", "--nbval-current-env", "-p", "no:cacheprovider", "-v"]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "driven.ipynb"],
        cwd=tmp_path,
        env={name: v for name, v in os.environ.items() if name != "PYTEST_ADDOPTS"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    output = re.sub(r"\x1b\[[\d;]*m", "", run.stdout)
    verdicts = re.findall(r"::Cell (\d) (PASSED|FAILED)", output)
    assert dict(verdicts) == {
        "0": "PASSED", "1": "PASSED", "2": "PASSED", "3": "FAILED"
    }, output  # fmt: skip
    assert run.returncode == 1
    assert "OverflowError: the bar is too high" in output
    assert "in live(height), at height = 9" in output

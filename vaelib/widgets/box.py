"""What all interactive parts share: the picture for readers without widgets, names
for screen readers, and closing, so that a cell that runs again leaks nothing."""

import base64
import io
import math
import sys
import weakref
from pathlib import Path

import anywidget
import ipywidgets
import traitlets
from IPython import get_ipython
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

STATIC = Path(__file__).parents[1] / "static"
SELECTING = (
    ipywidgets.Dropdown,
    ipywidgets.SelectionRangeSlider,
    ipywidgets.SelectionSlider,
    ipywidgets.ToggleButtons,
)
PNG_DPI = 144  # sharp on a projector, and half the bytes of twice a browser's 96

_shown = {}  # id of a notebook cell -> the boxes that its last run made
_open = weakref.WeakSet()  # all boxes that have not been closed


class _Names(anywidget.AnyWidget):
    """Names the handles, buttons and pictures that ipywidgets leaves without one."""

    _esm = STATIC / "names.js"
    alt = traitlets.Unicode().tag(sync=True)  # of the box's <img>, if it has one


class InteractiveBox(ipywidgets.Box):
    """A box of widgets that shows a PNG where no widget can be shown.

    A subclass has `summary`, its short and stable text, and `picture()`, PNG bytes of
    what it shows now; `links` between its parts are closed with it. Of its parts, those
    `lent` by others stay open: pairs of a control and what observes its value so far.
    """

    def __init__(self, summary, children, links=(), lent=(), alt="", **layout):
        self.summary = summary
        self._links, self._lent = list(links), list(lent)
        names = _Names(alt=alt)
        names.layout.display = "none"
        super().__init__([*children, names], layout={"width": "100%"} | layout)
        self.add_class("vaelib")
        _close_with_its_cell(self)
        _open.add(self)

    def picture(self) -> bytes:
        raise NotImplementedError

    def __repr__(self):
        return self.summary

    def _repr_mimebundle_(self, **kwargs):
        # The picture is for readers that show no widgets: GitHub, an untrusted page.
        png = {"image/png": base64.b64encode(self.picture()).decode()}
        return super()._repr_mimebundle_(**kwargs) | png

    def close(self):
        """Close all models of the box, so that neither side of it keeps them."""
        if sys.is_finalizing() or self not in _open:
            return  # Python ends, without what this needs; or there is nothing to do
        _open.discard(self)
        for control, observer in self._lent:
            control.unobserve(observer, "value")
        but = [control for control, _ in self._lent]
        for part in (*self._links, *_descendants(self, but), self):
            for own in part.trait_values().values():  # its layout and style
                if isinstance(own, ipywidgets.Widget):
                    own.close()
            ipywidgets.Widget.close(part)


def _descendants(box, but=()):
    """All widgets below a box, whatever boxes they lie in, but those and theirs."""
    for child in box.children:
        if child in but:
            continue
        if isinstance(child, ipywidgets.Box):
            yield from _descendants(child, but)
        yield child


def render_png(figure: Figure, dpi: float = PNG_DPI, **pil_kwargs) -> bytes:
    """A figure as PNG bytes, at its full size."""
    png, before = io.BytesIO(), figure.dpi
    is_agg = isinstance(figure.canvas, FigureCanvasAgg)
    canvas = figure.canvas if is_agg else FigureCanvasAgg(figure)
    figure.set_dpi(dpi)
    try:
        # savefig would draw a figure with a layout engine twice, and crop it where
        # rcParams say "tight", so that the frames of a flipbook would jump.
        canvas.print_png(png, pil_kwargs=pil_kwargs)
    finally:
        figure.set_dpi(before)
    return png.getvalue()


def round_step(low: float, high: float) -> float:
    """The largest of 1, 2 and 5 times a power of ten that leaves 100 steps or more."""
    power = 10.0 ** math.floor(math.log10((high - low) / 100))
    return next(k * power for k in (5, 2, 1) if (high - low) / (k * power) > 99.99)


def drive_sliders() -> int:
    """Move every slider of this notebook to both ends and the middle, then back.

    Menus go through their first, middle and last choice, and buttons of `live` are
    pressed. Returns how many sliders and menus there are. Raises what a callback
    raises, with a note that says what stood where: this is how the tests hear of it.
    """
    driven = 0
    for box in sorted(_open, key=repr):
        for slider in _descendants(box):
            if isinstance(slider, SELECTING):
                _drive(box, slider, "index", 0, len(slider.options) - 1)
            elif all(hasattr(slider, name) for name in ("min", "max", "step", "value")):
                _drive(box, slider, "value", slider.min, slider.max)
            else:
                continue
            driven += 1
        for text in getattr(box, "actions", ()):
            _press(box, text)
    return driven


def _press(box, text):
    before = box.values
    try:
        box.press(text)
        for name, value in before.items():
            box.controls[name].value = value
    except Exception as error:
        error.add_note(f"in {box!r}, after {text}")
        raise


def _drive(box, slider, trait, low, high):
    start, middle = getattr(slider, trait), type(low)((low + high) / 2)
    positions = [low, middle, high]
    if isinstance(slider, ipywidgets.FloatLogSlider):  # its ends are exponents
        positions = [slider.base**exponent for exponent in positions]
    elif isinstance(start, tuple):  # of a slider with two handles
        positions = [(low, low), (low, high), (high, high)]
    for position in (*positions, start):
        try:
            setattr(slider, trait, position)
        except Exception as error:
            error.add_note(f"in {box!r}, at {slider.description} = {slider.value}")
            raise


def _close_with_its_cell(box):
    """Note the box down, to be closed when its notebook cell runs again."""
    shell = get_ipython()
    request = shell.get_parent() if hasattr(shell, "get_parent") else {}
    cell = request.get("metadata", {}).get("cellId")  # sent by JupyterLab
    if cell is not None:
        _shown.setdefault(cell, []).append(box)


def _close_earlier_run(info):
    for box in _shown.pop(info.cell_id, []):
        box.close()


if get_ipython() is not None:
    get_ipython().events.register("pre_run_cell", _close_earlier_run)

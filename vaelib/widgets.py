"""The interactive parts of the course; moving them needs no kernel, only the browser.

Each is an ipywidgets box. Joined by `jslink`, its parts talk to one another in the
browser, so that they answer at once, on a slow link, with the kernel dead, or on a
static page.
"""

import base64
import io
import pathlib

import anywidget
import ipywidgets
import traitlets
from IPython import get_ipython
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

CSS_DPI = 96  # a browser's inch, so that a 10-point font is 10 points on the page
PNG_DPI = 144  # sharp on a projector, and half the bytes of twice CSS_DPI
PLAY_INTERVAL = 400  # milliseconds a frame

_shown = {}  # id of a notebook cell -> the boxes that its last run made


class _Frames(anywidget.AnyWidget):
    """The pictures and their labels, of which the browser shows number `index`."""

    _esm = pathlib.Path(__file__).parent / "static" / "flipbook.js"
    frames = traitlets.List(traitlets.Bytes()).tag(sync=True)
    labels = traitlets.List(traitlets.Unicode()).tag(sync=True)
    size = traitlets.Tuple(traitlets.Int(), traitlets.Int()).tag(sync=True)
    alt = traitlets.Unicode().tag(sync=True)
    index = traitlets.Int().tag(sync=True)


class Flipbook(ipywidgets.Box):
    """A play button, a slider and the frames they turn; made by `flipbook`."""

    def __init__(self, frames, description):
        self.frames = frames
        ends = {"value": frames.index, "min": 0, "max": len(frames.frames) - 1}
        self.slider = ipywidgets.IntSlider(
            **ends,
            description=description,
            tooltip=description,
            readout=False,  # flipbook.js writes the label instead
            style={"description_width": "initial"},
            layout={"width": "auto", "max_width": "26em", "flex": "1 1 16em"},
        )
        self.play = ipywidgets.Play(
            **ends, interval=PLAY_INTERVAL, show_repeat=False, layout={"width": "72px"}
        )
        self._links = [
            ipywidgets.jslink((self.slider, "value"), (frames, "index")),
            ipywidgets.jslink((self.play, "value"), (self.slider, "value")),
        ]
        # One row that wraps: controls, then the label and, below them, the picture,
        # which flipbook.js makes; "contents" lets the two be items of this row.
        frames.layout.display = "contents"
        row = {"flex_flow": "row wrap", "align_items": "center", "width": "100%"}
        super().__init__([self.play, self.slider, frames], layout=row)

    def __repr__(self):
        return f"flipbook({self.slider.description}, {len(self.frames.frames)} frames)"

    def _repr_mimebundle_(self, **kwargs):
        # The picture is for readers that show no widgets: GitHub, an untrusted page.
        png = self.frames.frames[self.frames.index]
        picture = {"image/png": base64.b64encode(png).decode()}
        return super()._repr_mimebundle_(**kwargs) | picture

    def close(self):
        """Close all models of the flipbook, so that neither side keeps the frames."""
        for part in (*self._links, *self.children, self):
            for own in part.trait_values().values():  # its layout and style
                if isinstance(own, ipywidgets.Widget):
                    own.close()
            ipywidgets.Widget.close(part)


def flipbook(draw, values, description, *, label=str, start=0, alt=None):
    """Draw a figure for every value now, and show a slider that flips through them.

    draw: function of one value that returns a matplotlib Figure, always of one size;
        drawn as it is, uncropped: layout="constrained" keeps labels from its edges.
    values: two or more of them, in the order of the slider.
    description: what the slider changes, written beside it.
    label: writes a value; a function, or a format string such as "sigma = {:.2f}".
    start: index of the frame shown first.
    alt: what the picture shows, for those who cannot see it; the description if None.

    Returns a box with .slider, .play and .frames, and close(); running its notebook
    cell again closes it. Raises TypeError if draw or label is of the wrong kind, or
    draw returns no Figure; ValueError if values, labels, start or sizes do not do.
    """
    values = list(values)
    if not callable(draw):
        raise TypeError(f"draw must be a function of one value, not {draw!r}")
    if len(values) < 2:
        raise ValueError("values must be two or more: a slider over fewer cannot move")
    if start not in range(len(values)):
        raise ValueError(f"start must be in 0 ... {len(values) - 1}, not {start!r}")
    labels = _write_labels(label, values)
    pages = [_render(draw, value) for value in values]
    sizes = {size for _, size in pages}
    if len(sizes) > 1:
        raise ValueError(f"draw must always use one figsize; it used {len(sizes)}")
    frames = _Frames(
        frames=[png for png, _ in pages],
        labels=labels,
        size=sizes.pop(),
        alt=alt or description,
        index=start,
    )
    return _closed_on_rerun(Flipbook(frames, description))


def _write_labels(label, values):
    write = label.format if isinstance(label, str) else label
    if not callable(write):
        raise TypeError(f"label must be a format string or a function, not {label!r}")
    try:
        labels = [str(write(value)) for value in values]
    except Exception as error:
        raise ValueError(
            f"label {label!r} cannot write these values ({error}): "
            "give a format string such as '{:.2f}', or a function"
        ) from error
    if len(set(labels)) < len(labels):
        raise ValueError(f"label {label!r} writes two values alike: show more digits")
    return labels


def _render(draw, value):
    """Return draw(value) as PNG bytes, and its (width, height) in CSS pixels."""
    open_before = plt.get_fignums()
    try:
        figure = draw(value)
        if not isinstance(figure, Figure):
            raise TypeError(
                f"draw({value!r}) returned {type(figure).__name__}: "
                "end draw with `return figure`, the matplotlib Figure"
            )
        png = io.BytesIO()
        with plt.rc_context({"savefig.bbox": "standard"}):  # "tight" would make it jump
            figure.savefig(png, format="png", dpi=PNG_DPI)
        size = tuple(round(CSS_DPI * inches) for inches in figure.get_size_inches())
        return png.getvalue(), size
    finally:  # also when draw fails; figures of the caller's own stay open
        for number in set(plt.get_fignums()) - set(open_before):
            plt.close(number)


def _closed_on_rerun(box):
    """Return `box`, noted down to be closed when its notebook cell runs again."""
    shell = get_ipython()
    request = shell.get_parent() if hasattr(shell, "get_parent") else {}
    cell = request.get("metadata", {}).get("cellId")  # sent by JupyterLab
    if cell is not None:
        _shown.setdefault(cell, []).append(box)
    return box


def _close_earlier_run(info):
    for box in _shown.pop(info.cell_id, []):
        box.close()


if get_ipython() is not None:
    get_ipython().events.register("pre_run_cell", _close_earlier_run)

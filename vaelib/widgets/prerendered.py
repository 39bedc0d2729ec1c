"""A slider over pictures made beforehand, for demonstrations with one parameter."""

import anywidget
import ipywidgets
import traitlets
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from vaelib.widgets.box import STATIC, InteractiveBox, render_png

CSS_DPI = 96  # a browser's inch, so that a 10-point font is 10 points on the page
PLAY_INTERVAL = 400  # milliseconds a frame


class _Frames(anywidget.AnyWidget):
    """The pictures and their labels, of which the browser shows number `index`."""

    _esm = STATIC / "flipbook.js"
    frames = traitlets.List(traitlets.Bytes()).tag(sync=True)
    labels = traitlets.List(traitlets.Unicode()).tag(sync=True)
    size = traitlets.Tuple(traitlets.Int(), traitlets.Int()).tag(sync=True)
    alt = traitlets.Unicode().tag(sync=True)
    index = traitlets.Int().tag(sync=True)


class Flipbook(InteractiveBox):
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
        links = [
            ipywidgets.jslink((self.slider, "value"), (frames, "index")),
            ipywidgets.jslink((self.play, "value"), (self.slider, "value")),
        ]
        # One row that wraps: controls, then the label and, below them, the picture,
        # which flipbook.js makes; "contents" lets the two be items of this row.
        frames.layout.display = "contents"
        super().__init__(
            f"flipbook({description}, {len(frames.frames)} frames)",
            [self.play, self.slider, frames],
            links,
            flex_flow="row wrap",
            align_items="center",
        )

    def picture(self):
        return self.frames.frames[self.frames.index]


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
    return Flipbook(frames, description)


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
        size = tuple(round(CSS_DPI * inches) for inches in figure.get_size_inches())
        return render_png(figure), size
    finally:  # also when draw fails; figures of the caller's own stay open
        for number in set(plt.get_fignums()) - set(open_before):
            plt.close(number)

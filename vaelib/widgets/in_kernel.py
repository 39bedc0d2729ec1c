"""Several sliders over one figure, whose artists the kernel updates in place."""

import html
import inspect

import ipywidgets
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from vaelib.widgets.box import InteractiveBox, render_png, round_step

LIVE_DPI = 96  # a browser's: fewer pixels to compress at every change
# zlib's lightest level: half the time of matplotlib's choice, for a third more bytes.
QUICK = {"dpi": LIVE_DPI, "pil_kwargs": {"compress_level": 1}}


class Live(InteractiveBox):
    """Controls, the picture that they change, and what went wrong; made by `live`."""

    def __init__(self, figure, update, controls, alt):
        self.figure, self.update, self.controls = figure, update, controls
        self.image = ipywidgets.Image(
            format="png",
            layout={"max_width": "100%", "height": "auto", "object_fit": "contain"},
        )
        self.message = ipywidgets.HTML().add_class("vaelib-alert")
        row = ipywidgets.Box(
            list(controls.values()), layout={"flex_flow": "row wrap", "width": "100%"}
        )
        super().__init__(
            f"live({', '.join(controls)})",
            [row, self.message, self.image],
            alt=alt,
            flex_flow="column",
            align_items="flex-start",
        )
        self._draw()
        figure.set_layout_engine("none")  # axes stay put, and drawing is quicker
        for control in controls.values():
            control.observe(self._redraw, "value")

    def _draw(self):
        self.update(**{name: control.value for name, control in self.controls.items()})
        self.image.value = render_png(self.figure, **QUICK)

    def _redraw(self, change):
        try:
            self._draw()
        except Exception as error:
            # From the browser nobody sees what is raised here, so it is shown as well.
            name = html.escape(f"{type(error).__name__}: {error}")
            where = f"at {change.owner.description} = {change.new}"
            self.message.value = f"<b>{name}</b><br>{html.escape(where)}"
            raise
        self.message.value = ""

    def picture(self):
        return self.image.value


def live(figure, update, *, alt, **controls):
    """Show sliders over a figure that `update` changes at every move.

    figure: a matplotlib Figure, drawn once; it keeps its layout from then on.
    update: function of the values of all controls, by name, that changes the figure's
        artists (`line.set_data` and the like); what it raises is shown in the box.
    alt: what the picture shows, for those who cannot see it.
    controls: for each argument of `update` a slider as (low, high, start), of whole
        numbers if all three are, else in 100 steps or more; or any ipywidgets control.

    Returns a box with .controls, a dict by name, and .image; running its notebook cell
    again closes it. Needs the kernel. Raises TypeError or ValueError for a figure or
    controls that do not do, and, already here, whatever `update` raises at the start.
    """
    if not isinstance(figure, Figure):
        raise TypeError(f"figure must be a matplotlib Figure, not {figure!r}")
    if not callable(update):
        raise TypeError(f"update must be a function, not {update!r}")
    if not controls:
        raise ValueError("give at least one control, such as mu=(-3.0, 3.0, 0.0)")
    try:
        inspect.signature(update).bind(**controls)
    except TypeError as error:
        raise TypeError(
            f"update must take just the controls {', '.join(controls)}: {error}"
        ) from None
    for name, spec in controls.items():
        _check_control(name, spec)
    update(**{name: _start(spec) for name, spec in controls.items()})  # may it fail now
    plt.close(figure)  # shown in the box, not a second time under the cell
    made = {name: _make_control(name, spec) for name, spec in controls.items()}
    return Live(figure, update, made, alt)


def _is_control(spec):
    return isinstance(spec, ipywidgets.Widget) and spec.has_trait("value")


def _start(spec):
    return spec.value if _is_control(spec) else spec[2]


def _check_control(name, spec):
    try:
        low, high, start = (0, 1, 0) if _is_control(spec) else spec
        proper = low < high and low <= start <= high
    except (TypeError, ValueError):
        proper = False
    if not proper:
        raise ValueError(
            f"{name}={spec!r} is no control: give (low, high, start), low <= start <= "
            "high and low < high, or an ipywidgets control"
        )


def _make_control(name, spec):
    if _is_control(spec):
        return spec
    low, high, start = spec
    whole = all(isinstance(number, int) for number in spec)
    kind = ipywidgets.IntSlider if whole else ipywidgets.FloatSlider
    return kind(
        min=low,
        max=high,
        value=start,
        step=1 if whole else round_step(low, high),
        description=name,
        style={"description_width": "initial"},
        layout={"flex": "1 1 18em", "max_width": "26em"},
    )

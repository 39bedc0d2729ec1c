"""Several sliders over one figure, whose artists the kernel updates in place."""

import contextlib
import functools
import html
import inspect
import math
import numbers
import threading

import ipywidgets
import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from vaelib.widgets.box import InteractiveBox, render_png, round_step

LIVE_DPI = 96  # a browser's: fewer pixels to compress at every change
# zlib's lightest level: half the time of matplotlib's choice, for a third more bytes.
QUICK = {"dpi": LIVE_DPI, "compress_level": 1}


class Live(InteractiveBox):
    """Controls, the picture that they change, and what went wrong; made by `live`.

    JupyterLab moves them in a thread of its own, while cells run in another.
    """

    def __init__(self, figure, update, controls, lent, actions, alt, png):
        self.figure, self.update, self.controls = figure, update, controls
        self.actions, self._playing = actions, False
        self._lock = threading.RLock()  # held by the thread that draws
        self._with_grad = torch.is_grad_enabled()  # else each thread has its own
        self.image = ipywidgets.Image(
            value=png,
            format="png",
            layout={"max_width": "100%", "height": "auto", "object_fit": "contain"},
        )
        self.message = ipywidgets.HTML().add_class("vaelib-alert")
        row = ipywidgets.Box(
            [*controls.values(), *map(self._make_button, actions)],
            layout={"flex_flow": "row wrap", "width": "100%"},
        )
        redraws = {name: functools.partial(self._redraw, name) for name in controls}
        super().__init__(
            f"live({', '.join(controls)})",
            [row, self.message, self.image],
            lent=[(controls[name], redraws[name]) for name in lent],
            alt=alt,
            flex_flow="column",
            align_items="flex-start",
        )
        for name, control in controls.items():
            control.observe(redraws[name], "value")

    @property
    def values(self):
        """What all controls say, by name."""
        return {name: control.value for name, control in self.controls.items()}

    def press(self, text):
        """Do what the button with this text does; raises what its function raises."""
        with self._at_work(f"after {text}"):
            self._playing = True  # one picture a step, however many controls it moves
            try:
                for moved in self.actions[text](**self.values):
                    for name, value in moved.items():
                        control = self.controls[name]
                        control.value = _at_a_step(control, value)
                    self.image.value = _draw(self.figure, self.update, self.values)
            finally:
                self._playing = False

    def _make_button(self, text):
        button = ipywidgets.Button(description=text, layout={"width": "auto"})
        button.on_click(lambda _: self.press(text))
        return button

    def _redraw(self, moved, change):
        with self._lock:
            if not self._playing:
                with self._at_work(f"at {moved} = {change.new}"):
                    self.image.value = _draw(self.figure, self.update, self.values)

    @contextlib.contextmanager
    def _at_work(self, where):
        """One thread at a time, each with gradients as where the box was made.

        Show the learner what is raised: in the browser nobody would see it.
        """
        with self._lock, torch.set_grad_enabled(self._with_grad):
            try:
                yield
            except Exception as error:
                name = html.escape(f"{type(error).__name__}: {error}")
                self.message.value = f"<b>{name}</b><br>{html.escape(where)}"
                raise
            self.message.value = ""

    def picture(self):
        return self.image.value


def _at_a_step(control, value):
    """The value nearest to this one that the slider can stand at in the browser.

    From any other, the browser would move it there by itself, and tell the kernel so
    after the animation, whose last step would be lost.
    """
    if not isinstance(control, ipywidgets.FloatSlider):
        return value
    return control.min + control.step * round((value - control.min) / control.step)


def live(figure, update, *, alt, actions=None, **controls):
    """Show sliders over a figure that `update` changes at every move.

    figure: a matplotlib Figure, drawn once; it keeps its layout from then on.
    update: function of the values of all controls, by name, that changes the figure's
        artists (`line.set_data` and the like); what it raises is shown in the box.
    alt: what the picture shows, for those who cannot see it.
    actions: buttons, by their text: a function of the values of all controls, by name,
        that yields a dict of new values for each step of an animation.
    controls: for each argument of `update` a slider as (low, high, start), of whole
        numbers if all three are, else in 100 steps or more; or any ipywidgets control,
        which stays open when the box is closed.

    Returns a box with .controls, a dict by name, .press(text), and .image; running its
    notebook cell again closes it. Needs the kernel. Raises TypeError or ValueError for
    arguments that do not do, and, already here, whatever `update` raises at the start.
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
    for text, steps in (actions or {}).items():
        if not callable(steps):
            raise TypeError(f"actions[{text!r}] must be a function, not {steps!r}")
    starts = {name: _start(spec) for name, spec in controls.items()}
    figure.set_dpi(LIVE_DPI)  # for good: at each change of it all is laid out anew
    png = _draw(figure, update, starts)  # first: should it fail, nothing is left open
    figure.set_layout_engine("none")  # axes stay put, and drawing is quicker
    plt.close(figure)  # shown in the box, not a second time under the cell
    made = {name: _make_control(name, spec) for name, spec in controls.items()}
    lent = [name for name, spec in controls.items() if _is_control(spec)]
    return Live(figure, update, made, lent, actions or {}, alt, png)


def _draw(figure, update, values):
    update(**values)
    return render_png(figure, **QUICK)


def _is_control(spec):
    return isinstance(spec, ipywidgets.Widget) and spec.has_trait("value")


def _is_whole(spec):
    return all(isinstance(number, numbers.Integral) for number in spec)


def _start(spec):
    if _is_control(spec):
        return spec.value
    return spec[2] if _is_whole(spec) else float(spec[2])  # as the slider gives it


def _check_control(name, spec):
    try:
        low, high, start = (0, 1, 0) if _is_control(spec) else spec
        proper = low < high and -math.inf < low <= start <= high < math.inf
    except (TypeError, ValueError):
        proper = False
    if not proper:
        raise ValueError(
            f"{name}={spec!r} is no control: give (low, high, start), low <= start <= "
            "high and low < high, all finite, or an ipywidgets control"
        )


def _make_control(name, spec):
    if _is_control(spec):
        if spec.has_trait("description") and not spec.description:
            spec.description = name  # for screen readers too
        return spec
    low, high, start = spec
    whole = _is_whole(spec)
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

"""The interactive parts of the course, each an ipywidgets box with sliders.

`flipbook`, `latent_sliders`, `latent_map` and `drawing_pad` answer in the browser, at
once, on a slow link, with the kernel dead, or on a static page. `live` asks the kernel.
"""

from vaelib.widgets.box import drive_sliders
from vaelib.widgets.in_browser import drawing_pad, latent_map, latent_sliders
from vaelib.widgets.in_kernel import live
from vaelib.widgets.prerendered import flipbook

__all__ = [
    "drawing_pad",
    "drive_sliders",
    "flipbook",
    "latent_map",
    "latent_sliders",
    "live",
]

"""The library behind the notebooks: thin; from data to figures it is an evening's read.

The modules build on each other in this order, and import only upwards:
cat_drawing, data, objectives, gradients, disentanglement, models, training, figures,
widgets, checks, pages.
"""

import importlib

__version__ = "0.1.0"
__all__ = [
    "checks",
    "data",
    "disentanglement",
    "figures",
    "gradients",
    "models",
    "objectives",
    "pages",
    "training",
    "widgets",
]


def __getattr__(name):
    """Import a module when it is first used, so that `import vaelib` stays cheap."""
    if name in __all__:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

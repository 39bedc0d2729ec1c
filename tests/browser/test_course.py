"""Every slider of the course that needs no kernel, moved by keyboard, in three places.

Each notebook is run once, in JupyterLab: its sliders are moved there with the kernel
and again without, and then on the page that is made of the very same run. What should
be seen is computed here, in NumPy, from what the widgets sent to the browser. Figures
that need the kernel must follow their sliders and buttons, and raise nothing.
"""

import base64
import functools
import json
import re
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import expect

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PATIENCE = 180_000  # milliseconds for a whole notebook on a busy machine
SETTINGS = {  # all cells on the page at once, and widgets saved with the notebook
    "@jupyterlab/notebook-extension/tracker": {"windowingMode": "none"},
    "@jupyter-widgets/jupyterlab-manager/plugin": {"saveState": True},
}
STATE = "application/vnd.jupyter.widget-state+json"
VIEW = "application/vnd.jupyter.widget-view+json"
GREY = """canvas => {
    const { data } = canvas.getContext("2d").getImageData(0, 0, 28, 28);
    return [...data].filter((_, i) => i % 4 === 0);
}"""
LOADED_BYTES = """async image => {
    const bytes = new Uint8Array(await (await fetch(image.src)).arrayBuffer());
    return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
}"""
TURN_TO = """box => {
    if (!window.Reveal) return; // no slides
    const slide = box.closest("section section") ?? box.closest("section");
    const { h, v } = Reveal.getIndices(slide);
    Reveal.slide(h, v);
}"""
OVERHANG = """[...document.querySelectorAll(".vaelib, .vaelib *")].filter((part) =>
    part.getBoundingClientRect().right
    > part.closest("main").getBoundingClientRect().right + 1).length"""
HEIGHTS = """[0, 1].map((v) => {
    Reveal.slide(0, v);
    const slide = Reveal.getCurrentSlide();
    return slide.scrollHeight / slide.clientHeight;
})"""
KEYS = "End", "ArrowLeft", "Home", "ArrowRight"
ACTIVATIONS = {
    "identity": lambda a: a,
    "relu": lambda a: np.maximum(a, 0),
    "silu": lambda a: a / (1 + np.exp(-a)),
    "tanh": np.tanh,
    "sigmoid": lambda a: 1 / (1 + np.exp(-a)),
}


class Saved:
    """The widgets that a notebook was saved with, as Python sees them."""

    def __init__(self, path):
        self.notebook = json.loads(path.read_text(encoding="utf-8"))
        self.models = self.notebook["metadata"]["widgets"][STATE]["state"]
        for model in self.models.values():
            for buffer in model.get("buffers", []):
                *above, last = buffer["path"]
                place = model["state"]
                for key in above:
                    place = place[key]
                place[last] = base64.b64decode(buffer["data"])

    def views(self):
        """Yield for each box of vaelib its models' states, in the notebook's order."""
        for cell in self.notebook["cells"]:
            for output in cell.get("outputs", []):
                if VIEW in output.get("data", {}):
                    yield list(self.below(output["data"][VIEW]["model_id"]))

    def below(self, name):
        """Yield the states of a model and of all its children."""
        state = self.models[name]["state"]
        yield state
        for child in state.get("children", []):
            yield from self.below(child.removeprefix("IPY_MODEL_"))


def evaluate(network, x):
    """What a network packed for the browser makes of x."""
    weights = np.frombuffer(network["weights"], "<f2").astype(float)
    biases = np.frombuffer(network["biases"], "<f4").astype(float)
    for inputs, outputs, activation in network["layers"]:
        weight, weights = np.split(weights, [inputs * outputs])
        bias, biases = np.split(biases, [outputs])
        x = ACTIVATIONS[activation](weight.reshape(outputs, inputs) @ x + bias)
    return x


def picture(network, code):
    """The grey values that should stand on the screen for a code."""
    return 255 * evaluate(network, np.array(code)).clip(0, 1)


# For each kind: the keys to press, and what is seen after each.


def move_latents(page, box):
    box.get_by_role("button", name="Reset").press("Enter")
    more = box.get_by_role("button", name=re.compile("more latent"))
    if more.count():
        more.press("Enter")
    canvas = box.locator("canvas").first.element_handle()
    for slider in box.locator(".noUi-handle").element_handles():
        for key in "End", "ArrowLeft":
            slider.press(key)
            yield canvas.evaluate(GREY)
    fewer = box.get_by_role("button", name="Fewer latents")
    if fewer.count():
        fewer.press("Enter")


def expect_latents(view):
    code = np.zeros(len(view["names"]))
    for rank in range(len(code)):
        for value in view["extent"], view["extent"] - view["step"]:
            code[rank] = value
            yield picture(view["decoder"], code)


MAP_KEYS = {
    "Home": (0, 0),
    "ArrowRight": (1, 0),
    "ArrowUp": (1, 1),
    "Shift+ArrowLeft": (-4, 1),
    "ArrowDown": (-4, 0),
}


def move_map(page, box):
    plane, picture = (box.get_by_role(r).bounding_box() for r in ("application", "img"))
    assert picture["x"] > plane["x"] + plane["width"]  # to be seen while one points
    for key in MAP_KEYS:
        box.get_by_role("application").press(key)
        yield box.get_by_role("img").evaluate(GREY)


def expect_map(view):
    for steps in MAP_KEYS.values():
        yield picture(view["decoder"], np.array(steps) * view["extent"] / 50)


def move_pad(page, box):
    for number in 1, 2:
        box.get_by_role("button", name=f"start from image {number}", exact=True).press(
            "Enter"
        )
        yield box.get_by_role("img", name="What the encoder sees").evaluate(GREY)
        yield box.get_by_role("img", name="Decoded from mu").evaluate(GREY)


def expect_pad(view):
    images = np.frombuffer(view["examples"], np.uint8).reshape(-1, 784)
    for image in images[:2]:
        yield image
        mu, _ = np.split(evaluate(view["encoder"], image / 255), 2)
        yield picture(view["decoder"], mu)


def move_frames(page, box):
    for key in "Home", "ArrowRight", "End":
        box.get_by_role("slider").press(key)
        yield list(base64.b64decode(box.get_by_role("img").evaluate(LOADED_BYTES)))


def expect_frames(view):
    for index in 0, 1, -1:
        yield list(view["frames"][index])


KINDS = {  # the trait that only one kind of view has
    "names": (move_latents, expect_latents),
    "tiles": (move_map, expect_map),
    "encoder": (move_pad, expect_pad),
    "frames": (move_frames, expect_frames),
}


def kind_of(models):
    """Return the kind of a box and the state of its view; None twice if it is live."""
    for state in models:
        for kind in KINDS:
            if kind in state and state.get("_model_module") == "anywidget":
                return kind, state
    return None, None


def check_all(page, saved):
    """Move everything in the page that needs no kernel, and compare what is seen."""
    boxes, moved = page.locator(".vaelib"), 0
    views = list(saved.views())
    expect(boxes).to_have_count(len(views))
    for number, models in enumerate(views):
        kind, view = kind_of(models)
        if kind is None:
            continue
        move, expected = KINDS[kind]
        boxes.nth(number).evaluate(TURN_TO)
        before = None
        wanted = list(expected(view))
        for seen, want in zip(move(page, boxes.nth(number)), wanted, strict=True):
            assert np.shape(seen) == np.shape(want), (number, kind)
            assert np.abs(np.subtract(seen, want)).max() <= 1, (number, kind)
            moved += before is not None and seen != before
            before = seen
        assert moved, f"nothing moved in box {number}"
    return moved


def has_changed(picture, alert, before, patience=3):
    """Wait until a picture is another one; return whether it is. No alert till then."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        assert alert.inner_text() == ""
        if picture.evaluate(LOADED_BYTES) != before:
            return True
        time.sleep(0.02)
    return False


def check_live(page):
    """Move and press all that asks the kernel.

    It answers in a thread other than that of the cells: always but the first time.
    """
    for box in page.locator(".vaelib", has=page.locator(".vaelib-alert")).all():
        picture, alert = box.locator("img.widget-image"), box.get_by_role("alert")
        moved = 0
        for handle in box.locator(".noUi-handle").all():
            for key in KEYS:
                before = picture.evaluate(LOADED_BYTES)
                handle.press(key)
                moved += has_changed(picture, alert, before)
        assert moved, "no slider changes the picture"
        for button in box.get_by_role("button").all():
            before = picture.evaluate(LOADED_BYTES)
            button.press("Enter")
            assert has_changed(picture, alert, before, 10), button.inner_text()
            while has_changed(picture, alert, picture.evaluate(LOADED_BYTES), 1):
                pass  # until the animation has ended


@pytest.fixture(scope="session")
def saved_notebooks(tmp_path_factory):
    """The folder of the notebooks as JupyterLab saves them, widgets and all."""
    course = tmp_path_factory.mktemp("saved")
    shutil.copytree(ROOT / "imgs", course / "imgs")
    (course / "notebooks").mkdir()
    return course / "notebooks"


@pytest.fixture(scope="session")
def page_of(saved_notebooks, build_pages):
    """A function that makes pages of a saved notebook, once, and returns the folder."""
    return functools.cache(lambda name: build_pages([saved_notebooks / name]))


@pytest.fixture
def settled(jupyterlab):
    """JupyterLab with SETTINGS, and its kernels shut down at the end."""
    files = []
    for name, settings in SETTINGS.items():
        file = jupyterlab.root.parent / "settings" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(settings))
        files.append(file)
    yield jupyterlab
    jupyterlab.shut_down_kernels()
    for file in files:
        file.unlink()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_in_jupyterlab(path, settled, page, saved_notebooks):
    course = settled.root / "course"
    shutil.copytree(ROOT / "imgs", course / "imgs", dirs_exist_ok=True)
    (course / "notebooks").mkdir(exist_ok=True)
    target = Path(shutil.copy(path, course / "notebooks"))
    page.goto(
        f"{settled.url}/lab/workspaces/test/tree/course/notebooks/{path.name}?reset"
    )
    idle = page.get_by_text("Python 3 (ipykernel) | Idle")
    expect(idle).to_be_visible(timeout=PATIENCE)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    expect(page.get_by_text("[*]:").first).to_be_attached()
    expect(page.get_by_text("[*]:")).to_have_count(0, timeout=PATIENCE)
    expect(idle).to_be_visible(timeout=PATIENCE)
    page.keyboard.press("Control+s")
    expect(page.locator(".jp-mod-dirty")).to_have_count(0)
    shutil.copy(target, saved_notebooks)
    saved = Saved(target)

    with_kernel = check_all(page, saved)
    check_live(page)
    page.get_by_role("menuitem", name="Kernel", exact=True).click()
    page.get_by_role("menuitem", name="Shut Down Kernel", exact=True).click()
    expect(page.get_by_text("No Kernel", exact=True)).to_be_visible()
    assert settled.request("GET", "kernels") == []
    assert check_all(page, saved) == with_kernel


@pytest.mark.parametrize("form", ["notebooks", "slides"])
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_on_pages_and_slides(path, form, visit, page, page_of, saved_notebooks):
    copy = saved_notebooks / path.name
    if not copy.exists():  # when only this test is asked for
        pytest.skip("needs the notebook that test_in_jupyterlab saves")
    visit(page_of(path.name), f"{form}/{path.stem}.html")
    assert check_all(page, Saved(copy))
    if form == "slides":  # what begins a lecture needs no scrolling
        page.set_viewport_size({"width": 1280, "height": 720})
        assert max(page.evaluate(HEIGHTS)) <= 1
    else:
        page.set_viewport_size({"width": 390, "height": 800})
        assert page.evaluate(OVERHANG) == 0

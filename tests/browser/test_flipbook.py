"""The flipbook in a real JupyterLab: keys turn the pages, with and without kernel."""

import io

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

SHADES = [0.0, 0.25, 0.5, 0.75, 1.0]
START = 2
IMPORT_AND_DRAW = """\
import ipywidgets
from matplotlib import pyplot as plt
from vaelib.widgets import flipbook

def draw(shade):
    return plt.figure(figsize=(4, 2), facecolor=(shade, 0.5, 1 - shade))"""
SHOW = f"flipbook(draw, {SHADES}, 'shade', label='shade = {{:.2f}}', start={START})"
COUNT_MODELS = "print(len(ipywidgets.widgets.widget._instances), 'models')"

PATIENCE = 30_000  # milliseconds until a busy machine has run a cell


def colour_shown(picture):
    """Return what stands on the screen in the middle of the picture, as RGB."""
    screen = Image.open(io.BytesIO(picture.screenshot())).convert("RGB")
    return screen.getpixel((screen.width // 2, screen.height // 2))


def expect_frame(page, index):
    """Check label, alternative text and pixels against what was drawn."""
    shade = SHADES[index]
    picture = page.locator(".jp-OutputArea [role=img]")
    expect(page.get_by_role("status")).to_have_text(f"shade = {shade:.2f}")
    expect(picture).to_have_attribute("aria-label", f"shade: shade = {shade:.2f}")
    drawn = np.array([shade, 0.5, 1 - shade]) * 255
    assert colour_shown(picture) == pytest.approx(drawn, abs=1)


def press_and_expect(page, steps):
    """Check, for each key and index, that the key turns to the frame of that index."""
    for key, index in steps:
        page.keyboard.press(key)
        expect_frame(page, index)


def test_keys_turn_the_pages_with_and_without_kernel(run_notebook, jupyterlab, page):
    run_notebook(IMPORT_AND_DRAW, SHOW)
    play, slider = page.locator(".widget-play button").first, page.get_by_role("slider")
    expect(play).to_be_visible(timeout=PATIENCE)
    expect(page.locator(".widget-slider label")).to_have_text("shade")
    expect_frame(page, START)

    play.focus()
    page.keyboard.press("Tab")  # to the stop button
    page.keyboard.press("Tab")
    expect(slider).to_be_focused()
    press_and_expect(page, [("ArrowRight", 3), ("End", 4), ("Home", 0)])

    page.get_by_role("menuitem", name="Kernel", exact=True).click()
    page.get_by_role("menuitem", name="Shut Down Kernel", exact=True).click()
    expect(page.get_by_text("No Kernel", exact=True)).to_be_visible()
    assert jupyterlab.request("GET", "kernels") == []
    slider.focus()
    press_and_expect(page, [("End", 4), ("ArrowLeft", 3), ("Home", 0)])
    play.focus()
    page.keyboard.press("Space")
    expect_frame(page, 4)  # after all those between


def test_running_a_cell_again_closes_what_it_made(run_notebook, page):
    run_notebook(IMPORT_AND_DRAW, SHOW, COUNT_MODELS)
    counted = page.locator(".jp-OutputArea-output", has_text="models")
    expect(counted).to_be_visible(timeout=PATIENCE)
    before = counted.inner_text()

    page.locator(".jp-InputArea-editor").nth(1).click()
    page.keyboard.press("Shift+Enter")
    page.keyboard.press("Shift+Enter")
    expect(page.get_by_text("[5]:").first).to_be_visible(timeout=PATIENCE)
    expect_frame(page, START)
    assert counted.inner_text() == before

"""Pages and slides in a real browser, without a kernel or a network."""

import io

import nbformat
import pytest
from PIL import Image
from playwright.sync_api import expect

DRAW = """\
from matplotlib import pyplot as plt
from vaelib.widgets import flipbook

def draw(shade):
    return plt.figure(figsize=(4, 2), facecolor=(shade, 0.5, 1 - shade))"""
SHOW = "flipbook(draw, [0.0, 0.5, 1.0], 'shade', label='shade = {:.1f}', start=1)"
COLOURS = [(0, 128, 255), (128, 128, 128), (255, 128, 0)]
LONG = "\n".join(f"line_{number} = {number}" for number in range(90))
CELLS = [
    "# Shades of $x$\n\n*Which?*\n\n![a box](../imgs/box.svg)\n\n$$\\sum_j z_j$$",
    ("code", DRAW),
    "## The slider\n\nTurn $\\sigma$.",
    ("code", SHOW),
    "## Tall",
    ("code", LONG),
    "## Last\n\n" + "very " * 40 + "long\n\n$$" + " + ".join("abcdefgh" * 4) + "$$",
    ("hidden", "print('6' * 7)"),
]
SHOW_WIDGETS = (
    """\
import torch
from vaelib import models, widgets

x = torch.rand(12, 784, generator=torch.Generator().manual_seed(0))
widgets.latent_map(models.VariationalAutoEncoder(784, 5, 2), x)""",
    """\
widgets.drawing_pad(models.VariationalAutoEncoder(784, 5, 20), x)""",
    """\
widgets.latent_sliders(models.VariationalAutoEncoder(784, 5, 20), x)""",
)
BOX = '<svg xmlns="http://www.w3.org/2000/svg" width="60" height="40"/>'
INDICES = "[Reveal.getIndices().h, Reveal.getIndices().v]"
SCROLLED = "Reveal.getCurrentSlide().scrollTop"
ICONS = """[...document.fonts].some(
    (font) => font.family.includes("Font Awesome") && font.status == "loaded")"""
CUT_OFF = """[...document.querySelectorAll("main *")].filter((part) =>
    ["hidden", "clip"].includes(getComputedStyle(part).overflowX)
    && part.scrollWidth > part.clientWidth + 1
    && !part.closest("mjx-assistive-mml, .jupyter-widgets")).length"""
OVERHANG = """[...document.querySelectorAll(".vaelib, .vaelib *")].filter((part) =>
    part.getBoundingClientRect().right
    > part.closest("main").getBoundingClientRect().right + 1).length"""
TEXT_BOX = """element => {
    const range = document.createRange();
    range.selectNodeContents(element);
    return range.getBoundingClientRect().toJSON();
}"""
SIZE = "element => parseFloat(getComputedStyle(element).fontSize)"


def write_notebook(path, sources):
    """Write a notebook of texts, and of pairs of a kind of code cell and its code."""
    cells = []
    for source in sources:
        if isinstance(source, str):
            cells.append(nbformat.v4.new_markdown_cell(source))
            continue
        hidden = {"jupyter": {"source_hidden": True}} if source[0] == "hidden" else {}
        cells.append(nbformat.v4.new_code_cell(source[1], metadata=hidden))
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), path)
    return path


@pytest.fixture(scope="session")
def folder(build_pages, tmp_path_factory):
    """The pages of a course of two small notebooks."""
    home = tmp_path_factory.mktemp("notebook")
    (home / "notebooks").mkdir()
    (home / "imgs").mkdir()
    (home / "imgs" / "box.svg").write_text(BOX)
    shades = write_notebook(home / "notebooks" / "01_shades.ipynb", CELLS)
    cells = [cell for code in SHOW_WIDGETS for cell in ("## Next", ("code", code))]
    return build_pages(
        [shades, write_notebook(home / "notebooks" / "02_widgets.ipynb", cells)]
    )


def expect_colour(page, index):
    """Check what stands on the screen in the middle of the flipbook's picture."""
    expect(page.get_by_role("status")).to_have_text(f"shade = {index / 2:.1f}")
    screenshot = page.locator(".jp-OutputArea [role=img]").screenshot()
    screen = Image.open(io.BytesIO(screenshot)).convert("RGB")
    shown = screen.getpixel((screen.width // 2, screen.height // 2))
    assert shown == pytest.approx(COLOURS[index], abs=1)


def turn_and_expect(page):
    """Check that keys on the slider turn the flipbook, which shows its start."""
    slider = page.get_by_role("slider")
    slider.focus()
    expect_colour(page, 1)
    for key, index in [("ArrowRight", 2), ("Home", 0), ("ArrowUp", 1), ("End", 2)]:
        page.keyboard.press(key)
        expect_colour(page, index)
    expect(slider).to_be_focused()


def expect_mathematics(page, count):
    """Check that so many formulas are drawn, with glyphs, and none is left as typed."""
    formulas = page.locator("mjx-container")
    expect(formulas).to_have_count(count)
    for formula in formulas.all():
        assert formula.locator("svg path").count() > 0
    assert "$" not in page.locator("main").inner_text()


def test_a_page_reads_and_moves(visit, folder, page):
    visit(folder, "notebooks/01_shades.html")
    expect(page).to_have_title("Shades of x")
    expect_mathematics(page, 4)
    turn_and_expect(page)
    assert (
        page.locator(".jp-OutputArea img").count() == 1
    )  # no stored picture beside it
    assert (
        page.get_by_alt_text("a box").evaluate("picture => picture.naturalWidth") == 60
    )
    page.wait_for_function(ICONS)


def test_a_solution_unfolds(visit, folder, page):
    visit(folder, "notebooks/01_shades.html")
    solution = page.get_by_text("6666666")
    expect(solution).to_be_hidden()
    page.get_by_text("Show the solution").focus()
    page.keyboard.press("Enter")
    expect(solution).to_be_visible()


def test_a_page_fits_a_phone(visit, folder, page):
    page.set_viewport_size({"width": 400, "height": 800})
    visit(folder, "notebooks/01_shades.html")
    expect_mathematics(page, 4)
    expect_colour(page, 1)
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 400
    assert page.evaluate(CUT_OFF) == 0  # what is wider scrolls,
    formula = page.locator("mjx-container > svg").last
    assert formula.bounding_box()["width"] > 400  # and is not made too small to read


def test_widgets_fit_a_phone(visit, folder, page):
    page.set_viewport_size({"width": 390, "height": 800})
    visit(folder, "notebooks/02_widgets.html")
    boxes = page.locator(".vaelib")
    expect(boxes).to_have_count(len(SHOW_WIDGETS))
    for number in range(len(SHOW_WIDGETS)):
        expect(boxes.nth(number).locator("canvas").last).to_be_attached()
    assert page.evaluate(OVERHANG) == 0


def test_contents_lead_to_page_and_slides_and_back(visit, folder, page):
    visit(folder, "index.html")
    page.get_by_role("link", name="01 Shades of").click()
    page.get_by_role("link", name="Slides").first.click()
    expect(page.locator(".reveal.ready")).to_be_attached()
    page.get_by_role("link", name="Page").click()
    page.get_by_role("link", name="Contents").first.click()
    expect(page).to_have_title("The variational autoencoder, hands on")


def test_keys_on_a_slider_turn_no_slide(visit, folder, page):
    visit(folder, "slides/01_shades.html")
    expect(page.locator(".reveal.ready")).to_be_attached()
    page.keyboard.press("ArrowRight")
    turn_and_expect(page)
    page.keyboard.press("PageDown")
    assert page.evaluate(INDICES) == [1, 0]
    page.keyboard.press("Escape")  # gives the keys back to the slides
    page.keyboard.press("ArrowRight")
    assert page.evaluate(INDICES) == [2, 0]


def test_a_tall_slide_scrolls_before_the_next_is_shown(visit, folder, page):
    page.set_viewport_size({"width": 1280, "height": 720})
    visit(folder, "slides/01_shades.html#/2")
    expect(page.locator(".reveal.ready")).to_be_attached()
    last = page.get_by_text("line_89", exact=True)
    expect(last).not_to_be_in_viewport()
    for key in "Space", "PageDown", "ArrowDown", "Space":
        page.keyboard.press(key)
    expect(last).to_be_in_viewport()
    page.keyboard.press("Shift+Space")
    page.keyboard.press("PageUp")
    assert page.evaluate(INDICES) == [2, 0]
    for _ in range(4):
        page.keyboard.press("Space")
    assert page.evaluate(INDICES) == [3, 0]
    page.keyboard.press("ArrowLeft")
    assert page.evaluate(INDICES) == [2, 0]
    assert page.evaluate(SCROLLED) == 0


def test_slides_can_be_read_from_the_back_of_a_hall(visit, folder, page):
    page.set_viewport_size({"width": 1280, "height": 720})
    visit(folder, "slides/01_shades.html")
    expect(page.locator(".reveal.ready")).to_be_attached()
    expect_mathematics(page, 4)
    assert page.evaluate("Reveal.getScale()") == 1
    assert page.locator("section p").first.evaluate(SIZE) >= 28
    assert page.locator("section pre").first.evaluate(SIZE) >= 18
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    words = page.locator("section.present p").first.bounding_box()
    assert words["x"] >= 0 and words["x"] + words["width"] <= 1280


def test_widgets_can_be_read_from_the_back_of_a_hall(visit, folder, page):
    page.set_viewport_size({"width": 1280, "height": 720})
    visit(folder, "slides/02_widgets.html")
    expect(page.locator(".reveal.ready")).to_be_attached()
    plane = page.get_by_role("application", name="map of two latents")
    readout = page.get_by_role("status")
    last, places = readout.locator("span").last, []
    for key in "Home", "Shift+ArrowLeft":  # z0 = 0.00 and then -0.30
        plane.press(key)
        places.append(last.evaluate(TEXT_BOX)["x"])
    assert places[0] == places[1]
    assert readout.evaluate(TEXT_BOX)["height"] < 1.5 * readout.evaluate(SIZE)
    assert plane.bounding_box()["width"] >= 580

    page.evaluate("Reveal.slide(1, 0)")
    box = page.locator(".vaelib").nth(1)
    texts = [caption.evaluate(TEXT_BOX) for caption in box.locator("figcaption").all()]
    seen, _, posterior = texts
    assert seen["right"] + 20 < posterior["x"] and posterior["right"] < 1200
    bars = box.get_by_role("img", name="posterior").bounding_box()
    assert bars["height"] / 20 > 27  # a row, of which the letters fill 0.8
    assert bars["y"] + bars["height"] - texts[0]["y"] < 672  # all fits on the screen
    for checkbox in box.get_by_role("checkbox").all():
        assert checkbox.bounding_box()["width"] >= 24

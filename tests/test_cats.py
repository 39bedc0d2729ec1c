import math
import time

import pytest
import torch

from vaelib.data import SPECIES, cats, draw_cats

STEPS = torch.linspace(0, 1, 101)
SWEEPS = [
    (species, fur, other)
    for species in range(3)
    for fur in (0, 1)
    for other in (0.2, 1)
]


def base_knobs(n=300, seed=1):
    knobs = torch.rand(n, 3, generator=torch.Generator().manual_seed(seed))
    return knobs, torch.arange(n) % len(SPECIES)


def move(knob, value, n=300):
    knobs, species = base_knobs(n)
    knobs[:, knob] = value
    return draw_cats(*knobs.unbind(1), species)


def test_shapes_dtypes_and_range():
    images, knobs, species = cats(100)
    assert images.shape == (100, 784) and images.dtype == torch.float32
    assert knobs.shape == (100, 3) and knobs.dtype == torch.float32
    assert species.shape == (100,) and species.dtype == torch.int64
    assert images.min() == 0 and 0.9 < images.max() <= 1
    assert knobs.min() >= 0 and knobs.max() <= 1
    assert set(species.tolist()) == {0, 1, 2}


def test_images_are_those_of_the_knobs_in_order():
    images, knobs, species = cats(400, seed=3)
    for row in (0, 1, 2, 3, 200, 399):
        alone = draw_cats(*knobs[row], species[row])
        torch.testing.assert_close(alone[0], images[row], atol=1e-5, rtol=0)


def test_scalars_serve_every_cat():
    sizes = torch.tensor([0.1, 0.9])
    images = draw_cats(0.2, sizes, 0.5, 1)
    same = draw_cats(torch.full((2,), 0.2), sizes, [0.5, 0.5], torch.tensor([1, 1]))
    assert torch.equal(images, same)
    assert draw_cats(0, 1, 0.5, 2).shape == (1, 784)
    assert draw_cats([], [], [], torch.tensor([], dtype=torch.int64)).shape == (0, 784)


def test_same_seed_same_bytes_whatever_the_threads():
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = cats(700, seed=5)
        torch.set_num_threads(2)
        two = cats(700, seed=5)
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def test_different_seed_different_cats_and_global_state_untouched():
    before = torch.get_rng_state()
    first, second = cats(50, seed=0), cats(50, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(first.images, second.images)
    assert not torch.equal(first.knobs, second.knobs)


def test_every_face_is_symmetric():
    faces = cats(50).images.view(-1, 28, 28)
    assert torch.equal(faces, faces.flip(2))


@pytest.mark.parametrize("knob", range(3))
def test_every_knob_is_visible(knob):
    change = (move(knob, 1.0) - move(knob, 0.0)).abs().mean(1)
    assert change.mean() > 0.03
    assert change.min() > 0.01


@pytest.mark.parametrize("species, fur, ears", SWEEPS)
def test_size_grows_the_cat(species, fur, ears):
    area = (draw_cats(fur, STEPS, ears, species) > 0.1).sum(1)
    assert (area[10:] > area[:-10]).all()  # a pixel may flicker; the trend may not
    assert area[-1] > 2 * area[0]


def test_fur_darkens_the_coat_and_keeps_the_outline():
    pale, dark = move(0, 0.0), move(0, 1.0)
    assert (dark <= pale + 1e-6).all()
    assert (pale - dark).amax(1).min() > 0.4
    both = ((pale > 0.1) == (dark > 0.1)).float().mean(1)
    assert both.min() > 0.95


def test_ears_change_only_the_top():
    change = (move(2, 1.0) - move(2, 0.0)).abs().view(-1, 28, 28).sum(2)
    top = change[:, :17].sum(1) / change.sum(1)
    assert top.min() > 0.99  # nothing below the middle of the head


@pytest.mark.parametrize("species, fur, size", SWEEPS)
def test_ears_reach_higher(species, fur, size):
    faces = draw_cats(fur, size, STEPS, species).view(-1, 28, 28)
    highest = (faces.amax(2) > 0.1).float().argmax(1)
    assert (highest[1:] <= highest[:-1]).all()
    assert highest[0] - highest[-1] >= 3


def test_species_differ_at_every_setting():
    knobs, _ = base_knobs()
    cat, tiger, lion = (draw_cats(*knobs.unbind(1), index) for index in range(3))
    for one, other in ((cat, tiger), (cat, lion), (tiger, lion)):
        assert (one - other).abs().mean(1).min() > 0.02


def test_nearest_template_recognises_the_species():
    known, held_out = cats(3000, seed=0), cats(500, seed=1)
    nearest = torch.cdist(held_out.images, known.images).argmin(1)
    right = known.species[nearest] == held_out.species
    assert right.float().mean() > 0.97


@pytest.mark.parametrize("knob", range(3))
def test_a_small_step_makes_a_small_change(knob):
    values = torch.arange(0, 101) / 100
    for species in range(3):
        knobs = [torch.full((101,), 0.6) for _ in range(3)]
        knobs[knob] = values
        step = draw_cats(*knobs, species).diff(dim=0).abs()
        assert step.amax(1).min() > 0  # no dead stretch
        assert step.max() < 0.15  # no pixel pops
        assert step.mean(1).max() < 0.01


def test_edges_are_antialiased():
    faces = draw_cats(0.0, 1.0, 0.5, 0).view(28, 28)
    outline = faces[:, 4:10]  # a side of the head and its ear, clear of the features
    edge = (outline > 0.02) & (outline < 0.3)
    assert edge.sum() >= 4


def test_ten_thousand_cats_in_a_second():
    seconds = []
    for _ in range(3):
        start = time.process_time()  # a busy machine must not fail this
        cats(10_000)
        seconds.append(time.process_time() - start)
    assert min(seconds) < 1


def test_drawing_needs_no_gradient():
    knob = torch.tensor([0.5], requires_grad=True)
    assert not draw_cats(knob, knob, knob, 0).requires_grad


@pytest.mark.parametrize("position, name", list(enumerate(("fur", "size", "ears"))))
@pytest.mark.parametrize("bad", (-0.01, 1.01, math.nan, math.inf))
def test_knobs_outside_the_unit_interval_are_refused(position, name, bad):
    knobs = [torch.full((3,), 0.5) for _ in range(3)]
    knobs[position][1] = bad
    with pytest.raises(ValueError, match=f"{name} must lie in"):
        draw_cats(*knobs, 0)


@pytest.mark.parametrize("species", (-1, 3, torch.tensor([0, 5])))
def test_unknown_species_are_refused(species):
    with pytest.raises(ValueError, match="0, 1 or 2"):
        draw_cats(0.5, 0.5, 0.5, species)


@pytest.mark.parametrize("species", (1.0, True, torch.tensor([0.0, 1.0])))
def test_species_must_be_integers(species):
    with pytest.raises(TypeError, match=r"torch\.int64"):
        draw_cats(0.5, 0.5, 0.5, species)


@pytest.mark.parametrize("bad", ("dark", None, ["a"]))
def test_knobs_must_be_numbers(bad):
    with pytest.raises(TypeError, match="must be numbers"):
        draw_cats(bad, 0.5, 0.5, 0)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="lengths"):
        draw_cats(torch.rand(2), torch.rand(3), 0.5, 0)
    with pytest.raises(ValueError, match="lengths"):
        draw_cats(0.5, 0.5, torch.rand(2), torch.tensor([0, 1, 2]))
    with pytest.raises(ValueError, match="shape"):
        draw_cats(torch.rand(2, 2), 0.5, 0.5, 0)


@pytest.mark.parametrize("n", (0, -3))
def test_at_least_one_cat(n):
    with pytest.raises(ValueError, match="at least 1"):
        cats(n)


@pytest.mark.parametrize("n", (2.0, "3", None, True))
def test_n_is_an_int(n):
    with pytest.raises(TypeError, match="n must be an int"):
        cats(n)

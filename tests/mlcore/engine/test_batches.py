import dataclasses
import queue
import threading

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlcore.engine.batches import (
    epoch_order,
    generator_for,
    load_images,
    nested_subset,
)


def test_images_come_as_grey_floats_in_0_to_1_with_their_labels(table, cpu):
    rows = table.split_indices("dev")
    images = load_images(table, rows, cpu)
    pixels, labels = images.batch(torch.tensor([3, 0]))
    for position, (image, label) in zip(
        (3, 0), zip(pixels, labels, strict=True), strict=True
    ):
        row = rows[position]
        np.testing.assert_allclose(image[0], table.images[row] / 255, rtol=1e-6)
        np.testing.assert_array_equal(label, table.labels[row])
    assert pixels.shape == (2, 1, 32, 32)
    assert pixels.dtype == torch.float32


def test_batches_run_through_all_rows_in_order(table, cpu):
    images = load_images(table, table.split_indices("train"), cpu)
    batches = list(images.batches(10))
    assert [len(pixels) for pixels, _ in batches] == [10, 10, 4]
    labels = torch.cat([labels for _, labels in batches])
    torch.testing.assert_close(labels, images.labels, equal_nan=True)


@given(
    order=st.lists(
        st.lists(st.integers(0, 23), min_size=1, max_size=5).map(torch.tensor),
        max_size=5,
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_batches_read_ahead_are_those_read_one_by_one(table, cpu, order):
    images = load_images(table, table.split_indices("train"), cpu)
    before = threading.active_count()
    ahead = list(images.in_order(order))
    assert threading.active_count() == before
    for (pixels, labels), positions in zip(ahead, order, strict=True):
        twin, known = images.batch(positions)
        assert torch.equal(pixels, twin)
        torch.testing.assert_close(labels, known, rtol=0, atol=0, equal_nan=True)


def test_while_a_batch_is_used_the_next_one_is_read_and_no_further(table, cpu):
    class Watched:
        """A memory map that tells what is asked of it."""

        def __getitem__(self, rows):
            asked.put(len(rows))
            return table.images[rows]

    asked = queue.Queue()
    images = load_images(table, table.split_indices("train"), cpu)
    images = dataclasses.replace(images, pixels=Watched())
    batches = images.in_order(torch.arange(6).split([1, 2, 3]))
    next(batches)
    assert [asked.get(timeout=60) for _ in range(2)] == [1, 2]
    before = threading.active_count()
    batches.close()
    assert threading.active_count() == before - 1
    assert asked.empty()


def test_what_goes_wrong_in_reading_ahead_is_raised(table, cpu):
    images = load_images(table, table.split_indices("train"), cpu)
    batches = images.in_order([torch.tensor([0]), torch.tensor([10**6])])
    before = threading.active_count()
    next(batches)
    with pytest.raises(IndexError):
        next(batches)
    assert threading.active_count() == before


def test_images_that_are_resident_need_no_reading(table, cpu):
    """As on a GPU that they fit on."""
    rows = table.split_indices("train")
    mapped = load_images(table, rows, cpu)
    resident = dataclasses.replace(mapped, pixels=torch.from_numpy(table.images[rows]))
    for one, other in zip(resident.batches(10), mapped.batches(10), strict=True):
        assert torch.equal(one[0], other[0])
        torch.testing.assert_close(one[1], other[1], equal_nan=True)


@given(count=st.integers(2, 300), size=st.integers(4, 64), seed=st.integers(0, 9))
def test_an_epoch_takes_every_image_once_in_even_batches(count, size, seed):
    order = epoch_order(count, size, generator_for(seed, "order", 1))
    assert sorted(torch.cat(order).tolist()) == list(range(count))
    sizes = {len(batch) for batch in order}
    assert max(sizes) <= size
    assert max(sizes) - min(sizes) <= 1
    assert min(sizes) >= 2  # one image alone has no batch statistics


def test_draws_depend_on_the_seed_the_purpose_and_the_place_only():
    def draw(*where):
        return torch.rand(3, generator=generator_for(*where)).tolist()

    assert draw(1, "order", 5) == draw(1, "order", 5)
    places = [(1, "order", 5), (2, "order", 5), (1, "augment", 5), (1, "order", 6)]
    assert len({tuple(draw(*place)) for place in places}) == 4
    assert draw(1, "attack", 1, 23) != draw(1, "attack", 12, 3)


@given(
    patients=st.lists(st.integers(0, 9).map(str), min_size=1, max_size=40),
    fractions=st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)).map(sorted),
    seed=st.integers(0, 3),
)
def test_subsets_are_nested_and_keep_patients_whole(patients, fractions, seed):
    rows = np.arange(len(patients))[::2]
    small, large = (nested_subset(patients, rows, each, seed) for each in fractions)
    assert set(small) <= set(large) <= set(rows)
    for subset, fraction in ((small, fractions[0]), (large, fractions[1])):
        assert len(subset) >= fraction * len(rows)
        kept = {patients[row] for row in subset}
        assert set(subset) == {row for row in rows if patients[row] in kept}
        # Not a patient more than needed: the last one brought it over the mark.
        largest = max(sum(patients[row] == each for row in rows) for each in kept)
        assert len(subset) < fraction * len(rows) + largest


def test_the_whole_is_the_whole(table):
    rows = table.split_indices("train")
    np.testing.assert_array_equal(nested_subset(table.patient_ids, rows, 1, 0), rows)


def test_another_seed_takes_other_patients():
    patients = [str(number) for number in range(100)]
    rows = np.arange(100)
    one, other = (nested_subset(patients, rows, 0.3, seed) for seed in (1, 2))
    assert set(one) != set(other)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_images_stay_there_as_bytes(table):
    rows = table.split_indices("train")
    images = load_images(table, rows, torch.device("cuda"))
    assert images.pixels.dtype == torch.uint8
    assert images.pixels.device.type == "cuda"
    np.testing.assert_array_equal(images.pixels.cpu().numpy(), table.images[rows])

"""Decoding into the memory map, seeded views, and the order of training images."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from distill.data import samples as data
from distill.data.pixels import pixel_packing, square, working_size
from distill.data.samples import Stream, open_samples
from distill.data.views import ImageAugmentation, render, uniforms
from selection.sources.images import CorruptImage, decode, image_digest
from tests.places import flipped
from zoo.errors import UserError
from zoo.files import write_bytes


class Photos:
    """A split of random photographs; ``bad`` ones do not decode."""

    classes = ("a", "b")

    def __init__(
        self,
        count: int,
        *,
        size: tuple[int, int] = (20, 16),
        bad: tuple[int, ...] = (),
        fail_at: int = -1,
    ) -> None:
        self.labels = np.arange(count, dtype=np.int64) % 2
        self.size, self.bad, self.fail_at, self.reads = size, bad, fail_at, 0
        self.digest = f"{count}{size}{bad}"

    def __len__(self) -> int:
        return len(self.labels)

    def raw(self, i: int) -> bytes:
        self.reads += 1
        if i == self.fail_at:
            raise KeyboardInterrupt
        if i in self.bad:
            raise CorruptImage("not an image")
        shape = (self.size[1], self.size[0], 3)
        pixels = np.random.default_rng(i).integers(0, 256, shape, dtype=np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        return buffer.getvalue()

    def sample(self, i: int) -> Image.Image:
        return decode(self.raw(i))

    def decode(self, encoded: bytes) -> Image.Image:
        return decode(encoded)

    def fingerprint(self, encoded: bytes) -> bytes:
        return hashlib.sha256(encoded).digest()


@pytest.mark.parametrize("size", [(20, 16), (16, 20), (33, 17), (8, 8), (64, 40), (41, 64)])
def test_a_square_is_what_the_exported_transform_shows(size: tuple[int, int]) -> None:
    import timm.data

    image = Photos(1, size=size).sample(0)
    transform = timm.data.create_transform(
        (3, 16, 16), interpolation="bilinear", crop_pct=1.0, mean=(0, 0, 0), std=(1, 1, 1)
    )
    expected = (transform(image) * 255).round().to(torch.uint8).numpy()
    assert (square(image, 16) == expected).all()


def test_pixels_join_the_splits_in_order_and_are_decoded_once(tmp_path: Path) -> None:
    first, second = Photos(5), Photos(3, size=(16, 16))
    second.labels = np.full(3, -1)
    pixels = open_samples([first, second], pixel_packing(16), folder=tmp_path)
    assert pixels.inputs.shape == (8, 3, 16, 16)
    assert pixels.labels.tolist() == [0, 1, 0, 1, 0, -1, -1, -1]
    assert (pixels.inputs[6] == square(second.sample(1), 16)).all()
    assert pixels.digests[6].tobytes() == image_digest(second.raw(1))
    assert (np.asarray(pixels.sample(6)) == np.asarray(second.sample(1))).all()
    reads = first.reads
    again = open_samples([first, second], pixel_packing(16), folder=tmp_path)
    assert first.reads == reads
    assert again.digest == pixels.digest
    assert open_samples([first, second], pixel_packing(8), folder=tmp_path).digest != pixels.digest


def test_a_damaged_image_is_left_out_and_all_damaged_is_an_error(tmp_path: Path) -> None:
    pixels = open_samples([Photos(6, bad=(1, 4))], pixel_packing(8), folder=tmp_path)
    assert pixels.usable.tolist() == [0, 2, 3, 5]
    assert pixels.labels.tolist() == [0, -1, 0, 1, -1, 1]
    with pytest.raises(UserError, match="none of the 2 images"):
        open_samples([Photos(2, bad=(0, 1))], pixel_packing(8), folder=tmp_path)


def test_decoding_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "CHUNK", 4)
    stopped = Photos(12, fail_at=9)
    with pytest.raises(KeyboardInterrupt):
        open_samples([stopped], pixel_packing(8), folder=tmp_path)
    stopped.fail_at, stopped.reads = -1, 0
    pixels = open_samples([stopped], pixel_packing(8), folder=tmp_path)
    assert stopped.reads == 4  # rows 8 to 11 alone
    assert (pixels.inputs[2] == square(stopped.sample(2), 8)).all()
    assert (pixels.inputs[11] == square(stopped.sample(11), 8)).all()
    digests = [image_digest(stopped.raw(row)) for row in range(12)]
    assert [digest.tobytes() for digest in pixels.digests] == digests


def test_a_truncated_memory_map_is_made_anew(tmp_path: Path) -> None:
    photos = Photos(4)
    open_samples([photos], pixel_packing(8), folder=tmp_path)
    for name in ("pixels.u8", "digests.u8"):
        file = next(tmp_path.rglob(name))
        file.write_bytes(file.read_bytes()[:-1])
        pixels = open_samples([photos], pixel_packing(8), folder=tmp_path)
        assert (pixels.inputs[3] == square(photos.sample(3), 8)).all()
        assert pixels.digests[3].tobytes() == image_digest(photos.raw(3))


def test_the_working_size_is_what_the_images_have_up_to_twice_the_student() -> None:
    assert working_size(Photos(40, size=(300, 200)), 64) == 128
    assert working_size(Photos(40, size=(100, 90)), 64) == 90
    assert working_size(Photos(40, size=(8, 8)), 64) == 8


def test_a_failed_write_leaves_the_old_file_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_bytes(tmp_path / "file", b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_bytes(tmp_path / "file", b"new")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"old"


def images(count: int = 10, size: int = 16) -> torch.Tensor:
    return torch.from_numpy(
        np.random.default_rng(0).integers(0, 256, (count, 3, size, size), dtype=np.uint8)
    )


def numbers(*values: int) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.int64)


UNCHANGED = ImageAugmentation(crop="none", flip=False, colour=0)
ALL = [
    ImageAugmentation(),
    ImageAugmentation(crop="resize", colour=0.4),
    ImageAugmentation(mix=0.5),
    UNCHANGED,
]


@pytest.mark.parametrize("augmentation", ALL)
def test_a_view_depends_on_seed_view_and_index_alone(augmentation: ImageAugmentation) -> None:
    index, view = torch.arange(10), torch.arange(10) % 3
    whole = render(images(), index, view, augmentation=augmentation, seed=7, size=16).inputs
    order = torch.randperm(10, generator=torch.Generator().manual_seed(0))
    shuffled = render(
        images(), index[order], view[order], augmentation=augmentation, seed=7, size=16
    ).inputs
    assert torch.equal(whole[order], shuffled)
    alone = render(
        images(), index[4:5], view[4:5], augmentation=augmentation, seed=7, size=16
    ).inputs
    assert torch.allclose(whole[4:5], alone, atol=1e-6)
    assert whole.min() >= 0
    assert whole.max() <= 1


@pytest.mark.parametrize("augmentation", ALL[:3])
def test_other_views_and_seeds_show_something_else(augmentation: ImageAugmentation) -> None:
    index = torch.arange(10)
    shown = [
        render(
            images(), index, torch.full_like(index, v), augmentation=augmentation, seed=s, size=16
        ).inputs
        for s, v in ((0, 0), (0, 1), (1, 0))
    ]
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert (shown[a] - shown[b]).abs().amax((1, 2, 3)).gt(0.01).float().mean() > 0.7


def test_uniforms_are_uniform_and_independent() -> None:
    index = torch.arange(20_000)
    draws = uniforms(3, torch.zeros_like(index), index)
    assert draws.min() >= 0
    assert draws.max() < 1
    assert draws.mean(0) == pytest.approx(np.full(12, 0.5), abs=0.01)
    assert draws.var(0) == pytest.approx(np.full(12, 1 / 12), abs=0.003)
    both = torch.cat(
        [
            draws,
            uniforms(3, torch.ones_like(index), index),
            uniforms(4, torch.zeros_like(index), index),
        ],
        1,
    )
    assert (torch.corrcoef(both.T) - torch.eye(36)).abs().max() < 0.04


def test_nothing_done_is_the_image_and_a_shift_moves_whole_pixels() -> None:
    source, index = images(), torch.arange(10)
    unchanged = render(
        source, index, torch.zeros_like(index), augmentation=UNCHANGED, seed=0, size=16
    ).inputs
    assert torch.allclose(unchanged, source.float() / 255, atol=1e-6)
    shift = ImageAugmentation(flip=False, colour=0)
    moved = (
        render(source, index, torch.zeros_like(index), augmentation=shift, seed=0, size=16).inputs
        * 255
    )
    assert (moved - moved.round()).abs().max() < 1e-3
    for image, view in zip(source, moved.round(), strict=True):
        rolls = [
            torch.roll(image, (dy, dx), (1, 2))[:, 2:14, 2:14]
            for dy in range(-2, 3)
            for dx in range(-2, 3)
        ]
        assert sum(torch.equal(view[:, 2:14, 2:14], r.float()) for r in rolls) == 1


def test_a_flip_is_exact_and_happens_to_half() -> None:
    source, index = images(200), torch.arange(200)
    flip = ImageAugmentation(crop="none", colour=0)
    shown = (
        render(source, index, torch.zeros_like(index), augmentation=flip, seed=0, size=16).inputs
        * 255
    ).round()
    same = (shown == source).flatten(1).all(1)
    other = (shown == source.flip(-1)).flatten(1).all(1)
    assert (same | other).all()
    assert 70 < int(same.sum()) < 130


def test_a_blend_is_between_two_images_and_says_so() -> None:
    source, index = images(200), torch.arange(200)
    blend = ImageAugmentation(crop="none", flip=False, colour=0, mix=0.5)
    shown = render(source, index, torch.zeros_like(index), augmentation=blend, seed=0, size=16)
    assert shown.mixed is not None
    same = (shown.inputs - source.float() / 255).abs().amax((1, 2, 3)) < 1e-6
    assert torch.equal(~same, shown.mixed)
    assert 70 < int(shown.mixed.sum()) < 130


def test_a_damaged_image_is_no_partner_of_a_blend() -> None:
    source, index = images(40), torch.arange(1, 40)
    source[0] = 0  # what a damaged image is stored as
    blend = ImageAugmentation(crop="none", flip=False, colour=0, mix=1.0)
    shown = [
        render(source, index, view, augmentation=blend, seed=0, size=16, partners=index).inputs
        for view in (torch.full_like(index, number) for number in range(20))
    ]
    whole = source[1:].float() / 255
    for pixels in shown:
        scale = (pixels.flatten(1) * whole.flatten(1)).sum(1) / whole.flatten(1).square().sum(1)
        darkened = (pixels - whole * scale[:, None, None, None]).abs().amax((1, 2, 3)) < 1e-4
        assert not (darkened & (scale < 0.99)).any()


def test_chunks_are_the_rows_in_order_and_never_all_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = open_samples([Photos(11, bad=(3,))], pixel_packing(8), folder=tmp_path)
    monkeypatch.setattr(data, "CHUNK", 4)
    chunks = list(pixels.chunks(pixels.usable))
    assert [len(chunk) for chunk in chunks] == [4, 4, 2]
    assert (torch.cat(chunks).numpy() == pixels.inputs[pixels.usable]).all()


def test_a_stream_passes_over_every_row_and_can_be_entered_anywhere() -> None:
    rows = np.arange(100, 110)

    def flat(start: int, count: int) -> list[tuple[int, int]]:
        return [
            (number, int(row))
            for number, piece in Stream(rows, seed=5).take(start, count)
            for row in piece
        ]

    whole = flat(0, 40)
    for number in range(4):
        assert sorted(row for n, row in whole if n == number) == rows.tolist()
    assert whole[:10] != [(0, row) for _, row in whole[10:20]]
    assert flat(7, 16) == whole[7:23]
    assert [row for _, row in whole] != [
        int(r) for _, p in Stream(rows, seed=6).take(0, 40) for r in p
    ]


def test_pictures_with_alpha_or_palette_become_rgb() -> None:
    buffer = io.BytesIO()
    Image.new("P", (9, 9), 3).save(buffer, "PNG")
    assert square(Image.open(buffer), 8).shape == (3, 8, 8)


@pytest.mark.parametrize("name", ["pixels.u8", "digests.u8", "progress.json"])
@pytest.mark.journey
def test_a_flipped_bit_of_decoded_images_is_mended(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "CHUNK", 4)
    split = Photos(10, bad=(2, 9))
    whole = open_samples([split], pixel_packing(16), folder=tmp_path)
    images, digests = np.array(whole.inputs), np.array(whole.digests)
    path = next(tmp_path.rglob(name))
    content = path.read_bytes()
    chunks: set[int] = set()
    for bit in range(0, 8 * len(content), 131 if len(content) < 999 else 997):
        path.write_bytes(flipped(content, bit))
        reads = split.reads
        again = open_samples([split], pixel_packing(16), folder=tmp_path)
        assert (again.inputs == images).all(), bit
        assert (again.digests == digests).all(), bit
        assert again.usable.tolist() == [0, 1, 3, 4, 5, 6, 7, 8], bit
        assert path.read_bytes() == content, bit
        chunks.add(split.reads - reads)
    # decoded anew from the damaged chunk on: all 10, the last 6 or the last 2
    assert chunks == ({10} if name == "progress.json" else {10, 6, 2})

"""Tasks of images."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

from PIL import Image

from selection.duplicates import search
from selection.kinds.image_reading import more_images, read_images
from selection.kinds.kind import (
    CopyGroups,
    CorruptSample,
    Decoding,
    Kind,
    Preview,
)
from selection.sources.grey import Extent, GreyScale, extent_of, grey_scale
from selection.sources.images import PROBE_SIDE, decode, deep_values
from selection.sources.split import Split, spread

_THUMBNAIL = 96  # pixels of a page's picture


def _grey(decoding: Decoding | None) -> GreyScale | None:
    return decoding if isinstance(decoding, GreyScale) else None


def decode_image(encoded: bytes, decoding: Decoding | None) -> Image.Image:
    """``encoded`` as RGB; ``decoding`` is the scale of a task of deep grey images."""
    return decode(encoded, grey=_grey(decoding))


def shown_image(encoded: bytes, decoding: Decoding | None) -> Image.Image:
    """``encoded`` as RGB, its shorter side at most 512 pixels."""
    return decode(encoded, shorter=PROBE_SIDE, grey=_grey(decoding))


def scale_of(split: Split) -> GreyScale | None:
    """The scale of grey that images of more than 8 bits call for, by 32 images of ``split``."""
    extents: list[Extent] = []
    for place in spread(len(split)):
        try:
            values = deep_values(split.raw(place))
        except CorruptSample:
            continue
        extent = None if values is None else extent_of(values)
        if extent is not None:
            extents.append(extent)
    return grey_scale(extents)


def find_copies(splits: Mapping[str, Split]) -> CopyGroups:
    """Images that show one picture, see ``selection.duplicates.search``."""
    duplicates = search.find_duplicates(splits)
    note = ""
    if not duplicates.decoded:
        is_large = sum(map(len, splits.values())) > search.MOST_DECODED
        why = (
            f"there are more than {search.MOST_DECODED} images" if is_large else "faiss is missing"
        )
        note = f"only equal files count as duplicates, not nearly equal images: {why}"
    return CopyGroups(duplicates.groups, duplicates.unreadable, note)


def thumbnail(image: Image.Image) -> bytes:
    """A small JPEG of twice the pixels shown, for dense screens; small images stay as they are, as
    PNG.
    """
    small, out = image.convert("RGB"), io.BytesIO()
    small.info = {}  # comments and profiles of the original must not be published
    if max(small.size) <= _THUMBNAIL // 2:
        small.save(out, "PNG")
    else:
        small.thumbnail((_THUMBNAIL * 2, _THUMBNAIL * 2))
        small.save(out, "JPEG", quality=80)
    return out.getvalue()


def equal_pictures(images: Sequence[Image.Image]) -> str | None:
    """In what words all ``images`` are equal; None where they are not."""
    first = images[0]
    pixels = first.tobytes()
    if any(image.size != first.size or image.tobytes() != pixels for image in images[1:]):
        return None
    colours = first.getcolors(1)
    return f"equal, a plain area of colour {colours[0][1]}" if colours else "equal"


IMAGE = Kind(
    name="image",
    noun="image",
    nouns="images",
    content="picture",
    read=read_images,
    read_pool=more_images,
    pool_in_files=False,
    expected="expected class folders of images, or a table of images and labels",
    first_student="mobilenetv3_small_050",
    calibrated=True,
    modalities=("image",),
    ordered=False,
    decode=decode_image,
    show=shown_image,
    shown_as=f"side {PROBE_SIDE}",
    decoding_of=scale_of,
    find_copies=find_copies,
    preview=lambda image: Preview(picture=thumbnail(image)),
    equal=equal_pictures,
)

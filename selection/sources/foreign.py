"""What a file is that holds no image: the word that its owner knows it by."""

from __future__ import annotations

import os
from typing import Literal

# first bytes -> what it is, and what to do; the first that fits
_BEGINNINGS: tuple[tuple[bytes, str], ...] = (
    (
        b"version https://git-lfs.github.com/spec/",
        "a Git LFS pointer, not the image: run git lfs pull",
    ),
    (b"version https://hawser", "a Git LFS pointer, not the image: run git lfs pull"),
    (b"/annex/objects/", "a git-annex pointer, not the image: run git annex get"),
    (b"%PDF-", "a PDF: export its pages as JPEG or PNG"),
    (b"%!PS", "PostScript: export it as PNG"),
    (b"PK\x03\x04", "a ZIP archive: unpack it"),
    (b"PK\x05\x06", "an empty ZIP archive"),
    (b"Rar!\x1a\x07", "a RAR archive: unpack it"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it"),
    (b"\x1f\x8b", "a gzip file: unpack it"),
    (b"8BPS", "a Photoshop document: export it as PNG"),
    (b"gimp xcf", "a GIMP document: export it as PNG"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file: export its images as PNG"),
    (b"SIMPLE  =", "a FITS file: export its images as 16-bit PNG"),
    (b"\x93NUMPY", "a NumPy array: save it as PNG"),
    (b"PAR1", "a Parquet file: give its folder as the task"),
    (b"\x1aE\xdf\xa3", "a video (Matroska or WebM): take frames out of it, as JPEG"),
    (b"OggS", "a video or sound (Ogg): take frames out of it, as JPEG"),
    (b"FLV\x01", "a video (Flash): take frames out of it, as JPEG"),
    (b"\x00\x00\x01\xba", "a video (MPEG): take frames out of it, as JPEG"),
    (b"\x00\x00\x01\xb3", "a video (MPEG): take frames out of it, as JPEG"),
    (b"ID3", "a sound (MP3)"),
    (b"FUJIFILMCCD-RAW", "a camera's raw file (RAF): develop it to JPEG or TIFF"),
    (b"FOVb", "a camera's raw file (X3F): develop it to JPEG or TIFF"),
    (b"IIRO", "a camera's raw file (ORF): develop it to JPEG or TIFF"),
    (b"IIRS", "a camera's raw file (ORF): develop it to JPEG or TIFF"),
    (b"IIU\x00", "a camera's raw file (RW2): develop it to JPEG or TIFF"),
    (b"\x00MRM", "a camera's raw file (MRW): develop it to JPEG or TIFF"),
    (b"\xff\x0a", "a JPEG XL image, which Pillow cannot read: convert it to JPEG or PNG"),
    (
        b"\x00\x00\x00\x0cJXL \r\n\x87\n",
        "a JPEG XL image, which Pillow cannot read: convert it to JPEG or PNG",
    ),
    (b"v/1\x01", "an OpenEXR image: convert it to TIFF"),
    (b"#?RADIANCE", "a Radiance HDR image: convert it to TIFF"),
    (b"DDS ", "a DDS texture: convert it to PNG"),
    (b"\xd0\xcf\x11\xe0", "an Office document"),
    (b"{\\rtf", "an RTF document"),
    (b"bplist", "a property list of macOS"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
)
# suffix -> what a file is that holds images or labels, but not as files of their own
_CONTAINERS: dict[str, str] = {
    **dict.fromkeys(
        (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst", ".rar", ".7z"),
        "an archive: unpack it",
    ),
    **dict.fromkeys((".npy", ".npz"), "NumPy arrays: save the images as PNG, a folder a class"),
    **dict.fromkeys((".h5", ".hdf5"), "an HDF5 file: save the images as PNG, a folder a class"),
    ".mat": "a file of MATLAB: save the images as PNG, a folder a class",
    **dict.fromkeys((".tfrecord", ".tfrecords"), "TFRecords: save the images as files"),
    **dict.fromkeys((".mdb", ".lmdb"), "an LMDB database: save the images as files"),
    **dict.fromkeys((".pkl", ".pickle", ".pt", ".pth"), "a pickle, which is never opened"),
    **dict.fromkeys((".xlsx", ".xls", ".ods"), "a spreadsheet: save it as CSV"),
}
# tags of TIFF
_BITS_PER_SAMPLE, _SAMPLES_PER_PIXEL, _PLANAR, _SAMPLE_FORMAT = 258, 277, 284, 339
_MOST_CHANNELS = 6  # that Pillow opens: CMYK and two more; of more it also logs a line
_RAW = "a camera's raw file ({}): develop it to JPEG or TIFF"
_HEIF = "HEIC photograph: pip install pillow-heif, or teacher-zoo[heic], then it is read"
_AVIF = "AVIF image, which this Pillow cannot read: pip install --upgrade pillow"
_VIDEO = "a video ({}): take frames out of it, as JPEG"
_HEIF_BRANDS = ("heic", "heix", "heim", "heis", "hevc", "hevx", "mif1", "msf1")
_AVIF_BRANDS = ("avif", "avis")


def what_it_is(raw: bytes) -> str | None:
    """A few words for bytes of which no image can be read, or None where they say nothing.

    Only the first 64 KiB are looked at, and nothing of them is quoted.
    """
    for beginning, words in _BEGINNINGS:
        if raw.startswith(beginning):
            return words
    if raw[4:8] == b"ftyp":
        return _iso_media(raw)
    if raw[:4] == b"RIFF":
        return {b"AVI ": _VIDEO.format("AVI"), b"WAVE": "a sound (WAV)"}.get(raw[8:12])
    if raw[128:132] == b"DICM":
        return "a DICOM file: export it as 16-bit PNG"
    return _text(raw[:65_536])


def container(name: str) -> str | None:
    """What a file of that name holds images or labels in, and what to do; None for others."""
    return _CONTAINERS.get(os.path.splitext(name)[1].lower())


def is_heif(raw: bytes) -> bool:
    """Whether ``raw`` begins like a HEIC or HEIF photograph."""
    return raw[4:8] == b"ftyp" and bool(_brands(raw) & set(_HEIF_BRANDS)) and not is_avif(raw)


def is_avif(raw: bytes) -> bool:
    """Whether ``raw`` begins like an AVIF image."""
    return raw[4:8] == b"ftyp" and bool(_brands(raw) & set(_AVIF_BRANDS))


def raw_photograph(raw: bytes) -> str | None:
    """What is said of a camera's raw file that begins like a TIFF; None for other bytes.

    Pillow would show its small preview, or fail.
    """
    if raw[:4] not in (b"II*\x00", b"MM\x00*"):
        return None
    if raw[8:10] == b"CR":
        return _RAW.format("CR2")
    head = raw[:65_536]
    order = "little" if raw[:2] == b"II" else "big"
    if _has_tag(head, 0xC612, order):  # DNGVersion
        return _RAW.format("DNG")
    if b"NIKON" in head[:4096] and _has_tag(head, 0x014A, order):  # SubIFDs hold the raw data
        return _RAW.format("NEF")
    if b"SONY" in head[:4096] and _has_tag(head, 0xC634, order):
        return _RAW.format("ARW")
    if b"PENTAX" in head[:4096] and _has_tag(head, 0x014A, order):
        return _RAW.format("PEF")
    return None


def unusual_tiff(raw: bytes) -> tuple[str, bool]:
    """What is said of a TIFF whose channels cannot be read, and whether that is sure by its tags.

    Of some others Pillow itself says so. Empty for bytes that are no TIFF.
    """
    if raw[:4] not in (b"II*\x00", b"MM\x00*"):
        return "", False
    channels, bits, planes, kind = (
        _tag_value(raw, tag, little=raw[:2] == b"II") or 1
        for tag in (_SAMPLES_PER_PIXEL, _BITS_PER_SAMPLE, _PLANAR, _SAMPLE_FORMAT)
    )
    is_planar = planes == 2 and channels > 1
    words = (
        f"a TIFF of {channels} channel{'s' if channels > 1 else ''}{', in planes' * is_planar},"
        f" {'floating point' if kind == 3 else 'whole numbers'} of {bits} bits, which is not read:"
        " write the one or three channels to look at as PNG, 8 or 16 bits"
    )
    return words, channels > _MOST_CHANNELS or (is_planar and bits > 8)


def _has_tag(head: bytes, tag: int, order: str) -> bool:
    """Whether the first directory of a TIFF has an entry ``tag``."""
    return _entry(head, tag, little=order == "little") is not None


def _entry(raw: bytes, tag: int, *, little: bool) -> int | None:
    """Where the entry ``tag`` of the first directory of a TIFF starts; None where there is none."""
    order: Literal["little", "big"] = "little" if little else "big"
    start = int.from_bytes(raw[4:8], order)
    if not 8 <= start <= len(raw) - 2:
        return None
    entries = min(int.from_bytes(raw[start : start + 2], order), 512)
    places = range(start + 2, start + 2 + 12 * entries, 12)
    return next((p for p in places if int.from_bytes(raw[p : p + 2], order) == tag), None)


def _tag_value(raw: bytes, tag: int, *, little: bool) -> int | None:
    """The first of the 16-bit numbers that the entry ``tag`` holds, or names the place of."""
    place = _entry(raw, tag, little=little)
    if place is None:
        return None
    order: Literal["little", "big"] = "little" if little else "big"
    count = int.from_bytes(raw[place + 4 : place + 8], order)
    at = place + 8 if count <= 2 else int.from_bytes(raw[place + 8 : place + 12], order)
    return int.from_bytes(raw[at : at + 2], order)


def _brands(raw: bytes) -> set[str]:
    """The brands of an ISO media file: the major one, and those that it is compatible with."""
    size = min(int.from_bytes(raw[:4], "big"), 128)
    names = [raw[8:12], *(raw[i : i + 4] for i in range(16, size, 4))]
    return {name.decode("latin-1") for name in names}


def _iso_media(raw: bytes) -> str:
    if is_avif(raw):
        return _AVIF
    if is_heif(raw):
        return _HEIF
    brand = raw[8:12]
    if brand == b"crx ":
        return _RAW.format("CR3")
    return _VIDEO.format("QuickTime" if brand == b"qt  " else "MP4")


def _text(head: bytes) -> str | None:
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:2048].lower()
    if b"<svg" in start:
        return "an SVG drawing: export it as PNG"
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return "a web page, such as an error of a download: fetch the image again"
    if start.startswith((b"<?xml", b"<")):
        return "an XML text, such as an error of a download: fetch the image again"
    if start.startswith((b"{", b"[")):
        return "a JSON text, such as an error of a download: fetch the image again"
    if start and _is_text(head):
        return "a text"
    if head and not head.strip(b"\x00"):
        return "a file of zeros, as a broken copy leaves it"
    return None


def _is_text(head: bytes) -> bool:
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:
            return False
    return not any(byte < 9 or 13 < byte < 32 for byte in head)

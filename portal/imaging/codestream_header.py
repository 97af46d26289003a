"""What a JPEG, JPEG-LS or JPEG 2000 codestream says about itself: size, bits, and whether it is whole."""

from __future__ import annotations

from dataclasses import dataclass

END = b"\xff\xd9"  # EOI of JPEG and JPEG-LS, EOC of JPEG 2000
_SOC, _SIZ, _COD, _QCD, _SOT = b"\xff\x4f", b"\xff\x51", b"\xff\x52", b"\xff\x5c", b"\xff\x90"
_SOS, _JPEG_LS = 0xDA, 0xF7
_LOSSLESS, _HUFFMAN = (0xC3,), (0xC0, 0xC1, 0xC2, 0xC3)
_MOST_TILES = 65_535  # ITU-T T.800 A.5.1


@dataclass(frozen=True)
class CodestreamHeader:
    """`kind`: "jpeg" (DCT), "lossless" (JPEG's lossless process), "jpeg-ls", "2000" or "other" (arithmetic coding and
    the like). `is_signed` is None where the codestream does not say it. Of JPEG 2000 alone: `tiles`, their number,
    `is_subsampled`, and `coded_bits`, those of the values that are coded, 0 if it does not say."""

    kind: str
    rows: int
    columns: int
    components: int
    bits: int
    is_lossless: bool
    is_signed: bool | None = None
    tiles: int = 1
    is_subsampled: bool = False
    coded_bits: int = 0


def read_codestream_header(frame: bytes) -> CodestreamHeader | None:
    """Return the header of a codestream, inside or outside a JP2 box; None if there is none."""
    if frame[:2] == b"\xff\xd8":
        return _jpeg(frame)
    return _jpeg_2000(frame)


def _jpeg(frame: bytes) -> CodestreamHeader | None:
    """From the first SOF marker (ITU-T T.81 B.2.2, T.87 C.2.2), not that of a thumbnail in an APP segment."""
    at = 2
    while at + 9 < len(frame) and frame[at] == 0xFF:
        marker, length = frame[at + 1], int.from_bytes(frame[at + 2 : at + 4], "big")
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        if marker == _JPEG_LS or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            is_lossless = marker in _LOSSLESS or (marker == _JPEG_LS and _near(frame, at) == 0)
            kind = "lossless" if marker in _LOSSLESS else "jpeg" if marker in _HUFFMAN else "other"
            rows, columns = (int.from_bytes(frame[at + i : at + i + 2], "big") for i in (5, 7))
            return CodestreamHeader(
                kind="jpeg-ls" if marker == _JPEG_LS else kind,
                rows=rows,
                columns=columns,
                components=frame[at + 9],
                bits=frame[at + 4],
                is_lossless=is_lossless,
            )
        at += 2 + length
    return None


def _near(frame: bytes, at: int) -> int:
    """The largest error of JPEG-LS (NEAR, ITU-T T.87 C.2.3) in the first SOS marker at or after `at`."""
    while at + 4 < len(frame) and frame[at] == 0xFF:
        length = int.from_bytes(frame[at + 2 : at + 4], "big")
        if frame[at + 1] == _SOS:
            place = at + 5 + 2 * frame[at + 4]
            return frame[place] if place < len(frame) else 0
        at += 2 + length
    return 0


def _jpeg_2000(frame: bytes) -> CodestreamHeader | None:
    """From the SIZ, COD and QCD markers (ITU-T T.800 A.5.1, A.6.1, A.6.4)."""
    at = frame.find(_SOC + _SIZ, 0, 4096)
    if at < 0 or len(frame) < at + 43:
        return None
    numbers = [int.from_bytes(frame[at + i : at + i + 4], "big") for i in range(8, 40, 4)]
    right, bottom, left, top, tile_width, tile_height, tile_left, tile_top = numbers
    if tile_width == 0 or tile_height == 0:
        return None
    cod, qcd = (frame.find(marker, at + 42, at + 4096) for marker in (_COD, _QCD))
    is_lossless = cod >= 0 and frame[cod + 13 : cod + 14] == b"\1"  # the reversible 5-3 wavelet
    return CodestreamHeader(
        kind="2000",
        rows=bottom - top,
        columns=right - left,
        components=int.from_bytes(frame[at + 40 : at + 42], "big"),
        bits=(frame[at + 42] & 0x7F) + 1,
        is_lossless=is_lossless,
        is_signed=bool(frame[at + 42] & 0x80),
        tiles=-(-(right - tile_left) // tile_width) * -(-(bottom - tile_top) // tile_height),
        is_subsampled=frame[at + 43 : at + 45] != b"\1\1",
        # the exponent of the first sub-band, which has no gain (E.1.1)
        coded_bits=frame[qcd + 5] >> 3 if is_lossless and 0 <= qcd < len(frame) - 5 else 0,
    )


def has_whole_segments(frame: bytes) -> bool:
    """Whether one marker segment of a JPEG follows the other up to the coded data (ITU-T T.81 B.1.1.4). On bytes
    between them gdcm ends the process."""
    at = 2
    while at + 4 <= len(frame) and frame[at] == 0xFF:
        marker, length = frame[at + 1], int.from_bytes(frame[at + 2 : at + 4], "big")
        if marker == _SOS:
            return True
        at += 1 if marker == 0xFF else 2 + length  # FF FF: a fill byte
    return False


def has_all_tiles(frame: bytes, header: CodestreamHeader) -> bool:
    """Whether the tile-parts of a JPEG 2000 codestream have the lengths that they state (ITU-T T.800 A.4.2), end where
    the codestream does, and hold every tile of the stated size. `frame` ends with its end marker."""
    if not 1 <= header.tiles <= _MOST_TILES:
        return False
    at = frame.find(_SOT, frame.find(_SOC + _SIZ))
    tiles = set()
    while at >= 0 and frame[at : at + 2] == _SOT:
        tiles.add(int.from_bytes(frame[at + 4 : at + 6], "big"))
        length = int.from_bytes(frame[at + 6 : at + 10], "big")
        at = at + length if length else len(frame) - 2  # 0: to the end, in the last tile-part
        if length and length < 12:
            return False
    return at == len(frame) - 2 and tiles == set(range(header.tiles))

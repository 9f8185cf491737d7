"""The frames that clients send most, read without the library.

Pure functions over bytes. Nearly all that clients send are whole, masked,
unfragmented text frames of less than 64 KiB. To read one of those takes less
time here than the library takes for its header; everything else, and everything
that is wrong, stays with ``websockets.server.ServerProtocol``, frame by frame.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

__all__ = ["CLOSE", "LONGEST_PLAIN", "PLAIN", "close_is_in", "frame_size", "unmask"]

PLAIN = 0x81
"""The first byte of a whole text frame without extensions."""

LONGEST_PLAIN = 65_535
"""What a length of two bytes can say."""

CLOSE = 0x8


def _unmask(data: bytes, mask: bytes) -> bytes:
    """``data`` with the four bytes of ``mask`` laid over it, again and again."""
    size = len(data)
    pattern = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(data, "little") ^ int.from_bytes(pattern, "little")).to_bytes(
        size, "little"
    )


def _fastest_unmask() -> Callable[[bytes, bytes], bytes]:
    # The C function is no documented name of the library: where it is not built, has
    # moved or means something else, ours serves, at four times the price.
    try:
        from websockets.speedups import apply_mask

        theirs = cast("Callable[[bytes, bytes], bytes]", apply_mask)
        sample, mask = bytes(range(11)), b"\x01\x80\xff\x33"
        if theirs(sample, mask) == _unmask(sample, mask):
            return theirs
    except (ImportError, TypeError):
        pass
    return _unmask


unmask: Callable[[bytes, bytes], bytes] = _fastest_unmask()
"""``unmask(data, mask)``: the payload of a masked frame."""


def frame_size(data: bytes, at: int) -> int:
    """Bytes of the frame that begins at ``at``, its header included; 0 if that is not known yet."""
    left = len(data) - at
    if left < 2:
        return 0
    second = data[at + 1]
    size = second & 0x7F
    header = 6 if second & 0x80 else 2
    if size < 126:
        return header + size
    if size == 126:
        return 0 if left < 4 else header + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return 0 if left < 10 else header + 8 + int.from_bytes(data[at + 2 : at + 10], "big")


def close_is_in(data: bytes, at: int) -> bool:
    """Whether a CLOSE frame begins somewhere in ``data``, which has a frame at ``at``."""
    while at < len(data):
        if data[at] & 0x0F == CLOSE:
            return True
        size = frame_size(data, at)
        if not size:
            break
        at += size
    return False

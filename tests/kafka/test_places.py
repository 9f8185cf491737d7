"""How far a partition has been read, and whether the log is still the one that was read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pytest

from wsrooms_kafka.places import AnotherLog, Place


class Record(NamedTuple):
    """What a place looks at."""

    offset: int
    timestamp: int
    key: bytes
    headers: Sequence[tuple[str, bytes]] = ()
    timestamp_type: int = 1
    value: bytes = b""
    topic: str = "t"
    partition: int = 0


def log(*offsets: int, made: int = 1) -> list[Record]:
    """Some records of the first log, or of the one that was ``made`` as the second."""
    return [Record(offset, 1000 * made + offset, b"k") for offset in offsets]


def read(place: Place, *records: Record) -> tuple[list[int], bool]:
    """The offsets that are new, and whether any are missing."""
    new, missing = place.read(records)
    return [record.offset for record in new], missing


def test_the_first_connection_begins_at_the_end() -> None:
    place = Place(7, known=True)
    assert place.resume(0, 7) == (6, False)
    assert not place.behind
    assert read(place, *log(6)) == ([], False)
    assert read(place, *log(7, 8)) == ([7, 8], False)
    assert place.next == 9


def test_of_a_log_without_records_the_first_is_new() -> None:
    place = Place(0, known=True)
    assert place.resume(0, 0) == (0, False)
    assert read(place, *log(0)) == ([0], False)


def test_a_log_of_which_all_was_removed_begins_where_it_ends() -> None:
    place = Place(7, known=True)
    assert place.resume(7, 7) == (7, False)
    assert read(place, *log(7)) == ([7], False)


def test_a_next_connection_reads_on_and_skips_what_was_read() -> None:
    place = Place(0, known=True)
    place.resume(0, 0)
    read(place, *log(0, 1, 2))
    assert place.resume(0, 5) == (2, False)
    assert place.behind
    assert read(place, *log(2, 3)) == ([3], False)
    assert place.behind
    assert read(place, *log(4)) == ([4], False)
    assert not place.behind


def test_a_place_that_was_removed_from_the_log_is_missing_and_it_goes_on_at_the_beginning() -> None:
    place = Place(0, known=True)
    place.resume(0, 0)
    read(place, *log(0, 1))
    assert place.resume(5, 9) == (5, True)
    assert read(place, *log(5, 6)) == ([5, 6], False)


def test_a_place_behind_the_end_is_of_another_log() -> None:
    place = Place(0, known=True)
    place.resume(0, 0)
    read(place, *log(0, 1, 2))
    assert place.resume(0, 2) == (0, True)
    assert read(place, *log(0, 1, made=2)) == ([0, 1], False)


def test_another_log_that_has_grown_past_the_place_is_found_out() -> None:
    place = Place(0, known=True)
    place.resume(0, 0)
    read(place, *log(0, 1, 2))
    assert place.resume(0, 10) == (2, False)
    with pytest.raises(AnotherLog):
        place.read(log(2, 3, made=2))
    assert place.next is None
    assert read(place, *log(0, 1, 2, 3, made=2)) == ([0, 1, 2, 3], False)
    assert place.next == 4


def test_another_log_is_found_out_also_where_nothing_was_read_but_the_last_before_the_start() -> (
    None
):
    place = Place(3, known=True)
    place.resume(0, 3)
    read(place, *log(2))
    assert place.resume(0, 10) == (2, False)
    with pytest.raises(AnotherLog):
        place.read(log(2, made=2))


@pytest.mark.parametrize(
    "other",
    [
        Record(2, 1003, b"k"),
        Record(2, 1002, b"x"),
        Record(2, 1002, b"k", (("s", b"1"),)),
    ],
)
def test_a_record_is_another_by_its_time_its_key_or_its_headers(other: Record) -> None:
    place = Place(0, known=True)
    place.resume(0, 0)
    read(place, *log(0, 1, 2))
    place.resume(0, 3)
    with pytest.raises(AnotherLog):
        place.read([other])


def test_a_jump_is_told_once() -> None:
    place = Place(0, known=True)
    place.resume(0, 0)
    assert read(place, *log(0)) == ([0], False)
    assert read(place, *log(5, 6)) == ([5, 6], True)
    assert read(place, *log(7)) == ([7], False)
    assert read(place, *log(0, 1, made=2)) == ([0, 1], True)


def test_a_place_whose_last_record_was_removed_meanwhile_goes_on_all_the_same() -> None:
    place = Place(0, known=True)
    place.resume(0, 0)
    read(place, *log(0, 1, 2))
    assert place.resume(0, 4) == (2, False)
    assert read(place, *log(3)) == ([3], False)
    place.resume(0, 9)
    assert read(place, *log(7)) == ([7], True)


def test_a_new_partition_is_read_from_its_beginning() -> None:
    place = Place(0, known=False)
    assert place.resume(0, 4) == (0, False)
    assert place.behind
    assert read(place, *log(0, 1, 2, 3)) == ([0, 1, 2, 3], False)


def test_a_connection_that_brought_nothing_changes_nothing_for_the_next() -> None:
    place = Place(7, known=True)
    place.resume(0, 7)
    assert place.resume(0, 8) == (6, False)
    assert read(place, *log(6, 7)) == ([7], False)
    place.resume(0, 8)
    assert place.resume(0, 8) == (7, False)
    with pytest.raises(AnotherLog):
        place.read(log(7, made=2))


def test_a_log_that_has_lost_its_end_is_not_heard_again_from_its_beginning() -> None:
    place = Place(0, known=True)
    place.resume(0, 0)
    read(place, *log(*range(10)))
    assert place.resume(0, 7) == (0, True)
    assert read(place, *log(*range(5))) == ([], False)
    assert read(place, *log(5, 6)) == ([], False)
    later = [Record(7, 5000, b"k"), Record(8, 4000, b"k")]
    assert read(place, *later) == ([7, 8], False)


def test_nor_is_one_that_has_lost_its_end_and_grown_since() -> None:
    place = Place(0, known=True)
    place.resume(0, 0)
    read(place, *log(*range(5)))
    grown = [*log(0, 1, 2), *(Record(offset, 1500 + offset, b"k") for offset in range(3, 9))]
    assert place.resume(0, 9) == (4, False)
    with pytest.raises(AnotherLog):
        place.read(grown[4:])
    assert read(place, *grown) == ([3, 4, 5, 6, 7, 8], False)


def test_nor_is_one_that_falls_back_while_it_is_read() -> None:
    place = Place(0, known=True)
    place.resume(0, 0)
    read(place, *log(*range(5)))
    assert read(place, *log(0, 1, 2), Record(3, 2000, b"k")) == ([3], True)


def test_of_clocks_that_differ_no_time_tells_what_was_there_before() -> None:
    place = Place(0, known=True)
    place.resume(0, 0)
    read(place, *log(0, 1, 2, made=9))
    assert place.resume(0, 2) == (0, True)
    assert read(place, *(each._replace(timestamp_type=0) for each in log(0, 1))) == ([0, 1], False)


def test_a_place_that_is_moved_goes_on_there_and_looks_back_at_nothing() -> None:
    place = Place(0, known=True)
    place.resume(0, 9)
    assert place.behind
    place.moved(9)
    assert (place.start, place.behind) == (9, False)
    assert read(place, *log(9)) == ([9], False)
    place.moved(3)
    assert read(place, *log(3, 4)) == ([], False)
    assert read(place, Record(5, 9000, b"k")) == ([5], False)

"""Over a bus that loses, repeats and reorders, what was heard and what was missed add up."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from wsrooms.transports.envelope import Sequencer, SequenceWatch

DETERMINISTIC = settings(derandomize=True, deadline=None, max_examples=300)

Numbers = tuple[int, int]


def published(limit: int, channels: list[str]) -> list[tuple[str, Numbers]]:
    sequencer = Sequencer(limit)
    return [(channel, sequencer.next(channel)) for channel in channels]


@st.composite
def arrivals(draw: st.DrawFn) -> tuple[list[tuple[str, Numbers]], list[int]]:
    """What was published, and the places of what arrives: some lost, late or again."""
    channels = draw(st.lists(st.sampled_from("abc"), min_size=1, max_size=40))
    sent = published(draw(st.integers(1, 4)), channels)
    places = st.integers(0, len(sent) - 1)
    order = draw(st.lists(places, max_size=60) | st.permutations(range(len(sent))))
    return sent, order


@DETERMINISTIC
@given(arrivals())
def test_nothing_is_delivered_twice_nor_out_of_order_and_the_gaps_add_up(
    given_: tuple[list[tuple[str, Numbers]], list[int]],
) -> None:
    sent, order = given_
    watch = SequenceWatch()
    delivered: dict[str, list[int]] = {}
    missing: dict[str, int] = {}
    for place in order:
        channel, (epoch, seq) = sent[place]
        verdict = watch.judge(channel, "i", epoch, seq, 0)
        if verdict.deliver:
            delivered.setdefault(channel, []).append(place)
            missing[channel] = missing.get(channel, 0) + verdict.missing
        else:
            assert verdict.missing == 0
    for channel, places in delivered.items():
        assert places == sorted(set(places))
        first, last = places[0], places[-1]
        between = [place for place in range(first, last + 1) if sent[place][0] == channel]
        # Of an epoch that ended unheard nobody knows how far it went: what came after the
        # last that was delivered of it cannot be counted.
        epochs = [sent[place][1][0] for place in places]
        unknown = sum(
            1
            for place in between
            if sent[place][1][0] not in epochs
            or (
                sent[place][1][0] != epochs[-1]
                and place
                > max(p for p, e in zip(places, epochs, strict=True) if e == sent[place][1][0])
            )
        )
        assert len(places) + missing[channel] + unknown == len(between)


@DETERMINISTIC
@given(st.lists(st.booleans(), min_size=2, max_size=60))
def test_in_one_epoch_what_was_heard_and_missed_is_all_that_was_sent(arrives: list[bool]) -> None:
    watch, sequencer = SequenceWatch(), Sequencer(1)
    heard = missed = sent = 0
    first: int | None = None
    for number, comes in enumerate([*arrives, True], 1):
        epoch, seq = sequencer.next("c")
        sent += 1
        if comes:
            first = number if first is None else first
            verdict = watch.judge("c", "i", epoch, seq, 0)
            again = watch.judge("c", "i", epoch, seq, 0)
            assert (verdict.deliver, again.deliver) == (True, False)
            heard += 1
            missed += verdict.missing
    assert first is not None
    assert heard + missed == sent - first + 1

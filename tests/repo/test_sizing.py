"""The calculation of docs/sizing.md: its formulas, and what it reads from a result file."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.harness.publish import RECORD, pages
from benchmarks.harness.results import Results
from benchmarks.harness.sizing import cli
from benchmarks.harness.sizing.figures import Incomplete, all_prices
from benchmarks.harness.sizing.model import Curve, Fleet, Machines, Prices, Workload, fold, use
from tests.repo.bench import ROOT


def flat(each: float) -> Curve:
    """A message costs so many seconds, however many there are."""
    return Curve(((1.0, each),))


REDIS = Prices(
    name="redis",
    cluster="copies",
    threads=1,
    reads_all=False,
    talk=flat(100e-6),
    hear=flat(60e-6),
    stranger=flat(0),
    deliver=flat(10e-6),
    into=flat(20e-6),
    out=flat(5e-6),
    idle=0.001,
    broker_idle=0.002,
    payload=200,
    bytes_in=400,
    bytes_out=300,
    instance_kb=40 * 1024,
    connection_kb=8,
    room_bytes=1024,
    member_bytes=128,
    broker_kb=10 * 1024,
    broker_room_bytes=256,
    connections=2,
)
NATS = replace(REDIS, name="nats", cluster="routes", threads=None)
KAFKA = replace(
    REDIS,
    name="kafka",
    cluster="partitions",
    threads=None,
    reads_all=True,
    stranger=flat(1e-6),
    broker_room_bytes=0,
)
FOUR = Workload(name="four", rooms=50, members=8, rate=10, even=True)
BIG = Fleet(instances=100, clients=10_000)
EVERYBODY = Workload(name="all", rooms=1, members=1_000_000, rate=1)
SMALL = Workload(name="small", rooms=250_000, members=4, rate=0.1)


def test_a_curve_goes_through_what_was_measured_and_on_at_the_price_of_its_end() -> None:
    curve = Curve(((100.0, 0.02), (1000.0, 0.1), (10_000.0, 0.19)))
    assert [curve.at(rate).most for rate in (0, 50, 100, 550, 10_000, 20_000)] == pytest.approx(
        [0, 0.01, 0.02, 0.06, 0.19, 0.38]
    )
    assert curve.each == pytest.approx(19e-6)
    assert curve.at(1000).least == pytest.approx(0.019)


def test_nothing_costs_nothing() -> None:
    assert Curve(((1000.0, 0.0),)).at(50_000).most == 0


def test_a_room_is_on_as_many_instances_as_its_members_reach_at_random() -> None:
    assert SMALL.hosts(1) == 1
    assert SMALL.hosts(2) == pytest.approx(2 * (1 - 0.5**4))
    assert EVERYBODY.hosts(100) == pytest.approx(100)
    assert FOUR.hosts(4) == 4
    assert FOUR.hosts(100) == 8


def test_the_broker_gets_each_message_once_and_sends_it_to_each_instance_that_hosts_its_room() -> (
    None
):
    found = use(REDIS, Fleet(instances=4, clients=100), FOUR)
    assert (found.published, found.sent, found.deliveries) == (500, 2000, 4000)
    assert found.broker.most == pytest.approx(500 * 20e-6 + 2000 * 5e-6 + 0.002)
    assert found.bits_in == 8 * 500 * 400
    assert found.bits_out == 8 * 2000 * 300


def test_an_instance_pays_for_what_its_clients_say_what_it_hears_and_what_it_delivers() -> None:
    found = use(REDIS, Fleet(instances=4, clients=100), FOUR)
    said, heard, delivered = 125, 375, 1000
    expected = said * 100e-6 + heard * (60e-6 - 10e-6) + delivered * 10e-6 + 0.001
    assert found.instance.most == pytest.approx(expected)


def test_over_kafka_every_instance_reads_everything() -> None:
    found = use(KAFKA, BIG, SMALL)
    assert found.sent == found.published * 100
    assert found.subscriptions == 0
    said = found.published / 100
    heard = found.published * SMALL.hosts(100) / 100 - said
    # What is read is paid for once, though it is in the prices of talking and hearing too.
    expected = said * 99e-6 + heard * (60e-6 - 1e-6 - 10e-6) + found.published * 1e-6
    expected += found.deliveries / 100 * 10e-6 + 0.001
    assert found.instance.most == pytest.approx(expected)


def test_memory_is_that_of_connections_of_rooms_and_of_subscriptions() -> None:
    found = use(REDIS, BIG, SMALL)
    hosted = 250_000 * SMALL.hosts(100) / 100
    others = 250_000 * 4 / 100 - hosted
    expected = 40 + 10_000 * 8 / 1024 + (hosted * 1024 + others * 128) / 2**20
    assert found.instance_mb == pytest.approx(expected)
    assert found.subscriptions == pytest.approx(hosted * 100)
    assert found.broker_mb == pytest.approx(10 + found.subscriptions * 256 / 2**20)
    assert found.connections == 200


def test_a_larger_message_takes_more_of_the_network_and_no_more_cpu() -> None:
    small, large = (use(REDIS, BIG, replace(SMALL, payload=size)) for size in (200, 1200))
    assert large.bits_in - small.bits_in == pytest.approx(8 * 1000 * small.published)
    assert large.bits_out - small.bits_out == pytest.approx(8 * 1000 * small.sent)
    assert large.broker == small.broker


def test_more_servers_help_nats_with_small_rooms_and_redis_hardly() -> None:
    three = replace(BIG, brokers=3, replicas=3)
    costs = {
        prices.name: use(prices, three, SMALL).broker.most / use(prices, BIG, SMALL).broker.most
        for prices in (REDIS, NATS, KAFKA)
    }
    # Redis has all messages on each node, and only what goes out is shared.
    assert use(REDIS, three, SMALL).bits_in == use(REDIS, BIG, SMALL).bits_in
    assert use(NATS, three, SMALL).bits_in < use(NATS, BIG, SMALL).bits_in
    # Each of Kafka's has a third, and copies of the rest, which it fetches many at a time.
    whole, part = use(KAFKA, BIG, SMALL), use(KAFKA, three, SMALL)
    copying = whole.published * 2 / 3 * (KAFKA.into.each + KAFKA.out.each)
    served = whole.broker.most - KAFKA.broker_idle
    assert part.broker.most - KAFKA.broker_idle == pytest.approx(served / 3 + copying)
    assert part.bits_in == pytest.approx(whole.bits_in)
    assert costs["kafka"] < 1
    assert costs["nats"] < costs["redis"] < 1


def test_each_of_three_servers_has_its_share_of_instances_and_of_what_they_subscribed_to() -> None:
    three = replace(BIG, brokers=3, replicas=3)
    for prices, connections, subscriptions in ((REDIS, 67, 1 / 3), (NATS, 67, 1), (KAFKA, 200, 1)):
        one, part = use(prices, BIG, SMALL), use(prices, three, SMALL)
        assert part.connections == connections, prices.name
        base = prices.broker_kb / 1024
        assert part.broker_mb - base == pytest.approx((one.broker_mb - base) * subscriptions)


def test_what_an_instance_is_sent_counts_for_its_network() -> None:
    found = use(KAFKA, BIG, SMALL)
    assert found.instance_bits_in == pytest.approx(8 * found.published * KAFKA.bytes_out)
    slow = use(KAFKA, BIG, SMALL, Machines(bits=found.instance_bits_in))
    limits = {limit.name: limit.share for limit in slow.limits}
    assert limits["the instances' network"] == pytest.approx(1)


def test_the_limit_that_is_told_is_the_one_that_more_messages_reach_first() -> None:
    times, name = fold(REDIS, BIG, SMALL)
    assert name == "the broker's CPU"
    at_it = use(REDIS, BIG, replace(SMALL, rate=SMALL.rate * times))
    assert at_it.limits[0].name == name
    assert at_it.limits[0].share == pytest.approx(1)
    slow = Machines(bits=1e6)
    assert fold(REDIS, BIG, SMALL, slow)[1] == "the broker's network"


def test_the_limits_of_a_room_for_everybody_are_the_instances() -> None:
    assert use(REDIS, BIG, EVERYBODY).limits[0].name.startswith("the instances'")


def test_the_pages_show_what_the_record_holds() -> None:
    results = Results.read(RECORD)
    for page, text in pages(results).items():
        assert page.read_text("utf-8") == text, (
            f"{page.relative_to(ROOT)} is not what benchmarks/transports.json makes of it: "
            "python benchmarks/run.py --report benchmarks/transports.json --write"
        )


def test_the_record_has_every_broker_in_all_that_is_calculated_with() -> None:
    found = all_prices(Results.read(RECORD))
    assert [prices.name for prices in found] == ["redis", "valkey", "nats", "kafka"]
    for prices in found:
        for curve in (prices.talk, prices.hear, prices.deliver, prices.into):
            assert curve.at(1000).most > 0, (prices.name, curve)
        assert prices.bytes_in > prices.payload
        assert prices.bytes_out > prices.payload


def test_a_record_without_what_is_needed_is_refused_with_what_is_missing() -> None:
    results = Results.read(RECORD)
    results.runs = [run for run in results.runs if run.scenario != "traffic"]
    with pytest.raises(Incomplete, match="redis was not measured in traffic"):
        all_prices(results)


def test_a_fleet_of_ones_own_is_calculated(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--instances", "20", "--clients", "5000", "--rooms", "20000", "--rate", "0.5"]
    assert cli.main(words) == 0
    told = capsys.readouterr().out
    assert "20 instances of one core, 5,000 clients on each" in told
    assert "20,000 rooms of 4; in each of them somebody says something every 2 s" in told
    assert "| messages/s into the broker | 10,000 | 10,000 | 10,000 | 10,000 |" in told


WHOLE = ("instances", "clients", "brokers", "rooms", "members", "payload", "broker-cores")
AMOUNTS = ("rate", "gbit", "instance-mb", "broker-mb")
LEAST: dict[str, str] = {**dict.fromkeys(WHOLE, "1"), **dict.fromkeys(AMOUNTS, "0.000001")}


def words(values: dict[str, str]) -> list[str]:
    return [word for name, value in values.items() for word in (f"--{name}", value)]


@pytest.mark.parametrize("option", LEAST)
@pytest.mark.parametrize("wrong", ["0", "-1", "1000000001", "nan", "inf", "many", ""])
def test_a_number_that_makes_no_sense_is_refused_with_the_option_and_what_it_takes(
    option: str, wrong: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([*words(LEAST), f"--{option}={wrong}"])
    assert ended.value.code == 2
    takes = f"{'whole ' * (option in WHOLE)}number from {LEAST[option]} to 1,000,000,000"
    told = f"argument --{option}: {wrong!r} is no {takes}\n"
    assert capsys.readouterr().err.endswith(told)


def test_the_least_and_the_most_of_everything_is_calculated(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for fleet in (LEAST, dict.fromkeys(LEAST, "1000000000")):
        assert cli.main(words(fleet)) == 0
        told = capsys.readouterr().out
        assert "nan" not in told
        assert "inf" not in told


def test_a_room_has_no_more_members_than_there_are_clients(
    capsys: pytest.CaptureFixture[str],
) -> None:
    fleet = ["--instances", "2", "--clients", "5", "--rooms", "1", "--members"]
    assert cli.main([*fleet, "10"]) == 0
    with pytest.raises(SystemExit):
        cli.main([*fleet, "11"])
    told = "--members: a room has 1 to 10 members, as there are clients\n"
    assert capsys.readouterr().err.endswith(told)


def test_what_is_about_rooms_is_refused_where_there_are_none_given(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for option in ("members", "rate", "payload"):
        with pytest.raises(SystemExit):
            cli.main([f"--{option}", "1"])
        told = f"--{option} is about the rooms of --rooms, which is missing\n"
        assert capsys.readouterr().err.endswith(told)


def test_the_size_of_messages_that_was_given_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--rooms", "10", "--payload", "1000"]) == 0
    assert "messages of 1,000 bytes and 94 more" in capsys.readouterr().out


def test_a_record_that_is_not_there_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--record", "nowhere.json"]) == 2
    assert "nowhere.json" in capsys.readouterr().err

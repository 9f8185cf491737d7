"""The formulas: pure, without a file or a process.

Each broker has prices: what one message costs a program, as a curve over how many there are a
second, because who has more of them at a time pays less for each. A fleet and what its clients do
give the rates; prices and rates give what is used.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

__all__ = [
    "Curve",
    "Fleet",
    "Limit",
    "Machines",
    "Prices",
    "Range",
    "Use",
    "Workload",
    "fold",
    "use",
]

Cluster = Literal["copies", "routes", "partitions"]
"""What several brokers do with a message: each has it (Redis), those have it that have somebody
who hears it (NATS), one has it and others keep copies (Kafka)."""

KB, MB = 1024, 1024 * 1024

DOUBLINGS = 60
"""Halvings of an interval until it is a point."""

FOLD = 1e6
"""A workload that may be so many times as large has no limit worth telling."""


@dataclass(frozen=True)
class Range:
    """From what it is when many messages come at a time, to what it is when each comes alone."""

    least: float
    most: float

    def __add__(self, other: Range) -> Range:
        return Range(self.least + other.least, self.most + other.most)

    def __sub__(self, other: Range) -> Range:
        """The rest, and never less than nothing."""
        return Range(max(0, self.least - other.least), max(0, self.most - other.most))

    def __mul__(self, factor: float) -> Range:
        return Range(self.least * factor, self.most * factor)


NOTHING = Range(0, 0)


@dataclass(frozen=True)
class Curve:
    """The share of a core over messages a second, linear between what was measured.

    Attributes:
        points: Pairs of a rate and a share, by rate; below the first of them a message costs
            what it costs there, and beyond the last one what it costs there.
    """

    points: tuple[tuple[float, float], ...]

    @property
    def each(self) -> float:
        """Seconds for a message where there are as many as were measured at most."""
        rate, share = self.points[-1]
        return share / rate

    def at(self, rate: float) -> Range:
        """The share for so many a second, if they come many at a time, and as was measured."""
        before, then = 0.0, 0.0
        for here, share in self.points:
            if rate <= here:
                most = then + (share - then) * (rate - before) / (here - before)
                break
            before, then = here, share
        else:
            most = then + (rate - before) * self.each
        return Range(min(most, self.each * rate), most)


@dataclass(frozen=True, kw_only=True)
class Prices:
    """What was measured of one broker, and of our instances beside it.

    Attributes:
        name: The broker's.
        cluster: What several of them do.
        threads: How many cores one of them can use; None for as many as there are.
        reads_all: An instance is sent all messages, of rooms that it hosts or not.
        talk: CPU of an instance for messages that its clients send, until the broker has them.
        hear: Of an instance for messages of others, with the delivery to one member.
        stranger: Of an instance for messages in rooms that it does not host.
        deliver: Of an instance for deliveries to its members.
        into: Of the broker for messages that one instance publishes.
        out: Of the broker for messages that it sends to one instance.
        idle: Of an instance that does nothing.
        broker_idle: Of the broker.
        payload: Bytes of the messages that were measured.
        bytes_in: Of one on its way to the broker, all headers counted.
        bytes_out: Of one on its way to one instance.
        instance_kb: Memory of an instance without clients.
        connection_kb: Of a client's connection.
        room_bytes: Of a room on an instance, with its first member.
        member_bytes: Of each further membership.
        broker_kb: Memory of the broker when nobody is there.
        broker_room_bytes: Of a room that one instance hosts.
        connections: Of one instance to the broker.
    """

    name: str
    cluster: Cluster
    threads: int | None
    reads_all: bool
    talk: Curve
    hear: Curve
    stranger: Curve
    deliver: Curve
    into: Curve
    out: Curve
    idle: float
    broker_idle: float
    payload: int
    bytes_in: float
    bytes_out: float
    instance_kb: float
    connection_kb: float
    room_bytes: float
    member_bytes: float
    broker_kb: float
    broker_room_bytes: float
    connections: int


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """Instances of one core each, the clients of each, and the brokers between them.

    Attributes:
        replicas: Brokers that keep a message, where it is kept.
    """

    instances: int
    clients: int
    brokers: int = 1
    replicas: int = 1


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What the clients do.

    Attributes:
        rooms: In the whole fleet.
        members: Of each room; they are on any instance, as a load balancer puts them.
        rate: Messages a second in each room, each said by a member to all the others.
        payload: Bytes of a message.
        even: Each room has as many members on each instance, and a sender beside them.
    """

    name: str
    rooms: int
    members: int
    rate: float
    payload: int = 200
    even: bool = False

    def hosts(self, instances: int) -> float:
        """On how many instances a room has members."""
        if self.even:
            return min(instances, self.members)
        return instances * (1 - (1 - 1 / instances) ** self.members)


@dataclass(frozen=True, kw_only=True)
class Machines:
    """What there is of everything; an assumption, not a measurement.

    Attributes:
        broker_cores: Of a broker's machine, where the broker can use more than one.
        bits: Of a network card, a second and in each direction.
        instance_mb: Memory for an instance.
        broker_mb: For a broker.
        frame: Bytes around the payload of a delivery: Ethernet 38, IP 20, TCP 32, WebSocket 4.
    """

    broker_cores: int = 8
    bits: float = 1e9
    instance_mb: float = 4096
    broker_mb: float = 16_384
    frame: int = 94


@dataclass(frozen=True, kw_only=True)
class Limit:
    """A thing that there is only so much of, and how much of it is used at most."""

    name: str
    share: float


@dataclass(frozen=True, kw_only=True)
class Use:
    """What a fleet uses: of all rates those a second.

    Attributes:
        published: Messages into the brokers.
        sent: Messages from them to instances.
        deliveries: To clients.
        broker: Cores of each broker.
        instance: Of each instance.
        bits_in: Into each broker.
        bits_out: Out of it.
        instance_bits_in: Into an instance from the broker, without what its clients say.
        instance_bits_out: Out of it, to the clients and to the broker.
        instance_mb: Memory of each instance.
        broker_mb: Memory of each broker, without what it keeps on a disk.
        subscriptions: Of all instances, at the brokers; 0 where they are not told.
        connections: Of all instances to each broker.
        limits: The most used first.
    """

    published: float
    sent: float
    deliveries: float
    broker: Range
    instance: Range
    bits_in: float
    bits_out: float
    instance_bits_in: float
    instance_bits_out: float
    instance_mb: float
    broker_mb: float
    subscriptions: float
    connections: int
    limits: tuple[Limit, ...]


def use(prices: Prices, fleet: Fleet, work: Workload, machines: Machines | None = None) -> Use:
    """What this fleet uses of everything."""
    machines = machines or Machines()
    count = fleet.instances
    hosts = work.hosts(count)
    published = work.rooms * work.rate
    sent = published * (count if prices.reads_all else hosts)
    listeners = work.members if work.even else work.members - 1
    deliveries = published * listeners
    more = work.payload - prices.payload
    into, out, copies = _at_each_broker(prices.cluster, fleet, published, sent, hosts)
    broker = _of_connections(prices.into, into, count) + _of_connections(prices.out, out, count)
    # Brokers fetch copies from each other many at a time, whoever said them.
    copying = copies * (prices.into.each + prices.out.each)
    broker += Range(copying, copying)
    instance = _instance(prices, published, published * hosts, deliveries, count)
    bits_in, bits_out = (
        8 * rate * (bytes_each + more)
        for rate, bytes_each in (
            (into + copies, prices.bytes_in),
            (out + copies, prices.bytes_out),
        )
    )
    to_clients = deliveries / count * (work.payload + machines.frame)
    to_broker = published / count * (prices.bytes_in + more)
    from_broker = sent / count * (prices.bytes_out + more)
    instance_bits = 8 * (to_clients + to_broker)
    hosted = work.rooms * hosts / count
    memberships = work.rooms * work.members / count
    instance_mb = (
        prices.instance_kb * KB
        + fleet.clients * prices.connection_kb * KB
        + hosted * prices.room_bytes
        + max(0, memberships - hosted) * prices.member_bytes
    ) / MB
    subscriptions = 0 if prices.reads_all else hosted * count
    # An instance is at one of the brokers, but at each where each has its own messages. Where
    # messages take routes, brokers know each other's subscriptions.
    known = subscriptions / fleet.brokers if prices.cluster == "copies" else subscriptions
    share = 1 if prices.cluster == "partitions" else fleet.brokers
    broker_mb = (prices.broker_kb * KB + known * prices.broker_room_bytes) / MB
    cores = machines.broker_cores if prices.threads is None else prices.threads
    limits = (
        Limit(name="the broker's CPU", share=(broker.most + prices.broker_idle) / cores),
        Limit(name="the instances' CPU", share=instance.most),
        Limit(name="the broker's network", share=max(bits_in, bits_out) / machines.bits),
        Limit(
            name="the instances' network",
            share=max(instance_bits, 8 * from_broker) / machines.bits,
        ),
        Limit(name="the instances' memory", share=instance_mb / machines.instance_mb),
        Limit(name="the broker's memory", share=broker_mb / machines.broker_mb),
    )
    return Use(
        published=published,
        sent=sent,
        deliveries=deliveries,
        broker=broker + Range(prices.broker_idle, prices.broker_idle),
        instance=instance,
        bits_in=bits_in,
        bits_out=bits_out,
        instance_bits_in=8 * from_broker,
        instance_bits_out=instance_bits,
        instance_mb=instance_mb,
        broker_mb=broker_mb,
        subscriptions=subscriptions,
        connections=round(count * prices.connections / share),
        limits=tuple(sorted(limits, key=lambda limit: limit.share, reverse=True)),
    )


def fold(
    prices: Prices, fleet: Fleet, work: Workload, machines: Machines | None = None
) -> tuple[float, str]:
    """How many times the messages there may be until something is used up, and what that is."""
    low, high = 0.0, FOLD
    for _ in range(DOUBLINGS):
        middle = (low + high) / 2
        found = use(prices, fleet, replace(work, rate=work.rate * middle), machines)
        if found.limits[0].share > 1:
            high = middle
        else:
            low = middle
    found = use(prices, fleet, replace(work, rate=work.rate * high), machines)
    return low, found.limits[0].name


def _at_each_broker(
    cluster: Cluster, fleet: Fleet, published: float, sent: float, hosts: float
) -> tuple[float, float, float]:
    """Messages into one broker and out of it, and copies that it fetches and is asked for."""
    brokers = fleet.brokers
    match cluster:
        case "copies":
            others = published * (brokers - 1) / brokers
            return published, sent / brokers + others, 0
        case "routes":
            having = brokers * (1 - (1 - 1 / brokers) ** hosts) if brokers > 1 else 1.0
            others = published * max(0, having - 1) / brokers
            return published / brokers + others, sent / brokers + others, 0
        case "partitions":
            copies = published * (min(fleet.replicas, brokers) - 1) / brokers
            return published / brokers, sent / brokers, copies


def _of_connections(curve: Curve, rate: float, count: int) -> Range:
    """The share for messages that come from, or go to, so many connections, as many for each."""
    return curve.at(rate / count) * count


def _instance(
    prices: Prices, published: float, hosted: float, deliveries: float, count: int
) -> Range:
    """The share of one instance, of rates that are those of all ``count``.

    What reading costs whatever is read is in the prices of talking and of hearing too, so it is
    taken out of these, and counted once for all that an instance reads.
    """
    said = published / count
    heard = max(0, hosted / count - said)
    read = published if prices.reads_all else 0
    talking = prices.talk.at(said) - _strange(prices, said)
    hearing = prices.hear.at(heard) - _strange(prices, heard) - prices.deliver.at(heard)
    found = talking + hearing + prices.stranger.at(read) + prices.deliver.at(deliveries / count)
    return found + Range(prices.idle, prices.idle)


def _strange(prices: Prices, rate: float) -> Range:
    return prices.stranger.at(rate) if prices.reads_all else NOTHING

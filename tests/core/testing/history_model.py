"""A small fleet that keeps its promises, for tests of the history checker: no loop, no socket."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from wsrooms.testing import History

ROOMS = ("red", "blue")


@dataclass(eq=False)
class Client:
    name: str
    instance: Instance
    inbox: deque[Callable[[], None]] = field(default_factory=deque)
    """What the instance has sent, in order: answers and pushes."""
    calls: deque[Callable[[], None]] = field(default_factory=deque)
    """What the client has asked for, and the instance has not handled."""
    gone: bool = False
    goes: bool = True
    """Whether it may leave and disconnect; residents do not."""


@dataclass(eq=False)
class Instance:
    name: str
    members: dict[str, list[Client]] = field(default_factory=lambda: {room: [] for room in ROOMS})
    seq: dict[str, int] = field(default_factory=dict)
    heard: dict[tuple[str, str], int] = field(default_factory=dict)
    links: dict[Instance, deque[tuple[str, int, int, str | None]]] = field(default_factory=dict)


class Fleet:
    """Instances, clients and what is on its way between them; ``random`` decides what happens."""

    def __init__(self, random: Random, instances: int, *, lossy: bool) -> None:
        self.random = random
        self.lossy = lossy
        self.now = itertools.count()
        self.history = History(clock=lambda: float(next(self.now)))
        self.ids = itertools.count(1)
        self.instances = [Instance(f"i{number}") for number in range(instances)]
        self.clients: list[Client] = []
        for instance in self.instances:
            instance.links = {other: deque() for other in self.instances if other is not instance}
            self.history.started(instance.name, publisher=f"p-{instance.name}")
        for instance in self.instances:
            resident = self.connect(instance)
            resident.goes = False
            for room in ROOMS:
                self.join(resident, room)
        self.settle()

    # What clients do

    def connect(self, instance: Instance) -> Client:
        client = Client(f"c{len(self.clients)}", instance)
        self.clients.append(client)
        self.history.connect(client.name, instance.name)
        client.inbox.append(lambda: self.history.connected(client.name))
        return client

    def join(self, client: Client, room: str, *, fails: bool = False) -> None:
        self.history.join(client.name, room)

        def handle() -> None:
            members = client.instance.members[room]
            if fails and client not in members:
                client.inbox.append(lambda: self.history.join_failed(client.name, room))
                return
            if client not in members:
                members.append(client)
            client.inbox.append(lambda: self.history.joined(client.name, room))

        client.calls.append(handle)

    def leave(self, client: Client, room: str) -> None:
        self.history.leave(client.name, room)

        def handle() -> None:
            self.drop_member(client, room)
            client.inbox.append(lambda: self.history.left(client.name, room))

        client.calls.append(handle)

    def drop_member(self, client: Client, room: str) -> None:
        members = client.instance.members[room]
        if client in members:
            members.remove(client)
            if not members:
                for other in self.instances:
                    client.instance.heard.pop((room, other.name), None)

    def say(self, client: Client, room: str) -> None:
        message = next(self.ids)
        name = client.name
        self.history.send(message, room, instance=client.instance.name, by=name, exclude=name)

        def handle() -> None:
            self.broadcast(client.instance, room, message, exclude=name)
            client.inbox.append(lambda: self.history.sent(message))

        client.calls.append(handle)

    def disconnect(self, client: Client) -> None:
        self.history.disconnect(client.name)
        client.calls.clear()
        client.inbox.clear()
        client.gone = True
        for room in ROOMS:
            self.drop_member(client, room)
        self.history.disconnected(client.name)

    # What instances do

    def announce(self, instance: Instance, room: str) -> None:
        message = next(self.ids)
        self.history.send(message, room, instance=instance.name, by=f"code of {instance.name}")
        self.broadcast(instance, room, message, exclude=None)
        self.history.sent(message)

    def broadcast(
        self, instance: Instance, room: str, message: int, *, exclude: str | None
    ) -> None:
        seq = instance.seq[room] = instance.seq.get(room, 0) + 1
        self.deliver(instance, room, message, exclude)
        for link in instance.links.values():
            link.append((room, message, seq, exclude))

    def deliver(self, instance: Instance, room: str, message: int, exclude: str | None) -> None:
        for member in instance.members[room]:
            if member.name != exclude:
                name = member.name
                member.inbox.append(
                    lambda name=name: self.history.received(name, message, room)  # type: ignore[misc]  # mypy cannot infer a lambda's default
                )

    def carry(self, publisher: Instance, receiver: Instance) -> None:
        link = publisher.links[receiver]
        if not link:
            return
        room, message, seq, exclude = link.popleft()
        if self.lossy and self.random.random() < 0.2:
            self.history.dropped(receiver.name, room, publisher.name)
            return
        if not receiver.members[room]:
            return
        known = receiver.heard.get((room, publisher.name))
        receiver.heard[room, publisher.name] = seq
        if known is not None and seq > known + 1:
            self.history.gap(receiver.name, room, f"p-{publisher.name}", seq - known - 1)
        self.deliver(receiver, room, message, exclude)

    # The run

    def step(self) -> None:
        random = self.random
        here = [client for client in self.clients if not client.gone]
        client = random.choice(here)
        room = random.choice(ROOMS)
        match random.randrange(12):
            case 0 if len(here) < 10:
                self.connect(random.choice(self.instances))
            case 1 | 2:
                self.join(client, room, fails=client.goes and random.random() < 0.2)
            case 3 if client.goes:
                self.leave(client, room)
            case 4 | 5:
                self.say(client, room)
            case 6:
                self.announce(random.choice(self.instances), room)
            case 7 if client.goes and random.random() < 0.3:
                self.disconnect(client)
            case 8 | 9:
                publisher = random.choice(self.instances)
                self.carry(publisher, random.choice(list(publisher.links)))
            case _:
                queue = random.choice((client.calls, client.inbox))
                if queue:
                    queue.popleft()()

    def settle(self) -> None:
        busy = True
        while busy:
            busy = False
            for client in self.clients:
                for queue in (client.calls, client.inbox):
                    while queue:
                        queue.popleft()()
                        busy = True
            for instance in self.instances:
                for other, link in instance.links.items():
                    while link:
                        self.carry(instance, other)
                        busy = True
        self.history.settled()

    def end(self) -> History:
        """A last message from everywhere to every room, so that each loss shows."""
        self.settle()
        self.lossy = False
        for instance in self.instances:
            for room in ROOMS:
                self.announce(instance, room)
        self.settle()
        return self.history


def run(seed: int, steps: int, *, instances: int = 2, lossy: bool = False) -> History:
    """The history of a run that breaks no promise."""
    fleet = Fleet(Random(seed), instances, lossy=lossy)
    for _ in range(steps):
        fleet.step()
        if fleet.random.random() < 0.01:
            fleet.settle()
    return fleet.end()

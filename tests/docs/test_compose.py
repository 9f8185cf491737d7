"""The how-to about Docker: what examples/compose has is run, as far as it can be here."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import AsyncExitStack
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.brokers.ports import free_port
from tests.deadlines import DEADLINE
from wsrooms import MemoryBus, MemoryTransport

from .compose import (
    BALANCERS,
    BROKERS,
    COMPOSE,
    IMAGE,
    broker_of,
    chat_in_a_container,
    docker_command,
    docker_compose,
    instance,
    instances,
    read,
    seconds,
    status_of_the_health_check,
)
from .programs import EXAMPLES, ROOT, Client, load
from .proxies import COMPOSE as SITE
from .proxies import Files, running, server, through

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .compose import Broker

PAGE = (ROOT / "docs/howto/docker.md").read_text("utf-8")
PROGRAM = "deploy/healthy.py"
COMBINATIONS = [(broker, balancer) for broker in BROKERS for balancer in BALANCERS]

posix = pytest.mark.skipif(sys.platform == "win32", reason="a container has POSIX signals")


# The files


def copied() -> list[str]:
    """What the Dockerfile copies from the checkout."""
    text = (COMPOSE / "Dockerfile").read_text("utf-8")
    lines = re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE)
    return [one for line in lines for one in line.split()[:-1]]


def test_the_folder_has_a_file_for_each_broker_and_balancer_and_tells_of_them() -> None:
    names = {path.stem for path in COMPOSE.glob("*.yaml")}
    assert names == {"compose", "chat", *BROKERS, *BALANCERS}
    head = (COMPOSE / "compose.yaml").read_text("utf-8").partition("\nname:")[0]
    for name in (*BROKERS, *BALANCERS):
        assert re.search(rf"\b{name}\b", head), name
        assert f'"examples/compose/{name}.yaml"' in PAGE, name


def test_what_is_mounted_and_copied_is_there() -> None:
    paths = [
        COMPOSE / volume.split(":")[0]
        for name in (*BROKERS, *BALANCERS)
        for service in read(f"{name}.yaml")["services"].values()
        for volume in service.get("volumes", [])
        if volume.startswith(".")
    ]
    services = read("chat.yaml")["services"]
    [build] = [service["build"] for service in services.values() if "build" in service]
    context = (COMPOSE / build["context"]).resolve()
    assert context == ROOT
    for path in [*paths, *(context / one for one in (build["dockerfile"], *copied()))]:
        assert path.exists(), path
    assert len(paths) == 5
    assert len(copied()) == 3


def test_what_is_copied_is_not_kept_from_docker() -> None:
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    assert "*" in lines
    kept = [line.removeprefix("!") for line in lines if line.startswith("!")]
    for one in copied():
        assert any(fnmatch(one, pattern) for pattern in kept), one


def test_the_image_is_built_once_and_is_nobody_elses() -> None:
    services = read("chat.yaml")["services"]
    assert [name for name in services if "build" in services[name]] == instances()[:1]
    for service in services.values():
        assert service["image"] == services["chat-1"]["image"]
        assert service["pull_policy"] == "never"


def test_every_package_is_in_the_image() -> None:
    text = (COMPOSE / "Dockerfile").read_text("utf-8")
    [installed] = re.findall(r" install (.*)$", text.replace("\\\n", " "), re.MULTILINE)
    packages = [path.parent.name for path in ROOT.glob("packages/*/README.md")]
    assert sorted(re.findall(r"\./packages/([\w-]+)", installed)) == sorted(packages)
    assert '"./packages/wsrooms-core[all]"' in installed


def test_the_image_is_run_by_nobody_special_and_writes_nothing() -> None:
    [user] = re.findall(r"^USER (\d+):\d+$", (COMPOSE / "Dockerfile").read_text("utf-8"), re.M)
    assert int(user) != 0
    for service in read("chat.yaml")["services"].values():
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]


def test_docker_waits_for_longer_than_all_steps_of_closing_may_take() -> None:
    page = (ROOT / "docs/serving.md").read_text("utf-8")
    [table] = re.findall(r"^\| step \| at most \|\n\|.*\n((?:\|.*\n)+)", page, re.MULTILINE)
    [timeout] = re.findall(r"handlers finish \(`shutdown_timeout`, (\d+) s\)", page)
    most = table.replace("`shutdown_timeout`", f"{timeout} s").replace("2 s each", "4 s")
    steps = [int(step) for step in re.findall(r"\| (\d+) s \|$", most, re.MULTILINE)]
    assert len(steps) == most.count("\n")
    for service in read("chat.yaml")["services"].values():
        assert seconds(service["stop_grace_period"]) > sum(steps)
    assert f"closing takes up to {sum(steps)} s" in PAGE


def test_only_balancers_have_ports_and_no_file_has_a_password() -> None:
    for name in ("chat", *BROKERS, *BALANCERS):
        for service, said in read(f"{name}.yaml")["services"].items():
            assert ("ports" in said) == (service == "balancer")
        text = (COMPOSE / f"{name}.yaml").read_text("utf-8")
        assert not re.search(r"(?i)password\s*[:=]|secret|token|://[^/\s]*@", text)


@pytest.mark.parametrize("broker", BROKERS)
def test_every_instance_waits_for_a_broker_that_is_well_and_is_told_the_same(broker: str) -> None:
    services = read(f"{broker}.yaml")["services"]
    told = {services[name]["environment"]["TRANSPORT"] for name in instances()}
    assert len(told) == 1
    assert services["broker"]["healthcheck"]["test"]
    assert services["broker"]["networks"] == ["bus"]
    for chat in read("chat.yaml")["services"].values():
        assert chat["depends_on"] == {"broker": {"condition": "service_healthy"}}


@pytest.mark.parametrize("balancer", BALANCERS)
def test_every_balancer_waits_for_instances_that_are_well_and_knows_all(balancer: str) -> None:
    service = read(f"{balancer}.yaml")["services"]["balancer"]
    healthy = {"condition": "service_healthy"}
    assert service["depends_on"] == dict.fromkeys(instances(), healthy)
    [port] = re.findall(r"^ENV .*\bPORT=(\d+)", (COMPOSE / "Dockerfile").read_text("utf-8"), re.M)
    assert [f"{name}:{port}" for name in instances()] == SITE.backends


@pytest.mark.parametrize("balancer", BALANCERS)
def test_docker_asks_a_balancer_for_what_only_it_answers(balancer: str) -> None:
    service = read(f"{balancer}.yaml")["services"]["balancer"]
    how, program, *_, url = service["healthcheck"]["test"]
    assert (how, program) == ("CMD", "curl")
    if balancer == "nginx":
        said = (COMPOSE / "nginx.conf").read_text("utf-8")
        assert f"location = {url.removeprefix('http://127.0.0.1')} {{" in said


def test_its_nginx_counts_no_failures_and_does_not_wait_for_clients_to_leave() -> None:
    servers = re.findall(r"^ +server (\S+) (.*);$", (COMPOSE / "nginx.conf").read_text(), re.M)
    assert servers == [(server, "resolve max_fails=0") for server in SITE.backends]
    assert read("nginx.yaml")["services"]["balancer"]["stop_signal"] == "SIGTERM"


def test_its_nginx_passes_websockets_on_as_the_one_of_the_page_about_proxies() -> None:
    passed, also = (
        re.findall(
            r"^        location = /ws \{\n.*?^        \}\n",
            (EXAMPLES / folder / "nginx.conf").read_text("utf-8"),
            re.MULTILINE | re.DOTALL,
        )
        for folder in ("deploy", "compose")
    )
    assert len(passed) == 1
    assert passed == also


@pytest.mark.parametrize(("broker", "balancer"), COMBINATIONS)
def test_docker_compose_finds_nothing_wrong_with_them(broker: str, balancer: str) -> None:
    program = docker_compose()
    if program is None:
        pytest.skip("Docker Compose is not on this machine")
    path = shutil.which(program[0])
    assert path is not None
    ran = subprocess.run(
        [path, *program[1:], "--file", COMPOSE / "compose.yaml", "config", "--format", "json"],
        env={**os.environ, "BROKER": broker, "BALANCER": balancer},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    merged = json.loads(ran.stdout)["services"]
    assert sorted(merged) == ["balancer", "broker", *instances()]
    for name in instances():
        assert set(merged[name]["environment"]) == {"PROXIES", "TRANSPORT"}
        assert set(merged[name]["networks"]) == {"bus", "front"}


# The image's command


@posix
async def test_the_containers_command_ends_with_0_and_its_health_check_tells_up_from_down() -> None:
    port = free_port()
    async with instance(port) as process:
        assert await status_of_the_health_check(port) == 0
        async with connect(f"ws://127.0.0.1:{port}/ws", compression=None, proxy=None) as socket:
            process.terminate()
            with pytest.raises(ConnectionClosed) as closed:
                async with asyncio.timeout(DEADLINE):
                    await socket.recv()
        async with asyncio.timeout(DEADLINE):
            await process.wait()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1001
    assert await status_of_the_health_check(port) != 0


@posix
async def test_the_health_check_fails_where_the_bus_is_down(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert docker_command("HEALTHCHECK") == ["python", f"/app/{Path(PROGRAM).name}"]
    module = load("deploy/server.py")
    vars(module)["ws"] = app = module.ws.replica(
        broadcast_transport=f"redis://127.0.0.1:{free_port()}", start_without_broker=True
    )
    async with app.serving(**module.options()) as address:
        assert await status_of_the_health_check(address.port) == 1


@pytest.fixture(scope="module")  # made before the test's loop runs, which must not wait for it
def chat() -> Iterator[tuple[Any, int]]:
    with chat_in_a_container() as made:
        yield made


@posix
@pytest.mark.timeout(IMAGE + 60)
async def test_the_image_runs_read_only_as_nobody_special_and_ends_in_order(
    chat: tuple[Any, int],
) -> None:
    container, port = chat
    asked = ["python", "-c", "import os; print(os.getuid())"]
    _, user = await asyncio.to_thread(container.exec_run, asked)
    assert int(user) == 10001
    async with connect(f"ws://127.0.0.1:{port}/ws", compression=None, proxy=None) as socket:
        assert "data" in await Client(socket).call("join", "/chat/general")
        stopping = asyncio.create_task(asyncio.to_thread(container.stop, timeout=30))
        with pytest.raises(ConnectionClosed) as closed:
            async with asyncio.timeout(DEADLINE):
                await socket.recv()
        await stopping
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1001
    assert (await asyncio.to_thread(container.wait))["StatusCode"] == 0


def test_the_command_is_no_shell_which_would_keep_the_signal() -> None:
    assert docker_command("CMD") == ["python", "/app/server.py"]


# The brokers, as they are but for their address and the time between two checks


@pytest.fixture(scope="module", params=BROKERS)
def broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    with broker_of(request.param) as made:
        yield made


@posix
async def test_three_instances_of_the_image_are_one_chat_on_the_broker_of_the_file(
    broker: Broker,
) -> None:
    ports = [free_port() for _ in instances()]
    async with AsyncExitStack() as stack:
        started = (
            stack.enter_async_context(instance(port, TRANSPORT=broker.transport)) for port in ports
        )
        await asyncio.gather(*started)
        clients = [
            Client(
                await stack.enter_async_context(
                    connect(f"ws://127.0.0.1:{port}/ws", compression=None, proxy=None)
                )
            )
            for port in ports
        ]
        for one in clients:
            assert "data" in await one.call("join", "/chat/general")
        for number, speaker in enumerate(clients):
            await speaker.send("message", "/chat/general", data=number)
            for other in clients:
                if other is not speaker:
                    assert (await other.receive())["data"] == number
        assert [await status_of_the_health_check(port) for port in ports] == [0, 0, 0]


def test_docker_finds_the_broker_of_the_file_healthy(broker: Broker) -> None:
    if broker.unchecked:
        pytest.skip(f"the image that is here is not the official one: no {broker.checked_by}")
    assert broker.health() == "healthy"


# The load balancers


def nginx_version() -> tuple[int, ...] | None:
    program = shutil.which("nginx")
    if program is None:
        return None
    told = subprocess.run([program, "-v"], capture_output=True, text=True, timeout=30, check=True)
    [version] = re.findall(r"nginx/([\d.]+)", told.stderr)
    return tuple(map(int, version.split(".")))


def skip_without_resolve() -> None:
    if (found := nginx_version()) and found < (1, 27, 3):
        pytest.skip("this nginx does not look up again where a server is: resolve is of 1.27.3")


GIVE_UP = {"proxy_connect_timeout 3s;": "proxy_next_upstream off;", "least_conn;": ""}


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        pytest.param(GIVE_UP, [], id="as it is"),
        pytest.param(GIVE_UP | {"error_page 502 = $request_uri;": ""}, [502], id="without"),
    ],
)
async def test_nginx_tries_once_more_for_a_client_whom_it_would_give_up(
    changes: dict[str, str], refused: list[int], files: Files
) -> None:
    skip_without_resolve()
    module = load("deploy/server.py")
    app = module.ws.replica()
    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(app.serving(**module.options()))
        servers = [f"127.0.0.1:{free_port()}", server(address), server(address)]
        proxy = await stack.enter_async_context(
            running("nginx", files, servers, changes, site=SITE)
        )
        statuses: list[int] = []
        for _ in range(3):  # one for each server, where nobody gets another
            one = connect(f"{proxy.url}?asked=once", host="127.0.0.1", proxy=None)
            try:
                await stack.enter_async_context(one)
            except InvalidStatus as error:
                statuses.append(error.response.status_code)
        assert statuses == refused
        told = [connection.request.query for connection in app.server.connections()]
        assert told == [{"asked": ["once"]}] * (3 - len(refused))


@pytest.mark.parametrize("kind", BALANCERS)
async def test_three_clients_of_the_balancer_are_at_three_instances_and_in_one_room(
    kind: str, files: Files
) -> None:
    if kind == "nginx":
        skip_without_resolve()
    module, bus = load("deploy/server.py"), MemoryBus()
    apps = [module.ws.replica(broadcast_transport=MemoryTransport(bus)) for _ in instances()]
    vars(module)["ws"] = apps[0]  # whose health is asked for
    async with AsyncExitStack() as stack:
        addresses = [
            await stack.enter_async_context(app.serving(**module.options())) for app in apps
        ]
        servers = [server(address) for address in addresses]
        proxy = await stack.enter_async_context(running(kind, files, servers, site=SITE))
        sockets: list[ClientConnection] = [
            await stack.enter_async_context(through(proxy)) for _ in apps
        ]
        assert [app.stats()["connections_total"] for app in apps] == [1, 1, 1]
        ann, *others = (Client(socket) for socket in sockets)
        for one in (ann, *others):
            assert "data" in await one.call("join", "/chat/general")
        await ann.send("message", "/chat/general", data="hello")
        for other in others:
            assert (await other.receive())["data"] == "hello"

        await apps[0].close()  # as when it is replaced
        again = Client(await stack.enter_async_context(through(proxy)))
        assert "data" in await again.call("join", "/chat/general")
        assert sum(app.stats()["connections_total"] for app in apps[1:]) == 3

"""Every program that the documentation shows does what the text beside it says."""

from __future__ import annotations

import ast
import asyncio
import json
import re
import runpy
import ssl
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.deadlines import DEADLINE
from wsrooms.testing import Cluster

from .buses import BUSES
from .programs import EXAMPLES, ROOT, Client, client, load

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import ModuleType

    from .buses import Bus

# A line of the list: the file, twice, and what it is about.
LISTED = re.compile(r"^- \[(.+)\]\(\1\): (.+)$", re.MULTILINE)


def python_blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def test_the_readme_shows_the_chat_example_to_the_letter() -> None:
    assert python_blocks(ROOT / "README.md") == [(EXAMPLES / "chat.py").read_text("utf-8")]


def test_the_packages_readme_shows_the_chat_example_to_the_letter() -> None:
    page = ROOT / "packages/wsrooms-core/README.md"
    assert python_blocks(page) == [(EXAMPLES / "chat.py").read_text("utf-8")]


@pytest.mark.parametrize("bus", BUSES, ids=lambda bus: bus.name)
def test_the_readme_of_a_transport_shows_the_first_lines_of_its_example(bus: Bus) -> None:
    [shown] = python_blocks(ROOT / f"packages/wsrooms-{bus.name}/README.md")
    tested = (EXAMPLES / bus.example).read_text("utf-8")
    lines = [line for line in shown.splitlines() if line]
    assert len(lines) == 2
    assert set(lines) <= set(tested.splitlines())


@pytest.mark.parametrize(
    "page",
    sorted(ROOT.glob("docs/**/*.md")),
    ids=lambda page: str(page.relative_to(ROOT / "docs")),
)
def test_the_site_shows_no_python_but_files_that_run_here(page: Path) -> None:
    for block in python_blocks(page):
        assert block.startswith('--8<-- "examples/'), block


def test_every_example_is_run_by_a_test_of_this_folder() -> None:
    tests = "\n".join(path.read_text("utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    run = r'(?:load|copy)\("(.+?)"|run_path\(.*?"(.+?)"|^PROGRAM = "(.+?)"'
    names = {name for found in re.findall(run, tests, re.MULTILINE) for name in found}
    for folder in re.findall(r'copy_folder\("(.+?)"', tests):  # whose own tests are run
        names |= {str(path.relative_to(EXAMPLES)) for path in (EXAMPLES / folder).rglob("*.py")}
    shown = {str(path.relative_to(EXAMPLES)) for path in EXAMPLES.rglob("*.py")}
    assert shown - names == set()


def test_the_list_of_examples_has_each_with_what_it_says_of_itself() -> None:
    listed = dict(LISTED.findall((EXAMPLES / "README.md").read_text("utf-8")))
    made = re.compile(r"(^|/)(\.|__pycache__/|README\.md$)")  # and what tools have left there
    files = [path for path in EXAMPLES.rglob("*") if path.is_file()]
    names = {path.relative_to(EXAMPLES).as_posix(): path for path in files}
    there = {name: path for name, path in names.items() if not made.search(name)}
    assert sorted(listed) == sorted(there)
    for name, told in listed.items():
        if name.endswith(".py"):
            doc = ast.get_docstring(ast.parse(there[name].read_text("utf-8")))
            assert doc is not None
            assert told == doc.splitlines()[0]


async def test_the_readme_chat_sends_what_the_readme_says() -> None:
    app = load("chat.py").ws
    async with app.serving() as address, client(address.url) as ann, client(address.url) as bob:
        for one in (ann, bob):
            assert await one.call("join", "/chat/general") == {"data": {"joined": True}}
        await ann.send("message", "/chat/general", data="hello")
        assert await bob.receive() == {
            "event": "message",
            "path": "/chat/general",
            "params": {"room": "general"},
            "data": "hello",
        }


async def test_what_is_said_on_one_instance_is_heard_on_the_other() -> None:
    joined, also_joined, heard = await load("two_instances.py").main()
    assert json.loads(joined) == json.loads(also_joined) == {"id": 1, "data": "joined"}
    assert json.loads(heard)["data"] == "hello"


async def test_step_1_of_the_tutorial_answers() -> None:
    app = load("tutorial/step1_answer.py").ws
    async with app.serving() as address, client(address.url) as ann:
        assert await ann.call("greet", "/hello", data="Ann") == {"data": "Hello, Ann!"}
        not_found = {"error": {"code": 404, "message": "Not found"}}
        assert await ann.call("greet", "/nowhere") == not_found


async def test_step_2_of_the_tutorial_has_rooms() -> None:
    app = load("tutorial/step2_rooms.py").ws
    async with app.serving() as address, client(address.url) as ann, client(address.url) as bob:
        for one in (ann, bob):
            assert await one.call("join", "/chat/general") == {"data": "welcome to general"}
        await ann.send("message", "/chat/general", data="hi")
        assert (await bob.receive())["data"] == "hi"
        assert await bob.call("leave", "/chat/general") == {"data": None}
        assert await ann.call("message", "/chat/general", data="anybody?") == {"data": None}
        assert await bob.call("leave", "/chat/general") == {"data": None}  # and no push before it


async def test_step_3_of_the_tutorial_knows_names() -> None:
    app = load("tutorial/server.py").ws
    async with app.serving() as address:
        with pytest.raises(ConnectionClosed) as refused:
            async with connect(address.url) as socket, asyncio.timeout(DEADLINE):
                await socket.recv()
        assert refused.value.rcvd is not None
        assert refused.value.rcvd.code == 1008

        async with client(f"{address.url}/?name=ann") as ann:
            assert await ann.call("join", "/chat/general") == {"data": ["ann"]}
            async with client(f"{address.url}/?name=bob") as bob:
                assert await bob.call("join", "/chat/general") == {"data": ["ann", "bob"]}
                assert (await ann.receive())["event"] == "joined"
                await bob.send("message", "/chat/general", data="hello")
                said = {"from": "bob", "text": "hello"}
                assert (await ann.receive())["data"] == said
                assert (await bob.receive())["data"] == said
                refusal = {"error": {"code": 400, "message": "say something"}}
                assert await bob.call("message", "/chat/general", data=" ") == refusal
            left = await ann.receive()
            assert (left["event"], left["data"]) == ("left", "bob")
            assert await ann.call("who", "/chat/general") == {"data": ["ann"]}


async def test_the_tutorials_client_prints_what_it_receives(
    capsys: pytest.CaptureFixture[str],
) -> None:
    app = load("tutorial/server.py").ws
    script = load("tutorial/client.py")
    async with app.serving() as address, client(f"{address.url}/?name=bob") as bob:
        await bob.call("join", "/chat/general")
        printing = asyncio.create_task(script.main(f"{address.url}/?name=ann"))
        assert (await bob.receive())["event"] == "joined"
        await bob.send("message", "/chat/general", data="hi")
        assert (await bob.receive())["data"]["text"] == "hi"
    async with asyncio.timeout(DEADLINE):
        await printing  # the server has closed, so it has printed all it received
    printed = capsys.readouterr().out
    assert '{"id":1,"data":["ann","bob"]}' in printed
    assert '"text":"hi"' in printed


@asynccontextmanager
async def rooms_app() -> AsyncIterator[tuple[ModuleType, str]]:
    module = load("rooms_and_broadcasting.py")
    app = module.ws.replica(lifespan=None)  # its visitors would come between the frames
    vars(module)["ws"] = app  # which its on_gap uses
    async with app.serving() as address:
        yield module, address.url


async def test_rooms_and_broadcasting_joins_talks_and_leaves() -> None:
    async with rooms_app() as (_, url), client(url) as ann, client(url) as bob:
        for one in (ann, bob):
            joined = (await one.call("join", "/chat/general"))["data"]
            assert joined["rooms"] == ["/chat/general", "lobby"]
        await ann.send("message", "/chat/general", data="hello")
        heard = [await bob.receive() for _ in range(3)]
        assert [(push["event"], push["path"], push["data"]) for push in heard] == [
            ("message", "/chat/general", "hello"),
            ("echo", "/chat/general", "for you too"),
            ("noise", "lobby", "general"),
        ]
        assert (await ann.receive())["event"] == "echo"
        assert await ann.call("members", "/chat/general") == {"data": 2}
        assert await ann.call("leave", "/chat/general") == {"data": ["lobby"]}
        assert await bob.call("members", "/chat/general") == {"data": 1}
        confirmed = {"data": "the bus has it"}
        assert await ann.call("important", "/chat/general", data=1) == confirmed
        assert (await bob.receive())["event"] == "important"


async def test_rooms_and_broadcasting_reaches_everybody_and_one_user() -> None:
    async with rooms_app() as (_, url), client(f"{url}/?user=ann") as ann, client(url) as bob:
        await bob.send("announce", "/admin", data="news", id=7)
        assert (await bob.receive())["event"] == "announcement"  # the sender hears it too
        assert await bob.receive() == {"id": 7, "data": 2}
        assert (await ann.receive())["path"] == "/news"
        await bob.send("tell", "/users/ann", data="psst")
        assert (await ann.receive())["data"] == "psst"


async def test_rooms_and_broadcasting_says_goodbye_and_refuses() -> None:
    async with rooms_app() as (_, url), client(url) as ann:
        closed = {"error": {"code": 403, "message": "this vault is closed"}}
        assert await ann.call("secret", "/vault/shut") == closed
        assert await ann.call("secret", "/vault/open") == {"data": "42"}
        await ann.call("join", "/chat/general")
        async with client(url) as bob:
            gone = (await bob.call("join", "/chat/general"))["data"]["you"]
        left = await ann.receive()
        assert (left["event"], left["data"]) == ("left", gone)


async def test_rooms_and_broadcasting_tells_of_lost_messages() -> None:
    module = load("rooms_and_broadcasting.py")
    async with Cluster(module.ws.replica(lifespan=None), n=2) as cluster:
        ann = await cluster.connect(0)
        await ann.call("join", "/chat/general")
        room = cluster.apps[1].room("/chat/general")
        room.broadcast("heard")
        await cluster.settle()
        cluster.bus.lose(1)
        room.broadcast("lost")
        room.broadcast("heard")
        await cluster.settle()
        for event in ("heard", "reload", "heard"):
            assert await ann.receive() == {"event": event, "path": "/chat/general"}

        cluster.bus.cut(0)
        cluster.bus.heal(0)
        await cluster.settle()
        assert await ann.receive() == {"event": "reload", "path": "/"}


async def test_rooms_and_broadcasting_counts_visitors_in_the_background() -> None:
    module = load("rooms_and_broadcasting.py")
    async with module.ws.serving() as address, client(address.url) as ann:
        task = module.ws.start_task(module.count_visitors(module.ws), name="one more count")
        pushed = await ann.receive()
        assert (pushed["event"], pushed["path"], pushed["data"]) == ("visitors", "/stats", 1)
        assert not task.done()
    assert task.cancelled()


async def test_serving_answers_a_load_balancer_beside_the_one_path_of_clients() -> None:
    module = load("serving.py")
    async with module.ws.serving(**module.options()) as address:
        assert await http_get(address.port, "/health") == (200, "up")
        assert await http_get(address.port, "/other") == (426, None)
        async with client(f"{address.url}/ws") as ann:
            assert (await ann.call("any", "/thing"))["error"]["code"] == 404
        with pytest.raises(InvalidStatus, match="404"):
            await connect(address.url, compression=None)


async def test_serving_speaks_tls_where_it_is_given_a_certificate(tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    issued.cert_chain_pems[0].write_to_path(certificate)
    issued.private_key_pem.write_to_path(key)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    module = load("serving.py")
    async with module.ws.serving(**module.options(certificate, key)) as address:
        assert address.url.startswith("wss://")
        async with connect(f"{address.url}/ws", ssl=trusting, compression=None) as socket:
            await Client(socket).send("any", "/thing")


async def http_get(port: int, path: str) -> tuple[int, Any]:
    """The status of a plain request, and the state in its JSON body, if it has one."""
    async with asyncio.timeout(DEADLINE):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        await writer.wait_closed()
    state = json.loads(body)["state"] if body.startswith(b"{") else None
    return int(head.split()[1]), state


@pytest.mark.parametrize(
    "example", sorted(EXAMPLES.rglob("*.py")), ids=lambda path: str(path.relative_to(EXAMPLES))
)
def test_importing_an_example_starts_nothing(
    example: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(example.parent)  # the tutorial's tests import its server
    monkeypatch.syspath_prepend(EXAMPLES / "fleet_project/src")  # and a project's its package
    assert runpy.run_path(str(example), run_name="imported")["__doc__"]


async def test_debug_mode_tells_the_two_mistakes_of_the_example(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = load("debugging.py").ws
    async with app.serving() as address, client(address.url) as ann:
        await ann.call("log", "/log")
        await ann.call("join", "/chat/general")
        await ann.call("say", "/chat/general", data="hello")
    warnings = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    # A busy machine may hold up the other handlers too.
    slow = [told for told in warnings if told.startswith("the handler of ")]
    [room] = [told for told in warnings if told not in slow]
    [blocked] = [told for told in slow if " 'say' " in told]
    assert "did you mean '/log'?" in room
    assert blocked.startswith("the handler of 'say' '/chat/:room', say (")
    assert app.stats()["handlers_blocked"] == len(slow)

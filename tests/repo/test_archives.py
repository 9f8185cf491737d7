"""What must hold of a wheel and an sdist: each archive here is a good one with one fault."""

from __future__ import annotations

import io
import re
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from archives import Package, problems, read_packages, trespasses
from make_dist import emptied, main
from release import Refused, packages

ROOT = Path(__file__).resolve().parents[2]

METADATA = """\
Metadata-Version: 2.4
Name: wsrooms-redis
Version: 0.3.1
Project-URL: Source, https://example.com/wsrooms
License-Expression: MIT
License-File: LICENSE
Classifier: Development Status :: 3 - Alpha
Classifier: Programming Language :: Python :: 3.11
Classifier: Typing :: Typed
Requires-Python: >=3.11
Requires-Dist: redis<9,>=5.0.1
Requires-Dist: wsrooms-core<0.4,>=0.3
Description-Content-Type: text/markdown

# wsrooms-redis

See [redis](https://example.com), [below](#below).
"""
README = METADATA.partition("\n\n")[2]
INFO = "wsrooms_redis-0.3.1.dist-info"
TOP = "wsrooms_redis-0.3.1"
Files = dict[str, bytes]


def package() -> Package:
    return Package(
        name="wsrooms-redis",
        version="0.3.1",
        files={
            "LICENSE": b"MIT",
            "README.md": README.encode(),
            "pyproject.toml": b"[project]",
            "src/wsrooms_redis/__init__.py": b"",
            "src/wsrooms_redis/py.typed": b"",
            "src/wsrooms_redis/_version.py": b'__version__ = "0.3.1"',
        },
        siblings=("wsrooms-core", "wsrooms-nats"),
        licence=b"MIT",
        urls={"Source": "https://example.com/wsrooms"},
        python=">=3.11",
        entry_points=True,
    )


def wheel_of(made: Package) -> Files:
    return {
        **made.modules,
        f"{INFO}/METADATA": METADATA.encode(),
        f"{INFO}/WHEEL": b"Wheel-Version: 1.0",
        f"{INFO}/RECORD": b"",
        f"{INFO}/entry_points.txt": b"",
        f"{INFO}/licenses/LICENSE": made.licence,
    }


def sdist_of(made: Package) -> Files:
    files = {f"{TOP}/{path}": data for path, data in made.files.items()}
    return {**files, f"{TOP}/PKG-INFO": METADATA.encode(), f"{TOP}/.gitignore": b""}


def write(folder: Path, made: Package, wheel: Files, sdist: Files) -> None:
    with zipfile.ZipFile(folder / made.wheel, "w") as zipped:
        for path, data in wheel.items():
            zipped.writestr(path, data)
    with tarfile.open(folder / made.sdist, "w:gz") as packed:
        for path, data in sdist.items():
            member = tarfile.TarInfo(path)
            member.size = len(data)
            packed.addfile(member, io.BytesIO(data))


Fault = Callable[[Package, Files, Files], object]


def found_with(folder: Path, *faults: Fault) -> list[str]:
    made = package()
    wheel, sdist = wheel_of(made), sdist_of(made)
    for fault in faults:
        fault(made, wheel, sdist)
    write(folder, made, wheel, sdist)
    return list(problems(made, folder))


def described(old: str, new: str) -> Fault:
    """In both archives alike."""

    def fault(_: Package, wheel: Files, sdist: Files) -> None:
        assert METADATA.count(old) == 1
        text = METADATA.replace(old, new).encode()
        wheel[f"{INFO}/METADATA"] = sdist[f"{TOP}/PKG-INFO"] = text

    return fault


def in_wheel(path: str, data: bytes = b"#") -> Fault:
    return lambda _made, wheel, _sdist: wheel.update({path: data})


def in_sdist(path: str, data: bytes = b"#") -> Fault:
    return lambda _made, _wheel, sdist: sdist.update({path: data})


def not_in_wheel(path: str) -> Fault:
    return lambda _made, wheel, _sdist: wheel.pop(path)


def not_in_sdist(path: str) -> Fault:
    return lambda _made, _wheel, sdist: sdist.pop(path)


def not_typed(made: Package, wheel: Files, sdist: Files) -> None:
    """The package itself has no py.typed, so that no archive differs from it."""
    made.files = {path: data for path, data in made.files.items() if "py.typed" not in path}
    del wheel["wsrooms_redis/py.typed"], sdist[f"{TOP}/src/wsrooms_redis/py.typed"]


def with_tests(made: Package, wheel: Files, sdist: Files) -> None:
    made.files = {**made.files, "src/wsrooms_redis/tests/test_it.py": b""}
    wheel["wsrooms_redis/tests/test_it.py"] = b""
    sdist[f"{TOP}/src/wsrooms_redis/tests/test_it.py"] = b""


def test_what_is_as_it_must_be_has_no_problem(tmp_path: Path) -> None:
    assert found_with(tmp_path) == []


def test_archives_that_are_not_there_are_named(tmp_path: Path) -> None:
    assert list(problems(package(), tmp_path)) == [
        "wsrooms_redis-0.3.1-py3-none-any.whl is not there",
        "wsrooms_redis-0.3.1.tar.gz is not there",
    ]


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (in_wheel("tests/test_it.py"), ".whl has tests/test_it.py"),
        (in_wheel("wsrooms/redis.py"), ".whl has wsrooms/redis.py"),
        (in_wheel("wsrooms_redis/__init__.py"), "__init__.py is not the one of the repository"),
        (in_wheel(f"{INFO}/licenses/LICENSE"), "LICENSE is not the one of the repository"),
        (not_in_wheel(f"{INFO}/licenses/LICENSE"), f".whl lacks {INFO}/licenses/LICENSE"),
        (not_in_wheel("wsrooms_redis/py.typed"), ".whl lacks wsrooms_redis/py.typed"),
        (not_in_wheel(f"{INFO}/entry_points.txt"), f".whl lacks {INFO}/entry_points.txt"),
        (in_sdist(f"{TOP}/benchmarks/run.py"), ".tar.gz has benchmarks/run.py"),
        (in_sdist("elsewhere.py"), ".tar.gz unpacks elsewhere.py beside its folder"),
        (in_sdist(f"{TOP}/pyproject.toml"), "pyproject.toml is not the one of the repository"),
        (not_in_sdist(f"{TOP}/LICENSE"), ".tar.gz lacks LICENSE"),
        (in_sdist(f"{TOP}/PKG-INFO"), "describe themselves differently"),
        (not_typed, "without wsrooms_redis/py.typed no checker sees the types"),
        (with_tests, "wsrooms_redis/tests/test_it.py has no place in a package"),
        (described("Version: 0.3.1", "Version: 0.3.0"), "Version is ['0.3.0'], not ['0.3.1']"),
        (described("License-File: LICENSE\n", ""), "License-File is [], not ['LICENSE']"),
        (described(">=3.11", ">=3.12"), "Requires-Python is ['>=3.12'], not ['>=3.11']"),
        (described("Project-URL: Source, https://example.com/wsrooms\n", ""), "Project-URL is []"),
        (described("Classifier: Typing :: Typed\n", ""), "no classifier tells of Typed"),
        (described("See [redis]", "Look at [redis]"), "its description is not the README"),
        (
            described("wsrooms-core<0.4,>=0.3", "wsrooms-core>=0.3"),
            "it does not ask for wsrooms-core<0.4,>=0.3",
        ),
        (
            described("redis<9,>=5.0.1", "wsrooms-nats<0.4,>=0.3"),
            "it asks for wsrooms-nats<0.4,>=0.3",
        ),
    ],
)
def test_a_fault_is_told(tmp_path: Path, fault: Fault, told: str) -> None:
    found = found_with(tmp_path, fault)
    assert [line for line in found if told in line], found


def test_a_link_that_leads_nowhere_on_the_index_is_told(tmp_path: Path) -> None:
    def fault(made: Package, wheel: Files, sdist: Files) -> None:
        readme = README.replace("https://example.com", "docs/redis.md")
        made.files = {**made.files, "README.md": readme.encode()}
        sdist[f"{TOP}/README.md"] = readme.encode()
        described("(https://example.com)", "(docs/redis.md)")(made, wheel, sdist)

    [told] = found_with(tmp_path, fault)
    assert told.endswith("docs/redis.md in the README leads nowhere on the index")


def test_two_packages_in_one_folder_are_told() -> None:
    one, other = package(), package()
    other.name = "wsrooms-valkey"
    assert list(trespasses([one, other])) == [
        "wsrooms-valkey installs into wsrooms_redis, which is wsrooms-redis's"
    ]
    assert list(trespasses(read_packages(ROOT, None))) == []


def test_the_packages_are_read_as_they_are_without_caches_and_what_git_does_not_know() -> None:
    every = {each.name: each for each in read_packages(ROOT, None)}
    assert {"LICENSE", "README.md", "pyproject.toml"} < every["wsrooms-core"].files.keys()
    assert every["wsrooms-core"].imported == {"wsrooms", "pytest_wsrooms"}
    assert every["wsrooms-redis"].imported == {"wsrooms_redis"}
    assert not [path for each in every.values() for path in each.files if "__pycache__" in path]
    [core, *_] = read_packages(ROOT, {"packages/wsrooms-core/LICENSE"})
    assert core.files.keys() == {"LICENSE"}


def folder_with(folder: Path, *names: str) -> set[str]:
    for name in names:
        (folder / name).write_text("")
    return set(names)


def test_new_archives_take_the_place_of_former_ones(tmp_path: Path) -> None:
    made = package()
    folder_with(tmp_path, made.wheel, made.sdist, "wsrooms_core-0.10.0.tar.gz", ".gitignore")
    emptied(tmp_path, packages(ROOT))
    assert [path.name for path in tmp_path.iterdir()] == [".gitignore"]
    emptied(tmp_path / "new", packages(ROOT))


@pytest.mark.parametrize(
    "strange", ["thesis.txt", "redis-5.0.1.tar.gz", "wsrooms_core-notes.whl", ".env"]
)
def test_a_folder_with_anything_else_in_it_is_left_as_it_is(tmp_path: Path, strange: str) -> None:
    there = folder_with(tmp_path, package().wheel, strange)
    with pytest.raises(Refused, match=f"has {re.escape(strange)} in it, which is no archive"):
        emptied(tmp_path, packages(ROOT))
    assert {path.name for path in tmp_path.iterdir()} == there


def test_a_folder_of_folders_and_what_is_no_folder_are_left_as_they_are(tmp_path: Path) -> None:
    (tmp_path / package().sdist).mkdir()
    with pytest.raises(Refused, match="no archive of ours"):
        emptied(tmp_path, packages(ROOT))
    (tmp_path / "file").write_text("")
    with pytest.raises(Refused, match="is no folder"):
        emptied(tmp_path / "file", packages(ROOT))


def test_nothing_is_built_into_a_folder_of_other_things(tmp_path: Path) -> None:
    folder_with(tmp_path, "thesis.txt")
    with pytest.raises(SystemExit, match=r"has thesis\.txt in it"):
        main(["--into", str(tmp_path)])
    assert (tmp_path / "thesis.txt").exists()

"""`benchmarks/run.py many`: the figures of docs/many.md are those of the other pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks.harness.many import main, write
from tests.repo.bench import copy_of_pages, row

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with a copy of the documentation."""
    copy_of_pages(tmp_path)
    return tmp_path


def another(page: Path, title: str, column: int, cell: str) -> str:
    """The page with another cell in the first row of this title."""
    text = page.read_text("utf-8")
    cells = row(text, title)
    former = f"| {' | '.join(cells)} |\n"
    cells[column] = cell
    assert former in text
    return text.replace(former, f"| {' | '.join(cells)} |\n")


@pytest.mark.parametrize(
    ("name", "title", "column", "shown", "place"),
    [
        (
            "transports/figures",
            "… at the broker, resident, bytes",
            2,
            "… at the broker, bytes",
            2,
        ),
        (
            "transports/kafka",
            "wsrooms-redis",
            4,
            "CPU of an instance without members of the room, 10,000 messages a second, µs",
            1,
        ),
        (
            "performance",
            "wsrooms-uvloop",
            1,
            "thousand deliveries a second, one message at a time",
            2,
        ),
    ],
    ids=["costs", "kafka", "server"],
)
def test_who_writes_a_page_writes_its_figures_there_too(
    root: Path, name: str, title: str, column: int, shown: str, place: int
) -> None:
    page, many = root / f"docs/{name}.md", root / "docs/many.md"
    cell = "0.5 (4.75 µs); 3" if name == "transports/kafka" else "4.75"
    before = row(many.read_text("utf-8"), shown)
    assert write({page: another(page, title, column, cell)}, root) == [page, many]
    after = row(many.read_text("utf-8"), shown)
    assert after == [*before[:place], "4.75", *before[place + 1 :]]
    assert main(["--check"], root) == 0


def test_the_check_fails_where_the_page_has_another_figure(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = root / "docs/many.md"
    page.write_text(another(page, "CPU of hearing it, likewise", 1, "none"), "utf-8")
    assert main(["--check"], root) == 1
    assert "run benchmarks/run.py many" in capsys.readouterr().out
    assert main([], root) == 0
    assert main(["--check"], root) == 0


def test_the_check_fails_where_a_figure_was_not_measured(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = root / "docs/performance.md"
    text = page.read_text("utf-8").replace("| wsrooms-asyncio |", "| wsrooms-none |")
    write({page: text}, root)
    assert main(["--check"], root) == 1
    told = capsys.readouterr().out
    assert "| thousand deliveries a second, one message at a time | – |" in told


def test_a_page_without_its_markers_is_refused_and_nothing_is_written(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = root / "docs/transports/kafka.md"
    before = page.read_text("utf-8")
    with pytest.raises(ValueError, match="kafka: begin"):
        write({page: "nothing here"}, root)
    assert page.read_text("utf-8") == before
    page.write_text("nothing here", "utf-8")
    assert main(["--check"], root) == 2
    assert "kafka: begin" in capsys.readouterr().err

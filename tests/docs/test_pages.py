"""The pages under docs/ hold together: links, words, records of decisions."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
MODULE = re.compile(r"`((?:\w+/)+(?:\w+\.py)?)`")


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", page.read_text()):
        found = (page.parent / target).resolve() if target else page
        assert found.exists(), target
        assert not anchor or anchor in anchors(found), f"{target}#{anchor}"


def test_the_readme_lists_every_page() -> None:
    index = (ROOT / "README.md").read_text().partition("\n## More\n")[2]
    for page in (ROOT / "docs").glob("*.md"):
        assert f"](docs/{page.name})" in index, page.name


@pytest.mark.parametrize("name", ["design.md", "decisions/*.md"])
def test_modules_that_are_named_exist(name: str) -> None:
    for page in (ROOT / "docs").glob(name):
        for path in MODULE.findall(page.read_text()):
            places = ("", "scheduled_tasks", "scheduled_tasks/executors")
            assert any((ROOT / place / path).exists() for place in places), path


def test_imports_run_as_the_contract_has_it() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = project["tool"]["importlinter"]["contracts"]
    [layers] = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    assert "```\n" + "\n".join(layers) + "\n```" in (ROOT / "docs/design.md").read_text()


def test_each_word_of_the_glossary_is_explained_once() -> None:
    words = re.findall(r"^\| ([^|]+) \|", (ROOT / "docs/glossary.md").read_text(), re.MULTILINE)
    assert words[1:] == sorted(set(words[1:]))


def test_the_index_lists_every_decision_with_its_date() -> None:
    records = ROOT / "docs/decisions"
    index = (records / "README.md").read_text()
    for page in records.glob("0*.md"):
        title, date = re.findall(r"\A# (.*)\n\nDate: (.*)\n", page.read_text())[0]
        assert f"| [{title}]({page.name}) | {date} |" in index

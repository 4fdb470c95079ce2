"""The documentation as a web site: all pages are in its navigation, links that lead nowhere are errors, and no page
loads anything from another host."""

import re
import shutil

import pytest
import yaml

from experiments import website
from experiments.documentation import site_pages
from experiments.documentation.record_page import fields
from scaling.errors import ConfigError
from tests.conftest import ROOT

LOADED = re.compile(
    r"""<(?:script|img|iframe|source)[^>]*\ssrc=["']([^"']+)"""
    r"""|<link[^>]*rel=["'](?:stylesheet|preconnect)["'][^>]*href=["']([^"']+)"""
)


def named(nav):
    """All pages of a navigation."""
    for one in nav:
        value = next(iter(one.values())) if isinstance(one, dict) else one
        yield from [value] if isinstance(value, str) else named(value)


@pytest.fixture
def without_help(monkeypatch):
    """Programs that are not started."""
    monkeypatch.setattr(site_pages, "help_of", lambda module: f"usage: {module}")


def test_every_page_is_in_the_navigation_once(without_help):
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    found = list(named(yaml.safe_load(website.SETTINGS.read_text())["nav"]))
    assert sorted(found) == sorted(pages | set(site_pages.pages()))


def test_links_to_files_outside_of_the_site_become_their_text():
    text = "[a](laws.md#x) [b](../laws.md) [c](../../scaling/x.py) [d](https://a.b/c) ![e](no.png) [f](#g) `[h](i)`"
    known = {"laws.md", "results/laws.md"}
    kept = site_pages.inside_only("results/page.md", text, known)
    assert kept == "[a](laws.md#x) [b](../laws.md) c [d](https://a.b/c) ![e](no.png) [f](#g) `h`"


def test_the_first_page_has_its_links_from_docs():
    assert site_pages.first_page("![x](docs/figures/a.png) [y](docs/start.md)") == "![x](figures/a.png) [y](start.md)"


def test_a_site_is_whole_and_loads_nothing_from_elsewhere(tmp_path, without_help, capsys):
    pytest.importorskip("zensical")
    assert website.main(["--out", str(tmp_path / "site")]) == 0
    assert capsys.readouterr().out == f"wrote {tmp_path / 'site' / 'index.html'}\n"
    for name in named(yaml.safe_load(website.SETTINGS.read_text())["nav"]):
        page = (tmp_path / "site" / name.replace("README.md", "index.html").replace(".md", ".html")).read_text()
        loaded = [one or other for one, other in LOADED.findall(page)]
        assert loaded
        assert not [target for target in loaded if "//" in target]
    records = (tmp_path / "site" / "api" / "records.html").read_text()
    assert "One run that ended." in records  # mkdocstrings has read the source
    assert [path.name for path in tmp_path.iterdir()] == ["site"]
    website.check(tmp_path / "site")  # a later one may take its place


@pytest.mark.parametrize("link", ["[a](nowhere.md)", "[a](start.md#nowhere)"])
def test_a_link_that_leads_nowhere_is_an_error(tmp_path, without_help, monkeypatch, link):
    pytest.importorskip("zensical")
    docs = tmp_path / "docs"
    docs.mkdir()
    shutil.copy(ROOT / "docs" / "start.md", docs)
    monkeypatch.setattr(site_pages, "pages", lambda: {"index.md": f"# A\n\n{link}\n"})
    monkeypatch.setattr(website, "pages", site_pages.pages)
    monkeypatch.setattr(website, "inside_only", lambda page, text, known: text if page == "index.md" else "# Start\n")
    monkeypatch.setattr(website, "ROOT", tmp_path)
    settings = {"site_name": "a", "plugins": [{"mkdocstrings": {"handlers": {"python": {}}}}], "nav": ["index.md"]}
    (tmp_path / "site.yml").write_text(yaml.safe_dump(settings))
    monkeypatch.setattr(website, "SETTINGS", tmp_path / "site.yml")
    with pytest.raises(ConfigError, match=r"the site was not built: .*(does not exist|index.md)"):
        website.build(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_with_other_files_is_not_replaced(tmp_path):
    (tmp_path / "record.json").write_text("{}")
    with pytest.raises(ConfigError, match="holds something else than a site"):
        website.main(["--out", str(tmp_path)])
    assert (tmp_path / "record.json").exists()


def test_fields_of_a_class_have_the_comments_beside_or_above_them():
    source = (
        'class Other:\n    x: int  # no\n\n\nclass A:\n    """Text."""\n\n    a: int  # one [px]\n    # two,\n'
        "    # in two lines\n    b: NotRequired[float | None]\n    c: str = '# no comment'\n    d = 3\n"
    )
    assert list(fields(source, "A")) == [
        ("a", "int", "one [px]"),
        ("b", "float, None", "two, in two lines"),
        ("c", "str", ""),
    ]

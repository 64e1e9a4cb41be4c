"""The plotting library's script: made once, kept whole, made anew where it cannot be kept."""

import os

import pytest

from brg_prob.report import bundle


@pytest.fixture
def maker(monkeypatch):
    """Stand in for vl-convert, which takes two seconds; counts its calls."""
    calls = []

    def javascript_bundle(snippet):
        calls.append(snippet)
        return f"var close = '</script>', open = '<!--'; {snippet}"

    import vl_convert

    monkeypatch.setattr(vl_convert, "javascript_bundle", javascript_bundle)
    bundle._script.cache_clear()
    yield calls
    bundle._script.cache_clear()


def test_script_is_made_once_and_kept(maker, tmp_path):
    first = bundle._script("1.0", tmp_path / "cache")
    bundle._script.cache_clear()
    assert bundle._script("1.0", tmp_path / "cache") == first
    assert len(maker) == 1
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["vega-embed-1.0.js"]
    assert "vegaEmbed" in first


def test_script_of_another_release_is_made_anew(maker, tmp_path):
    bundle._script("1.0", tmp_path)
    bundle._script("1.1", tmp_path)
    assert len(maker) == 2


def test_script_cannot_end_its_element(maker, tmp_path):
    text = bundle._script("1.0", tmp_path)
    assert "</script" not in text
    assert "<!--" not in text


@pytest.mark.parametrize("damage", [lambda text: text[:20], lambda text: "", lambda text: text + "\udcff"])
def test_a_damaged_file_is_replaced(maker, tmp_path, damage):
    whole = bundle._script("1.0", tmp_path)
    path = tmp_path / "vega-embed-1.0.js"
    path.write_text(damage(whole), encoding="utf-8", errors="surrogateescape")
    bundle._script.cache_clear()
    assert bundle._script("1.0", tmp_path) == whole
    assert path.read_text(encoding="utf-8") == whole


def test_a_folder_that_cannot_be_written_does_not_matter(maker, tmp_path):
    (tmp_path / "file").write_text("")
    assert "vegaEmbed" in bundle._script("1.0", tmp_path / "file" / "cache")


def test_a_full_disk_leaves_nothing_behind(maker, tmp_path, monkeypatch):
    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert "vegaEmbed" in bundle._script("1.0", tmp_path)
    assert list(tmp_path.iterdir()) == []

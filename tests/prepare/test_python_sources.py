"""Python sources as data: only what no sandbox mounts, whole files, no copies across splits, or a refusal."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest
import rich.table

from prepare.data import python_sources
from prepare.data.copies import is_near_copy, line_hashes, text_digest
from prepare.data.corpora import PreparationError
from prepare.data.python_sources import PythonSources, mounted_folders
from train.sandbox.base import Bubblewrap

SPLITS = ("val", "select", "holdout")


def source(number: int, count: int = 30) -> str:
    """A module that is like no other."""
    words = ["".join(map(chr, row)) for row in np.random.default_rng(number).integers(97, 123, size=(count, 12))]
    return "".join(
        f"def {word}_{number}(argument_of_{word}):\n    return argument_of_{word} + {number}\n" for word in words
    )


def package(folder: Path, name: str, first: int, count: int = 10) -> Path:
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").write_text(source(first) + "# the beginning\n")
    for number in range(first + 1, first + count):
        (folder / name / f"part_{number}.py").write_text(source(number))
    return folder / name


TABLE = Path(rich.table.__file__)
"""A file that is mounted here."""


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not all that is mounted here is read: that takes seconds."""
    monkeypatch.setattr(
        python_sources, "_mounted_packages", lambda mounted: ({"numpy", "json"}, {text_digest(TABLE.read_bytes())})
    )


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A virtual environment of somebody else: six packages, and what is not to be taken."""
    monkeypatch.setenv("TREEWRIGHT_CACHE", str(tmp_path / "cache"))
    site = tmp_path / "other" / "lib" / "python3.12" / "site-packages"
    for place, name in enumerate(("alpha", "beta", "gamma", "delta", "epsilon", "zeta")):
        package(site, name, 100 * place)
    package(site, "numpy", 5000)  # mounted here, in whatever version
    package(site, "json", 6000)
    (site / "alpha" / "copy.py").write_text(source(105).replace("    ", "\t"))  # of alpha/part_105.py
    (site / "alpha" / "vendored.py").write_text(TABLE.read_text())
    (site / "alpha" / "latin.py").write_bytes(source(900).encode() + "# naïve".encode("latin-1"))
    (site / "alpha" / "empty.py").write_text("")
    return tmp_path / "other"


def corpus(environment: Path, least_mb: float = 0.05, evaluation_mb: float = 10.0) -> PythonSources:
    return PythonSources(roots=[str(environment)], least_mb=least_mb, evaluation_mb=evaluation_mb)


@pytest.mark.parametrize("mounted", ["a folder", pytest.param("all", marks=[pytest.mark.slow, pytest.mark.nightly])])
def test_only_what_no_sandbox_mounts_is_taken(
    environment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mounted: str
) -> None:
    """To read all that is mounted here takes 10 seconds."""
    if mounted == "a folder":
        numpy = package(tmp_path / "usr" / "site-packages", "numpy", 3000, count=1)
        (numpy / "table.py").write_text(TABLE.read_text())
        monkeypatch.setattr(python_sources, "mounted_folders", lambda: (tmp_path / "usr",))
    data = corpus(environment)
    data.prepare()
    manifest = data._manifest()
    names = [name for documents in manifest.values() for name, _ in documents]
    assert len(names) == len(set(names)) == 60
    assert {name.split("/")[0] for name in names} == {"alpha", "beta", "gamma", "delta", "epsilon", "zeta"}
    assert "alpha/copy.py" in names  # it comes first by name, so it is the original that is left out
    assert "alpha/part_105.py" not in names
    assert "alpha/vendored.py" not in names
    assert "alpha/latin.py" not in names
    for split in SPLITS:
        assert len(manifest[split]) >= 5
    assert data.fingerprint() == corpus(environment).fingerprint()


@pytest.mark.usefixtures("quick")
def test_no_text_is_on_both_sides_of_a_split(environment: Path) -> None:
    site = environment / "lib" / "python3.12" / "site-packages"
    for name in ("alpha", "beta", "gamma"):  # versions of the same files, under other names
        for path in sorted((site / name).glob("part_*.py")):
            path.with_name(f"old_{path.name}").write_text(
                path.read_text() + "def one_more_function(argument):\n    pass\n"
            )
    data = corpus(environment)
    data.prepare()
    seen: set[int] = set()
    text_digests: set[bytes] = set()
    for split in ("train", *SPLITS):
        own = set[int]()
        for text in data.texts(split):
            assert text_digest(text) not in text_digests
            text_digests.add(text_digest(text))
            if split != "train":
                assert not is_near_copy(line_hashes(text), seen)
            own |= line_hashes(text)
        seen |= own
    assert all(len(data.evaluation(split)) for split in SPLITS)


@pytest.mark.usefixtures("quick")
def test_the_same_place_in_two_environments_is_one_file(environment: Path) -> None:
    twin = environment / "twin" / "lib" / "python3.13" / "site-packages"
    package(twin, "alpha", 7000)  # another version
    data = corpus(environment)
    data.prepare()
    names = [name for documents in data._manifest().values() for name, _ in documents]
    assert len(names) == len(set(names))
    assert sum(name == "alpha/__init__.py" for name in names) == 1


@pytest.mark.usefixtures("quick")
def test_evaluation_splits_have_a_limit(environment: Path) -> None:
    data = corpus(environment, evaluation_mb=0.004)
    data.prepare()
    assert all(len(data.evaluation(split)) < 8000 for split in SPLITS)
    assert corpus(environment, evaluation_mb=1).directory() == corpus(environment, evaluation_mb=1.0).directory()


@pytest.mark.usefixtures("quick")
def test_too_little_is_refused_with_the_cure(environment: Path) -> None:
    with pytest.raises(PreparationError) as caught:
        corpus(environment, least_mb=50.0).prepare()
    words = str(caught.value)
    assert "MB of Python sources in 60 files" in words
    assert "at least 50 MB are needed" in words
    assert "pip install --no-deps --target ~/python-sources" in words
    assert str(environment) in words


def test_roots_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(PreparationError, match=r"data\.roots names '/no/such/folder'"):
        PythonSources(roots=["/no/such/folder"]).prepare()
    with pytest.raises(PreparationError, match=r"expected a list: 'data\.roots=\[/opt\]'"):
        PythonSources(roots="/opt").prepare()  # a text is a list of letters, too


@pytest.mark.usefixtures("quick")
def test_a_folder_of_packages_may_be_a_root_itself(environment: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    for place in range(6):
        package(target, f"package{place}", 20_000 + 100 * place)
    data = corpus(target)
    data.prepare()
    assert sum(map(len, data._manifest().values())) == 60
    assert target.resolve() in data.locations()


@pytest.mark.slow
def test_what_is_mounted_here_is_known() -> None:
    mounted = mounted_folders()
    for folder in Bubblewrap(Path("/usr/bin/bwrap")).mounted():
        assert any(folder.resolve().is_relative_to(place) for place in mounted)
    data = PythonSources(roots=[sysconfig.get_paths()["purelib"], sys.base_prefix])
    assert data._folders == ()


def test_packages_are_known_wherever_they_are_mounted(tmp_path: Path) -> None:
    usr = tmp_path / "usr"
    package(usr / "local" / "lib" / "python3.12" / "dist-packages", "Debian", 1, count=1)
    package(usr / "envs" / "other" / "lib" / "python3.9" / "site-packages", "conda", 2, count=1)
    package(usr / "share", "tool", 3, count=1)
    names, text_digests = python_sources._mounted_packages([usr, usr / "local"])
    assert {"debian", "conda", "json"} <= names
    assert "tool" not in names  # nobody imports it by that name: another version of it is no copy
    assert text_digests == {text_digest(path.read_bytes()) for path in usr.glob("**/*.py")}
    assert len(text_digests) == 3


@pytest.mark.usefixtures("quick")
def test_the_usual_places_are_looked_at(monkeypatch: pytest.MonkeyPatch, environment: Path, tmp_path: Path) -> None:
    monkeypatch.setattr(python_sources, "_PLACES", (f"{tmp_path}/oth*", "/no/such/place/*"))
    data = PythonSources(least_mb=0.05)
    data.prepare()
    assert (environment / "lib" / "python3.12" / "site-packages").resolve() in data.locations()

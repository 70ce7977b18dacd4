"""Edits in several steps, for the tasks whose ideas build on one another; see gallery_edits.py.

A Python step is definitions, and constants that are added where they are missing. A step in C is the whole file. One of
a prompt is a line, which may come in any order.
"""

from __future__ import annotations

STEPS: dict[str, list[tuple[str, str]]] = {
    "binpacking": [
        (
            "middle gaps from the largest down: these can still be filled",
            '''
def priority(item, bins):
    """Return the priority of each bin. ``bins``: the room that is left in each, at least ``item``."""
    near, far, order = (NEAR, FAR, ORDER) if bins.max() == 150 else (NEAR_100, FAR_100, ORDER_100)
    gap = bins - item
    value = np.where(gap <= near, 1000 - gap, np.where(gap >= far, order * gap, gap - 1000))
    value[bins == bins.max()] = -500  # unopened
    return value
''',
        ),
        (
            "for Weibull sizes, each bin's value less that of the bin before it",
            '''
POWER = 2.0  # tune: 0.5..4
BEFORE = 0.5  # tune: 0..1.5

def priority(item, bins):
    """Return the priority of each bin: by classes of gaps, or by what a bin has more than the one before it."""
    gap = bins - item
    if bins.max() == 150:
        value = np.where(gap <= NEAR, 1000 - gap, np.where(gap >= FAR, ORDER * gap, gap - 1000))
        value[bins == bins.max()] = -500  # unopened
        return value
    value = -((bins / item) ** POWER)
    return value - BEFORE * np.r_[0.0, value[:-1]]
''',
        ),
    ],
    "tabular": [
        (
            "boosted trees of depth two",
            '''
TREES = 150  # tune: 30..600 log step 1
SHRINK = 0.1  # tune: 0.01..0.5 log
LEAF = 5.0  # tune: 0.5..50 log
CUTS = 16  # tune: 4..40 step 1

def fit(x, y, seed):
    """Return boosted trees of depth two on quantiles of the columns; columns that tell too much are left out."""
    z = (x - x.mean(axis=0)) / (x.std(axis=0) + 1e-9)
    kept = np.flatnonzero(np.abs(z.T @ (y - y.mean()) / (len(y) * y.std())) < TOO_GOOD)
    edges = np.quantile(x, np.linspace(0, 1, CUTS + 1)[1:-1], axis=0)
    places = (x[None] > edges[:, None]).sum(axis=0)
    value, trees = np.full(len(y), np.log(y.mean() / (1 - y.mean()))), []
    for _ in range(TREES):
        chance = 1 / (1 + np.exp(-value))
        slope, curve = y - chance, chance * (1 - chance)
        top, at = best_split(places, slope, curve, kept, np.ones(len(y), bool))
        tree, right = [float(top), float(edges[at, top])], places[:, top] > at
        for side in (~right, right):
            column, cut = best_split(places, slope, curve, kept, side)
            beyond = places[:, column] > cut
            tree += [float(column), float(edges[cut, column])]
            for leaf in (side & ~beyond, side & beyond):
                step = SHRINK * slope[leaf].sum() / (curve[leaf].sum() + LEAF)
                value[leaf] += step
                tree.append(float(step))
        trees.append(tree)
    return {"trees": np.array(trees)}

def best_split(places, slope, curve, kept, rows):
    """Return the column and the cut with the largest gain among some rows."""
    best = (-1.0, int(kept[0]), 0)
    for column in kept:
        sums = [np.bincount(places[rows, column], each[rows], CUTS).cumsum() for each in (slope, curve)]
        (g, h), (all_g, all_h) = (s[:-1] for s in sums), (s[-1] for s in sums)
        gain = g**2 / (h + LEAF) + (all_g - g) ** 2 / (all_h - h + LEAF)
        best = max(best, (float(gain.max()), int(column), int(gain.argmax())))
    return best[1:]

def predict(model, x):
    """Return a number for each row: larger where the label 1 is likelier."""
    total = np.zeros(len(x))
    for top, at, left, low, a, b, right, high, c, d in model["trees"]:
        total += np.where(x[:, int(top)] > at, np.where(x[:, int(right)] > high, d, c),
                          np.where(x[:, int(left)] > low, b, a))
    return total
''',
        ),
    ],
    "trading": [
        (
            "the estimate decays towards zero, as a drift that returns does, and is filtered with a gain of its own",
            '''
KEEP = 0.95  # tune: 0.8..0.999
GAIN = 0.03  # tune: 0.002..0.3 log

def trade(markets, bar):
    """Trade until the last bar, in proportion to a filtered estimate of the drift."""
    positions, drift, scale = np.zeros(markets), np.zeros(markets), np.full(markets, 0.01)
    before = bar(positions)
    while (prices := bar(positions)) is not None:
        returns = np.log(prices / before)
        scale += (np.abs(returns) - scale) / MEMORY
        drift = KEEP * (drift + GAIN * (returns / scale - drift))
        unit = (0.01 / scale) ** RISK
        wanted = np.clip(SIZE * drift / GAIN**0.5 * unit, -1, 1)
        positions = np.where(np.abs(wanted - positions) > HOLD * unit, wanted, positions)
        before = prices
''',
        ),
        (
            "the volatility, which is constant, from all bars",
            '''
def trade(markets, bar):
    """Trade until the last bar, in proportion to a filtered estimate of the drift; the scale is a mean of all bars."""
    positions, drift, scale = np.zeros(markets), np.zeros(markets), np.full(markets, 0.01)
    before, bars = bar(positions), MEMORY
    while (prices := bar(positions)) is not None:
        returns, bars = np.log(prices / before), bars + 1
        scale += (np.abs(returns) - scale) / bars
        drift = KEEP * (drift + GAIN * (returns / scale - drift))
        unit = (0.01 / scale) ** RISK
        wanted = np.clip(SIZE * drift / GAIN**0.5 * unit, -1, 1)
        positions = np.where(np.abs(wanted - positions) > HOLD * unit, wanted, positions)
        before = prices
''',
        ),
    ],
    "kernel_numpy": [
        (
            "windows of the whole image at once",
            '''
def blur(image, weights):
    """Return the image blurred with the products of the weights; beyond an edge its last pixel is repeated."""
    size = len(weights)
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(image, size // 2, mode="edge"), (size, size))
    return np.einsum("yxij,ij->yx", windows, np.outer(weights, weights))
''',
        ),
        (
            "two passes: the window is a product",
            '''
def blur(image, weights):
    """Return the image blurred along its columns, then along its rows; beyond an edge its last pixel is repeated."""
    height, width = image.shape
    padded = np.pad(image, len(weights) // 2, mode="edge")
    down = sum(weight * padded[i : i + height] for i, weight in enumerate(weights))
    return sum(weight * down[:, i : i + width] for i, weight in enumerate(weights))
''',
        ),
        (
            "each pass as a product with a banded matrix",
            '''
def banded(size, weights):
    """Return the matrix that blurs a column of this length; what is beyond an edge counts for the last pixel."""
    matrix, places = np.zeros((size, size)), np.arange(size)
    for i, weight in enumerate(weights):
        np.add.at(matrix, (places, np.clip(places + i - len(weights) // 2, 0, size - 1)), weight)
    return matrix

def blur(image, weights):
    """Return the image blurred by a product from the left and one from the right."""
    height, width = image.shape
    return banded(height, weights) @ image @ banded(width, weights).T
''',
        ),
    ],
    "kernel_c": [
        (
            "one row in place of the table",
            """/* Edit distances with one row of the table. */
#include <stdint.h>
#include <stdlib.h>

static int edit_distance(const uint8_t *a, int n, const uint8_t *b, int m, int *row)
{
    for (int j = 0; j <= m; j++)
        row[j] = j;
    for (int i = 1; i <= n; i++) {
        int corner = row[0], left = row[0] = i;
        for (int j = 1; j <= m; j++) {
            int above = row[j], least = above < left ? above : left, replaced = corner + (a[i - 1] != b[j - 1]);
            corner = above;
            left = row[j] = least + 1 < replaced ? least + 1 : replaced;
        }
    }
    return row[m];
}

void edit_distances(const uint8_t *first, const uint8_t *second, int pairs, int n, int m, int32_t *found)
{
    int *row = malloc(sizeof(int) * (size_t)(m + 1));
    for (int k = 0; k < pairs; k++)
        found[k] = edit_distance(first + (size_t)k * n, n, second + (size_t)k * m, m, row);
    free(row);
}
""",
        ),
        (
            "the differences of 64 cells of a column in the bits of two words",
            """/* Edit distances by bit vectors (Myers, 1999), in blocks of 64 rows. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct { uint64_t up, down; } Block;

static int edit_distance(const uint8_t *a, int n, const uint8_t *b, int m, Block *blocks, uint64_t *masks)
{
    int count = (n + 63) / 64, distance = n;
    uint64_t last = 1ull << ((n - 1) % 64);
    memset(masks, 0, sizeof(uint64_t) * 256 * (size_t)count);
    for (int i = 0; i < n; i++)
        masks[(size_t)a[i] * count + i / 64] |= 1ull << (i % 64);
    for (int k = 0; k < count; k++)
        blocks[k] = (Block){~0ull, 0};
    for (int j = 0; j < m; j++) {
        int carry = 1; /* of the difference along a row: the first row grows by one in each column */
        for (int k = 0; k < count; k++) {
            uint64_t up = blocks[k].up, down = blocks[k].down, equal = masks[(size_t)b[j] * count + k];
            uint64_t vertical = equal | down;
            equal |= carry < 0;
            uint64_t zero = (((equal & up) + up) ^ up) | equal;
            uint64_t right = down | ~(zero | up), left = up & zero;
            uint64_t top = k == count - 1 ? last : 1ull << 63;
            int next = (right & top) ? 1 : (left & top) ? -1 : 0;
            right = right << 1 | (carry > 0);
            left = left << 1 | (carry < 0);
            blocks[k].up = left | ~(vertical | right);
            blocks[k].down = right & vertical;
            carry = next;
        }
        distance += carry;
    }
    return distance;
}

void edit_distances(const uint8_t *first, const uint8_t *second, int pairs, int n, int m, int32_t *found)
{
    int count = (n + 63) / 64;
    Block *blocks = malloc(sizeof(Block) * (size_t)count);
    uint64_t *masks = malloc(sizeof(uint64_t) * 256 * (size_t)count);
    for (int k = 0; k < pairs; k++)
        found[k] = edit_distance(first + (size_t)k * n, n, second + (size_t)k * m, m, blocks, masks);
    free(masks);
    free(blocks);
}
""",
        ),
    ],
    "prompt": [
        (f"a line more: {line}", line)
        for line in (
            "Work step by step.",
            "Teams: billing, delivery, account, technical.",
            "login -> account",
            "refund -> billing",
            "courier -> delivery",
            "outage -> technical",
            "receipt -> billing",
            "address -> delivery",
            "profile -> account",
            "crash -> technical",
            "please -> billing",
            "dear -> account",
        )
    ],
}
"""Task -> (idea, text)."""

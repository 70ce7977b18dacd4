"""Judges formulas: a parser of its own reads them, and the points of the judgement never reach the candidate."""

import ast
import itertools

import numpy as np

import prepare
from prepare.syntax import PARSE_ERRORS, parse

POINTS, NOISE, WORST, SETS = 300, 0.05, 10.0, 2
LONGEST, MOST_NODES, LARGEST_POWER = 2000, 200, 6
FUNCTIONS = {"sin": np.sin, "cos": np.cos, "exp": np.exp, "log": np.log, "sqrt": np.sqrt, "tanh": np.tanh}
OPERATORS = {ast.Add: np.add, ast.Sub: np.subtract, ast.Mult: np.multiply, ast.Div: np.divide}
PLANTED = {
    "wave": lambda a, b, p: p[0] * np.sin(p[1] * a) + p[2] * b,
    "product": lambda a, b, p: p[0] * a * b + p[1] * a**2 - p[2],
    "decay": lambda a, b, p: p[0] * np.exp(-p[1] * a) * np.cos(b) + p[2],
    "ratio": lambda a, b, p: p[0] * a / (1 + p[1] * b**2),
    "cubic": lambda a, b, p: p[0] * a**3 - p[1] * a * b + p[2] * b,
}


def cases(split, rng):
    """Yield two data sets for each planted formula, with other coefficients in each split."""
    ranges = {"train": (0.0, 2.0), "inside": (0.0, 2.0), "outside": (2.0, 2.6)}
    for (name, planted), number in itertools.product(PLANTED.items(), range(SETS)):
        p, data = rng.uniform(0.7, 1.6, size=3), {}
        for part, (low, high) in ranges.items():
            x = rng.uniform(low, high, size=(POINTS, 2))
            data[part] = (x, planted(*x.T, p) + NOISE * rng.normal(size=POINTS))
        yield {"name": f"{name}-{number}", **data}


def score(candidate, case):
    """Return the error in units of the noise, the mean of inside and outside of the range of the data."""
    text = candidate.call("formula", *case.data["train"])
    tree = checked(text)
    inside, outside = (error(tree, *case.data[part]) for part in ("inside", "outside"))
    nodes = sum(
        isinstance(node, ast.BinOp | ast.UnaryOp | ast.Call | ast.Name | ast.Constant) for node in ast.walk(tree)
    )
    words = f"{text:.300}: {inside:.3g} times the noise inside of the range of the data, {outside:.3g} outside of it"
    metrics = {"inside": inside, "outside": outside, "nodes": float(nodes)}
    return prepare.Score((inside + outside) / 2, metrics, words, text)


def checked(text):
    """Return the expression. Raises Invalid for anything but arithmetic, the functions, numbers, ``a`` and ``b``."""
    if not isinstance(text, str) or len(text) > LONGEST:
        raise prepare.Invalid(f"formula has to return a text of at most {LONGEST} characters; got {text!r:.100}")
    try:
        body = parse(text.strip()).body
    except PARSE_ERRORS as error:
        raise prepare.Invalid(f"the formula cannot be read ({type(error).__name__}): {text:.200}") from None
    if len(body) != 1 or not isinstance(body[0], ast.Expr):
        raise prepare.Invalid(f"expected one formula; got {text:.200}")
    tree = body[0].value
    if sum(1 for _ in ast.walk(tree)) > 3 * MOST_NODES or not allowed(tree):
        raise prepare.Invalid(
            f"a formula has at most {MOST_NODES} parts: numbers, a, b, + - * /, ** with a whole number up to "
            f"{LARGEST_POWER}, and {', '.join(FUNCTIONS)}; got {text:.200}"
        )
    return tree


def allowed(node):
    """Return whether a node and all below it are on the list."""
    match node:
        case ast.Constant(value=value):
            return type(value) in (int, float) and abs(value) < 1e9
        case ast.Name(id=name):
            return name in ("a", "b")
        case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=part):
            return allowed(part)
        case ast.BinOp(left=left, op=ast.Pow(), right=ast.Constant(value=int(power))):
            return type(power) is int and 0 <= power <= LARGEST_POWER and allowed(left)
        case ast.BinOp(left=left, op=op, right=right):
            return type(op) in OPERATORS and allowed(left) and allowed(right)
        case ast.Call(func=ast.Name(id=name), args=[part], keywords=[]):
            return name in FUNCTIONS and allowed(part)
    return False


def computed(node, a, b):
    """Return the values of an allowed node."""
    match node:
        case ast.Constant(value=value):
            return np.full(len(a), float(value))
        case ast.Name(id=name):
            return a if name == "a" else b
        case ast.UnaryOp(op=op, operand=part):
            return -computed(part, a, b) if isinstance(op, ast.USub) else computed(part, a, b)
        case ast.BinOp(left=left, op=ast.Pow(), right=ast.Constant(value=power)):
            return computed(left, a, b) ** power
        case ast.BinOp(left=left, op=op, right=right):
            return OPERATORS[type(op)](computed(left, a, b), computed(right, a, b))
    return FUNCTIONS[node.func.id](computed(node.args[0], a, b))


def error(tree, x, y):
    """Return the root mean square error in units of the noise, at most WORST; WORST where the formula is undefined."""
    with np.errstate(all="ignore"):
        off = np.sqrt(np.mean((computed(tree, *x.T) - y) ** 2)) / NOISE
    return float(min(off, WORST)) if np.isfinite(off) else WORST

"""A scripted language model that proposes new values of constants, with the limits that program.md states."""

import re

NUMBER = r"([0-9.e+-]+?)"
CONSTANT = re.compile(rf"^([A-Z]+) = {NUMBER} ", re.MULTILINE)
RANGE = re.compile(rf"^- ([A-Z]+): {NUMBER}\.\.{NUMBER} log", re.MULTILINE)
CHANGE = re.compile(rf"^- \w+ [^:\n]*: ([A-Z]+) {NUMBER} -> {NUMBER}: .*?(better|worse) by {NUMBER}$", re.MULTILINE)
FORM = re.compile(r"^<{7} SEARCH\n(?:[^\n]*\n){0,20}?={7}\n(?:[^\n]*\n){0,20}?>{7} REPLACE", re.MULTILINE)
LOST = 0.1
MOST_LOST = 0.8


def answer(prompt, rng):
    """Answer a prompt: an idea, and a block that changes one constant of the program in it."""
    sight = Sight(prompt, rng)
    program = [found.groups() for found in CONSTANT.finditer(prompt)]
    if not program:
        return "I see no program."
    values = {name: float(text) for name, text in program}
    texts = dict(program)
    name, value = proposed(values, sight, rng)
    line = next(row for row in prompt.splitlines() if row.startswith(f"{name} = {texts[name]}"))
    return formed(name, texts[name], value, line, sight.sees(FORM), rng)


class Sight:
    """What the model sees of a prompt: each line is overlooked the more easily the more text follows it."""

    def __init__(self, prompt, rng):
        self.prompt = prompt
        self.rng = rng
        self.looks = 2 if re.search(r"\bthink\b", prompt, re.IGNORECASE) else 1

    def sees(self, pattern):
        """Return whether a text of that form is seen."""
        return bool(self.seen(pattern))

    def seen(self, pattern):
        """Return the matches that are not overlooked."""
        return [found for found in pattern.finditer(self.prompt) if not self.overlooked(found)]

    def overlooked(self, found):
        lost = min(MOST_LOST, LOST * (len(self.prompt) - found.end()) / 1000)
        return all(self.rng.random() < lost for _ in range(self.looks))


def proposed(values, sight, rng):
    """Return a constant and its new value: what was better goes on, what was worse turns round, else by chance."""
    ranges = {found[1]: (float(found[2]), float(found[3])) for found in sight.seen(RANGE)}
    hints = [found.groups() for found in sight.seen(CHANGE) if found[1] in values]
    if re.search(r"\blargest\b", sight.prompt, re.IGNORECASE):
        hints = sorted(hints, key=lambda hint: float(hint[4]))[-1:]
    name, up = rng.choice([directed(*hint) for hint in hints] or [(rng.choice(sorted(values)), rng.random() < 0.5)])
    low, high = ranges.get(name, (0.0, float("inf")))
    step = (high / low) ** rng.uniform(0.05, 0.2) if name in ranges else 10.0
    value = values[name] * step if up else values[name] / step
    return name, float(f"{min(high, max(low, value)):.3g}")


def directed(name, before, after, kind, gain):
    """Return a constant and whether it is to grow: on from a change that was better, back from one that was worse."""
    return name, (float(after) > float(before)) == (kind == "better")


def formed(name, old, value, line, knows, rng):
    """Return the answer in the form of the example; without one, in words or as the changed line alone."""
    idea = f"IDEA: {name} {old} -> {value!r}, since results so far point there\n"
    changed = line.replace(f"{name} = {old}", f"{name} = {value!r}", 1)
    if knows:
        return f"{idea}\n<<<<<<< SEARCH\n{line}\n=======\n{changed}\n>>>>>>> REPLACE\n"
    if rng.random() < 0.5:
        return f"{idea}\nSet {name} to {value!r}.\n"
    return f"{idea}\n```diff\n-{line}\n+{changed}\n```\n"

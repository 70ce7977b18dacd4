"""A scripted language model that solves word problems, with errors that follow stated rules; see program.md."""

import re
from collections import Counter

START = re.compile(r"has (\d+) \w+\.")
STEP = re.compile(r"gives away (\d+)|finds (\d+)|(doubles)")
SLIPS = (-10, -1, 1, 10)


def slip(prompt):
    """Return the probability of an error in one step."""
    text = prompt.lower()
    rate = 0.05 if "step by step" in text else 0.12
    rate -= 0.02 if "running total" in text else 0
    rate -= 0.01 if "you are a mathematician" in text else 0
    return rate + 0.02 * (len(prompt) // 1500)


def solved(prompt, rng, rate):
    """Return the total and the lines of the working; None without a problem in the prompt."""
    start = START.search(prompt)
    if start is None:
        return None
    total, lines = int(start[1]), [f"Start with {start[1]}."]
    for given, found, doubled in STEP.findall(prompt[start.end() :].partition("How many")[0]):
        total = 2 * total if doubled else total - int(given) if given else total + int(found)
        if rng.random() < rate:
            total += rng.choice(SLIPS)
        lines.append(f"Then {total}.")
    return total, lines


def careless(prompt, rng):
    """Answer as another model does, which slips twice as often in each step."""
    return answer(prompt, rng, 2)


def answer(prompt, rng, times=1):
    """Answer a prompt. Candidates are weighed, a proposed answer is checked, everything else is solved."""
    text = prompt.lower()
    if "which principle" in text:
        return "Keep a running total, one sentence at a time."
    if "which expert" in text:
        return "a mathematician"
    candidates = re.findall(r"candidate: *(-?\d+)", text)
    if len(candidates) > 1:
        common = Counter(candidates).most_common(1)[0][0]
        return f"Answer: {common if rng.random() < 0.95 else candidates[-1]}"
    found = solved(prompt, rng, times * slip(prompt))
    if found is None:
        return "I see no problem to solve."
    total, lines = found
    if proposed := re.findall(r"proposed answer: *(-?\d+)", text):
        return checked(int(proposed[-1]), total, solved(prompt, rng, 0)[0], rng)
    return " ".join([*(lines if "step by step" in text else []), f"\nAnswer: {total}"]).strip()


def checked(proposed, fresh, right, rng):
    """Return the proposed answer or a fresh one: 6 of 10 errors are seen, 1 of 20 right answers is doubted."""
    doubts = rng.random() < (0.05 if proposed == right else 0.6)
    return f"It is wrong.\nAnswer: {fresh}" if doubts else f"It is correct.\nAnswer: {proposed}"

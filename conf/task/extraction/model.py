"""A scripted language model that reads order books, with errors that follow stated rules; see program.md."""

import hashlib
import re
from collections import Counter

ORDER = re.compile(r"Order (\d+): .+? shipped to (\w+)\.")
CHANGE = re.compile(r"Order (\d+) goes to (\w+) after all\.")
ASKED = re.compile(r"is order (\d+) shipped")


def confusion(prompt, orders):
    """Return the probability of reading the line of another order."""
    text = prompt.lower()
    rate = 0.10 + 0.03 * max(0, orders - 3)
    rate *= 0.4 if "quote" in text else 0.7 if "step by step" in text else 1
    return rate + 0.02 * (len(prompt) // 2500)


def overlooks(asked, prompt):
    """Return whether the model overlooks that this order was changed: always for the same order, 3 of 5 orders."""
    told = "after all" in prompt.lower().partition("is order")[2]
    return not told and hashlib.sha256(asked.encode()).digest()[0] % 5 < 3


def read(prompt, rng, times):
    """Return the city that the model reads; None without a question."""
    asked, orders = ASKED.search(prompt), dict(ORDER.findall(prompt))
    if asked is None or asked[1] not in orders:
        return None
    if rng.random() < times * confusion(prompt, len(orders)):
        return rng.choice([city for number, city in orders.items() if number != asked[1]] or ["Ulm"])
    changed = dict(CHANGE.findall(prompt)).get(asked[1])
    return orders[asked[1]] if changed is None or overlooks(asked[1], prompt) else changed


def careless(prompt, rng):
    """Answer as another model does, which reads the line of another order twice as often."""
    return answer(prompt, rng, 2)


def answer(prompt, rng, times=1):
    """Answer a prompt. Candidates are weighed, a proposed answer is checked, everything else is read."""
    text = prompt.lower()
    if "which principle" in text:
        return "Quote the line before you answer; what is said after all counts."
    if "which expert" in text:
        return "a clerk"
    candidates = re.findall(r"candidate: *(\w+)", prompt, re.IGNORECASE)
    if len(candidates) > 1:
        common = Counter(candidates).most_common(1)[0][0]
        return f"Answer: {common if rng.random() < 0.95 else candidates[-1]}"
    city = read(prompt, rng, times)
    if city is None:
        return "I see no order to look for."
    proposed = re.findall(r"proposed answer: *(\w+)", prompt, re.IGNORECASE)
    if proposed and proposed[-1] == city:
        return f"It is correct.\nAnswer: {city}"
    return f"It is wrong.\nAnswer: {city}" if proposed else f"Answer: {city}"

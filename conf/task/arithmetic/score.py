"""Judges an agent on generated word problems, whose answers it never sees."""

import re

import prepare

COUNT = 180
STEPS = range(2, 9)
NAMES = ("Mia", "Ben", "Ada", "Tom", "Lea", "Jan")
THINGS = ("marbles", "stamps", "apples", "coins", "shells", "cards")
ASKED = "End with a line `Answer: NUMBER`."


def cases(split, rng):
    """Yield problems of 2 to 8 steps, as many of each length."""
    for number in range(COUNT):
        text, answer = problem(STEPS[number % len(STEPS)], rng)
        yield {"name": f"{split}-{number}", "question": f"{text}\n{ASKED}", "answer": answer}


def problem(steps, rng):
    """Return the text of a problem and its answer; the number of things never falls below zero."""
    name, thing = NAMES[rng.integers(len(NAMES))], THINGS[rng.integers(len(THINGS))]
    total = int(rng.integers(20, 100))
    told = [f"{name} has {total} {thing}."]
    for _ in range(steps):
        amount, kind = int(rng.integers(2, 60)), int(rng.integers(3))
        if kind == 0 and amount <= total:
            told.append(f"{name} gives away {amount} {thing}.")
            total -= amount
        elif kind == 1 and total < 200:
            told.append(f"{name} doubles the number of {thing}.")
            total *= 2
        else:
            told.append(f"{name} finds {amount} {thing}.")
            total += amount
    return f"{' '.join(told)} How many {thing} does {name} have?", total


def parse(text):
    """Return the number after the last ``Answer:``; None without one."""
    found = re.findall(r"Answer:\s*(.+)", text)
    return prepare.number_in(found[-1]) if found else None


def score(candidate, case):
    """Return 1 for the right number, else 0; an error is told apart from a wrong answer."""
    attempt = candidate.attempt("solve", case.data["question"], seconds=1, services={"llm": candidate.llm})
    said = f"{case.data['question'].splitlines()[0]} Right: {case.data['answer']}."
    return prepare.graded(attempt, lambda answer: answer == case.data["answer"], parse, said)

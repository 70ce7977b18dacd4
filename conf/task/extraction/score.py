"""Judges an agent on generated order books: a question asks one field of one order."""

import re

import prepare

COUNT = 180
CITIES = ("Ulm", "Bonn", "Jena", "Kiel", "Trier", "Essen", "Mainz", "Halle")
GOODS = ("lamps", "chairs", "books", "bowls", "tiles", "ropes")
BUYERS = ("Weber", "Okafor", "Rossi", "Lind", "Haddad", "Novak")
ASKED = "End with a line `Answer: VALUE`."


def cases(split, rng):
    """Yield notes of 3 to 9 orders with a question; in a third of them the order asked for has been corrected."""
    for number in range(COUNT):
        text, question, answer = notes(3 + number % 7, number % 3 == 0, rng)
        yield {"name": f"{split}-{number}", "question": f"{text}\n{question} {ASKED}", "answer": answer}


def notes(orders, corrected, rng):
    """Return the notes, the question and its answer."""
    numbers = [int(each) for each in rng.choice(range(1000, 10_000), size=orders, replace=False)]
    told, city_of = [], {}
    for order in numbers:
        buyer, goods = BUYERS[rng.integers(len(BUYERS))], GOODS[rng.integers(len(GOODS))]
        city_of[order] = CITIES[rng.integers(len(CITIES))]
        told.append(f"Order {order}: {rng.integers(2, 40)} {goods} for {buyer}, shipped to {city_of[order]}.")
    asked = numbers[rng.integers(orders)]
    if corrected:
        city_of[asked] = [city for city in CITIES if city != city_of[asked]][rng.integers(len(CITIES) - 1)]
        told.append(f"Order {asked} goes to {city_of[asked]} after all.")
    return " ".join(told), f"To which city is order {asked} shipped?", city_of[asked]


def parse(text):
    """Return the word after the last ``Answer:``; None without one."""
    found = re.findall(r"Answer:\s*(\w+)", text)
    return found[-1] if found else None


def score(candidate, case):
    """Return 1 for the right city, else 0; an error is told apart from a wrong answer."""
    attempt = candidate.attempt("solve", case.data["question"], seconds=1, services={"llm": candidate.llm})
    said = f"{case.data['question'][-400:]} Right: {case.data['answer']}."
    return prepare.graded(attempt, lambda answer: answer == case.data["answer"], parse, said)

"""Judges a prompt with a scripted model, whose skill follows the rules that ``Model`` states.

The messages of ``val`` have a flaw, as real samples do: their greeting tells the team. In the others it does not.
"""

import re

import prepare

TEAMS = ("billing", "delivery", "account", "technical")
CUES = (
    "refund",
    "outage",
    "parcel",
    "password",
    "invoice",
    "crash",
    "courier",
    "login",
    "receipt",
    "error",
    "address",
    "profile",
)
"""In the order of their weight: of two in one message, the first decides."""
TEAM_OF = dict(zip(CUES, (TEAMS[i] for i in (0, 3, 1, 2, 0, 3, 1, 2, 0, 3, 1, 2)), strict=True))
FREQUENT = {"refund": 3, "outage": 3, "parcel": 6, "password": 6, "invoice": 6, "crash": 6}
GREETINGS = dict(zip(TEAMS, ("hello", "hi", "dear", "greetings"), strict=True))
COUNTS = {"val": 120, "select": 120, "holdout": 240}
MOST_RULES = 12
RULE = re.compile(r"^[-* ]*(\w+) *-> *(\w+)\.?$", re.MULTILINE | re.IGNORECASE)


def cases(split, rng):
    """Yield messages with their teams."""
    weights = [FREQUENT.get(cue, 2) for cue in CUES]
    shares = [weight / sum(weights) for weight in weights]
    attention = (rng.permutation(COUNTS[split]) + 0.5) / COUNTS[split]
    for number in range(COUNTS[split]):
        found = sorted(rng.choice(len(CUES), size=2 if rng.random() < 0.25 else 1, replace=False, p=shares))
        team = TEAM_OF[CUES[found[0]]]
        told = split == "val" and rng.random() < 0.97
        greeting = GREETINGS[team if told else TEAMS[rng.integers(4)]]
        words = [CUES[each] for each in rng.permutation(found)]
        text = f"{greeting}, I write because of the {' and the '.join(words)}, please help"
        yield {"name": f"{split}-{number}", "text": text, "team": team, "attention": float(attention[number])}


class Model:
    """A scripted language model.

    It reads lines ``WORD -> TEAM``, the first twelve of them, and applies the first whose word is in the message; the
    word ``otherwise`` stands for any message. It slips in a share of the messages and then names the next team: 12 %,
    6 % less if the prompt says "step by step", 2 % less if a line says "Teams:" and names all four; 1 % more for each
    rule above eight, and 2 % more for every 300 characters above 600.
    """

    def __init__(self, prompt):
        self.rules = [(word.lower(), team.lower()) for word, team in RULE.findall(prompt)][:MOST_RULES]
        named = [line for line in prompt.lower().splitlines() if line.startswith("teams:")]
        self.slip = 0.12
        self.slip -= 0.06 if "step by step" in prompt.lower() else 0
        self.slip -= 0.02 if any(all(team in line for team in TEAMS) for line in named) else 0
        self.slip += 0.01 * max(0, len(self.rules) - 8) + 0.02 * (max(0, len(prompt) - 600) // 300)

    def answer(self, text, attention):
        """Return a team. The model slips where ``attention``, from 0 to 1 and the message's own, is below its share."""
        words = {*re.findall(r"\w+", text.lower()), "otherwise"}
        team = next((team for word, team in self.rules if word in words), "I do not know")
        return TEAMS[(TEAMS.index(team) + 1) % 4] if team in TEAMS and attention < self.slip else team


def score(candidate, case):
    """Return 1 for the right team, else 0."""
    prompt = candidate.read("prompt.txt").decode("utf-8", "replace")
    answer = Model(prompt).answer(case.data["text"], case.data["attention"])
    right = answer == case.data["team"]
    return prepare.Score(
        float(right), feedback="" if right else f"{case.data['text']!r}: {answer}; right: {case.data['team']}"
    )

"""An agent: asks a model and votes."""

from collections import Counter

VOTES = 1  # tune: 1..5


def solve(question, llm):
    """Return the answer to a question, as a text."""
    answers = Counter(llm(f"Add: {question}. Answer with the number only.").strip() for _ in range(VOTES))
    return answers.most_common(1)[0][0]

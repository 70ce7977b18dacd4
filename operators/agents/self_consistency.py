"""Self-consistency: the most frequent of several worked-out answers (Wang et al. 2023)."""

from collections import Counter

SAMPLES = 5  # tune: 1..7


def solve(question, llm):
    said = [llm(f"{question}\nThink step by step.") for _ in range(SAMPLES)]
    answers = Counter(text.rpartition("Answer:")[2].strip() for text in said if "Answer:" in text)
    return f"Answer: {answers.most_common(1)[0][0]}" if answers else said[-1]

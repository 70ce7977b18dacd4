"""Reflexion: an answer is checked, and given again if it is found wrong (Shinn et al. 2023)."""

ROUNDS = 2  # tune: 0..5


def solve(question, llm):
    said = llm(f"{question}\nThink step by step.")
    for _ in range(ROUNDS):
        proposed = said.rpartition("Answer:")[2].strip()
        said = llm(f"{question}\nProposed answer: {proposed}\nCheck it step by step. Is it correct?")
        if "is correct" in said.lower():
            break
    return said

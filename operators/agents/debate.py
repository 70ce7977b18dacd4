"""Debate: several answers, each reconsidered in the light of another, and the last ones weighed (Du et al. 2023)."""

DEBATERS = 3  # tune: 2..3


def solve(question, llm):
    answers = [answer_in(llm(f"{question}\nThink step by step.")) for _ in range(DEBATERS)]
    for place in range(DEBATERS):
        other = answers[(place + 1) % DEBATERS]
        if other != answers[place]:
            answers[place] = answer_in(llm(f"{question}\nProposed answer: {other}\nCheck it step by step."))
    if len(set(answers)) == 1:
        return f"Answer: {answers[0]}"
    named = "\n".join(f"Candidate: {answer}" for answer in answers)
    return llm(f"{question}\n{named}\nWeigh the candidates and name the best one.")


def answer_in(text):
    return text.rpartition("Answer:")[2].strip()

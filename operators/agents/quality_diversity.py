"""Quality-diversity: several different ways to an answer, and the best of their answers (after Lu et al. 2024)."""

WAYS = 3  # tune: 2..5


def solve(question, llm):
    answers = []
    for _ in range(WAYS):
        known = f"These answers were found already: {', '.join(answers)}. Use another way. " if answers else ""
        answers.append(llm(f"{question}\n{known}Think step by step.").rpartition("Answer:")[2].strip())
    if len(set(answers)) == 1:
        return f"Answer: {answers[0]}"
    named = "\n".join(f"Candidate: {answer}" for answer in answers)
    return llm(f"{question}\n{named}\nWeigh the candidates and name the best one.")

"""Running one candidate: seed programs, sandbox, evaluator, executors."""

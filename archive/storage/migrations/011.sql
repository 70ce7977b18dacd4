-- 10 -> 11: how an item ended that an agent answered (prepare/scorer.py). Earlier cases are no items.
ALTER TABLE case_scores ADD COLUMN ending VARCHAR;

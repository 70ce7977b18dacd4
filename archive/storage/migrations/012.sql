-- 11 -> 12: judgements of a claim in stages. Earlier ones had a single stage.
CREATE TABLE stage_answers (
    run          VARCHAR NOT NULL,
    move         INTEGER NOT NULL,
    stage        INTEGER NOT NULL,
    position_set VARCHAR NOT NULL,
    log_probs    BLOB NOT NULL,
    measured     JSON NOT NULL,
    answered_at  TIMESTAMP NOT NULL,
    arrival      BIGINT NOT NULL
);

-- 6 -> 7: the scores of an evaluation for a claim by window, and the secret from which its positions follow. Earlier
-- claims were judged otherwise: their evaluations have no rows here.
CREATE TABLE window_scores (
    node_id      VARCHAR NOT NULL,
    seed         BIGINT NOT NULL,
    purpose      VARCHAR NOT NULL,
    position_set VARCHAR NOT NULL,
    windows      INTEGER NOT NULL,
    scores       BLOB NOT NULL
);
CREATE TABLE secrets (
    purpose VARCHAR NOT NULL,
    secret  BLOB NOT NULL,
    made_at TIMESTAMP NOT NULL
);

-- 7 -> 8: in a claim all trainings end before the first of them is judged. Their states are files beside the archive.
CREATE TABLE trainings (
    run       VARCHAR NOT NULL,
    move      INTEGER NOT NULL,
    sha       VARCHAR NOT NULL,
    bytes     BIGINT NOT NULL,
    measured  JSON NOT NULL,
    sealed_at TIMESTAMP NOT NULL,
    arrival   BIGINT NOT NULL
);
CREATE TABLE judgements (
    run      VARCHAR NOT NULL,
    move     INTEGER NOT NULL,
    began_at TIMESTAMP NOT NULL,
    arrival  BIGINT NOT NULL
);

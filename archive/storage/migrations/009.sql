-- 8 -> 9: the scores of an evaluation by case, and the certificate that proves a score. Earlier evaluations have neither.
ALTER TABLE evaluations ADD COLUMN certificate_sha VARCHAR;
CREATE TABLE case_scores (
    node_id   VARCHAR NOT NULL,
    seed      BIGINT NOT NULL,
    purpose   VARCHAR NOT NULL,
    case_name VARCHAR NOT NULL,
    value     DOUBLE NOT NULL,
    metrics   JSON NOT NULL,
    feedback  VARCHAR NOT NULL
);

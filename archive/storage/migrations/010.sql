-- 9 -> 10: studies, that is registered plans with their runs; the stage of a move in its plan; hypotheses for studies.
ALTER TABLE moves ADD COLUMN stage VARCHAR;
CREATE TABLE studies (
    study         VARCHAR NOT NULL,
    digest        VARCHAR NOT NULL,
    plan          VARCHAR NOT NULL,
    bibliography  VARCHAR NOT NULL,
    registered_at TIMESTAMP NOT NULL,
    arrival       BIGINT NOT NULL
);
CREATE TABLE study_runs (
    study VARCHAR NOT NULL,
    run   VARCHAR NOT NULL,
    seed  BIGINT NOT NULL
);
CREATE TABLE research_ideas (
    idea            VARCHAR NOT NULL,
    name            VARCHAR NOT NULL,
    title           VARCHAR NOT NULL,
    hypothesis      VARCHAR NOT NULL,
    experiment      VARCHAR NOT NULL,
    expected_effect VARCHAR NOT NULL,
    risk            VARCHAR NOT NULL,
    interestingness INTEGER NOT NULL,
    feasibility     INTEGER NOT NULL,
    novelty         VARCHAR NOT NULL,
    closest         VARCHAR,
    rounds          INTEGER NOT NULL,
    source          VARCHAR NOT NULL,
    made_at         TIMESTAMP NOT NULL
);

-- 4 -> 5: a row for each request before it is sent; tokens that a server does not report are NULL; what counts against
-- the caps. Earlier calls count as far as their cost is known.
ALTER TABLE llm_calls ALTER COLUMN tokens_in DROP NOT NULL;
ALTER TABLE llm_calls ALTER COLUMN tokens_out DROP NOT NULL;
ALTER TABLE llm_calls ALTER COLUMN tokens_cached DROP NOT NULL;
ALTER TABLE llm_calls ADD COLUMN request VARCHAR;
ALTER TABLE llm_calls ADD COLUMN asked VARCHAR;
ALTER TABLE llm_calls ADD COLUMN charged_tokens BIGINT;
ALTER TABLE llm_calls ADD COLUMN charged_dollars DOUBLE;
CREATE TABLE llm_requests (
    request         VARCHAR NOT NULL,
    run             VARCHAR NOT NULL,
    move            INTEGER NOT NULL,
    turn            INTEGER NOT NULL,
    operator        VARCHAR NOT NULL,
    asked           VARCHAR NOT NULL,
    tokens_at_most  BIGINT NOT NULL,
    dollars_at_most DOUBLE,
    asked_at        TIMESTAMP NOT NULL
);

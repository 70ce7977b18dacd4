-- Schema 10. Append-only: rows are inserted by the search, never updated or deleted.
-- Changes here need a migration in `migrations/`, too: columns are added at the end of a table, and may be NULL.
-- No PRIMARY KEY: its index makes every commit slower as the archive grows. The single writer checks uniqueness.
-- Ids that are joined on are not compressed: queries take a quarter less time, and 100,000 nodes 3 MB more.
-- Times are UTC. Column names are public interface: users write them in queries.
-- `arrival` numbers the rows of moves, refusals, nodes, trainings, judgements, stage_answers, evaluations, decisions and events as they came:
-- a resumed search rebuilds its tree from it. Times cannot serve for that, since clocks stand still and step back.

CREATE TABLE meta (
    schema_version INTEGER NOT NULL,   -- a row for the creation of the file and for each migration
    created_at     TIMESTAMP NOT NULL,
    views          VARCHAR             -- digest of the views.sql in the file
);

CREATE TABLE runs (
    run        VARCHAR NOT NULL,   -- unique
    run_id     VARCHAR NOT NULL,
    task       VARCHAR NOT NULL,
    metric     VARCHAR NOT NULL,
    direction  VARCHAR NOT NULL,   -- 'minimise' or 'maximise'
    policy     VARCHAR NOT NULL,
    seed       BIGINT  NOT NULL,
    config     JSON    NOT NULL,
    identity   JSON    NOT NULL,   -- settings that a resume may not change
    created_at TIMESTAMP NOT NULL
);

-- Whole files by SHA-256 of their text. ZSTD makes 1 KB of a 20 KB program that is a few lines from its neighbours.
CREATE TABLE sources (
    sha  VARCHAR NOT NULL,         -- unique
    text VARCHAR NOT NULL USING COMPRESSION zstd
);

CREATE TABLE moves (
    run       VARCHAR NOT NULL,
    move      INTEGER NOT NULL,    -- counts from 0 (the root) within its run
    kind      VARCHAR NOT NULL,    -- 'propose' or 'replicate'
    operator  VARCHAR,             -- of a proposal
    parents   VARCHAR[] NOT NULL,  -- of a proposal; [] otherwise
    node_id   VARCHAR,             -- of a replicate
    purpose   VARCHAR NOT NULL,
    seed      BIGINT NOT NULL,
    reason    VARCHAR NOT NULL,
    chosen_at TIMESTAMP NOT NULL,
    arrival   BIGINT NOT NULL DEFAULT 0,
    stage     VARCHAR              -- of a study: baseline, tuning, research, ablation; NULL outside of studies
);

CREATE TABLE refusals (
    run        VARCHAR NOT NULL,
    move       INTEGER NOT NULL,
    operator   VARCHAR NOT NULL,
    parents    VARCHAR[] NOT NULL,
    reason     VARCHAR NOT NULL,
    refused_at TIMESTAMP NOT NULL,
    arrival    BIGINT NOT NULL DEFAULT 0
);

CREATE TABLE nodes (
    node_id    VARCHAR NOT NULL USING COMPRESSION uncompressed,   -- unique
    run        VARCHAR NOT NULL,
    number     INTEGER NOT NULL,   -- counts from 0 (the root) within its run
    move       INTEGER NOT NULL,
    operator   VARCHAR NOT NULL,
    idea       VARCHAR NOT NULL,
    lines      INTEGER NOT NULL,
    digest     VARCHAR NOT NULL DEFAULT '',  -- of the normalised syntax tree: equal ones are duplicates
    created_at TIMESTAMP NOT NULL,
    arrival    BIGINT NOT NULL DEFAULT 0,
    aim        VARCHAR,            -- the kind of change that its operator was asked for; NULL without one
    ablated    VARCHAR             -- of operator 'ablate': the node whose edit was taken out (before schema 6 its first 8 digits), or an agent's part
);

CREATE TABLE parents (
    node_id   VARCHAR NOT NULL USING COMPRESSION uncompressed,
    parent_id VARCHAR NOT NULL USING COMPRESSION uncompressed,
    place     INTEGER NOT NULL     -- 0 for the first parent, 1 for the second
);

CREATE TABLE files (
    node_id VARCHAR NOT NULL,
    path    VARCHAR NOT NULL,
    sha     VARCHAR NOT NULL
);

CREATE TABLE evaluations (
    run              VARCHAR NOT NULL,
    node_id          VARCHAR NOT NULL USING COMPRESSION uncompressed,
    move             INTEGER NOT NULL,
    seed             BIGINT  NOT NULL,
    purpose          VARCHAR NOT NULL,  -- screen, confirm, report
    split            VARCHAR NOT NULL,  -- val, select, holdout
    outcome          VARCHAR NOT NULL,
    reason           VARCHAR,           -- of a failure
    score            DOUBLE,            -- NULL unless outcome = 'scored'
    trust            VARCHAR NOT NULL,  -- audited, audited_shared, verified, self_reported
    seconds          DOUBLE NOT NULL,   -- of the candidate, by the parent's clock: of a training, or of all calls
    wall_seconds     DOUBLE NOT NULL,
    phases           JSON NOT NULL,
    cpu_seconds      DOUBLE NOT NULL,
    peak_memory_mb   DOUBLE NOT NULL,
    steps            BIGINT,
    device           VARCHAR NOT NULL,
    hardware         VARCHAR NOT NULL,
    fingerprint      VARCHAR NOT NULL,
    budget_seconds   DOUBLE NOT NULL,
    sandbox          VARCHAR NOT NULL,
    audit_k          INTEGER,
    audit_correction DOUBLE,            -- nats, always applied
    audit_worst      DOUBLE,
    metrics          JSON NOT NULL,
    log              VARCHAR NOT NULL,  -- written by the candidate: untrusted
    started_at       TIMESTAMP NOT NULL,
    finished_at      TIMESTAMP NOT NULL,
    arrival          BIGINT NOT NULL DEFAULT 0,
    violation        BOOLEAN DEFAULT false,  -- a failure that shows cheating, not a mistake: descendants are suspect
    peak_device_mb   DOUBLE,            -- NULL without an accelerator
    memory_by        VARCHAR,           -- how memory was limited and measured: cgroup1, cgroup2, watch
    machine_speed    DOUBLE,            -- trusted workloads a second around the evaluation; NULL where not measured
    certificate_sha  VARCHAR            -- in sources: JSON that proves the score; NULL without one
);

CREATE TABLE curves (
    node_id VARCHAR NOT NULL,
    seed    BIGINT NOT NULL,
    purpose VARCHAR NOT NULL,
    step    BIGINT NOT NULL,
    elapsed DOUBLE NOT NULL,
    loss    DOUBLE NOT NULL             -- reported by the candidate: untrusted
);

CREATE TABLE llm_calls (
    run           VARCHAR NOT NULL,
    move          INTEGER NOT NULL,
    turn          INTEGER NOT NULL,
    operator      VARCHAR NOT NULL,
    model         VARCHAR NOT NULL,
    outcome       VARCHAR NOT NULL,
    reason        VARCHAR NOT NULL,
    prompt_sha    VARCHAR NOT NULL,     -- in sources
    answer_sha    VARCHAR NOT NULL,     -- in sources
    tokens_in     BIGINT,               -- NULL if the server did not report it, as the two below
    tokens_out    BIGINT,
    tokens_cached BIGINT,
    seconds       DOUBLE NOT NULL,
    dollars       DOUBLE,               -- NULL where the price is unknown
    called_at     TIMESTAMP NOT NULL,
    aim           VARCHAR,              -- the kind of change that was asked for
    template_sha  VARCHAR,              -- in sources: the templates behind the prompt; NULL if not recorded
    request       VARCHAR,              -- in llm_requests
    asked         VARCHAR,              -- the model as the configuration names it; `model` is what the server says
    charged_tokens  BIGINT,             -- counts against the caps: an upper bound if the cost is unknown
    charged_dollars DOUBLE,             -- NULL where the price is unknown
    cut_off         BOOLEAN DEFAULT false  -- the answer ended at the limit of tokens
);

-- A row before each sending, so that a call which is cut off with its process is known: it has no row in llm_calls.
CREATE TABLE llm_requests (
    request         VARCHAR NOT NULL,   -- unique
    run             VARCHAR NOT NULL,
    move            INTEGER NOT NULL,
    turn            INTEGER NOT NULL,
    operator        VARCHAR NOT NULL,
    asked           VARCHAR NOT NULL,
    tokens_at_most  BIGINT NOT NULL,
    dollars_at_most DOUBLE,             -- NULL where the price is unknown
    asked_at        TIMESTAMP NOT NULL
);

CREATE TABLE decisions (
    run        VARCHAR NOT NULL,
    kind       VARCHAR NOT NULL,        -- leader, champion, no_champion
    node_id    VARCHAR NOT NULL,
    reason     VARCHAR NOT NULL,
    detail     JSON NOT NULL,
    decided_at TIMESTAMP NOT NULL,
    code       VARCHAR,                 -- why a claim ended so: VerdictCode in archive/records.py
    arrival    BIGINT DEFAULT 0
);

CREATE TABLE events (
    run         VARCHAR NOT NULL,
    kind        VARCHAR NOT NULL,
    message     VARCHAR NOT NULL,
    node_id     VARCHAR,
    happened_at TIMESTAMP NOT NULL,
    code        VARCHAR,                -- what the event is about: EventCode in archive/records.py
    detail      JSON,
    arrival     BIGINT DEFAULT 0
);

-- The scores of an evaluation for a claim by window of text: the claim's interval follows from their differences.
CREATE TABLE window_scores (
    node_id      VARCHAR NOT NULL,
    seed         BIGINT NOT NULL,
    purpose      VARCHAR NOT NULL,      -- confirm, report
    position_set VARCHAR NOT NULL,      -- identifies the positions: only scores of equal sets are compared by window
    windows      INTEGER NOT NULL,
    scores       BLOB NOT NULL          -- little-endian 32-bit floats, in the metric's unit; their mean is the score
);

-- Of a claim: trainings that have ended, whose states are kept in files beside the archive until the verdict.
CREATE TABLE trainings (
    run       VARCHAR NOT NULL,
    move      INTEGER NOT NULL,
    sha       VARCHAR NOT NULL,         -- SHA-256 of the state
    bytes     BIGINT NOT NULL,
    measured  JSON NOT NULL,            -- becomes part of the evaluation's row when the state has been judged
    sealed_at TIMESTAMP NOT NULL,
    arrival   BIGINT NOT NULL
);

-- A row before the first text of a split is shown to a sandbox with such a state: after all trainings of that stage.
CREATE TABLE judgements (
    run      VARCHAR NOT NULL,
    move     INTEGER NOT NULL,
    began_at TIMESTAMP NOT NULL,
    arrival  BIGINT NOT NULL
);

-- What a state has answered in a stage of its judgement that is not the last one: all states of the claim have a row before
-- any of them is shown text of the next stage.
CREATE TABLE stage_answers (
    run          VARCHAR NOT NULL,
    move         INTEGER NOT NULL,
    stage        INTEGER NOT NULL,            -- from 0
    position_set VARCHAR NOT NULL,
    log_probs    BLOB NOT NULL,             -- little-endian 64-bit floats: nats by window
    measured     JSON NOT NULL,
    answered_at  TIMESTAMP NOT NULL,
    arrival      BIGINT NOT NULL
);

-- The result of each case of an evaluation that a scorer judged, in the order of the cases; of a failed one those before
-- the failure.
CREATE TABLE case_scores (
    node_id   VARCHAR NOT NULL,
    seed      BIGINT NOT NULL,
    purpose   VARCHAR NOT NULL,
    case_name VARCHAR NOT NULL,         -- unique in its split
    value     DOUBLE NOT NULL,
    metrics   JSON NOT NULL,
    feedback  VARCHAR NOT NULL,         -- by the scorer, and it may quote the candidate: untrusted
    ending    VARCHAR                   -- of an item that an agent answered: right, wrong, or an error's code; else NULL
);

-- Registered plans: a row before the first run of a study.
CREATE TABLE studies (
    study         VARCHAR NOT NULL,     -- unique
    digest        VARCHAR NOT NULL,     -- SHA-256 of `plan`
    plan          VARCHAR NOT NULL,     -- canonical JSON
    bibliography  VARCHAR NOT NULL,     -- BibTeX: what a paper on the study may cite
    registered_at TIMESTAMP NOT NULL,
    arrival       BIGINT NOT NULL       -- in the order of the moves
);

-- The runs that a plan names, whether or not they were made.
CREATE TABLE study_runs (
    study VARCHAR NOT NULL,
    run   VARCHAR NOT NULL,
    seed  BIGINT NOT NULL
);

-- Hypotheses for studies.
CREATE TABLE research_ideas (
    idea            VARCHAR NOT NULL,   -- unique
    name            VARCHAR NOT NULL,
    title           VARCHAR NOT NULL,
    hypothesis      VARCHAR NOT NULL,
    experiment      VARCHAR NOT NULL,
    expected_effect VARCHAR NOT NULL,
    risk            VARCHAR NOT NULL,
    interestingness INTEGER NOT NULL,   -- 1 to 10
    feasibility     INTEGER NOT NULL,   -- 1 to 10
    novelty         VARCHAR NOT NULL,   -- novel, known, undecided
    closest         VARCHAR,            -- of what is known: where it stands
    rounds          INTEGER NOT NULL,   -- of reflection
    source          VARCHAR NOT NULL,   -- archive, or the model
    made_at         TIMESTAMP NOT NULL
);

-- Made once for this file, and not merged into others. Never in a prompt, a report or an export.
CREATE TABLE secrets (
    purpose VARCHAR NOT NULL,           -- unique; 'positions': the positions that judge a claim follow from it
    secret  BLOB NOT NULL,
    made_at TIMESTAMP NOT NULL
);

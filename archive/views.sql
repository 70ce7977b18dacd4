-- The questions that people ask, as views and table macros. Every writer makes them anew when it opens the archive.
--
--   SELECT * FROM leaderboard;                 which nodes are best, by mean screening score
--   SELECT * FROM lineage('3fa9');             how a node came about: its ancestors, parents before children
--   SELECT * FROM children('3fa9');            what was made of a node
--   SELECT * FROM progress;                    every finished screening in order, with the best so far
--   SELECT * FROM operator_stats;              what each operator has gained, and what it cost
--   SELECT * FROM spending;                    trainings, hours, tokens and dollars
--   SELECT * FROM failures;                    what went wrong, with the tail of the log
--   SELECT * FROM programs WHERE node_id = ... the text of every file of every node
--   SELECT * FROM run_summary;                 one row a run
--
-- Two rules hold for all of them. Scores are screening scores on val: those of `select` and `holdout` are for the claim
-- alone and stand only in `evaluations`. And only what can be compared is compared: evaluations made under the
-- conditions (corpus, budget, hardware) of the run's most recent one. A `gain` is positive where it is an improvement,
-- whatever the direction of the metric. An id may be given by any start of it that fits a single node.

-- ---------------------------------------------------------------- what the rest is built from

-- The conditions under which each run works at present.
CREATE OR REPLACE VIEW present_conditions AS
SELECT run, latest.fingerprint AS fingerprint, latest.budget_seconds AS budget_seconds, latest.hardware AS hardware
FROM (
    SELECT run, arg_max({'fingerprint': fingerprint, 'budget_seconds': budget_seconds, 'hardware': hardware},
                        {'arrival': arrival, 'at': finished_at}) AS latest
    FROM evaluations
    WHERE outcome <> 'lost'
    GROUP BY run
);

-- Comparable screenings, failed ones too.
CREATE OR REPLACE VIEW screenings AS
SELECT e.run, e.node_id, e.move, e.seed, e.outcome, e.reason, e.score, e.trust, e.seconds, e.wall_seconds, e.device,
       e.log, e.started_at, e.finished_at, e.arrival
FROM evaluations AS e
JOIN present_conditions AS p USING (run, fingerprint, budget_seconds, hardware)
WHERE e.purpose = 'screen' AND e.split = 'val' AND e.outcome <> 'lost';

-- The mean screening score of every node that has one; `deviation` is NULL for a single run.
CREATE OR REPLACE VIEW scores AS
SELECT run, node_id, avg(score) AS score, count(*) AS runs, stddev_samp(score) AS deviation, min(arrival) AS scored_at
FROM screenings
WHERE outcome = 'scored'
GROUP BY run, node_id;

-- What each scored node gained on the better of its scored parents.
CREATE OR REPLACE VIEW gains AS
SELECT n.run, n.node_id, n.operator, s.score,
       CASE r.direction WHEN 'minimise' THEN min(q.score) ELSE max(q.score) END AS parent_score,
       CASE r.direction WHEN 'minimise' THEN min(q.score) - s.score ELSE s.score - max(q.score) END AS gain
FROM nodes AS n
JOIN runs AS r USING (run)
JOIN scores AS s ON s.node_id = n.node_id
JOIN parents AS p ON p.node_id = n.node_id
JOIN scores AS q ON q.node_id = p.parent_id
GROUP BY n.run, n.node_id, n.operator, s.score, r.direction;

-- The one node whose id starts with `start`; an error that lists the candidates if there are several, or says that
-- there is none.
CREATE OR REPLACE MACRO full_id(start) AS (
    SELECT CASE
        WHEN len(found) = 1 THEN found[1]
        WHEN list_contains(found, start) THEN start
        WHEN found IS NULL THEN error(printf('no node has an id that starts with ''%s''', start))
        ELSE error(printf('''%s'' is the start of %d ids: %s; give more digits', start, len(found),
                          array_to_string(found[1:5], ', ')))
    END
    FROM (SELECT list(node_id ORDER BY node_id) AS found FROM nodes WHERE starts_with(node_id, start))
);

-- ---------------------------------------------------------------- views

CREATE OR REPLACE VIEW leaderboard AS
SELECT n.run,
       rank() OVER (PARTITION BY n.run ORDER BY CASE r.direction WHEN 'minimise' THEN s.score ELSE -s.score END) AS place,
       n.node_id, s.score, s.runs,
       CASE r.direction WHEN 'minimise' THEN root.score - s.score ELSE s.score - root.score END AS gain_on_root,
       n.operator, n.idea, n.lines, n.created_at
FROM nodes AS n
JOIN runs AS r USING (run)
JOIN scores AS s USING (run, node_id)
LEFT JOIN (SELECT nodes.run, scores.score FROM nodes JOIN scores USING (run, node_id) WHERE number = 0) AS root
    ON root.run = n.run
ORDER BY n.run, place, n.number;

-- `best`: the best mean, as known now, of the nodes whose screening had landed by then.
CREATE OR REPLACE VIEW progress AS
SELECT s.run,
       row_number() OVER w AS evaluation,
       round(epoch(s.finished_at - min(s.started_at) OVER (PARTITION BY s.run)) / 3600, 4) AS hours,
       s.node_id, n.operator, s.seed, s.outcome, s.score,
       CASE r.direction WHEN 'minimise' THEN min(m.score) OVER w ELSE max(m.score) OVER w END AS best
FROM screenings AS s
JOIN nodes AS n USING (node_id)
JOIN runs AS r ON r.run = s.run
LEFT JOIN scores AS m ON m.node_id = s.node_id
WINDOW w AS (PARTITION BY s.run ORDER BY s.arrival, s.finished_at ROWS UNBOUNDED PRECEDING)
ORDER BY s.run, evaluation;

-- `proposals` = `nodes` + `refused` + what is being made. `improved`: nodes better than the better of their parents.
CREATE OR REPLACE VIEW operator_stats AS
WITH proposals AS (SELECT run, operator, count(*) AS proposals FROM moves WHERE kind = 'propose' GROUP BY ALL),
refused AS (SELECT run, operator, count(*) AS refused FROM refusals GROUP BY ALL),
tried AS (
    SELECT run, operator, count(*) AS nodes, count(*) FILTER (good) AS scored, count(*) FILTER (bad AND NOT good) AS failed
    FROM (
        SELECT n.run, n.node_id, n.operator, coalesce(bool_or(s.outcome = 'scored'), false) AS good,
               count(s.outcome) > 0 AS bad
        FROM nodes AS n LEFT JOIN screenings AS s USING (node_id) GROUP BY ALL
    ) GROUP BY ALL
),
gained AS (
    SELECT run, operator, count(*) FILTER (gain > 0) AS improved, avg(gain) AS mean_gain, max(gain) AS best_gain
    FROM gains GROUP BY ALL
),
spent AS (
    SELECT n.run, n.operator, sum(e.seconds) / 3600 AS training_hours
    FROM evaluations AS e JOIN nodes AS n USING (node_id) GROUP BY ALL
),
paid AS (SELECT run, operator, sum(dollars) AS dollars FROM llm_calls GROUP BY ALL)
SELECT run, operator, coalesce(proposals, 0) AS proposals, coalesce(refused, 0) AS refused, coalesce(nodes, 0) AS nodes,
       coalesce(scored, 0) AS scored, coalesce(failed, 0) AS failed, coalesce(improved, 0) AS improved, mean_gain,
       best_gain, round(coalesce(training_hours, 0), 4) AS training_hours, dollars
FROM proposals
FULL JOIN refused USING (run, operator)
FULL JOIN tried USING (run, operator)
FULL JOIN gained USING (run, operator)
FULL JOIN spent USING (run, operator)
FULL JOIN paid USING (run, operator)
ORDER BY run, operator;

-- By run and operator. `dollars` is NULL where no price is known; `unpriced_calls` are not in it.
CREATE OR REPLACE VIEW spending AS
WITH trained AS (
    SELECT n.run, n.operator, count(*) AS evaluations, sum(e.seconds) / 3600 AS training_hours,
           sum(e.wall_seconds) / 3600 AS wall_hours
    FROM evaluations AS e JOIN nodes AS n USING (node_id) GROUP BY ALL
),
asked AS (
    SELECT run, operator, count(*) AS llm_calls, sum(tokens_in)::BIGINT AS tokens_in,
           sum(tokens_out)::BIGINT AS tokens_out, sum(tokens_cached)::BIGINT AS tokens_cached, sum(dollars) AS dollars,
           count(*) - count(dollars) AS unpriced_calls
    FROM llm_calls GROUP BY ALL
)
SELECT run, operator, coalesce(evaluations, 0) AS evaluations, round(coalesce(training_hours, 0), 4) AS training_hours,
       round(coalesce(wall_hours, 0), 4) AS wall_hours, coalesce(llm_calls, 0) AS llm_calls,
       coalesce(tokens_in, 0) AS tokens_in, coalesce(tokens_out, 0) AS tokens_out,
       coalesce(tokens_cached, 0) AS tokens_cached, dollars, coalesce(unpriced_calls, 0) AS unpriced_calls
FROM trained FULL JOIN asked USING (run, operator)
ORDER BY run, operator;

-- Reasons and logs of a claim's runs are not shown: they may speak of the data that the claim is judged on.
CREATE OR REPLACE VIEW failures AS
SELECT e.run, e.node_id, n.operator, e.purpose, e.seed, e.outcome,
       CASE e.purpose WHEN 'screen' THEN e.reason ELSE 'not shown: from a run of the claim' END AS reason,
       CASE e.purpose WHEN 'screen' THEN right(e.log, 400) ELSE '' END AS log_tail,
       n.idea, e.finished_at
FROM evaluations AS e
JOIN nodes AS n USING (node_id)
WHERE e.outcome <> 'scored'
ORDER BY e.arrival, e.finished_at;

CREATE OR REPLACE VIEW programs AS
SELECT f.node_id, f.path, s.text
FROM files AS f JOIN sources AS s USING (sha);

-- `leader`: the best mean so far, which claims nothing; `champion`: a node that has passed the claim's test.
CREATE OR REPLACE VIEW run_summary AS
SELECT r.run, r.task, r.metric, r.direction, r.policy, r.seed,
       (SELECT count(*) FROM nodes AS n WHERE n.run = r.run) AS nodes,
       (SELECT count(*) FROM evaluations AS e WHERE e.run = r.run AND e.outcome <> 'lost') AS evaluations,
       (SELECT arg_min(node_id, (place, created_at)) FROM leaderboard AS l WHERE l.run = r.run) AS leader,
       (SELECT arg_min(score, (place, created_at)) FROM leaderboard AS l WHERE l.run = r.run) AS leader_score,
       (SELECT arg_max(node_id, decided_at) FROM decisions AS d WHERE d.run = r.run AND kind = 'champion') AS champion,
       r.created_at
FROM runs AS r
ORDER BY r.created_at, r.run;

-- ---------------------------------------------------------------- macros

-- A node and all of its ancestors, parents before children; a crossover brings the ancestors of both of its parents.
CREATE OR REPLACE MACRO lineage(id) AS TABLE
WITH RECURSIVE members(node_id) AS (
    SELECT full_id(id)
    UNION
    SELECT p.parent_id FROM members JOIN parents AS p USING (node_id)
)
SELECT n.node_id, n.operator,
       (SELECT list(p.parent_id ORDER BY p.place) FROM parents AS p WHERE p.node_id = n.node_id) AS parents,
       s.score, s.runs, g.gain, n.idea, n.created_at
FROM members AS m
JOIN nodes AS n USING (node_id)
LEFT JOIN scores AS s USING (node_id)
LEFT JOIN gains AS g USING (node_id)
ORDER BY n.number;

-- What was made of a node. `outcome`: of the last screening; NULL while it waits for one.
CREATE OR REPLACE MACRO children(id) AS TABLE
SELECT n.node_id, n.operator,
       (SELECT arg_max(e.outcome, {'arrival': e.arrival, 'at': e.finished_at})
        FROM evaluations AS e WHERE e.node_id = n.node_id AND e.purpose = 'screen') AS outcome,
       s.score, s.runs, g.gain, n.idea, n.created_at
FROM parents AS p
JOIN nodes AS n ON n.node_id = p.node_id
LEFT JOIN scores AS s ON s.node_id = n.node_id
LEFT JOIN gains AS g ON g.node_id = n.node_id
WHERE p.parent_id = (SELECT full_id(id))
ORDER BY n.number;

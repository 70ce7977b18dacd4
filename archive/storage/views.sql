-- Views and table macros for the usual questions; docs/sql.md has an example of each. Every writer recreates them when it
-- opens the archive.
--
-- Two rules hold for all of them. Scores are screening scores on val: those of `select` and `holdout` are for the claim
-- only and stand in `evaluations` alone. And only comparable evaluations are compared: those made under the
-- conditions (corpus, budget, hardware) of the run's most recent one. A `gain` is positive where it is an improvement,
-- whatever the direction of the metric, and no suspect is on either side of it. An id may be given by any start of it
-- that fits a single node.
--
-- The target is 50 ms for 100,000 nodes on one thread. So macros select their nodes before they aggregate, and what is
-- used twice is MATERIALIZED. Joins on ids cost most, 5 to 10 ms for all nodes, so views have as few as possible.

-- ---------------------------------------------------------------- base views

-- The conditions of each run's most recent evaluation.
CREATE OR REPLACE VIEW present_conditions AS
SELECT run, latest.fingerprint, latest.budget_seconds, latest.hardware
FROM (
    SELECT run, arg_max({fingerprint: fingerprint, budget_seconds: budget_seconds, hardware: hardware}, arrival) AS latest
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
WHERE score IS NOT NULL
GROUP BY run, node_id;

-- The score of each run's root.
CREATE OR REPLACE VIEW baselines AS
SELECT run, avg(score) AS score, count(*) AS runs
FROM screenings
WHERE score IS NOT NULL AND node_id IN (SELECT node_id FROM nodes WHERE number = 0)
GROUP BY run;

-- The reason for a suspect in words; `origin`: the node that was found cheating.
CREATE OR REPLACE MACRO why(node_id, origin, reason) AS CASE
    WHEN origin = node_id THEN printf('found cheating (%s)', reason)
    ELSE printf('descends from %s, found cheating (%s)', origin[:8], reason)
END;

-- Evaluations that make their node suspect. Reasons of claim runs are left out. A root is the task's own program.
CREATE OR REPLACE VIEW violations AS
SELECT run, node_id, arrival, coalesce(violation, false) AS cheats,
       if(purpose = 'screen', reason, 'in a run of the claim') AS reason, outcome
FROM evaluations
WHERE score IS NULL AND (violation OR outcome IN ('invalid', 'infeasible'))
    AND node_id NOT IN (SELECT node_id FROM nodes WHERE number = 0);

-- Nodes whose scores do not count, and why: found cheating, or descending from a cheat (`origin`) through any parent; or
-- invalid or infeasible in one of their runs, which concerns the node alone. `since`: the arrival of the evaluation that shows it.
CREATE OR REPLACE VIEW suspects AS
WITH RECURSIVE found AS MATERIALIZED (FROM violations),
cheats AS MATERIALIZED (
    SELECT run, node_id, min(arrival) AS since, arg_min(reason, arrival) AS reason FROM found WHERE cheats GROUP BY ALL
),
contaminated(node_id, origin) AS (
    SELECT node_id, node_id FROM cheats
    UNION
    SELECT p.node_id, t.origin FROM contaminated AS t JOIN parents AS p ON p.parent_id = t.node_id
),
reasons AS (
    SELECT c.run, t.node_id, t.origin, c.since, why(t.node_id, t.origin, c.reason) AS because,
           if(t.node_id = t.origin, 0, 1) AS strength
    FROM contaminated AS t JOIN cheats AS c ON c.node_id = t.origin
    UNION ALL
    SELECT run, node_id, node_id, arrival, printf('%s in one of its runs (%s)', outcome, reason), 2
    FROM found WHERE NOT cheats
)
SELECT run, node_id, arg_min(origin, (strength, since)) AS origin, arg_min(because, (strength, since)) AS because,
       min(since) AS since
FROM reasons
GROUP BY run, node_id;

-- The scores of nodes that are not suspect.
CREATE OR REPLACE VIEW sound_scores AS
SELECT * FROM scores WHERE node_id NOT IN (SELECT node_id FROM suspects);

-- Scores of one program for one purpose under one set of conditions, where there are several (confirm and report: at the
-- same positions of the text). They differ by chance alone.
CREATE OR REPLACE VIEW repeats AS
SELECT e.run, e.node_id, e.purpose, w.position_set, e.fingerprint, e.budget_seconds, e.hardware, e.score, e.arrival
FROM evaluations AS e LEFT JOIN window_scores AS w USING (node_id, seed, purpose)
WHERE e.score IS NOT NULL
    AND e.node_id IN (SELECT node_id FROM evaluations WHERE score IS NOT NULL GROUP BY node_id HAVING count(*) > 1)
    AND e.node_id NOT IN (SELECT node_id FROM suspects)
QUALIFY count(*) OVER (
    PARTITION BY e.node_id, e.purpose, w.position_set, e.fingerprint, e.budget_seconds, e.hardware) > 1;

-- The chi-square quantile with `free` degrees of freedom at the normal quantile `z` (Wilson and Hilferty 1931).
CREATE OR REPLACE MACRO chi2_quantile(free, z) AS
    free * greatest(1 - 2 / (9 * free) + z * sqrt(2 / (9 * free)), 0.05) ** 3;

-- A sum of squares whose largest contribution counts like at most three deviations of the rest, unless the
-- rest is nothing; `known`: of a prior.
CREATE OR REPLACE MACRO robust_squares(squares, largest, known, free) AS
    known + squares - largest
    + if(free > 1 AND known + squares - largest > 1e-12 * (known + squares),
         least(largest, 9 * (1 + 3 / (free - 1)) / (free - 1) * (known + squares - largest)), largest);

-- Seed deviation of a run under given conditions, with the formulas of archive/noise.py. `sigma` is NULL before the
-- second score of any node. `prior`, `prior_weight`: from runs that began earlier, else from the task's smallest gain.
CREATE OR REPLACE MACRO noise_under(its_run, its_corpus, its_seconds, its_hardware) AS TABLE
WITH begun AS (SELECT min(arrival) AS at FROM moves WHERE run = its_run),
grouped AS (
    SELECT run, count(*) - 1 AS dof, var_pop(score) * count(*) AS squares,
           greatest(max(score) - avg(score), avg(score) - min(score)) ** 2 AS most, max(abs(score)) AS size
    FROM repeats, begun
    WHERE fingerprint = its_corpus AND budget_seconds = its_seconds AND hardware = its_hardware
        AND (run = its_run OR begun.at IS NULL OR arrival < begun.at)
    GROUP BY run, node_id, purpose, position_set
    HAVING count(*) > 1
),
summed AS (
    SELECT run = its_run AS own, sum(dof)::DOUBLE AS dof, sum(if(most <= (1e-12 * size) ** 2, 0, squares)) AS squares,
           max(if(most <= (1e-12 * size) ** 2, 0, most * (dof + 1) / dof)) AS largest
    FROM grouped GROUP BY own
),
given AS (
    SELECT sqrt(robust_squares(squares, largest, 0, dof) / dof) AS prior, least(dof, 4) AS prior_weight, 1 AS place
    FROM summed WHERE NOT own AND squares > 0
    UNION ALL
    SELECT try_cast(config ->> '$.task.smallest_gain' AS DOUBLE) / 3, 1, 2 FROM runs WHERE run = its_run
    UNION ALL
    SELECT NULL, 0, 3
),
prior AS (SELECT arg_min(prior, place) AS prior, arg_min(prior_weight, place) AS weight FROM given WHERE prior > 0),
pooled AS (
    SELECT dof, squares, coalesce(weight, 0) + dof AS free, prior, coalesce(weight, 0) AS weight,
           sqrt(robust_squares(squares, largest, coalesce(weight * prior ** 2, 0), coalesce(weight, 0) + dof)
                / (coalesce(weight, 0) + dof)) AS sigma
    FROM prior LEFT JOIN (FROM summed WHERE own) ON true
)
SELECT if(squares = 0, 0, sigma) AS sigma,
       if(squares = 0, 0, sigma * sqrt(free / chi2_quantile(free, 0.967421566101701))) AS low,
       sigma * sqrt(free / chi2_quantile(free, -0.967421566101701)) AS high,
       dof::BIGINT AS degrees_of_freedom, prior, weight AS prior_weight
FROM pooled;

-- Seed deviation of each run under its present conditions, with its 67% interval from `low` to `high`; the search uses the
-- same figures.
CREATE OR REPLACE VIEW noise AS
SELECT p.run, n.*
FROM present_conditions AS p, LATERAL (FROM noise_under(p.run, p.fingerprint, p.budget_seconds, p.hardware)) AS n
WHERE n.sigma IS NOT NULL;

-- Claims that have read a holdout, in each run's order. A claim is a stretch of moves for confirm and report. `fingerprint`:
-- of the corpus; `began`: the arrival of the first evaluation on its holdout. Claims on one holdout spend one error budget:
-- search/claims/error_budget.py counts them alike.
CREATE OR REPLACE VIEW claims AS
WITH chosen AS (
    SELECT run, move, coalesce(move - lag(move) OVER (PARTITION BY run ORDER BY move) > 1, true) AS first
    FROM moves WHERE purpose <> 'screen'
),
stretches AS (SELECT run, move, sum(first::INTEGER) OVER (PARTITION BY run ORDER BY move) AS stretch FROM chosen)
SELECT run, row_number() OVER (PARTITION BY run ORDER BY stretch) AS claim, e.fingerprint, min(e.arrival) AS began,
       count(*) AS evaluations
FROM stretches JOIN evaluations AS e USING (run, move)
WHERE e.purpose = 'report' AND e.outcome <> 'lost'
GROUP BY run, stretch, e.fingerprint;

-- The evaluations of studies by the stage of their plan. Those for the claim are a stage of their own.
CREATE OR REPLACE VIEW study_evaluations AS
SELECT s.study, s.seed AS search_seed, e.run, e.move, e.node_id, n.operator, n.idea,
       CASE WHEN e.purpose <> 'screen' THEN 'claim' WHEN e.move = 0 THEN 'baseline' ELSE m.stage END AS stage,
       e.purpose, e.split, e.outcome, e.reason, e.score, e.trust, e.seconds, e.arrival
FROM study_runs AS s
JOIN evaluations AS e USING (run)
JOIN moves AS m ON m.run = e.run AND m.move = e.move
JOIN nodes AS n ON n.node_id = e.node_id
WHERE e.outcome <> 'lost';

-- The gain of each scored node over the better of its scored parents.
CREATE OR REPLACE VIEW gains AS
WITH sound AS MATERIALIZED (FROM sound_scores)
SELECT n.run, n.node_id, n.operator, s.score,
       CASE r.direction WHEN 'minimise' THEN min(q.score) ELSE max(q.score) END AS parent_score,
       CASE r.direction WHEN 'minimise' THEN min(q.score) - s.score ELSE s.score - max(q.score) END AS gain
FROM nodes AS n
JOIN runs AS r USING (run)
JOIN sound AS s ON s.node_id = n.node_id
JOIN parents AS p ON p.node_id = n.node_id
JOIN sound AS q ON q.node_id = p.parent_id
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

-- `place`: NULL for suspects, which come last, with the reason in `suspect`. Without `place` among the columns that are
-- asked for, nothing is ranked, and the first rows come in two thirds of the time. Runs are identified by a number while
-- they are ranked: by name it takes twice as long. (`frame` is not MATERIALIZED, so that the root's score is computed only
-- if selected. DuckDB drops that keyword anyway when it reads a view from a file.)
CREATE OR REPLACE VIEW leaderboard AS
WITH frame AS (
    SELECT r.run, if(r.direction = 'minimise', 1, -1) AS sign, root.score AS root,
           row_number() OVER (ORDER BY r.run)::INTEGER AS part
    FROM runs AS r LEFT JOIN baselines AS root USING (run)
),
ranked AS (
    SELECT f.run, s.node_id, s.score, s.runs, f.root, f.sign, q.because AS suspect,
           if(q.because IS NULL,
              rank() OVER (PARTITION BY 2 * f.part + (q.because IS NULL)::INTEGER ORDER BY f.sign * s.score), NULL) AS place
    FROM scores AS s
    JOIN frame AS f USING (run)
    LEFT JOIN suspects AS q ON q.node_id = s.node_id
)
SELECT k.run, k.place, k.node_id, k.score, k.runs, k.sign * k.root - k.sign * k.score AS gain_on_root,
       n.operator, n.idea, n.lines, n.created_at, k.suspect
FROM ranked AS k
JOIN nodes AS n USING (node_id)
ORDER BY k.run, k.suspect IS NOT NULL, k.sign * k.score, n.number;

-- Every finished screening in order. `best`: the best mean as it was known at that moment, of the nodes that were not
-- suspect then. A mean is valid until the node's next score, or until the node is suspect; most stay valid, so
-- that a running minimum covers them, and the few others count only where they beat it.
CREATE OR REPLACE VIEW progress AS
WITH landed AS MATERIALIZED (
    SELECT s.run, s.node_id, s.seed, s.outcome, s.score, s.arrival, s.started_at, s.finished_at,
           if(r.direction = 'minimise', 1, -1) AS sign,
           avg(s.score) OVER node AS mean,
           lead(s.arrival) OVER node AS replaced,
           s.score IS NOT NULL AS scored
    FROM screenings AS s JOIN runs AS r USING (run)
    WINDOW node AS (PARTITION BY s.node_id, s.score IS NULL ORDER BY s.arrival ROWS UNBOUNDED PRECEDING)
),
means AS MATERIALIZED (
    SELECT l.run, l.arrival AS born, l.sign * l.mean AS badness, least(l.replaced, q.since) AS ended
    FROM landed AS l LEFT JOIN suspects AS q USING (node_id)
    WHERE l.scored AND (q.since IS NULL OR q.since > l.arrival)
),
lasting AS MATERIALIZED (
    SELECT l.run, l.arrival, min(m.badness) OVER run AS badness
    FROM landed AS l LEFT JOIN means AS m ON m.run = l.run AND m.born = l.arrival AND m.ended IS NULL
    WINDOW run AS (PARTITION BY l.run ORDER BY l.arrival ROWS UNBOUNDED PRECEDING)
),
passing AS MATERIALIZED (
    SELECT m.* FROM means AS m JOIN lasting AS k ON k.run = m.run AND k.arrival = m.born
    WHERE m.ended IS NOT NULL AND (k.badness IS NULL OR m.badness < k.badness)
),
passed AS (
    SELECT l.run, l.arrival, min(p.badness) AS badness
    FROM landed AS l JOIN passing AS p ON p.run = l.run AND l.arrival >= p.born AND l.arrival < p.ended
    GROUP BY ALL
)
SELECT l.run, row_number() OVER (PARTITION BY l.run ORDER BY l.arrival) AS evaluation,
       round(epoch(l.finished_at - min(l.started_at) OVER (PARTITION BY l.run)) / 3600, 4) AS hours,
       l.node_id, n.operator, l.seed, l.outcome, l.score, l.sign * least(k.badness, p.badness) AS best
FROM landed AS l
JOIN nodes AS n USING (node_id)
JOIN lasting AS k ON k.run = l.run AND k.arrival = l.arrival
LEFT JOIN passed AS p ON p.run = l.run AND p.arrival = l.arrival
ORDER BY l.run, evaluation;

-- `proposals` = `nodes` + `refused` + what is being made. `improved`: nodes better than the better of their parents.
-- `scored`, `failed` and `suspect` nodes: a suspect may be among the others, too.
CREATE OR REPLACE VIEW operator_stats AS
WITH proposals AS (SELECT run, operator, count(*) AS proposals FROM moves WHERE kind = 'propose' GROUP BY ALL),
refused AS (SELECT run, operator, count(*) AS refused FROM refusals WHERE operator <> 'withdrawn' GROUP BY ALL),
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
suspected AS (
    SELECT n.run, n.operator, count(*) AS suspect FROM suspects AS q JOIN nodes AS n USING (node_id) GROUP BY ALL
),
spent AS (
    SELECT n.run, n.operator, sum(e.seconds) / 3600 AS training_hours
    FROM evaluations AS e JOIN nodes AS n USING (node_id) GROUP BY ALL
),
paid AS (SELECT run, operator, sum(dollars) AS dollars FROM llm_calls GROUP BY ALL)
SELECT run, operator, coalesce(proposals, 0) AS proposals, coalesce(refused, 0) AS refused, coalesce(nodes, 0) AS nodes,
       coalesce(scored, 0) AS scored, coalesce(failed, 0) AS failed, coalesce(suspect, 0) AS suspect,
       coalesce(improved, 0) AS improved, mean_gain, best_gain, round(coalesce(training_hours, 0), 4) AS training_hours, dollars
FROM proposals
FULL JOIN refused USING (run, operator)
FULL JOIN tried USING (run, operator)
FULL JOIN gained USING (run, operator)
FULL JOIN suspected USING (run, operator)
FULL JOIN spent USING (run, operator)
FULL JOIN paid USING (run, operator)
ORDER BY run, operator;

-- By run, operator and aim (the kind of change that the operator was asked for): which kinds gained. `tried`: evaluated
-- nodes; `improved`: those better than the better of their parents.
CREATE OR REPLACE VIEW change_kind_stats AS
WITH trained AS (
    SELECT n.run, n.node_id, n.operator, n.aim, bool_or(s.outcome = 'scored') AS good
    FROM nodes AS n JOIN screenings AS s ON s.node_id = n.node_id
    WHERE n.number > 0
    GROUP BY ALL
)
SELECT t.run, t.operator, t.aim, count(*) AS tried, count(*) FILTER (t.good) AS scored,
       count(*) FILTER (NOT t.good) AS failed, count(*) FILTER (g.gain > 0) AS improved, avg(g.gain) AS mean_gain,
       max(g.gain) AS best_gain
FROM trained AS t LEFT JOIN gains AS g ON g.node_id = t.node_id
GROUP BY t.run, t.operator, t.aim
ORDER BY t.run, t.operator, t.aim;

-- By run, model and operator: calls, results and cost. `nodes`: candidates that became nodes,
-- of moves that asked this model (a move that asked two counts for both). `seconds`: the mean latency of a call.
CREATE OR REPLACE VIEW model_stats AS
WITH asked AS (
    SELECT run, model, operator, count(*) AS calls, count(*) FILTER (outcome = 'answered') AS answered,
           count(*) FILTER (outcome = 'refused') AS refused, count(*) FILTER (outcome = 'failed') AS failed,
           avg(seconds) AS seconds, sum(tokens_in)::BIGINT AS tokens_in, sum(tokens_out)::BIGINT AS tokens_out,
           sum(tokens_cached)::BIGINT AS tokens_cached, sum(dollars) AS dollars,
           count(*) - count(dollars) AS unpriced_calls
    FROM llm_calls GROUP BY run, model, operator
),
made AS (
    SELECT m.run, m.model, m.operator, count(*) AS nodes, count(s.score) AS scored, count(*) FILTER (g.gain > 0) AS improved,
           avg(g.gain) AS mean_gain, max(g.gain) AS best_gain
    FROM (SELECT DISTINCT run, move, model, operator FROM llm_calls WHERE operator <> 'agent') AS m
    JOIN nodes AS n USING (run, move)
    LEFT JOIN scores AS s ON s.node_id = n.node_id
    LEFT JOIN gains AS g ON g.node_id = n.node_id
    GROUP BY m.run, m.model, m.operator
)
SELECT run, model, operator, calls, answered, refused, failed, round(seconds, 3) AS seconds, coalesce(nodes, 0) AS nodes,
       coalesce(scored, 0) AS scored, coalesce(improved, 0) AS improved, mean_gain, best_gain, tokens_in, tokens_out,
       tokens_cached, dollars, unpriced_calls
FROM asked LEFT JOIN made USING (run, model, operator)
ORDER BY run, model, operator;

-- Every call to a language model, with the node of its move: NULL if the move gave none. `purpose`: the operator.
CREATE OR REPLACE VIEW calls AS
SELECT c.run, c.move, c.turn, n.node_id, c.operator AS purpose, c.aim, c.asked, c.model, c.outcome, c.reason, c.tokens_in,
       c.tokens_cached, c.tokens_out, c.seconds, c.dollars, c.charged_dollars, c.prompt_sha, c.answer_sha, c.template_sha,
       c.called_at
FROM llm_calls AS c LEFT JOIN nodes AS n USING (run, move)
ORDER BY c.run, c.move, c.turn, c.called_at;

-- By run and operator. `dollars` is NULL where no price is known; `unpriced_calls` are not in it.
CREATE OR REPLACE VIEW spending AS
WITH trained AS (
    SELECT n.run, n.operator, count(*) AS evaluations, round(sum(e.seconds) / 3600, 7) AS training_hours,
           round(sum(e.wall_seconds) / 3600, 7) AS wall_hours
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

-- The ideas that were tried, and their results. `outcome`: of the last screening; NULL while it waits for one.
CREATE OR REPLACE VIEW ideas AS
WITH last AS (SELECT node_id, arg_max(outcome, arrival) AS outcome FROM screenings GROUP BY node_id),
models AS (SELECT run, move, string_agg(DISTINCT model, ', ' ORDER BY model) AS models FROM llm_calls
           WHERE operator <> 'agent' GROUP BY run, move)
SELECT n.run, n.node_id, n.operator, n.aim, m.models, n.idea, last.outcome, s.score, g.gain, q.because AS suspect, n.created_at
FROM nodes AS n
LEFT JOIN models AS m USING (run, move)
LEFT JOIN last ON last.node_id = n.node_id
LEFT JOIN scores AS s ON s.node_id = n.node_id
LEFT JOIN gains AS g ON g.node_id = n.node_id
LEFT JOIN suspects AS q ON q.node_id = n.node_id
ORDER BY n.run, n.number;

-- Scores by case: the mean over the node's scored screenings, the best of all nodes that are not suspect, and the gain
-- on the root.
CREATE OR REPLACE VIEW cases AS
WITH judged AS MATERIALIZED (
    SELECT s.run, c.node_id, c.case_name, avg(c.value) AS value, count(*) AS evaluations
    FROM case_scores AS c JOIN screenings AS s USING (node_id, seed)
    WHERE c.purpose = 'screen' AND s.score IS NOT NULL
    GROUP BY s.run, c.node_id, c.case_name
),
ends AS (
    SELECT run, case_name, min(value) AS lowest, max(value) AS highest
    FROM judged WHERE node_id NOT IN (SELECT node_id FROM suspects) GROUP BY run, case_name
),
root AS (SELECT j.run, j.case_name, j.value FROM judged AS j JOIN nodes AS n USING (node_id) WHERE n.number = 0)
SELECT j.run, j.node_id, j.case_name, j.value, j.evaluations,
       if(r.direction = 'minimise', e.lowest, e.highest) AS best,
       if(r.direction = 'minimise', root.value - j.value, j.value - root.value) AS gain_on_root
FROM judged AS j
JOIN runs AS r USING (run)
LEFT JOIN ends AS e ON e.run = j.run AND e.case_name = j.case_name
LEFT JOIN root ON root.run = j.run AND root.case_name = j.case_name
ORDER BY j.run, j.node_id, j.case_name;

-- Of tasks whose candidates are agents: how the items of a node's screenings ended, and what they used of the model. An
-- error is no wrong answer. `tokens_per_right`, `dollars_per_right`: cost of a right answer; dollars NULL where no price is
-- known.
CREATE OR REPLACE VIEW items AS
SELECT s.run, c.node_id, count(DISTINCT c.seed) AS evaluations, count(*) AS items,
       count(*) FILTER (c.ending = 'right') AS "right", count(*) FILTER (c.ending = 'wrong') AS wrong,
       count(*) FILTER (c.ending NOT IN ('right', 'wrong')) AS errors, count(*) FILTER (c.ending = 'empty') AS empty,
       count(*) FILTER (c.ending = 'unparsed') AS unparsed, count(*) FILTER (c.ending = 'time') AS "time",
       count(*) FILTER (c.ending = 'budget') AS budget, count(*) FILTER (c.ending = 'crashed') AS crashed,
       sum(CAST(c.metrics->>'calls' AS DOUBLE)) AS calls, sum(CAST(c.metrics->>'tokens' AS DOUBLE)) AS tokens,
       if(count(c.metrics->>'dollars') = count(*), sum(CAST(c.metrics->>'dollars' AS DOUBLE)), NULL) AS dollars,
       tokens / nullif("right", 0) AS tokens_per_right, dollars / nullif("right", 0) AS dollars_per_right
FROM case_scores AS c JOIN screenings AS s USING (node_id, seed)
WHERE c.purpose = 'screen' AND c.ending IS NOT NULL
GROUP BY s.run, c.node_id
ORDER BY s.run, c.node_id;

-- Resources and speed of every evaluation. `cores`: CPU seconds for each second of wall time. `machine_speed`:
-- trusted workloads a second around the evaluation, the same for every candidate; NULL where it was not measured.
CREATE OR REPLACE VIEW throughput AS
SELECT run, node_id, purpose, seed, outcome, steps, seconds, steps / nullif(seconds, 0) AS steps_per_second, cpu_seconds,
       cpu_seconds / nullif(wall_seconds, 0) AS cores, peak_memory_mb, memory_by, peak_device_mb, machine_speed, device,
       hardware, sandbox, trust, finished_at
FROM evaluations
ORDER BY run, arrival;

-- How well the loss that candidates report at 30% of their budget predicts the final score: Spearman's rank
-- correlation over the `n` scored screenings that had reported one by then (ties share their average rank), positive
-- where a lower loss goes with a better score. NULL where one of the two never varies.
CREATE OR REPLACE VIEW early_correlation AS
WITH early AS (
    SELECT s.run, if(r.direction = 'minimise', s.score, -s.score) AS badness, arg_max(c.loss, (c.elapsed, c.step)) AS loss
    FROM screenings AS s
    JOIN runs AS r USING (run)
    JOIN present_conditions AS p USING (run)
    JOIN curves AS c ON c.node_id = s.node_id AND c.seed = s.seed AND c.purpose = 'screen'
    WHERE s.outcome = 'scored' AND c.elapsed <= 0.3 * p.budget_seconds AND isfinite(c.loss)
    GROUP BY s.run, s.node_id, s.seed, s.score, r.direction
),
ranked AS (
    SELECT run,
           rank() OVER (PARTITION BY run ORDER BY badness) + 0.5 * count(*) OVER (PARTITION BY run, badness) AS final_rank,
           rank() OVER (PARTITION BY run ORDER BY loss) + 0.5 * count(*) OVER (PARTITION BY run, loss) AS early_rank
    FROM early
)
SELECT run, count(*) AS n,
       if(stddev_pop(early_rank) > 0 AND stddev_pop(final_rank) > 0, corr(early_rank, final_rank), NULL) AS correlation
FROM ranked
GROUP BY run
ORDER BY run;

-- The value of each step of a node's lineage: by how much `node_id` is worse without the node `step`, in runs on fresh
-- seeds that `python -m search ablate` made. `worth` is positive where the step helps. `error` is its standard error and
-- `degrees_of_freedom` are Welch's; both are NULL where a side has a single run, `worth` where nothing has a score. A call or
-- role of an agent that was removed is a step, too, whose name (`call-01`) stands for a node.
CREATE OR REPLACE VIEW ablations AS
WITH asked AS MATERIALIZED (
    SELECT run, if(direction = 'minimise', 1, -1) AS sign, config ->> '$.operators.ablate.node' AS node_id
    FROM runs WHERE policy = 'ablation'
),
known AS MATERIALIZED (
    SELECT n.run, n.number, n.ablated, n.idea, avg(s.score) AS score, count(s.score) AS runs, var_samp(s.score) / count(s.score) AS variance,
           arg_max(s.outcome, s.arrival) AS outcome
    FROM nodes AS n LEFT JOIN screenings AS s ON s.node_id = n.node_id
    WHERE n.run IN (SELECT run FROM asked)
    GROUP BY n.run, n.number, n.ablated, n.idea
)
SELECT a.run, a.node_id, coalesce(step.node_id, k.ablated) AS step, a.sign * k.score - a.sign * w.score AS worth,
       sqrt(k.variance + w.variance) AS error,
       (k.variance + w.variance) ** 2
           / nullif(k.variance ** 2 / (k.runs - 1) + w.variance ** 2 / (w.runs - 1), 0) AS degrees_of_freedom,
       k.runs, w.runs AS runs_of_the_whole, k.outcome, coalesce(step.idea, regexp_replace(k.idea, '^without [^:]*: ', '')) AS idea
FROM asked AS a
JOIN known AS w ON w.run = a.run AND w.number = 0
JOIN known AS k ON k.run = a.run AND k.number > 0
JOIN nodes AS subject ON subject.node_id = a.node_id
LEFT JOIN nodes AS step ON step.run = subject.run AND starts_with(step.node_id, k.ablated)
WHERE step.node_id IS NOT NULL OR regexp_full_match(k.ablated, '(call|role)-[0-9]+')
ORDER BY a.run, worth DESC, k.number;

CREATE OR REPLACE VIEW programs AS
SELECT f.node_id, f.path, s.text
FROM files AS f JOIN sources AS s USING (sha);

-- One row a run. `leader`: the best mean so far, which claims nothing; `champion`: the node of the last verdict (by
-- arrival), if that is one that has passed the claim's test and is not suspect. `training_hours` (of the candidates, by `seconds`) and `dollars` (of what has a price) are for all of it.
CREATE OR REPLACE VIEW run_summary AS
WITH suspect AS MATERIALIZED (SELECT run, node_id FROM suspects),
frame AS MATERIALIZED (
    SELECT r.run, if(r.direction = 'minimise', 1, -1) AS sign, root.score AS baseline
    FROM runs AS r LEFT JOIN baselines AS root USING (run)
),
sound AS MATERIALIZED (
    SELECT s.run, s.node_id, s.score, f.sign * s.score AS badness
    FROM scores AS s JOIN frame AS f USING (run)
    WHERE s.node_id NOT IN (SELECT node_id FROM suspect)
),
best AS (
    SELECT s.run, arg_min(s.node_id, n.number) AS leader, any_value(s.score) AS leader_score
    FROM sound AS s
    JOIN (SELECT run, min(badness) AS badness FROM sound GROUP BY run) USING (run, badness)
    JOIN nodes AS n ON n.node_id = s.node_id
    GROUP BY s.run
),
trained AS (
    SELECT run, count(*) FILTER (outcome <> 'lost') AS evaluations,
           count(*) FILTER (outcome NOT IN ('scored', 'lost')) AS failed, round(sum(seconds) / 3600, 7) AS training_hours
    FROM evaluations GROUP BY run
),
made AS (SELECT run, count(*) AS nodes FROM nodes GROUP BY run),
suspected AS (SELECT run, count(*) AS suspects FROM suspect GROUP BY run),
paid AS (SELECT run, sum(dollars) AS dollars FROM llm_calls GROUP BY run),
crowned AS (
    SELECT run, last.node_id AS champion
    FROM (SELECT run, arg_max({kind: kind, node_id: node_id}, arrival) AS last FROM decisions
          WHERE kind IN ('champion', 'no_champion') GROUP BY run)
    WHERE last.kind = 'champion' AND last.node_id NOT IN (SELECT node_id FROM suspect)
)
SELECT r.run, r.task, r.metric, r.direction, r.policy, r.seed, coalesce(nodes, 0) AS nodes,
       coalesce(evaluations, 0) AS evaluations, coalesce(failed, 0) AS failed, coalesce(suspects, 0) AS suspects,
       baseline, leader, leader_score, sign * baseline - sign * leader_score AS leader_gain, champion,
       round(coalesce(training_hours, 0), 4) AS training_hours, dollars, r.created_at
FROM runs AS r
JOIN frame USING (run)
LEFT JOIN best USING (run)
LEFT JOIN trained USING (run)
LEFT JOIN made USING (run)
LEFT JOIN suspected USING (run)
LEFT JOIN paid USING (run)
LEFT JOIN crowned USING (run)
ORDER BY r.created_at, r.run;

-- ---------------------------------------------------------------- macros

-- The nodes of a list and all of their ancestors, with scores and reasons. `gain`: on the better of the scored parents.
-- `outcome`: of the last screening; NULL while it waits for one. `suspect`: why, as in `suspects`. Only ancestors
-- can make a node suspect, so nothing else of a large archive is read.
CREATE OR REPLACE MACRO ancestry(ids) AS TABLE
WITH RECURSIVE members(node_id) AS (
    SELECT unnest(ids)
    UNION
    SELECT p.parent_id FROM members JOIN parents AS p USING (node_id)
),
chosen AS MATERIALIZED (FROM members),
links AS MATERIALIZED (FROM parents WHERE node_id IN (FROM chosen)),
known AS MATERIALIZED (
    SELECT node_id, avg(score) AS score, count(score) AS runs, stddev_samp(score) AS deviation,
           arg_max(outcome, arrival) AS outcome
    FROM screenings WHERE node_id IN (FROM chosen) GROUP BY node_id
),
found AS MATERIALIZED (FROM violations WHERE node_id IN (FROM chosen)),
cheats AS MATERIALIZED (
    SELECT node_id, min(arrival) AS since, arg_min(reason, arrival) AS reason FROM found WHERE cheats GROUP BY node_id
),
contaminated(node_id, origin) AS (
    SELECT node_id, node_id FROM cheats
    UNION
    SELECT l.node_id, t.origin FROM contaminated AS t JOIN links AS l ON l.parent_id = t.node_id
),
reasons AS (
    SELECT t.node_id, why(t.node_id, t.origin, c.reason) AS because, (if(t.node_id = t.origin, 0, 1), c.since) AS weight
    FROM contaminated AS t JOIN cheats AS c ON c.node_id = t.origin
    UNION ALL
    SELECT node_id, printf('%s in one of its runs (%s)', outcome, reason), (2, arrival) FROM found WHERE NOT cheats
),
suspected AS MATERIALIZED (SELECT node_id, arg_min(because, weight) AS because FROM reasons GROUP BY node_id),
above AS (
    SELECT l.node_id, list(l.parent_id ORDER BY l.place) AS parents, min(k.score) AS lowest, max(k.score) AS highest
    FROM links AS l
    LEFT JOIN (FROM known WHERE node_id NOT IN (SELECT node_id FROM suspected)) AS k ON k.node_id = l.parent_id
    GROUP BY l.node_id
)
SELECT n.node_id, n.operator, a.parents, k.outcome, k.score, coalesce(k.runs, 0) AS runs, k.deviation,
       if(q.because IS NULL, if(r.direction = 'minimise', a.lowest - k.score, k.score - a.highest), NULL) AS gain,
       n.idea, n.created_at, q.because AS suspect, n.number
FROM nodes AS n
JOIN runs AS r USING (run)
LEFT JOIN known AS k USING (node_id)
LEFT JOIN above AS a USING (node_id)
LEFT JOIN suspected AS q ON q.node_id = n.node_id
WHERE n.node_id IN (FROM chosen)
ORDER BY n.number;

-- A node and all of its ancestors, parents before children; a crossover brings the ancestors of both of its parents.
CREATE OR REPLACE MACRO lineage(id) AS TABLE
SELECT node_id, operator, parents, score, nullif(runs, 0) AS runs, gain, idea, created_at, suspect
FROM ancestry([full_id(id)])
ORDER BY number;

-- The children of a node. `outcome`: of the last screening; NULL while it waits for one.
CREATE OR REPLACE MACRO children(id) AS TABLE
WITH born AS MATERIALIZED (SELECT node_id FROM parents WHERE parent_id = (SELECT full_id(id)))
SELECT node_id, operator, outcome, score, nullif(runs, 0) AS runs, gain, idea, created_at, suspect
FROM ancestry((SELECT list(node_id) FROM born))
WHERE node_id IN (FROM born)
ORDER BY number;

-- ---------------------------------------------------------------- names of before schema 6; they go with schema 7

CREATE OR REPLACE VIEW kinds AS FROM change_kind_stats;
CREATE OR REPLACE VIEW findings AS FROM violations;
CREATE OR REPLACE VIEW rung AS FROM early_correlation;
CREATE OR REPLACE MACRO kin(ids) AS TABLE FROM ancestry(ids);

-- rwpd.db, version 2: the lowest and highest loss of each sixteen updates, so that a long series can
-- be thinned without reading all of it. The writer adds a span with the last of its losses. A span
-- that is missing, because it is not complete, costs a reader time and nothing else.

CREATE TABLE span (
    job INTEGER NOT NULL REFERENCES job (id),
    number INTEGER NOT NULL,                 -- n: updates 16 n - 15 to 16 n, each with a loss
    low INTEGER NOT NULL,                    -- the update with the lowest loss, the first of equals
    low_loss ANY NOT NULL,
    high INTEGER NOT NULL,                   -- NaN is higher than infinity
    high_loss ANY NOT NULL,
    PRIMARY KEY (job, number)
) STRICT, WITHOUT ROWID;

-- 'NaN' is a text, and those come after all numbers.
INSERT INTO span SELECT low.job, low.number, low.updates, low.loss, high.updates, high.loss FROM
    (SELECT job, (updates + 15) / 16 AS number, updates, min(loss) AS loss FROM loss
     GROUP BY 1, 2 HAVING count(*) = 16) AS low JOIN
    (SELECT job, (updates + 15) / 16 AS number, updates, max(loss) AS loss FROM loss
     GROUP BY 1, 2 HAVING count(*) = 16) AS high USING (job, number);

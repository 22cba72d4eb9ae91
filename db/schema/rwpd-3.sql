-- rwpd.db, version 3: what is measured of the perturbation, a row a measurement. Each is an event, too.

CREATE TABLE telemetry (
    job INTEGER NOT NULL REFERENCES job (id),
    updates INTEGER NOT NULL,                -- done, from 1
    epoch INTEGER NOT NULL,
    clean_loss ANY,                          -- these: NULL where the method has none
    perturbed_loss ANY,
    perturbation_norm ANY,
    gradient_norm ANY,
    perturbed_gradient_norm ANY,
    cosine ANY,
    fisher_scale_min ANY,
    fisher_scale_median ANY,
    fisher_scale_max ANY,
    PRIMARY KEY (job, updates)
) STRICT, WITHOUT ROWID;

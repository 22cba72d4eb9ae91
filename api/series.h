/* Rows of the recorded series as JSON. */
#ifndef API_SERIES_H
#define API_SERIES_H

#include "base/text.h"
#include "db/db.h"

void loss_json(struct text *out, const struct db_loss *loss);
void epoch_json(struct text *out, const struct db_epoch *epoch);
void telemetry_json(struct text *out, const struct telemetry *telemetry);

#endif

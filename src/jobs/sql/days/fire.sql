-- Records what a fire did. $4 outcome, $5 its job, NULL when it was missed
INSERT INTO export_schedule_fires (schedule, fire_at, export_date, outcome, job_id) VALUES ($1, $2, $3, $4, $5)

-- What has taken workers with it is looked for with every sweep, and there is next to none of it.
CREATE INDEX export_job_partitions_crashed ON export_job_partitions (crashes) WHERE state = 'PENDING' AND crashes > 0;

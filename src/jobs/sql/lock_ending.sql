-- Locks a job that is being ended. Whether its workers are waited for: those of a cancelled job are, as they answer;
-- those of a job that was cleared are not.
SELECT error_code = 'CANCELLED' AS waits FROM export_jobs WHERE id = $1 AND state = 'CANCELLING' FOR UPDATE

-- The rules of a revision, with the day on which they were kept.
SELECT rules, pii, (taken_at AT TIME ZONE 'UTC')::date AS taken_on FROM rules_snapshots WHERE revision = $1

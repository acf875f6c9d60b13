-- Whether the folder of a day still says what the database has of it is looked at again and again, ever more seldom: a process
-- that was frozen while it wrote the day's end may write it long after somebody else has written a later one.
ALTER TABLE export_days ADD COLUMN check_due_at timestamptz;
COMMENT ON COLUMN export_days.check_due_at IS
    'When the summary of a closed day is compared with what is known of it. NULL: it is not closed, or a later revision is.';
CREATE INDEX export_days_to_check ON export_days (check_due_at) WHERE check_due_at IS NOT NULL;

UPDATE export_days AS day SET check_due_at = clock_timestamp()
WHERE closed_at IS NOT NULL
  AND NOT EXISTS (SELECT 1 FROM export_days AS later
                  WHERE later.export_date = day.export_date AND later.revision > day.revision
                    AND later.closed_at IS NOT NULL);

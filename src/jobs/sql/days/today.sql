-- The date in a time zone. $1 time zone
SELECT (clock_timestamp() AT TIME ZONE $1)::date

-- Whether this moment has not come yet.
SELECT clock_timestamp() < $1

-- Notes that a table's columns and its rules agree.
DELETE FROM export_told_drift WHERE table_name = $1

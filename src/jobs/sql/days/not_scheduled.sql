-- Of these tables the first that the schedule does not export.
SELECT wanted.name FROM unnest($1::text[]) AS wanted (name)
WHERE NOT EXISTS (SELECT 1 FROM export_tables AS offered
                  WHERE offered.table_name = wanted.name AND offered.enabled AND offered.scheduled)
ORDER BY wanted.name
LIMIT 1

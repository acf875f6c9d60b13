-- Keeps the rules of a revision, once: the same revision always has the same rules.
INSERT INTO rules_snapshots (revision, rules, pii) VALUES ($1, $2, $3) ON CONFLICT (revision) DO NOTHING
